"""A pair of images with known transform, and the error of an estimated transform."""

from dataclasses import dataclass

import nibabel as nib
import numpy as np

from bidsapp.imaging.transforms import apply
from bidsapp.phantom.physics import Array
from bidsapp.phantom.template import Matrix

KINDS = ("b0", "dce", "followup")
METRIC = {"b0": "lpc", "dce": "lpa", "followup": "lpp"}
TRANSFORM = {"b0": "affine", "dce": "affine", "followup": "rigid"}


@dataclass(frozen=True)
class Case:
    """Two images with the true transform between them.

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
        Positions of these points in the moving image, including EPI distortion.
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
        """Transform and metric for the kind of pair."""
        return {"transform": TRANSFORM[self.kind], "metric": METRIC[self.kind]}


@dataclass(frozen=True)
class Error:
    """Errors of a matrix: mean distances over points, mm.

    Attributes
    ----------
    lesion, brain : float
        Distance from the positions in the moving image, including EPI distortion.
    lesion_affine, brain_affine : float
        Distance from the positions according to `truth`, without distortion.
    floor : float
        `lesion` of the affine matrix that fits the whole brain best.
    """

    lesion: float
    brain: float
    lesion_affine: float
    brain_affine: float
    floor: float


def error(matrix: Matrix, case: Case) -> Error:
    """Return the errors of a matrix (fixed to moving points, RAS, mm)."""
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
