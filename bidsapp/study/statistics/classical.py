"""The statistics of the published study: summaries, t tests and a regression line."""

from dataclasses import dataclass
from math import nan

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from bidsapp.errors import BadInput
from bidsapp.study.statistics.values import (
    CONFIDENCE,
    FloatArray,
    as_vector,
    complete_pairs,
    is_constant,
    t_quantile,
    t_test_numbers,
    too_few_note,
)


@dataclass(frozen=True)
class Summary:
    """Descriptive statistics: mean with its 95 % interval, SD with n - 1, median, range."""

    n: int
    n_missing: int
    mean: float = nan
    sd: float = nan
    median: float = nan
    minimum: float = nan
    maximum: float = nan
    low: float = nan
    high: float = nan


@dataclass(frozen=True)
class Comparison:
    """Mean of ``a`` minus mean of ``b``: 95 % interval, Student's t, two-sided p value.

    ``n`` counts pairs in a paired test and the values of both groups in an unpaired one; ``a`` and
    ``b`` describe the values used. If there is no test, ``note`` gives the reason.
    """

    a: Summary
    b: Summary
    n: int
    n_missing: int
    estimate: float = nan
    low: float = nan
    high: float = nan
    statistic: float = nan
    df: float = nan
    pvalue: float = nan
    note: str = ""


@dataclass(frozen=True)
class Regression:
    """The line y = intercept + slope x and Pearson's r, with 95 % intervals, t and p value.

    If there is no line, ``note`` gives the reason.
    """

    n: int
    n_missing: int
    r: float = nan
    r_low: float = nan
    r_high: float = nan
    slope: float = nan
    slope_low: float = nan
    slope_high: float = nan
    intercept: float = nan
    statistic: float = nan
    df: float = nan
    pvalue: float = nan
    note: str = ""


def summary(values: ArrayLike) -> Summary:
    """Describe a set of values.

    Parameters
    ----------
    values : (N,) array_like
        Any unit; NaN for missing.

    Returns
    -------
    summary : Summary
        NaN where there are too few values.

    Examples
    --------
    >>> result = summary([2.0, 4.0, 6.0, np.nan])
    >>> result.n, result.n_missing, result.mean, result.sd
    (3, 1, 4.0, 2.0)
    """
    everything = as_vector(values, "values")
    kept = everything[np.isfinite(everything)]
    counts = {"n": kept.size, "n_missing": everything.size - kept.size}
    if kept.size == 0:
        return Summary(**counts)
    mean = float(kept.mean())
    sd = float(kept.std(ddof=1)) if kept.size > 1 else nan
    half = t_quantile(kept.size - 1) * sd / np.sqrt(kept.size) if kept.size > 1 else nan
    return Summary(
        **counts,
        mean=mean,
        sd=sd,
        median=float(np.median(kept)),
        minimum=float(kept.min()),
        maximum=float(kept.max()),
        low=float(mean - half),
        high=float(mean + half),
    )


def paired_test(a: ArrayLike, b: ArrayLike) -> Comparison:
    r"""Test whether the same lesions differ between two occasions (paired t test).

    Parameters
    ----------
    a, b : (N,) array_like
        The two values of each lesion, in the same order and unit; NaN for missing.

    Returns
    -------
    comparison : Comparison
        Of ``a`` minus ``b``, over the complete pairs.

    Raises
    ------
    BadInput
        If ``a`` and ``b`` differ in length.

    Notes
    -----
    .. math:: t = \bar d \, \sqrt n / s_d, \quad d_i = a_i - b_i, \quad \mathrm{df} = n - 1

    References
    ----------
    Student. The probable error of a mean. Biometrika 1908;6:1-25. doi:10.1093/biomet/6.1.1

    Examples
    --------
    Student's own ten patients, hours of sleep gained with two drugs:

    >>> first = [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0]
    >>> second = [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4]
    >>> result = paired_test(first, second)
    >>> print(f"t({result.df:.0f}) = {result.statistic:.4f}, p = {result.pvalue:.6f}")
    t(9) = -4.0621, p = 0.002833
    """
    first, second, complete = complete_pairs(a, b)
    difference = first - second
    note = too_few_note(first.size, "complete pair")
    if not note and is_constant(difference, np.maximum(np.abs(first), np.abs(second))):
        note = "every lesion changes by the same amount: no test"
    test = None if note else stats.ttest_rel(first, second)
    return Comparison(
        a=summary(first),
        b=summary(second),
        n=first.size,
        n_missing=int(np.sum(~complete)),
        estimate=summary(difference).mean,
        note=note,
        **t_test_numbers(test),
    )


