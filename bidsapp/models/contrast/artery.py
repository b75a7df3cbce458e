"""Which voxels of a dynamic series are arterial: in a mask that was drawn, or anywhere."""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from bidsapp.errors import FitError
from bidsapp.models.contrast.aif import rise_frame, smooth
from bidsapp.models.contrast.enhancement import (
    Spgr,
    count_baseline_frames,
    enhancing_curve,
    to_concentration,
)
from bidsapp.models.solver.base import Array

Mask = NDArray[np.bool_]

FIRST_PASS = 15 / 60
"""How long the first pass lasts once it has risen, min."""
SHARE = 0.95
"""Rise of the signal of an artery's voxels, relative to their highest twentieth."""
FEWEST = 3
"""Voxels that are taken at the least, and voxels of the smallest cluster."""
EARLY = 3 / 60
"""By how much an artery's voxels may lag the earliest, min; veins lag by more."""

# Limits of `find_artery`; AUTO_RULE below names each of them.
_LOWEST_PEAK = 1.0  # mM
_LATE = 0.6  # mean of the late phase relative to the peak
_ROUGH = 0.15  # median second difference of the late phase relative to the peak
_DARK, _BRIGHT = 0.3, 2.0  # brightness at rest relative to the median of the head
_HIGHEST = 0.05  # part of the voxels that rise most

ROI_RULE = (
    "Of the voxels whose mean signal in the first pass is that of a concentration: those whose "
    "signal rises in the first pass, as a mean over the frames above half its peak, by at least "
    f"{SHARE:g} of the rise of the highest twentieth (at least {FEWEST} voxels), less three "
    f"standard errors of a voxel's, and reaches half its peak no later than {EARLY * 60:g} s after "
    f"the earliest twentieth of these; or the {FEWEST} highest, if those are fewer."
)
"""The rule of `select_arterial_voxels`, in words."""

AUTO_RULE = (
    f"Of the voxels that are {_DARK:g} to {_BRIGHT:g} times as bright before the bolus as the "
    f"median of the head (brighter is inflow or fat), the {_HIGHEST:.0%} that rise most until "
    f"{FIRST_PASS * 60:g} s after the rise; of these, those with a concentration in every frame, a "
    f"peak of at least {_LOWEST_PEAK:g} mM, a late phase below {_LATE:g} and noise below "
    f"{_ROUGH:g} of the peak, and half the peak reached no later than {EARLY * 60:g} s after the "
    f"earliest twentieth; of these, clusters of {FEWEST} or more that touch. {ROI_RULE}"
)
"""The rule of `find_artery`, in words."""


def _first_pass_frames(course: Array, time: Array, frames: int) -> slice:
    """Return the frames of the first pass: from the baseline to some time after the rise."""
    last = int(np.searchsorted(time, time[rise_frame(course)] + FIRST_PASS))
    return slice(frames, max(last, frames + FEWEST))


def _measure_first_pass(
    signal: Array, time: Array, frames: int, seen: slice
) -> tuple[Array, Array, float]:
    """Return the rise of each voxel's signal in the first pass, when half of it, and its error.

    The rise is a mean over the same frames for all, those where the top tenth is above half its
    peak: a voxel's highest frame would be its noise as much as its blood.
    """
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
    """Return which voxels rise soon after the earliest twentieth (at least three) of some."""
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
    """Return which voxels of an arterial region are inside the artery, not beside it.

    Parameters
    ----------
    signal : (V, N) array
        The region's voxels.
    time : (N,) array, min
    t1_blood : float, s
    spgr
        The acquisition.
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
    `ROI_RULE`. The mean over the same frames decides, not a voxel's highest one, and all voxels
    close to the top are taken, not the few highest: so noise is not taken for height.

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
    taken[usable] = _select_purest(voxels[usable], moments, frames, seen)
    return taken


def _select_purest(signal: Array, time: Array, frames: int, seen: slice) -> Mask:
    """Apply `ROI_RULE` to physical signals (V, N)."""
    height, half, error = _measure_first_pass(signal, time, frames, seen)
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
    """Return the arterial voxels of a whole dynamic series.

    Parameters
    ----------
    signal : (X, Y, Z, N) array
    time : (N,) array, min
    t1_blood : float, s
    spgr
        The acquisition.
    baseline_frames
        Frames before the bolus; 0 to find them.

    Returns
    -------
    (X, Y, Z) array of bool

    Raises
    ------
    FitError
        If no bolus is found, or no cluster of voxels is like an artery.

    Notes
    -----
    `AUTO_RULE`: the criteria of Mouridsen et al. (large area, little irregularity, early and
    narrow first pass), as limits in place of a random start of clusters, so that the same series
    always gives the same voxels.

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
    course = enhancing_curve(series)
    frames = count_baseline_frames(course, baseline_frames)
    seen = _first_pass_frames(course, moments, frames)
    place = _select_rising(series, frames, seen)
    blood = to_concentration(smooth(series[place]), frames, t1_blood, spgr)
    like = _resembles_artery(blood, seen)
    _, half, _ = _measure_first_pass(series[place], moments, frames, seen)
    if like.any():
        like &= _is_early(half, like)
    where = np.zeros(series.shape[:-1], bool)
    where[place] = like
    where = _keep_clusters(where)
    if not where.any():
        raise FitError(
            f"no artery was found: of {place.sum()} voxels that rise most in the first pass, "
            f"{like.sum()} are like an artery, and no {FEWEST} of these touch; draw an AIF mask "
            "(--aif roi) or choose a population function (--aif parker2006)"
        )
    where[where] = _select_purest(series[where], moments, frames, seen)
    return where


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


def _resembles_artery(blood: Array, seen: slice) -> Mask:
    """Return which smoothed concentrations (V, N) are as high, brief and even as an artery's."""
    like = np.asarray(np.isfinite(blood).all(axis=1), bool)
    peak = np.nan_to_num(blood[:, seen]).max(axis=1)
    # The late phase is the second half of the frames after the first pass. Second differences are
    # those of noise: a steady washout has none.
    late = blood[:, (seen.stop + blood.shape[1]) // 2 :]
    rough = np.median(np.abs(np.diff(late, n=2, axis=1)), axis=1)
    like &= (peak >= _LOWEST_PEAK) & (late.mean(axis=1) < _LATE * peak) & (rough < _ROUGH * peak)
    return like


def _keep_clusters(mask: Mask) -> Mask:
    """Return the voxels that touch enough others, at faces, edges or corners."""
    labels, _ = ndimage.label(mask, np.ones((3,) * mask.ndim))
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    result: Mask = sizes[labels] >= FEWEST
    return result
