"""Semi-quantitative description of curves of a contrast agent: initial area, peak and slopes."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bidsapp.errors import FitError
from bidsapp.models.kinetics.tofts import used_frames
from bidsapp.models.parameters import IAUC60, IAUC60BN, IAUC90, TTP, WASHIN, WASHOUT
from bidsapp.models.solver.base import Array, Estimate, Model, Prepared, Status, Values

INTERVALS = {"iAUC60": 1.0, "iAUC90": 1.5}
"""Time after the arrival of the bolus over which the concentration is integrated, min."""
_FEWEST_FRAMES = 5
"""Frames after the arrival that the fit of the lines needs."""
_FEWEST_AFTER_PEAK = 3
"""Frames after the peak from which the wash-out slope is estimated, at least."""
_CLEAR = 2.0
"""Wash-in slope, and change of slope at the peak, of a curve that has one, in standard errors."""
_EQUAL = 1e-9
"""Relative difference of slopes that rounding causes."""
_DEVIATION_OF_MEDIAN = 1.4826
"""Standard deviation of normal errors, relative to the median of their sizes."""


def interval_weights(time: Array, start: float, end: float) -> Array:
    """Return the weights by which the samples of a curve add up to the area under it.

    Parameters
    ----------
    time : (N,) array, min
        Ascending.
    start, end : float, min
        Limits of the integral.

    Returns
    -------
    (N,) array, min
        NaN if the samples do not cover the interval: a curve is not extrapolated.

    Notes
    -----
    The trapezoidal rule, with linear interpolation at both limits.

    Examples
    --------
    >>> interval_weights(np.array([0.0, 1, 2]), 0.5, 2.0)
    array([0.125, 0.875, 0.5  ])
    """
    if not time[0] <= start < end <= time[-1]:
        return np.full(len(time), np.nan)
    moments = np.concatenate([[start], time[(time > start) & (time < end)], [end]])
    # Weights of the trapezoidal rule at the moments, spread over the samples that surround each.
    steps = np.diff(moments, prepend=start, append=end)
    shares = (steps[:-1] + steps[1:]) / 2
    later = np.clip(np.searchsorted(time, moments, side="right"), 1, len(time) - 1)
    part = (moments - time[later - 1]) / (time[later] - time[later - 1])
    result = np.zeros(len(time))
    np.add.at(result, later, shares * part)
    np.add.at(result, later - 1, shares * (1 - part))
    return result


def noise_variance(curves: Array, time: Array, weights: Array) -> Array:
    """Return the variance of the noise of curves, whatever their smooth course.

    Parameters
    ----------
    curves : (V, N) array
    time : (N,) array
    weights : (N,) array
        Inverse variances of the samples relative to that of a sample of weight 1.

    Returns
    -------
    (V,) array
        Of a sample of weight 1.

    Notes
    -----
    From the median distance of each sample from the line through its two neighbours: the few
    frames before the bolus alone are an imprecise estimate, and residuals of a description
    contain more than noise.

    Examples
    --------
    >>> line = np.arange(6.0)[None]
    >>> noise_variance(line, np.arange(6.0), np.ones(6))
    array([0.])
    """
    part = (time[1:-1] - time[:-2]) / (time[2:] - time[:-2])
    apart = curves[:, 1:-1] - (1 - part) * curves[:, :-2] - part * curves[:, 2:]
    spread = 1 / weights[1:-1] + (1 - part) ** 2 / weights[:-2] + part**2 / weights[2:]
    median = np.median(np.abs(apart) / np.sqrt(spread), axis=1)
    variance: Array = np.square(_DEVIATION_OF_MEDIAN * median)
    return variance


@dataclass(frozen=True)
class _Lines:
    """A rise from zero at the arrival to a peak, and a straight line after it.

    ``u`` (M,) is the time of frames after the arrival in min, with their weights. The peak is not
    sought before ``earliest``: a rise within less than a frame has no slope that can be measured.
    """

    u: Array
    weights: Array
    earliest: float

    @property
    def latest(self) -> float:
        """Time of the last frame at which the peak may be."""
        return float(self.u[-1 - _FEWEST_AFTER_PEAK])

    def peak_times(self, y: Array) -> Array:
        """Return the time of the peak (V,) of the least-squares lines of curves (V, M).

        Hudson's method: the optimum lies at a frame, or between two frames where the separate
        least-squares lines of the frames before and after meet.
        """
        within = (self.u > self.earliest) & (self.u <= self.latest)
        knots = np.concatenate([[self.earliest], self.u[within]])
        costs, places = self._cost_at(y, knots), np.broadcast_to(knots, (len(y), len(knots)))
        between, met = self._meeting_points(y)
        costs, places = np.hstack([costs, between]), np.hstack([places, met])
        best = np.argmin(costs, axis=1)[:, None]
        found: Array = np.take_along_axis(places, best, axis=1)[:, 0]
        return found

    def _cost_at(self, y: Array, knots: Array) -> Array:
        """Return minus the sum of squares (V, K) that lines with a peak at each knot explain."""
        rise = np.minimum(self.u, knots[:, None])
        rest = self.u - rise
        xx, zz, xz = (
            (self.weights * a * b).sum(axis=1)
            for a, b in ((rise, rise), (rest, rest), (rise, rest))
        )
        xy, zy = (y @ (self.weights * x).T for x in (rise, rest))
        explained: Array = (xy**2 * zz - 2 * xy * zy * xz + zy**2 * xx) / (xx * zz - xz**2)
        return -explained

    def _meeting_points(self, y: Array) -> tuple[Array, Array]:
        """Return minus what two separate lines explain, and where they meet, for each split.

        Infinite where they do not meet between the two frames at which they are split.
        """
        u, w, ends = self.u, self.weights, np.arange(len(self.u) - _FEWEST_AFTER_PEAK)
        before = [np.cumsum(x, axis=-1)[..., ends] for x in (w * u * u, w * u * y)]
        total = [w, w * u, w * u * u, w * y, w * u * y]
        after = [x.sum(axis=-1, keepdims=True) - np.cumsum(x, axis=-1)[..., ends] for x in total]
        with np.errstate(divide="ignore", invalid="ignore"):  # a frame at the arrival
            slope = before[1] / before[0]
        size, su, suu, sy, suy = after
        spread = suu - su**2 / size
        decline = (suy - su * sy / size) / spread
        intercept = (sy - decline * su) / size
        with np.errstate(divide="ignore", invalid="ignore"):  # parallel lines
            met = intercept / (slope - decline)
        inside = (met > u[ends]) & (met < u[ends + 1]) & (met > self.earliest)
        explained = before[1] * slope + sy**2 / size + decline**2 * spread
        return np.where(inside, -explained, np.inf), np.where(inside, met, 0.0)

    def solve(self, y: Array, peak: Array) -> tuple[Array, Array, Array]:
        """Return slopes (2, V), their and the peak's covariance (3, 3, V), and effect of an offset.

        The covariance is that of both slopes and of the step that a shift of the peak causes, for
        noise of variance 1; the effect (3, V) is that of a constant added to all frames.
        """
        rise = np.minimum(self.u, peak[:, None])
        columns = np.stack([rise, self.u - rise, (self.u > peak[:, None]).astype(float)])
        products = np.einsum("ivm,jvm,m->vij", columns, columns, self.weights)
        # The step is no free parameter at the least-squares peak: slopes follow from two columns.
        right = np.einsum("ivm,vm,m->vi", columns[:2], y, self.weights)
        slopes = np.linalg.solve(products[:, :2, :2], right[..., None])[..., 0].T
        inverse = np.linalg.inv(products)
        # A peak at the bound is not free either, and its error is not one of the slopes.
        fixed = peak <= self.earliest
        inverse[fixed] = 0
        inverse[fixed, :2, :2] = np.linalg.inv(products[fixed, :2, :2])
        offset = np.einsum("vij,jvm,m->iv", inverse, columns, self.weights)
        return slopes, np.moveaxis(inverse, 0, -1), offset


@dataclass(frozen=True)
class _Frames:
    """The frames of a series that are used, their weights, and the arrival of the bolus, min."""

    time: Array
    weights: Array
    arrival: float

    @property
    def lines(self) -> _Lines:
        """The lines through the frames after the arrival."""
        late = self.time > self.arrival
        u = self.time[late] - self.arrival
        step = max(float(np.median(np.diff(self.time))), float(u[0]))
        return _Lines(u, self.weights[late], min(step, float(u[-1 - _FEWEST_AFTER_PEAK])))

    def area(self, curves: Array, minutes: float, variance: Array) -> tuple[Array, Array]:
        """Return the area (V,) under curves (V, N) after the arrival, and its standard error."""
        share = interval_weights(self.time, self.arrival, self.arrival + minutes)
        # All concentrations are relative to the mean of the frames before the arrival.
        size = np.square(share) @ (1 / self.weights) + share.sum() ** 2 * self.offset_variance
        return curves @ share, np.sqrt(size * variance)

    @property
    def offset_variance(self) -> float:
        """Variance of the mean of the frames before the arrival, for noise of variance 1."""
        before = self.weights[self.time <= self.arrival].sum()
        return float(1 / before) if before else 0.0


def _select_frames(time: Array, arrival: float, weights: Array | None) -> _Frames:
    used = used_frames(time, weights)
    chosen, w = time[used], np.ones(int(used.sum())) if weights is None else weights[used]
    if (after := int((chosen > arrival).sum())) < _FEWEST_FRAMES:
        raise FitError(
            f"semi-quantitative parameters need {_FEWEST_FRAMES} frames after the arrival of the "
            f"bolus at {60 * arrival:.0f} s; the series has {after}"
        )
    return _Frames(chosen, w, arrival)


def _describe(curves: Array, frames: _Frames) -> Estimate:
    """Return the parameters of curves (V, N) at the frames in use."""
    lines, late = frames.lines, frames.time > frames.arrival
    variance = noise_variance(curves, frames.time, frames.weights)
    peak = lines.peak_times(curves[:, late])
    (rise, decline), covariance, offset = lines.solve(curves[:, late], peak)
    errors = np.sqrt(
        variance * (np.einsum("iiv->iv", covariance) + np.square(offset) * frames.offset_variance)
    )
    is_earliest = peak <= lines.earliest
    with np.errstate(divide="ignore", invalid="ignore"):
        shift = errors[2] / np.abs(rise - decline)
    # Of a peak at the bound it is known that it lies within a frame: a uniform distribution.
    shift = np.where(is_earliest, lines.earliest / np.sqrt(12), shift)
    values = {"TTP": peak, "washin": rise, "washout": decline}
    stderr = {"TTP": shift, "washin": errors[0], "washout": errors[1]}
    for name, minutes in INTERVALS.items():
        values[name], stderr[name] = frames.area(curves, minutes, variance)
    fitted = {name: values[name] for name in _WITHHELD}
    predicted = _predict(values, time=frames.time, arrival=frames.arrival)
    cost = np.square(curves - predicted) @ frames.weights
    # A curve that bends upwards, or less than its noise does, has no peak; nor has one at the end.
    bend = np.sqrt(variance * (covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1]))
    no_peak = (rise <= _CLEAR * errors[0]) | (peak >= lines.latest)
    no_peak |= rise - decline <= np.maximum(_CLEAR * bend, _EQUAL * np.abs(rise))
    for name in _WITHHELD:
        values[name], stderr[name] = (np.where(no_peak, np.nan, x[name]) for x in (values, stderr))
    return Estimate(values, stderr, _status(values, is_earliest), cost, fitted)


def _status(values: Values, is_earliest: NDArray[np.bool_]) -> NDArray[np.int8]:
    lost = np.any([np.isnan(value) for value in values.values()], axis=0)
    below = np.any([values[n] < 0 for n in values if n != "washout"], axis=0) | is_earliest
    status = np.where(below, Status.AT_BOUND, Status.OK)
    return np.where(lost, Status.NOT_IDENTIFIABLE, status).astype(np.int8)


def _prepare(*, time: Array, arrival: float, weights: Array | None = None) -> Prepared:
    """Prepare the description of curves after the arrival of the bolus."""
    used, frames = used_frames(time, weights), _select_frames(time, arrival, weights)
    return Prepared(lambda signal: _describe(signal[:, used], frames), used)


def _prepare_relative(
    *, time: Array, plasma: Array, arrival: float, weights: Array | None = None
) -> Prepared:
    """Prepare the same description with the area relative to that of the arterial plasma."""
    used, frames = used_frames(time, weights), _select_frames(time, arrival, weights)
    share = interval_weights(frames.time, arrival, arrival + INTERVALS["iAUC60"])
    area = float(plasma[used] @ share)
    area = area if area > 0 else np.nan

    def estimate(signal: Array) -> Estimate:
        found = _describe(signal[:, used], frames)
        for maps in (found.values, found.stderr):
            maps["iAUC60BN"] = maps["iAUC60"] / area
        lost = np.isnan(found.values["iAUC60BN"])
        found.status[lost] = Status.NOT_IDENTIFIABLE
        return found

    return Prepared(estimate, used)


def _predict(values: Values, *, time: Array, arrival: float, **_: object) -> Array:
    """Return the lines; areas do not enter."""
    peak, rise, decline = (
        np.asarray(values[name], float)[..., None] for name in ("TTP", "washin", "washout")
    )
    after = np.maximum(time - arrival, 0)
    return np.asarray(rise * np.minimum(after, peak) + decline * np.maximum(after - peak, 0))


_WITHHELD = ("TTP", "washout")
"""Parameters of the peak, which a curve without one does not have."""
_PARAMETERS = (IAUC60, IAUC90, TTP, WASHIN, WASHOUT)


SEMI_QUANTITATIVE = Model(
    name="semi-quantitative",
    label="semiquant",
    title="semi-quantitative description",
    parameters=_PARAMETERS,
    free=3,
    design=("time", "arrival"),
    options=("weights",),
    prepare=_prepare,
    predict=_predict,
    formula="iAUC = int C(t) dt from the arrival; C(t) = washin min(t, TTP) + washout "
    "max(t - TTP, 0), t from the arrival",
    doi="10.1088/0031-9155/51/14/021",
    fitted=_WITHHELD,
    in_auto=False,
)
RELATIVE = Model(
    name="semi-quantitative-relative",
    label="semiquantbn",
    title="semi-quantitative description relative to the artery",
    parameters=(*_PARAMETERS, IAUC60BN),
    free=3,
    design=("time", "plasma", "arrival"),
    options=("weights",),
    prepare=_prepare_relative,
    predict=_predict,
    formula=f"{SEMI_QUANTITATIVE.formula}; iAUC60BN = iAUC60 of tissue / iAUC60 of plasma",
    doi="10.1088/0031-9155/51/14/021",
    fitted=_WITHHELD,
    in_auto=False,
)
MODELS = (SEMI_QUANTITATIVE, RELATIVE)
