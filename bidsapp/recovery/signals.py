"""From the signal of a series to the parameters of a model, and from a changed parameter to signal.

The same fits serve the voxels of a lesion and its mean or unmixed courses.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from bidsapp.errors import FitError
from bidsapp.imaging.labels import Box
from bidsapp.models import (
    MODELS,
    combine_directions,
    combine_for_model,
    count_directions,
    fit,
)
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
