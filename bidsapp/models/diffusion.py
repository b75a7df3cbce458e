"""Diffusion: ADC and intravoxel incoherent motion (IVIM)."""

from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bidsapp.errors import FitError
from bidsapp.models.base import Array, Estimate, Model, Parameter, Status, Values
from bidsapp.models.varpro import Separable, solve

B_ZERO = 5.0
"""A b-value below this, in s/mm2, counts as zero."""

_S0 = Parameter("S0", "arbitrary", 0.0, np.inf, "signal without diffusion weighting")
_D = Parameter("D", "mm2/s", 1e-5, 5e-3, "diffusion coefficient of tissue water")
_F = Parameter("f", "1", 0.0, 1.0, "perfusion fraction")
_DSTAR = Parameter("Dstar", "mm2/s", 3e-3, 0.2, "pseudo-diffusion coefficient of blood")
_ADC = Parameter("ADC", "mm2/s", 0.0, 1e-2, "apparent diffusion coefficient")


def combine_directions(signal: ArrayLike, bvalues: ArrayLike) -> tuple[Array, Array]:
    """Combine the directions of each b-value by their geometric mean.

    Parameters
    ----------
    signal : (..., M) array
        One image a volume.
    bvalues : (M,) array, s/mm2
        b-values that differ by less than 2 + 2 % are one shell; below 5 they count as 0.

    Returns
    -------
    shells : (N,) array, s/mm2
        Mean b-value of each shell, ascending.
    combined : (..., N) array
        NaN where a signal is not positive.

    Notes
    -----
    ``S(b) = (S_1 S_2 ... S_n)^(1/n)``: the trace-weighted signal for orthogonal directions.

    References
    ----------
    Le Bihan et al., Radiology 1988, doi:10.1148/radiology.168.2.3393671.

    Examples
    --------
    >>> shells, combined = combine_directions([8.0, 1.0, 4.0], [0, 1000, 1005])
    >>> shells, combined
    (array([   0. , 1002.5]), array([8., 2.]))
    """
    values = np.asarray(bvalues, float)
    data = np.asarray(signal, float)
    members = [np.flatnonzero(labels) for labels in _shells(values)]
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.where(data > 0, np.log(data), np.nan)
    combined = np.stack([np.exp(logs[..., m].mean(axis=-1)) for m in members], axis=-1)
    means = np.array([values[m].mean() for m in members])
    return np.where(means < B_ZERO, 0.0, means), combined


def _shells(bvalues: Array) -> list[NDArray[np.bool_]]:
    """Group b-values that are meant to be one; ascending."""
    effective = np.where(bvalues < B_ZERO, 0.0, bvalues)
    order = np.sort(np.unique(effective))
    starts = np.r_[True, np.diff(order) > 2 + 0.02 * order[1:]]
    edges = np.r_[order[starts], np.inf]
    return [(effective >= low) & (effective < high) for low, high in pairwise(edges)]


def _log_line(signal: Array, bvalues: Array) -> tuple[Array, Array, NDArray[np.bool_]]:
    """Fit ``ln S = c - d b``: coefficients (V, 2), covariance (V, 2, 2), usable (V,)."""
    if len(bvalues) < 2:
        raise FitError(f"a straight line needs two b-values, got {bvalues.tolist()} s/mm2")
    usable = np.all(signal > 0, axis=1)
    logs = np.log(np.where(usable[:, None], signal, 1.0))
    design = np.stack([np.ones_like(bvalues), -bvalues], axis=1)
    inverse = np.linalg.inv(design.T @ design)
    coefficients = logs @ (inverse @ design.T).T
    residual = logs - coefficients @ design.T
    freedom = len(bvalues) - 2
    variance = np.sum(residual**2, axis=1) / freedom if freedom else np.full(len(logs), np.nan)
    return coefficients, variance[:, None, None] * inverse, usable


def _closed_form(
    values: Values, stderr: Values, usable: NDArray[np.bool_], rows: Model
) -> Estimate:
    """Blank the unusable voxels and mark values outside the physical range."""
    outside = np.zeros(len(usable), bool)
    for name, value in values.items():
        limits = rows.parameter(name)
        outside |= (value < limits.lower) | (value > limits.upper)
    status = np.where(usable, np.where(outside, Status.AT_BOUND, Status.OK), Status.BAD_INPUT)
    blank = {k: np.where(usable, v, np.nan) for k, v in values.items()}
    errors = {k: np.where(usable, v, np.nan) for k, v in stderr.items()}
    return Estimate(blank, errors, status.astype(np.int8))


