"""Nodes for motion within a series: correction, tables and outliers."""

from pathlib import Path
from typing import Any

import numpy as np
from nibabel.affines import voxel_sizes
from nipype.interfaces.base import (
    BaseInterfaceInputSpec,
    File,
    SimpleInterface,
    TraitedSpec,
    isdefined,
    traits,
)
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

from bidsapp.bids.derivatives import to_json, to_tsv
from bidsapp.bids.tables import read_table
from bidsapp.errors import BadInput
from bidsapp.imaging.motion.blocks import CannotAlign, head_mask
from bidsapp.imaging.motion.correction import (
    estimate_diffusion_motion,
    estimate_motion,
)
from bidsapp.imaging.motion.outliers import TOO_MANY, withdraw_outliers
from bidsapp.imaging.motion.parameters import (
    COLUMNS,
    DISPLACEMENT,
    Motion,
    framewise_displacement,
    read_volreg,
)
from bidsapp.imaging.motion.shells import group_shells
from bidsapp.imaging.resample import resample_series
from bidsapp.run.nodes.files import load, save_array

ENGINE = "metperf"
MARGIN = 10.0
"""Width of the air around the head that is interpolated like the head, mm. With 6 mm, the
registration of a dynamic series to the T1w changed by 0.025 mm; with 10 mm, it does not change."""
MOTION_SIDECAR: dict[str, Any] = {
    **{n: {"Units": "mm" if n.startswith("trans") else "rad"} for n in COLUMNS},
    "framewise_displacement": {
        "Description": "sum of the changes, rotations on a sphere of 50 mm (Power et al. 2012)",
        "Units": "mm",
    },
    "outlier": {
        "Description": f"1: moved by more than {DISPLACEMENT:g} mm since the previous volume; with "
        "the metperf engine also if the volume could not be aligned or, in a dynamic series, "
        "differs from all neighbouring volumes, and in a diffusion series only if it also moved "
        "since the previous volume at its b-value, by more than the uncertainty. All 0 if more "
        f"than {TOO_MANY:.0%} would be 1, and at a b-value of which no volume would remain; with "
        "the metperf engine also during the first pass of a contrast agent"
    },
}


class _CorrectMotionInput(BaseInterfaceInputSpec):
    in_file = File(exists=True, mandatory=True, desc="series, 4D")
    reference = traits.Range(
        low=0, value=0, usedefault=True, desc="reference volume, for a dynamic series"
    )
    bvalues = traits.List(traits.Float, desc="b-values of a diffusion series, s/mm2")
    phase_axis = traits.Range(
        low=0, high=2, desc="phase-encoding axis, for eddy-current distortion"
    )
    n_jobs = traits.Int(1, usedefault=True, nohash=True, desc="threads")


class _CorrectMotionOutput(TraitedSpec):
    out_file = File(exists=True, desc="the series, each volume resampled once")
    motion_tsv = File(exists=True, desc="parameters (mm, rad), displacement, outlier")
    notes = File(exists=True, desc="JSON: warnings, for the sidecar of the table")
    matrices = File(
        exists=True, desc=".npy, (N, 4, 4): from points of the reference to points of each volume"
    )


class CorrectMotion(SimpleInterface):
    """Align each volume of a series with one of them, regardless of contrast."""

    input_spec = _CorrectMotionInput
    output_spec = _CorrectMotionOutput

    def _run_interface(self, runtime: Any) -> Any:
        inputs, folder = self.inputs, Path(runtime.cwd)
        data, image = load(inputs.in_file)
        bvalues = list(inputs.bvalues) if isdefined(inputs.bvalues) else []
        try:
            found = self._estimate(data, image.affine, bvalues)
            reference = int(np.argmin(bvalues)) if bvalues else self.inputs.reference
            head = _head_and_margin(data, reference, image.affine)
            moved = resample_series(
                data, image.affine, found.matrices, head=head, n_jobs=inputs.n_jobs
            )
            shells = _shells(bvalues, data.shape[3])
            marks, warnings = withdraw_outliers(found.outliers, shells, found.passage)
        except CannotAlign as error:
            found, moved = Motion.none(data.shape[3]), data
            marks, warnings = found.outliers, [f"motion is not corrected: {error}"]
        except BadInput as error:
            raise BadInput(f"{inputs.in_file}: {error}") from error
        self._results["out_file"] = save_array(moved, image, folder / "corrected.nii")
        self._results["motion_tsv"] = _write_motion(
            folder, found.parameters, found.framewise_displacement, marks
        )
        self._results["notes"] = _write_notes(folder, warnings)
        np.save(folder / "matrices.npy", found.matrices)
        self._results["matrices"] = str(folder / "matrices.npy")
        return runtime

    def _estimate(self, data: Any, affine: Any, bvalues: list[float]) -> Motion:
        inputs = self.inputs
        if not bvalues:
            return estimate_motion(data, affine, reference=inputs.reference, n_jobs=inputs.n_jobs)
        axis = inputs.phase_axis if isdefined(inputs.phase_axis) else None
        return estimate_diffusion_motion(
            data, affine, bvalues, phase_axis=axis, n_jobs=inputs.n_jobs
        )


