"""Arterial input: population functions, plasma from blood, arrival of the bolus."""

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import gammaln

from bidsapp.errors import FitError
from bidsapp.models.solver.base import Array

_RISE_SHARE = 0.7
"""Fraction of the rise that the fitted line covers: beyond it, the curve of a bolus flattens."""
_CLEAR = 2.5
"""Smallest rise of a bolus, as a smoothed curve, in standard deviations of the noise."""
_STEP = 0.05
"""Step between the bends that are tried, in frames."""
_FRAMES_BEFORE_BEND = 3.0
"""Time before the bend from which a population function is tried, in frames."""
_SHORTEST_RANGE = 0.2
"""The shortest range of arrivals that is tried, min."""


def parker2006(time: ArrayLike, arrival: float = 0.0) -> Array:
    """Return the population-averaged arterial blood concentration of Parker et al.

    Parameters
    ----------
    time : (N,) array, min
    arrival : float, min
        When the bolus arrives; zero before.

    Returns
    -------
    (N,) array, mM
        In whole blood, for a dose of 0.1 mmol/kg.

    Notes
    -----
    ``sum_n A_n / (s_n sqrt(2 pi)) exp(-(t - T_n)^2 / (2 s_n^2))
    + a exp(-b t) / (1 + exp(-s (t - u)))``

    References
    ----------
    Parker et al., Magn Reson Med 2006, doi:10.1002/mrm.21066.

    Examples
    --------
    >>> import numpy as np
    >>> parker2006(np.array([0.0, 0.17046, 1.0])).round(3)
    array([0.08 , 6.069, 0.887])
    """
    t = np.asarray(time, float) - arrival
    # Table 1 of the paper: A_n in mM min, T_n and s_n in min; then a in mM, b and s in 1/min, u in
    # min.
    area, centre = np.array([0.809, 0.330]), np.array([0.17046, 0.365])
    width = np.array([0.0563, 0.132])
    waves = (
        area / (width * np.sqrt(2 * np.pi)) * np.exp(-(((t[..., None] - centre) / width) ** 2) / 2)
    )
    after = np.maximum(t, 0)
    # Before the arrival the denominator would overflow.
    washout = 1.050 * np.exp(-0.1685 * after) / (1 + np.exp(-38.078 * (after - 0.483)))
    return np.where(t >= 0, waves.sum(axis=-1) + washout, 0.0)


def georgiou2019(time: ArrayLike, arrival: float = 0.0) -> Array:
    """Return the population-averaged arterial blood concentration of Georgiou et al.

    Parameters
    ----------
    time : (N,) array, min
    arrival : float, min
        When the bolus arrives; zero before.

    Returns
    -------
    (N,) array, mM
        In whole blood, for a dose of 0.1 mmol/kg.

    Notes
    -----
    ``sum_i A_i exp(-m_i t) * sum_n g(t - (n - 1) T; n (a + 1), b)``: the exchange with the tissues
    times the sum of the passes n = 1, 2, ... of the bolus. Each pass is a gamma density g of that
    shape and of scale b, and begins one recirculation time T after the previous one.

    The constants are those of the curve in the paper's supplement. Rounded, they are those of its
    Table 3, which reproduce that curve only to within 2 %.

    References
    ----------
    Georgiou et al., Magn Reson Med 2019, doi:10.1002/mrm.27524, after
    Horsfield et al., Phys Med Biol 2009, doi:10.1088/0031-9155/54/9/023.

    Examples
    --------
    >>> import numpy as np
    >>> georgiou2019(np.array([0.0, 0.125, 1.0])).round(3)
    array([0.   , 8.645, 1.277])
    """
    t = np.asarray(time, float) - arrival
    after = np.maximum(t, 0)
    # a + 1, then b and T in min.
    shape, scale, period = 6.26700, 0.0320788, 0.128556
    # The gamma densities as logarithms: for late passes both factors would overflow.
    # Only the passes that have begun by the last time.
    passes = np.arange(1, int(after.max(initial=0) / period) + 2)
    since = np.maximum(after[..., None] - (passes - 1) * period, 0)
    order = passes * shape
    with np.errstate(divide="ignore"):
        logarithm = (order - 1) * np.log(since / scale) - since / scale - gammaln(order)
    bolus = np.exp(logarithm).sum(axis=-1) / scale
    amount, rate = np.array([0.374336, 0.331180, 10.0614]), np.array([0.112708, 1.17474, 16.0201])
    result: Array = (amount * np.exp(-rate * after[..., None])).sum(axis=-1) * bolus
    return result


POPULATION: dict[str, Callable[[ArrayLike, float], Array]] = {
    "parker2006": parker2006,
    "georgiou2019": georgiou2019,
}
"""Named population functions: ``function(time min, arrival min) -> blood mM``."""


