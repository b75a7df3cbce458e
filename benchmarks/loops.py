"""The common approach: scipy's `curve_fit`, voxel by voxel."""

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import curve_fit
from scipy.signal import lfilter

from benchmarks.workload import Workload

Array = NDArray[np.float64]


def convolution(rate: float, time: Array, plasma: Array) -> Array:
    """Return the exact convolution of piecewise linear plasma with ``exp(-rate t)``."""
    step = time[1] - time[0]
    x = rate * step
    decay = np.exp(-x)
    if x < 0.01:
        early, late = 1 / 2 - x / 3 + x**2 / 8 - x**3 / 30, 1 / 2 - x / 6 + x**2 / 24 - x**3 / 120
    else:
        early, late = (1 - decay * (1 + x)) / x**2, (x - 1 + decay) / x**2
    kernel = step * np.array([late, early])
    nothing_before = [-kernel[0] * plasma[0]]
    return lfilter(kernel, [1, -decay], plasma, zi=nothing_before)[0]


def extended_tofts(data: Workload) -> dict[str, Array]:
    """Fit every curve by `curve_fit`, from one start, within bounds."""
    plasma = data.design["plasma"]

    def curve(time: Array, ktrans: float, ve: float, vp: float) -> Array:
        return ktrans * convolution(ktrans / ve, time, plasma) + vp * plasma

    bounds = ([0, 1e-3, 0], [5, 1, 1])
    found = [
        curve_fit(curve, data.design["time"], voxel, p0=[0.1, 0.2, 0.02], bounds=bounds)[0]
        for voxel in data.signal
    ]
    return dict(zip(("Ktrans", "ve", "vp"), np.transpose(found), strict=True))


def biexponential(data: Workload) -> dict[str, Array]:
    """Fit every signal by `curve_fit`, from one start, within bounds."""

    def decay(b: Array, s0: float, f: float, d: float, dstar: float) -> Array:
        return s0 * (f * np.exp(-b * dstar * 1e-2) + (1 - f) * np.exp(-b * d * 1e-3))

    bounds = ([0, 0, 0.01, 0.3], [np.inf, 1, 5, 20])
    start = [1, 0.1, 1, 2]
    found = [
        curve_fit(decay, data.design["bvalues"], s / s.max(), p0=start, bounds=bounds)[0]
        for s in data.signal
    ]
    _, f, d, dstar = np.transpose(found)
    return {"f": f, "D": d * 1e-3, "Dstar": dstar * 1e-2}
