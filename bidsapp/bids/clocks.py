"""Times of day in DICOM, BIDS and heudiconv, as s."""

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

_DAY = 86400.0
_CLOCK = re.compile(
    r"\s*(?:\d{8}|.*[T ])?"  # a date
    r"(?P<hours>\d{1,2}(?=:)|\d{2}):?(?P<minutes>\d{2}):?(?P<seconds>\d{2}(?:\.\d*)?)"
    r"\s*(?:Z|[+-]\d{2}(?::?\d{2})?)?\s*"  # a time zone
)
_LIMITS = (24, 60, 61)
"""Hours, minutes and seconds are smaller; there are leap seconds."""


def clock_seconds(value: Any) -> float | None:
    """Return a time of day in s, from DICOM, BIDS or heudiconv; None for anything else.

    A number is one of DICOM, such as 130510.4. Time zones are ignored: those of the frames of a
    series are the same.

    Examples
    --------
    >>> clock_seconds("13:05:10.400000"), clock_seconds("130510.4"), clock_seconds("noon")
    (47110.4, 47110.4, None)
    >>> clock_seconds("20260724130510.4+0100"), clock_seconds(130510.4), clock_seconds("13:65:00")
    (47110.4, 47110.4, None)
    """
    if isinstance(value, int | float) and not isinstance(value, bool):
        value = f"{value:013.6f}"
    found = _CLOCK.fullmatch(value) if isinstance(value, str) else None
    parts = [float(part) for part in found.groups()] if found else []
    if not parts or any(part >= most for part, most in zip(parts, _LIMITS, strict=True)):
        return None
    hours, minutes, seconds = parts
    return 3600 * hours + 60 * minutes + seconds


def since_first(clocks: Sequence[float]) -> list[float]:
    """Return times of day as s since the first of a series of less than 12 h, past midnight too.

    Examples
    --------
    >>> since_first([86398.0, 1.0, 4.0]), since_first([4.0, 86398.0, 1.0])
    ([0.0, 3.0, 6.0], [6.0, 0.0, 3.0])
    """
    times = np.asarray(clocks, float)
    if np.ptp(times) > _DAY / 2:
        times = np.where(times < _DAY / 2, times + _DAY, times)
    return [round(float(t), 6) for t in times - times.min()]
