"""How far D* or T2 would have to differ between two visits to explain a change of f."""

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import brentq

from bidsapp.models.diffusion.fixed_dstar import FIXED_DSTAR
from bidsapp.models.solver.base import Array

PLAUSIBLE_DSTAR = (5.5e-3, 0.1)
"""Range of D* that is searched, mm2/s."""
PLAUSIBLE_T2 = (0.02, 2.0)
"""Range of T2 of blood or tissue that is accepted, s."""


def held_fraction(signal: ArrayLike, bvalues: ArrayLike, dstar: float) -> float:
    """Return f of one curve with D* held.

    Parameters
    ----------
    signal, bvalues : (N,) array
        bvalues and D* in s/mm2 and mm2/s.
    dstar : float

    Examples
    --------
    >>> b = np.array([0, 200, 400, 800.0])
    >>> round(held_fraction(0.1 * np.exp(-0.01 * b) + 0.9 * np.exp(-1e-3 * b), b, 0.01), 4)
    0.1
    """
    prepared = FIXED_DSTAR.prepare(bvalues=np.asarray(bvalues, float), dstar=dstar)
    return float(prepared.estimate(np.asarray(signal, float)[None]).values["f"][0])


def explaining_dstar(signal: ArrayLike, bvalues: ArrayLike, f: float) -> float:
    """Return the D* with which a curve has a given f.

    Parameters
    ----------
    signal, bvalues : (N,) array
        bvalues in s/mm2.
    f : float
        For example that of the same lesion at another visit.

    Returns
    -------
    float, mm2/s
        NaN if there is none within `PLAUSIBLE_DSTAR`.

    Examples
    --------
    >>> b = np.array([0, 200, 400, 800.0])
    >>> curve = 0.1 * np.exp(-0.01 * b) + 0.9 * np.exp(-1e-3 * b)
    >>> round(explaining_dstar(curve, b, 0.1), 5)
    0.01
    """

    def excess(log_dstar: float) -> float:
        return held_fraction(signal, bvalues, float(np.exp(log_dstar))) - f

    # f falls with D*, since faster blood leaves less signal at high b: the root is bracketed.
    low, high = np.log(PLAUSIBLE_DSTAR)
    ends = excess(low), excess(high)
    if not np.isfinite(ends).all() or ends[0] * ends[1] > 0:
        return np.nan
    return float(np.exp(brentq(excess, low, high, xtol=1e-6)))


def explaining_t2(before: float, after: float, echo_time: float, t2: float, part: str) -> float:
    r"""Return the T2 that one part has at the second visit if nothing but it has changed f.

    Parameters
    ----------
    before, after : float
        f at the two visits, fractions of the signal.
    echo_time, t2 : float, s
        T2 of that part at the first visit.
    part : {"blood", "tissue"}

    Returns
    -------
    float, s
        NaN if there is none within `PLAUSIBLE_T2`.

    Notes
    -----
    :math:`f / (1 - f)` is proportional to :math:`\exp(TE / T_{2t} - TE / T_{2b})`; hence
    :math:`1 / T_{2t}` must rise, or :math:`1 / T_{2b}` fall, by the logarithm of the ratio of
    :math:`f / (1 - f)` of both visits, over TE.

    Examples
    --------
    >>> [round(explaining_t2(0.08, 0.1, 0.08, t2, part), 3)
    ...  for t2, part in ((0.1, "tissue"), (0.15, "blood"))]
    [0.077, 0.278]
    """
    odds = np.array([before, after], float)
    if not ((odds > 0) & (odds < 1)).all():
        return np.nan
    logs: Array = np.log(odds / (1 - odds))
    change = float(logs[1] - logs[0]) / echo_time
    rate = 1 / t2 + (change if part == "tissue" else -change)
    low, high = PLAUSIBLE_T2
    return 1 / rate if 1 / high <= rate <= 1 / low else np.nan
