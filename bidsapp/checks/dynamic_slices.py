"""Slices of a dynamic series that are empty, out of order, or change their scale."""

from collections.abc import Collection, Iterator

import numpy as np
from numpy.typing import NDArray

from bidsapp.checks.finding import Finding, list_volumes
from bidsapp.checks.head import Array
from bidsapp.checks.slices import (
    SliceSignals,
    abrupt_run,
    empty_slices,
    list_slices,
    sample_slices,
    shuffled_series,
    shuffled_slices,
    small_images,
    verb,
)
from bidsapp.checks.steps import bolus_frame

_STEP, _TIMES = 0.07, 4.0
"""Change of a slice relative to all slices, from frame to frame and from slice to slice, that is
too large, and how many times larger than in most slices; up to 0.06 in sound series."""
_BEFORE, _AFTER = 3, 9
"""Frames before and after the steepest rise in which slices may differ because of the bolus."""
_MOST_LEFT_OUT = 0.1
"""Share of the frames that may be left out."""
_LASTS = 3
"""Frames after a change that distinguish it from a brief one."""


def check_dynamic_slices(
    data: NDArray[np.float32], left_out: Collection[int] = ()
) -> list[Finding]:
    """Find slices whose signal changes unlike that of the other slices.

    Parameters
    ----------
    data : (X, Y, Z, N) array
        The series as acquired.
    left_out
        Frames that are not analysed.

    Returns
    -------
    list of Finding
        Empty if all slices are one course.
    """
    frames = np.setdiff1d(np.arange(data.shape[3]), list(left_out))
    present = data[..., frames] if left_out else data
    reference = np.arange(0, len(frames), 4)
    signals = sample_slices(present, reference)
    if len(signals.numbers) < 3 or len(frames) < 2 * _LASTS + 2:
        return []
    if order := shuffled_series(small_images(present[..., reference])):
        return [shuffled_slices(order)]
    empty = empty_slices(present, signals.numbers)
    rise = _bolus(signals)
    found = list(_empty_frames(empty, frames, rise))
    kept = np.setdiff1d(np.arange(len(frames)), list(empty))
    if rise is None:  # the bolus may be anywhere
        return found
    before = int(np.count_nonzero(kept < rise))
    return found + list(_changes(signals.without(list(empty)), frames[kept], before))


def _bolus(signals: SliceSignals) -> int | None:
    """Return the last frame before the bolus, as most slices show it; None without one.

    In all voxels together, a change of the gain of some slices may exceed the bolus.
    """
    found = [bolus_frame(logs) for logs in signals.logarithms]
    known = [frame for frame in found if frame is not None]
    return int(np.median(known)) if 2 * len(known) > len(found) else None


def _empty_frames(
    empty: dict[int, list[int]], frames: NDArray[np.int_], rise: int | None
) -> Iterator[Finding]:
    """Yield the frames with empty slices, which are left out if the bolus does not pass in them."""
    if not empty:
        return
    volumes = tuple(int(frames[t]) for t in empty)
    slices = sorted({z for numbers in empty.values() for z in numbers})
    text = f"{list_volumes(volumes)}: {list_slices(slices)} {verb(slices)} empty"
    passing = rise is not None and any(rise - _BEFORE <= t <= rise + _AFTER for t in empty)
    if passing or len(volumes) > _MOST_LEFT_OUT * len(frames):
        yield Finding(f"{text}: lesions there have no values; repair or crop the series")
    else:
        yield Finding(f"{text}; left out", volumes)


def _changes(signals: SliceSignals, frames: NDArray[np.int_], rise: int) -> Iterator[Finding]:
    """Yield the largest change of single slices away from the bolus, and how often there is one."""
    courses = slice_courses(signals)
    found = {}
    for t in range(courses.shape[1] - 1):
        if rise - _BEFORE <= t < rise + _AFTER:
            continue
        odd = _odd_slices(courses[:, t + 1] - courses[:, t])
        if odd.any() and not odd.all():
            found[t + 1] = odd
    if not found:
        return
    sizes = {t: _size(courses, odd, t) for t, odd in found.items()}
    worst = max(sizes, key=lambda t: abs(sizes[t]))
    slices = [int(z) for z in signals.numbers[found[worst]]]
    percent = 100 * np.expm1(sizes[worst])
    more = ", and in more volumes" if len(found) > 1 else ""
    yield Finding(
        f"{list_slices(slices)} {verb(slices, 'change', 'changes')} by {percent:+.0f} % at "
        f"volume {frames[worst] + 1}{more}, unlike the other slices: were slices scaled one "
        "by one, or is signal lost? Concentrations there are wrong by more than 10 %"
    )


def slice_courses(signals: SliceSignals) -> Array:
    """Return the median course of each slice relative to its own level, (S, N)."""
    courses: Array = np.array(
        [np.median(logs - np.median(logs, axis=1, keepdims=True), axis=0)
         for logs in signals.logarithms]
    )  # fmt: skip
    return courses


def _odd_slices(change: Array) -> NDArray[np.bool_]:
    """Return the slices whose change begins or ends abruptly along the slices."""
    usual = float(np.median(np.abs(np.diff(change))))
    least = max(_STEP, _TIMES * usual)
    # Of two halves that differ, the one that hardly changes is right.
    right = min(np.quantile(change, [0.25, 0.5, 0.75]), key=abs)
    return abrupt_run(change - right, least, least)


def _size(courses: Array, odd: NDArray[np.bool_], frame: int) -> float:
    """Return the change of the odd slices relative to the others, at a frame or lasting."""
    levels = np.median(courses[odd], axis=0) - np.median(courses[~odd], axis=0)
    after, before = levels[frame : frame + _LASTS], levels[max(frame - _LASTS, 0) : frame]
    lasting = float(np.median(after) - np.median(before))
    brief = float(levels[frame] - levels[frame - 1])
    return lasting if abs(lasting) > abs(brief) / 2 else brief
