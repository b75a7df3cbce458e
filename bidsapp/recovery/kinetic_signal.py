"""The signal of a dynamic series of a contrast agent, and that of the artery in it."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bidsapp.imaging.labels import Box
from bidsapp.lesions.surroundings import weighted_mean
from bidsapp.models import MODELS, fit
from bidsapp.models.contrast.aif import plasma_from_blood
from bidsapp.models.contrast.enhancement import Spgr, to_concentration
from bidsapp.models.contrast.spgr import contrast_r1, spgr_signal
from bidsapp.recovery.signals import Array, ModelFit, Values, residual_level


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
        return fit(model.name, self.curves(signals), **self.design(), **model.options).values

    def curves(self, signals: Array) -> Array:
        """Return the concentrations (V, N), mM, of courses."""
        t1 = np.broadcast_to(self._t1, (len(signals),))
        return to_concentration(signals, self.baseline_frames, t1, self._spgr)

    def design(self) -> dict[str, Any]:
        """Return the arguments of a fit that do not depend on the model."""
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
        t1 = self.t1 if self.t1_map is None else weighted_mean(self.t1_map, share)
        b1 = 1.0 if self.b1_map is None else weighted_mean(self.b1_map, share)
        spgr = replace(self.spgr, flip_angle=self.spgr.flip_angle * b1)
        return replace(self, spgr=spgr, t1=t1, t1_map=None, b1_map=None)

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
        found = fit(model.name, curves, **self.design(), **model.options)
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
