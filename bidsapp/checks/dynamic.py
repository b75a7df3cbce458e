"""Whether the frames of a dynamic series are one course: steady first, smooth after the bolus."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from bidsapp.checks.finding import Finding, list_volumes
from bidsapp.checks.head import FEWEST, Array, log_signals, sample_voxels
from bidsapp.checks.steps import (
    Run,
    abrupt_changes,
    bolus_frame,
    find_runs,
    gain_changes,
    lasting_change,
    vanishing_frame,
)

_UNSTEADY = 0.03
"""Relative difference of a first frame from the baseline that is too large."""
_SCATTERS = 5.0
"""How many times larger than the scatter of the baseline it must be, too."""
_FEWEST_BASELINE = 2
"""Frames before the bolus that must remain if others are left out."""
_MOST_LISTED = 6
"""First frames whose deviations are listed, at most."""
_MOST_UNSTEADY = 6
"""First frames that are left out, at most, unless the change after them is shared by all tissue."""
_PERIODS = (2, 3, 4)
"""Numbers of images that may alternate in a file: echoes, or magnitude and phase."""
_ALTERNATION = 0.03
"""Difference between alternating frames that is reported."""
_ECHOES = 0.10
"""Difference between alternating frames above which they cannot be one series."""
_EXPLAINED = 0.8
"""Share of the frames' scatter that an alternation must explain."""
_SPIKE = 0.08
"""Difference of a few frames from those before and after that is too large, away from the bolus."""
_MOST_ODD = 4
"""Consecutive frames at another level that are taken for wrong; more are a step that lasts."""
_PATTERN = 0.05
"""Scatter over the head of the relative difference of a frame from its neighbours that is too
large: that of a ghost of about a tenth."""
_UNLIKE = 2.0
"""How many times larger than in other frames, and than between its neighbours, it must be, too."""
_STEP = 0.03
"""Change of the level of the signal that is reported if it lasts."""
_DARK = 0.05
"""Share of the voxels, the darkest ones, that are air in any image of a head."""
_OFFSET = (0.1, 0.4)
"""Signal of air relative to that of the head that matters, and above which it is tissue."""
_STEADY = 0.075
"""Scatter of a constant relative to its mean: 0.55 in noise, 0.087 in that of 32 coils."""
_SAME_MEAN = 0.002
"""Scatter of the means of all frames, relative, that is none; 0.07 in sound series."""
_BOLUS_FRAMES, _BOLUS_SECONDS = 9, 45.0
"""Frames after the arrival in which the signal may change quickly, and their shortest duration."""


