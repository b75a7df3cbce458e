"""Nodes that fit models."""

import json
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
    isdefined,
    traits,
)

from bidsapp.bids.derivatives import to_json
from bidsapp.bids.tables import read_table
from bidsapp.models import DiffusionModel, Fit, Model, fit_masked
from bidsapp.models.diffusion.bayesian_ivim import Prior
from bidsapp.run.nodes.files import load, load_labels, load_mask, save_map
from bidsapp.run.nodes.motion import inlier_volumes

GOODNESS = ("rsquared", "rmse", "status")


def map_names(model: Model, *, aicc: bool = False) -> list[str]:
    """Return the names of a model's maps in the order in which the nodes return them.

    Akaike's criterion is included if models are compared.

    Examples
    --------
    >>> from bidsapp.models import MODELS
    >>> map_names(MODELS["patlak"])
    ['Ktrans', 'vp', 'Ktrans_stderr', 'vp_stderr', 'rsquared', 'rmse', 'status']
    """
    names = [p.name for p in model.parameters]
    return [*names, *(f"{n}_stderr" for n in names), *GOODNESS, *(["aicc"] if aicc else [])]


def _maps(found: Fit) -> dict[str, Any]:
    stderr = {f"{k}_stderr": v for k, v in found.stderr.items()}
    goodness = {k: getattr(found, k) for k in (*GOODNESS, "aicc")}
    return found.values | stderr | goodness


class _FitInput(BaseInterfaceInputSpec):
    in_file = File(exists=True, mandatory=True, desc="series, 4D")
    mask = File(exists=True, desc="voxels to fit; default: all")
    motion = File(exists=True, desc="motion table; its outliers are excluded from the fit")
    model = traits.Str(mandatory=True, desc="name of the model")
    options = traits.Dict(desc="options of the model")
    aicc = traits.Bool(False, usedefault=True, desc="also return a map of Akaike's criterion")
    n_jobs = traits.Int(1, usedefault=True, nohash=True, desc="processes")


class _FitOutput(TraitedSpec):
    out_files = OutputMultiObject(File(exists=True), desc="maps, in the order of map_names")
    learnt = File(
        exists=True, desc="JSON {model: {option: value}}, estimated from all voxels together"
    )


def save_fit(
    found: Fit, image: nib.Nifti1Image, folder: Path, *, aicc: bool = False
) -> dict[str, Any]:
    """Save the maps and learnt quantities of a fit; return the outputs of the node."""
    maps, names = _maps(found), map_names(found.model, aicc=aicc)
    learnt = folder / "learnt.json"
    learnt.write_bytes(to_json({found.model.name: _learnt(found)}))
    files = [save_map(maps[n], image, folder / f"{n}.nii.gz") for n in names]
    return {"out_files": files, "learnt": str(learnt)}


def _learnt(found: Fit) -> dict[str, Any]:
    """Return the noise level, the arrival of the bolus and the priors of a fit, if it has any."""
    names = ("sigma", "arrival")
    learnt = {k: float(found.design[k]) for k in names if found.design.get(k) is not None}
    priors: dict[int, Prior] = found.design.get("prior") or {}
    if not priors:
        return learnt
    shown = {
        str(k): {"mean": p.mean.tolist(), "covariance": p.covariance.tolist()}
        for k, p in priors.items()
    }
    return learnt | {"prior": shown}


def read_learnt(path: str | None, model: str, lesion: int) -> dict[str, Any]:
    """Return the learnt quantities of a fit, as options for the mean curve of a lesion.

    The prior of the brain is used for a lesion without voxels in the fit.
    """
    if not path:
        return {}
    learnt = json.loads(Path(path).read_text(encoding="utf-8"))[model]
    priors = learnt.pop("prior", None)
    if priors:
        own = priors[str(lesion) if str(lesion) in priors else "0"]
        learnt["prior"] = {0: Prior(np.array(own["mean"]), np.array(own["covariance"]))}
    return dict(learnt)


class _FitDiffusionInput(_FitInput):
    bvalues = traits.List(traits.Float, mandatory=True, desc="of each volume, s/mm2")
    regions = File(exists=True, desc="label image; each label has a separate prior")


class FitDiffusion(SimpleInterface):
    """Fit a diffusion model to a series; directions are combined by the geometric mean."""

    input_spec = _FitDiffusionInput
    output_spec = _FitOutput

    def _run_interface(self, runtime: Any) -> Any:
        data, image = load(self.inputs.in_file)
        gtab = gradient_table(self.inputs.bvalues)
        if self.inputs.motion:
            kept = inlier_volumes(self.inputs.motion, data.shape[3])
            data, gtab = data[..., kept], GradientTable(gtab.gradients[kept])
        options = dict(self.inputs.options or {})
        if self.inputs.regions:
            options["region"] = load_labels(self.inputs.regions, self.inputs.in_file)[0]
        model = DiffusionModel(gtab, self.inputs.model, n_jobs=self.inputs.n_jobs, **options)
        found = model.fit(data, load_mask(self.inputs.mask or None))
        self._results.update(save_fit(found, image, Path(runtime.cwd), aicc=self.inputs.aicc))
        return runtime


def gradient_table(bvalues: Sequence[float]) -> GradientTable:
    """Return the gradient table for dipy; all directions lie along x, as no model uses them."""
    return GradientTable(np.asarray(bvalues, float)[:, None] * [1.0, 0.0, 0.0])


class _FitKineticsInput(_FitInput):
    times = traits.List(traits.Float, mandatory=True, desc="of each frame, min")
    arterial = File(exists=True, desc="TSV with the column plasma, mM")
    arrival = traits.Float(desc="of the bolus, min, for models that are counted from it")


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
            weights=self._weights(data.shape[3]),
            n_jobs=self.inputs.n_jobs,
            **self._design(),
            **(self.inputs.options or {}),
        )
        self._results.update(save_fit(found, image, Path(runtime.cwd), aicc=self.inputs.aicc))
        return runtime

    def _design(self) -> dict[str, Any]:
        """Return the times, and of arterial input and arrival those that are connected."""
        design: dict[str, Any] = {"time": np.array(self.inputs.times)}
        if self.inputs.arterial:
            design["plasma"] = read_column(self.inputs.arterial, "plasma")
        if isdefined(self.inputs.arrival):
            design["arrival"] = self.inputs.arrival
        return design

    def _weights(self, count: int) -> Any:
        """Return weights of 0 for outliers and 1 for other volumes, or None without a table."""
        return (
            inlier_volumes(self.inputs.motion, count).astype(float) if self.inputs.motion else None
        )


def read_column(path: str, column: str) -> Any:
    """Return one column of a TSV table as numbers, (N,)."""
    return np.array([float(row[column]) for row in read_table(Path(path), [column])])
