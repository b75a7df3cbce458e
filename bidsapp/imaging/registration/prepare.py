"""Preparation of the two images of a registration: checks, masks and cropping."""

from dataclasses import dataclass, replace

import nibabel as nib
import numpy as np

from bidsapp.errors import BadInput
from bidsapp.imaging.masks import grow
from bidsapp.imaging.registration.background import (
    constant_background,
    extend,
    leaves_brain_only,
    surrounds_brain,
)
from bidsapp.imaging.registration.sampling import Image, Points, as_image, crop, subsample
from bidsapp.imaging.registration.starts import foreground_mask
from bidsapp.imaging.transforms import Matrix, apply

RIM = 6.0
"""mm; width of the edge of the fixed mask left out of affine registrations: it contains skull and
dura, whose contrast differs from that of the brain and biases scales by up to one percent."""
MARGIN = 12.0
"""mm; margin kept around the brain in a fine image."""


@dataclass(frozen=True)
class ImagePair:
    """Both images, the weights of their voxels (0 or 1), and points of the fixed brain.

    Of the images in `stripped`, ``fixed`` or ``moving``, the background is missing data.
    """

    moving: Image
    moving_weight: Image | None
    fixed: Image
    fixed_weight: Image
    points: Points
    stripped: tuple[str, ...] = ()

    def swap(self, matrix: Matrix) -> "ImagePair":
        """Return the pair with fixed and moving exchanged, by a matrix from fixed to moving."""
        weight = self.moving_weight or _everywhere(self.moving)
        return ImagePair(
            self.fixed, self.fixed_weight, self.moving, weight, apply(matrix, self.points)
        )


def prepare_pair(
    moving: nib.Nifti1Image,
    moving_mask: nib.Nifti1Image | None,
    fixed: nib.Nifti1Image,
    fixed_mask: nib.Nifti1Image | None,
    *,
    inverted: bool = False,
) -> ImagePair:
    """Return checked images, the fixed one cropped to its brain.

    If the contrasts are assumed to be `inverted`, the background of skull-stripped images is
    missing data: brain and background have the same contrast in any image.
    """
    target = as_image(np.asanyarray(fixed.dataobj), fixed.affine, "fixed image")
    source = as_image(np.asanyarray(moving.dataobj), moving.affine, "moving image")
    weight = _weight(fixed_mask, target, "fixed") or Image(
        foreground_mask(target).astype(np.float32), target.affine
    )
    counts = _weight(moving_mask, source, "moving")
    if counts:
        source = _fill_outside(source, counts)
    points = _spread_points(weight)
    target, weight = crop(target, points, MARGIN), crop(weight, points, MARGIN)
    stripped = []
    beyond = constant_background(source) if inverted else None
    if beyond and leaves_brain_only(beyond, weight):
        stripped.append("moving")
        counts = _exclude(counts or _everywhere(source), beyond, "moving")
        source = extend(source, beyond)
    outside = constant_background(target) if inverted else None
    if outside and surrounds_brain(outside, weight):
        stripped.append("fixed")
        weight = _exclude(weight, outside, "fixed")
        target, points = extend(target, outside), _spread_points(weight)
    return ImagePair(source, counts, target, weight, points, tuple(stripped))


def _spread_points(weight: Image) -> Points:
    """Return points distributed over a mask, mm."""
    points = apply(weight.affine, np.argwhere(weight.data > 0))
    # Distances between matrices are means over these points; 2000 are plenty.
    return points[:: max(1, len(points) // 2000)]


def _everywhere(image: Image) -> Image:
    """Return weights of 1."""
    return Image(np.ones(image.data.shape, np.float32), image.affine)


def _exclude(weight: Image, background: Image, name: str) -> Image:
    """Return weights that are 0 in the background."""
    # `interpolate` would copy an array of any other order at each evaluation of the cost.
    kept = np.ascontiguousarray(weight.data * (1 - background.data))
    if not kept.any():
        raise BadInput(
            f"the mask of the {name} image contains nothing but constant background; check that "
            "the mask belongs to the image"
        )
    return replace(weight, data=kept)


def _fill_outside(image: Image, weight: Image) -> Image:
    """Return an image with its mean outside the mask, so that nothing leaks in by blurring."""
    inside = weight.data > 0
    mean = image.data[inside].mean(dtype=float)
    return replace(image, data=np.where(inside, image.data, np.float32(mean)))


def inner_mask(weight: Image) -> Image:
    """Return a mask eroded by `RIM`, in voxels of about 2 mm; unchanged if nothing would remain."""
    # Voxels of 2 mm are fine enough for a rim of 6 mm.
    coarse = subsample(weight, 2.0)
    rim = grow(coarse.data == 0, coarse.affine, RIM)
    return coarse if rim.all() else Image((~rim).astype(np.float32), coarse.affine)


def _weight(mask: nib.Nifti1Image | None, image: Image, name: str) -> Image | None:
    """Return a mask as weights of 0 and 1 after checking its grid."""
    if mask is None:
        return None
    data = np.nan_to_num(np.asanyarray(mask.dataobj)) > 0
    data = data[..., 0] if data.ndim == 4 and data.shape[3] == 1 else data
    if data.shape != image.data.shape or not np.allclose(mask.affine, image.affine, atol=1e-3):
        raise BadInput(
            f"the {name} image {image.data.shape} and its mask {data.shape} are on different "
            "grids; resample the mask, or check the affines of both"
        )
    if not data.any():
        raise BadInput(f"the mask of the {name} image is empty")
    return Image(np.ascontiguousarray(data, np.float32), image.affine)
