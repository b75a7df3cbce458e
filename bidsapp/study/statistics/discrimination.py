"""Does an early change tell who will respond? ROC curve, exact test and interval of its area."""

from dataclasses import dataclass
from functools import cache
from math import nan

import numpy as np
from numpy.typing import ArrayLike
from scipy import optimize, stats

from bidsapp.study.statistics.values import CONFIDENCE, FloatArray, too_few, vector

_EXACT_PAIRS = 900
"""Up to so many pairs of a responder and another the distribution of the area is computed."""


@dataclass(frozen=True)
class Discrimination:
    """Area under the ROC curve: the chance that a responder has the lower value.

    ``curve`` has, for each threshold from low to high, the threshold and the shares of the others
    and of the responders at or below it; ``exact`` says whether p value and interval are.
    """

    n_responders: int
    n_others: int
    area: float = nan
    low: float = nan
    high: float = nan
    pvalue: float = nan
    exact: bool = False
    curve: tuple[tuple[float, float, float], ...] = ()
    note: str = ""


def discrimination(responders: ArrayLike, others: ArrayLike) -> Discrimination:
    r"""Measure how well low values single out responders.

    Parameters
    ----------
    responders, others : (N,), (M,) array_like
        Values of the two groups, in one unit; NaN for missing.

    Returns
    -------
    discrimination : Discrimination
        An area below 0.5 says that responders have the higher values.

    Notes
    -----
    .. math:: A = \frac{1}{n m} \sum_{i, j} [x_i < y_j] + \tfrac12 [x_i = y_j]

    The p value is that of the Mann-Whitney test, over all arrangements of the values where there
    are no more than 900 pairs. The interval is exact, too, for groups whose distribution functions
    or survival functions are powers of one another (Lehmann's alternatives; the wider of the two);
    beyond, it is Newcombe's score interval.

    References
    ----------
    Lehmann EL. The power of rank tests. Ann Math Stat 1953;24:23-43. doi:10.1214/aoms/1177729080

    Newcombe RG. Confidence intervals for an effect size measure based on the Mann-Whitney
    statistic. Part 2. Stat Med 2006;25:559-573. doi:10.1002/sim.2324

    Examples
    --------
    >>> found = discrimination([-60, -50, -40, -10], [-30, -20, 0, 5])
    >>> print(f"{found.area:.3f} ({found.low:.2f} to {found.high:.2f}), p = {found.pvalue:.2f}")
    0.875 (0.41 to 0.99), p = 0.11
    """
    first, second = (v[np.isfinite(v)] for v in (vector(responders, "a"), vector(others, "b")))
    n, m = first.size, second.size
    note = too_few(min(n, m), "value", " in one group")
    if note:
        return Discrimination(n, m, note=note)
    wins = float(np.sum(first[:, None] < second) + np.sum(first[:, None] == second) / 2)
    exact = n * m <= _EXACT_PAIRS
    low, high = _exact_interval(wins, n, m) if exact else _score_interval(wins / (n * m), n, m)
    return Discrimination(
        n_responders=n,
        n_others=m,
        area=wins / (n * m),
        low=low,
        high=high,
        pvalue=_pvalue(first, second, exact),
        exact=exact,
        curve=_curve(first, second),
    )


def _curve(first: FloatArray, second: FloatArray) -> tuple[tuple[float, float, float], ...]:
    """Threshold, share of the second and share of the first group at or below it."""
    thresholds = np.unique(np.concatenate([first, second]))
    shares = [np.mean(group[:, None] <= thresholds, axis=0) for group in (second, first)]
    return tuple(
        (float(a), float(b), float(c)) for a, b, c in zip(thresholds, *shares, strict=True)
    )


def _pvalue(first: FloatArray, second: FloatArray, exact: bool) -> float:
    """Two-sided Mann-Whitney p value; ties by the distribution of their own ranks."""
    if not exact:
        return float(stats.mannwhitneyu(first, second, method="asymptotic").pvalue)
    ranks = np.rint(2 * stats.rankdata(np.concatenate([first, second]))).astype(int)
    ways = np.zeros((first.size + 1, ranks.sum() + 1))
    ways[0, 0] = 1
    for rank in ranks:
        ways[1:, rank:] += ways[:-1, : ways.shape[1] - rank].copy()
    share = ways[-1] / ways[-1].sum()
    found, middle = ranks[: first.size].sum(), first.size * (ranks.size + 1)
    away = np.abs(np.arange(share.size) - middle)
    return float(min(1.0, share[away >= abs(found - middle)].sum()))


def _exact_interval(wins: float, n: int, m: int) -> tuple[float, float]:
    """Interval whose ends leave half of the error on either side, under both alternatives."""
    ends = [_lehmann_interval(wins, n, m), _lehmann_interval(wins, m, n)]
    return min(low for low, _ in ends), max(high for _, high in ends)


def _lehmann_interval(wins: float, n: int, m: int) -> tuple[float, float]:
    """Areas that this many wins does not contradict, where one group is the other to a power."""
    tail = 0.5 - CONFIDENCE / 2
    at_least, at_most = int(np.floor(wins)), int(np.ceil(wins))

    def excess(logit: float, upper: bool) -> float:
        share = _wins_distribution(n, m, float(np.exp(logit)))
        return float(share[at_least:].sum() if upper else share[: at_most + 1].sum()) - tail

    low = 0.0 if at_least == 0 else _area(optimize.brentq(excess, -12, 12, (True,)))
    high = 1.0 if at_most == n * m else _area(optimize.brentq(excess, -12, 12, (False,)))
    return low, high


def _area(logit: float) -> float:
    return float(1 / (1 + np.exp(-logit)))


@cache
def _wins_distribution(n: int, m: int, odds: float) -> FloatArray:
    """Distribution of the wins when each largest value left is of the m with these odds.

    Seen from the top, the next value belongs to one of j left of the second group, each with weight
    ``odds``, or to one of the i left of the first; a value of the second group wins against the i.
    """
    table: list[list[FloatArray]] = []
    for i in range(n + 1):
        table.append([])
        for j in range(m + 1):
            share = np.zeros(n * m + 1)
            if i == j == 0:
                share[0] = 1.0
            chance = odds * j / (i + odds * j) if i + j else 0.0
            if j:
                share[i:] += chance * table[i][j - 1][: share.size - i]
            if i:
                share += (1 - chance) * table[i - 1][j]
            table[i].append(share)
    return table[n][m]


def _score_interval(area: float, n: int, m: int) -> tuple[float, float]:
    """Newcombe's fifth interval: areas whose own standard error reaches the one found."""
    z = float(stats.norm.ppf(0.5 + CONFIDENCE / 2))
    middle = (n + m) / 2 - 1

    def excess(a: float) -> float:
        spread = 1 + middle * (1 - a) / (2 - a) + middle * a / (1 + a)
        return (area - a) ** 2 - z**2 * a * (1 - a) * spread / (n * m)

    edge = 1e-9
    inside = min(max(area, edge), 1 - edge)
    low = 0.0 if area <= edge else optimize.brentq(excess, edge / 10, inside)
    high = 1.0 if area >= 1 - edge else optimize.brentq(excess, inside, 1 - edge / 10)
    return float(low), float(high)
