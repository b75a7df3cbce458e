"""Arrival of the bolus: where a curve bends upwards, and where a known curve fits it."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.integrate import cumulative_trapezoid
from scipy.special import stdtrit

from bidsapp.errors import FitError
from bidsapp.models.solver.base import Array

_RISE_SHARE = 0.7
"""Fraction of the rise that the fitted line covers: beyond it, the curve of a bolus flattens."""
_CLEAR = 2.5
"""Smallest rise of a bolus, as a smoothed curve, in standard deviations of the noise."""
_STEP, _MOST_BENDS = 0.05, 4000
"""Step between the bends that are tried, in frames, and their largest number."""
_FIRST_RISE = np.array(
    [1, 1.5, 2, 3, 4, 5, 6, 8, 10, 13, 16, 20, 26, 32, 40, 52, 64, 80, 104, 128, 160, 208, 256]
)
"""Durations that are tried of a first, steeper rise, in frames."""
_GAIN = 4.0
"""Smallest F of a further term, such as a second slope: below, it is left out."""
_CONFIDENCE = 0.9
"""Confidence of the interval of an arrival."""
_FRAMES_BEFORE_BEND = 3.0
"""Time before the bend from which a population function is tried, in frames."""
_FRAMES_AFTER_RISE = 4
"""Frames after the rise that a population function is fitted to."""
_SHORTEST_RANGE = 0.2
"""The shortest range of arrivals that is tried, min."""


@dataclass(frozen=True)
class Arrival:
    """When a curve begins to rise, with its confidence interval, min."""

    time: float
    earliest: float
    latest: float


@dataclass(frozen=True)
class _Rise:
    """Where a curve bends upwards, the interval of that, and the last frame of its first rise."""

    bend: float
    lowest: float
    highest: float
    end: int


def smooth(curve: ArrayLike) -> Array:
    """Return curves smoothed over three frames by the weights 1, 2, 1.

    Parameters
    ----------
    curve : (..., N) array

    Returns
    -------
    (..., N) array

    Examples
    --------
    >>> smooth([0, 0, 4, 0, 0])
    array([0., 1., 2., 1., 0.])
    """
    y = np.asarray(curve, float)
    y = np.concatenate([y[..., :1], y, y[..., -1:]], axis=-1)
    result: Array = (y[..., :-2] + 2 * y[..., 1:-1] + y[..., 2:]) / 4
    return result


def rise_frame(curve: ArrayLike) -> int:
    """Return the frame at which a curve, smoothed, has first risen by seven tenths.

    Parameters
    ----------
    curve : (N,) array

    Returns
    -------
    int
        Index of the frame, from zero.

    Raises
    ------
    FitError
        If the curve holds values that are not finite.

    Examples
    --------
    >>> rise_frame([1, 1.1, 0.9, 1, 1, 4, 9, 6, 5])
    6
    """
    y = np.asarray(curve, float)
    if not np.isfinite(y).all():
        raise FitError("the bolus cannot be found: the curve holds values that are not finite")
    course = smooth(y)
    # From the lowest value before the peak, not from the first frame: the first frames of a series
    # may not have reached the steady state yet, and are then too bright.
    before = course[: int(np.argmax(course)) + 1]
    low = before.min()
    return int(np.argmax(before >= low + _RISE_SHARE * (before[-1] - low)))


def _fit_rise(curve: ArrayLike) -> _Rise:
    """Return where a curve that is flat, then rises, bends."""
    y = np.asarray(curve, float)
    end = rise_frame(y)
    if end >= 2:
        rise = _fit_lines(y[: end + 1])
        if _is_clear(y, int(rise.bend) + 1, rise.end):
            return rise
    raise FitError(
        f"no frame before the bolus: of {len(y)} frames number {end + 1} is the first near the "
        "highest, without a baseline before it or a rise that is clear of the noise and lasts; "
        "check that the agent was injected and that the frames are in order and complete; if they "
        "are, give their number with --baseline-frames"
    )


def _fit_lines(y: Array) -> _Rise:
    """Fit a flat line and one that rises from the bend or, if that is better, two in turn."""
    end = len(y) - 1
    step = max(_STEP, end / _MOST_BENDS)
    bends = np.arange(step, end - step / 2, step)
    ramps = np.maximum(np.arange(len(y)) - bends[:, None], 0)
    cost, freedom = _least_residual(ramps, y), len(y) - 3
    second, knee = _second_slope_residual(ramps, bends, y)
    best = int(np.argmin(second))
    if freedom > 3 and second[best] < np.inf:
        # The F statistic of the two further parameters.
        gain = (cost.min() - second[best]) / 2 * (freedom - 2)
        if gain > _GAIN * second[best]:
            cost, freedom = np.minimum(cost, second), freedom - 2
            end = min(end, int(np.ceil(knee[best])))
    # The interval of a least-squares parameter, from the profile of the cost.
    limit = stdtrit(max(freedom, 1), (1 + _CONFIDENCE) / 2) ** 2
    least = int(np.argmin(cost))
    within = bends[cost <= cost[least] + limit * abs(cost[least]) / max(freedom, 1)]
    return _Rise(float(bends[least]), float(within[0]), float(within[-1]), end)


def _second_slope_residual(ramps: Array, bends: Array, y: Array) -> tuple[Array, Array]:
    """Return the least sum of squares of each bend with a rise that slows down, and where it does.

    ``a + b max(t - bend, 0) - c max(t - knee, 0)`` with ``b > c > 0``.
    """
    least, place = np.full(len(bends), np.inf), np.zeros(len(bends))
    t, centred = np.arange(len(y)), y - y.mean()
    x = ramps - ramps.mean(axis=1, keepdims=True)
    xx, xy = (x**2).sum(axis=1), x @ centred
    for duration in _FIRST_RISE[len(y) > _FIRST_RISE]:
        knee = bends + duration
        z = np.maximum(t - knee[:, None], 0)
        z = z - z.mean(axis=1, keepdims=True)
        zz, zy, xz = (z**2).sum(axis=1), z @ centred, (x * z).sum(axis=1)
        first, change, regular = _solve_two(xx, zz, xz, xy, zy)
        possible = regular & (change < 0) & (first + change >= 0) & (knee < len(y) - 2)
        cost = np.where(possible, centred @ centred - first * xy - change * zy, np.inf)
        place = np.where(cost < least, knee, place)
        least = np.minimum(cost, least)
    return least, place


def _solve_two(
    xx: Array, zz: Array, xz: Array, xy: Array, zy: Array
) -> tuple[Array, Array, NDArray[np.bool_]]:
    """Return the coefficients of two regressors from their products, and whether they differ."""
    determinant = xx * zz - xz**2
    regular = determinant > 1e-9 * xx * zz
    scale = np.where(regular, determinant, np.inf)
    return (xy * zz - zy * xz) / scale, (zy * xx - xy * xz) / scale, regular


def _is_clear(curve: Array, start: int, end: int) -> bool:
    """Return whether a curve rises clearly above its noise, and stays higher, after its start."""
    # Noise from the baseline, or from the differences of frames if that is more: two frames of
    # baseline may agree by chance. 1.4826 scales a median absolute deviation, sqrt(2) a difference.
    rest, after = curve[:start], curve[end:]
    steps = np.diff(curve)
    noise = max(rest.std(), np.median(np.abs(steps - np.median(steps))) * 1.4826 / np.sqrt(2))
    height = smooth(curve).max() - rest.mean()
    return bool(height > _CLEAR * noise and after.mean() > rest.mean())


def _least_residual(shapes: Array, curve: Array) -> Array:
    """Return the least sum of squares of ``a + b shape - curve``, b not negative, of each shape."""
    # Centring removes the offset a; what is left of y is |y|^2 - (x'y)^2 / |x|^2 for a scale b > 0.
    x = shapes - shapes.mean(axis=-1, keepdims=True)
    y = curve - curve.mean()
    size = (x**2).sum(axis=-1)
    along = np.maximum(x @ y, 0)
    result: Array = (y @ y) - along**2 / np.where(size > 0, size, np.inf)
    return result


def _least_residual_of_two(shapes: Array, others: Array, curve: Array) -> Array:
    """Return the least sum of squares of ``a + b shape + c other - curve``, b and c >= 0."""
    x = shapes - shapes.mean(axis=-1, keepdims=True)
    z = others - others.mean(axis=-1, keepdims=True)
    y = curve - curve.mean()
    xy, zy = x @ y, z @ y
    xx, zz, xz = (x**2).sum(axis=-1), (z**2).sum(axis=-1), (x * z).sum(axis=-1)
    b, c, regular = _solve_two(xx, zz, xz, xy, zy)
    both = np.where(regular & (b >= 0) & (c >= 0), y @ y - b * xy - c * zy, np.inf)
    either = np.minimum(_least_residual(shapes, curve), _least_residual(others, curve))
    result: Array = np.minimum(both, either)
    return result


def find_baseline_frames(curve: ArrayLike) -> int:
    """Return how many frames at the start are free of contrast agent.

    Parameters
    ----------
    curve : (N,) array
        Signal or concentration of an artery, or of tissue that enhances.

    Returns
    -------
    int
        Number of frames before the arrival. If there are three or more, the last one is left out,
        since the agent may arrive during it.

    Raises
    ------
    FitError
        If the curve never rises clear of its noise, or rises from the first frame.

    Notes
    -----
    A line that is flat, then rises, is fitted by least squares to the frames up to the one at which
    the smoothed curve has completed seven tenths of its rise. If a rise that slows down fits these
    frames better, as in tissue that jumps and then climbs for minutes, the steeper part decides. A
    quarter of the time from the bend to the end of that rise is also left out before the bend,
    since a bolus starts to rise more slowly than a straight line.

    References
    ----------
    Cheong, Koh and Hou, Phys Med Biol 2003, doi:10.1088/0031-9155/48/5/403.

    Examples
    --------
    >>> find_baseline_frames([1, 1.1, 0.9, 1, 1, 4, 9, 6, 5])
    4
    """
    rise = _fit_rise(curve)
    frames = int(np.floor(max(rise.bend - (rise.end - rise.bend) / 4, 0))) + 1
    return frames - 1 if frames >= 3 else frames


def find_arrival(curve: ArrayLike, time: ArrayLike) -> Arrival:
    """Return when a curve begins to rise, between the frames, with its confidence interval.

    Parameters
    ----------
    curve : (N,) array
        Signal or concentration.
    time : (N,) array, min

    Returns
    -------
    Arrival

    Raises
    ------
    FitError
        If the curve never rises clear of its noise, or rises from the first frame.

    Notes
    -----
    The bend of the line that `find_baseline_frames` fits, and the bends at which the residual is
    not significantly larger (90 %).

    References
    ----------
    Cheong, Koh and Hou, Phys Med Biol 2003, doi:10.1088/0031-9155/48/5/403.

    Examples
    --------
    >>> round(find_arrival([1, 1, 1, 1, 1, 4, 9, 6, 5], range(9)).time, 2)
    4.4
    """
    moments, rise = np.asarray(time, float), _fit_rise(curve)
    frames = np.arange(len(moments))
    bends = (rise.bend, rise.lowest, rise.highest)
    return Arrival(*(float(np.interp(bend, frames, moments)) for bend in bends))


def fit_arrival(
    shape: Callable[[Array, float], Array],
    curve: ArrayLike,
    time: ArrayLike,
    baseline_frames: int = 0,
) -> float:
    """Return the arrival at which the rise of a known curve, scaled, fits that of a measured one.

    Parameters
    ----------
    shape
        ``shape(time min, arrival min)``, such as a population function or its signal.
    curve : (N,) array
        The measured curve: of the same kind, in any unit.
    time : (N,) array, min
    baseline_frames
        Frames before the bolus; 0 to find them.

    Returns
    -------
    float, min

    Raises
    ------
    FitError
        If the frames are to be found, and the curve never rises clear of its noise or rises from
        the first frame.

    Notes
    -----
    Piecewise continuous regression as in `find_baseline_frames`, with the shape in place of the
    rising line, and with a few more frames: with frames 5 s apart, too few lie on the rise to fit
    its form. For each of many arrivals, an offset and the amounts of the shape and of its integral
    (in tissue, the agent that has left the vessels, as in the Patlak model) follow by linear least
    squares; the integral only counts if it improves the fit significantly. The arrival with the
    smallest residual is returned.

    References
    ----------
    Cheong, Koh and Hou, Phys Med Biol 2003, doi:10.1088/0031-9155/48/5/403.
    Patlak, Blasberg and Fenstermacher, J Cereb Blood Flow Metab 1983, doi:10.1038/jcbfm.1983.1.

    Examples
    --------
    >>> from bidsapp.models.contrast.aif import parker2006
    >>> time = np.arange(40) * 5.2 / 60
    >>> round(fit_arrival(parker2006, 3 + 10 * parker2006(time, 0.61), time), 2)
    0.61
    """
    y, moments = np.asarray(curve, float), np.asarray(time, float)
    if baseline_frames:
        bend, end = float(baseline_frames), rise_frame(y)
    else:
        rise = _fit_rise(y)
        bend, end = rise.bend, rise.end
    seen = slice(0, max(end, baseline_frames) + 1 + _FRAMES_AFTER_RISE)
    frames = np.arange(len(moments))
    # Candidates every 0.1 s, from three frames before the bend, as a bolus rises more slowly at
    # first than a straight line, to the end of the rise.
    first, last = np.interp([bend - _FRAMES_BEFORE_BEND, max(end, bend + 1)], frames, moments)
    arrivals = np.arange(min(first, last - _SHORTEST_RANGE), last, 0.1 / 60)
    shapes = np.stack([shape(moments[seen], float(a)) for a in arrivals])
    integrals = cumulative_trapezoid(shapes - shapes[:, :1], moments[seen], axis=1, initial=0)
    cost = _least_residual(shapes, y[seen])
    both = _least_residual_of_two(shapes, integrals, y[seen])
    gain = (cost.min() - both.min()) * (shapes.shape[1] - 4)
    return float(arrivals[np.argmin(both if gain > _GAIN * both.min() else cost)])
