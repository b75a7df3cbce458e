"""When the volumes of a series were acquired, as the headers of its slices state it."""

from collections.abc import Sequence
from itertools import pairwise

from bidsapp.bids.clocks import since_first
from bidsapp.conversion.dicom.records import Series

_SOURCES = (
    "TemporalPositionTimeOffset",
    "(2005,10A0)",
    "TriggerTime",
    "FrameAcquisitionDateTime",
    "AcquisitionDateTime",
    "AcquisitionTime",
)
"""Fields with the time of a slice, the most reliable first."""
_CLOCKS = _SOURCES[3:]
"""Those with a time of day."""
_APART = 0.1
"""Relative difference of mean intervals above which two fields contradict each other."""


def find_times(series: Series) -> tuple[list[float], str, str]:
    """Return the start of each volume in s, the field that states it, and a doubt.

    The volumes are in order of their temporal position, else of the numbers of their slices. A
    field is used if the time ascends from volume to volume.

    Parameters
    ----------
    series
        With two volumes or more.

    Returns
    -------
    (list of float, str, str)
        Without times if no field states them, or two fields contradict each other, with the reason
        as the last text.
    """
    stated = {name: times for name in _SOURCES if (times := _volume_times(series, name))}
    if not stated:
        return [], "", "no field of the headers states when each volume was acquired"
    source, times = next(iter(stated.items()))
    interval = times[-1] / (len(times) - 1)
    for name, others in stated.items():
        other = others[-1] / (len(others) - 1)
        if abs(other - interval) > _APART * interval:
            doubt = f"{source} has intervals of {interval:.4g} s, {name} of {other:.4g} s"
            return [], "", doubt
    return times, source, ""


def find_start(series: Series) -> float | None:
    """Return the time of day at which a series began, s; None if it is not stated."""
    for name in _CLOCKS:
        found = [s.times[name] for s in series.slices if name in s.times]
        if found:
            return min(found)
    return None


def _volume_times(series: Series, name: str) -> list[float]:
    """Return the time of each volume in s since the first, or nothing if a field cannot tell."""
    columns: list[Sequence[float]] = []
    for slices in series.places.values():
        column = [s.times[name] for s in slices if name in s.times]
        if len(column) != series.volumes:
            return []
        columns.append(column)
    first = [min(at) for at in zip(*columns, strict=True)]
    times = (
        [round(t, 4) for t in since_first(first)]
        if name in _CLOCKS
        else [round(t - first[0], 4) for t in first]
    )
    ascending = all(later > earlier for earlier, later in pairwise(times))
    return times if len(times) > 1 and ascending else []
