"""Tests with patients as independent units: sign flips, bootstrap and leave-one-out."""

from dataclasses import dataclass
from math import nan

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from bidsapp.errors import BadInput
from bidsapp.study.statistics.values import (
    CONFIDENCE,
    FloatArray,
    as_vector,
    is_constant,
    too_few_note,
)

DRAWS = 9999
"""Random draws of a permutation test or bootstrap."""

MANY = 200
"""Number of patients above which a fifth of the draws suffices, as means are nearly normal."""

_CHUNK = 2_000_000
"""Random numbers in memory at a time."""


@dataclass(frozen=True)
class ClusterTest:
    """A mean change by patient: sign-flip p value, bootstrap 95 % interval.

    ``exact`` is true if all patterns were enumerated; power depends on ``n_patients``, not ``n``.
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
    r"""Test a mean change with patients, not lesions, as independent units.

    Parameters
    ----------
    difference : (N,) array_like
        Change of each lesion; NaN for missing.
    patients : (N,) array_like
        Patient of each lesion.
    seed : int
        Seed of the random draws.
    draws : int
        Number of draws; a fifth of it for more than `MANY` patients.

    Returns
    -------
    test : ClusterTest

    Raises
    ------
    BadInput
        If the arrays differ in length.

    Notes
    -----
    Under the null hypothesis all changes of a patient together are as likely as their negatives:
    the p value is the fraction of sign patterns with a mean at least as far from zero (all patterns
    if there are no more than ``draws``, else random ones). The interval is the studentised
    bootstrap over patients, with

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
    change, number, names = _cluster_changes(difference, patients)
    note = too_few_note(len(names), "patient")
    if not note and is_constant(change, np.abs(change)):
        note = "every lesion changes by the same amount: no test"
    if note:
        return ClusterTest(n=change.size, n_patients=len(names), note=note)
    # Flipping a patient flips the sum over its lesions, so sums by patient are all that is needed.
    sums = np.bincount(number, change).astype(np.float64)
    counts = np.bincount(number).astype(np.float64)
    draws = draws_for(len(names), draws)
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


def draws_for(n_patients: int, draws: int = DRAWS) -> int:
    """Return the number of random draws for a number of patients.

    Examples
    --------
    >>> draws_for(20), draws_for(500)
    (9999, 1999)
    """
    return draws if n_patients <= MANY else draws // 5


def _cluster_changes(
    difference: ArrayLike, patients: ArrayLike
) -> tuple[FloatArray, NDArray[np.intp], NDArray[np.generic]]:
    """Return the valid changes, the index of the patient of each, and the patients."""
    change, who = as_vector(difference, "difference"), np.asarray(patients)
    if len(change) != len(who):
        raise BadInput(f"{len(change)} changes and {len(who)} patients: give one patient for each.")
    there = np.isfinite(change)
    names, number = np.unique(who[there], return_inverse=True)
    return change[there], number, names


def _sign_flips(sums: FloatArray, draws: int, rng: np.random.Generator) -> tuple[float, bool]:
    """Return the two-sided p value of a sum over patients under random signs, and if exact."""
    # Rounding must not exclude the observed pattern itself.
    bound = abs(sums.sum()) * (1 - 1e-12)
    # Opposite patterns have the same absolute sum: half of them suffices, the last sign fixed.
    if 2 ** (sums.size - 1) <= draws + 1:
        # Bit p of a pattern's number is the sign of patient p.
        patterns = np.arange(2 ** (sums.size - 1))[:, None] >> np.arange(sums.size) & 1
        return float(np.mean(np.abs((1.0 - 2.0 * patterns) @ sums) >= bound)), True
    beyond = 1  # the observed pattern counts, so that p is never 0
    for size in _chunks(draws, sums.size):
        signs = rng.integers(0, 2, (size, sums.size), dtype=np.int8) * 2.0 - 1.0
        beyond += int(np.sum(np.abs(signs @ sums) >= bound))
    return beyond / (draws + 1), False


def _bootstrap(
    sums: FloatArray, counts: FloatArray, draws: int, rng: np.random.Generator
) -> tuple[float, float]:
    """Return the studentised bootstrap interval of the mean over clusters."""
    mean, error = _mean_and_error(np.ones((1, sums.size)), sums, counts)
    scores = []
    for size in _chunks(draws, sums.size):
        weights = _draw_with_replacement(size, sums.size, rng)
        drawn, its_error = _mean_and_error(weights, sums, counts)
        with np.errstate(divide="ignore", invalid="ignore"):
            scores.append((drawn - mean) / its_error)
    score = np.concatenate(scores)
    score = score[~np.isnan(score)]
    with np.errstate(invalid="ignore"):  # draws of a single patient have infinite scores
        tails = np.quantile(score, [0.5 - CONFIDENCE / 2, 0.5 + CONFIDENCE / 2])
    # The bootstrap distribution of t is inverted: its upper tail gives the lower limit.
    return float(mean[0] - tails[1] * error[0]), float(mean[0] - tails[0] * error[0])


def _draw_with_replacement(draws: int, size: int, rng: np.random.Generator) -> FloatArray:
    """Return how often each of ``size`` patients is drawn, one row for each draw of ``size``."""
    drawn = rng.integers(0, size, (draws, size)) + size * np.arange(draws)[:, None]
    return np.bincount(drawn.ravel(), minlength=drawn.size).reshape(drawn.shape).astype(np.float64)


def _mean_and_error(
    weights: FloatArray, sums: FloatArray, counts: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Return mean and cluster-robust standard error for each row of cluster weights."""
    # sum over patients of w (S - m n)^2, expanded, with sums S and counts n of each patient.
    terms = np.stack([counts, sums, sums**2, sums * counts, counts**2], axis=1)
    n, total, square, product, square_n = (weights @ terms).T
    mean = total / n
    square = square - 2 * mean * product + mean**2 * square_n
    return mean, np.sqrt(np.maximum(square, 0)) / n


def _chunks(draws: int, width: int) -> list[int]:
    """Return sizes of chunks of draws that fit into memory."""
    size = max(1, _CHUNK // width)
    return [min(size, draws - start) for start in range(0, draws, size)]


def leave_one_out(difference: ArrayLike, patients: ArrayLike) -> Influence:
    r"""Repeat a paired t test without each patient in turn.

    Parameters
    ----------
    difference : (N,) array_like
        Change of each lesion; NaN for missing.
    patients : (N,) array_like
        Patient of each lesion.

    Returns
    -------
    influence : Influence
        Only patients with a change; NaN if fewer than `MIN_N` changes remain.

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
    change, number, names = _cluster_changes(difference, patients)
    count = change.size - np.bincount(number, minlength=len(names))
    total = change.sum() - np.bincount(number, change, len(names))
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = total / count
        centred = change - (change.mean() if change.size else nan)
        # Sums of squares without a patient, from the total by the parallel-axis theorem: no loop.
        square = np.sum(centred**2) - np.bincount(number, centred**2, len(names))
        square -= count * (mean - change.mean()) ** 2 if change.size else 0.0
        rounding = 1e-12 * np.sum(centred**2)
        error = np.sqrt(np.where(square > rounding, square, nan) / (count - 1) / count)
        statistic = np.where(count >= 3, mean / error, nan)
    pvalue = 2 * stats.t.sf(np.abs(statistic), np.maximum(count - 1, 1))
    return Influence(names, np.asarray(mean), statistic, np.asarray(pvalue))
