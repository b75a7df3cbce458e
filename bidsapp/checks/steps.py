"""Abrupt changes of the signal between the frames of a dynamic series, and the bolus."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bidsapp.checks.head import Array

_STEP = 0.03
"""Change of the head's signal from one frame to the next that is too large, away from the bolus."""
_SCATTERS = 5.0
"""How many times larger than the usual change between frames it must be, too."""
_TREND = 3
"""Changes on each side of a change that give the trend of the course."""
_SIDE = 4
"""Frames on each side of the bolus that are compared to find it."""
_FEWEST_AFTER = 3
"""Frames after the bolus, at least: the median of three ignores one that is wrong."""
_SMALLEST_RISE = 0.01
"""Relative rise at the bolus of well enhancing tissue above that of the head, at least."""
_CLEAR_RISE = 0.2
"""Such a rise is that of a bolus, also if the first pass is a large part of a short series."""
_ALIKE = 0.9
"""Share of the largest rise from which rises are taken to be as large."""
_ENHANCING = 95.0
"""Percentile of the change over the head that represents well enhancing tissue."""
_LEAST = 10.0
"""Percentile of the change over the head that represents tissue without enhancement."""
_SHARED = 0.75
"""Share of the median change that the least changing tissue must have if the gain changed.

About 0.55 in a brain without its skull during the first pass, where all tissue enhances."""
_ONSET = 0.1
"""Share of the rise of well enhancing tissue by which the bolus has begun from one frame on."""
_BEFORE = 0.35
"""Quantile of the level up to a bolus that may be found late which is that before it."""
_FEWEST_NEAR = 3
"""Changes that give a trend, at least: with fewer, one of them would decide it."""
_VOXELS = 5000
"""Voxels that are enough for percentiles of the change over the head."""


@dataclass(frozen=True)
class Run:
    """Consecutive frames whose level differs from that of the frames they are compared with.

    Attributes
    ----------
    start, stop
        The first frame, and the frame after the last one.
    size
        Difference of the logarithm of the signal from the reference.
    """

    start: int
    stop: int
    size: float

    @property
    def frames(self) -> list[int]:
        """All frames of the run."""
        return list(range(self.start, self.stop))


def bolus_frame(logarithms: Array) -> int | None:
    """Return the last frame before the bolus; None without one.

    The bolus is where well enhancing tissue rises most above the median of the head: a change
    of the gain raises both. Medians of several frames on both sides ignore single wrong frames,
    but may place it a few frames late: its onset is sought before.

    Parameters
    ----------
    logarithms : (V, N) array
        Logarithm of the signal of voxels of the head.
    """
    places, changes = _lasting_changes(logarithms)
    if not places:
        return None
    median = np.median(changes, axis=0)
    # Where the median falls, the first pass is over: what falls less does not rise.
    well = np.percentile(changes, _ENHANCING, axis=0) - np.maximum(median, 0)
    for rises in (well, median):
        above = rises - np.median(rises)
        usual = 1.48 * np.median(np.abs(above))
        if above.max() > min(max(_SMALLEST_RISE, _SCATTERS * usual), _CLEAR_RISE):
            # While the first pass lasts several differences are alike; the bolus is the first.
            first = int(np.flatnonzero(above > _ALIKE * above.max())[0])
            return _onset(_thin(logarithms), changes[:, first], places[first])
    return None


def _onset(voxels: Array, changes: Array, frame: int) -> int:
    """Return the last frame before voxels (V, N) with large changes rise more than the others.

    A change of the gain raises well and least enhancing tissue alike, so that their difference
    shows the contrast agent only.
    """
    most = voxels[changes >= np.percentile(changes, _ENHANCING)]
    least = voxels[changes <= np.percentile(changes, _LEAST)]
    course = np.median(most, axis=0) - np.median(least, axis=0)
    needed = _ONSET * float(np.ptp(np.percentile(changes, [_LEAST, _ENHANCING])))
    # Not the median: more than half of these frames may come after the arrival.
    level = np.quantile(course[: frame + 1], _BEFORE, method="nearest")
    while frame > 0 and course[frame] > level + needed:
        frame -= 1
    return frame


