"""Whether the frames of a dynamic series are one course: steady first, smooth after the bolus."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from bidsapp.checks.finding import Finding, list_volumes
from bidsapp.checks.head import FEWEST, Array, log_signals

_UNSTEADY = 0.03
"""Relative difference of a first frame from the baseline that is too large."""
_SCATTERS = 5.0
"""How many times larger than the scatter of the baseline it must be, too."""
_MOST_UNSTEADY = 6
"""First frames that may be out of the steady state, at most."""
_PERIODS = (2, 3, 4)
"""Numbers of images that may alternate in a file: echoes, or magnitude and phase."""
_ALTERNATION = 0.03
"""Difference between alternating frames that is too large."""
_EXPLAINED = 0.8
"""Share of the frames' scatter that an alternation must explain."""
_SPIKE = 0.10
"""Difference of a single frame from its neighbours that is too large, away from the bolus."""
_PATTERN = 0.05
"""Scatter over the head of the relative difference of a frame from its neighbours that is too
large: that of a ghost of about a tenth."""
_UNLIKE = 2.0
"""How many times larger than in other frames, and than between its neighbours, it must be, too."""
_SIDE = 4
"""Frames on each side of the bolus that are compared to find it."""
_SMALLEST_RISE = 0.01
"""Relative rise of the head's signal at the bolus, at least."""
_BOLUS_FRAMES = 8
"""Frames after the steepest rise in which the signal may change quickly."""


def check_dynamic_signal(data: NDArray[np.float32]) -> list[Finding]:
    """Find frames whose signal cannot be that of a contrast agent.

    Parameters
    ----------
    data : (X, Y, Z, N) array
        The series as acquired.

    Returns
    -------
    list of Finding
        Empty if the mean course of the head is steady before the bolus and smooth after it.

    Examples
    --------
    >>> course = np.r_[np.full(6, 100.0), 130, 150, 140, np.full(15, 125.0)]
    >>> data = np.broadcast_to(course, (8, 8, 4, 24)).astype(np.float32)
    >>> check_dynamic_signal(data)
    []
    >>> check_dynamic_signal(data * np.r_[1.5, np.ones(23)].astype(np.float32))[0].volumes
    (0,)
    """
    logarithms = log_signals(data, np.arange(0, data.shape[3], 4))
    if len(logarithms) < FEWEST:
        return []
    course = median_course(logarithms)
    if alternation := _alternation(course):
        period, size = alternation
        return [
            Finding(
                f"the signal of the head alternates with a period of {period} frames, by "
                f"{100 * np.expm1(size):.0f} %: do echoes, or magnitude and phase, follow each "
                "other in this file? Write each as a series of its own",
                fatal=True,
            )
        ]
    return list(_odd_frames(course, logarithms))


def median_course(logarithms: Array) -> Array:
    """Return the median over voxels (V, N) of the logarithm relative to that of the voxel, (N,)."""
    relative = logarithms - np.median(logarithms, axis=1, keepdims=True)
    course: Array = np.median(relative, axis=0)
    return course


def _alternation(course: Array) -> tuple[int, float] | None:
    """Return the period and the size of an alternation of the frames, or None."""
    for period in _PERIODS:
        if len(course) < 6 * period:
            continue
        # The mean over one period is free of the alternation; ends without a whole one are cut.
        weights = np.ones(period) / period
        if period % 2 == 0:  # centred on a frame, with half weights at both ends
            weights = np.r_[0.5, np.ones(period - 1), 0.5] / period
        margin = len(weights) // 2
        rest = course[margin : len(course) - margin] - np.convolve(course, weights, "valid")
        phase = np.arange(len(rest)) % period
        typical = np.array([np.median(rest[phase == p]) for p in range(period)])
        size = float(np.ptp(typical))
        scatter = np.median(np.abs(rest - typical[phase]))
        if size > _ALTERNATION and scatter < (1 - _EXPLAINED) * size:
            return period, size
    return None


