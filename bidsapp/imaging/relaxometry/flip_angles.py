"""Alignment of images at several flip angles with a dynamic series."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import ArrayLike

from bidsapp.errors import BadInput
from bidsapp.imaging.motion.blocks import CannotAlign
from bidsapp.imaging.motion.correction import estimate_motion
from bidsapp.imaging.registration.quality import Quality, Verdict
from bidsapp.imaging.registration.register import register
from bidsapp.imaging.registration.sampling import Image, Points
from bidsapp.imaging.registration.similarity import Metric
from bidsapp.imaging.registration.starts import foreground_mask, mean_distance
from bidsapp.imaging.resample import ImageData, resample
from bidsapp.imaging.transforms import Matrix, apply

STILL_VOXELS = 0.2
"""Displacement up to which an image is not resampled, in voxels."""
METRIC: Metric = "lpa"
"""Of the registration: the signs of contrasts differ between flip angles and after contrast."""
_POINTS = 2000


@dataclass(frozen=True)
class Placement:
    """Where an image lies relative to the fixed image.

    Attributes
    ----------
    estimate : (4, 4) array
        Points of the fixed image to points of the image, RAS mm, as estimated.
    displacement_mm, displacement_voxels : float
        Root mean square displacement of the fixed head, in mm and in voxels of the image.
    quality : Quality or None
        Quality of the registration; None if it was not possible.
    problem : str
        Why the estimate cannot be used; empty otherwise.
    """

    estimate: Matrix
    displacement_mm: float = float("nan")
    displacement_voxels: float = float("nan")
    quality: Quality | None = None
    problem: str = ""

    @property
    def applied(self) -> bool:
        """Whether the estimate is used.

        It is not if it does not differ from zero by more than the expected error, or is so small
        that an interpolation would change the image more than the displacement does.
        """
        if self.problem or self.quality is None:
            return False
        error = self.quality.expected_error_mm
        if not np.isfinite(error):  # the cost is not convex: tracking is the other estimate
            error = self.quality.disagreement_mm
        return self.displacement_voxels > STILL_VOXELS and not self.displacement_mm <= error

    @property
    def matrix(self) -> Matrix:
        """The matrix to resample the image by: the estimate, or scanner coordinates."""
        return self.estimate if self.applied else np.eye(4)

    def as_dict(self) -> dict[str, Any]:
        """Return the displacement, whether it was applied, and the quality measures."""
        numbers = {n: getattr(self, n) for n in ("displacement_mm", "displacement_voxels")}
        found: dict[str, Any] = {n: v if np.isfinite(v) else None for n, v in numbers.items()}
        found |= {"applied": self.applied, "matrix": self.estimate.tolist()}
        if self.quality is None:
            return found | {"verdict": Verdict.FAILED.value, "reason": self.problem}
        return found | self.quality.as_dict()


def place_flip_angles(
    images: Sequence[nib.Nifti1Image],
    flip_angles: ArrayLike,
    fixed: nib.Nifti1Image,
) -> list[Placement]:
    """Register spoiled gradient echoes at several flip angles to the mean of a dynamic series.

    Parameters
    ----------
    images : sequence of (X, Y, Z) Nifti1Image
        On any grids.
    flip_angles : (N,) array
        In any unit.
    fixed : (X, Y, Z) Nifti1Image
        The mean of the series after motion correction.

    Returns
    -------
    list of Placement
        In the order of the images.

    Notes
    -----
    The images are tracked from the fixed image to the largest flip angle, whose contrast is most
    like it, and on to the smallest one, as are the frames of a dynamic series: in blocks, with a
    factor and an offset in each (see `estimate_motion`). At small angles tissues hardly differ, and
    a search over many poses finds wrong ones. From the tracked pose each image is then registered
    rigidly to the fixed image itself; a chain of registrations between the images was less
    accurate. The whole head is used: within the brain, images at small angles have too little
    contrast. `Quality.disagreement_mm` is the distance between tracking and registration.

    References
    ----------
    Saad et al., NeuroImage 2009, doi:10.1016/j.neuroimage.2008.09.037.
    """
    order = np.argsort(-np.asarray(flip_angles, float), kind="stable")
    try:
        poses = _track([images[n] for n in order], fixed)
    except CannotAlign as error:
        return [Placement(np.eye(4), problem=str(error)) for _ in images]
    points = _head_points(fixed)
    found = {
        int(n): _register(images[n], fixed, pose, points)
        for n, pose in zip(order, poses, strict=True)
    }
    return [found[n] for n in range(len(images))]


def resample_placed(
    images: Sequence[nib.Nifti1Image], placed: Sequence[Placement], fixed: nib.Nifti1Image
) -> list[ImageData]:
    """Resample images to the grid of the fixed image, in one cubic interpolation.

    Parameters
    ----------
    images : sequence of (X, Y, Z) Nifti1Image
    placed : sequence of Placement
        Of each image.
    fixed : Nifti1Image
        Defines the grid.

    Returns
    -------
    list of arrays
        NaN outside the field of view. An image on the grid of the fixed one that is not moved keeps
        its values.
    """
    return [
        _values(image)
        if not place.applied and same_grid(image, fixed)
        else resample(
            _values(image), image.affine, place.matrix, fixed.shape[:3], fixed.affine, order=3
        )
        for image, place in zip(images, placed, strict=True)
    ]


def same_grid(one: nib.Nifti1Image, other: nib.Nifti1Image) -> bool:
    """Return whether two images have the same voxels, up to 0.01 mm."""
    same_shape = one.shape[:3] == other.shape[:3]
    return same_shape and bool(np.allclose(one.affine, other.affine, atol=1e-2))


def _values(image: nib.Nifti1Image) -> ImageData:
    data = np.asanyarray(image.dataobj, np.float32)
    return data[..., 0] if data.ndim == 4 else data


def _track(images: Sequence[nib.Nifti1Image], fixed: nib.Nifti1Image) -> list[Matrix]:
    """Return the pose of each image, followed from the fixed one through all of them."""
    grid = (np.eye(4), fixed.shape[:3], fixed.affine)
    frames = [_values(fixed), *(resample(_values(i), i.affine, *grid) for i in images)]
    stack = np.stack([np.nan_to_num(frame) for frame in frames], axis=-1)
    return list(estimate_motion(stack, fixed.affine, reference=0).matrices[1:])


def _register(
    image: nib.Nifti1Image, fixed: nib.Nifti1Image, start: Matrix, points: Points
) -> Placement:
    """Register an image from a pose close to the solution."""
    try:
        found = register(image, fixed, transform="rigid", metric=METRIC, initial=start)
    except BadInput as error:
        return Placement(np.eye(4), problem=str(error))
    apart = mean_distance(found.matrix, start, points)
    quality = replace(found.quality, disagreement_mm=apart)
    failed = quality.verdict is Verdict.FAILED
    moved = apply(found.matrix, points) - points
    turned = moved @ np.linalg.inv(image.affine[:3, :3]).T
    lengths = [float(np.sqrt((vectors**2).sum(axis=1).mean())) for vectors in (moved, turned)]
    problem = quality.reason if failed else ""
    return Placement(found.matrix, lengths[0], lengths[1], quality, problem)


def _head_points(fixed: nib.Nifti1Image) -> Points:
    """Return points distributed over the head, mm."""
    inside = foreground_mask(Image(np.nan_to_num(_values(fixed)), fixed.affine))
    voxels = np.argwhere(inside)
    return apply(fixed.affine, voxels[:: max(1, len(voxels) // _POINTS)])
