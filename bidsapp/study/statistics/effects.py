"""Complements of a paired t test: effect size, rank test, normality, multiple comparisons."""

from collections.abc import Callable
from dataclasses import dataclass
from math import nan

import numpy as np
from numpy.typing import ArrayLike
from scipy import optimize, special, stats

from bidsapp.errors import BadInput
from bidsapp.study.statistics.values import (
    CONFIDENCE,
    FloatArray,
    as_vector,
    complete_pairs,
    is_constant,
    noncentral_t_below,
    too_few_note,
)

EXACT_CHANGES = 50
"""Largest number of differences for the exact distribution of the signed-rank test."""


@dataclass(frozen=True)
class EffectSize:
    """Cohen's dz with its 95 % interval, and Hedges' g with its small-sample correction."""

    n: int
    cohens_dz: float = nan
    low: float = nan
    high: float = nan
    hedges_gz: float = nan
    note: str = ""


@dataclass(frozen=True)
class RankTest:
    """Wilcoxon's signed-rank test: sum of the positive ranks and p value."""

    n: int
    statistic: float = nan
    pvalue: float = nan
    note: str = ""


def effect_size(a: ArrayLike, b: ArrayLike) -> EffectSize:
    r"""Express the mean change of lesions in standard deviations of the change.

    Parameters
    ----------
    a, b : (N,) array_like
        The two values of each lesion, in the same order and unit; NaN for missing.

    Returns
    -------
    effect : EffectSize
        Of ``a`` minus ``b``.

    Raises
    ------
    BadInput
        If ``a`` and ``b`` differ in length.

    Notes
    -----
    .. math:: d_z = \bar d / s_d = t / \sqrt n, \quad g_z = J(n - 1) \, d_z, \quad
              J(\nu) = \frac{\Gamma(\nu / 2)}{\sqrt{\nu / 2} \, \Gamma((\nu - 1) / 2)}

    The interval is that of the noncentral t distribution, exact for normal differences.

    References
    ----------
    Hedges LV. Distribution theory for Glass's estimator of effect size and related estimators.
    J Educ Stat 1981;6:107-128. doi:10.3102/10769986006002107

    Lakens D. Calculating and reporting effect sizes to facilitate cumulative science. Front Psychol
    2013;4:863. doi:10.3389/fpsyg.2013.00863

    Examples
    --------
    >>> effect = effect_size([2.0, 4.0, 3.0, 5.0], [1.0, 2.0, 3.0, 2.0])
    >>> print(f"{effect.cohens_dz:.2f} ({effect.low:.2f} to {effect.high:.2f})")
    1.16 (-0.20 to 2.44)
    """
    first, second, _ = complete_pairs(a, b)
    difference = first - second
    n = difference.size
    note = too_few_note(n, "complete pair")
    if not note and is_constant(difference, np.maximum(np.abs(first), np.abs(second))):
        note = "every lesion changes by the same amount: no effect size"
    if note:
        return EffectSize(n=n, note=note)
    size = float(difference.mean() / difference.std(ddof=1))
    # J(nu) through log gamma: the gamma function itself overflows from 172 on.
    log_gammas = special.gammaln((n - 1) / 2) - special.gammaln((n - 2) / 2)
    return EffectSize(
        n=n,
        cohens_dz=size,
        low=_noncentrality(size * np.sqrt(n), n - 1, 0.5 + CONFIDENCE / 2) / float(np.sqrt(n)),
        high=_noncentrality(size * np.sqrt(n), n - 1, 0.5 - CONFIDENCE / 2) / float(np.sqrt(n)),
        hedges_gz=size * float(np.exp(log_gammas) / np.sqrt((n - 1) / 2)),
    )


def _noncentrality(t: float, df: int, probability: float) -> float:
    """Return the noncentrality at which P(T <= t) has a given probability."""
    # The distribution function decreases with the noncentrality; 8 SD bracket any probability used.
    reach = 8 + abs(t)
    return float(
        optimize.brentq(lambda d: noncentral_t_below(t, df, d) - probability, t - reach, t + reach)
    )


