"""A dynamic series that is stored as one image per frame: its order in time, and its image."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from bidsapp.bids.clocks import clock_seconds, since_first
from bidsapp.bids.contrast_agents import find_agent, stated_agent
from bidsapp.bids.grids import grid_difference, has_other_axes
from bidsapp.bids.images import UNREADABLE
from bidsapp.bids.index import IndexedFile, has_one_volume, image_path
from bidsapp.bids.records import Dynamic
from bidsapp.bids.sidecar import as_number, quote_value, sidecar_name
from bidsapp.bids.timing import FRAME_TIME, is_of_ge
from bidsapp.errors import BadInput

_PER_FRAME = ("run", "acquisition", "reconstruction")
"""Entities that converters give to the frames of a series."""
_CLOCKS = ("AcquisitionTime", "AcquisitionDateTime")
_SAME = (
    *("FlipAngle", "EchoTime", "RepetitionTime", "RepetitionTimeExcitation"),
    *("MagneticFieldStrength", "SeriesDescription"),
)
"""Fields that are the same in all frames of a series, but for numbers in its description."""
_NOT_ONE = (
    "these are not frames of one series; choose one image with --bids-filter-file, or name them "
    "differently"
)
_SERIES = ("SeriesInstanceUID", "SeriesNumber")
"""Fields that are the same in all frames of a series, or another one in each."""


def is_stored_by_frame(found: Sequence[IndexedFile], frame_time: float | None = None) -> bool:
    """Return whether images are the frames of one series: one volume each, in a known order.

    Their names differ in a single entity, ``run``, ``acq`` or ``rec``.

    Parameters
    ----------
    found
        Several images of a session.
    frame_time : float, s, optional
        Time between two frames as the user states it.
    """
    return (
        len(found) > 1
        and bool(_numbering(found))
        and all(has_one_volume(Path(file.path)) for file in found)
        and _find_times(found, frame_time) is not None
    )


def how_to_time(found: Sequence[IndexedFile]) -> str:
    """Return what to state so that images of one volume each are joined as frames of a series."""
    texts = (
        f" ({name} in {sidecar_name(Path(file.path))} is {quote_value(value)}, which is no time "
        "such as 13:05:10.4)"
        for file in found
        for name, value in file.get_metadata().items()
        if name in _CLOCKS and clock_seconds(value) is None
    )
    return (
        f"add AcquisitionTime to the sidecar of each{next(texts, '')}, by which they are joined, "
        f"or give {FRAME_TIME} if they differ only in a number in order of time"
    )


def order_frames(
    found: Sequence[IndexedFile], frame_time: float | None = None
) -> tuple[tuple[Path, ...], tuple[str, list[float]] | None, dict[str, Any]]:
    """Return the frames of a series in order, where their times are stated, and their metadata.

    The times, in s, are those of acquisition, or of GE's trigger if all frames have one time of
    acquisition; with `frame_time` the numbers in the names suffice, and no times are returned.

    Raises
    ------
    BadInput
        If grids or settings of the frames differ, or two have the same time.
    """
    sidecars = {image_path(file, 3): file.get_metadata() for file in found}
    source, times = _find_times(found, frame_time) or ("", [])
    in_time = sorted(zip(times, sidecars, strict=True))
    images = [image for _, image in in_time]
    for (before, one), (after, other) in pairwise(in_time):
        if before == after:
            raise BadInput(
                f"{other.name}: was acquired at the same time as {one.name} (AcquisitionTime); a "
                "series of one image per frame needs the time of each: move the other images to "
                f"sourcedata/; if all have one time and numbers in order of time, give {FRAME_TIME}"
            )
    first = sidecars[images[0]]
    every = [sidecars[image] for image in images]
    each = [f for f in _SERIES if len({str(fields.get(f)) for fields in every}) == len(every)]
    same = [field for field in (*_SAME, *_SERIES) if field not in each]
    for image in images[1:]:
        _check_like_first(image, sidecars[image], images[0], first, same)
    acquired = (source, [seconds for seconds, _ in in_time]) if source else None
    whole = first | _agent_of(sidecars, images)
    whole.pop("TriggerDelayTime", None)  # of this frame, not of the series
    return tuple(images), acquired, whole


def _numbering(found: Sequence[IndexedFile]) -> str:
    """Return the only entity in which the names of images differ, if it may count frames."""
    entities = [file.entities for file in found]
    names = {name for one in entities for name in one}
    differ = [n for n in names if len({str(one.get(n)) for one in entities}) > 1]
    return differ[0] if len(differ) == 1 and differ[0] in _PER_FRAME else ""


def _find_times(
    found: Sequence[IndexedFile], frame_time: float | None
) -> tuple[str, list[float]] | None:
    """Return the field that states the time of each frame, and the times in s, or None.

    Without a field, numbers in the order of time.
    """
    fields = [file.get_metadata() for file in found]
    clocks = [clock for clock in map(_acquired, fields) if clock is not None]
    known = len(clocks) == len(found)
    if known and len(set(clocks)) > 1:
        return "AcquisitionTime of each image", since_first(clocks)
    if triggers := _triggers(fields):
        return "TriggerDelayTime of each image", triggers
    entity = _numbering(found)
    numbers = [re.search(r"\d+$", str(file.entities.get(entity))) for file in found]
    if frame_time is not None and entity and all(numbers):
        return "", [float(number[0]) for number in numbers if number]
    return ("AcquisitionTime of each image", since_first(clocks)) if known else None


def _triggers(fields: Sequence[Mapping[str, Any]]) -> list[float]:
    """Return the time of each frame after the first one, s, by GE's trigger; empty if unknown."""
    stated = [as_number(one.get("TriggerDelayTime")) for one in fields if is_of_ge(one)]
    times = [t / 1000 for t in stated if t is not None]
    if len(times) < len(fields) or len(set(times)) < len(times):
        return []
    return [round(t - min(times), 6) for t in times]


