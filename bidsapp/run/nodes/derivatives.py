"""Nodes that write results to the output folder, and that combine images."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nipype.interfaces.base import (
    BaseInterfaceInputSpec,
    File,
    InputMultiObject,
    SimpleInterface,
    TraitedSpec,
    traits,
)

from bidsapp.bids.derivatives import compress_image, copy_file, to_json, write_bytes
from bidsapp.bids.images import as_series
from bidsapp.errors import BadInput
from bidsapp.run.nodes.files import load, save_array
from bidsapp.run.nodes.motion import inlier_volumes


class _SaveInput(BaseInterfaceInputSpec):
    in_files = InputMultiObject(File(exists=True), mandatory=True)
    output_dir = traits.Str(mandatory=True)
    names = traits.List(traits.Str, mandatory=True, desc="relative path of each file; '' to skip")
    sidecars = traits.List(traits.Dict, desc="JSON sidecar of each file; empty for none")
    learnt = InputMultiObject(
        File(exists=True), desc="JSON {model: {parameter: value}}, for the sidecars of that model"
    )
    notes = File(exists=True, desc="JSON, added to every sidecar")


class SaveDerivatives(SimpleInterface):
    """Write files to the output folder under their BIDS names, with their sidecars."""

    input_spec = _SaveInput
    output_spec = TraitedSpec
    _always_run = True

    def _run_interface(self, runtime: Any) -> Any:
        sidecars = self.inputs.sidecars or [{}] * len(self.inputs.names)
        learnt: dict[str, Any] = {}
        for path in self.inputs.learnt or ():
            learnt |= json.loads(Path(path).read_text(encoding="utf-8"))
        notes = json.loads(Path(self.inputs.notes).read_bytes()) if self.inputs.notes else {}
        for source, name, sidecar in zip(
            self.inputs.in_files, self.inputs.names, sidecars, strict=True
        ):
            if not name:
                continue
            target = Path(self.inputs.output_dir) / name
            if sidecar:
                stem = target.name.removesuffix(".gz").removesuffix(target.suffix)
                stem = stem.removesuffix(".nii")
                write_bytes(
                    target.with_name(f"{stem}.json"), to_json(_add_learnt(sidecar, learnt) | notes)
                )
            write = compress_image if target.suffix == ".gz" else copy_file
            write(Path(source), target)
        return runtime


def _add_learnt(sidecar: Mapping[str, Any], learnt: Mapping[str, Any]) -> dict[str, Any]:
    """Return a sidecar with the quantities learnt by the fit among the model parameters."""
    model = sidecar.get("Model", {})
    found = learnt.get(model.get("Name"))
    if not found:
        return dict(sidecar)
    return {**sidecar, "Model": {**model, "Parameters": {**model["Parameters"], **found}}}


class _AverageInput(BaseInterfaceInputSpec):
    in_file = File(exists=True, mandatory=True, desc="4D")
    volumes = traits.List(traits.Int, desc="volumes to average; all if empty")
    motion = File(exists=True, desc="motion table; its outliers are excluded")


class _AverageOutput(TraitedSpec):
    out_file = File(exists=True, desc="3D")


class AverageVolumes(SimpleInterface):
    """Average volumes of a series."""

    input_spec = _AverageInput
    output_spec = _AverageOutput

    def _run_interface(self, runtime: Any) -> Any:
        data, image = load(self.inputs.in_file)
        count = data.shape[3]
        volumes = np.array(self.inputs.volumes or range(count))
        if self.inputs.motion:
            volumes = volumes[inlier_volumes(self.inputs.motion, count)[volumes]]
        if not len(volumes):
            raise BadInput(f"{self.inputs.in_file}: all volumes to be averaged are outliers")
        chosen = data[..., volumes]
        target = Path(runtime.cwd) / "average.nii"
        self._results["out_file"] = save_array(chosen.mean(axis=-1), image, target)
        return runtime


class _LeaveOutInput(BaseInterfaceInputSpec):
    in_file = File(exists=True, mandatory=True, desc="4D")
    in_gradients = traits.List(File(exists=True), desc=".bval and .bvec of a diffusion series")
    volumes = traits.List(traits.Int, mandatory=True, desc="volumes to leave out, from 0")


class _LeaveOutOutput(TraitedSpec):
    out_file = File(exists=True, desc="4D")
    gradients = traits.List(File(exists=True))


class LeaveOutVolumes(SimpleInterface):
    """Write a series in four axes, and its gradients, without some volumes."""

    input_spec = _LeaveOutInput
    output_spec = _LeaveOutOutput

    def _run_interface(self, runtime: Any) -> Any:
        folder, volumes = Path(runtime.cwd), self.inputs.volumes
        image = nib.load(self.inputs.in_file)
        whole = as_series(np.asanyarray(image.dataobj))
        data = np.delete(whole, volumes, axis=3)
        self._results["out_file"] = save_array(data, image, folder / "series.nii")
        written = []
        for path in map(Path, self.inputs.in_gradients or ()):
            columns = np.atleast_2d(np.loadtxt(path))
            if columns.shape[0] == whole.shape[3]:  # one row per volume
                columns = columns.T
            target = folder / f"series{path.suffix}"
            np.savetxt(target, np.delete(columns, volumes, axis=1), fmt="%g")
            written.append(str(target))
        self._results["gradients"] = written
        return runtime
