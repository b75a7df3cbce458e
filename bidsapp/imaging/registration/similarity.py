"""Similarity of two sets of values: local Pearson correlation and mutual information.

Both return a cost, which is lower the more similar the values are, and its gradient.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

Values = NDArray[np.float32]
Metric = Literal["lpc", "lpa", "lpp", "nmi"]

METRICS: tuple[Metric, ...] = get_args(Metric)

BINS = 48
"""Bins of the joint histogram along each axis."""
FLAT = 0.01
"""Variance added to each block, as a fraction of the mean variance: flat blocks count less."""
_MAX_CORRELATION = 0.999
"""Correlation at which Fisher's z is clipped."""


@dataclass(frozen=True)
class CostSlope:
    """The cost, and its gradient (N,) with respect to the values."""

    cost: float
    slope: Values


Measure = Callable[[Values, NDArray[np.bool_]], CostSlope]
"""Values (N,) and a mask of those used -> cost relative to the reference values, and gradient."""


def assign_blocks(points: ArrayLike, spacing: float) -> NDArray[np.intp]:
    """Return the block of each point, with truncated octahedra as space-filling blocks.

    Parameters
    ----------
    points : (N, 3) array, mm
    spacing : float, mm
        Edge of the cube that holds two blocks.

    Returns
    -------
    (N,) array of int
        Numbered from 0 without gaps.

    Notes
    -----
    The blocks are the Voronoi cells of the body-centred cubic lattice, nearly spherical and without
    gaps, as in AFNI's 3dAllineate.

    Examples
    --------
    >>> assign_blocks([[0, 0, 0], [1, 1, 0], [5, 5, 5]], 10.0).tolist()
    [0, 0, 1]
    """
    # Lattice points are the corners and the centres of cubes; each point goes to the nearer one.
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
    r"""The local Pearson correlation with reference values.

    Attributes
    ----------
    values : (N,) array
        Reference values, sorted by block.
    starts : (K,) array of int
        Index of the first value of each block.
    metric : str
        ``lpc`` rewards inverted contrast, ``lpp`` equal contrast, ``lpa`` either.

    Notes
    -----
    With :math:`z_k = \mathrm{atanh}\, r_k` in block k, with :math:`n_k` values in use, the cost
    is :math:`\sum_k n_k z_k |z_k| / N` for ``lpc``, its negative for ``lpp`` and
    :math:`-\sum_k n_k z_k^2 / N` for ``lpa``. :math:`N` is the number of all values, in use or
    not, so that leaving the field of view never lowers the cost.

    References
    ----------
    Saad et al., NeuroImage 2009, doi:10.1016/j.neuroimage.2008.09.037.
    """

    values: Values
    starts: NDArray[np.intp]
    metric: Metric

    def __call__(self, values: Values, counts: NDArray[np.bool_]) -> CostSlope:
        """Return the cost of other values, and its gradient with respect to them."""
        weight = counts.astype(np.float32)
        # Sums over blocks replace loops: each block is a slice of the sorted values.
        mass = np.maximum(self._total(weight), 1e-6)
        mine, my_variance = self._spread(self.values, weight, mass)
        theirs, their_variance = self._spread(values, weight, mass)
        # The floor on the variance keeps r of a flat block near 0 instead of that of its noise.
        my_variance += FLAT * my_variance.mean() + 1e-12
        their_variance += FLAT * their_variance.mean() + 1e-12
        norm = np.sqrt(my_variance * their_variance)
        r = self._total(weight * mine * theirs) / mass / norm
        r = np.clip(r, -_MAX_CORRELATION, _MAX_CORRELATION)
        share = mass / len(values)
        # Chain rule: cost(z), z = artanh r with dz/dr = 1 / (1 - r^2), and
        # dr/dy = (x / norm - r y / variance) / mass for centred values x, y.
        value, by_z = self._cost_of_z(np.arctanh(r))
        by_r = share * by_z / (1 - r * r)
        by_variance = by_r * r / (2 * their_variance)
        by_variance += FLAT * by_variance.mean()  # each block also enters the floor of all
        slope = self._each(by_r / norm / mass) * mine - self._each(2 * by_variance / mass) * theirs
        return CostSlope(float((share * value).sum()), weight * slope)

    def _spread(
        self, values: Values, weight: Values, mass: NDArray[np.float64]
    ) -> tuple[Values, NDArray[np.float64]]:
        """Return the values minus the mean of their block, and the variance of each block."""
        centred = values - self._each(self._total(weight * values) / mass)
        return centred, self._total(weight * centred * centred) / mass

    def _total(self, values: Values) -> NDArray[np.float64]:
        """Return the sum of each block, (K,)."""
        return np.add.reduceat(values, self.starts, dtype=np.float64)

    @cached_property
    def _sizes(self) -> NDArray[np.intp]:
        """Number of values in each block, (K,)."""
        return np.diff(np.append(self.starts, len(self.values)))

    def _each(self, blocks: NDArray[np.float64]) -> Values:
        """Return the quantity of each block repeated for its values, (N,)."""
        return np.repeat(blocks.astype(np.float32), self._sizes)

    def _cost_of_z(self, z: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the cost as a function of Fisher's z, and its derivative."""
        if self.metric == "lpa":
            return -z * z, -2 * z
        sign = 1.0 if self.metric == "lpc" else -1.0
        return sign * z * np.abs(z), sign * 2 * np.abs(z)


@dataclass(frozen=True)
class MutualInformation:
    """One minus the normalised mutual information with reference values.

    It is multiplied by the fraction of values used, so that leaving the field of view never lowers
    the cost.

    Attributes
    ----------
    bins : (N,) array of int
        Of the reference values.
    low, width : float
        Lower edge of the first bin of the other values, and the bin width.

    References
    ----------
    Studholme et al., Pattern Recognition 1999, doi:10.1016/S0031-3203(98)00091-0.
    """

    bins: NDArray[np.intp]
    low: float
    width: float

    def __call__(self, values: Values, counts: NDArray[np.bool_]) -> CostSlope:
        """Return the cost of other values, and its gradient with respect to them."""
        # Each value is shared linearly between two bins (a first-order Parzen window): the joint
        # histogram, and with it the cost, is then continuous with an exact gradient.
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
        # d(NMI)/dp of a cell of the joint histogram; a value moves mass from its lower to its
        # upper cell, hence the difference of two neighbours below.
        log_joint, log_theirs = _log(table), np.broadcast_to(_log(theirs), table.shape)
        slope = ((ratio * log_joint - log_theirs) / max(double, 1e-9)).ravel()
        inner = (place > 0) & (place < BINS - 1.001)
        by_value = -share * weight * inner * (slope[cell + 1] - slope[cell]) / self.width
        return CostSlope(share * (1 - ratio), by_value.astype(np.float32))


def _entropy(shares: NDArray[np.float64]) -> float:
    return float(-(shares * _log(shares)).sum())


def _log(shares: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.log(np.maximum(shares, 1e-12))


def make_measure(
    metric: Metric, values: Values, blocks: NDArray[np.intp], reference: Values
) -> Measure:
    """Return the similarity measure with given reference values.

    Parameters
    ----------
    metric : str
    values : (N,) array
        At points sorted by block.
    blocks : (N,) array of int
        Block of each point, sorted.
    reference : array
        All values of the other image: their range sets the bins of ``nmi``.

    Returns
    -------
    Measure
    """
    if metric != "nmi":
        starts = np.flatnonzero(np.diff(blocks, prepend=-1)).astype(np.intp)
        return LocalPearson(values, starts, metric)
    # Both ranges ignore the darkest and the brightest half per cent, which fall into the outer
    # bins.
    low, high = np.percentile(values, [0.5, 99.5])
    scale = max(float(high - low), 1e-9) / BINS
    bins = np.clip((values - low) / scale, 0, BINS - 1).astype(np.intp)
    floor, roof = np.percentile(reference, [0.5, 99.5])
    width = max(float(roof - floor), 1e-9) / (BINS - 1)
    return MutualInformation(bins, float(floor), width)
