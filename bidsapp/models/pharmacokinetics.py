"""Pharmacokinetics of a contrast agent: Tofts, extended Tofts, Patlak."""

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bidsapp.errors import FitError
from bidsapp.models.base import Array, Estimate, Model, Parameter, Status, Values
from bidsapp.models.varpro import Separable, Solution, solve

_KTRANS = Parameter("Ktrans", "1/min", 0.0, np.inf, "volume transfer constant")
_VE = Parameter("ve", "1", 0.0, 1.0, "extravascular extracellular volume fraction")
_VP = Parameter("vp", "1", 0.0, 1.0, "plasma volume fraction")
_KEP = Parameter("kep", "1/min", 0.0, 10.0, "rate constant from tissue to plasma, Ktrans / ve")
_GRID = np.r_[0.0, np.geomspace(1e-3, _KEP.upper, 80)][:, None]


def convolve_exponential(time: ArrayLike, plasma: ArrayLike, rate: ArrayLike) -> Array:
    """Convolve a piecewise-linear curve with ``exp(-rate t)``, exactly.

    Parameters
    ----------
    time : (N,) array, min
        Ascending, evenly spaced or not.
    plasma : (N,) array, mM
        Linear between the times, and zero before the first.
    rate : (...) array, 1/min
        Zero gives the plain integral.

    Returns
    -------
    (..., N) array, mM min

    Notes
    -----
    ``y(t) = integral_0^t plasma(u) exp(-rate (t - u)) du``, by the recursion over the intervals
    in which the integral of a straight line against an exponential has a closed form.

    References
    ----------
    Flouri, Lesnic and Mayer, Phys Med Biol 2016, doi:10.1088/0031-9155/61/14/5362.

    Examples
    --------
    >>> import numpy as np
    >>> convolve_exponential([0, 1, 3], [1, 1, 1], 0.0)
    array([0., 1., 3.])
    """
    return _convolve(_ascending(time), np.asarray(plasma, float), np.asarray(rate, float))[0]


def _ascending(time: ArrayLike) -> Array:
    t = np.asarray(time, float)
    if not (np.diff(t) > 0).all():
        raise FitError(f"frame times must ascend, got {t.tolist()}")
    return t


def _weights(x: Array) -> tuple[Array, Array, Array, Array]:
    """Return the two weights of an interval and their derivatives with respect to x = rate dt.

    They are ``integral_0^1 (1-u) exp(-x(1-u)) du`` and ``integral_0^1 u exp(-x(1-u)) du``.
    """
    small = x < 0.05
    z = np.where(small, 1.0, x)
    e = np.exp(-z)
    early = (1 - e * (1 + z)) / z**2
    late = (z - 1 + e) / z**2
    early_slope = e / z - 2 * early / z
    late_slope = (1 - e) / z**2 - 2 * late / z
    s = np.where(small, x, 0.0)
    return (
        np.where(small, 1 / 2 - s / 3 + s**2 / 8 - s**3 / 30 + s**4 / 144, early),
        np.where(small, 1 / 2 - s / 6 + s**2 / 24 - s**3 / 120 + s**4 / 720, late),
        np.where(small, -1 / 3 + s / 4 - s**2 / 10 + s**3 / 36 - s**4 / 168, early_slope),
        np.where(small, -1 / 6 + s / 12 - s**2 / 40 + s**3 / 180 - s**4 / 1008, late_slope),
    )


def _convolve(time: Array, plasma: Array, rate: Array) -> tuple[Array, Array]:
    """Return the convolution (..., N) and its derivative with respect to the rate."""
    result = np.zeros((*rate.shape, len(time)))
    slope = np.zeros_like(result)
    steps = np.diff(time)
    tables = {dt: (np.exp(-rate * dt), *_weights(rate * dt)) for dt in np.unique(steps)}
    for i, dt in enumerate(steps):
        decay, early, late, early_slope, late_slope = tables[dt]
        before, after = plasma[i] * dt, plasma[i + 1] * dt
        result[..., i + 1] = decay * result[..., i] + before * early + after * late
        slope[..., i + 1] = decay * (slope[..., i] - dt * result[..., i]) + dt * (
            before * early_slope + after * late_slope
        )
    return result, slope


def _problem(time: Array, plasma: Array, *, with_plasma: bool) -> Separable:
    """Return the separable problem of the (extended) Tofts model."""

    def stack(column: Array, first: Array | float) -> Array:
        if not with_plasma:
            return column[..., None]
        return np.stack([np.broadcast_to(first, column.shape), column], axis=-1)

    def basis(rates: Array) -> Array:
        return stack(_convolve(time, plasma, rates[..., 0])[0], plasma)

    def jacobian(rates: Array) -> Array:
        return stack(_convolve(time, plasma, rates[..., 0])[1], 0.0)[..., None]

    bounds = np.array([_KEP.lower]), np.array([_KEP.upper])
    return Separable(basis, jacobian, _GRID, *bounds)


def _estimate_tofts(signal: Array, *, time: Array, plasma: Array) -> Estimate:
    """Fit Ktrans and kep."""
    found = solve(_problem(_ascending(time), plasma, with_plasma=False), signal)
    return _exchange(found, found.amplitudes[:, 0], 0, {}, {})


def _estimate_extended_tofts(signal: Array, *, time: Array, plasma: Array) -> Estimate:
    """Fit vp, Ktrans and kep."""
    found = solve(_problem(_ascending(time), plasma, with_plasma=True), signal)
    vp = {"vp": found.amplitudes[:, 0]}
    error = {"vp": np.sqrt(found.covariance[:, 0, 0])}
    return _exchange(found, found.amplitudes[:, 1], 1, vp, error)


