"""Repeatability: how far two scans of an unchanged lesion differ."""

from dataclasses import dataclass
from math import nan

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from bidsapp.study.statistics.values import CONFIDENCE, complete_pairs, too_few_note

SPAN = float(stats.norm.ppf(0.5 + CONFIDENCE / 2) * np.sqrt(2))
"""Standard deviations of one value within which the difference of two lies in 95 % of cases."""


@dataclass(frozen=True)
class Repeatability:
    """Repeatability of one measure; NaN where unknown.

    Attributes
    ----------
    n : int
        Number of lesions that were scanned twice.
    bias : float
        Mean of the second minus the first.
    within_sd : float
        Standard deviation of one value of an unchanged lesion.
    coefficient, low, high : float
        Repeatability coefficient and its 95 % confidence interval, in the unit of the values.
    within_cv, cv_low, cv_high : float
        Coefficient of variation of one value and its 95 % confidence interval, as fractions; NaN
        if a value is not positive.
    relative : bool
        Whether differences are described better as proportional to the value than as constant.
    fall, rise : float
        The changes between which those of unchanged lesions lie in 95 % of cases: as a fraction of
        the first value if ``relative``, else in the unit of the values.
    note : str
        Reason if it is unknown.
    """

    n: int
    bias: float = nan
    within_sd: float = nan
    coefficient: float = nan
    low: float = nan
    high: float = nan
    within_cv: float = nan
    cv_low: float = nan
    cv_high: float = nan
    relative: bool = False
    fall: float = nan
    rise: float = nan
    note: str = ""


def repeatability(first: ArrayLike, second: ArrayLike) -> Repeatability:
    r"""Estimate the repeatability of a measure from two scans without a change in between.

    Parameters
    ----------
    first, second : (N,) array_like
        Scan and rescan of each lesion, in one unit; NaN for missing.

    Returns
    -------
    repeatability : Repeatability

    Raises
    ------
    BadInput
        If ``first`` and ``second`` differ in length.

    Notes
    -----
    .. math:: s_w^2 = \frac{1}{2 n} \sum d_i^2, \quad
              \mathrm{RC} = 1.96 \sqrt 2 \, s_w, \quad
              \frac{n s_w^2}{\chi^2_{0.975, n}} \le \sigma_w^2 \le \frac{n s_w^2}{\chi^2_{0.025, n}}

    and likewise :math:`s_l` of the differences of logarithms, from which
    :math:`\mathrm{wCV} = \sqrt{\exp(s_l^2) - 1}`. Unchanged lesions change by factors between
    :math:`\exp(\pm 1.96 \sqrt 2 \, s_l)`, which is 2.77 wCV in either direction if wCV is small.
    Errors in proportion to the value have a higher likelihood than constant ones if :math:`s_l`
    times the geometric mean of all values is less than :math:`s_w`.

    References
    ----------
    Bland JM, Altman DG. Measurement error. BMJ 1996;313:744. doi:10.1136/bmj.313.7059.744

    Raunig DL, et al. Quantitative imaging biomarkers: a review of statistical methods for technical
    performance assessment. Stat Methods Med Res 2015;24:27-67. doi:10.1177/0962280214537344

    Examples
    --------
    >>> found = repeatability([1.0, 2.0, 3.0], [1.1, 1.8, 3.1])
    >>> print(f"{found.within_sd:.3f}, coefficient {found.coefficient:.2f}")
    0.100, coefficient 0.28
    """
    a, b, _ = complete_pairs(first, second)
    note = too_few_note(a.size, "repeated lesion")
    if note:
        return Repeatability(n=a.size, note=note)
    spread = _deviation(b - a)
    low, high = _interval(spread, a.size)
    positive = bool((a > 0).all() and (b > 0).all())
    share = _deviation(np.log(b / a)) if positive else nan
    centre = float(np.exp(np.mean(np.log(a * b)) / 2)) if positive else nan
    relative = share * centre < spread  # never if the share is unknown
    cv_low, cv_high = map(_variation, _interval(share, a.size))
    ends = SPAN * np.array([-1.0, 1.0])
    limits = np.expm1(share * ends) if relative else spread * ends
    return Repeatability(
        n=a.size,
        bias=float(np.mean(b - a)),
        within_sd=spread,
        coefficient=SPAN * spread,
        low=SPAN * low,
        high=SPAN * high,
        within_cv=_variation(share),
        cv_low=cv_low,
        cv_high=cv_high,
        relative=relative,
        fall=float(limits[0]),
        rise=float(limits[1]),
    )


def _deviation(differences: np.ndarray) -> float:
    """Return the standard deviation of one value from the differences of two.

    About zero, not about the mean difference: no change is expected between the scans, so that a
    systematic one counts as noise and there are n degrees of freedom.
    """
    return float(np.sqrt(np.mean(differences**2) / 2))


def _interval(deviation: float, n: int) -> tuple[float, float]:
    """Return the interval of a standard deviation with n degrees of freedom (chi-squared)."""
    ends = stats.chi2.ppf([0.5 + CONFIDENCE / 2, 0.5 - CONFIDENCE / 2], n)
    low, high = deviation * np.sqrt(n / ends)
    return float(low), float(high)


def _variation(deviation: float) -> float:
    """Return the coefficient of variation for a standard deviation of logarithms."""
    return float(np.sqrt(np.expm1(deviation**2)))
