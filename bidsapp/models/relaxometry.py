"""Spoiled gradient echo: signal, R1, contrast concentration, and T1 from variable flip angles."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike

from bidsapp.errors import FitError
from bidsapp.models.base import (
    Array,
    Estimate,
    Model,
    Parameter,
    Prepared,
    Status,
    Values,
    limits,
)
from bidsapp.models.columns import Axis, Family
from bidsapp.models.varpro import Solver

_T1 = Parameter("T1", "s", 0.05, 10.0, "longitudinal relaxation time")
_M0 = Parameter("M0", "arbitrary", 0.0, np.inf, "signal of full magnetisation at 90 degrees")
_GRID = 64


def spgr_signal(
    r1: ArrayLike, repetition_time: float, flip_angle: ArrayLike, m0: ArrayLike = 1.0
) -> Array:
    """Return the steady-state signal of a spoiled gradient echo.

    Parameters
    ----------
    r1 : (...) array, 1/s
    repetition_time : float, s
    flip_angle : (...) array, rad
    m0 : (...) array

    Returns
    -------
    (...) array, in the unit of m0

    Notes
    -----
    ``S = M0 sin(a) (1 - E) / (1 - E cos(a))`` with ``E = exp(-TR R1)``; T2* decay is left out.

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
    saturation = -np.expm1(-repetition_time * rate)
    decay = 1 - saturation
    signal: Array = np.asarray(m0) * np.sin(angle) * saturation / (1 - np.cos(angle) * decay)
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
    relaxivity : float, 1/s/mM

    Returns
    -------
    (..., N) array, mM
        NaN where no concentration gives such a signal (above full magnetisation, zero or below,
        or the baseline not positive). Noise before the arrival gives small negative concentrations.

    Notes
    -----
    With ``q = S / (M0 sin a)`` the longitudinal decay is ``E = (1 - q) / (1 - q cos a)``, then
    ``R1 = -ln(E) / TR`` and ``C = (R1 - 1/T1) / r1``.

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
    rest = np.asarray(t1, float)
    unit = spgr_signal(1 / rest, repetition_time, angle) / np.sin(angle)
    start = np.asarray(baseline, float)
    full = np.where(start > 0, start, np.nan) / unit
    with np.errstate(invalid="ignore", divide="ignore"):
        q = np.asarray(signal, float) / full[..., None]
        decay = (1 - q) / (1 - q * np.cos(angle)[..., None])
        r1 = -np.log(np.where((q > 0) & (q < 1), decay, np.nan)) / repetition_time
    result: Array = (r1 - 1 / rest[..., None]) / relaxivity
    return result


def _prepare_vfa(
    *,
    flip_angles: Array,
    repetition_time: float,
    bounds: Mapping[str, tuple[float, float]] | None = None,
    weights: Array | None = None,
) -> Prepared:
    """Prepare the fit of T1 and M0 to signals at several flip angles."""
    if len(np.unique(flip_angles)) < 2:
        raise FitError(f"T1 needs two different flip angles, got {np.rad2deg(flip_angles)} degrees")
    (limit,) = limits("vfa-t1", (_T1,), bounds)
    curves = Family(
        lambda rates: spgr_signal(rates[..., None], repetition_time, flip_angles),
        Axis(1 / limit.upper, 1 / limit.lower, 0.1),
    )
    solver = Solver([curves], [_GRID], weights)
    used = np.ones(len(flip_angles), bool) if weights is None else weights > 0

    def estimate(signal: Array) -> Estimate:
        found = solver.solve(signal)
        r1, m0 = found.rates[1], found.amplitudes[1]
        error = np.sqrt(np.einsum("iiv->iv", found.covariance) * found.cost / solver.freedom)
        t1 = np.where(m0 > 0, 1 / r1, np.nan)
        bound = (t1 <= limit.lower * (1 + 1e-6)) | (t1 >= limit.upper * (1 - 1e-6))
        status = np.where(bound, Status.AT_BOUND, Status.OK)
        status = np.where(m0 > 0, status, Status.NOT_IDENTIFIABLE)
        return Estimate(
            {"T1": t1, "M0": m0},
            {"T1": t1**2 * error[3], "M0": error[1]},
            status.astype(np.int8),
            found.cost,
        )

    return Prepared(estimate, used)


def _predict_vfa(
    values: Values, *, flip_angles: Array, repetition_time: float, **_: object
) -> Array:
    t1 = np.where(np.isfinite(values["T1"]), values["T1"], 1.0)
    m0 = np.asarray(values["M0"])[..., None]
    return spgr_signal(1 / t1[..., None], repetition_time, flip_angles, m0)


VFA_T1 = Model(
    name="vfa-t1",
    label="vfa",
    title="T1 from variable flip angles",
    parameters=(_T1, _M0),
    free=2,
    design=("flip_angles", "repetition_time"),
    options=("bounds", "weights"),
    prepare=_prepare_vfa,
    predict=_predict_vfa,
    formula="S(a) = M0 sin(a) (1 - E) / (1 - E cos(a)), E = exp(-TR / T1)",
    doi="10.1002/mrm.1910050203",
)
MODELS = (VFA_T1,)
