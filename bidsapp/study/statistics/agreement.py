"""Association and agreement of two measures of the same lesions, also within lesions."""

from dataclasses import dataclass
from itertools import permutations
from math import nan

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from bidsapp.errors import BadInput
from bidsapp.study.statistics.values import (
    CONFIDENCE,
    FloatArray,
    complete_pairs,
    is_constant,
    t_quantile,
    too_few_note,
)

MOST_EXACT = 8
"""Largest number of pairs for which the p value of a rank correlation is exact."""


@dataclass(frozen=True)
class Correlation:
    """A correlation with its 95 % interval, degrees of freedom and p value."""

    n: int
    r: float = nan
    low: float = nan
    high: float = nan
    df: float = nan
    pvalue: float = nan
    note: str = ""


@dataclass(frozen=True)
class Agreement:
    """Bland and Altman: mean difference, SD of it, limits of agreement; 95 % intervals of all."""

    n: int
    bias: float = nan
    bias_low: float = nan
    bias_high: float = nan
    sd: float = nan
    lower_limit: float = nan
    upper_limit: float = nan
    limit_half_width: float = nan
    note: str = ""


def rank_correlation(x: ArrayLike, y: ArrayLike) -> Correlation:
    r"""Correlate the ranks of two measures (Spearman).

    Parameters
    ----------
    x, y : (N,) array_like
        The two measures of each lesion, in the same order; NaN for missing.

    Returns
    -------
    correlation : Correlation

    Raises
    ------
    BadInput
        If ``x`` and ``y`` differ in length.

    Notes
    -----
    Up to 8 pairs, p is the proportion of all orders of one measure with a correlation at least as
    far from 0; of more pairs it is that of Student's t. The interval is Bonett and Wright's:

    .. math:: \tanh\left(\operatorname{artanh} r \pm z \sqrt{(1 + r^2 / 2) / (n - 3)}\right)

    References
    ----------
    Bonett DG, Wright TA. Sample size requirements for estimating Pearson, Kendall and Spearman
    correlations. Psychometrika 2000;65:23-28. doi:10.1007/BF02294183

    Examples
    --------
    >>> round(rank_correlation([1, 2, 3, 4, 5], [2, 1, 4, 3, 5]).r, 6)
    0.8

    Three pairs in the same order occur in 2 of 6 orders, one of them reversed:

    >>> round(rank_correlation([1, 2, 3], [4, 5, 6]).pvalue, 6)
    0.333333
    """
    first, second, _ = complete_pairs(x, y)
    note = _no_correlation_reason(first, second)
    if note:
        return Correlation(n=first.size, note=note)
    test = stats.spearmanr(first, second)
    r = float(test.statistic)
    exact = first.size <= MOST_EXACT
    pvalue = _exact_rank_pvalue(first, second) if exact else float(test.pvalue)
    # Bonett and Wright: for ranks, the variance of artanh r has 1 + r^2 / 2 in place of 1.
    spread = np.sqrt((1 + r**2 / 2) / (first.size - 3)) if first.size > 3 else np.inf
    low, high = _fisher_interval(r, float(spread))
    return Correlation(first.size, r, low, high, first.size - 2.0, pvalue)


def repeated_correlation(x: ArrayLike, y: ArrayLike, lesions: ArrayLike) -> Correlation:
    r"""Correlate two measures within lesions that were measured repeatedly.

    Parameters
    ----------
    x, y : (N,) array_like
        The two measures, one of each per lesion and occasion; NaN for missing.
    lesions : (N,) array_like
        Which lesion.

    Returns
    -------
    correlation : Correlation
        Of the deviations from each lesion's means; ``n`` counts the values of lesions that have
        two or more.

    Raises
    ------
    BadInput
        If the arrays differ in length.

    Notes
    -----
    Parallel lines, one per lesion: with N values of L lesions

    .. math:: r = \frac{\sum \tilde x \tilde y}{\sqrt{\sum \tilde x^2 \sum \tilde y^2}},
              \quad \mathrm{df} = N - L - 1

    References
    ----------
    Bakdash JZ, Marusich LR. Repeated measures correlation. Front Psychol 2017;8:456.
    doi:10.3389/fpsyg.2017.00456

    Examples
    --------
    >>> found = repeated_correlation([1, 2, 3, 5, 6, 7], [3, 4, 6, 1, 3, 3], [1, 1, 1, 2, 2, 2])
    >>> print(f"r = {found.r:.2f}, {found.df:.0f} degrees of freedom")
    r = 0.92, 3 degrees of freedom
    """
    which = np.asarray(lesions)
    first, second, complete = complete_pairs(x, y)
    if which.size != complete.size:
        raise BadInput(f"{complete.size} values and {which.size} lesions: give one for each.")
    _, number = np.unique(which[complete], return_inverse=True)
    count = np.bincount(number, minlength=1)
    several = (count > 1)[number]
    first, second, number = first[several], second[several], number[several]
    df = float(first.size - np.unique(number).size - 1)
    if df < 1:
        return Correlation(
            n=first.size, note="too few lesions have two occasions: no correlation within lesions"
        )
    # Deviations from the mean of each lesion: parallel lines differ only in their intercepts.
    a, b = (
        v - (np.bincount(number, v, count.size) / np.maximum(count, 1))[number]
        for v in (first, second)
    )
    # Relative to the values: deviations within lesions may consist of rounding errors alone.
    if is_constant(a, np.abs(first)) or is_constant(b, np.abs(second)):
        return Correlation(n=first.size, note="a measure does not change: no correlation")
    r = float(a @ b / np.sqrt((a @ a) * (b @ b)))
    # Fisher's 1 / sqrt(n - 3) with n = df + 2 (Bakdash and Marusich 2017).
    low, high = _fisher_interval(r, float(1 / np.sqrt(df - 1)) if df > 1 else np.inf)
    t = r * np.sqrt(df / max(1 - r**2, np.finfo(float).tiny))
    return Correlation(first.size, r, low, high, df, float(2 * stats.t.sf(abs(t), df)))


