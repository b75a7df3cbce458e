"""Spoiled gradient echo: from R1 and R2* to the signal, and back to contrast concentration."""

from enum import IntEnum

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bidsapp.models.solver.base import Array

_MAX_STEPS = 60


class Conversion(IntEnum):
    """Outcome of the conversion of one voxel's signal to concentration."""

    OK = 0
    BEYOND_RANGE = 1
    """Some frames have a signal that no concentration gives; they are NaN."""
    UNUSABLE = 2
    """All frames are NaN: baseline, T1 or flip angle is missing or not positive."""


def spgr_signal(
    r1: ArrayLike,
    repetition_time: float,
    flip_angle: ArrayLike,
    m0: ArrayLike = 1.0,
    *,
    echo_time: float = 0.0,
    r2star: ArrayLike = 0.0,
) -> Array:
    """Return the steady-state signal of a spoiled gradient echo.

    Parameters
    ----------
    r1 : (...) array, 1/s
    repetition_time : float, s
    flip_angle : (...) array, rad
    m0 : (...) array
    echo_time : float, s
        Zero leaves T2* decay out.
    r2star : (...) array, 1/s

    Returns
    -------
    (...) array, in the unit of m0

    Notes
    -----
    ``S = M0 sin(a) (1 - E) / (1 - E cos(a)) exp(-TE R2*)`` with ``E = exp(-TR R1)``.

    References
    ----------
    Ernst and Anderson, Rev Sci Instrum 1966, doi:10.1063/1.1719961.

    Examples
    --------
    >>> import numpy as np
    >>> float(spgr_signal(1.0, 0.004, np.deg2rad(15)).round(5))
    0.02724
    """
    rate, angle = np.asarray(r1, float), np.asarray(flip_angle, float)
    # 1 - E by expm1, which keeps its digits where TR R1 is small.
    saturation = -np.expm1(-repetition_time * rate)
    decay = 1 - saturation
    full = np.asarray(m0) * np.exp(-echo_time * np.asarray(r2star, float))
    signal: Array = full * np.sin(angle) * saturation / (1 - np.cos(angle) * decay)
    return signal


def contrast_r1(concentration: ArrayLike, t1: ArrayLike, relaxivity: float) -> Array:
    """Return R1 = 1/T1 + r1 C.

    Parameters
    ----------
    concentration : (...) array, mM
    t1 : (...) array, s
    relaxivity : float, 1/s/mM

    Returns
    -------
    (...) array, 1/s

    References
    ----------
    Tofts et al., J Magn Reson Imaging 1999,
    doi:10.1002/(SICI)1522-2586(199909)10:3<223::AID-JMRI2>3.0.CO;2-S.

    Examples
    --------
    >>> float(contrast_r1(1.0, 2.0, 4.5))
    5.0
    """
    result: Array = 1 / np.asarray(t1, float) + relaxivity * np.asarray(concentration, float)
    return result


def signal_to_concentration(
    signal: ArrayLike,
    baseline: ArrayLike,
    *,
    t1: ArrayLike,
    repetition_time: float,
    flip_angle: ArrayLike,
    relaxivity: float,
    echo_time: float = 0.0,
    transverse_relaxivity: float = 0.0,
) -> Array:
    """Return the concentration that explains a signal, by the exact inverse of the SPGR equation.

    Parameters
    ----------
    signal : (..., N) array
    baseline : (...) array
        Mean signal before the contrast agent arrives.
    t1 : (...) array, s
        Before the contrast agent.
    repetition_time : float, s
    flip_angle : float or (...) array, rad
        The actual flip angle: the nominal one times B1 where it is known.
    relaxivity : float, 1/s/mM
    echo_time : float, s
    transverse_relaxivity : float, 1/s/mM
        Of R2*; if it or the echo time is zero, T2* decay is neglected. The decay before the agent
        cancels.

    Returns
    -------
    (..., N) array, mM
        NaN where no concentration gives such a signal (above full magnetisation, or above the peak
        that T2* decay leaves; zero or below; the baseline not positive); see
        `concentration_status`. Noise before the arrival gives small negative concentrations.

    Notes
    -----
    With ``q = S / (M0 sin a)`` the longitudinal decay is ``E = (1 - q) / (1 - q cos a)``, then
    ``R1 = -ln(E) / TR`` and ``C = (R1 - 1/T1) / r1``. With T2* decay two concentrations give the
    same signal, and the lower one is returned: the root of ``ln g(R1) - TE r2* C = ln q``, where
    ``g`` is the equation without decay, on the branch that rises up to its peak.

    References
    ----------
    Schabel and Parker, Phys Med Biol 2008, doi:10.1088/0031-9155/53/9/010.

    Examples
    --------
    >>> import numpy as np
    >>> setting = dict(repetition_time=0.004, flip_angle=np.deg2rad(15))
    >>> s = spgr_signal(contrast_r1([0.0, 1.5], 1.2, 4.5), **setting)
    >>> signal_to_concentration(s, s[0], t1=1.2, relaxivity=4.5, **setting).round(9)
    array([0. , 1.5])
    """
    angle = np.asarray(flip_angle, float)
    rest = 1 / np.asarray(t1, float)
    with np.errstate(invalid="ignore", divide="ignore"):
        # The baseline gives M0 sin(a) (`full`), by which the signal is divided to q of the note.
        unit = spgr_signal(rest, repetition_time, angle) / np.sin(angle)
        start = np.asarray(baseline, float)
        full = np.where(start > 0, start, np.nan) / unit
        q = np.asarray(signal, float) / full[..., None]
        cosine = np.cos(angle)[..., None]
        decay = (1 - q) / (1 - q * cosine)
        r1 = -np.log(np.where((q > 0) & (q < 1), decay, np.nan)) / repetition_time
        loss = echo_time * transverse_relaxivity / relaxivity
        if loss:
            r1 = _r1_with_decay(np.log(q), r1, rest[..., None], cosine, repetition_time, loss)
    result: Array = (r1 - rest[..., None]) / relaxivity
    return result