def _window(bvalues: Array, b_min: float, b_max: float) -> NDArray[np.bool_]:
    return (bvalues >= b_min) & (bvalues <= b_max)


def _estimate_adc(
    signal: Array, *, bvalues: Array, b_min: float = 0.0, b_max: float = np.inf
) -> Estimate:
    """Fit a straight line through ln S."""
    window = _window(bvalues, b_min, b_max)
    line, covariance, usable = _log_line(signal[:, window], bvalues[window])
    s0 = np.exp(line[:, 0])
    values = {"ADC": line[:, 1], "S0": s0}
    stderr = {"ADC": np.sqrt(covariance[:, 1, 1]), "S0": s0 * np.sqrt(covariance[:, 0, 0])}
    return _closed_form(values, stderr, usable, ADC)


def _predict_adc(
    values: Values, *, bvalues: Array, b_min: float = 0.0, b_max: float = np.inf
) -> Array:
    signal = values["S0"][..., None] * np.exp(-values["ADC"][..., None] * bvalues)
    return np.where(_window(bvalues, b_min, b_max), signal, np.nan)


def _estimate_asymptotic(
    signal: Array, *, bvalues: Array, b_min: float = 200.0, b_max: float = np.inf
) -> Estimate:
    """Fit a straight line through ln S at b >= b_min; f from its intercept over S(0)."""
    zero = bvalues < B_ZERO
    if not zero.any():
        raise FitError(
            f"ivim-asymptotic needs the signal at b = 0; the lowest b-value is "
            f"{np.min(bvalues):g} s/mm2. Use ivim-biexponential, which needs none"
        )
    window = _window(bvalues, max(b_min, B_ZERO), b_max)
    line, covariance, usable = _log_line(signal[:, window], bvalues[window])
    s0 = signal[:, zero].mean(axis=1)
    usable &= s0 > 0
    ratio = np.exp(line[:, 0]) / np.where(s0 > 0, s0, 1.0)
    noise = covariance[:, 0, 0] / np.linalg.inv(_normal(bvalues[window]))[0, 0]
    relative = noise / zero.sum()
    values = {"f": 1 - ratio, "D": line[:, 1], "S0": s0}
    stderr = {
        "f": ratio * np.sqrt(covariance[:, 0, 0] + relative),
        "D": np.sqrt(covariance[:, 1, 1]),
        "S0": s0 * np.sqrt(relative),
    }
    return _closed_form(values, stderr, usable, IVIM_ASYMPTOTIC)


def _normal(bvalues: Array) -> Array:
    design = np.stack([np.ones_like(bvalues), -bvalues], axis=1)
    return design.T @ design


def _predict_asymptotic(
    values: Values, *, bvalues: Array, b_min: float = 200.0, b_max: float = np.inf
) -> Array:
    s0, f, d = (values[k][..., None] for k in ("S0", "f", "D"))
    line = np.where(_window(bvalues, b_min, b_max), s0 * (1 - f) * np.exp(-bvalues * d), np.nan)
    return np.where(bvalues < B_ZERO, s0, line)


def _biexponential_problem(bvalues: Array) -> Separable:
    fast = np.geomspace(_DSTAR.lower, _DSTAR.upper, 32)
    slow = np.geomspace(_D.lower, _D.upper, 40)
    pairs = np.array([(x, y) for x in fast for y in slow if x > 1.5 * y])

    def basis(rates: Array) -> Array:
        return np.exp(-rates[..., None, :] * bvalues[:, None])

    def jacobian(rates: Array) -> Array:
        return (-bvalues[:, None] * basis(rates))[..., None] * np.eye(2)

    lower, upper = np.array([[p.lower, p.upper] for p in (_DSTAR, _D)]).T
    return Separable(basis, jacobian, pairs, lower, upper)