def limits_of_agreement(x: ArrayLike, y: ArrayLike) -> Agreement:
    r"""Describe how two measures of one scale differ (Bland and Altman).

    Parameters
    ----------
    x, y : (N,) array_like
        The two measures of each lesion, in one unit (standardise them first where they have none);
        NaN for missing.

    Returns
    -------
    agreement : Agreement
        Of ``x`` minus ``y``.

    Raises
    ------
    BadInput
        If ``x`` and ``y`` differ in length.

    Notes
    -----
    .. math:: \bar d \pm 1.96 \, s_d, \quad
              \mathrm{SE}(\bar d) = s_d / \sqrt n, \quad \mathrm{SE(limit)} = s_d \sqrt{3 / n}

    References
    ----------
    Bland JM, Altman DG. Measuring agreement in method comparison studies. Stat Methods Med Res
    1999;8:135-160. doi:10.1177/096228029900800204

    Examples
    --------
    >>> found = limits_of_agreement([1.0, 2.0, 3.0, 4.0], [1.5, 1.5, 3.5, 3.5])
    >>> print(f"{found.bias:.1f}, limits {found.lower_limit:.2f} to {found.upper_limit:.2f}")
    0.0, limits -1.13 to 1.13
    """
    first, second, _ = complete_pairs(x, y)
    note = too_few_note(first.size, "complete pair")
    if note:
        return Agreement(n=first.size, note=note)
    difference = first - second
    n, bias, sd = difference.size, float(difference.mean()), float(difference.std(ddof=1))
    z = float(stats.norm.ppf(0.5 + CONFIDENCE / 2))
    half = t_quantile(n - 1) * sd / float(np.sqrt(n))
    return Agreement(
        n=n,
        bias=bias,
        bias_low=bias - half,
        bias_high=bias + half,
        sd=sd,
        lower_limit=bias - z * sd,
        upper_limit=bias + z * sd,
        # SE(limit) = s sqrt(3 / n) = sqrt(3) SE(bias).
        limit_half_width=half * float(np.sqrt(3)),
    )


def _exact_rank_pvalue(first: FloatArray, second: FloatArray) -> float:
    """Return the two-sided p value of a rank correlation from all orders of one measure."""
    a, b = (stats.rankdata(values) - (first.size + 1) / 2 for values in (first, second))
    sums = np.abs(np.array(list(permutations(b))) @ a)
    # Ranks are multiples of 1/2: sums that are equal differ by rounding errors alone.
    return float(np.mean(sums > abs(a @ b) - 0.01))


def _no_correlation_reason(first: FloatArray, second: FloatArray) -> str:
    """Return why there is no correlation, or an empty text."""
    note = too_few_note(first.size, "complete pair")
    if not note and (is_constant(first, np.abs(first)) or is_constant(second, np.abs(second))):
        note = "a measure does not vary: no correlation"
    return note


def _fisher_interval(r: float, spread: float) -> tuple[float, float]:
    """Return the interval of a correlation from the standard error of its Fisher transform."""
    if not np.isfinite(spread):
        return nan, nan
    if abs(r) >= 1:
        return r, r
    half = float(stats.norm.ppf(0.5 + CONFIDENCE / 2)) * spread
    return float(np.tanh(np.arctanh(r) - half)), float(np.tanh(np.arctanh(r) + half))
