"""Planning of a study: sample size."""

from math import ceil, inf, nan

import numpy as np
from scipy import optimize, stats

from bidsapp.errors import BadInput
from bidsapp.study.statistics.values import noncentral_t_below

MOST = 100_000
"""Largest number of pairs considered."""


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