def _estimate_biexponential(signal: Array, *, bvalues: Array, b_max: float = np.inf) -> Estimate:
    """Fit both exponentials at once."""
    window = _window(bvalues, 0, b_max)
    signal, bvalues = signal[:, window], bvalues[window]
    if len(bvalues) < 4:
        raise FitError(f"ivim-biexponential needs four b-values, got {len(bvalues)}")
    scale = np.max(np.abs(signal), axis=1, keepdims=True)
    usable = scale[:, 0] > 0
    scale[~usable] = 1.0
    found = solve(_biexponential_problem(bvalues), signal / scale)
    fast, slow = found.amplitudes.T
    s0 = fast + slow
    usable &= s0 > 0
    total = np.where(usable, s0, 1.0)
    f = fast / total
    toward_f = np.stack([slow, -fast, 0 * f, 0 * f], axis=1) / total[:, None] ** 2
    variance = np.einsum("vii->vi", found.covariance)
    known = (fast > 0) & (slow > 0)
    values = {
        "f": f,
        "D": np.where(slow > 0, found.rates[:, 1], np.nan),
        "Dstar": np.where(fast > 0, found.rates[:, 0], np.nan),
        "S0": s0 * scale[:, 0],
    }
    both = variance[:, 0] + variance[:, 1] + 2 * found.covariance[:, 0, 1]
    stderr = {
        "f": np.sqrt(_quadratic(toward_f[:, :2], found.covariance[:, :2, :2])),
        "D": np.sqrt(variance[:, 3]),
        "Dstar": np.sqrt(variance[:, 2]),
        "S0": np.sqrt(np.maximum(both, 0)) * scale[:, 0],
    }
    return _separable_estimate(values, stderr, usable, known, IVIM_BIEXPONENTIAL)


def _quadratic(gradient: Array, covariance: Array) -> Array:
    result: Array = np.maximum(np.einsum("vi,vij,vj->v", gradient, covariance, gradient), 0)
    return result


def _separable_estimate(
    values: Values,
    stderr: Values,
    usable: NDArray[np.bool_],
    known: NDArray[np.bool_],
    rows: Model,
) -> Estimate:
    """Give every voxel its status: at a bound, not identifiable, or unusable."""
    status = np.where(known, Status.OK, Status.NOT_IDENTIFIABLE)
    for name, value in values.items():
        limits = rows.parameter(name)
        edge = (value <= limits.lower * (1 + 1e-9)) | (value >= limits.upper * (1 - 1e-9))
        status = np.where(known & edge, Status.AT_BOUND, status)
    status = np.where(usable, status, Status.BAD_INPUT)
    blank = {k: np.where(usable, v, np.nan) for k, v in values.items()}
    errors = {k: np.where(usable & np.isfinite(values[k]), v, np.nan) for k, v in stderr.items()}
    return Estimate(blank, errors, status.astype(np.int8))


def _predict_biexponential(values: Values, *, bvalues: Array, b_max: float = np.inf) -> Array:
    s0, f = values["S0"][..., None], values["f"][..., None]
    d, dstar = (np.nan_to_num(values[k])[..., None] for k in ("D", "Dstar"))
    signal = s0 * (f * np.exp(-bvalues * dstar) + (1 - f) * np.exp(-bvalues * d))
    return np.where(_window(bvalues, 0, b_max), signal, np.nan)


ADC = Model(
    name="adc",
    label="monoexp",
    title="mono-exponential diffusion",
    parameters=(_ADC, _S0),
    design=("bvalues",),
    options=("b_min", "b_max"),
    estimate=_estimate_adc,
    predict=_predict_adc,
    formula="ln S(b) = ln S0 - b ADC, least squares",
    doi="10.1148/radiology.161.2.3763909",
)
IVIM_ASYMPTOTIC = Model(
    name="ivim-asymptotic",
    label="ivim",
    title="IVIM, asymptotic fit",
    parameters=(_F, _D, _S0),
    design=("bvalues",),
    options=("b_min", "b_max"),
    estimate=_estimate_asymptotic,
    predict=_predict_asymptotic,
    formula="ln S(b) = ln(S0 (1 - f)) - b D for b >= b_min; f = 1 - exp(intercept) / S(0)",
    doi="10.1148/radiology.168.2.3393671",
)
IVIM_BIEXPONENTIAL = Model(
    name="ivim-biexponential",
    label="biexp",
    title="IVIM, bi-exponential fit",
    parameters=(_F, _D, _DSTAR, _S0),
    design=("bvalues",),
    options=("b_max",),
    estimate=_estimate_biexponential,
    predict=_predict_biexponential,
    formula="S(b) = S0 (f exp(-b Dstar) + (1 - f) exp(-b D))",
    doi="10.1148/radiology.168.2.3393671",
)
MODELS = (ADC, IVIM_ASYMPTOTIC, IVIM_BIEXPONENTIAL)
