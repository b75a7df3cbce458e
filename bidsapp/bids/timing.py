"""When the frames of a dynamic series were acquired, and its TR: from what its sidecar states."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import numpy.typing as npt

from bidsapp.bids.clocks import clock_seconds, since_first
from bidsapp.bids.records import FRAME_RANGE, TR_RANGE, Stated
from bidsapp.bids.sidecar import (
    acquisition_type,
    as_number,
    ascending_steps,
    quote_value,
    read_field,
    sidecar_name,
)
from bidsapp.errors import BadInput

FRAME_TIME, REPETITION_TIME = "--frame-time", "--repetition-time"
"""Options that replace what a sidecar states."""
BIDS_TIMES, BIDS_TR = "VolumeTiming", "RepetitionTimeExcitation"
"""Fields of BIDS with the start of each frame, and with the time between two excitations."""
_HEUDICONV = "time.samples.AcquisitionTime"
_LISTS = (BIDS_TIMES, "FrameTimesStart", _HEUDICONV)
"""Fields with the time of every frame; others state only an interval."""
_APART = 0.1
"""Relative difference above which two statements contradict each other."""
_EXACT = 0.005
"""Relative difference below which one number is another one in other units."""
_USUAL = (0.05, 0.95)
"""Quantiles between which the intervals of a series are, but for single pauses."""


@dataclass(frozen=True)
class GivenTiming:
    """What the user states: time between two frames, and TR, in s; None for that of the sidecar."""

    frame_time: float | None = None
    repetition_time: float | None = None


@dataclass(frozen=True)
class FrameTimes:
    """Start of each frame in s, the field or option that states it, and what contradicts it."""

    seconds: tuple[float, ...]
    source: str
    doubts: tuple[str, ...] = ()


def read_frame_times(
    metadata: Mapping[str, Any],
    image: Path,
    frames: int,
    *,
    header: float | None = None,
    acquired: tuple[str, Sequence[float]] | None = None,
    given: GivenTiming = GivenTiming(),
) -> FrameTimes:
    """Return the start of each frame from the first of the fields that state it.

    In this order: the option, the acquisition times of single images, ``VolumeTiming``,
    ``FrameTimesStart``, heudiconv's ``time.samples.AcquisitionTime``, ``RepetitionTime`` above
    0.2 s, and GE's ``TriggerDelayTime`` (ms, of the last frame after the first) / (n - 1).

    Parameters
    ----------
    metadata
        The metadata of the series.
    image
        The image, for messages.
    frames
        Number of frames.
    header : float, s, optional
        Interval in the header of the image (``pixdim[4]``), if it states one.
    acquired : tuple of str and sequence of float, s, optional
        Where the acquisition time of each frame is stated, and the times, if the frames are images
        of their own.
    given
        Timing that the user states.

    Raises
    ------
    BadInput
        If no field states the times, one of them is not plausible, or two contradict each other.

    Examples
    --------
    >>> fields = {"RepetitionTime": 5.2, "AcquisitionDuration": 15.6}
    >>> read_frame_times(fields, Path("a_dce.nii.gz"), 3)
    FrameTimes(seconds=(0.0, 5.2, 10.4), source='RepetitionTime', doubts=())
    """
    texts: list[str] = []
    frame_time = given.frame_time
    stated: dict[str, list[float]] = {}
    try:
        if acquired is not None:
            stated = {acquired[0]: _read_list(list(acquired[1]), acquired[0], image, frames)}
        stated |= dict(_stated_times(metadata, image, frames))
    except BadInput as error:
        if frame_time is None:
            raise
        texts.append(str(error).removeprefix(f"{sidecar_name(image)}: "))
    if frame_time is not None:
        stated = {FRAME_TIME: _regular(frame_time, frames)} | stated
    if not stated:
        raise _missing_times(metadata, image, frames)
    source, seconds = next(iter(stated.items()))
    if frames < 2:
        return FrameTimes(tuple(seconds), source)
    lists = (*_LISTS, FRAME_TIME, acquired[0] if acquired else "")
    texts += _contradictions(source, stated, lists)
    texts += [
        f"{name} states {interval:.4g} s"
        for name, interval in _durations(metadata, frames, seconds).items()
        if _apart(seconds, interval)
    ]
    texts += _milliseconds(metadata, frames, stated, given)
    if header is not None and _apart(seconds, header):
        texts.append(f"the header of {image.name} states {header:.4g} s (pixdim[4])")
    if texts and frame_time is None:
        raise _contradiction(image, source, seconds, texts)
    doubts = (
        f"{sidecar_name(image)}: {text}; {FRAME_TIME} {frame_time:g} is used" for text in texts
    )
    return FrameTimes(tuple(seconds), source, tuple(doubts))


def read_repetition_time(
    metadata: Mapping[str, Any], image: Path, repetition_time: float | None = None
) -> Stated:
    """Return the time between two excitations, s, and the field or option that states it.

    ``RepetitionTimeExcitation``, or else a ``RepetitionTime`` of at most 0.2 s of a 3D series,
    which cannot be the duration of a volume.

    Parameters
    ----------
    metadata
        The metadata of the image.
    image
        The image, for messages.
    repetition_time : float, s, optional
        That which the user states.

    Raises
    ------
    BadInput
        If no field states it, it is not plausible, or two fields contradict each other.

    Examples
    --------
    >>> fields = {"RepetitionTime": 0.004, "MRAcquisitionType": "3D"}
    >>> read_repetition_time(fields, Path("a_dce.nii.gz"))
    Stated(value=0.004, source='RepetitionTime')
    """
    if repetition_time is not None:
        return Stated(repetition_time, REPETITION_TIME)
    other = as_number(metadata.get("RepetitionTime"))
    short = (
        other is not None
        and TR_RANGE[0] < other <= TR_RANGE[1]
        and acquisition_type(metadata) == "3D"
    )
    if BIDS_TR not in metadata and other is not None and short:
        return Stated(other, "RepetitionTime")
    value = read_field(metadata, BIDS_TR, image, "seconds", *TR_RANGE, option=REPETITION_TIME)
    if other is not None and short and abs(other - value) > _APART * value:
        raise BadInput(
            f"{sidecar_name(image)}: {BIDS_TR} is {value:g} s, but RepetitionTime is {other:g} s; "
            f"correct or remove the wrong one, or give {REPETITION_TIME}",
            f"{REPETITION_TIME} <seconds>",
        )
    return Stated(value, BIDS_TR)


def is_of_ge(metadata: Mapping[str, Any]) -> bool:
    """Return whether an image was acquired with a scanner of GE."""
    return str(metadata.get("Manufacturer", "")).upper().startswith("GE")


def _stated_times(
    metadata: Mapping[str, Any], image: Path, frames: int
) -> Iterator[tuple[str, list[float]]]:
    """Yield each field that states the time of every frame, with the times in s."""
    for field in _LISTS[:2]:
        if (listed := metadata.get(field)) is not None:
            yield field, _read_list(listed, field, image, frames)
    if (clocks := _heudiconv_clocks(metadata)) is not None:
        yield _HEUDICONV, _read_list(since_first(clocks), _HEUDICONV, image, frames)
    volume = as_number(metadata.get("RepetitionTime"))
    if volume is not None and volume > TR_RANGE[1]:
        yield "RepetitionTime", _regular(_plausible(volume, "RepetitionTime", image), frames)
    trigger = as_number(metadata.get("TriggerDelayTime"))
    if trigger and is_of_ge(metadata) and frames > 1:
        field = f"TriggerDelayTime / {frames - 1}"
        interval = _plausible(trigger / 1000 / (frames - 1), field, image)
        yield field, _regular(interval, frames)


def _read_list(listed: Any, field: str, image: Path, frames: int) -> list[float]:
    """Return a list of s after checking its length, order and unit."""
    name = sidecar_name(image)
    seconds = [as_number(t) for t in listed] if isinstance(listed, list) else [None]
    times = [t for t in seconds if t is not None]
    if len(times) < len(seconds):
        raise BadInput(f"{name}: {field} is {quote_value(listed)}; it must be a list of seconds")
    remedy = "it must be the start of each frame in seconds"
    steps = ascending_steps(times, f"{name}: {field}", remedy)
    low, high = FRAME_RANGE
    if steps and not low <= median(steps) <= high:
        raise BadInput(
            f"{name}: {field} has intervals of {median(steps):g}, outside {low:g} to {high:g}; "
            + ("is it in seconds?" if field in _LISTS else "are these whole frames of one series?")
        )
    if len(times) != frames:
        raise BadInput(
            f"{name}: {field} has {len(times)} times, but the image has {frames} frames; there "
            "must be one time per frame"
        )
    return times


def _heudiconv_clocks(metadata: Mapping[str, Any]) -> list[float] | None:
    """Return the acquisition time of each frame that heudiconv has kept of DICOM."""
    found: Any = metadata
    for key in ("time", "samples", "AcquisitionTime"):
        found = found.get(key) if isinstance(found, Mapping) else None
    clocks = [clock_seconds(c) for c in found] if isinstance(found, list) else []
    known = [c for c in clocks if c is not None]
    return known if known and len(known) == len(clocks) else None


def _durations(metadata: Mapping[str, Any], frames: int, seconds: list[float]) -> dict[str, float]:
    """Return the interval that ``AcquisitionDuration`` implies, if it is that of the whole series.

    That of GE is not compared: it may be of another part of the examination. In BIDS the field is
    the duration of one volume, which is shorter than the interval or as long.
    """
    total = as_number(metadata.get("AcquisitionDuration"))
    if not total or is_of_ge(metadata):
        return {}
    if total <= (1 + _APART) * float(np.diff(seconds).max()):
        return {}
    return {f"AcquisitionDuration / {frames}": total / frames}


def _contradictions(
    source: str, stated: Mapping[str, Sequence[float]], lists: Sequence[str]
) -> Iterator[str]:
    """Yield how other fields contradict the times of a source: by interval, or frame by frame.

    Two lists are of the same frames, so that no time, from the first one on, may differ by more
    than half an interval: a pause is then at the same place in both.
    """
    seconds = np.asarray(stated[source]) - stated[source][0]
    limit = float(np.median(np.diff(seconds))) / 2
    for name, times in stated.items():
        interval = float(np.diff(times).mean())
        if name == source:
            continue
        if _apart(seconds, interval):
            yield f"{name} states {interval:.4g} s"
        elif source in lists and name in lists:
            other = np.asarray(times) - times[0]
            frame = int(np.abs(other - seconds).argmax())
            if abs(other[frame] - seconds[frame]) > limit:
                yield (
                    f"{name} differs from it by up to {abs(other[frame] - seconds[frame]):.4g} s "
                    f"(frame {frame + 1} starts at {seconds[frame]:.4g} and {other[frame]:.4g} s)"
                )


def _milliseconds(
    metadata: Mapping[str, Any],
    frames: int,
    stated: Mapping[str, Sequence[float]],
    given: GivenTiming,
) -> Iterator[str]:
    """Yield that ``RepetitionTime`` is TR in ms, where nothing confirms that it is of a frame."""
    repetition = given.repetition_time or as_number(metadata.get(BIDS_TR))
    if not repetition or stated.keys() - {FRAME_TIME} != {"RepetitionTime"}:
        return
    interval = stated["RepetitionTime"][1]
    duration = (as_number(metadata.get("AcquisitionDuration")) or 0) / frames
    if abs(duration / interval - 1) > _APART and abs(interval / repetition - 1000) < _EXACT * 1000:
        yield f"it is 1000 times TR ({repetition:g} s), so that it may be TR in ms"


def _apart(seconds: npt.ArrayLike, interval: float) -> bool:
    """Return whether an interval contradicts the times of the frames by more than 10 %.

    Where the intervals vary, only one of them can be stated, or their mean.
    """
    steps = np.diff(seconds)
    if not steps.size:
        return False
    usual = [*np.quantile(steps, _USUAL), steps.mean()]
    return not (1 - _APART) * min(usual) <= interval <= (1 + _APART) * max(usual)


def _contradiction(
    image: Path, source: str, seconds: Sequence[float], texts: Sequence[str]
) -> BadInput:
    """Return the error for fields that contradict each other."""
    how = "correct or remove the wrong one"
    if any("pixdim[4]" in text for text in texts):
        how = "correct the wrong one, or set pixdim[4] to 1 if it is not known"
    return BadInput(
        f"{sidecar_name(image)}: {source} has intervals of {np.median(np.diff(seconds)):.4g} s, "
        f"but {' and '.join(texts)}; {how}, or give {FRAME_TIME}",
        f"{FRAME_TIME} <seconds>",
    )


def _missing_times(metadata: Mapping[str, Any], image: Path, frames: int) -> BadInput:
    """Return the error for a series whose sidecar states no times."""
    total = as_number(metadata.get("AcquisitionDuration"))
    hint, value = "", "<seconds>"
    if total and FRAME_RANGE[0] <= total / frames <= FRAME_RANGE[1]:
        value = f"{total / frames:.4g}"
        hint = f" (AcquisitionDuration / {frames} frames is {value} s: is that the interval?)"
    return BadInput(
        f"{sidecar_name(image)}: {BIDS_TIMES} is missing; add the start of each frame in seconds, "
        f"or give {FRAME_TIME}, the seconds between two frames{hint}",
        f"{FRAME_TIME} {value}",
    )


def _plausible(interval: float, field: str, image: Path) -> float:
    """Return an interval in s after checking its unit."""
    low, high = FRAME_RANGE
    if low <= interval <= high:
        return interval
    raise BadInput(
        f"{sidecar_name(image)}: {field} is {interval:g} s, outside {low:g} to {high:g} for the "
        f"time between two frames; correct or remove it, or give {FRAME_TIME}",
        f"{FRAME_TIME} <seconds>",
    )


def _regular(interval: float, frames: int) -> list[float]:
    """Return times at equal intervals."""
    return [round(interval * n, 9) for n in range(frames)]
