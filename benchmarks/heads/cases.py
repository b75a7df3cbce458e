"""One pair of images: drawn from a seed, spoilt in a known way, and judged against its truth."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import nibabel as nib
import numpy as np
from scipy import ndimage

from benchmarks.heads import patients
from benchmarks.heads.patients import SEED, patient, volume
from bidsapp.imaging.masks import grow
from bidsapp.imaging.transforms import apply, compose, invert, translation
from bidsapp.phantom.acquisition import (
    Grid,
    draw_pose,
    epi_displacement,
    pair_means,
    plan_grid,
    rician,
    rigid,
    sample,
    sample_distorted,
)
from bidsapp.phantom.anatomy import CENTRE
from bidsapp.phantom.physics import Array
from bidsapp.phantom.series import FIELDS_OF_VIEW, PROTOCOLS, WHITE_LEVEL
from bidsapp.phantom.template import Matrix

KINDS = ("b0", "dce", "followup")
METRIC = {"b0": "lpc", "dce": "lpa", "followup": "lpa"}
TRANSFORM = {"b0": "affine", "dce": "affine", "followup": "rigid"}
STRESSES = ("far", "mask-grown", "mask-lacking", "noisy", "slab", "resection", "unmasked")
PATIENTS = 4
DEGREES, SHIFT, STRETCH = 15.0, 30.0, 0.03
"""Largest rotation about each axis, shift along it in mm, and scale and shear."""
SNR = 30.0
"""Of white matter in the b = 0 image and in a frame of the DCE; twice that in a T1w."""
FAR = translation([60.0, 230.0, -80.0])
"""250 mm from the isocentre."""
MASK_GROWN, BASE = 5.0, 0.25
"""By how much a mask is grown, mm; the share of the brain's height that it lacks below."""
SLAB = 18 / 29
"""Share of the slices in a slab."""
POINTS = 150
"""In each lesion."""
GRIDS = {
    False: {"fixed": (1.0, 1.0, 1.0), "b0": PROTOCOLS["paper"].dwi, "dce": PROTOCOLS["paper"].dce,
            "followup": PROTOCOLS["paper"].t1w},
    True: {"fixed": (3.0, 3.0, 3.0), "b0": (3.0, 3.0, 5.0), "dce": (3.0, 3.0, 8.0),
           "followup": (3.0, 3.0, 3.0)},
}  # fmt: skip
"""Voxels in mm, for rough images or not."""
FIELDS = {"fixed": "t1w", "b0": "dwi", "dce": "dce", "followup": "t1w"}


@dataclass(frozen=True)
class Case:
    """Two images, and where the one lies in the other.

    Attributes
    ----------
    kind, stress : str
    seed : int
    moving, fixed : Nifti1Image
    fixed_mask, lesion_mask : Nifti1Image or None
        The brain, if it is given to the engine; and the lesions (both on the fixed grid).
    truth : (4, 4) array
        Fixed points to moving points, RAS mm, without the EPI distortion.
    lesion_points, brain_points : (n, 3) array
        Fixed points, mm; each lesion has as many.
    lesion_targets, brain_targets : (n, 3) array
        Where these points really appear in the moving image, the EPI distortion included.
    """

    kind: str
    stress: str
    seed: int
    moving: nib.Nifti1Image
    fixed: nib.Nifti1Image
    fixed_mask: nib.Nifti1Image | None
    lesion_mask: nib.Nifti1Image
    truth: Matrix
    lesion_points: Array
    brain_points: Array
    lesion_targets: Array
    brain_targets: Array

    @property
    def options(self) -> dict[str, str]:
        """Transform and metric that suit the kind."""
        return {"transform": TRANSFORM[self.kind], "metric": METRIC[self.kind]}


@dataclass(frozen=True)
class Error:
    """How far off a matrix is, mm in the mean over points.

    Attributes
    ----------
    lesion, brain : float
        From where the points really appear, the EPI distortion included.
    lesion_affine, brain_affine : float
        From where the undistorted truth takes them.
    floor : float
        `lesion` of the affine matrix that fits the whole brain best.
    """

    lesion: float
    brain: float
    lesion_affine: float
    brain_affine: float
    floor: float


