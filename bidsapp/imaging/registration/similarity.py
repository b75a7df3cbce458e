"""How alike two sets of values are: the local Pearson correlation, and mutual information.

Both say the cost, which is lower the more alike the values are, and its slope by each value.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

Values = NDArray[np.float32]
Metric = Literal["lpc", "lpa", "lpp", "nmi"]

METRICS: tuple[Metric, ...] = get_args(Metric)

BINS = 48
"""Of the joint histogram, along each axis."""
FLAT = 0.01
"""Variance below which a block says little, as a share of the mean block's."""
_LARGEST = 0.999
"""Correlation from which on Fisher's z no longer grows."""


@dataclass(frozen=True)
class Comparison:
    """What a comparison found: the cost, and its slope by each of the N values."""

    cost: float
    slope: Values


Measure = Callable[[Values, NDArray[np.bool_]], Comparison]
"""Values (N,) and which of them count -> comparison with the values that it was made for."""


def block_of(points: ArrayLike, spacing: float) -> NDArray[np.intp]:
    """Return which block each point belongs to: truncated octahedra that fill space.

    Parameters
    ----------
    points : (N, 3) array, mm
    spacing : float, mm
        Edge of the cube that holds two blocks.

    Returns
    -------
    (N,) array of int
        From 0, without gaps.

    Notes
    -----
    The cells of the body-centred cubic lattice, the roundest blocks that leave no gaps, as in
    AFNI's 3dAllineate.

    Examples
    --------
    >>> block_of([[0, 0, 0], [1, 1, 0], [5, 5, 5]], 10.0).tolist()
    [0, 0, 1]
    """
    scaled = np.asarray(points, float) / spacing
    corner = np.rint(scaled)
    centre = np.floor(scaled) + 0.5
    nearer = ((scaled - centre) ** 2).sum(axis=1) < ((scaled - corner) ** 2).sum(axis=1)
    cell = np.rint(2 * np.where(nearer[:, None], centre, corner)).astype(np.int64)
    cell -= cell.min(axis=0)
    width = cell.max(axis=0) + 1
    key = (cell[:, 0] * width[1] + cell[:, 1]) * width[2] + cell[:, 2]
    found: NDArray[np.intp] = np.unique(key, return_inverse=True)[1].astype(np.intp)
    return found


