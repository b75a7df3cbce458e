"""A dynamic series that is stored as one image per frame: its order in time, and its image."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from bidsapp.bids.contrast_agents import find_agent, stated_agent
from bidsapp.bids.grids import grid_difference, has_other_axes
from bidsapp.bids.images import UNREADABLE
from bidsapp.bids.index import IndexedFile, has_one_volume, image_path
from bidsapp.bids.records import Dynamic
from bidsapp.bids.sidecar import quote_value, sidecar_name
from bidsapp.bids.timing import clock_seconds, since_first
from bidsapp.errors import BadInput

_PER_FRAME = ("run", "acquisition", "reconstruction")
"""Entities that converters give to the frames of a series."""
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


def is_stored_by_frame(found: Sequence[IndexedFile]) -> bool:
    """Return whether images are the frames of one series: one volume each, at stated times.

    Their names differ in a single entity, ``run``, ``acq`` or ``rec``.
    """
    entities = [file.entities for file in found]
    names = {name for one in entities for name in one}
    differ = [n for n in names if len({str(one.get(n)) for one in entities}) > 1]
    return (
        len(found) > 1
        and len(differ) == 1
        and differ[0] in _PER_FRAME
        and all(has_one_volume(Path(file.path)) for file in found)
        and all(_acquired(file.get_metadata()) is not None for file in found)
    )


def order_frames(
    found: Sequence[IndexedFile],
) -> tuple[tuple[Path, ...], list[float], dict[str, Any]]:
    """Return the frames of a series in order of time, the time of each in s, and their metadata.

    Raises
    ------
    BadInput
        If grids or settings of the frames differ, or two have the same time.
    """
    sidecars = {image_path(file, 3): file.get_metadata() for file in found}
    clocks = [_acquired(fields) or 0.0 for fields in sidecars.values()]
    in_time = sorted(zip(since_first(clocks), sidecars, strict=True))
    images = [image for _, image in in_time]
    for (before, one), (after, other) in pairwise(in_time):
        if before == after:
            raise BadInput(
                f"{other.name}: was acquired at the same time as {one.name} (AcquisitionTime); a "
                "series of one image per frame needs the time of each: move the other images to "
                "sourcedata/"
            )
    first = sidecars[images[0]]
    every = [sidecars[image] for image in images]
    each = [f for f in _SERIES if len({str(fields.get(f)) for fields in every}) == len(every)]
    same = [field for field in (*_SAME, *_SERIES) if field not in each]
    for image in images[1:]:
        _check_like_first(image, sidecars[image], images[0], first, same)
    return tuple(images), [seconds for seconds, _ in in_time], first | _agent_of(sidecars, images)


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
    times = (metadata.get(name) for name in ("AcquisitionTime", "AcquisitionDateTime"))
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