def error(matrix: Matrix, case: Case) -> Error:
    """Return how far off a matrix (fixed to moving points, RAS mm) is."""
    points = {"lesion": case.lesion_points, "brain": case.brain_points}
    targets = {"lesion": case.lesion_targets, "brain": case.brain_targets}
    return Error(
        **{name: _distance(matrix, p, targets[name]) for name, p in points.items()},
        **{f"{n}_affine": _distance(matrix, p, apply(case.truth, p)) for n, p in points.items()},
        floor=_distance(best_affine(case), case.lesion_points, case.lesion_targets),
    )


def _distance(matrix: Matrix, points: Array, targets: Array) -> float:
    return float(np.linalg.norm(apply(matrix, points) - targets, axis=1).mean())


def best_affine(case: Case) -> Matrix:
    """Return the affine matrix with the least squared error over the brain."""
    known = np.column_stack([case.brain_points, np.ones(len(case.brain_points))])
    matrix = np.eye(4)
    matrix[:3] = np.linalg.lstsq(known, case.brain_targets, rcond=None)[0].T
    return matrix


def draw_case(
    kind: str, seed: int, stress: str = "", *, image: str = "mean", rough: bool = False
) -> Case:
    """Draw a pair of images.

    Parameters
    ----------
    kind : str
        ``b0`` and ``dce`` onto the T1w of the same session, ``followup`` onto an earlier one: there
        the lesions have 10 % of their volume (even seeds) or three times it (odd).
    seed : int
        Fixes everything; the patients take turns.
    stress : str, optional
        One of `STRESSES`.
    image : str
        Of the DCE: ``mean``, ``peak`` or ``precontrast``.
    rough : bool
        Voxels of 3 mm, for a quick trial.

    Returns
    -------
    Case
    """
    number = seed % PATIENTS
    rng = np.random.default_rng([SEED, KINDS.index(kind), seed])
    pose = draw_pose(rng, 5.0, 8.0)
    truth = _draw_truth(kind, pose, rng)
    states = _states(kind, seed, stress)
    noise = 2 if stress == "noisy" else 1
    zooms = GRIDS[rough]
    where = plan_grid("axial", zooms["fixed"], FIELDS_OF_VIEW["t1w"], pose, rng)
    fixed = _image("followup", where, number, states[0], "t1w", pose, noise, rng)
    orientation = "sagittal" if kind == "dce" else "axial"
    field = FIELDS_OF_VIEW[FIELDS[kind]]
    grid = plan_grid(orientation, zooms[kind], field, truth @ pose, rng)
    contrast = {"b0": "b0", "dce": f"dce-{image}", "followup": "t1w"}[kind]
    moving = _image(kind, grid, number, states[1], contrast, truth @ pose, noise, rng)
    lesion, brain = (apply(pose, p) for p in patients.points_of(number, POINTS))
    case = Case(
        kind, stress, seed, moving, fixed, *_masks(number, where, pose),
        truth=truth, lesion_points=lesion, brain_points=brain,
        lesion_targets=_targets(kind, lesion, grid, pose, truth),
        brain_targets=_targets(kind, brain, grid, pose, truth),
    )  # fmt: skip
    return SPOILERS.get(stress, lambda c: c)(case)


def _draw_truth(kind: str, pose: Matrix, rng: np.random.Generator) -> Matrix:
    """Return rotation, shift, scale and shear about the head, fixed to moving points."""
    middle = apply(pose, CENTRE)
    turned = rigid(
        np.deg2rad(rng.uniform(-DEGREES, DEGREES, 3)), rng.uniform(-SHIFT, SHIFT, 3), middle
    )
    if TRANSFORM[kind] == "rigid":
        return turned
    stretch = np.eye(4)
    stretch[np.triu_indices(3)] += rng.uniform(-STRETCH, STRETCH, 6)
    return compose(translation(-middle), stretch, translation(middle), turned)


def _states(kind: str, seed: int, stress: str) -> tuple[str, str]:
    """Return the states of the lesions in the fixed and in the moving image."""
    odd = bool(seed % 2)
    later = ("grown" if odd else "shrunk") if kind == "followup" else "baseline"
    if stress != "resection":
        return "baseline", later
    return ("cavity", later) if odd else ("baseline", "cavity")


