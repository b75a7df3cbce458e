"""Selection of the arterial voxels of a dynamic series, within a drawn mask or anywhere."""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from bidsapp.errors import FitError
from bidsapp.models.contrast.arrival import rise_frame, smooth
from bidsapp.models.contrast.enhancement import (
    Spgr,
    count_baseline_frames,
    enhancing_curve,
    to_concentration,
)
from bidsapp.models.solver.base import Array

Mask = NDArray[np.bool_]

FIRST_PASS = 15 / 60
"""Duration of the first pass after its rise, min."""
SHARE = 0.95
"""Smallest rise of the signal of an arterial voxel, relative to the highest twentieth."""
FEWEST = 3
"""Smallest number of selected voxels, and of voxels in a cluster."""
EARLY = 3 / 60
"""Largest delay of an arterial voxel relative to the earliest ones, min; veins are later."""

# Limits of `find_artery`; AUTO_RULE below names each of them.
_LOWEST_PEAK = 1.0  # mM
_LATE = 0.6  # mean of the late phase relative to the peak
_ROUGH = 0.15  # median second difference of the late phase relative to the peak
_DARK, _BRIGHT = 0.3, 2.0  # brightness at rest relative to the median of the head
_HIGHEST = 0.05  # part of the voxels that rise most

ROI_RULE = (
    "Of the voxels whose mean signal in the first pass corresponds to a concentration, those are "
    "selected whose signal rises in the first pass, averaged over the frames above half its peak, "
    f"by at least {SHARE:g} of the rise of the highest twentieth (at least {FEWEST} voxels) less "
    "three standard errors of the rise of a voxel, and reaches half its peak no later than "
    f"{EARLY * 60:g} s after the earliest twentieth of these; if they are fewer than {FEWEST}, the "
    f"{FEWEST} voxels that rise most."
)
"""The rule of `select_arterial_voxels`, in words."""

AUTO_RULE = (
    f"Of the voxels that are {_DARK:g} to {_BRIGHT:g} times as bright before the bolus as the "
    f"median of the head (brighter is inflow or fat), the {_HIGHEST:.0%} that rise most until "
    f"{FIRST_PASS * 60:g} s after the rise; of these, those with a concentration in every frame, a "
    f"peak of at least {_LOWEST_PEAK:g} mM, a late phase below {_LATE:g} and noise below "
    f"{_ROUGH:g} of the peak, which reach half the peak no later than {EARLY * 60:g} s after the "
    f"earliest twentieth; of these, clusters of {FEWEST} or more adjacent voxels. {ROI_RULE}"
)
"""The rule of `find_artery`, in words."""


def _first_pass_frames(course: Array, time: Array, frames: int) -> slice:
    """Return the frames of the first pass: from the baseline to some time after the rise."""
    last = int(np.searchsorted(time, time[rise_frame(course)] + FIRST_PASS))
    return slice(frames, max(last, frames + FEWEST))


def measure_first_pass(signal: Array, time: Array, seen: slice) -> tuple[Array, Array, float]:
    """Return the rise of each voxel's signal in the first pass, its half-peak time, and its error.

    The rise is a mean over the same frames for all voxels, those in which the top tenth is above
    half its peak: the maximum of a voxel would reflect its noise as much as its blood.
    """
    frames = seen.start  # before it
    rise = smooth(signal) - signal[:, :frames].mean(axis=1, keepdims=True)
    # Time of half the voxel's own peak, interpolated between the frames before and after it.
    half = rise[:, seen].max(axis=1) / 2
    up = np.argmax(rise[:, seen] >= half[:, None], axis=1) + seen.start
    rows, before = np.arange(len(rise)), np.maximum(up - 1, 0)
    low, high = rise[rows, before], rise[rows, up]
    part = np.clip((half - low) / np.where(high > low, high - low, np.inf), 0, 1)
    course = np.quantile(rise[:, seen], 0.9, axis=0)
    top = course >= course.max() / 2
    height = rise[:, seen][:, top].mean(axis=1)
    noise = float(np.median(signal[:, :frames].std(axis=1)))
    error = noise * np.sqrt(1 / top.sum() + 1 / frames)
    return height, time[before] + part * (time[up] - time[before]), error


def _is_early(half: Array, among: Mask) -> Mask:
    """Return which voxels rise soon after the earliest twentieth (at least three) of a subset."""
    few = max(FEWEST, int(np.ceil(0.05 * among.sum())))
    result: Mask = half <= np.sort(half[among])[:few].max() + EARLY
    return result


