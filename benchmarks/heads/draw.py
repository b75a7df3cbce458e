"""Random pairs of images, from a seed."""

from typing import NamedTuple

import nibabel as nib
import numpy as np
from scipy import ndimage

from benchmarks.heads import patients
from benchmarks.heads.case import KINDS, TRANSFORM, Case
from benchmarks.heads.patients import SEED, patient, volume
from benchmarks.heads.spoilers import NOISE, spoil
from bidsapp.imaging.transforms import apply, compose, invert, translation
from bidsapp.phantom.acquisition import (
    ImageGrid,
    add_rician_noise,
    draw_pose,
    epi_displacement,
    pair_means,
    plan_grid,
    rigid,
    sample,
    sample_distorted,
)
from bidsapp.phantom.anatomy import CENTRE
from bidsapp.phantom.physics import Array
from bidsapp.phantom.series import FIELDS_OF_VIEW, PROTOCOLS, WHITE_LEVEL
from bidsapp.phantom.template import Matrix

PATIENTS = 4
DEGREES, SHIFT, STRETCH = 15.0, 30.0, 0.03
"""Largest rotation about each axis, shift along it in mm, and scale and shear."""
SNR = 30.0
"""Of white matter in the b = 0 image and in a frame of the DCE; twice that in a T1w."""
POINTS = 150
"""In each lesion."""
GRIDS = {
    False: {"fixed": (1.0, 1.0, 1.0), "b0": PROTOCOLS["paper"].dwi, "dce": PROTOCOLS["paper"].dce,
            "followup": PROTOCOLS["paper"].t1w},
    True: {"fixed": (3.0, 3.0, 3.0), "b0": (3.0, 3.0, 5.0), "dce": (3.0, 3.0, 8.0),
           "followup": (3.0, 3.0, 3.0)},
}  # fmt: skip
"""Voxels in mm, for rough images or not."""
CONTRAST = {"b0": "b0", "followup": "t1w"}
FIELDS = {"fixed": "t1w", "b0": "dwi", "dce": "dce", "followup": "t1w"}


class _Content(NamedTuple):
    """Patient, state and contrast of an image."""

    number: int
    state: str
    contrast: str


def draw_case(
    kind: str,
    seed: int,
    stress: str = "",
    *,
    image: str = "mean",
    distortion: float = 1.0,
    rough: bool = False,
) -> Case:
    """Draw a pair of images.

    Parameters
    ----------
    kind : str
        ``b0`` and ``dce`` onto the T1w of the same session, ``followup`` onto an earlier one: there
        the lesions have 10 % of their volume (even seeds) or three times it (odd).
    seed : int
        Fixes everything; the patients take turns, two seeds each.
    stress : str, optional
        One of `spoilers.STRESSES` or `spoilers.SPOILT`.
    image : str
        Of the DCE: ``mean``, ``peak`` or ``precontrast``.
    distortion : float
        Of the b0, times that of the phantom.
    rough : bool
        Voxels of 3 mm, for a quick trial.

    Returns
    -------
    Case
    """
    rng = np.random.default_rng([SEED, KINDS.index(kind), seed])
    number = seed // 2 % PATIENTS
    pose = draw_pose(rng, 5.0, 8.0)
    truth = _draw_truth(kind, pose, rng)
    before, after = _states(kind, seed, stress)
    noise = NOISE.get(stress, 1.0)
    where = plan_grid("axial", GRIDS[rough]["fixed"], FIELDS_OF_VIEW["t1w"], pose, rng)
    fixed = _image("followup", where, _Content(number, before, "t1w"), pose, noise, rng)
    orientation = "sagittal" if kind == "dce" else "axial"
    field = FIELDS_OF_VIEW[FIELDS[kind]]
    grid = plan_grid(orientation, GRIDS[rough][kind], field, truth @ pose, rng)
    who = (number + 1) % PATIENTS if stress == "other-patient" else number
    content = _Content(who, after, f"dce-{image}" if kind == "dce" else CONTRAST[kind])
    moving = _image(kind, grid, content, truth @ pose, noise, rng, distortion)
    points = [apply(pose, found) for found in patients.points_of(number, POINTS)]
    strength = distortion if kind == "b0" else 0.0
    targets = [_targets(strength, found, grid, pose, truth) for found in points]
    masks = _masks(number, where, pose)
    return spoil(Case(kind, stress, seed, moving, fixed, *masks, truth, *points, *targets))


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
    grid: ImageGrid,
    content: _Content,
    pose: Matrix,
    noise: float,
    rng: np.random.Generator,
    distortion: float = 1.0,
) -> nib.Nifti1Image:
    """Return the noisy image on a grid."""
    clean, frames = volume(*content)
    source, affine = clean.astype(np.float32), patient(content.number).anatomy.affine
    points = _points(grid)
    if kind == "b0":
        shifts = np.float32(distortion) * epi_displacement(grid, pose, points)
        data = sample_distorted(source, affine, grid, pose, points, shifts)
    elif kind == "dce":
        data = sample(*pair_means(source, affine), grid, pose, points)
    else:
        data = sample(source, affine, grid, pose, points)
    sigma = noise * WHITE_LEVEL / SNR / np.sqrt(frames) / (2 if content.contrast == "t1w" else 1)
    return nib.Nifti1Image(
        np.rint(add_rician_noise(data, sigma, rng)).astype(np.int16), grid.affine
    )


def _points(grid: ImageGrid) -> tuple[int, int, int]:
    """Return the number of points along each axis over which voxels are averaged."""
    i, j, k = (max(1, int(n)) for n in np.where(grid.spacing > 6, 4, grid.spacing))
    return i, j, k


def _masks(number: int, grid: ImageGrid, pose: Matrix) -> tuple[nib.Nifti1Image, nib.Nifti1Image]:
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


def _targets(
    distortion: float, points: Array, grid: ImageGrid, pose: Matrix, truth: Matrix
) -> Array:
    """Return where points of the fixed image appear in the moving one."""
    straight = apply(truth, points)
    if not distortion:
        return straight
    shifts = distortion * epi_displacement(grid, truth @ pose, (1, 1, 1))
    voxels = apply(invert(grid.affine), straight)
    found = voxels.copy()
    for _ in range(20):  # the signal that appears at y comes from y + shift(y)
        shift = ndimage.map_coordinates(shifts, found.T, order=1, mode="nearest")
        found[:, 1] = voxels[:, 1] - shift / grid.spacing[1]
    return apply(grid.affine, found)
