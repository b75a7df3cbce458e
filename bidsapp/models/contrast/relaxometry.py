"""T1 from spoiled gradient echoes at several flip angles, with or without a B1 map."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bidsapp.errors import FitError
from bidsapp.models.contrast.spgr import spgr_signal
from bidsapp.models.parameters import M0, T1
from bidsapp.models.solver.base import Array, Estimate, Model, Prepared, Status, Values, at_limits
from bidsapp.models.solver.reduced_space import Axis, Family
from bidsapp.models.solver.varpro import Solver

_GRID = np.geomspace(1 / T1.upper, 1 / T1.lower, 100)
_MAX_STEPS = 100
_SETTLED = 1e-9  # change of E at which the weights of the straight line have converged
_B1_RANGE = (0.3, 2.0)


def b1_ratio(transmit: ArrayLike, scale: float = 1.0) -> Array:
    """Return the ratio of actual to nominal flip angle from a transmit field map.

    Parameters
    ----------
    transmit : (...) array
        Zero, negative or not finite where there is no value.
    scale : float
        1 for a map of ratios, 0.01 for one in percent.

    Returns
    -------
    (...) array
        NaN where there is no value.

    Raises
    ------
    FitError
        If the map has no value, or its median is implausible: the scale is wrong.

    Examples
    --------
    >>> b1_ratio([90.0, 110.0, 0.0], 0.01).round(9)
    array([0.9, 1.1, nan])
    """
    values = np.asarray(transmit, float)
    known = np.isfinite(values) & (values > 0)
    if not known.any():
        raise FitError("the B1 map has no value above zero")
    median = scale * float(np.median(values[known]))
    if not _B1_RANGE[0] <= median <= _B1_RANGE[1]:
        raise FitError(
            f"the B1 map's median is {median:g} of the nominal flip angle, outside "
            f"{_B1_RANGE[0]:g} to {_B1_RANGE[1]:g}; check that its Units are right, 1 or percent"
        )
    result: Array = np.where(known, scale * values, np.nan)
    return result


def _prepare_vfa(
    *, flip_angles: Array, repetition_time: float, b1: float | None = None
) -> Prepared:
    """Prepare the non-linear least-squares fit of T1 and M0.

    With one B1 for all voxels, the shared solver is used. With a B1 map, each voxel has its own
    curve, evaluated at its actual flip angles.
    """
    _check_design(flip_angles, repetition_time, b1)
    solver = _solver(flip_angles * (1.0 if b1 is None else b1), repetition_time)

    def estimate(signal: Array, b1: Array | None = None) -> Estimate:
        if b1 is not None:
            return _estimate_each(signal, _actual_angles(flip_angles, b1), repetition_time)
        found = solver.solve(signal)
        m0_variance, r1_variance = found.covariance[1, 1], found.covariance[3, 3]
        return _make_estimate(
            found.rates[1], found.amplitudes[1], r1_variance, m0_variance, found.cost
        )

    return Prepared(estimate, np.ones(len(flip_angles), bool))


def _solver(angles: Array, repetition_time: float) -> Solver:
    curves = Family(
        lambda rates: spgr_signal(rates[..., None], repetition_time, angles),
        Axis(1 / T1.upper, 1 / T1.lower, 0.1),
    )
    return Solver([curves], [len(_GRID)])


def _prepare_vfa_linear(
    *, flip_angles: Array, repetition_time: float, b1: float | None = None
) -> Prepared:
    """Prepare the fit of a straight line with weights that follow from its slope.

    The weights ``(sin(a) / (1 - E cos(a)))^2`` compensate for the division by sin(a), which
    amplifies the noise at small angles. Starting from equal weights, the slope E of one line gives
    the weights of the next, until E converges. Both axes contain noise, so that T1 is overestimated
    where there is much of it: by 0.8 % at a signal-to-noise ratio of 20 and 6 % at 8 (four angles
    from 2 to 20 degrees, T1 = 1.4 s). The non-linear fit does not have this bias.

    References
    ----------
    Chang et al., Magn Reson Med 2008, doi:10.1002/mrm.21669.
    """
    _check_design(flip_angles, repetition_time, b1)
    shared = 1.0 if b1 is None else b1

    def estimate(signal: Array, b1: Array | None = None) -> Estimate:
        actual = _actual_angles(flip_angles, shared if b1 is None else b1)
        slope, intercept = _self_weighted_line(
            signal, np.sin(actual), np.cos(actual), repetition_time
        )
        decay = np.where((slope > 0) & (slope < 1), slope, np.nan)
        r1, m0 = -np.log(decay) / repetition_time, intercept / (1 - decay)
        residual = signal - spgr_signal(r1[:, None], repetition_time, actual, m0[:, None])
        variances = _variances(r1, m0, actual, repetition_time, residual)
        return _make_estimate(r1, m0, *variances, _dot(residual, residual), angles=actual)

    return Prepared(estimate, np.ones(len(flip_angles), bool))


def _check_design(flip_angles: Array, repetition_time: float, b1: ArrayLike | None) -> None:
    if not ((flip_angles > 0) & (flip_angles < np.pi)).all():
        raise FitError(f"flip angles are in rad, between 0 and pi, got {flip_angles.tolist()}")
    if not 0 < repetition_time < np.inf:
        raise FitError(f"the repetition time is in s, above 0, got {repetition_time:g}")
    if len(np.unique(flip_angles)) < 2:
        raise FitError(f"T1 needs two different flip angles, got {np.rad2deg(flip_angles)} degrees")
    if (
        b1 is not None
        and not np.ndim(b1)
        and not np.isfinite(_actual_angles(flip_angles, b1)).all()
    ):
        raise FitError(f"b1 is {b1}; it must be the actual over the nominal flip angle, about 1")


def _actual_angles(flip_angles: Array, b1: ArrayLike) -> Array:
    """Return the actual flip angles, (V, N) or (1, N); NaN where not all are within 0 to pi."""
    actual = np.atleast_1d(np.asarray(b1, float))[:, None] * flip_angles
    possible = ((actual > 0) & (actual < np.pi)).all(axis=-1, keepdims=True)
    result: Array = np.where(possible, actual, np.nan)
    return result


def _estimate_each(signal: Array, angles: Array, repetition_time: float) -> Estimate:
    """Fit voxels with individual flip angles (V, N)."""
    trigonometry = np.sin(angles), np.cos(angles)
    r1 = _refine_each(signal, *trigonometry, repetition_time)
    curve, _ = _curve(r1, *trigonometry, repetition_time)
    m0 = np.maximum(_dot(curve, signal) / _dot(curve, curve), 0)
    residual = signal - m0[:, None] * curve
    variances = _variances(r1, m0, angles, repetition_time, residual)
    return _make_estimate(r1, m0, *variances, _dot(residual, residual), angles=angles)


def _best_grid_point_each(
    signal: Array, sine: Array, cosine: Array, repetition_time: float
) -> NDArray[np.intp]:
    """Return for each voxel the grid point that explains most of the signal."""
    best = np.zeros(len(signal), np.intp)
    most = np.zeros(len(signal))
    for point, rate in enumerate(_GRID):
        curve, _ = _curve(np.array([rate]), sine, cosine, repetition_time)
        # With the best M0 >= 0 a curve c explains (c'y)^2 / c'c of the signal's sum of squares.
        explained = np.maximum(_dot(curve, signal), 0) ** 2 / _dot(curve, curve)
        better = explained > most
        best[better], most[better] = point, explained[better]
    return best


def _refine_each(signal: Array, sine: Array, cosine: Array, repetition_time: float) -> Array:
    """Minimise the projected cost over R1 between the neighbours of the best point of the grid.

    Gauss-Newton steps; the sign of the gradient narrows the bracket, and a step that leaves it
    becomes its middle.
    """
    # Variable projection of one amplitude (M0) and one rate (R1): with m0 = c'y / c'c the projected
    # residual changes by m0 (I - cc'/c'c) dc/dR1, `change` below (Kaufman's approximation).
    best = _best_grid_point_each(signal, sine, cosine, repetition_time)
    low, high = _GRID[np.maximum(best - 1, 0)], _GRID[np.minimum(best + 1, len(_GRID) - 1)]
    r1 = _GRID[best]
    for _ in range(_MAX_STEPS):
        curve, slope = _curve(r1, sine, cosine, repetition_time)
        power = _dot(curve, curve)
        m0 = _dot(curve, signal) / power
        change = m0[:, None] * (slope - curve * (_dot(curve, slope) / power)[:, None])
        descent, curvature = _dot(change, signal), _dot(change, change)
        low, high = np.where(descent > 0, r1, low), np.where(descent > 0, high, r1)
        trial = r1 + descent / np.where(curvature > 0, curvature, np.inf)
        following = np.where((trial > low) & (trial < high), trial, (low + high) / 2)
        settled = ~(np.abs(following - r1) > 1e-13 * r1)
        r1 = following
        if settled.all():
            break
    return r1


def _curve(r1: Array, sine: Array, cosine: Array, repetition_time: float) -> tuple[Array, Array]:
    """Return the signal of M0 = 1 for rates (V,), and its derivative by R1, both (V, N)."""
    # S = sin(a) (1 - E) / (1 - E cos(a)), dS/dR1 = sin(a) TR E (1 - cos(a)) / (1 - E cos(a))^2.
    saturation = -np.expm1(-repetition_time * r1)[:, None]
    divisor = 1 - cosine * (1 - saturation)
    slope = sine * repetition_time * (1 - saturation) * (1 - cosine) / divisor**2
    return sine * saturation / divisor, slope


def _dot(a: Array, b: Array) -> Array:
    result: Array = np.einsum("vn,vn->v", a, b)
    return result


def _self_weighted_line(
    signal: Array, sine: Array, cosine: Array, repetition_time: float
) -> tuple[Array, Array]:
    """Return slope and intercept of lines with weights from their slope; NaN if not converged."""
    # S / sin(a) = E (S cos(a) / sin(a)) + M0 (1 - E): a line with slope E. The first one has equal
    # weights, each further one those of the E before it, kept within the bounds of T1.
    limits = np.exp(-repetition_time / np.array([T1.lower, T1.upper]))
    y, x = signal / sine, signal * cosine / sine
    weight: Array = np.ones_like(y)
    slope: Array = np.zeros(len(signal))
    for _ in range(_MAX_STEPS):
        previous, (slope, intercept) = slope, _line(x, y, weight)
        decay = np.clip(slope, *limits)[:, None]
        weight = (sine / (1 - decay * cosine)) ** 2
        moved = np.abs(slope - previous)
        if not (moved > 1e-12).any():
            break
    return np.where(moved < _SETTLED, slope, np.nan), intercept


def _line(x: Array, y: Array, weight: Array) -> tuple[Array, Array]:
    """Return slope and intercept (V,) of weighted straight lines; NaN where x does not vary."""
    total = weight.sum(axis=1)
    mean_x, mean_y = _dot(weight, x) / total, _dot(weight, y) / total
    spread = x - mean_x[:, None]
    variation = _dot(weight * spread, spread)
    slope = _dot(weight * spread, y) / np.where(variation > 0, variation, np.nan)
    return slope, mean_y - slope * mean_x


def _variances(
    r1: Array, m0: Array, angles: Array, repetition_time: float, residual: Array
) -> tuple[Array, Array]:
    """Return the variances of R1 and M0, ``s^2 inv(J'J)``; NaN without a degree of freedom."""
    # The inverse of the 2 x 2 normal matrix [[a, b], [b, d]] of (M0, R1), by its determinant.
    curve, slope = _curve(r1, np.sin(angles), np.cos(angles), repetition_time)
    slope = m0[:, None] * slope
    a, b, d = _dot(curve, curve), _dot(curve, slope), _dot(slope, slope)
    determinant = a * d - b * b
    freedom = residual.shape[1] - 2
    scale = _dot(residual, residual) / freedom if freedom > 0 else np.full(len(r1), np.nan)
    scale = scale / np.where(determinant > 1e-12 * a * d, determinant, np.nan)
    return scale * a, scale * d


def _make_estimate(
    r1: Array,
    m0: Array,
    r1_variance: Array,
    m0_variance: Array,
    cost: Array,
    angles: Array | None = None,
) -> Estimate:
    """Return T1 and M0 with their errors and the status of every voxel."""
    found = (m0 > 0) & np.isfinite(r1)
    t1 = np.where(found, 1 / np.where(found, r1, 1.0), np.nan)
    status = np.where(at_limits(t1, T1), Status.AT_BOUND, Status.OK)
    status = np.where(found, status, Status.NOT_IDENTIFIABLE)
    if angles is not None:
        status = np.where(np.isfinite(angles).all(axis=-1), status, Status.BAD_INPUT)
    # T1 = 1 / R1, so that its standard error is T1^2 times that of R1.
    return Estimate(
        {"T1": t1, "M0": np.where(m0 >= 0, m0, np.nan)},
        {"T1": t1**2 * np.sqrt(r1_variance), "M0": np.where(m0 >= 0, np.sqrt(m0_variance), np.nan)},
        status.astype(np.int8),
        cost,
        {"T1": 1 / r1, "M0": m0},
    )


def _predict_vfa(
    values: Values, *, flip_angles: Array, repetition_time: float, b1: ArrayLike | None = None
) -> Array:
    actual = np.asarray(1.0 if b1 is None else b1, float)[..., None] * flip_angles
    t1, m0 = (np.asarray(values[k])[..., None] for k in ("T1", "M0"))
    return spgr_signal(1 / t1, repetition_time, actual, m0)


VFA_T1 = Model(
    name="vfa-t1",
    label="vfa",
    title="T1 from variable flip angles, non-linear fit",
    parameters=(T1, M0),
    free=2,
    design=("flip_angles", "repetition_time"),
    options=("b1",),
    per_voxel=("b1",),
    prepare=_prepare_vfa,
    predict=_predict_vfa,
    formula="S(a) = M0 sin(a) (1 - E) / (1 - E cos(a)), E = exp(-TR / T1)",
    doi="10.1016/0730-725X(87)90021-X",
    fitted=("T1", "M0"),
)
VFA_T1_LINEAR = Model(
    name="vfa-t1-linear",
    label="vfalinear",
    title="T1 from variable flip angles, weighted linear fit",
    parameters=(T1, M0),
    free=2,
    design=("flip_angles", "repetition_time"),
    options=("b1",),
    per_voxel=("b1",),
    prepare=_prepare_vfa_linear,
    predict=_predict_vfa,
    formula="S / sin(a) = E S / tan(a) + M0 (1 - E), weights (sin(a) / (1 - E cos(a)))^2, "
    "E = exp(-TR / T1)",
    doi="10.1002/mrm.21669",
    fitted=("T1", "M0"),
)
MODELS = (VFA_T1, VFA_T1_LINEAR)
