"""Lesions of one patient go together: sign flips, bootstrap and leave-one-out by patient."""

from dataclasses import dataclass
from math import nan

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from bidsapp.errors import BadInput
from bidsapp.study.statistics.values import CONFIDENCE, FloatArray, constant, too_few, vector

DRAWS = 9999
"""Random draws of a permutation test or bootstrap."""

MANY = 200
"""With more patients than this a fifth of the draws will do: means are nearly normal."""

_CHUNK = 2_000_000
"""Random numbers held at a time."""


@dataclass(frozen=True)
class ClusterTest:
    """A mean change by patient: sign-flip p value, bootstrap 95 % interval.

    ``exact`` says whether all patterns were tried; ``n_patients`` carries the power, not ``n``.
    """

    n: int
    n_patients: int
    estimate: float = nan
    pvalue: float = nan
    low: float = nan
    high: float = nan
    exact: bool = False
    note: str = ""


@dataclass(frozen=True)
class Influence:
    """The paired t test without each patient in turn, in the order of ``patients``."""

    patients: NDArray[np.generic]
    estimate: FloatArray
    statistic: FloatArray
    pvalue: FloatArray


def cluster_test(
    difference: ArrayLike, patients: ArrayLike, *, seed: int, draws: int = DRAWS
) -> ClusterTest:
    r"""Test a mean change with patients, not lesions, as what was drawn independently.

    Parameters
    ----------
    difference : (N,) array_like
        Change of each lesion; NaN for missing.
    patients : (N,) array_like
        Whose lesion it is.
    seed : int
        Of the random draws.
    draws : int
        How many; a fifth of it where there are more than `MANY` patients.

    Returns
    -------
    test : ClusterTest

    Raises
    ------
    BadInput
        If the arrays differ in length.

    Notes
    -----
    Under the null hypothesis a patient's changes are as likely as their opposites, all at once: the
    p value is the share of sign patterns with a mean at least as far from zero (all patterns where
    there are no more than ``draws``, else random ones). The interval is the studentised bootstrap
    over patients, with

    .. math:: s^2 = \sum_p \left(\sum_{l \in p} (d_l - \bar d)\right)^2 / n^2

    References
    ----------
    Winkler AM, et al. Permutation inference for the general linear model. Neuroimage
    2014;92:381-397. doi:10.1016/j.neuroimage.2014.01.060

    Cameron AC, Gelbach JB, Miller DL. Bootstrap-based improvements for inference with clustered
    errors. Rev Econ Stat 2008;90:414-427. doi:10.1162/rest.90.3.414

    Examples
    --------
    >>> test = cluster_test([1.0, 1.2, 0.8, 1.1, 0.9, 1.3], ["a", "a", "b", "c", "d", "e"], seed=0)
    >>> test.n, test.n_patients, test.exact, test.pvalue
    (6, 5, True, 0.0625)
    """
    change, number, names = _clustered(difference, patients)
    note = too_few(len(names), "patient")
    if not note and constant(change, np.abs(change)):
        note = "every lesion changes by the same amount: no test"
    if note:
        return ClusterTest(n=change.size, n_patients=len(names), note=note)
    sums = np.bincount(number, change).astype(np.float64)
    counts = np.bincount(number).astype(np.float64)
    draws = draws if len(names) <= MANY else draws // 5
    rng = np.random.default_rng(seed)
    pvalue, exact = _sign_flips(sums, draws, rng)
    low, high = _bootstrap(sums, counts, draws, rng)
    return ClusterTest(
        n=change.size,
        n_patients=len(names),
        estimate=float(change.mean()),
        pvalue=pvalue,
        low=low,
        high=high,
        exact=exact,
    )


def _clustered(
    difference: ArrayLike, patients: ArrayLike
) -> tuple[FloatArray, NDArray[np.intp], NDArray[np.generic]]:
    """Changes that are there, the number of each one's patient, the patients."""
    change, who = vector(difference, "difference"), np.asarray(patients)
    if len(change) != len(who):
        raise BadInput(f"{len(change)} changes and {len(who)} patients: give one patient for each.")
    there = np.isfinite(change)
    names, number = np.unique(who[there], return_inverse=True)
    return change[there], number, names


