"""The two images of a registration made ready: what counts of each, and what does not."""

from dataclasses import dataclass, replace

import nibabel as nib
import numpy as np

from bidsapp.errors import BadInput
from bidsapp.imaging.masks import grow
from bidsapp.imaging.registration.sampling import Image, Points, as_image, cropped, thinned
from bidsapp.imaging.registration.starts import foreground
from bidsapp.imaging.transforms import Matrix, apply

RIM = 6.0
"""Left out along the edge of the fixed mask where scales are sought, mm: there lie skull and dura,
whose contrast is not the brain's, and which pull the scale by up to a percent."""
MARGIN = 12.0
"""Kept around the brain in a fine image, mm."""


@dataclass(frozen=True)
class Pair:
    """Both images, how much each of their voxels counts, and points of the fixed brain."""

    moving: Image
    moving_weight: Image | None
    fixed: Image
    fixed_weight: Image
    points: Points

    def turned(self, matrix: Matrix) -> "Pair":
        """Return the pair with its roles exchanged, fixed to moving by a matrix; of like extent."""
        weight = self.moving_weight or Image(np.ones_like(self.moving.data), self.moving.affine)
        return Pair(self.fixed, self.fixed_weight, self.moving, weight, apply(matrix, self.points))


def make_pair(
    moving: nib.Nifti1Image,
    moving_mask: nib.Nifti1Image | None,
    fixed: nib.Nifti1Image,
    fixed_mask: nib.Nifti1Image | None,
) -> Pair:
    """Return checked images, the fixed one without what lies far from its brain."""
    target = as_image(np.asanyarray(fixed.dataobj), fixed.affine, "fixed image")
    source = as_image(np.asanyarray(moving.dataobj), moving.affine, "moving image")
    weight = _weight(fixed_mask, target, "fixed") or Image(
        foreground(target).astype(np.float32), target.affine
    )
    points = apply(target.affine, np.argwhere(weight.data > 0))
    points = points[:: max(1, len(points) // 2000)]
    counts = _weight(moving_mask, source, "moving")
    return Pair(
        _filled(source, counts) if counts else source,
        counts,
        cropped(target, points, MARGIN),
        cropped(weight, points, MARGIN),
        points,
    )


def _filled(image: Image, weight: Image) -> Image:
    """Return an image with its mean where it does not count, so that nothing leaks from there."""
    inside = weight.data > 0
    mean = image.data[inside].mean(dtype=float)
    return replace(image, data=np.where(inside, image.data, np.float32(mean)))


def core(weight: Image) -> Image:
    """Return a mask without its rim, at half the resolution."""
    coarse = thinned(weight, 2.0)
    rim = grow(coarse.data == 0, coarse.affine, RIM)
    return coarse if rim.all() else Image((~rim).astype(np.float32), coarse.affine)


def _weight(mask: nib.Nifti1Image | None, image: Image, name: str) -> Image | None:
    """Return a mask as weights of 0 and 1."""
    if mask is None:
        return None
    data = np.nan_to_num(np.asanyarray(mask.dataobj)) > 0
    data = data[..., 0] if data.ndim == 4 and data.shape[3] == 1 else data
    if data.shape != image.data.shape or not np.allclose(mask.affine, image.affine, atol=1e-3):
        raise BadInput(
            f"the {name} image {image.data.shape} and its mask {data.shape} are on different "
            "grids; resample the mask, or look at the affines of both"
        )
    if not data.any():
        raise BadInput(f"the mask of the {name} image is empty")
    return Image(data.astype(np.float32), image.affine)
