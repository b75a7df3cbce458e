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

from bidsapp.bids.derivatives import to_json
from bidsapp.errors import BadInput, FitError
from bidsapp.models import fit_masked
from bidsapp.models.contrast.relaxometry import b1_ratio
from bidsapp.models.contrast.t1_checks import check_flip_angles, check_t1_level, head_core
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
    quality = File(exists=True, desc="JSON: checks of the map")


class ReadT1(SimpleInterface):
    """Convert a T1 map to s."""

    input_spec = _ReadT1Input
    output_spec = _ReadT1Output

    def _run_interface(self, runtime: Any) -> Any:
        data, image = load(self.inputs.in_file)
        t1 = np.where(np.isfinite(data) & (data > 0), self.inputs.scale * data, np.nan)
        self._results["out_file"] = save_array(t1, image, Path(runtime.cwd) / "t1.nii")
        doubts = check_t1_level(t1, image.header.get_zooms()[:3])
        self._results["quality"] = _write_quality(doubts, Path(runtime.cwd))
        return runtime


def _write_quality(doubts: list[str], folder: Path) -> str:
    path = folder / "quality.json"
    path.write_bytes(to_json({"Description": "Checks of the T1 map", "Warnings": doubts}))
    return str(path)


class _FitT1Input(BaseInterfaceInputSpec):
    in_files = InputMultiObject(File(exists=True), mandatory=True, desc="one image per flip angle")
    flip_angles = traits.List(traits.Float, mandatory=True, desc="nominal, rad")
    repetition_time = traits.Float(mandatory=True, desc="s")
    b1_map = File(exists=True, desc="ratio of actual to nominal flip angle, on the same grid")
    model = traits.Str("vfa-t1", usedefault=True, desc="name of the model")


class _FitT1Output(TraitedSpec):
    out_file = File(exists=True, desc="T1 map, s; NaN if the fit failed")
    quality = File(exists=True, desc="JSON: checks of the map")


class FitT1(SimpleInterface):
    """Fit T1 to images at several flip angles."""

    input_spec = _FitT1Input
    output_spec = _FitT1Output

    def _run_interface(self, runtime: Any) -> Any:
        loaded = [load(f) for f in self.inputs.in_files]
        signal = np.stack([data for data, _ in loaded], axis=-1)
        b1 = load(self.inputs.b1_map)[0] if self.inputs.b1_map else None
        target = Path(runtime.cwd) / "t1.nii"
        t1, m0 = self._fit(signal, b1)
        self._results["out_file"] = save_array(t1, loaded[0][1], target)
        doubts = self._judge(signal, b1, t1, m0, loaded[0][1].header.get_zooms()[:3])
        self._results["quality"] = _write_quality(doubts, Path(runtime.cwd))
        return runtime

    def _judge(self, signal: Any, b1: Any, t1: Any, m0: Any, zooms: Any) -> list[str]:
        """Return the doubts about the map: its level, and images that do not fit the others."""
        mean = np.nan_to_num(signal.mean(axis=-1))
        bright = mean[mean > 0.1 * np.quantile(mean, 0.98)]
        if not bright.size:
            return []
        head = mean > 0.3 * np.median(bright)
        core = head_core(head, zooms)
        angles = np.array(self.inputs.flip_angles)
        actual = angles if b1 is None else b1[core][:, None] * angles
        design = (actual, self.inputs.repetition_time)
        doubts = check_flip_angles(signal[core], *design, t1[core], m0[core])
        return doubts + check_t1_level(t1, zooms, head)

    def _fit(self, signal: Any, b1: Any) -> tuple[Any, Any]:
        """Return T1 and M0, with flip angles of each voxel from the B1 map, if there is one."""
        inside = (signal > 0).all(axis=-1)
        design = {
            "flip_angles": np.array(self.inputs.flip_angles),
            "repetition_time": self.inputs.repetition_time,
        }
        found = fit_masked(self.inputs.model, signal, inside, b1=b1, **design)
        return found.values["T1"], found.values["M0"]