def select_arterial_voxels(
    signal: ArrayLike,
    time: ArrayLike,
    *,
    t1_blood: float,
    spgr: Spgr,
    baseline_frames: int = 0,
) -> Mask:
    """Select the voxels of an arterial region that lie inside the artery.

    Parameters
    ----------
    signal : (V, N) array
        The region's voxels.
    time : (N,) array, min
    t1_blood : float, s
    spgr
        The acquisition; its flip angle is one number, or one per voxel.
    baseline_frames
        Frames before the bolus; 0 to find them.

    Returns
    -------
    (V,) array of bool

    Raises
    ------
    FitError
        If no bolus is found, or no voxel has a physical concentration.

    Notes
    -----
    See `ROI_RULE`. The criterion is a mean over the same frames for all voxels, not the maximum of
    each, and all voxels close to the highest ones are selected, not a fixed number of them:
    otherwise noise would favour a voxel.

    References
    ----------
    After Mouridsen et al., Magn Reson Med 2006, doi:10.1002/mrm.20759.

    Examples
    --------
    >>> time = np.arange(40) * 5.2 / 60
    >>> course = np.exp(-((time - 0.7) / 0.1) ** 2) + 0.2 * (time > 0.7)
    >>> signal = 100 + np.outer([300, 300, 300, 100], course)
    >>> select_arterial_voxels(signal, time, t1_blood=1.65, spgr=Spgr(0.004, 0.26, 4.5))
    array([ True,  True,  True, False])
    """
    voxels, moments = np.asarray(signal, float), np.asarray(time, float)
    usable = np.asarray(np.isfinite(voxels).all(axis=1), bool)
    if not usable.any():
        raise FitError(f"none of the {len(voxels)} voxels of the artery has a finite signal")
    course = voxels[usable].mean(axis=0)
    frames = count_baseline_frames(course, baseline_frames)
    seen = _first_pass_frames(course, moments, frames)
    # Two samples per voxel, baseline and first pass: a single noisy frame must not decide whether a
    # signal is physical.
    means = np.stack([voxels[:, :frames].mean(axis=1), voxels[:, seen].mean(axis=1)], axis=1)
    blood = to_concentration(means, 1, t1_blood, spgr)[:, 1]
    usable &= np.isfinite(blood)
    if not usable.any():
        raise FitError(
            f"none of the {len(voxels)} voxels of the artery has a signal that a concentration "
            "gives in the first pass; check the AIF mask, the flip angle, TR and --t1-blood "
            f"({t1_blood:g} s)"
        )
    taken = usable.copy()
    taken[usable] = _select_purest(voxels[usable], moments, seen)
    return taken


def _select_purest(signal: Array, time: Array, seen: slice) -> Mask:
    """Apply `ROI_RULE` to physical signals (V, N)."""
    height, half, error = measure_first_pass(signal, time, seen)
    few = max(FEWEST, int(np.ceil(0.05 * len(signal))))
    order = np.argsort(-height, kind="stable")
    high: Mask = height >= SHARE * height[order[:few]].mean() - 3 * error
    taken: Mask = high & _is_early(half, high)
    if taken.sum() < FEWEST:
        taken[order[:FEWEST]] = True
    return taken


