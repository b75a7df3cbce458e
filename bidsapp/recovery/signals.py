"""From the signal of a series to the parameters of a model, and from a changed parameter to signal.

The same fits serve the voxels of a lesion and its mean or unmixed courses.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bidsapp.errors import FitError
from bidsapp.imaging.labels import Box
from bidsapp.lesions.surroundings import weighted_mean
from bidsapp.models import (
    MODELS,
    combine_directions,
    combine_for_model,
    count_directions,
    fit,
)
from bidsapp.models.contrast.aif import plasma_from_blood
from bidsapp.models.contrast.enhancement import Spgr, to_concentration
from bidsapp.models.contrast.spgr import contrast_r1, spgr_signal
from bidsapp.models.diffusion.decay import NOISE_LEVEL_SHELLS
from bidsapp.models.diffusion.noise import noise_level

Array = NDArray[np.float64]
Values = Mapping[str, Any]


@dataclass(frozen=True)
class ModelFit:
    """A model that a run has fitted: its name, its options, and the tabulated parameters."""

    name: str
    parameters: tuple[str, ...]
    options: Mapping[str, Any]

    def parameter_rows(self) -> dict[str, dict[str, str]]:
        """Return the columns that describe each parameter in a table."""
        row = MODELS[self.name]
        return {
            name: {"parameter": name, "unit": row.parameter(name).unit, "model": row.label}
            for name in self.parameters
        }


class SeriesSignal(Protocol):
    """How the signal of a series depends on the parameters of a model."""

    def fit(self, model: ModelFit, signals: Array) -> Values:
        """Return the parameters (V,) of courses (V, N) by name."""

    def at(self, voxels: NDArray[np.bool_]) -> "SeriesSignal":
        """Return the description of some voxels of the grid."""

    def cropped(self, box: Box) -> "SeriesSignal":
        """Return the description of a part of the grid."""

    def averaged(self, share: Array) -> "SeriesSignal":
        """Return the description of a lesion from its fraction of each voxel."""

    def redrawn(self, level: float, rng: np.random.Generator) -> "SeriesSignal":
        """Return the description with new noise, of a given level, in what was measured for it."""

    def changed(
        self, model: ModelFit, course: Array, values: Mapping[str, float], name: str, change: float
    ) -> Array:
        """Return the course (N,) of a lesion after the change of a parameter."""

    def noise_level(self, model: ModelFit, signals: Array) -> float:
        """Return the standard deviation of the noise of one sample in voxels (V, N)."""


@dataclass(frozen=True)
class DiffusionSignal:
    """A diffusion series.

    Attributes
    ----------
    bvalues : (N,) array, s/mm2
    kept : (N,) array of bool
        Volumes that are used.
    dstar : float, mm2/s
        D* of the blood where the model does not estimate it, for changed parameters only.
    """

    bvalues: Array
    kept: NDArray[np.bool_]
    dstar: float = 0.01

    def fit(self, model: ModelFit, signals: Array) -> Values:
        """Return the parameters (V,) of courses (V, N) by name."""
        # A signal below zero has no logarithm.
        positive = np.where(signals > 0, signals, np.nan)[:, self.kept]
        combined, design = combine_for_model(model.name, positive, self.bvalues[self.kept])
        settings: dict[str, Any] = design | dict(model.options)
        return fit(model.name, combined, **settings).values

    def at(self, voxels: NDArray[np.bool_]) -> "DiffusionSignal":
        """Return the description itself: it is the same in all voxels."""
        return self

    def cropped(self, box: Box) -> "DiffusionSignal":
        """Return the description itself."""
        return self

    def averaged(self, share: Array) -> "DiffusionSignal":
        """Return the description itself."""
        return self

    def redrawn(self, level: float, rng: np.random.Generator) -> "DiffusionSignal":
        """Return the description itself: the b-values have no noise."""
        return self

    def changed(
        self, model: ModelFit, course: Array, values: Mapping[str, float], name: str, change: float
    ) -> Array:
        r"""Return the course of a lesion after a change of its ADC, f, D or D*.

        Parameters
        ----------
        model
            The model with that parameter.
        course : (N,) array
            Signal of the lesion.
        values
            Its parameters.
        name
            The parameter.
        change
            In its unit.

        Returns
        -------
        (N,) array

        Notes
        -----
        The course is multiplied by the ratio of two decays, so that it keeps its S0 and the
        differences between directions: :math:`\exp(-b \Delta \mathrm{ADC})`, or the ratio of
        :math:`f e^{-b D^*} + (1 - f) e^{-b D}` after and before the change.
        """
        if name == "ADC":
            return np.asarray(course * np.exp(-self.bvalues * change))
        dstar = values.get("Dstar", model.options.get("dstar", self.dstar))
        known = {"f": values["f"], "D": values["D"], "Dstar": dstar}
        after = known | {name: known[name] + change}
        return np.asarray(course * self._decay(after) / self._decay(known))

    def noise_level(self, model: ModelFit, signals: Array) -> float:
        """Return the standard deviation of the noise in one volume.

        Parameters
        ----------
        model
            Whose residuals are taken if there are fewer than five b-values.
        signals : (V, N) array

        Raises
        ------
        FitError
            If there are no more b-values than free parameters.
        """
        bvalues = self.bvalues[self.kept]
        shells, combined = combine_directions(signals[:, self.kept], bvalues)
        counts = count_directions(bvalues)
        if len(shells) >= NOISE_LEVEL_SHELLS:
            return noise_level(combined, shells, counts)
        row = MODELS[model.name]
        found = fit(model.name, combined, bvalues=shells, **model.options)
        # The geometric mean of n directions has a variance of about 1/n.
        residuals = (combined - found.predict()) * np.sqrt(counts)
        return residual_level(residuals, row.free)

    def _decay(self, values: Mapping[str, float]) -> Array:
        blood, tissue = (np.exp(-self.bvalues * values[name]) for name in ("Dstar", "D"))
        return np.asarray(values["f"] * blood + (1 - values["f"]) * tissue)


@dataclass(frozen=True)
class Artery:
    """The measured signal from which the arterial input was calculated.

    Attributes
    ----------
    signal : (N,) array
        Mean over the arterial voxels.
    voxels : int
        Number of these.
    baseline_frames : int
        Frames before the contrast agent arrives.
    t1 : float, s
        Of blood.
    spgr : Spgr
        The acquisition in the artery.
    haematocrit : float
    """

    signal: Array
    voxels: int
    baseline_frames: int
    t1: float
    spgr: Spgr
    haematocrit: float

    def plasma_with_noise(self, level: float, rng: np.random.Generator) -> Array:
        """Return the concentration in plasma (N,), mM, with more noise in the arterial signal.

        Parameters
        ----------
        level
            Standard deviation of the noise in one voxel.
        rng
            Random numbers.

        Returns
        -------
        (N,) array
            NaN where no concentration gives such a signal.
        """
        noise = level / np.sqrt(self.voxels) * rng.standard_normal(len(self.signal))
        blood = to_concentration(self.signal + noise, self.baseline_frames, self.t1, self.spgr)
        return plasma_from_blood(blood, self.haematocrit)


@dataclass(frozen=True)
class KineticSignal:
    """A dynamic series of a contrast agent.

    Attributes
    ----------
    time : (N,) array, min
    plasma : (N,) array, mM
        Concentration in arterial plasma.
    baseline_frames : int
        Frames before the contrast agent arrives.
    spgr : Spgr
        The acquisition, with the nominal flip angle.
    t1 : float, s
        T1 of tissue where there is no map.
    kept : (N,) array of bool
        Frames that are used.
    t1_map : (...) array, s
        T1 before contrast agent.
    b1_map : (...) array
        Actual relative to nominal flip angle.
    artery : Artery
        The measured artery; None for an arterial input that is given.
    """

    time: Array
    plasma: Array
    baseline_frames: int
    spgr: Spgr
    t1: float
    kept: NDArray[np.bool_]
    t1_map: Array | None = None
    b1_map: Array | None = None
    artery: Artery | None = None

    def fit(self, model: ModelFit, signals: Array) -> Values:
        """Return the parameters (V,) of courses (V, N) by name."""
        t1 = np.broadcast_to(self._t1, (len(signals),))
        curves = to_concentration(signals, self.baseline_frames, t1, self._spgr)
        return fit(model.name, curves, **self._design(), **model.options).values

    def _design(self) -> dict[str, Any]:
        weights = self.kept.astype(float)
        return {"time": self.time, "plasma": self.plasma, "weights": weights}

    @property
    def _t1(self) -> Array:
        return np.asarray(self.t1 if self.t1_map is None else self.t1_map, float)

    @property
    def _spgr(self) -> Spgr:
        """The acquisition with the actual flip angles."""
        if self.b1_map is None:
            return self.spgr
        return replace(self.spgr, flip_angle=self.spgr.flip_angle * self.b1_map)

    def at(self, voxels: NDArray[np.bool_]) -> "KineticSignal":
        """Return the description of some voxels of the grid."""
        return self._select(voxels)

    def cropped(self, box: Box) -> "KineticSignal":
        """Return the description of a part of the grid."""
        return self._select(box)

    def redrawn(self, level: float, rng: np.random.Generator) -> "KineticSignal":
        """Return the description with an arterial input with more noise, if it was measured.

        A frame whose signal then exceeds that of any concentration keeps its concentration.
        """
        if self.artery is None:
            return self
        plasma = self.artery.plasma_with_noise(level, rng)
        return replace(self, plasma=np.where(np.isfinite(plasma), plasma, self.plasma))

    def _select(self, part: Any) -> "KineticSignal":
        t1, b1 = (None if m is None else m[part] for m in (self.t1_map, self.b1_map))
        return replace(self, t1_map=t1, b1_map=b1)

    def averaged(self, share: Array) -> "KineticSignal":
        """Return the description of a lesion from its fraction of each voxel."""
        t1, b1 = (
            None if m is None else weighted_mean(m, share) for m in (self.t1_map, self.b1_map)
        )
        spgr = replace(self.spgr, flip_angle=self.spgr.flip_angle * (b1 or 1.0))
        return replace(self, spgr=spgr, t1=t1 or self.t1, t1_map=None, b1_map=None)

    def changed(
        self, model: ModelFit, course: Array, values: Mapping[str, float], name: str, change: float
    ) -> Array:
        """Return the course of a lesion after a change of a kinetic parameter.

        Parameters
        ----------
        model
            The model with that parameter.
        course : (N,) array
            Signal of the lesion.
        values
            Its parameters.
        name
            The parameter. With Ktrans, ve stays as it is and kep follows; with kep, ve does.
        change
            In its unit.

        Returns
        -------
        (N,) array
            The course, with the difference of two model courses added.
        """
        after = _follow({**values, name: values[name] + change}, name)
        level = float(course[: self.baseline_frames].mean())
        difference = self.relative_signal(model, after) - self.relative_signal(model, values)
        return np.asarray(course + level * difference)

    def noise_level(self, model: ModelFit, signals: Array) -> float:
        """Return the standard deviation of the residuals of the signal, (V, N)."""
        t1 = np.broadcast_to(self._t1, (len(signals),))
        curves = to_concentration(signals, self.baseline_frames, t1, self._spgr)
        found = fit(model.name, curves, **self._design(), **model.options)
        level = signals[:, : self.baseline_frames].mean(axis=1, keepdims=True)
        residuals = signals - level * self.enhancement(found.predict())
        return residual_level(residuals[:, self.kept], MODELS[model.name].free)

    def relative_signal(self, model: ModelFit, values: Mapping[str, float]) -> Array:
        """Return the signal of a model, relative to that before contrast agent, (N,)."""
        arrays = {name: np.asarray(value, float) for name, value in values.items()}
        options = {k: v for k, v in model.options.items() if k == "delay"}
        design = {"time": self.time, "plasma": self.plasma}
        agent = MODELS[model.name].predict(arrays, **design, **options)
        return self.enhancement(agent)

    def enhancement(self, agent: ArrayLike) -> Array:
        """Return the signal for concentrations (..., N) in mM, relative to that without agent."""
        angle = np.asarray(self._spgr.flip_angle, float)
        time = self.spgr.repetition_time
        rest = spgr_signal(1 / self._t1, time, angle)
        rates = contrast_r1(agent, self._t1[..., None], self.spgr.relaxivity)
        return np.asarray(spgr_signal(rates, time, angle[..., None]) / rest[..., None])


def residual_level(residuals: Array, free: int) -> float:
    """Return the standard deviation of the noise from the residuals of voxels (V, N).

    Parameters
    ----------
    residuals
        Voxels that are not finite are left out.
    free
        Number of free parameters of each fit.

    Raises
    ------
    FitError
        If there are no more samples than free parameters, or no voxel.

    Examples
    --------
    >>> residual_level(np.array([[1.0, -1.0, 1.0, -1.0], [np.nan, 0, 0, 0]]), 3)
    2.0
    """
    known = residuals[np.isfinite(residuals).all(axis=1)]
    spare = residuals.shape[1] - free
    if spare < 1 or not len(known):
        raise FitError(
            f"the noise level cannot be estimated from {residuals.shape[1]} samples of "
            f"{len(known)} voxels and a model with {free} free parameters"
        )
    return float(np.median(np.sqrt(np.square(known).sum(axis=1) / spare)))


def _follow(values: Mapping[str, float], changed: str) -> dict[str, float]:
    """Return the values with kep, or ve, calculated from a changed one.

    Examples
    --------
    >>> _follow({"Ktrans": 0.1, "ve": 0.2, "kep": 0.4}, "Ktrans")["kep"]
    0.5
    """
    found = dict(values)
    if "kep" not in found or not np.isfinite(found["ve"]):
        return found
    if changed in ("Ktrans", "ve"):
        found["kep"] = found["Ktrans"] / found["ve"]
    elif changed == "kep":
        found["ve"] = found["Ktrans"] / found["kep"]
    return found
