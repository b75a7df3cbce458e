"""Shared by all statistics: checked vectors, complete pairs, and reasons for no test."""

from math import nan
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from bidsapp.errors import BadInput

FloatArray = NDArray[np.float64]

MIN_N = 3
"""Smallest number of values (pairs, points, members of a group) for a test."""

CONFIDENCE = 0.95
"""Coverage of every interval."""


def as_vector(values: ArrayLike, name: str) -> FloatArray:
    """Copy values to a one-dimensional float64 array.

    Parameters
    ----------
    values : (N,) array_like
    name : str
        Its name in the error message.

    Returns
    -------
    vector : (N,) float64 ndarray

    Raises
    ------
    BadInput
        If there is more than one dimension.

    Examples
    --------
    >>> as_vector([1, 2], "values")
    array([1., 2.])
    """
    copied = np.array(values, dtype=np.float64)
    if copied.ndim != 1:
        raise BadInput(f"`{name}` has the shape {copied.shape}: give one value per lesion, (N,).")
    return copied


def complete_pairs(a: ArrayLike, b: ArrayLike) -> tuple[FloatArray, FloatArray, NDArray[np.bool_]]:
    """Keep the pairs without a missing value.

    Parameters
    ----------
    a, b : (N,) array_like
        NaN for missing.

    Returns
    -------
    a, b : (M,) float64 ndarray
    complete : (N,) bool ndarray
        Which pairs were kept.

    Raises
    ------
    BadInput
        If ``a`` and ``b`` differ in length.

    Examples
    --------
    >>> complete_pairs([1, 2], [np.nan, 3])[:2]
    (array([2.]), array([3.]))
    """
    first, second = as_vector(a, "a"), as_vector(b, "b")
    if first.size != second.size:
        raise BadInput(f"{first.size} values cannot pair with {second.size}: give one of each.")
    complete = np.isfinite(first) & np.isfinite(second)
    return first[complete], second[complete], complete


def t_test_numbers(test: Any) -> dict[str, float]:
    """Return statistic, p value and interval of a scipy t test; empty without a test."""
    if test is None:
        return {}
    interval = test.confidence_interval(CONFIDENCE)
    return {
        "low": float(interval.low),
        "high": float(interval.high),
        "statistic": float(test.statistic),
        "df": float(test.df),
        "pvalue": float(test.pvalue),
    }


def is_constant(values: FloatArray, size: FloatArray) -> bool:
    """Return whether values differ by no more than rounding errors of numbers of a given size."""
    # 16 units in the last place: the rounding of a few operations on the largest of the numbers.
    return bool(np.ptp(values) <= 16 * np.finfo(np.float64).eps * size.max())


def too_few_note(n: int, what: str, where: str = "") -> str:
    """Return why there are too few values for a test, or an empty text."""
    if n >= MIN_N:
        return ""
    count = f"no {what}" if n == 0 else f"only {n} {what}{'s' if n > 1 else ''}"
    return f"{count}{where}, a test needs {MIN_N}: no test"


def t_quantile(df: float) -> float:
    """Return the two-sided quantile of Student's t for CONFIDENCE; NaN if df is not positive."""
    return float(stats.t.ppf(0.5 + CONFIDENCE / 2, df)) if df > 0 else nan


def noncentral_t_below(t: float, df: float, shift: float) -> float:
    """Return P(T < t) of noncentral t; normal in the far tails, where scipy returns NaN."""
    chance = float(stats.nct.cdf(t, df, shift))
    return float(stats.norm.cdf(t - shift)) if np.isnan(chance) else chance