def _r1_with_decay(
    target: Array, r1: Array, rest: Array, cosine: Array, repetition_time: float, loss: float
) -> Array:
    """Solve ``ln g(R) - loss (R - rest) = target`` on the rising branch, from R without decay.

    The left side is concave: Newton steps from the left of the root stay there, and one from its
    right lands left of it. So the steps cannot cycle, and need no bracket.
    """
    # Bounds: at most the peak, and at least half the rate before, which keeps it positive.
    peak = _peak_r1(cosine, repetition_time, loss)
    highest = _log_signal(peak, cosine, repetition_time) - loss * (peak - rest)
    rate = np.where((target <= highest + 1e-12) & (rest < peak), np.minimum(r1, peak), np.nan)
    for _ in range(_MAX_STEPS):
        short = target - _log_signal(rate, cosine, repetition_time) + loss * (rate - rest)
        slope = _log_slope(rate, cosine, repetition_time) - loss
        step = np.where(slope > 0, short / np.where(slope > 0, slope, 1.0), 0.0)
        following = np.clip(rate + step, rate / 2, np.broadcast_to(peak, rate.shape))
        settled = ~(np.abs(following - rate) > 1e-14 * rate)
        rate = np.where(np.isnan(rate), np.nan, following)
        if settled.all():
            break
    return rate


def _log_signal(r1: Array, cosine: Array, repetition_time: float) -> Array:
    saturation = -np.expm1(-repetition_time * r1)
    result: Array = np.log(saturation) - np.log(1 - cosine * (1 - saturation))
    return result


def _log_slope(r1: Array, cosine: Array, repetition_time: float) -> Array:
    saturation = -np.expm1(-repetition_time * r1)
    decay = 1 - saturation
    result: Array = repetition_time * decay * (1 - cosine) / (saturation * (1 - cosine * decay))
    return result


def _peak_r1(cosine: Array, repetition_time: float, loss: float) -> Array:
    """Return R1 where the signal is highest: where `_log_slope` is the loss, a quadratic in E."""
    # loss cos(a) E^2 - b E + loss = 0. This form of its root between 0 and 1 has no cancellation
    # and holds for cos(a) = 0.
    b = loss * (1 + cosine) + repetition_time * (1 - cosine)
    decay = 2 * loss / (b + np.sqrt(b**2 - 4 * loss**2 * cosine))
    result: Array = -np.log(decay) / repetition_time
    return result


def concentration_status(concentration: ArrayLike) -> NDArray[np.int8]:
    """Return the outcome of each voxel's conversion from signal to concentration.

    Parameters
    ----------
    concentration : (..., N) array, mM
        From `signal_to_concentration`.

    Returns
    -------
    (...) array of `Conversion`

    Examples
    --------
    >>> import numpy as np
    >>> concentration_status([[0.0, 1.0], [0.0, np.nan], [np.nan, np.nan]])
    array([0, 1, 2], dtype=int8)
    """
    known = np.isfinite(np.asarray(concentration, float))
    partly = np.where(known.any(axis=-1), Conversion.BEYOND_RANGE, Conversion.UNUSABLE)
    return np.where(known.all(axis=-1), Conversion.OK, partly).astype(np.int8)