def signed_rank_test(a: ArrayLike, b: ArrayLike) -> RankTest:
    r"""Test for a change of lesions without assuming normality (Wilcoxon's signed-rank test).

    Parameters
    ----------
    a, b : (N,) array_like
        The two values of each lesion, in the same order and unit; NaN for missing.

    Returns
    -------
    test : RankTest
        Of ``a`` minus ``b``; pairs without a change are excluded.

    Raises
    ------
    BadInput
        If ``a`` and ``b`` differ in length.

    Notes
    -----
    Exact up to 50 changes without ties, else by the normal approximation:

    .. math:: W = \sum_{d_i > 0} \mathrm{rank} |d_i|

    References
    ----------
    Wilcoxon F. Individual comparisons by ranking methods. Biometrics Bull 1945;1:80-83.
    doi:10.2307/3001968

    Examples
    --------
    >>> signed_rank_test([2.0, 4.0, 5.0, 7.0, 9.0], [1.0, 2.0, 2.0, 3.0, 4.0]).pvalue
    0.0625
    """
    first, second, _ = complete_pairs(a, b)
    difference = first - second
    difference = difference[difference != 0]
    note = too_few_note(difference.size, "change")
    if note:
        return RankTest(n=difference.size, note=note)
    ranks = stats.rankdata(np.abs(difference))
    # scipy's exact distribution is that of untied ranks.
    exact = difference.size <= EXACT_CHANGES and np.unique(ranks).size == ranks.size
    test = stats.wilcoxon(difference, method="exact" if exact else "approx", correction=True)
    return RankTest(
        n=difference.size,
        statistic=float(ranks[difference > 0].sum()),
        pvalue=float(test.pvalue),
    )


def normality(values: ArrayLike) -> float:
    r"""Test values for a normal distribution (Shapiro and Wilk).

    Parameters
    ----------
    values : (N,) array_like
        NaN for missing.

    Returns
    -------
    pvalue : float
        NaN for fewer than `MIN_N` values, or values that do not vary.

    Notes
    -----
    .. math:: W = \left(\sum a_i x_{(i)}\right)^2 / \sum (x_i - \bar x)^2

    References
    ----------
    Shapiro SS, Wilk MB. An analysis of variance test for normality. Biometrika 1965;52:591-611.
    doi:10.1093/biomet/52.3-4.591

    Examples
    --------
    >>> normality([1.0, 2.0, 3.0, 4.0, 100.0]) < 0.01
    True
    """
    kept = as_vector(values, "values")
    kept = kept[np.isfinite(kept)]
    if too_few_note(kept.size, "value") or is_constant(kept, np.abs(kept)):
        return nan
    return float(stats.shapiro(kept).pvalue)


def holm(pvalues: ArrayLike) -> FloatArray:
    r"""Adjust p values to control the family-wise error rate.

    Parameters
    ----------
    pvalues : (N,) array_like
        One family; NaN without a test, which is not counted.

    Returns
    -------
    adjusted : (N,) float64 ndarray

    Notes
    -----
    .. math:: \tilde p_{(i)} = \max_{j \le i} \min(1, (m - j + 1) \, p_{(j)})

    References
    ----------
    Holm S. A simple sequentially rejective multiple test procedure. Scand J Stat 1979;6:65-70.

    Examples
    --------
    >>> holm([0.01, 0.04, 0.03, float("nan")])
    array([0.03, 0.06, 0.06,  nan])
    """
    return _adjust_known(pvalues, _step_down)


def false_discovery_rate(pvalues: ArrayLike) -> FloatArray:
    r"""Adjust p values to control the false discovery rate.

    Parameters
    ----------
    pvalues : (N,) array_like
        One family; NaN without a test, which is not counted.

    Returns
    -------
    adjusted : (N,) float64 ndarray

    Notes
    -----
    .. math:: \tilde p_{(i)} = \min_{j \ge i} \min(1, m \, p_{(j)} / j)

    for tests that are independent or positively dependent.

    References
    ----------
    Benjamini Y, Hochberg Y. Controlling the false discovery rate. J R Stat Soc B 1995;57:289-300.
    doi:10.1111/j.2517-6161.1995.tb02031.x

    Examples
    --------
    >>> false_discovery_rate([0.01, 0.04, 0.03])
    array([0.03, 0.04, 0.04])
    """
    return _adjust_known(pvalues, lambda p: np.asarray(stats.false_discovery_control(p)))


def _step_down(p: FloatArray) -> FloatArray:
    order = np.argsort(p)
    # A later p value may not become smaller than one before it: running maximum.
    stepped = np.maximum.accumulate(p[order] * np.arange(p.size, 0, -1))
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(stepped, 1)
    return adjusted


def _adjust_known(pvalues: ArrayLike, adjust: Callable[[FloatArray], FloatArray]) -> FloatArray:
    """Adjust the p values that are not NaN."""
    p = as_vector(pvalues, "pvalues")
    there = np.isfinite(p)
    if np.any((p[there] < 0) | (p[there] > 1)):
        raise BadInput(f"A p value lies outside 0 to 1: {p[there]}.")
    if there.any():
        # Missing tests do not enlarge the family.
        p[there] = adjust(p[there])
    return p