def vanishing_frame(logarithms: Array, steps: Array, rise: int, away: int) -> int | None:
    """Return the frame before which the contrast agent disappears at once, or None.

    This occurs where two series follow each other, or where parts of one are exchanged. Well
    enhancing tissue falls as far as it rises at the bolus, at least by half.

    Parameters
    ----------
    logarithms : (V, N) array
        Logarithm of the signal of voxels of the head.
    steps : (N - 1,) array
        Abrupt changes, as returned by `abrupt_changes`.
    rise
        The last frame before the bolus.
    away
        Frames after the bolus within which the first pass ends.
    """
    places, changes = _lasting_changes(logarithms)
    rises = np.percentile(changes, _ENHANCING, axis=0) - np.median(changes, axis=0)
    falls = np.median(changes, axis=0) - np.percentile(changes, 100 - _ENHANCING, axis=0)
    falls -= np.median(falls)
    needed = (rises - np.median(rises)).max() / 2
    found = {
        t + 1: fall
        for t, fall in zip(places, falls, strict=True)
        if fall > needed and steps[t] < 0 and not rise - _SIDE < t <= rise + away
    }
    return max(found, key=found.__getitem__) if found else None


def _lasting_changes(logarithms: Array) -> tuple[list[int], Array]:
    """Return frames, and the change of each voxel after each of them (V, frames)."""
    voxels = _thin(logarithms)
    places = list(range(1, voxels.shape[1] - _FEWEST_AFTER))
    changes = [
        np.median(voxels[:, t + 1 : t + 1 + _SIDE], axis=1)
        - np.median(voxels[:, max(0, t + 1 - _SIDE) : t + 1], axis=1)
        for t in places
    ]
    return places, np.stack(changes, axis=1) if changes else np.empty((len(voxels), 0))


def _thin(logarithms: Array) -> Array:
    """Return as many of the voxels (V, N) as percentiles need."""
    return logarithms[:: -(-len(logarithms) // _VOXELS)]


def abrupt_changes(course: Array, quiet: NDArray[np.bool_]) -> Array:
    """Return the change after each frame, (N - 1,), less the trend; zero where it is usual.

    Parameters
    ----------
    course : (N,) array
        The median course of the head, as a logarithm.
    quiet : (N - 1,) array of bool
        Changes outside the first pass of the bolus; the others are returned as zero.
    """
    changes = np.diff(course)
    places = np.arange(len(changes))
    trend = np.zeros(len(changes))
    for t in places:
        near = changes[quiet & (abs(places - t) <= _TREND) & (places != t)]
        trend[t] = np.median(near) if len(near) >= _FEWEST_NEAR else 0.0
    steps: Array = changes - trend
    usual = 1.48 * np.median(np.abs(steps[quiet])) if quiet.any() else 0.0
    steps[~quiet | (np.abs(steps) <= max(_STEP, _SCATTERS * usual))] = 0.0
    return steps


def lasting_change(course: Array, frame: int) -> float:
    """Return the change of a course at a frame, from medians of several frames on both sides."""
    after, before = course[frame : frame + _SIDE], course[max(0, frame - _SIDE) : frame]
    return float(np.median(after) - np.median(before))


def gain_changes(logarithms: Array, course: Array) -> NDArray[np.bool_]:
    """Return where the change after a frame is shared by all tissue, (N - 1,).

    At a bolus some of the tissue does not change: the percentile of the least changing voxels
    stays where noise has it between other frames.
    """
    changes = np.diff(_thin(logarithms), axis=1)
    low, high = np.percentile(changes, [_LEAST, 100 - _LEAST], axis=0)
    median = np.diff(course)
    least = np.where(median > 0, low - np.median(low), high - np.median(high))
    shared: NDArray[np.bool_] = least * np.sign(median) > _SHARED * np.abs(median)
    return shared


def find_runs(steps: Array, reference: int | None) -> list[Run]:
    """Return runs of frames at another level.

    Parameters
    ----------
    steps : (N - 1,) array
        Abrupt changes between N frames, zero elsewhere.
    reference
        The frame whose level is right; by default, the level of most frames is.
    """
    level = np.r_[0.0, np.cumsum(steps)]
    level -= np.median(level) if reference is None else level[reference]
    other = np.abs(level) > _STEP
    edges = np.flatnonzero(np.diff(np.r_[False, other, False].astype(int)))
    return [
        Run(int(a), int(b), float(level[a:b][np.argmax(np.abs(level[a:b]))]))
        for a, b in edges.reshape(-1, 2)
    ]