def _sign_flips(sums: FloatArray, draws: int, rng: np.random.Generator) -> tuple[float, bool]:
    """Two-sided p value of the sum of ``sums`` when each may have either sign."""
    bound = abs(sums.sum()) * (1 - 1e-12)
    if 2 ** (sums.size - 1) <= draws + 1:
        patterns = np.arange(2 ** (sums.size - 1))[:, None] >> np.arange(sums.size) & 1
        return float(np.mean(np.abs((1.0 - 2.0 * patterns) @ sums) >= bound)), True
    beyond = 1
    for size in _chunks(draws, sums.size):
        signs = rng.integers(0, 2, (size, sums.size), dtype=np.int8) * 2.0 - 1.0
        beyond += int(np.sum(np.abs(signs @ sums) >= bound))
    return beyond / (draws + 1), False


def _bootstrap(
    sums: FloatArray, counts: FloatArray, draws: int, rng: np.random.Generator
) -> tuple[float, float]:
    """Studentised bootstrap interval of the mean over clusters."""
    mean, error = _mean_and_error(np.ones((1, sums.size)), sums, counts)
    scores = []
    for size in _chunks(draws, sums.size):
        weights = rng.multinomial(sums.size, np.full(sums.size, 1 / sums.size), size)
        drawn, its_error = _mean_and_error(weights.astype(np.float64), sums, counts)
        with np.errstate(divide="ignore", invalid="ignore"):
            scores.append((drawn - mean) / its_error)
    score = np.concatenate(scores)
    score = score[~np.isnan(score)]
    with np.errstate(invalid="ignore"):  # draws of one patient alone score infinity: no interval
        tails = np.quantile(score, [0.5 - CONFIDENCE / 2, 0.5 + CONFIDENCE / 2])
    return float(mean[0] - tails[1] * error[0]), float(mean[0] - tails[0] * error[0])


def _mean_and_error(
    weights: FloatArray, sums: FloatArray, counts: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Mean over lesions and its standard error by cluster, for each row of cluster weights."""
    n = weights @ counts
    mean = weights @ sums / n
    square = weights @ sums**2 - 2 * mean * (weights @ (sums * counts))
    square += mean**2 * (weights @ counts**2)
    return mean, np.sqrt(np.maximum(square, 0)) / n


def _chunks(draws: int, width: int) -> list[int]:
    """Split draws so that each chunk fits into memory."""
    size = max(1, _CHUNK // width)
    return [min(size, draws - start) for start in range(0, draws, size)]


def leave_one_out(difference: ArrayLike, patients: ArrayLike) -> Influence:
    r"""Repeat a paired t test without each patient in turn.

    Parameters
    ----------
    difference : (N,) array_like
        Change of each lesion; NaN for missing.
    patients : (N,) array_like
        Whose lesion it is.

    Returns
    -------
    influence : Influence
        Only patients who have a change; NaN where fewer than `MIN_N` changes are left.

    Raises
    ------
    BadInput
        If the arrays differ in length.

    Notes
    -----
    .. math:: t_{(-p)} = \bar d_{(-p)} \sqrt{n_{(-p)}} / s_{(-p)}

    Examples
    --------
    >>> found = leave_one_out([1.0, 2.0, 4.0, 9.0, 5.0], ["a", "a", "b", "c", "d"])
    >>> found.estimate.round(2), found.statistic.round(2)
    (array([6.  , 4.25, 3.  , 4.  ]), array([3.93, 2.37, 3.29, 2.25]))
    """
    change, number, names = _clustered(difference, patients)
    count = change.size - np.bincount(number, minlength=len(names))
    total = change.sum() - np.bincount(number, change, len(names))
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = total / count
        centred = change - (change.mean() if change.size else nan)
        square = np.sum(centred**2) - np.bincount(number, centred**2, len(names))
        square -= count * (mean - change.mean()) ** 2 if change.size else 0.0
        rounding = 1e-12 * np.sum(centred**2)
        error = np.sqrt(np.where(square > rounding, square, nan) / (count - 1) / count)
        statistic = np.where(count >= 3, mean / error, nan)
    pvalue = 2 * stats.t.sf(np.abs(statistic), np.maximum(count - 1, 1))
    return Influence(names, np.asarray(mean), statistic, np.asarray(pvalue))
