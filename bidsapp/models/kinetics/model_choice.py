"""Comparison of models in a region by Akaike's criterion, voxel by voxel."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bidsapp.models.solver.base import Array

AS_GOOD = 2.0
"""Mean difference of the criterion up to which a model is as well supported as the best."""


@dataclass(frozen=True)
class Choice:
    """How well the voxels of a region support each of M models.

    Attributes
    ----------
    compared
        Voxels that every model could fit; only they count.
    total
        Sum (M,) of the criterion over these voxels.
    delta
        That sum less the lowest one (M,).
    weight
        Akaike weight (M,) from the mean over these voxels: that of a typical voxel, not of all
        voxels jointly.
    preferred
        Voxels (M,) in which a model has the lowest criterion.
    """

    compared: int
    total: Array
    delta: Array
    weight: Array
    preferred: NDArray[np.intp]

    @property
    def verdicts(self) -> list[str]:
        """``best``, ``as good`` or ``worse`` for each model; ``n/a`` if no voxel was compared."""
        if not self.compared:
            return ["n/a"] * len(self.delta)
        close = self.delta / self.compared <= AS_GOOD
        words = ["as good" if near else "worse" for near in close]
        words[int(self.delta.argmin())] = "best"
        return words


def compare_models(aicc: ArrayLike) -> Choice:
    """Compare models in a region.

    Parameters
    ----------
    aicc : (M, V) array
        `Fit.aicc` of M models in V voxels.

    Returns
    -------
    Choice
        NaN if no voxel was fitted by all models.

    References
    ----------
    Akaike weights: Wagenmakers and Farrell, Psychon Bull Rev 2004, doi:10.3758/BF03206482.

    Examples
    --------
    >>> found = compare_models([[-10.0, -12.0, np.nan], [-14.0, -11.0, -20.0]])
    >>> found.compared, found.total.tolist(), found.preferred.tolist(), found.verdicts
    (2, [-22.0, -25.0], [1, 1], ['as good', 'best'])
    """
    criterion = np.asarray(aicc, float)
    both = criterion[:, np.isfinite(criterion).all(axis=0)]
    models, compared = both.shape
    if not compared:
        lost = np.full(models, np.nan)
        return Choice(0, lost, lost, lost, np.zeros(models, int))
    total = both.sum(axis=1)
    delta = total - total.min()
    # Relative likelihood exp(-delta / 2), with delta per voxel: over the sum of a region's voxels
    # it would be 0 or 1 almost always.
    likelihood = np.exp(-delta / (2 * compared))
    preferred = np.bincount(both.argmin(axis=0), minlength=models)
    return Choice(compared, total, delta, likelihood / likelihood.sum(), preferred)


def best_model(aicc: ArrayLike) -> Array:
    """Return the number, from 1, of the model with the lowest criterion; NaN where one is missing.

    Parameters
    ----------
    aicc : (M, ...) array

    Returns
    -------
    (...) array

    Examples
    --------
    >>> best_model([[-10.0, np.nan], [-14.0, -11.0]])
    array([ 2., nan])
    """
    criterion = np.asarray(aicc, float)
    known = np.isfinite(criterion).all(axis=0)
    place: Array = np.where(known, np.argmin(np.where(known, criterion, 0), axis=0) + 1.0, np.nan)
    return place