def unpaired_test(a: ArrayLike, b: ArrayLike, equal_variance: bool = True) -> Comparison:
    r"""Test whether two groups of lesions differ (unpaired t test).

    Parameters
    ----------
    a, b : (N,), (M,) array_like
        The values of the two groups, in the same unit; NaN for missing.
    equal_variance : bool
        True for Student's test with the pooled variance, False for Welch's.

    Returns
    -------
    comparison : Comparison
        Of ``a`` minus ``b``.

    Notes
    -----
    .. math:: t = \frac{\bar a - \bar b}{\sqrt{s_a^2 / n_a + s_b^2 / n_b}}

    and with equal variances :math:`s_a = s_b`, pooled, :math:`\mathrm{df} = n_a + n_b - 2`.

    References
    ----------
    Student. The probable error of a mean. Biometrika 1908;6:1-25. doi:10.1093/biomet/6.1.1

    Welch BL. The generalization of Student's problem when several different population variances
    are involved. Biometrika 1947;34:28-35. doi:10.1093/biomet/34.1-2.28

    Examples
    --------
    >>> result = unpaired_test([5.0, 6.0, 7.0], [1.0, 2.0, 3.0])
    >>> print(f"{result.estimate:.1f}, t({result.df:.0f}) = {result.statistic:.3f}")
    4.0, t(4) = 4.899
    """
    first, second = as_vector(a, "a"), as_vector(b, "b")
    n_missing = int(np.sum(~np.isfinite(first)) + np.sum(~np.isfinite(second)))
    first, second = first[np.isfinite(first)], second[np.isfinite(second)]
    note = too_few_note(min(first.size, second.size), "value", " in one group")
    # One constant group is no obstacle: the variance of the other is enough for t.
    if not note and is_constant(first, np.abs(first)) and is_constant(second, np.abs(second)):
        note = "no value differs from its group's mean: no test"
    test = None if note else stats.ttest_ind(first, second, equal_var=equal_variance)
    return Comparison(
        a=summary(first),
        b=summary(second),
        n=first.size + second.size,
        n_missing=n_missing,
        estimate=summary(first).mean - summary(second).mean,
        note=note,
        **t_test_numbers(test),
    )


def regression(x: ArrayLike, y: ArrayLike) -> Regression:
    r"""Fit a line to two measures of each lesion (least squares, Pearson's r).

    Parameters
    ----------
    x, y : (N,) array_like
        The two measures of each lesion, in the same order; NaN for missing.

    Returns
    -------
    regression : Regression
        Of ``y`` on ``x``, over the complete pairs.

    Raises
    ------
    BadInput
        If ``x`` and ``y`` differ in length.

    Notes
    -----
    .. math:: r = \frac{\sum (x_i - \bar x)(y_i - \bar y)}
              {\sqrt{\sum (x_i - \bar x)^2 \sum (y_i - \bar y)^2}},
              \quad t = r \sqrt{\frac{n - 2}{1 - r^2}}

    References
    ----------
    Fisher RA. Frequency distribution of the values of the correlation coefficient in samples from
    an indefinitely large population. Biometrika 1915;10:507-521. doi:10.1093/biomet/10.4.507

    Examples
    --------
    >>> result = regression([1.0, 2.0, 3.0, 4.0], [2.0, 4.1, 5.9, 8.0])
    >>> print(f"y = {result.intercept:.2f} + {result.slope:.2f} x, r = {result.r:.4f}")
    y = 0.05 + 1.98 x, r = 0.9995
    """
    first, second, complete = complete_pairs(x, y)
    note = too_few_note(first.size, "complete pair")
    if not note and is_constant(first, np.abs(first)):
        note = "x does not vary: no line"
    if not note and is_constant(second, np.abs(second)):
        note = "y does not vary: no correlation"
    if note:
        return Regression(n=first.size, n_missing=int(np.sum(~complete)), note=note)
    line = stats.linregress(first, second)
    df = first.size - 2
    # Slope and r share t and p value but not the kind of interval: Student's for the slope,
    # Fisher's for r.
    half = t_quantile(df) * line.stderr
    interval = stats.pearsonr(first, second).confidence_interval(CONFIDENCE)
    return Regression(
        r=float(line.rvalue),
        r_low=float(interval.low),
        r_high=float(interval.high),
        slope=float(line.slope),
        slope_low=float(line.slope - half),
        slope_high=float(line.slope + half),
        intercept=float(line.intercept),
        # Points exactly on a line leave no residual.
        statistic=float(line.slope / line.stderr) if line.stderr > 0 else float("inf"),
        df=float(df),
        pvalue=float(line.pvalue),
        n=first.size,
        n_missing=int(np.sum(~complete)),
    )


def regression_band(x: ArrayLike, y: ArrayLike, at: ArrayLike) -> tuple[FloatArray, FloatArray]:
    r"""Return the 95 % confidence band of a regression line.

    Parameters
    ----------
    x, y : (N,) array_like
        The points; NaN for missing. At least `MIN_N` complete ones, with different x.
    at : (M,) array_like
        Positions on the x axis.

    Returns
    -------
    low, high : (M,) float64 ndarray
        Lower and upper edge, in the unit of ``y``.

    Raises
    ------
    BadInput
        If there are too few points for a line.

    Notes
    -----
    .. math:: \hat y(x) \pm t_{n-2} \, s \sqrt{1 / n + (x - \bar x)^2 / \sum (x_i - \bar x)^2}

    References
    ----------
    Working H, Hotelling H. Applications of the theory of error to the interpretation of trends.
    J Am Stat Assoc 1929;24:73-85. doi:10.1080/01621459.1929.10506274

    Examples
    --------
    >>> low, high = regression_band([0.0, 1.0, 2.0, 3.0], [0.0, 1.2, 1.8, 3.0], [1.5])
    >>> print(f"{low[0]:.3f} to {high[0]:.3f}")
    1.092 to 1.908
    """
    line = regression(x, y)
    if line.note:
        raise BadInput(f"There is no regression line to draw a band around: {line.note}.")
    first, second, _ = complete_pairs(x, y)
    place = as_vector(at, "at")
    residual = second - line.intercept - line.slope * first
    spread = first - first.mean()
    # Variance of the fitted mean at x: s^2 (1 / n + (x - mean)^2 / Sxx).
    variance = np.sum(residual**2) / line.df
    variance = variance * (1 / first.size + (place - first.mean()) ** 2 / np.sum(spread**2))
    centre = line.intercept + line.slope * place
    half = t_quantile(int(line.df)) * np.sqrt(variance)
    return centre - half, centre + half