def _image(
    kind: str,
    grid: Grid,
    number: int,
    state: str,
    contrast: str,
    pose: Matrix,
    noise: float,
    rng: np.random.Generator,
) -> nib.Nifti1Image:
    """Return what the scanner sees on a grid, noise included."""
    clean, frames = volume(number, state, contrast)
    source, affine = clean.astype(np.float32), patient(number).anatomy.affine
    points = _points(grid)
    if kind == "b0":
        shifts = epi_displacement(grid, pose, points)
        data = sample_distorted(source, affine, grid, pose, points, shifts)
    elif kind == "dce":
        data = sample(*pair_means(source, affine), grid, pose, points)
    else:
        data = sample(source, affine, grid, pose, points)
    sigma = noise * WHITE_LEVEL / SNR / np.sqrt(frames) / (2 if contrast == "t1w" else 1)
    return nib.Nifti1Image(np.rint(rician(data, sigma, rng)).astype(np.int16), grid.affine)


def _points(grid: Grid) -> tuple[int, int, int]:
    """Return the points along each axis that a voxel's mean is taken over."""
    i, j, k = (max(1, int(n)) for n in np.where(grid.spacing > 6, 4, grid.spacing))
    return i, j, k


def _masks(number: int, grid: Grid, pose: Matrix) -> tuple[nib.Nifti1Image, nib.Nifti1Image]:
    """Return the masks of brain and lesions on the fixed grid."""
    drawn = patient(number)
    sources = (
        (drawn.mask.astype(np.float32), drawn.mask_affine),
        (patients.lesion_volume(number), drawn.anatomy.affine),
    )
    brain, lesion = (
        nib.Nifti1Image((sample(*source, grid, pose) > 0.5).astype(np.uint8), grid.affine)
        for source in sources
    )
    return brain, lesion


def _targets(kind: str, points: Array, grid: Grid, pose: Matrix, truth: Matrix) -> Array:
    """Return where points of the fixed image appear in the moving one."""
    straight = apply(truth, points)
    if kind != "b0":
        return straight
    shifts = epi_displacement(grid, truth @ pose, (1, 1, 1))
    voxels = apply(invert(grid.affine), straight)
    found = voxels.copy()
    for _ in range(20):  # the signal that appears at y comes from y + shift(y)
        shift = ndimage.map_coordinates(shifts, found.T, order=1, mode="nearest")
        found[:, 1] = voxels[:, 1] - shift / grid.spacing[1]
    return apply(grid.affine, found)


def _far(case: Case) -> Case:
    """Put the head far from the isocentre, in both headers."""

    def moved(image: nib.Nifti1Image) -> nib.Nifti1Image:
        return nib.Nifti1Image(image.dataobj, compose(image.affine, FAR))

    names = ("moving", "fixed", "fixed_mask", "lesion_mask")
    points = ("lesion_points", "brain_points", "lesion_targets", "brain_targets")
    return replace(
        case,
        **{name: moved(getattr(case, name)) for name in names},
        **{name: apply(FAR, getattr(case, name)) for name in points},
        truth=compose(invert(FAR), case.truth, FAR),
    )


def _masked(case: Case, mask: Array) -> Case:
    image = nib.Nifti1Image(mask.astype(np.uint8), case.fixed.affine)
    return replace(case, fixed_mask=image)


def _mask_grown(case: Case) -> Case:
    return _masked(case, grow(np.asarray(case.fixed_mask.dataobj), case.fixed.affine, MASK_GROWN))


def _mask_lacking(case: Case) -> Case:
    """Cut the lesions, a little around them and the base of the brain out of its mask."""
    mask = np.array(case.fixed_mask.dataobj) > 0
    height = np.flatnonzero(mask.any(axis=(0, 1)))
    mask[:, :, : int(np.quantile(height, BASE))] = False
    lesion = grow(np.asarray(case.lesion_mask.dataobj), case.fixed.affine, 3.0)
    return _masked(case, mask & ~lesion)


def _slab(case: Case) -> Case:
    """Keep a part of the slices, around the lesions as far as that is possible."""
    slices = case.moving.shape[2]
    kept = round(SLAB * slices)
    at = apply(invert(case.moving.affine), case.lesion_targets)[:, 2].mean()
    first = int(np.clip(round(at - kept / 2), 0, slices - kept))
    return replace(case, moving=case.moving.slicer[:, :, first : first + kept])


def _unmasked(case: Case) -> Case:
    return replace(case, fixed_mask=None)


SPOILERS: dict[str, Callable[[Case], Case]] = {
    "far": _far,
    "mask-grown": _mask_grown,
    "mask-lacking": _mask_lacking,
    "slab": _slab,
    "unmasked": _unmasked,
}
