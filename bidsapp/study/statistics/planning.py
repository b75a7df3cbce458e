"""Planning of a study: sample size, and the smallest detectable change of one lesion."""

from dataclasses import dataclass
from math import ceil, inf, nan

import numpy as np
from numpy.typing import ArrayLike
from scipy import optimize, stats

from bidsapp.errors import BadInput
from bidsapp.study.statistics.values import (
    CONFIDENCE,
    complete_pairs,
    noncentral_t_below,
    too_few_note,
)

MOST = 100_000
"""Largest number of pairs considered."""


@dataclass(frozen=True)
class Repeatability:
    """Repeatability: SD within a lesion, smallest detectable change and its 95 % interval."""

    n: int
    bias: float = nan
    within_sd: float = nan
    detectable: float = nan
    low: float = nan
    high: float = nan
    note: str = ""


def pairs_needed(effect: float, power: float, alpha: float = 0.05) -> float:
    r"""Return the number of pairs for a paired t test to detect an effect.

    Parameters
    ----------
    effect : float
        Expected Cohen's dz; NaN for unknown.
    power : float
        Probability of detection, such as 0.8.
    alpha : float
        Two-sided size of the test.

    Returns
    -------
    n : float
        A whole number of pairs, infinite above `MOST`, NaN for an unknown effect.

    Raises
    ------
    BadInput
        If ``power`` or ``alpha`` does not lie between 0 and 1, or ``power`` not above ``alpha``.

    Notes
    -----
    The smallest n with

    .. math:: P(|T_{n - 1}(d_z \sqrt n)| > t_{1 - \alpha / 2, n - 1}) \ge \mathrm{power}

    where T is noncentral t.

    References
    ----------
    Cohen J. Statistical power analysis for the behavioral sciences. 2nd ed. Erlbaum, 1988.
    doi:10.4324/9780203771587

    Examples
    --------
    >>> pairs_needed(0.5, 0.8)
    34.0
    """
    if not 0 < alpha < power < 1:
        raise BadInput(f"power is {power:g} and alpha {alpha:g}: give 0 < alpha < power < 1.")
    if np.isnan(effect):
        return nan

    # Without an effect the power is alpha, whatever n.
    if not abs(effect) > 0:
        return inf
    # Power grows with n: bracket by doubling, then find the root.
    few, many = 2.0, 4.0
    while many < MOST and _power(effect, many, alpha) < power:
        few, many = many, 2 * many
    if many >= MOST:
        return inf
    if _power(effect, few, alpha) >= power:
        return few
    found = optimize.brentq(lambda n: _power(effect, n, alpha) - power, few, many, xtol=1e-6)
    # A root just above a whole number is that number.
    return float(ceil(found - 1e-6))


def _power(effect: float, n: float, alpha: float) -> float:
    """Return the power of n pairs."""
    limit = float(stats.t.ppf(1 - alpha / 2, n - 1))
    shift = abs(effect) * float(np.sqrt(n))
    # Two-sided: both tails of the noncentral t beyond the critical value.
    below = noncentral_t_below(limit, n - 1, shift)
    return 1 - below + noncentral_t_below(-limit, n - 1, shift)


def repeatability(first: ArrayLike, second: ArrayLike) -> Repeatability:
    r"""Estimate the repeatability of a measure from two scans without a change in between.

    Parameters
    ----------
    first, second : (N,) array_like
        Scan and rescan of each lesion, in one unit; NaN for missing.

    Returns
    -------
    repeatability : Repeatability
        ``bias`` is the mean of the second minus the first.

    Raises
    ------
    BadInput
        If ``first`` and ``second`` differ in length.

    Notes
    -----
    .. math:: s_w^2 = \frac{1}{2 n} \sum d_i^2, \quad
              \mathrm{RC} = 1.96 \sqrt 2 \, s_w, \quad
              \frac{n s_w^2}{\chi^2_{0.975, n}} \le \sigma_w^2 \le \frac{n s_w^2}{\chi^2_{0.025, n}}

    References
    ----------
    Raunig DL, et al. Quantitative imaging biomarkers: a review of statistical methods for technical
    performance assessment. Stat Methods Med Res 2015;24:27-67. doi:10.1177/0962280214537344

    Examples
    --------
    >>> found = repeatability([1.0, 2.0, 3.0], [1.1, 1.8, 3.1])
    >>> print(f"{found.within_sd:.3f}, detectable {found.detectable:.2f}")
    0.100, detectable 0.28
    """
    a, b, _ = complete_pairs(first, second)
    note = too_few_note(a.size, "repeated lesion")
    if note:
        return Repeatability(n=a.size, note=note)
    # About zero, not about the mean difference: no change is expected between the scans, so that a
    # systematic one counts as noise and there are n degrees of freedom.
    variance = float(np.mean((b - a) ** 2) / 2)
    return Repeatability(
        n=a.size,
        bias=float(np.mean(b - a)),
        within_sd=float(np.sqrt(variance)),
        detectable=detectable_change(float(np.sqrt(variance))),
        low=detectable_change(float(np.sqrt(_variance_end(variance, a.size, 1)))),
        high=detectable_change(float(np.sqrt(_variance_end(variance, a.size, -1)))),
    )


def _variance_end(variance: float, n: int, side: int) -> float:
    """Return one end of the interval of a variance with n degrees of freedom (chi-squared)."""
    return float(n * variance / stats.chi2.ppf(0.5 + side * CONFIDENCE / 2, n))


def detectable_change(within_sd: float) -> float:
    r"""Return the change of one lesion that noise alone exceeds in 5 % of cases.

    Parameters
    ----------
    within_sd : float
        Standard deviation of one measurement of an unchanged lesion.

    Returns
    -------
    change : float
        In the same unit.

    Notes
    -----
    .. math:: 1.96 \, \sqrt 2 \, s_w

    References
    ----------
    Bland JM, Altman DG. Measurement error. BMJ 1996;313:744. doi:10.1136/bmj.313.7059.744

    Examples
    --------
    >>> round(detectable_change(1.0), 3)
    2.772
    """
    return float(stats.norm.ppf(0.5 + CONFIDENCE / 2) * np.sqrt(2) * within_sd)