def _odd_frames(course: Array, logarithms: Array) -> Iterator[Finding]:
    """Yield the frames before the steady state, and single ones unlike their neighbours."""
    rise = _bolus_frame(course)
    first = _unsteady_frames(course[:rise]) if rise else []
    if first:
        sizes = ", ".join(f"{100 * np.expm1(size):+.0f} %" for size in first)
        yield Finding(
            f"{list_volumes(range(len(first)))} {'differ' if len(first) > 1 else 'differs'} from "
            f"the other frames before the contrast agent ({sizes}): the magnetisation was not yet "
            f"steady; left out (--skip-frames {len(first)} does so without this warning)",
            tuple(range(len(first))),
        )
    spikes = _spikes(course, len(first), rise or 0)
    if spikes:
        worst = max(abs(np.expm1(size)) for size in spikes.values())
        verb = "differ" if len(spikes) > 1 else "differs"
        yield Finding(
            f"{list_volumes(list(spikes))} {verb} from the frames before and after by up to "
            f"{100 * worst:.0f} % in the whole head; left out",
            tuple(spikes),
        )
    ghosts = [t for t in _other_patterns(logarithms, len(first), rise or 0) if t not in spikes]
    if ghosts:
        verb = "show" if len(ghosts) > 1 else "shows"
        yield Finding(
            f"{list_volumes(ghosts)} {verb} another pattern over the whole head than the frames "
            "before and after (a ghost, interference or a brief movement); left out",
            tuple(ghosts),
        )


def _bolus_frame(course: Array) -> int | None:
    """Return the last frame before the bolus, from a rise that lasts; None without one.

    Medians of several frames on both sides ignore single frames that are wrong, as the first.
    """
    places = range(2, len(course) - 1)
    rises = [
        float(
            np.median(course[t + 1 : t + 1 + _SIDE])
            - np.median(course[max(0, t + 1 - _SIDE) : t + 1])
        )
        for t in places
    ]
    if not rises or max(rises) < _SMALLEST_RISE:
        return None
    return places[int(np.argmax(rises))]


def _spikes(course: Array, first: int, rise: int) -> dict[int, float]:
    """Return frames that differ from both neighbours, away from the bolus, and by how much."""
    jumps = np.zeros(len(course))
    jumps[1:-1] = course[1:-1] - (course[2:] + course[:-2]) / 2
    found = {}
    for frame in _frames_away_from_bolus(len(course), first, rise):
        # The neighbours of a spike deviate by half of it, in the other direction.
        largest = np.abs(jumps[frame - 1 : frame + 2]).max()
        if abs(jumps[frame]) > _SPIKE and abs(jumps[frame]) == largest:
            found[frame] = float(jumps[frame])
    return found


def _other_patterns(logarithms: Array, first: int, rise: int) -> list[int]:
    """Return frames whose signal is distributed over the head as in neither neighbour.

    After a motion of the head that lasts, the neighbours differ from each other as much as the
    frame from their mean; noise alone makes the latter larger by the square root of 3.
    """
    before, frame, after = logarithms[:, :-2], logarithms[:, 1:-1], logarithms[:, 2:]
    # The first and last frame have one neighbour only.
    change = np.pad(_scatter(frame - (before + after) / 2), 1)
    apart = np.pad(_scatter((after - before) / 2), 1)
    frames = _frames_away_from_bolus(len(change), first, rise)
    usual = float(np.median(change[frames])) if frames else 0.0
    return [t for t in frames if change[t] > max(_PATTERN, _UNLIKE * max(usual, apart[t]))]


def _scatter(differences: Array) -> Array:
    """Return the robust standard deviation over voxels (V, N), for each frame."""
    scatter: Array = 1.48 * np.median(np.abs(differences - np.median(differences, axis=0)), axis=0)
    return scatter


def _frames_away_from_bolus(count: int, first: int, rise: int) -> list[int]:
    """Return the frames with two neighbours that are steady and not around the bolus."""
    return [t for t in range(first + 1, count - 1) if not rise - 2 < t <= rise + _BOLUS_FRAMES]


def _unsteady_frames(course: Array) -> list[float]:
    """Return how much each of the first frames deviates from the baseline, until one does not.

    The course ends with the last frame before the steepest rise.
    """
    if len(course) < 3:
        return []
    late = course[len(course) // 2 :]
    # The last frame may already contain contrast agent: the median of the others is the baseline.
    level = float(np.median(late[:-1] if len(late) > 2 else late[:1]))
    scatter = 1.48 * float(np.median(np.abs(late[:-1] - level))) if len(late) > 2 else 0.0
    limit = max(_UNSTEADY, _SCATTERS * scatter)
    deviations: list[float] = []
    for value in course[: min(_MOST_UNSTEADY, len(course) - 2)]:
        if abs(value - level) <= limit:
            break
        deviations.append(float(value - level))
    return deviations
