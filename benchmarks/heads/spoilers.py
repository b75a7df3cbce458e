"""Modifications of a pair of images that make registration harder or impossible."""

from collections.abc import Callable
from dataclasses import replace

import nibabel as nib
import numpy as np

from benchmarks.heads.case import Case
from bidsapp.imaging.masks import grow
from bidsapp.imaging.transforms import apply, compose, invert, translation
from bidsapp.phantom.acquisition import rigid
from bidsapp.phantom.physics import Array
from bidsapp.phantom.template import Matrix

STRESSES = ("far", "mask-grown", "mask-lacking", "noisy", "slab", "resection", "unmasked")
"""Modifications with which a good engine still finds the truth."""
SPOILT = ("other-patient", "mirrored", "noise-only", "very-noisy", "sliver", "turned-away")
"""Modifications with which an engine should find the truth or report failure."""
UNANSWERABLE = ("other-patient", "mirrored", "noise-only")
"""Modifications without a true transform."""
NOISE = {"noisy": 2.0, "very-noisy": 10.0}
"""Factor on the noise of both images."""
FAR = translation([60.0, 230.0, -80.0])
"""250 mm from the isocentre."""
AWAY_DEGREES, AWAY_MM = 40.0, 100.0
"""Rotation and shift of a wrong moving header."""
MASK_GROWN, BASE = 5.0, 0.25
"""By how much a mask is grown, mm; the share of the brain's height that it lacks below."""
SLAB = 18 / 29
"""Proportion of the slices in a slab."""
SLIVER = 3
"""Slices in a sliver."""


def spoil(case: Case) -> Case:
    """Return the case with the modifications of its stress applied to the images."""
    spoiler = _SPOILERS.get(case.stress)
    return spoiler(case) if spoiler else case


def _move_header(image: nib.Nifti1Image, matrix: Matrix) -> nib.Nifti1Image:
    return nib.Nifti1Image(image.dataobj, compose(image.affine, matrix))


def _far(case: Case) -> Case:
    """Shift the head far from the isocentre, in both headers."""
    fixed = ("fixed", "fixed_mask", "lesion_mask")
    points = ("lesion_points", "brain_points")
    moved = replace(
        case,
        **{name: _move_header(getattr(case, name), FAR) for name in fixed},
        **{name: apply(FAR, getattr(case, name)) for name in points},
        truth=compose(invert(FAR), case.truth),
    )
    return _move(moved, FAR)


def _move(case: Case, matrix: Matrix) -> Case:
    """Shift the moving image in its header."""
    return replace(
        case,
        moving=_move_header(case.moving, matrix),
        truth=compose(case.truth, matrix),
        lesion_targets=apply(matrix, case.lesion_targets),
        brain_targets=apply(matrix, case.brain_targets),
    )


def _rotate_away(case: Case) -> Case:
    """Rotate and shift the moving header far from the head, about a random axis."""
    rng = np.random.default_rng([case.seed, 4])
    axis, shift = rng.standard_normal((2, 3))
    axis, shift = axis / np.linalg.norm(axis), shift / np.linalg.norm(shift)
    middle = case.brain_targets.mean(axis=0)
    return _move(case, rigid(np.deg2rad(AWAY_DEGREES) * axis, AWAY_MM * shift, middle))


def _mirror(case: Case) -> Case:
    """Swap left and right of the moving voxels, as a wrong header does."""
    across = int(np.abs(case.moving.affine[0, :3]).argmax())
    data = np.flip(np.asarray(case.moving.dataobj), across)
    return replace(case, moving=nib.Nifti1Image(data, case.moving.affine))


def _noise_only(case: Case) -> Case:
    """Replace the moving image by noise with the same standard deviation."""
    data = np.asarray(case.moving.dataobj)
    rng = np.random.default_rng([case.seed, 5])
    noise = np.abs(rng.normal(0, data.std(), data.shape)).astype(data.dtype)
    return replace(case, moving=nib.Nifti1Image(noise, case.moving.affine))


def _with_mask(case: Case, mask: Array) -> Case:
    image = nib.Nifti1Image(mask.astype(np.uint8), case.fixed.affine)
    return replace(case, fixed_mask=image)


def _mask_grown(case: Case) -> Case:
    return _with_mask(
        case, grow(np.asarray(case.fixed_mask.dataobj), case.fixed.affine, MASK_GROWN)
    )


def _mask_lacking(case: Case) -> Case:
    """Exclude the lesions with a margin, and the base of the brain, from the mask."""
    mask = np.array(case.fixed_mask.dataobj) > 0
    height = np.flatnonzero(mask.any(axis=(0, 1)))
    mask[:, :, : int(np.quantile(height, BASE))] = False
    lesion = grow(np.asarray(case.lesion_mask.dataobj), case.fixed.affine, 3.0)
    return _with_mask(case, mask & ~lesion)


def _slab(case: Case) -> Case:
    return _slices(case, round(SLAB * case.moving.shape[2]))


def _sliver(case: Case) -> Case:
    return _slices(case, SLIVER)


def _slices(case: Case, kept: int) -> Case:
    """Keep a part of the slices, if possible around the lesions."""
    at = apply(invert(case.moving.affine), case.lesion_targets)[:, 2].mean()
    first = int(np.clip(round(at - kept / 2), 0, case.moving.shape[2] - kept))
    return replace(case, moving=case.moving.slicer[:, :, first : first + kept])


def _without_mask(case: Case) -> Case:
    return replace(case, fixed_mask=None)


_SPOILERS: dict[str, Callable[[Case], Case]] = {
    "far": _far,
    "mask-grown": _mask_grown,
    "mask-lacking": _mask_lacking,
    "slab": _slab,
    "unmasked": _without_mask,
    "mirrored": _mirror,
    "noise-only": _noise_only,
    "sliver": _sliver,
    "turned-away": _rotate_away,
}
