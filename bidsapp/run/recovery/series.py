"""The series of a session as its run has analysed it, from what is on disk."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from bidsapp.bids import outputs
from bidsapp.bids.images import as_series
from bidsapp.bids.output import Output
from bidsapp.bids.records import Diffusion, Dynamic, Space
from bidsapp.config import AIF_MEASURED, Config, constants
from bidsapp.errors import BadInput
from bidsapp.imaging.labels import resample_labels
from bidsapp.imaging.resample import resample
from bidsapp.imaging.transforms import read_itk
from bidsapp.imaging.warps import Mapping as PointMapping
from bidsapp.imaging.warps import chain, read_shift
from bidsapp.models import Model
from bidsapp.models.contrast.enhancement import Spgr
from bidsapp.models.contrast.relaxometry import b1_ratio
from bidsapp.recovery.kinetic_signal import Artery, KineticSignal
from bidsapp.recovery.signals import DiffusionSignal, ModelFit, SeriesSignal
from bidsapp.run.graphs.plan import SessionPlan, fit_options
from bidsapp.run.nodes.files import load, load_labels
from bidsapp.run.nodes.fitting import read_column
from bidsapp.run.nodes.motion import inlier_volumes
from bidsapp.run.nodes.unmixing import read_position_error

Array = NDArray[np.float64]
_BAYESIAN = "ivim-bayesian"


@dataclass(frozen=True)
class AnalysedSeries:
    """A series after motion correction, and how its signal was analysed.

    Attributes
    ----------
    space
        ``dwi`` or ``dce``.
    data : (X, Y, Z, N) array
        Signal; NaN where it is not known.
    affine : (4, 4) array
        Its voxels to RAS mm.
    signal : SeriesSignal
        Of all voxels.
    models : tuple of ModelFit
    brain : (X, Y, Z) array of bool
        Voxels that were fitted.
    to_t1w, to_rois : (4, 4) array or Warp
        From points of the T1w to points of the series, and back; None without a T1w.
    position_error : float, mm
        Standard deviation of the position of an ROI on the T1w along each axis; NaN if unknown.
    left_out : tuple of str
        Models that are not simulated, and why.
    """

    space: Space
    data: Any
    affine: Array
    signal: SeriesSignal
    models: tuple[ModelFit, ...]
    brain: NDArray[np.bool_]
    to_t1w: PointMapping | None
    to_rois: PointMapping | None
    position_error: float
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True)
class Results:
    """The results of a session on disk."""

    plan: SessionPlan
    config: Config

    def find(self, output: Output, datatype: str, extension: str = "", **entities: str) -> Path:
        """Return the path of a file that a run writes.

        Raises
        ------
        BadInput
            If it does not exist.
        """
        relative = output.path(self.plan.session, datatype, extension, **entities)
        path = self.config.output_dir / relative
        if not path.is_file():
            raise BadInput(f"{path}: is missing: run the participant level again")
        return path

    def has(self, output: Output, datatype: str, extension: str = "", **entities: str) -> bool:
        """Return whether a run has written a file."""
        path = output.path(self.plan.session, datatype, extension, **entities)
        return (self.config.output_dir / path).is_file()


def read_diffusion(results: Results) -> AnalysedSeries:
    """Read a diffusion series after motion correction, or as acquired if it was not corrected.

    Raises
    ------
    BadInput
        If a file is missing, or the series that was analysed is not on disk.
    """
    plan, config = results.plan, results.config
    series = plan.session.diffusion
    assert series is not None
    if config.motion_correction:
        data, image = load(str(results.find(outputs.CORRECTED_DWI, "dwi")))
    elif config.denoise != "none":
        raise BadInput(
            "the denoised DWI is not on disk without motion correction: run the participant level "
            "without --no-motion-correction or without --denoise"
        )
    else:
        data, image = _load_acquired(series)
    models = [(m, fit_options(m, config, plan.blood_signal)) for m in plan.diffusion_models]
    used = [(m, options) for m, options in models if not m.name.startswith(_BAYESIAN)]
    bvalues = np.array(series.bvalues)
    signal = DiffusionSignal(
        bvalues, _kept(results, "dwi", len(bvalues)), float(constants()["dstar"]["value"])
    )
    return AnalysedSeries(
        space="dwi",
        data=data,
        affine=image.affine,
        signal=signal,
        models=tuple(_model_fit(m, options | _learnt(results, m)) for m, options in used),
        **_geometry(results, "dwi", data.shape[:3], image.affine),
        left_out=tuple(
            f"no changes in {m.title}: its prior is estimated from all voxels of the brain"
            for m, _ in models
            if m.name.startswith(_BAYESIAN)
        ),
    )


def _load_acquired(series: Diffusion | Dynamic) -> tuple[Any, Any]:
    """Return a series as acquired, without the volumes that are not analysed, and its image."""
    image = nib.load(series.image)
    whole = as_series(np.asanyarray(image.dataobj, dtype=np.float32))
    return np.delete(whole, series.left_out, axis=3), image


def _learnt(results: Results, model: Model) -> dict[str, float]:
    """Return the noise level that the fit of a run has estimated from all voxels."""
    if "sigma" not in model.options:
        return {}
    kind = outputs.parameter_map("dwi", model.parameters[0].name, model.label)
    for space in ("", "T1w"):
        if results.has(kind, "dwi", ".json", space=space):
            path = results.find(kind, "dwi", ".json", space=space)
            known = json.loads(path.read_text(encoding="utf-8"))["Model"]["Parameters"]
            return {"sigma": float(known["sigma"])} if "sigma" in known else {}
    return {}


def _model_fit(model: Model, options: Mapping[str, Any]) -> ModelFit:
    """Return a model with the parameters that are shown."""
    shown = [p.name for p in model.parameters if p.display]
    return ModelFit(model.name, tuple(shown), dict(options))


def read_dynamic(results: Results) -> AnalysedSeries:
    """Read a dynamic series as acquired, or calculate its signal from the concentrations.

    After motion correction, the concentrations and the mean image are on disk, not the series.

    Raises
    ------
    BadInput
        If a file is missing.
    """
    plan, config = results.plan, results.config
    series = plan.session.dynamic
    assert series is not None
    agent, image = load(str(results.find(outputs.CONCENTRATION, "perf")))
    shape = agent.shape[:3]
    table = str(results.find(outputs.ARTERIAL_INPUT, "perf"))
    time = read_column(table, "time") / 60
    acquisition = plan.acquisition
    model = plan.kinetic_models[-1]
    signal = KineticSignal(
        time=time,
        plasma=read_column(table, "plasma"),
        baseline_frames=_baseline_frames(results),
        spgr=Spgr(
            acquisition["repetition_time"], acquisition["flip_angle"], acquisition["relaxivity"]
        ),
        t1=plan.relaxation["t1_tissue"],
        kept=_kept(results, "perf", len(time)),
        t1_map=_t1_map(results, shape, image.affine),
        b1_map=_b1_map(results, shape, image.affine),
    )
    mean = load(str(results.find(outputs.MEAN_IMAGE["perf"], "perf")))[0]
    signal = replace(signal, artery=_artery(results, mean, signal))
    if config.motion_correction:
        data = restore_signal(agent, mean, signal)
    else:
        data = _load_acquired(series)[0]
    return AnalysedSeries(
        space="dce",
        data=data,
        affine=image.affine,
        signal=signal,
        models=(_model_fit(model, config.fit_options(model.options)),),
        **_geometry(results, "dce", shape, image.affine),
    )


def restore_signal(agent: Any, mean: Any, signal: KineticSignal) -> Any:
    """Return the signal from which concentrations were calculated.

    Parameters
    ----------
    agent : (X, Y, Z, N) array, mM
        Concentrations.
    mean : (X, Y, Z) array
        Mean of the signal over the frames that are used.
    signal
        The acquisition.

    Returns
    -------
    (X, Y, Z, N) array
        NaN where a voxel or a frame has no concentration.
    """
    found = np.full(agent.shape, np.nan, np.float32)
    for z in range(agent.shape[2]):  # slice by slice, to save memory
        here = np.isfinite(agent[:, :, z]).all(axis=-1)
        inside = np.zeros(agent.shape[:3], bool)
        inside[:, :, z] = here
        relative = signal.at(inside).enhancement(agent[:, :, z][here])
        level = mean[:, :, z][here] / relative[:, signal.kept].mean(axis=1)
        found[:, :, z][here] = level[:, None] * relative
    return found


def _artery(results: Results, mean: Any, signal: KineticSignal) -> Artery | None:
    """Return the measured arterial signal; None for an arterial input that was not measured."""
    source = results.config.aif
    if source not in AIF_MEASURED:
        return None
    taken = load(str(results.find(outputs.ARTERIAL_VOXELS, "perf", desc=source)))[0] > 0
    t1 = results.plan.relaxation["t1_blood"]
    b1 = None if signal.b1_map is None else float(np.nanmean(signal.b1_map[taken]))
    spgr = replace(signal.spgr, flip_angle=signal.spgr.flip_angle * (b1 or 1.0))
    blood = read_column(str(results.find(outputs.ARTERIAL_INPUT, "perf")), "blood")
    course = replace(signal, spgr=spgr, t1=t1, t1_map=None, b1_map=None).enhancement(blood)
    # Without the part that was subtracted to scale the artery to a vein.
    share = float(_arterial_quality(results).get("BloodShare", 1.0))
    rest = float(mean[taken].mean()) / (1 + share * (course[signal.kept].mean() - 1))
    return Artery(
        signal=share * rest * course,
        voxels=int(taken.sum()),
        baseline_frames=signal.baseline_frames,
        t1=t1,
        spgr=spgr,
        haematocrit=results.plan.haematocrit,
    )


def _arterial_quality(results: Results) -> dict[str, Any]:
    """Return what the run has noted of the arterial input."""
    path = results.find(outputs.ARTERIAL_QUALITY, "perf")
    content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return content


def _baseline_frames(results: Results) -> int:
    """Return the number of frames before the contrast agent that the run has found."""
    frames = _arterial_quality(results).get("BaselineFrames")
    if not isinstance(frames, int):
        path = results.find(outputs.ARTERIAL_QUALITY, "perf")
        raise BadInput(f"{path}: has no BaselineFrames: run the participant level again")
    return frames


def _t1_map(results: Results, shape: tuple[int, ...], affine: Array) -> Any:
    """Return the T1 map on the grid of the series, or None."""
    session, config = results.plan.session, results.config
    if config.t1_tissue is not None:
        return None
    if session.t1_map:
        data, image = load(str(session.t1_map.image))
        values = np.where(np.isfinite(data) & (data > 0), session.t1_map.scale * data, np.nan)
    elif session.flip_angle_series:
        values, image = load(str(results.find(outputs.T1_MAP, "anat")))
    else:
        return None
    return resample(values, image.affine, np.eye(4), shape, affine)


def _b1_map(results: Results, shape: tuple[int, ...], affine: Array) -> Any:
    """Return the B1 map on the grid of the series, or None."""
    field = results.plan.session.transmit_field
    if field is None:
        return None
    data, image = load(str(field.image))
    return resample(b1_ratio(data, field.scale), image.affine, np.eye(4), shape, affine)


def _kept(results: Results, datatype: str, count: int) -> NDArray[np.bool_]:
    """Return which volumes the run has used."""
    config = results.config
    if not (config.drop_outliers and config.motion_correction):
        return np.ones(count, bool)
    return inlier_volumes(str(results.find(outputs.MOTION, datatype, ".tsv")), count)


def _geometry(
    results: Results, space: Space, shape: tuple[int, ...], affine: Array
) -> dict[str, Any]:
    """Return the transforms to the T1w and back, the error of the ROI, and the brain."""
    datatype = outputs.DATATYPES[space]
    if not results.plan.session.t1w:
        still = {"to_t1w": None, "to_rois": None, "position_error": 0.0}
        return {**still, "brain": np.ones(shape, bool)}
    there, back = (
        read_itk(results.find(outputs.TO_T1W, datatype, from_=a, to=b))
        for a, b in ((space, "T1w"), ("T1w", space))
    )
    to_t1w: PointMapping = there
    to_rois: PointMapping = back
    if results.plan.field_source:
        shift = read_shift(results.find(outputs.SHIFT, datatype))
        to_t1w, to_rois = chain(there, shift), chain(shift.inverse(), back)
    mask, image = load_labels(str(results.find(outputs.BRAIN_MASK, "anat")))
    brain = resample_labels(mask, image.affine, to_rois, shape, affine) > 0
    error = read_position_error(results.find(outputs.TO_T1W_QUALITY, datatype))
    return {"to_t1w": to_t1w, "to_rois": to_rois, "position_error": error, "brain": brain}


READERS: Mapping[Space, Callable[[Results], AnalysedSeries]] = {
    "dce": read_dynamic,
    "dwi": read_diffusion,
}
"""How each series is read; the first one that exists also has the row of the volume."""
