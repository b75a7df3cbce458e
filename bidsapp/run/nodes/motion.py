"""Nodes for motion within a series: correction, tables and outliers."""

from pathlib import Path
from typing import Any

import numpy as np
from nipype.interfaces.base import (
    BaseInterfaceInputSpec,
    File,
    SimpleInterface,
    TraitedSpec,
    isdefined,
    traits,
)
from numpy.typing import NDArray

from bidsapp.bids.derivatives import to_tsv
from bidsapp.bids.tables import read_table
from bidsapp.errors import BadInput
from bidsapp.imaging.motion.correction import (
    DISPLACEMENT,
    estimate_diffusion_motion,
    estimate_motion,
)
from bidsapp.imaging.motion.parameters import COLUMNS, framewise_displacement, read_volreg
from bidsapp.imaging.resample import resample_series
from bidsapp.run.nodes.files import load, save_array

ENGINE = "metperf"
MOTION_SIDECAR: dict[str, Any] = {
    **{n: {"Units": "mm" if n.startswith("trans") else "rad"} for n in COLUMNS},
    "framewise_displacement": {
        "Description": "sum of the changes, rotations on a sphere of 50 mm (Power et al. 2012)",
        "Units": "mm",
    },
    "outlier": {
        "Description": f"1: moved by more than {DISPLACEMENT:g} mm since the previous volume; with "
        "the metperf engine also if the volume could not be aligned or, in a dynamic series, "
        "differs from all neighbouring volumes"
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
        options = {"n_jobs": inputs.n_jobs}
        try:
            if isdefined(inputs.bvalues) and inputs.bvalues:
                axis = inputs.phase_axis if isdefined(inputs.phase_axis) else None
                found = estimate_diffusion_motion(
                    data, image.affine, inputs.bvalues, phase_axis=axis, **options
                )
            else:
                found = estimate_motion(data, image.affine, reference=inputs.reference, **options)
        except BadInput as error:
            raise BadInput(f"{inputs.in_file}: {error}") from error
        moved = resample_series(data, image.affine, found.matrices, n_jobs=inputs.n_jobs)
        self._results["out_file"] = save_array(moved, image, folder / "corrected.nii")
        self._results["motion_tsv"] = _write_motion(
            folder, found.parameters, found.framewise_displacement, found.outliers
        )
        np.save(folder / "matrices.npy", found.matrices)
        self._results["matrices"] = str(folder / "matrices.npy")
        return runtime


class _MotionTableInput(BaseInterfaceInputSpec):
    parameters = File(exists=True, mandatory=True, desc="roll pitch yaw dS dL dP, degrees and mm")


class _MotionTableOutput(TraitedSpec):
    out_file = File(exists=True, desc="TSV: parameters (mm, rad), displacement, outlier")


class MotionTable(SimpleInterface):
    """Convert the motion parameters of niimath to a table."""

    input_spec = _MotionTableInput
    output_spec = _MotionTableOutput

    def _run_interface(self, runtime: Any) -> Any:
        parameters = read_volreg(self.inputs.parameters)
        moved = framewise_displacement(parameters)
        outliers = np.nan_to_num(moved) > DISPLACEMENT
        self._results["out_file"] = _write_motion(Path(runtime.cwd), parameters, moved, outliers)
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