def find_artery(
    signal: ArrayLike,
    time: ArrayLike,
    *,
    t1_blood: float,
    spgr: Spgr,
    baseline_frames: int = 0,
) -> Mask:
    """Find the arterial voxels of a whole dynamic series.

    Parameters
    ----------
    signal : (X, Y, Z, N) array
    time : (N,) array, min
    t1_blood : float, s
    spgr
        The acquisition; its flip angle is one number, or one per voxel.
    baseline_frames
        Frames before the bolus; 0 to find them.

    Returns
    -------
    (X, Y, Z) array of bool

    Raises
    ------
    FitError
        If no bolus is found, or no cluster of voxels resembles an artery.

    Notes
    -----
    See `AUTO_RULE`: the criteria of Mouridsen et al. (large area, little irregularity, early and
    narrow first pass) as thresholds, instead of a cluster analysis with a random start, so that the
    same series always gives the same voxels.

    References
    ----------
    Mouridsen et al., Magn Reson Med 2006, doi:10.1002/mrm.20759.
    Peruzzo et al., Comput Methods Programs Biomed 2011, doi:10.1016/j.cmpb.2011.02.012.

    Examples
    --------
    >>> time = np.arange(40) * 5.2 / 60
    >>> course = np.exp(-((time - 0.7) / 0.1) ** 2) + 0.2 * (time > 0.7)
    >>> share = np.full((10, 10, 1), 0.02)
    >>> share[4, 3:7] = 1
    >>> signal = 100 + 700 * share[..., None] * course
    >>> found = find_artery(signal, time, t1_blood=1.65, spgr=Spgr(0.004, 0.26, 4.5))
    >>> np.argwhere(found)[:, 1]
    array([3, 4, 5, 6])
    """
    series, moments = np.asarray(signal), np.asarray(time, float)
    place, like, first_pass = resembling_blood(
        series, moments, t1_blood=t1_blood, spgr=spgr, baseline_frames=baseline_frames
    )
    _, half, _ = measure_first_pass(series[place], moments, first_pass)
    if like.any():
        like &= _is_early(half, like)
    where = np.zeros(series.shape[:-1], bool)
    where[place] = like
    where = keep_clusters(where, FEWEST)
    if not where.any():
        raise FitError(
            f"no artery was found: of {place.sum()} voxels that rise most in the first pass, "
            f"{like.sum()} resemble an artery, and no {FEWEST} of these touch; draw an AIF mask "
            "(--aif roi) or choose a population function (--aif parker2006)"
        )
    where[where] = _select_purest(series[where], moments, first_pass)
    return where


def resembling_blood(
    series: Array, time: Array, *, t1_blood: float, spgr: Spgr, baseline_frames: int
) -> tuple[Mask, Mask, slice]:
    """Return the voxels that rise most, which of these resemble blood, and the first pass.

    Parameters
    ----------
    series : (X, Y, Z, N) array
    time : (N,) array, min
    t1_blood : float, s
    spgr
        The acquisition.
    baseline_frames
        Frames before the bolus; 0 to find them.

    Returns
    -------
    rising : (X, Y, Z) array of bool
        V voxels that are neither dark nor bright at rest, and rise most in the first pass.
    like : (V,) array of bool
        Those with a concentration as high, brief and smooth as that of blood.
    first_pass : slice
        Its frames; it starts after the baseline.

    Raises
    ------
    FitError
        If no bolus is found, or no voxel has a signal above zero.
    """
    course = enhancing_curve(series)
    frames = count_baseline_frames(course, baseline_frames)
    seen = _first_pass_frames(course, time, frames)
    rising = _select_rising(series, frames, seen)
    blood = to_concentration(smooth(series[rising]), frames, t1_blood, spgr.at(rising))
    return rising, _resembles_blood(blood, seen), seen


def _select_rising(series: Array, frames: int, seen: slice) -> Mask:
    """Return the voxels, neither dark nor bright at rest, that rise most in the first pass."""
    rest = series[..., :frames].mean(axis=-1)
    rise = series[..., seen].mean(axis=-1) - rest
    usable = np.isfinite(series).all(axis=-1) & (series > 0).all(axis=-1)
    if not usable.any():
        raise FitError("no artery was found: no voxel has a signal above zero in every frame")
    # Air around the head would lower the median.
    head = usable & (rest > 0.1 * np.quantile(rest[usable], 0.98))
    median = np.median(rest[head])
    usable &= (rest > _DARK * median) & (rest < _BRIGHT * median)
    result: Mask = usable & (rise >= np.quantile(rise[usable], 1 - _HIGHEST))
    return result


def _resembles_blood(blood: Array, seen: slice) -> Mask:
    """Return which smoothed concentrations (V, N) are as high, brief and smooth as in blood."""
    like = np.asarray(np.isfinite(blood).all(axis=1), bool)
    peak = np.nan_to_num(blood[:, seen]).max(axis=1)
    # The late phase is the second half of the frames after the first pass. Second differences are
    # those of noise: a steady washout has none.
    late = blood[:, (seen.stop + blood.shape[1]) // 2 :]
    rough = np.median(np.abs(np.diff(late, n=2, axis=1)), axis=1)
    like &= (peak >= _LOWEST_PEAK) & (late.mean(axis=1) < _LATE * peak) & (rough < _ROUGH * peak)
    return like


def keep_clusters(mask: Mask, fewest: int) -> Mask:
    """Return the voxels of clusters of at least some voxels that touch, also at edges or corners.

    Examples
    --------
    >>> keep_clusters(np.array([True, True, False, True]), 2)
    array([ True,  True, False, False])
    """
    labels, _ = ndimage.label(mask, np.ones((3,) * mask.ndim))
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    result: Mask = sizes[labels] >= fewest
    return result