@dataclass(frozen=True)
class LocalPearson:
    r"""The local Pearson correlation with given values.

    Attributes
    ----------
    values : (N,) array
        Block after block.
    starts : (K,) array of int
        Where each block begins.
    metric : str
        ``lpc`` rewards opposite contrast, ``lpp`` like contrast, ``lpa`` either.

    Notes
    -----
    With :math:`z_k = \mathrm{atanh}\, r_k` in block k, of which :math:`n_k` values count, the cost
    is :math:`\sum_k n_k z_k |z_k| / N` for ``lpc``, its negative for ``lpp`` and
    :math:`-\sum_k n_k z_k^2 / N` for ``lpa``. :math:`N` is the number of all values, whether they
    count at the moment or not, so that leaving the field of view never pays.

    References
    ----------
    Saad et al., NeuroImage 2009, doi:10.1016/j.neuroimage.2008.09.037.
    """

    values: Values
    starts: NDArray[np.intp]
    metric: Metric

    def __call__(self, values: Values, counts: NDArray[np.bool_]) -> Comparison:
        """Return the cost of other values, and its slope by each of them."""
        weight = counts.astype(np.float32)
        mass = np.maximum(self._total(weight), 1e-6)
        mine, my_variance = self._spread(self.values, weight, mass)
        theirs, their_variance = self._spread(values, weight, mass)
        my_variance += FLAT * my_variance.mean() + 1e-12
        their_variance += FLAT * their_variance.mean() + 1e-12
        norm = np.sqrt(my_variance * their_variance)
        r = self._total(weight * mine * theirs) / mass / norm
        r = np.clip(r, -_LARGEST, _LARGEST)
        share = mass / len(values)
        value, by_z = self._worth(np.arctanh(r))
        by_r = share * by_z / (1 - r * r)
        by_variance = by_r * r / (2 * their_variance)
        by_variance += FLAT * by_variance.mean()  # each variance also raises the floor of all
        slope = self._each(by_r / norm / mass) * mine - self._each(2 * by_variance / mass) * theirs
        return Comparison(float((share * value).sum()), weight * slope)

    def _spread(
        self, values: Values, weight: Values, mass: NDArray[np.float64]
    ) -> tuple[Values, NDArray[np.float64]]:
        """Return the values less their block's mean, and the variance of each block."""
        centred = values - self._each(self._total(weight * values) / mass)
        return centred, self._total(weight * centred * centred) / mass

    def _total(self, values: Values) -> NDArray[np.float64]:
        """Return the sum of each block, (K,)."""
        return np.add.reduceat(values, self.starts, dtype=np.float64)

    def _each(self, blocks: NDArray[np.float64]) -> Values:
        """Return what belongs to a block for each of its values, (N,)."""
        size = np.diff(np.append(self.starts, len(self.values)))
        return np.repeat(blocks.astype(np.float32), size)

    def _worth(self, z: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the cost of Fisher's z, and its slope."""
        if self.metric == "lpa":
            return -z * z, -2 * z
        sign = 1.0 if self.metric == "lpc" else -1.0
        return sign * z * np.abs(z), sign * 2 * np.abs(z)


@dataclass(frozen=True)
class MutualInformation:
    """The normalised mutual information with given values, less one, negated.

    It is times the share of the values that count, so that leaving the field of view never pays.

    Attributes
    ----------
    bins : (N,) array of int
        Of the values.
    low, width : float
        Where the other values' bins begin, and how wide they are.

    References
    ----------
    Studholme et al., Pattern Recognition 1999, doi:10.1016/S0031-3203(98)00091-0.
    """

    bins: NDArray[np.intp]
    low: float
    width: float

    def __call__(self, values: Values, counts: NDArray[np.bool_]) -> Comparison:
        """Return the cost of other values, and its slope by each of them."""
        place = np.clip((values - self.low) / self.width, 0, BINS - 1.001)
        lower = place.astype(np.intp)
        rest = place - lower
        number = max(int(counts.sum()), 1)
        share = number / len(values)
        weight = counts / number
        cell = self.bins * BINS + lower
        joint = np.zeros(BINS * BINS)
        joint += np.bincount(cell, weight * (1 - rest), BINS * BINS)
        joint += np.bincount(cell + 1, weight * rest, BINS * BINS)
        table = joint.reshape(BINS, BINS)
        mine, theirs = table.sum(axis=1), table.sum(axis=0)
        single, double = _entropy(mine) + _entropy(theirs), _entropy(table)
        ratio = single / max(double, 1e-9)
        log_joint, log_theirs = _log(table), np.broadcast_to(_log(theirs), table.shape)
        slope = ((ratio * log_joint - log_theirs) / max(double, 1e-9)).ravel()
        inner = (place > 0) & (place < BINS - 1.001)
        by_value = -share * weight * inner * (slope[cell + 1] - slope[cell]) / self.width
        return Comparison(share * (1 - ratio), by_value.astype(np.float32))


def _entropy(shares: NDArray[np.float64]) -> float:
    return float(-(shares * _log(shares)).sum())


def _log(shares: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.log(np.maximum(shares, 1e-12))


def measure(metric: Metric, values: Values, blocks: NDArray[np.intp], reference: Values) -> Measure:
    """Return the comparison with given values.

    Parameters
    ----------
    metric : str
    values : (N,) array
        Of points that are sorted by block.
    blocks : (N,) array of int
        Which block each point belongs to, sorted.
    reference : array
        What the other image holds: its range sets the bins of ``nmi``.

    Returns
    -------
    Measure
    """
    if metric != "nmi":
        starts = np.flatnonzero(np.diff(blocks, prepend=-1)).astype(np.intp)
        return LocalPearson(values, starts, metric)
    low, high = np.percentile(values, [0.5, 99.5])
    scale = max(float(high - low), 1e-9) / BINS
    bins = np.clip((values - low) / scale, 0, BINS - 1).astype(np.intp)
    floor, roof = np.percentile(reference, [0.5, 99.5])
    width = max(float(roof - floor), 1e-9) / (BINS - 1)
    return MutualInformation(bins, float(floor), width)