def _agent_of(sidecars: Mapping[Path, Mapping[str, Any]], images: Sequence[Path]) -> dict[str, str]:
    """Return the field with the contrast agent of frames, of which the first may state none."""
    stated = {image: stated_agent(sidecars[image]) for image in images}
    named = [(i, field, text) for i, (field, text) in stated.items() if text and find_agent(text)]
    for image, field, text in named[1:]:
        start, other_field, other = named[0]
        if find_agent(text) != find_agent(other):
            raise BadInput(
                f"{sidecar_name(image)}: {field} is {text!r}, but {other_field} is {other!r} in "
                f"{sidecar_name(start)}: {_NOT_ONE}"
            )
    return {field: text for _, field, text in named[:1]}


def stack_frames(series: Dynamic, path: Path) -> Dynamic:
    """Write the frames of a series as one image, and return the record with it.

    Parameters
    ----------
    series
        A series with `frames`.
    path
        Path of the image, with the extension ``.nii``.

    Raises
    ------
    BadInput
        If a frame cannot be read.
    """
    frames = []
    for frame in series.frames:
        try:
            data = np.asanyarray(nib.load(frame).dataobj, np.float32)
        except UNREADABLE as error:
            raise BadInput(f"{frame}: is damaged ({error}); copy or convert it again") from error
        frames.append(data.reshape(data.shape[:3]))
    like = nib.load(series.frames[0])
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(np.stack(frames, axis=-1), like.affine, _header(like)), path)
    return replace(series, image=path)


def _header(like: nib.Nifti1Image) -> nib.Nifti1Header:
    """Return the header of a frame, for data in float32."""
    header = like.header.copy()
    header.set_data_dtype(np.float32)
    header.set_slope_inter(1, 0)
    return header


def _acquired(metadata: Mapping[str, Any]) -> float | None:
    """Return the time of day at which an image was acquired, s."""
    times = (metadata.get(name) for name in _CLOCKS)
    return next((t for t in map(clock_seconds, times) if t is not None), None)


def _check_like_first(
    image: Path,
    fields: Mapping[str, Any],
    start: Path,
    first: Mapping[str, Any],
    same: Sequence[str],
) -> None:
    """Raise an error if a frame is not of the same series as the first one."""
    difference = grid_difference(image, start)
    if not difference and has_other_axes(image, start):
        difference = "its axes have another order or direction"
    if difference:
        raise BadInput(
            f"{image}: its grid is not that of {start.name}, the first frame: {difference}; leave "
            "out the image that is not of the series"
        )
    for field in same:
        here, there = fields.get(field), first.get(field)
        if field == "SeriesDescription":
            here, there = _without_numbers(here), _without_numbers(there)
        if here != there:
            raise BadInput(
                f"{sidecar_name(image)}: {field} is {quote_value(fields.get(field))}, but "
                f"{quote_value(first.get(field))} in {sidecar_name(start)}: "
                f"{_NOT_ONE}"
            )


def _without_numbers(description: Any) -> str:
    """Return a description without the numbers that scanners give to the frames of a series."""
    return re.sub(r"[\d.]+", "", str(description))
