"""Exact convolution of exponentials with a curve sampled at frames."""

import numpy as np
from numpy.typing import ArrayLike

from bidsapp.errors import FitError
from bidsapp.models.solver.base import Array


def convolve_exponential(time: ArrayLike, plasma: ArrayLike, rate: ArrayLike) -> Array:
    """Convolve a piecewise-linear curve with ``exp(-rate t)``, exactly.

    Parameters
    ----------
    time : (N,) array, min
        Ascending, evenly spaced or not.
    plasma : (N,) array, mM
        Linear between the times, and zero before the first; or one curve per rate, (..., N).
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
    Flouri et al., Magn Reson Med 2016, doi:10.1002/mrm.25991.

    Examples
    --------
    >>> import numpy as np
    >>> convolve_exponential([0, 1, 3], [1, 1, 1], 0.0)
    array([0., 1., 3.])
    """
    moments, curve, rates = (
        ascending_times(time),
        np.asarray(plasma, float),
        np.asarray(rate, float),
    )
    # y(t + dt) = exp(-rate dt) y(t) + dt (p(t) early + p(t + dt) late), as p is linear in between
    # (Flouri et al. 2016). The weights depend on the duration alone: one table for each duration
    # that occurs, which is one for evenly spaced frames.
    result = np.zeros((*rates.shape, len(moments)))
    steps = np.diff(moments)
    tables = {dt: (np.exp(-rates * dt), *_interval_weights(rates * dt)) for dt in np.unique(steps)}
    for i, dt in enumerate(steps):
        decay, early, late = tables[dt]
        before, after = curve[..., i] * dt, curve[..., i + 1] * dt
        result[..., i + 1] = decay * result[..., i] + before * early + after * late
    return result


def delayed_curves(
    time: ArrayLike, plasma: ArrayLike, rate: ArrayLike, delay: float
) -> tuple[Array, Array]:
    """Return a curve that arrives later, and its convolution with ``exp(-rate t)``, exactly.

    Parameters
    ----------
    time : (N,) array, min
    plasma : (N,) array, mM
        Linear between the times, zero before the first and constant after the last; or one curve
        per rate, (..., N).
    rate : (...) array, 1/min
    delay : float, min
        Negative for earlier.

    Returns
    -------
    plasma : (N,) or (..., N) array, mM
    convolution : (..., N) array, mM min

    Notes
    -----
    Both at ``t - delay``: the curve keeps its corners, which are then between the frames.

    Examples
    --------
    >>> curve, integral = delayed_curves([0, 1, 2], [0, 2, 2], 0.0, 0.5)
    >>> curve, integral
    (array([0., 1., 2.]), array([0.  , 0.25, 2.  ]))
    """
    moments, curve, rates = (
        ascending_times(time),
        np.asarray(plasma, float),
        np.asarray(rate, float),
    )
    if delay == 0:
        return curve, convolve_exponential(moments, curve, rates)
    # Interpolating the delayed curve at the frames would cut its corners. So the curve is convolved
    # on the frames and the delayed times together, where it is exactly linear in between, and
    # both are read at the delayed times. Before the first frame the curve is zero.
    wanted = moments - delay
    start = moments[0]
    every = np.unique(np.r_[moments, wanted[wanted > start]])
    known = np.apply_along_axis(lambda one: np.interp(every, moments, one), -1, curve)
    convolved = convolve_exponential(every, known, rates)
    before = wanted <= start
    index = np.searchsorted(every, np.maximum(wanted, start))
    return (
        np.where(before, np.where(wanted == start, curve[..., :1], 0.0), known[..., index]),
        np.where(before, 0.0, convolved[..., index]),
    )


def ascending_times(time: ArrayLike) -> Array:
    """Return frame times as an array.

    Raises
    ------
    FitError
        If they do not ascend.
    """
    t = np.asarray(time, float)
    if not (np.diff(t) > 0).all():
        raise FitError(f"frame times must ascend, got {t.tolist()}")
    return t


def _interval_weights(x: Array) -> tuple[Array, Array]:
    """Return the weights of an interval's two ends, for x = rate times duration.

    They are ``integral_0^1 (1-u) exp(-x(1-u)) du`` and ``integral_0^1 u exp(-x(1-u)) du``; below
    0.05 by their series, which is exact at zero.
    """
    # The closed forms divide differences of order x^2 by x^2; at x = 0.05 they and the series
    # agree to eleven digits.
    small = x < 0.05
    z = np.where(small, 1.0, x)
    decay = np.exp(-z)
    s = np.where(small, x, 0.0)
    return (
        np.where(
            small,
            1 / 2 - s / 3 + s**2 / 8 - s**3 / 30 + s**4 / 144 - s**5 / 840,
            (1 - decay * (1 + z)) / z**2,
        ),
        np.where(
            small,
            1 / 2 - s / 6 + s**2 / 24 - s**3 / 120 + s**4 / 720 - s**5 / 5040,
            (z - 1 + decay) / z**2,
        ),
    )
