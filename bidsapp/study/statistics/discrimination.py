"""Prediction of response from an early change: ROC curve, exact test and interval of its area."""

from dataclasses import dataclass
from functools import cache
from math import nan

import numpy as np
from numpy.typing import ArrayLike
from scipy import optimize, stats

from bidsapp.study.statistics.values import CONFIDENCE, FloatArray, as_vector, too_few_note

EXACT_PAIRS = 900
"""Largest number of pairs (responder, other) for the exact distribution of the area."""


@dataclass(frozen=True)
class Discrimination:
    """Area under the ROC curve: the probability that a responder has the lower value.

    ``curve`` has, for each threshold in ascending order, the threshold and the fractions of the
    others and of the responders at or below it; ``exact`` is true if p value and interval are.
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
    r"""Quantify how well low values identify responders.

    Parameters
    ----------
    responders, others : (N,), (M,) array_like
        Values of the two groups, in one unit; NaN for missing.

    Returns
    -------
    discrimination : Discrimination
        An area below 0.5 means that responders have the higher values.

    Notes
    -----
    .. math:: A = \frac{1}{n m} \sum_{i, j} [x_i < y_j] + \tfrac12 [x_i = y_j]

    The p value is that of the Mann-Whitney test, over all arrangements of the values for up to
    900 pairs. The interval is then also exact, for groups whose distribution functions
    or survival functions are powers of one another (Lehmann's alternatives; the wider of the two);
    for more pairs, it is Newcombe's score interval.

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
    first, second = (
        v[np.isfinite(v)]
        for v in (as_vector(responders, "responders"), as_vector(others, "others"))
    )
    n, m = first.size, second.size
    note = too_few_note(min(n, m), "value", " in one group")
    if note:
        return Discrimination(n, m, note=note)
    wins = float(np.sum(first[:, None] < second) + np.sum(first[:, None] == second) / 2)
    exact = n * m <= EXACT_PAIRS
    low, high = _exact_interval(wins, n, m) if exact else _score_interval(wins / (n * m), n, m)
    return Discrimination(
        n_responders=n,
        n_others=m,
        area=wins / (n * m),
        low=low,
        high=high,
        pvalue=_pvalue(first, second, exact),
        exact=exact,
        curve=_roc_curve(first, second),
    )


def _roc_curve(first: FloatArray, second: FloatArray) -> tuple[tuple[float, float, float], ...]:
    """Return thresholds, and the fractions of second and first group at or below them."""
    thresholds = np.unique(np.concatenate([first, second]))
    shares = [np.mean(group[:, None] <= thresholds, axis=0) for group in (second, first)]
    return tuple(
        (float(a), float(b), float(c)) for a, b, c in zip(thresholds, *shares, strict=True)
    )


def _pvalue(first: FloatArray, second: FloatArray, exact: bool) -> float:
    """Return the two-sided Mann-Whitney p value, exact also with ties."""
    if not exact:
        return float(stats.mannwhitneyu(first, second, method="asymptotic").pvalue)
    # Dynamic programming over midranks, doubled to be integers: ways[k, s] counts the subsets of k
    # values with rank sum s. scipy's exact method has no ties.
    ranks = np.rint(2 * stats.rankdata(np.concatenate([first, second]))).astype(int)
    ways = np.zeros((first.size + 1, ranks.sum() + 1))
    ways[0, 0] = 1
    for rank in ranks:
        ways[1:, rank:] += ways[:-1, : ways.shape[1] - rank].copy()
    share = ways[-1] / ways[-1].sum()
    # The doubled rank sum of n among N values has the mean n (N + 1), and its distribution is
    # symmetric about it without ties; both tails count what lies as far from it.
    found, middle = ranks[: first.size].sum(), first.size * (ranks.size + 1)
    away = np.abs(np.arange(share.size) - middle)
    return float(min(1.0, share[away >= abs(found - middle)].sum()))


def _exact_interval(wins: float, n: int, m: int) -> tuple[float, float]:
    """Return the wider of the two equal-tailed Lehmann intervals of the area."""
    ends = [_lehmann_interval(wins, n, m), _lehmann_interval(wins, m, n)]
    return min(low for low, _ in ends), max(high for _, high in ends)


def _lehmann_interval(wins: float, n: int, m: int) -> tuple[float, float]:
    """Return the interval of the area if one distribution function is a power of the other.

    Clopper and Pearson's construction: at either end the observed number of wins, or a more extreme
    one, has a probability of 2.5 %.
    """
    tail = 0.5 - CONFIDENCE / 2
    at_least, at_most = int(np.floor(wins)), int(np.ceil(wins))

    # F_2 = F_1^odds gives the area odds / (1 + odds): solve for the logit of the area.
    def excess(logit: float, upper: bool) -> float:
        share = _wins_distribution(n, m, float(np.exp(logit)))
        return float(share[at_least:].sum() if upper else share[: at_most + 1].sum()) - tail

    low = 0.0 if at_least == 0 else _area_of_logit(optimize.brentq(excess, -12, 12, (True,)))
    high = 1.0 if at_most == n * m else _area_of_logit(optimize.brentq(excess, -12, 12, (False,)))
    return low, high


def _area_of_logit(logit: float) -> float:
    return float(1 / (1 + np.exp(-logit)))


@cache
def _wins_distribution(n: int, m: int, odds: float) -> FloatArray:
    """Return the distribution of the number of wins under Lehmann's alternative.

    In descending order, the next value belongs to the second group with probability
    odds j / (i + odds j), with i and j values of the two groups left; a value of the second group
    then wins against the i left of the first.
    """
    # table[i][j][w] is the probability of w wins among i values of the first group and j of the
    # second.
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
    """Return Newcombe's interval (method 5): |A - a| = z SE(a), solved for a on both sides."""
    z = float(stats.norm.ppf(0.5 + CONFIDENCE / 2))
    middle = (n + m) / 2 - 1

    def excess(a: float) -> float:
        # Hanley and McNeil's variance (Radiology 1982, doi:10.1148/radiology.143.1.7063747), in
        # which both n - 1 and m - 1 are replaced by their mean.
        spread = 1 + middle * (1 - a) / (2 - a) + middle * a / (1 + a)
        return (area - a) ** 2 - z**2 * a * (1 - a) * spread / (n * m)

    edge = 1e-9
    inside = min(max(area, edge), 1 - edge)
    low = 0.0 if area <= edge else optimize.brentq(excess, edge / 10, inside)
    high = 1.0 if area >= 1 - edge else optimize.brentq(excess, inside, 1 - edge / 10)
    return float(low), float(high)
