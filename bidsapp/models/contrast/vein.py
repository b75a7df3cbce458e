"""Scaling of a measured artery to a venous sinus, which is free of partial volume and inflow."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike
from scipy import optimize

from bidsapp.errors import FitError
from bidsapp.models.contrast.artery import (
    SHARE,
    Mask,
    keep_clusters,
    measure_first_pass,
    resembling_blood,
)
from bidsapp.models.contrast.enhancement import Spgr, count_baseline_frames, to_concentration
from bidsapp.models.solver.base import Array

EARLIEST, LATEST = 2 / 60, 20 / 60
"""Delay of a venous voxel relative to the artery, min."""
FEWEST = 10
"""Smallest number of voxels of a vein."""
PLAUSIBLE = (0.8, 2.5)
"""Plausible area of a vein relative to that of a measured artery."""
LARGEST_ERROR = 0.15
"""Largest standard error of that ratio, relative to it, which is not reported."""

_SHARES = np.geomspace(1, 0.1, 40)
"""Shares of enhancing blood that are tried."""

VEIN_RULE = (
    "Venous voxels are those that resemble blood, by the limits of --aif auto, and reach half "
    f"their peak {EARLIEST * 60:g} to {LATEST * 60:g} s after the artery, in clusters of {FEWEST} "
    "or more adjacent voxels; of these, the ones are averaged whose area under the concentration "
    f"curve is at least {SHARE:g} of that of the highest {FEWEST}, less three standard errors."
)
"""The rule of `find_vein`, in words."""
SCALE_RULE = (
    "The signal of the artery was taken to be that of blood and a constant part (tissue in its "
    "voxels, or blood that flows in), which was subtracted such that the areas under the two "
    "concentration curves are equal, up to the end of the series for the vein, and until the "
    "delay of the vein before it for the artery. An artery with a larger area than the vein, "
    "which is then the more diluted of the two, is used as measured."
)
"""The rule of `scale_to_vein`, in words."""


@dataclass(frozen=True)
class Vein:
    """The blood of the venous sinuses.

    Attributes
    ----------
    mask : (X, Y, Z) array of bool
        The averaged voxels.
    blood : (N,) array, mM
        Their concentration.
    error : float, mM min
        Standard error of the area under it, from the scatter between the voxels.
    delay : float, min
        After the artery, at half the peak.
    """

    mask: Mask
    blood: Array
    error: float
    delay: float


@dataclass(frozen=True)
class ScaledArtery:
    """The signal of an artery without its constant part.

    Attributes
    ----------
    signal : (N,) array
        That of the blood in the artery.
    share : float
        Of the signal before the bolus that is of this blood; 1 if the artery is used as measured.
    scale : float
        Area under the concentration curve of the vein relative to that of the artery as measured.
    error : float
        Standard error of `scale`, from the scatter between venous voxels and arterial noise.
    """

    signal: Array
    share: float
    scale: float
    error: float


def find_vein(
    signal: ArrayLike,
    time: ArrayLike,
    artery: ArrayLike,
    *,
    t1_blood: float,
    spgr: Spgr,
    baseline_frames: int = 0,
) -> Vein:
    """Find the venous sinuses of a dynamic series.

    Parameters
    ----------
    signal : (X, Y, Z, N) array
    time : (N,) array, min
    artery : (N,) array
        Mean signal of the arterial voxels.
    t1_blood : float, s
    spgr
        The acquisition; its flip angle is one number, or one per voxel.
    baseline_frames
        Frames before the bolus in the artery; 0 to find them.

    Returns
    -------
    Vein

    Raises
    ------
    FitError
        If no bolus or no vein is found.

    Notes
    -----
    See `VEIN_RULE`. Voxels are compared by the area under their concentration curve and not by
    their signal, which depends on the sensitivity of the receiver coil along the sinus.

    References
    ----------
    Foottit et al., Proc ISMRM 2010, 1719 (the sinus as a measure of errors of the artery).

    Examples
    --------
    >>> time = np.arange(40) * 5.2 / 60
    >>> artery, vein = (np.exp(-((time - t) / 0.1) ** 2) + 0.2 * (time > t) for t in (0.7, 0.8))
    >>> signal = np.full((20, 10, 4, 40), 100.0) + 10 * artery
    >>> signal[4:9, 3:5, 1:3] = 100 + 700 * vein
    >>> found = find_vein(signal, time, 100 + 300 * artery, t1_blood=1.65,
    ...                   spgr=Spgr(0.004, 0.26, 4.5))
    >>> int(found.mask.sum()), round(60 * found.delay)
    (20, 6)
    """
    series, moments = np.asarray(signal), np.asarray(time, float)
    frames = count_baseline_frames(np.asarray(artery, float), baseline_frames)
    rising, like, seen = resembling_blood(
        series, moments, t1_blood=t1_blood, spgr=spgr, baseline_frames=frames
    )
    half = measure_first_pass(np.vstack([artery, series[rising]]), moments, seen)[1]
    delay = half[1:] - half[0]
    like &= (delay >= EARLIEST) & (delay <= LATEST)
    mask = np.zeros(series.shape[:-1], bool)
    mask[rising] = like
    mask = keep_clusters(mask, FEWEST)
    if not mask.any():
        raise FitError(
            f"no vein was found: of {rising.sum()} voxels that rise most in the first pass, "
            f"{like.sum()} resemble blood and follow the artery by {EARLIEST * 60:g} to "
            f"{LATEST * 60:g} s, and no {FEWEST} of these touch; use the artery as measured "
            "(--aif-scale none), and check that it is no vein"
        )
    voxels = to_concentration(series[mask], frames, t1_blood, spgr.at(mask))
    areas = np.asarray(np.trapezoid(voxels, moments, axis=1))
    errors = _area_error(voxels, series[mask], moments, frames)
    pure = _is_pure(areas, float(np.median(errors)))
    mask[mask] = pure
    error = float(areas[pure].std(ddof=1) / np.sqrt(pure.sum())) if pure.sum() > 1 else np.inf
    mean = series[mask].mean(axis=0)
    half = measure_first_pass(np.vstack([artery, mean]), moments, seen)[1]
    angle = float(np.mean(spgr.at(mask).flip_angle))
    curve = to_concentration(mean, frames, t1_blood, replace(spgr, flip_angle=angle))
    return Vein(mask, curve, error, float(half[1] - half[0]))


def _is_pure(areas: Array, error: float) -> Mask:
    """Return which voxels have nearly the area of the highest ones; a missing area is not high."""
    known = np.nan_to_num(areas, nan=-np.inf)
    result: Mask = known >= SHARE * np.sort(known)[-FEWEST:].mean() - 3 * error
    return result


def _area_error(blood: Array, signal: Array, time: Array, frames: int) -> Array:
    """Return the standard error by noise of the area under concentrations (..., N) of signals."""
    # Second differences of the late half are those of noise, with 6 times its variance. An error
    # of the baseline changes every later frame, in proportion to its signal.
    late = slice(blood.shape[-1] // 2, None)
    noise = np.sqrt(np.nanmean(np.diff(blood[..., late], n=2) ** 2, axis=-1) / 6)
    rise = signal[..., frames:].mean(axis=-1) / signal[..., :frames].mean(axis=-1)
    n = blood.shape[-1] - frames
    step = (time[-1] - time[0]) / (len(time) - 1)
    result: Array = noise * step * np.sqrt(n + (n * rise) ** 2 / frames)
    return result


def scale_to_vein(
    artery: ArrayLike,
    time: ArrayLike,
    vein: Vein,
    *,
    t1_blood: float,
    spgr: Spgr,
    baseline_frames: int,
) -> ScaledArtery:
    """Subtract the part of an artery's signal that does not enhance, by the area of a vein.

    Parameters
    ----------
    artery : (N,) array
        Mean signal of the arterial voxels.
    time : (N,) array, min
    vein : Vein
    t1_blood : float, s
    spgr
        The acquisition in the artery.
    baseline_frames
        Frames before the bolus.

    Returns
    -------
    ScaledArtery

    Raises
    ------
    FitError
        If no constant part makes the areas equal.

    Notes
    -----
    See `SCALE_RULE`. The area under the concentration curve of blood is that of the vein, because
    the brain extracts next to nothing of the agent. A multiplication of the concentration would
    restore the area, but not the shape: tissue in the voxel lowers the peak, where the signal
    saturates, more than the late phase. With a share :math:`s` of the signal before the bolus,
    :math:`S_0`, from blood, the signal of this blood is :math:`S(t) - (1 - s) S_0`.

    References
    ----------
    Hansen et al., Proc ISMRM 2009, 1468 (limits of multiplication).

    Examples
    --------
    >>> from bidsapp.models.contrast.spgr import spgr_signal
    >>> time, spgr = np.arange(60) / 12, Spgr(0.004, 0.26, 4.5)
    >>> blood = 5 * np.exp(-(((time - 0.7) / 0.15) ** 2)) + (time > 0.7)
    >>> signal = spgr_signal(1 / 1.65 + 4.5 * blood, 0.004, 0.26)
    >>> vein = Vein(np.ones((1, 1, 1), bool), blood, error=0.0, delay=0.0)
    >>> found = scale_to_vein(signal + signal[0], time, vein, t1_blood=1.65, spgr=spgr,
    ...                       baseline_frames=4)
    >>> round(found.share, 3), round(found.scale, 2)
    (0.5, 2.76)
    """
    signal, moments = np.asarray(artery, float), np.asarray(time, float)
    rest = signal[:baseline_frames].mean()

    def blood(share: float) -> Array:
        return to_concentration(signal - (1 - share) * rest, baseline_frames, t1_blood, spgr)

    def area(share: float) -> float:
        return _area_until(blood(share), moments, moments[-1] - vein.delay)

    whole, measured = _area_until(vein.blood, moments, moments[-1]), area(1)
    share = 1.0 if whole <= measured else _solve_share(area, whole)
    noise = float(_area_error(blood(1), signal, moments, baseline_frames))
    scale = whole / measured
    error = scale * float(np.hypot(vein.error / whole, noise / measured))
    return ScaledArtery(signal - (1 - share) * rest, share, scale, error)


def _solve_share(area: Callable[[float], float], whole: float) -> float:
    """Return the share of blood with which the area of the artery is that of the vein."""
    reached = np.flatnonzero([area(share) >= whole for share in _SHARES])
    if not len(reached):
        raise FitError(
            f"the artery cannot be scaled to the vein: the area under the curve is {whole:.3g} "
            f"mM min in the vein and {area(1):.3g} in the artery, and no part of the artery's "
            "signal explains the difference; check both masks, or use --aif-scale none"
        )
    low, high = _SHARES[reached[0]], _SHARES[reached[0] - 1]
    return float(optimize.brentq(lambda share: area(share) - whole, low, high))


def _area_until(curve: Array, time: Array, end: float) -> float:
    """Return the area under a curve (N,) from its first frame to a time; NaN if a frame is."""
    inside = time < end
    times = np.append(time[inside], end)
    return float(np.trapezoid(np.append(curve[inside], np.interp(end, time, curve)), times))


def check_scale(scaled: ScaledArtery) -> list[str]:
    """Describe how the scaling of an artery to a vein is implausible, uncertain or not done.

    Examples
    --------
    >>> check_scale(ScaledArtery(np.ones(3), share=0.7, scale=1.4, error=0.1))
    []
    >>> check_scale(ScaledArtery(np.ones(3), share=0.2, scale=3.0, error=0.1))[0].split(",")[0]
    'the area of the vein is 3 times that of the artery'
    """
    found = []
    times = f"the area of the vein is {scaled.scale:.2g} times that of the artery"
    if scaled.scale < 1:
        found.append(f"{times}, which is the purer of the two and was used as measured")
    if not PLAUSIBLE[0] <= scaled.scale <= PLAUSIBLE[1]:
        found.append(
            f"{times}, plausible is {PLAUSIBLE[0]:g} to {PLAUSIBLE[1]:g}: check both masks"
        )
    if scaled.error > LARGEST_ERROR * scaled.scale:
        error = f"{100 * scaled.error / scaled.scale:.0f} %"
        found.append(f"{times}, with a standard error of {error}: too noisy for --aif-scale vein")
    return found
