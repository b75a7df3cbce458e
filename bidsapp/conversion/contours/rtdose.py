"""Dose distributions of DICOM RT dose files: one plan, or the sum of several."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bidsapp.conversion.contours.rtstruct import LPS
from bidsapp.errors import BadInput
from bidsapp.imaging.resample import resample
from bidsapp.lesions.dose import LARGEST_DOSE

FORMAT = "RTDOSE"
SOP_CLASS = "1.2.840.10008.5.1.4.1.1.481.2"
"""UID of the SOP class RT Dose Storage."""
_WHOLE = ("PLAN", "MULTI_PLAN")
"""Sums over all that is given in a plan; others are of single beams or fractions."""
_EVEN = 1e-3
"""Largest difference of the distances of planes, and of the axes from a right angle, relative."""


@dataclass(frozen=True, eq=False)
class DoseGrid:
    """A dose distribution.

    Attributes
    ----------
    values : (X, Y, Z) array, Gy
    affine : (4, 4) array
        Its voxels to RAS mm.
    frame : str
        UID of the frame of reference of its coordinates.
    plans : tuple of str
        UIDs of the plans, for comparison only: they are never shown or written.
    identity : tuple of str
        What only copies of the file share.
    patient : str
        Identifier of the patient, for comparison only.
    """

    values: NDArray[np.float32]
    affine: NDArray[np.float64]
    frame: str
    plans: tuple[str, ...] = field(default=(), repr=False)
    identity: tuple[str, ...] = field(default=(), repr=False)
    patient: str = field(default="", repr=False)


def read_dose_grid(dataset: Any) -> DoseGrid:
    """Return the dose of an RT dose data set.

    Parameters
    ----------
    dataset : pydicom.Dataset
        Of SOP class RT Dose Storage.

    Returns
    -------
    DoseGrid
        In RAS.

    Raises
    ------
    BadInput
        If it is not the physical dose of a whole plan in Gy on a regular grid.

    Notes
    -----
    Frames lie at the offsets of ``GridFrameOffsetVector`` along the normal of the planes, which is
    the cross product of the directions of ``ImageOrientationPatient``. Offsets that begin with 0
    are distances from ``ImagePositionPatient``, of either sign; others are z coordinates, which
    exist for transverse planes only (DICOM PS3.3, C.8.8.3.2).
    """
    _check_kind(dataset)
    scaling = float(dataset.get("DoseGridScaling") or 0)
    if not (np.isfinite(scaling) and scaling > 0):
        raise BadInput(f"its DoseGridScaling is {scaling:g}, not positive: export it again")
    frames = np.asarray(dataset.pixel_array)
    if frames.ndim != 3 or len(frames) < 2:
        raise BadInput("has a single plane: export the dose on a grid of several planes")
    affine = _affine(dataset, len(frames))
    values = np.asarray(frames.transpose(2, 1, 0) * scaling, np.float32)
    _check_values(values)
    plans = tuple(
        str(one.get("ReferencedSOPInstanceUID") or "")
        for one in dataset.get("ReferencedRTPlanSequence") or ()
    )
    return DoseGrid(values, affine, str(dataset.get("FrameOfReferenceUID") or ""), plans)


def _check_kind(dataset: Any) -> None:
    """Raise an error that names all that makes a dose unusable."""
    problems = []
    units = str(dataset.get("DoseUnits") or "not stated").upper()
    if units != "GY":
        problems.append(f"its DoseUnits are {units}, not GY: export the absolute dose")
    kind = str(dataset.get("DoseType") or "not stated").upper()
    if kind != "PHYSICAL":
        problems.append(f"its DoseType is {kind}, not PHYSICAL: export the physical dose")
    extent = str(dataset.get("DoseSummationType") or "not stated").upper()
    if extent not in _WHOLE:
        problems.append(
            f"its DoseSummationType is {extent}, a part of what is given: export the dose of the "
            "whole plan (PLAN)"
        )
    if problems:
        raise BadInput("; ".join(problems))


def _check_values(values: NDArray[np.float32]) -> None:
    """Raise an error for values that cannot be doses in Gy."""
    low, high = float(values.min()), float(values.max())
    if low < 0 or not 0 < high <= LARGEST_DOSE:
        raise BadInput(
            f"its doses are {low:g} to {high:g} Gy, outside 0 to {LARGEST_DOSE:g}: is the scaling "
            "that of another unit, such as cGy?"
        )


def _affine(dataset: Any, count: int) -> NDArray[np.float64]:
    """Return the matrix from voxels to RAS mm."""
    directions = np.asarray(dataset.get("ImageOrientationPatient") or (), float)
    origin = np.asarray(dataset.get("ImagePositionPatient") or (), float)
    spacing = np.asarray(dataset.get("PixelSpacing") or (), float)
    if (directions.size, origin.size, spacing.size) != (6, 3, 2):
        raise BadInput(
            "has no complete ImageOrientationPatient, ImagePositionPatient and PixelSpacing"
        )
    row, column = directions.reshape(2, 3)
    normal = np.cross(row, column)
    lengths = [float(np.linalg.norm(one)) for one in (row, column, normal)]
    if not (np.allclose(lengths, 1, atol=_EVEN) and (spacing > 0).all()):
        raise BadInput("the axes of its planes are not orthonormal, or have no spacing")
    step = _plane_step(dataset, count, origin, normal)
    lps = np.eye(4)
    # PixelSpacing is the distance of rows, then of columns (DICOM PS3.3, 10.7.1.3).
    lps[:3] = np.column_stack([row * spacing[1], column * spacing[0], normal * step, origin])
    return np.asarray(np.diag([*LPS, 1.0]) @ lps)


def _plane_step(
    dataset: Any, count: int, origin: NDArray[np.float64], normal: NDArray[np.float64]
) -> float:
    """Return the distance from one plane to the next along the normal, of either sign."""
    offsets = np.asarray(dataset.get("GridFrameOffsetVector") or (), float)
    if len(offsets) != count:
        raise BadInput(f"its GridFrameOffsetVector has {len(offsets)} numbers for {count} planes")
    if offsets[0] != 0:
        if abs(abs(normal[2]) - 1) > _EVEN or abs(offsets[0] - origin[2]) > 0.01:
            raise BadInput(
                f"its GridFrameOffsetVector begins with {offsets[0]:g}, neither 0 nor the z of a "
                "first transverse plane: the places of its planes are unknown"
            )
        offsets = (offsets - offsets[0]) * np.sign(normal[2])
    steps = np.diff(offsets)
    usual = float(steps.mean())
    if usual == 0 or np.abs(steps - usual).max() > max(_EVEN * abs(usual), 0.01):
        raise BadInput(
            f"the distances of its planes are {steps.min():g} to {steps.max():g} mm: export the "
            "dose on a regular grid"
        )
    return usual


def add_doses(doses: Sequence[DoseGrid]) -> DoseGrid:
    """Return the sum of the doses of several plans, on the grid of the first one.

    Parameters
    ----------
    doses : sequence of DoseGrid

    Returns
    -------
    DoseGrid
        NaN where any of them is unknown.

    Raises
    ------
    BadInput
        If two are of one plan, or of different frames of reference.
    """
    first, *others = doses
    plans = [plan for dose in doses for plan in dose.plans]
    if len(set(plans)) < len(plans):
        raise BadInput("two of the dose files are of the same plan: keep one of them")
    if len({dose.frame for dose in doses}) > 1:
        raise BadInput("the dose files have several frames of reference and cannot be added")
    total = first.values.copy()
    for other in others:
        total += resample(other.values, other.affine, np.eye(4), total.shape, first.affine)
    identity = tuple(one for dose in doses for one in dose.identity)
    return DoseGrid(total, first.affine, first.frame, tuple(plans), identity, first.patient)