def _exchange(
    found: Solution, ktrans: Array, index: int, values: Values, stderr: Values
) -> Estimate:
    """Add Ktrans, kep and ve with their standard errors; ve above 1 is not identifiable."""
    rate = found.rates[:, 0]
    variance = np.einsum("vii->vi", found.covariance)
    cross = found.covariance[:, index, -1]
    exchanging = (ktrans > 0) & (rate > 0)
    kep = np.where(ktrans > 0, rate, np.nan)
    ve = np.where(exchanging, ktrans / np.where(rate > 0, rate, 1.0), np.nan)
    within = ve <= _VE.upper
    ve = np.where(within, ve, np.nan)
    relative = variance[:, index] / _square(ktrans) + variance[:, -1] / _square(rate)
    ve_variance = ve**2 * (relative - 2 * cross / np.where(exchanging, ktrans * rate, 1.0))
    values = values | {"Ktrans": ktrans, "ve": ve, "kep": kep}
    stderr = stderr | {
        "Ktrans": np.sqrt(variance[:, index]),
        "ve": np.sqrt(np.maximum(ve_variance, 0)),
        "kep": np.where(ktrans > 0, np.sqrt(variance[:, -1]), np.nan),
    }
    return Estimate(values, stderr, _status(values, rate, within))


def _square(value: Array) -> Array:
    return np.where(value > 0, value**2, 1.0)


def _status(values: Values, rate: Array, identified: NDArray[np.bool_]) -> NDArray[np.int8]:
    bound = (rate <= _KEP.lower) | (rate >= _KEP.upper * (1 - 1e-9)) | (values["Ktrans"] <= 0)
    if "vp" in values:
        bound |= (values["vp"] <= 0) | (values["vp"] > _VP.upper)
    status = np.where(bound, Status.AT_BOUND, Status.OK)
    return np.where(identified, status, Status.NOT_IDENTIFIABLE).astype(np.int8)


def _estimate_patlak(signal: Array, *, time: Array, plasma: Array) -> Estimate:
    """Fit vp and Ktrans without any return to the plasma."""
    columns = np.stack([plasma, convolve_exponential(time, plasma, 0.0)], axis=-1)
    empty = np.empty(0)
    problem = Separable(
        basis=lambda r: np.broadcast_to(columns, (*r.shape[:-1], *columns.shape)),
        jacobian=lambda r: np.zeros((*r.shape[:-1], *columns.shape, 0)),
        grid=np.empty((1, 0)),
        lower=empty,
        upper=empty,
    )
    found = solve(problem, signal)
    vp, ktrans = found.amplitudes.T
    error = np.sqrt(np.einsum("vii->vi", found.covariance))
    bound = (vp <= 0) | (vp > _VP.upper) | (ktrans <= 0)
    return Estimate(
        {"vp": vp, "Ktrans": ktrans},
        {"vp": error[:, 0], "Ktrans": error[:, 1]},
        np.where(bound, Status.AT_BOUND, Status.OK).astype(np.int8),
    )


def _rate(values: Values) -> Array:
    """Return kep, from ve where kep is not given; 0 where there is no exchange."""
    if "kep" in values:
        return np.nan_to_num(values["kep"])
    ktrans, ve = np.broadcast_arrays(values["Ktrans"], values["ve"])
    return np.where(ve > 0, ktrans / np.where(ve > 0, ve, 1.0), 0.0)


def _predictor(*, with_plasma: bool, with_return: bool) -> Callable[..., Array]:
    """Return the forward model with or without a plasma term and a way back."""

    def predict(values: Values, *, time: Array, plasma: Array) -> Array:
        arrays = {k: np.asarray(v, float) for k, v in values.items()}
        rate = _rate(arrays) if with_return else np.zeros_like(arrays["Ktrans"])
        tissue = arrays["Ktrans"][..., None] * convolve_exponential(time, plasma, rate)
        return tissue + arrays["vp"][..., None] * np.asarray(plasma) if with_plasma else tissue

    return predict


TOFTS = Model(
    name="tofts",
    label="tofts",
    title="Tofts",
    parameters=(_KTRANS, _VE, _KEP),
    design=("time", "plasma"),
    options=(),
    estimate=_estimate_tofts,
    predict=_predictor(with_plasma=False, with_return=True),
    formula="C(t) = Ktrans int_0^t Cp(u) exp(-kep (t - u)) du",
    doi="10.1002/mrm.1910170208",
)
EXTENDED_TOFTS = Model(
    name="extended-tofts",
    label="etofts",
    title="extended Tofts (Tofts-Kety)",
    parameters=(_KTRANS, _VE, _VP, _KEP),
    design=("time", "plasma"),
    options=(),
    estimate=_estimate_extended_tofts,
    predict=_predictor(with_plasma=True, with_return=True),
    formula="C(t) = vp Cp(t) + Ktrans int_0^t Cp(u) exp(-kep (t - u)) du",
    doi="10.1002/(SICI)1522-2586(199909)10:3<223::AID-JMRI2>3.0.CO;2-S",
)
PATLAK = Model(
    name="patlak",
    label="patlak",
    title="Patlak",
    parameters=(_KTRANS, _VP),
    design=("time", "plasma"),
    options=(),
    estimate=_estimate_patlak,
    predict=_predictor(with_plasma=True, with_return=False),
    formula="C(t) = vp Cp(t) + Ktrans int_0^t Cp(u) du",
    doi="10.1038/jcbfm.1983.1",
)
MODELS = (EXTENDED_TOFTS, TOFTS, PATLAK)
