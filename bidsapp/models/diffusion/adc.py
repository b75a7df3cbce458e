"""Diffusion in closed form: ADC, and the asymptotic fit of intravoxel incoherent motion (IVIM)."""

from collections.abc import Iterator
from functools import partial
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bidsapp.errors import FitError
from bidsapp.models.diffusion import noise
from bidsapp.models.diffusion.decay import (
    B_ZERO,
    decay_curves,
    in_range,
    line_needs,
    noise_needs,
    require_zero,
)
from bidsapp.models.parameters import ADC, S0, D, F
from bidsapp.models.solver.base import Array, Estimate, Model, Need, Prepared, Status, Values
from bidsapp.models.solver.design import as_real_array
from bidsapp.models.solver.matrices2x2 import dot
from bidsapp.models.solver.varpro import Solver

_GRID = 64


def combine_directions(signal: ArrayLike, bvalues: ArrayLike) -> tuple[Array, Array]:
    """Combine the directions of each b-value by their geometric mean.

    Parameters
    ----------
    signal : (..., M) array
        The last axis holds the volumes.
    bvalues : (M,) array, s/mm2
        b-values that differ by less than 2 + 2 % are one shell; below 5 they count as 0.

    Returns
    -------
    shells : (N,) array, s/mm2
        Mean b-value of each shell, ascending.
    combined : (..., N) array
        NaN where a signal is not positive.

    Raises
    ------
    FitError
        If there is not one b-value per volume.

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
    values = as_real_array("bvalues", bvalues).astype(float, copy=False)
    data = as_real_array("the signal", signal).astype(float, copy=False)
    if values.ndim != 1 or data.shape[-1:] != values.shape:
        raise FitError(
            "there must be one b-value per volume: "
            f"bvalues has shape {values.shape}, the signal {data.shape}"
        )
    members = [np.flatnonzero(labels) for labels in find_shells(values)]
    # The mean of the logarithms: for signals S0 exp(-b d_i) the combined one decays with the mean
    # of the d_i, which for three orthogonal directions is a third of the trace of the tensor.
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.where(data > 0, np.log(data), np.nan)
    combined = np.stack([np.exp(logs[..., m].mean(axis=-1)) for m in members], axis=-1)
    means = np.array([values[m].mean() for m in members])
    return np.where(means < B_ZERO, 0.0, means), combined


def find_shells(bvalues: Array) -> list[NDArray[np.bool_]]:
    """Return which volumes belong to each b-value, in ascending order.

    Parameters
    ----------
    bvalues : (M,) array, s/mm2
        Those that differ by less than 2 + 2 % are one; below 5 they count as 0.

    Returns
    -------
    list of (M,) boolean array

    Examples
    --------
    >>> [shell.nonzero()[0].tolist() for shell in find_shells(np.array([0.0, 1000, 3, 1010]))]
    [[0, 2], [1, 3]]
    """
    effective = np.where(bvalues < B_ZERO, 0.0, bvalues)
    order = np.sort(np.unique(effective))
    # A shell ends where the next b-value is higher by more than 2 s/mm2 + 2 %: headers list the
    # b-values of one shell with small differences.
    starts = np.r_[True, np.diff(order) > 2 + 0.02 * order[1:]]
    edges = np.r_[order[starts], np.inf]
    return [(effective >= low) & (effective < high) for low, high in pairwise(edges)]


def _require_two_bvalues(bvalues: Array, chosen: NDArray[np.bool_]) -> None:
    if len(np.unique(bvalues[chosen])) < 2:
        raise FitError(
            f"a straight line needs two b-values, got {bvalues[chosen].tolist()} s/mm2 of "
            f"{bvalues.tolist()} within b_min and b_max and with a weight"
        )


class LogLine:
    """The straight line ``ln S = c - d b`` through some samples of every voxel.

    Notes
    -----
    Linear least squares of the logarithms. The standard errors assume noise of equal variance in
    all signals S, hence of unequal variance in their logarithms: with weights P of the samples in a
    coefficient, its variance is ``s^2 sum (P / S)^2``, where s^2 is the residual sum of squares
    divided by its expectation for unit noise.
    """

    def __init__(self, bvalues: Array, chosen: NDArray[np.bool_], weights: Array | None) -> None:
        b = bvalues[chosen]
        w = np.ones(len(b)) if weights is None else weights[chosen]
        _require_two_bvalues(bvalues, chosen)
        self._chosen = np.flatnonzero(chosen)
        self._weights = w
        self._design = np.stack([np.ones_like(b), -b])
        # Coefficients are P ln S with P = inv(X'WX) X'W (2, N), the same for every voxel: `_solve`.
        # `_rest` holds the squares of I - X P, by which unit noise of the samples spreads into the
        # residuals.
        weighted = self._design * w
        normal: Array = weighted @ self._design.T
        self._solve: Array = np.asarray(np.linalg.solve(normal, weighted), float)
        self._spread = np.square(self._solve)
        rest = np.eye(len(b)) - self._design.T @ self._solve
        self._rest = rest * rest if len(b) > 2 else np.full((2, 2), np.nan)

    def fit(self, signal: Array) -> "Line":
        """Return the line of each voxel; signals that are not positive give NaN."""
        # A deviation in ln S is one in S over S. With F the fitted signal and R = I - X P, the
        # variance s^2 of S is the sum of squares of (ln S - ln F) F over its expectation for unit
        # noise, sum_i F_i^2 sum_j R_ij^2 / F_j^2. Arrays are reused in place.
        chosen = np.ascontiguousarray(signal.T[self._chosen])
        logs = np.log(chosen)
        coefficients: Array = self._solve @ logs
        fitted = self._design.T @ coefficients
        logs -= fitted
        level = np.exp(fitted, out=fitted)
        chosen -= level
        logs *= level
        level *= level
        relative = 1 / level
        variance: Array = dot(logs, logs) / dot(level, self._rest @ relative)
        errors: Array = np.sqrt(self._spread @ relative * variance)
        return Line(coefficients, errors, self._weights @ np.square(chosen), variance)


class Line(NamedTuple):
    """Intercept c and slope d (2, V), their errors (2, V), residuals in S, and noise s^2."""

    coefficients: Array
    errors: Array
    cost: Array
    variance: Array


class DecayLine:
    """The same line by least squares of S itself, ``S = exp(c - d b)``, with d in bounds.

    For noise that is not small relative to the signal, which a logarithm would skew.
    """

    def __init__(self, bvalues: Array, chosen: NDArray[np.bool_], weights: Array | None) -> None:
        _require_two_bvalues(bvalues, chosen)
        self._chosen = chosen
        part = None if weights is None else weights[chosen]
        self._solver = Solver([decay_curves(bvalues[chosen], D)], [_GRID], part)
        self._freedom = int(chosen.sum()) - 2

    def fit(self, signal: Array) -> "Line":
        """Return the line of each voxel; NaN where the amplitude is zero."""
        found = self._solver.solve(signal[:, self._chosen])
        # The single column is the solver's second: its amplitude S0 is parameter 1 and its rate
        # parameter 3. The standard error of ln S0 is that of S0 over S0.
        size = np.where(found.amplitudes[1] > 0, found.amplitudes[1], np.nan)
        scatter = np.sqrt(np.stack([found.covariance[1, 1], found.covariance[3, 3]]))
        scatter[0] /= size
        slope = np.where(np.isfinite(size), found.rates[1], np.nan)
        variance = found.cost / self._freedom if self._freedom > 0 else np.full_like(size, np.nan)
        return Line(np.stack([np.log(size), slope]), scatter, found.cost, variance)


def make_estimate(values: Values, stderr: Values, cost: Array, rows: Model) -> Estimate:
    """Return the estimate: `BAD_INPUT` where a value is not finite, `AT_BOUND` if unphysical."""
    lost = np.zeros(len(cost), bool)
    outside = np.zeros(len(cost), bool)
    for name, value in values.items():
        limits = rows.parameter(name)
        lost |= ~np.isfinite(value)
        outside |= (value < limits.lower) | (value > limits.upper)
    status = np.zeros(len(cost), np.int8)
    status[outside] = Status.AT_BOUND
    # Last, since an infinite value is outside the limits too.
    if lost.any():
        status[lost] = Status.BAD_INPUT
        for array in (*values.values(), *stderr.values()):
            array[lost] = np.nan
    return Estimate(values, stderr, status, cost)


def _prepare_adc(
    *,
    bvalues: Array,
    b_min: float = 0.0,
    b_max: float = np.inf,
    weights: Array | None = None,
    line: type[LogLine] | type[DecayLine] = LogLine,
) -> Prepared:
    """Prepare a straight line through ln S."""
    used = in_range(bvalues, b_min, b_max, weights)
    straight = line(bvalues, used, weights)

    def estimate(signal: Array) -> Estimate:
        with np.errstate(all="ignore"):
            found = straight.fit(signal)
            s0 = np.exp(found.coefficients[0])
            values = {"ADC": found.coefficients[1], "S0": s0}
            stderr = {"ADC": found.errors[1], "S0": s0 * found.errors[0]}
            return make_estimate(values, stderr, found.cost, MONOEXPONENTIAL)

    return Prepared(estimate, used)


def _adc_needs(
    *, bvalues: Array, b_max: float = np.inf, noise: str = "gaussian", **_: object
) -> Iterator[Need]:
    yield Need("two b-values", bool((bvalues <= b_max).sum() >= 2))
    yield from noise_needs(bvalues, noise)


def _predict_adc(
    values: Values, *, bvalues: Array, b_min: float = 0.0, b_max: float = np.inf, **_: object
) -> Array:
    signal = values["S0"][..., None] * np.exp(-values["ADC"][..., None] * bvalues)
    return np.where(in_range(bvalues, b_min, b_max), signal, np.nan)


def _prepare_asymptotic(
    *,
    bvalues: Array,
    b_min: float = 200.0,
    b_max: float = np.inf,
    weights: Array | None = None,
    line: type[LogLine] | type[DecayLine] = LogLine,
) -> Prepared:
    """Prepare a straight line through ln S at b >= b_min; f comes from its intercept over S(0)."""
    zero = require_zero("ivim-asymptotic", bvalues, weights)
    # Beyond b_min the signal of the blood has decayed: the line is that of the tissue alone, and
    # its intercept at b = 0 falls short of the signal by the fraction f.
    chosen = in_range(bvalues, max(b_min, B_ZERO), b_max, weights)
    straight = line(bvalues, chosen, weights)
    # Several images at b = 0 enter as their weighted mean.
    where = np.flatnonzero(zero)
    part = np.ones(len(where)) if weights is None else weights[where]
    share = part / part.sum()

    def estimate(signal: Array) -> Estimate:
        with np.errstate(all="ignore"):
            found = straight.fit(signal)
            first = signal[:, where]
            s0 = first @ share
            ratio = np.exp(found.coefficients[0]) / np.where(s0 > 0, s0, np.nan)
            # f = 1 - exp(c) / S(0): the relative variances of both add up. The mean of several
            # images at b = 0 has a smaller one.
            s0_variance = found.variance * np.square(share).sum()
            values = {"f": 1 - ratio, "D": found.coefficients[1], "S0": s0}
            stderr = {
                "f": ratio * np.sqrt(found.errors[0] ** 2 + s0_variance / s0**2),
                "D": found.errors[1],
                "S0": np.sqrt(s0_variance),
            }
            cost = found.cost + np.square(first - s0[:, None]) @ part
            return make_estimate(values, stderr, cost, IVIM_ASYMPTOTIC)

    return Prepared(estimate, zero | chosen)


def _asymptotic_needs(
    *,
    bvalues: Array,
    b_min: float = 200.0,
    b_max: float = np.inf,
    noise: str = "gaussian",
    **_: object,
) -> Iterator[Need]:
    yield Need("b = 0", bool((bvalues < B_ZERO).any()))
    yield from line_needs(bvalues, b_min, b_max)
    yield from noise_needs(bvalues, noise)


def _predict_asymptotic(
    values: Values, *, bvalues: Array, b_min: float = 200.0, b_max: float = np.inf, **_: object
) -> Array:
    s0, f, d = (values[k][..., None] for k in ("S0", "f", "D"))
    line = np.where(in_range(bvalues, b_min, b_max), s0 * (1 - f) * np.exp(-bvalues * d), np.nan)
    return np.where(bvalues < B_ZERO, s0, line)


MONOEXPONENTIAL = Model(
    name="adc",
    label="monoexp",
    title="mono-exponential diffusion",
    parameters=(ADC, S0),
    free=2,
    design=("bvalues",),
    options=("b_min", "b_max", "weights", *noise.OPTIONS),
    prepare=noise.with_noise_floor(
        _prepare_adc, partial(_prepare_adc, line=DecayLine), _predict_adc
    ),
    predict=_predict_adc,
    formula="ln S(b) = ln S0 - b ADC, least squares",
    doi="10.1148/radiology.161.2.3763909",
    learn=noise.learn_noise,
    requires=_adc_needs,
)
IVIM_ASYMPTOTIC = Model(
    name="ivim-asymptotic",
    label="ivim",
    title="IVIM, asymptotic fit",
    parameters=(F, D, S0),
    free=3,
    design=("bvalues",),
    options=("b_min", "b_max", "weights", *noise.OPTIONS),
    prepare=noise.with_noise_floor(
        _prepare_asymptotic, partial(_prepare_asymptotic, line=DecayLine), _predict_asymptotic
    ),
    predict=_predict_asymptotic,
    formula="ln S(b) = ln(S0 (1 - f)) - b D for b >= b_min; f = 1 - exp(intercept) / S(0)",
    doi="10.1148/radiology.168.2.3393671",
    learn=noise.learn_noise,
    requires=_asymptotic_needs,
)
MODELS = (MONOEXPONENTIAL, IVIM_ASYMPTOTIC)
