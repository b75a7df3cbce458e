"""Nodes that fit: load, call one function of the models, save."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from dipy.core.gradients import GradientTable
from nipype.interfaces.base import (
    BaseInterfaceInputSpec,
    File,
    OutputMultiObject,
    SimpleInterface,
    TraitedSpec,
    traits,
)

from bidsapp.errors import BadInput
from bidsapp.interfaces.files import load, load_mask, save
from bidsapp.models import DiffusionModel, Fit, Model, fit_masked

GOODNESS = ("rsquared", "rmse", "status")


def map_names(model: Model) -> list[str]:
    """Return the names of a model's maps in the order in which the nodes give them.

    Examples
    --------
    >>> from bidsapp.models import MODELS
    >>> map_names(MODELS["patlak"])
    ['Ktrans', 'vp', 'Ktrans_stderr', 'vp_stderr', 'rsquared', 'rmse', 'status']
    """
    names = [p.name for p in model.parameters]
    return [*names, *(f"{n}_stderr" for n in names), *GOODNESS]


def _maps(found: Fit) -> dict[str, Any]:
    stderr = {f"{k}_stderr": v for k, v in found.stderr.items()}
    goodness = {k: getattr(found, k) for k in GOODNESS}
    return found.values | stderr | goodness


class _FitInput(BaseInterfaceInputSpec):
    in_file = File(exists=True, mandatory=True, desc="series, 4D")
    mask = File(exists=True, desc="voxels to fit; all without one")
    model = traits.Str(mandatory=True, desc="name of the model")


class _FitOutput(TraitedSpec):
    out_files = OutputMultiObject(File(exists=True), desc="maps, in the order of map_names")


def save_maps(found: Fit, image: nib.Nifti1Image, folder: Path) -> list[str]:
    """Save the maps of a fit on an image's grid; return their paths in the order of map_names."""
    maps = _maps(found)
    return [save(maps[n], image, folder / f"{n}.nii") for n in map_names(found.model)]


class _FitDiffusionInput(_FitInput):
    bvalues = traits.List(traits.Float, mandatory=True, desc="of each volume, s/mm2")
    bvectors = File(exists=True, desc="FSL's .bvec")
    options = traits.Dict(desc="options of the model")


class FitDiffusion(SimpleInterface):
    """Fit a diffusion model to a series; directions are combined by the geometric mean."""

    input_spec = _FitDiffusionInput
    output_spec = _FitOutput

    def _run_interface(self, runtime: Any) -> Any:
        data, image = load(self.inputs.in_file)
        gtab = gradients(self.inputs.bvalues, self.inputs.bvectors or None)
        model = DiffusionModel(gtab, self.inputs.model, **(self.inputs.options or {}))
        found = model.fit(data, load_mask(self.inputs.mask or None))
        self._results["out_files"] = save_maps(found, image, Path(runtime.cwd))
        return runtime


def gradients(bvalues: Sequence[float], bvectors: str | None) -> GradientTable:
    """Return dipy's gradient table; without directions all lie along x, which no fit here asks.

    Raises
    ------
    BadInput
        If there are not as many directions as b-values.
    """
    values = np.asarray(bvalues, float)
    directions = np.tile([1.0, 0.0, 0.0], (len(values), 1))
    if bvectors:
        found = np.array(np.loadtxt(bvectors, ndmin=2))
        found = found.T if found.shape[0] == 3 else found
        if found.shape != directions.shape:
            raise BadInput(f"{bvectors}: holds {len(found)} directions for {len(values)} b-values")
        length = np.linalg.norm(found, axis=1, keepdims=True)
        directions = np.where(length > 0, found / np.where(length > 0, length, 1), directions)
    return GradientTable(values[:, None] * directions)


class _FitKineticsInput(_FitInput):
    times = traits.List(traits.Float, mandatory=True, desc="of each frame, min")
    arterial = File(exists=True, mandatory=True, desc="TSV with the column plasma, mM")


class FitKinetics(SimpleInterface):
    """Fit a kinetic model to a series of concentrations."""

    input_spec = _FitKineticsInput
    output_spec = _FitOutput

    def _run_interface(self, runtime: Any) -> Any:
        data, image = load(self.inputs.in_file)
        found = fit_masked(
            self.inputs.model,
            data,
            load_mask(self.inputs.mask or None),
            time=np.array(self.inputs.times),
            plasma=read_column(self.inputs.arterial, "plasma"),
        )
        self._results["out_files"] = save_maps(found, image, Path(runtime.cwd))
        return runtime


def read_column(path: str, column: str) -> Any:
    """Return one column of a TSV table as numbers, (N,)."""
    with Path(path).open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream, delimiter="\t"))
    return np.array([float(row[column]) for row in rows])
