"""Nodes for T1 and B1 maps."""

from pathlib import Path
from typing import Any

import numpy as np
from nipype.interfaces.base import (
    BaseInterfaceInputSpec,
    File,
    InputMultiObject,
    SimpleInterface,
    TraitedSpec,
    traits,
)

from bidsapp.errors import BadInput, FitError
from bidsapp.models import fit_masked
from bidsapp.models.contrast.relaxometry import b1_ratio
from bidsapp.run.nodes.files import load, save_array


class _ReadB1Input(BaseInterfaceInputSpec):
    in_file = File(exists=True, mandatory=True, desc="TB1map")
    scale = traits.Float(mandatory=True, desc="1 for ratios, 0.01 for percent")


class _ReadB1Output(TraitedSpec):
    out_file = File(exists=True, desc="ratio of actual to nominal flip angle; NaN if unknown")


class ReadB1(SimpleInterface):
    """Convert a transmit field map to the ratio of actual to nominal flip angle."""

    input_spec = _ReadB1Input
    output_spec = _ReadB1Output

    def _run_interface(self, runtime: Any) -> Any:
        data, image = load(self.inputs.in_file)
        try:
            ratio = b1_ratio(data, self.inputs.scale)
        except FitError as error:
            raise BadInput(f"{self.inputs.in_file}: {error}") from error
        self._results["out_file"] = save_array(ratio, image, Path(runtime.cwd) / "b1.nii")
        return runtime


class _ReadT1Input(BaseInterfaceInputSpec):
    in_file = File(exists=True, mandatory=True, desc="T1map")
    scale = traits.Float(mandatory=True, desc="1 for s, 0.001 for ms")


class _ReadT1Output(TraitedSpec):
    out_file = File(exists=True, desc="T1 map, s; NaN where there is no value")


class ReadT1(SimpleInterface):
    """Convert a T1 map to s."""

    input_spec = _ReadT1Input
    output_spec = _ReadT1Output

    def _run_interface(self, runtime: Any) -> Any:
        data, image = load(self.inputs.in_file)
        t1 = np.where(np.isfinite(data) & (data > 0), self.inputs.scale * data, np.nan)
        self._results["out_file"] = save_array(t1, image, Path(runtime.cwd) / "t1.nii")
        return runtime


class _FitT1Input(BaseInterfaceInputSpec):
    in_files = InputMultiObject(File(exists=True), mandatory=True, desc="one image per flip angle")
    flip_angles = traits.List(traits.Float, mandatory=True, desc="nominal, rad")
    repetition_time = traits.Float(mandatory=True, desc="s")
    b1_map = File(exists=True, desc="ratio of actual to nominal flip angle, on the same grid")
    model = traits.Str("vfa-t1", usedefault=True, desc="name of the model")


class _FitT1Output(TraitedSpec):
    out_file = File(exists=True, desc="T1 map, s; NaN if the fit failed")


class FitT1(SimpleInterface):
    """Fit T1 to images at several flip angles."""

    input_spec = _FitT1Input
    output_spec = _FitT1Output

    def _run_interface(self, runtime: Any) -> Any:
        loaded = [load(f) for f in self.inputs.in_files]
        signal = np.stack([data for data, _ in loaded], axis=-1)
        b1 = load(self.inputs.b1_map)[0] if self.inputs.b1_map else None
        target = Path(runtime.cwd) / "t1.nii"
        self._results["out_file"] = save_array(self._t1(signal, b1), loaded[0][1], target)
        return runtime

    def _t1(self, signal: Any, b1: Any) -> Any:
        """Return T1, with flip angles of each voxel from the B1 map, if there is one."""
        inside = (signal > 0).all(axis=-1)
        design = {
            "flip_angles": np.array(self.inputs.flip_angles),
            "repetition_time": self.inputs.repetition_time,
        }
        found = fit_masked(self.inputs.model, signal, inside, b1=b1, **design)
        return found.values["T1"]