def check_dynamic_signal(
    data: NDArray[np.float32], times: Sequence[float] | None = None
) -> list[Finding]:
    """Find frames whose signal cannot be that of a contrast agent.

    Parameters
    ----------
    data : (X, Y, Z, N) array
        The series as acquired.
    times : (N,) sequence, min, optional
        Of each frame; without them, frames are taken to be 5 s or more apart.

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
    if bolus_frame(logarithms) is not None and (found := _normalised(data)):
        return [found]
    course = median_course(logarithms)
    alternation, away = _alternation(course), _first_pass_frames(times)
    constant = _constant(data)
    if alternation is None:
        return [*constant, *_odd_frames(course, logarithms, away)]
    size = float(np.ptp(alternation))
    if size > _ECHOES:
        return [
            Finding(
                f"the signal of the head alternates with a period of {len(alternation)} frames, by "
                f"{100 * np.expm1(size):.0f} %: do echoes, or magnitude and phase, follow each "
                "other in this file? Write each as a series of its own",
                fatal=True,
            )
        ]
    found = Finding(
        f"the signal of the head alternates with a period of {len(alternation)} frames, by "
        f"{100 * np.expm1(size):.0f} %: check the reconstruction of the series"
    )
    repeated = np.resize(alternation, len(course))
    return [*constant, found, *_odd_frames(course - repeated, logarithms - repeated, away)]


def _normalised(data: NDArray[np.float32]) -> Finding | None:
    """Return a finding if all frames have one mean, which no contrast agent leaves as it is."""
    means = np.nanmean(data.reshape(-1, data.shape[3]), axis=0, dtype=float)
    if np.std(means) > _SAME_MEAN * np.mean(means):
        return None
    return Finding(
        f"all frames have the same mean of {np.mean(means):.4g} to {100 * _SAME_MEAN:g} %, "
        "although contrast agent arrives: each was normalised by itself, and the concentrations "
        "are lost; export the series without normalisation",
        fatal=True,
    )


def _constant(data: NDArray[np.float32]) -> list[Finding]:
    """Return a finding if the air around the head has a steady signal of more than noise."""
    voxels = sample_voxels(data)
    mean = voxels.mean(axis=1)
    if np.count_nonzero(mean > 0) < FEWEST / _DARK:
        return []
    dark = voxels[(mean > 0) & (mean <= np.quantile(mean[mean > 0], _DARK))]
    head = mean[mean > mean.mean()]
    share = float(dark.mean() / np.median(head[head >= np.median(head)]))
    if not _OFFSET[0] < share < _OFFSET[1] or dark.std() > _STEADY * dark.mean():
        return []
    return [
        Finding(
            f"the air around the head has a steady signal of {dark.mean():.3g}, {100 * share:.0f} "
            "% of that of the head: if a constant was added to the images, enhancement and Ktrans "
            "are too low; export the series without it"
        )
    ]


def _first_pass_frames(times: Sequence[float] | None) -> int:
    """Return the number of frames after the arrival in which the signal may change quickly."""
    if times is None or len(times) < 2:
        return _BOLUS_FRAMES
    return max(_BOLUS_FRAMES, int(np.ceil(_BOLUS_SECONDS / 60 / float(np.median(np.diff(times))))))


def median_course(logarithms: Array) -> Array:
    """Return the median over voxels (V, N) of the logarithm relative to that of the voxel, (N,)."""
    relative = logarithms - np.median(logarithms, axis=1, keepdims=True)
    course: Array = np.median(relative, axis=0)
    return course


def _alternation(course: Array) -> Array | None:
    """Return one period of an alternation of the frames, from the first frame on, or None."""
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
            return np.roll(typical, margin % period)
    return None


def _odd_frames(course: Array, logarithms: Array, away: int) -> Iterator[Finding]:
    """Yield what is wrong before the bolus, after it, and with the pattern of single frames."""
    rise = bolus_frame(logarithms)
    between = np.arange(len(course) - 1)
    quiet = np.ones(len(between), bool)
    if rise is not None:
        quiet = (between < rise) | (between >= rise + away)
    steps = abrupt_changes(course, quiet)
    if rise is not None and (frame := vanishing_frame(logarithms, steps, rise, away)):
        yield Finding(
            f"the contrast agent disappears at once at volume {frame + 1}: do two series, such as "
            "two echoes, follow each other in this file, or are its volumes out of order?",
            fatal=True,
        )
        return
    shared = gain_changes(logarithms, course)
    first, spikes = 0, dict[int, float]()
    if rise is not None and rise > 1:
        found, first, spikes = _before_bolus(course[: rise + 1], steps[:rise], shared[:rise])
        yield from found
    start = 0 if rise is None else rise + away
    if start < len(course) - 1:
        found, later = _after_bolus(course[start:], steps[start:], shared[start:], start)
        yield from found
        spikes |= later
    yield from _single_frames(spikes)
    usual = _frames_away_from_bolus(len(course), first, rise or 0, away)
    yield from _ghosts([t for t in _other_patterns(logarithms, usual) if t not in spikes])


def _before_bolus(
    course: Array, steps: Array, shared: NDArray[np.bool_]
) -> tuple[list[Finding], int, dict[int, float]]:
    """Return findings before the bolus, the number of first frames left out, and odd frames.

    The last two frames may contain contrast agent: a change to the first of them must be shared
    by all tissue, and one to the last is not judged. The frames before the bolus must
    have the gain of those after it, so that earlier ones are left out.
    """
    between = np.arange(len(steps))
    judged = (between < len(steps) - 2) | ((between == len(steps) - 2) & shared)
    runs = find_runs(np.where(judged, steps, 0.0), len(course) - 1)
    spikes = _odd_runs([run for run in runs if run.start > 0])
    prefix = next((run for run in runs if run.start == 0), None)
    stop = prefix.stop if prefix else 0
    baseline = [t for t in range(stop, len(course) - 1) if t not in spikes]
    if prefix and len(baseline) < _FEWEST_BASELINE:
        return [_gain_step(stop, -prefix.size, "before the contrast agent")], 0, spikes
    first = _unsteady_frames(course, baseline)
    # Without a change of the gain, so many frames are rather those before a bolus found too late.
    if len(first) > _MOST_UNSTEADY and not shared[len(first) - 1]:
        first = []
    return ([_left_out_first(first)] if first else []), len(first), spikes


def _left_out_first(first: list[float]) -> Finding:
    """Return the finding that the first frames are left out, with its probable reason."""
    volumes = tuple(range(len(first)))
    differ = f"{list_volumes(volumes)} {'differ' if len(first) > 1 else 'differs'}"
    if len(first) > 2 and np.ptp(first) < _UNSTEADY:
        reason = f"{100 * np.expm1(np.mean(first)):+.0f} %): the gain of the receiver changed"
    else:
        shown = [f"{100 * np.expm1(size):+.0f} %" for size in first]
        listed = ", ".join(shown if len(shown) <= _MOST_LISTED else [shown[0], "...", shown[-1]])
        reason = f"{listed}): the magnetisation was not yet steady"
    return Finding(
        f"{differ} from the other frames before the contrast agent ({reason}; left out "
        f"(--skip-frames {len(first)} does so without this warning)",
        volumes,
    )


def _after_bolus(
    course: Array, steps: Array, shared: NDArray[np.bool_], start: int
) -> tuple[list[Finding], dict[int, float]]:
    """Return steps of the gain after the bolus, and frames unlike those before and after them.

    A few frames at another level are wrong, also the last ones; more of them, or those from the
    end of the first pass on, follow or precede a change of the gain.
    """
    runs = find_runs(steps, None)
    odd = [run for run in runs if run.start > 0 and run.stop - run.start <= _MOST_ODD]
    found = []
    for run in runs:
        # A run from the first frame ends, all others begin, with the step.
        place = run.stop if run.start == 0 else run.start
        if run in odd or place == len(course) or not shared[place - 1]:
            continue
        size = lasting_change(course, place)
        if abs(size) > max(_STEP, abs(steps[place - 1]) / 2):
            found.append(_gain_step(start + place, size, "after the contrast agent"))
    spikes = _odd_runs(odd)
    return found, {start + t: size for t, size in spikes.items()}


def _gain_step(frame: int, size: float, where: str) -> Finding:
    """Return the warning that the gain changed."""
    return Finding(
        f"the signal of the whole head changes by {100 * np.expm1(size):+.0f} % at volume "
        f"{frame + 1}, {where}, also in tissue that does not enhance: the gain of the receiver "
        "or the scale of the images changed; concentrations are wrong by more than 10 % on one "
        "side of it"
    )


def _odd_runs(runs: list[Run]) -> dict[int, float]:
    """Return the frames of short runs, with the size, if it is large enough to leave them out."""
    return {
        t: run.size
        for run in runs
        if run.stop - run.start <= _MOST_ODD and abs(run.size) > _SPIKE
        for t in run.frames
    }


def _single_frames(spikes: dict[int, float]) -> Iterator[Finding]:
    """Yield the finding of frames that differ from those before and after."""
    if not spikes:
        return
    worst = max(abs(np.expm1(size)) for size in spikes.values())
    verb = "differ" if len(spikes) > 1 else "differs"
    yield Finding(
        f"{list_volumes(list(spikes))} {verb} from the frames before and after by up to "
        f"{100 * worst:.0f} % in the whole head; left out",
        tuple(sorted(spikes)),
    )


def _ghosts(ghosts: list[int]) -> Iterator[Finding]:
    """Yield the finding of frames with another pattern."""
    if not ghosts:
        return
    verb = "show" if len(ghosts) > 1 else "shows"
    yield Finding(
        f"{list_volumes(ghosts)} {verb} another pattern over the whole head than the frames "
        "before and after (a ghost, interference or a brief movement); left out",
        tuple(ghosts),
    )


def _other_patterns(logarithms: Array, frames: list[int]) -> list[int]:
    """Return frames whose signal is distributed over the head as in neither neighbour.

    After a motion of the head that lasts, the neighbours differ from each other as much as the
    frame from their mean; noise alone makes the latter larger by the square root of 3.
    """
    before, frame, after = logarithms[:, :-2], logarithms[:, 1:-1], logarithms[:, 2:]
    # The first and last frame have one neighbour only.
    change = np.pad(_scatter(frame - (before + after) / 2), 1)
    apart = np.pad(_scatter((after - before) / 2), 1)
    usual = float(np.median(change[frames])) if frames else 0.0
    return [t for t in frames if change[t] > max(_PATTERN, _UNLIKE * max(usual, apart[t]))]


def _scatter(differences: Array) -> Array:
    """Return the robust standard deviation over voxels (V, N), for each frame."""
    scatter: Array = 1.48 * np.median(np.abs(differences - np.median(differences, axis=0)), axis=0)
    return scatter


def _frames_away_from_bolus(count: int, first: int, rise: int, away: int) -> list[int]:
    """Return the frames with two neighbours that are steady and not around the bolus."""
    return [t for t in range(first + 1, count - 1) if not rise - 2 < t <= rise + away]


def _unsteady_frames(course: Array, baseline: list[int]) -> list[float]:
    """Return how much each of the first frames deviates from the baseline, until one does not.

    Parameters
    ----------
    course : (N,) array
        The frames before the bolus.
    baseline
        Frames of the same gain as the last one. The later half of them is taken to be steady.
    """
    if len(baseline) < _FEWEST_BASELINE:
        return []
    late = baseline[len(baseline) // 2 :] if len(baseline) > 3 else baseline[-2:]
    # The last frame may already contain contrast agent: the median of the others is the baseline.
    others = course[late[:-1] if len(late) > 2 else late[:1]]
    level = float(np.median(others))
    scatter = 1.48 * float(np.median(np.abs(others - level))) if len(others) > 1 else 0.0
    limit = max(_UNSTEADY, _SCATTERS * scatter)
    deviations: list[float] = []
    for value in course[: baseline[-_FEWEST_BASELINE]]:
        if abs(value - level) <= limit:
            break
        deviations.append(float(value - level))
    return deviations