def _head_and_margin(data: NDArray[Any], reference: int, affine: Any) -> NDArray[np.bool_]:
    """Return the head in the reference volume and in the mean, and what lies within `MARGIN`."""
    images = (data[..., reference], data.mean(axis=3, dtype=np.float32))
    head = np.logical_or(*(head_mask(np.nan_to_num(image)) for image in images))
    distance = distance_transform_edt(~head, sampling=voxel_sizes(affine))
    return np.asarray(distance <= MARGIN)


def _shells(bvalues: list[float], count: int) -> list[NDArray[np.int64]]:
    """Return the volumes at each b-value; all frames of a dynamic series."""
    return group_shells(bvalues) if bvalues else [np.arange(count)]


class _MotionTableInput(BaseInterfaceInputSpec):
    parameters = File(exists=True, mandatory=True, desc="roll pitch yaw dS dL dP, degrees and mm")
    bvalues = traits.List(traits.Float, desc="b-values of a diffusion series, s/mm2")


class _MotionTableOutput(TraitedSpec):
    out_file = File(exists=True, desc="TSV: parameters (mm, rad), displacement, outlier")
    notes = File(exists=True, desc="JSON: warnings, for the sidecar of the table")


class MotionTable(SimpleInterface):
    """Convert the motion parameters of niimath to a table."""

    input_spec = _MotionTableInput
    output_spec = _MotionTableOutput

    def _run_interface(self, runtime: Any) -> Any:
        parameters = read_volreg(self.inputs.parameters)
        moved = framewise_displacement(parameters)
        bvalues = list(self.inputs.bvalues) if isdefined(self.inputs.bvalues) else []
        outliers = np.nan_to_num(moved) > DISPLACEMENT
        marks, warnings = withdraw_outliers(outliers, _shells(bvalues, len(moved)))
        self._results["out_file"] = _write_motion(Path(runtime.cwd), parameters, moved, marks)
        self._results["notes"] = _write_notes(Path(runtime.cwd), warnings)
        return runtime


def _write_motion(folder: Path, parameters: Any, displacement: Any, outliers: Any) -> str:
    columns = [*COLUMNS, "framewise_displacement", "outlier"]
    numbers = np.column_stack([parameters, displacement]).tolist()
    rows = [
        dict(zip(columns, [*row, int(bad)], strict=True))
        for row, bad in zip(numbers, outliers, strict=True)
    ]
    target = folder / "motion.tsv"
    target.write_bytes(to_tsv(columns, rows))
    return str(target)


def _write_notes(folder: Path, warnings: list[str]) -> str:
    target = folder / "notes.json"
    target.write_bytes(to_json({"Warnings": warnings} if warnings else {}))
    return str(target)


def inlier_volumes(path: str, count: int) -> NDArray[np.bool_]:
    """Return which volumes of a series are not marked as outliers in a motion table.

    Raises
    ------
    BadInput
        If the table has a different length, or all volumes are marked.
    """
    marks = [row["outlier"] for row in read_table(Path(path), ["outlier"])]
    if len(marks) != count:
        raise BadInput(f"{path}: has {len(marks)} volumes, but the series has {count}")
    kept = np.array([mark != "1" for mark in marks])
    if not kept.any():
        raise BadInput(f"{path}: every volume is an outlier; run without --drop-outliers")
    return kept