def plasma_from_blood(blood: ArrayLike, haematocrit: float) -> Array:
    """Return the plasma concentration, ``blood / (1 - haematocrit)``.

    Parameters
    ----------
    blood : (N,) array, mM
    haematocrit : float
        Fraction of the blood that is cells.

    Returns
    -------
    (N,) array, mM

    Raises
    ------
    FitError
        If the haematocrit is not a fraction below one.

    References
    ----------
    Tofts et al., J Magn Reson Imaging 1999,
    doi:10.1002/(SICI)1522-2586(199909)10:3<223::AID-JMRI2>3.0.CO;2-S.

    Examples
    --------
    >>> plasma_from_blood([0.58], 0.42)
    array([1.])
    """
    if not 0 <= haematocrit < 1:
        raise FitError(f"the haematocrit is a fraction from 0 to below 1, got {haematocrit:g}")
    result: Array = np.asarray(blood, float) / (1 - haematocrit)
    return result


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


def _fit_knee(curve: ArrayLike) -> tuple[float, int]:
    """Return where a line that is flat, then rises, bends (in frames), and its last frame."""
    y = np.asarray(curve, float)
    end = rise_frame(y)
    if end >= 2:
        bends = np.arange(_STEP, end - _STEP / 2, _STEP)
        ramps = np.maximum(np.arange(end + 1) - bends[:, None], 0)
        bend = float(bends[np.argmin(_least_residual(ramps, y[: end + 1]))])
        if _is_clear(y, int(bend) + 1, end):
            return bend, end
    raise FitError(
        f"no frame before the bolus: of {len(y)} frames number {end + 1} is the first near the "
        "highest, without a baseline before it or a rise that is clear of the noise and lasts; "
        "give the frames with --baseline-frames"
    )


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
    the smoothed curve has completed seven tenths of its rise. A quarter of the time from the bend
    to that frame is also left out before the bend, since a bolus starts to rise more slowly than a
    straight line.

    References
    ----------
    Cheong, Koh and Hou, Phys Med Biol 2003, doi:10.1088/0031-9155/48/5/403.

    Examples
    --------
    >>> find_baseline_frames([1, 1.1, 0.9, 1, 1, 4, 9, 6, 5])
    4
    """
    bend, end = _fit_knee(curve)
    frames = int(np.floor(max(bend - (end - bend) / 4, 0))) + 1
    return frames - 1 if frames >= 3 else frames


def arrival_time(curve: ArrayLike, time: ArrayLike) -> float:
    """Return when a curve begins to rise, between the frames.

    Parameters
    ----------
    curve : (N,) array
        Signal or concentration.
    time : (N,) array, min

    Returns
    -------
    float, min

    Raises
    ------
    FitError
        If the curve never rises clear of its noise, or rises from the first frame.

    Notes
    -----
    The bend of the line that `find_baseline_frames` fits.

    References
    ----------
    Cheong, Koh and Hou, Phys Med Biol 2003, doi:10.1088/0031-9155/48/5/403.

    Examples
    --------
    >>> round(arrival_time([1, 1, 1, 1, 1, 4, 9, 6, 5], range(9)), 2)
    4.4
    """
    moments = np.asarray(time, float)
    return float(np.interp(_fit_knee(curve)[0], np.arange(len(moments)), moments))


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
    rising line, and with one more frame: with frames 5 s apart, too few lie on the rise to fit its
    form. For each of many arrivals, offset and scale follow by linear least squares; the arrival
    with the smallest residual is returned.

    References
    ----------
    Cheong, Koh and Hou, Phys Med Biol 2003, doi:10.1088/0031-9155/48/5/403.

    Examples
    --------
    >>> time = np.arange(40) * 5.2 / 60
    >>> round(fit_arrival(parker2006, 3 + 10 * parker2006(time, 0.61), time), 2)
    0.61
    """
    y, moments = np.asarray(curve, float), np.asarray(time, float)
    bend, end = (baseline_frames, rise_frame(y)) if baseline_frames else _fit_knee(y)
    seen = slice(0, max(end, baseline_frames) + 2)
    frames = np.arange(len(moments))
    # Candidates every 0.1 s, from three frames before the bend, as a bolus rises more slowly at
    # first than a straight line, to the end of the rise.
    first, last = np.interp([bend - _FRAMES_BEFORE_BEND, max(end, bend + 1)], frames, moments)
    arrivals = np.arange(min(first, last - _SHORTEST_RANGE), last, 0.1 / 60)
    shapes = np.stack([shape(moments[seen], float(a)) for a in arrivals])
    return float(arrivals[np.argmin(_least_residual(shapes, y[seen]))])
