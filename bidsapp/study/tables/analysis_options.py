"""Differences between sessions: the options of their analysis, and their acquisition."""

import json
import math
import operator
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from typing import Any

Statuses = Mapping[str, Mapping[str, Any]]
"""Participant -> status of its last run: `sessions`, and whether it finished."""
_NO_VALUE = {"output_spaces", "keep_dates"}
"""Options that do not affect lesion values."""
_NUMBER = re.compile(r"\d+(?:\.\d+)?")
_TOLERANCE = 0.05
"""Relative difference between numbers of an acquisition that are the same."""


def option_differences(statuses: Statuses) -> list[str]:
    """Return the options and versions in which the analyses of sessions differ, in words.

    Examples
    --------
    >>> steps = {"ses-a": {"options": {"b_max": 800}}, "ses-b": {"options": {"b_max": 1000}}}
    >>> option_differences({"sub-01": {"sessions": steps}})[0].split(": ")[1]
    'b_max 800 in sub-01 ses-a; 1000 in sub-01 ses-b.'
    """
    found = _Groups(operator.eq)
    for participant, session, steps in sessions_of(statuses):
        settings = {"version": steps.get("version"), **steps.get("options", {})}
        for name in settings.keys() - _NO_VALUE:
            # A session whose options were not stored says nothing about an option that others set.
            if settings[name] is not None or "options" in steps:
                found.add(name, settings[name], f"{participant} {session}")
    return [f"Sessions were analysed with different options: {text}." for text in found.differing()]


def acquisition_differences(statuses: Statuses) -> list[str]:
    """Return in which respects the acquisitions of sessions differ, in words.

    Examples
    --------
    >>> steps = {"ses-a": {"acquisition": {"flip angle": "15 degrees"}},
    ...          "ses-b": {"acquisition": {"flip angle": "20 degrees"}}}
    >>> acquisition_differences({"sub-01": {"sessions": steps}})[0].split(": ")[1]
    'flip angle 15 degrees in sub-01 ses-a; 20 degrees in sub-01 ses-b.'
    """
    found = _Groups(is_same_acquisition)
    for participant, session, steps in sessions_of(statuses):
        for name, value in steps.get("acquisition", {}).items():
            found.add(name, value, f"{participant} {session}")
    return [
        f"Sessions were acquired differently, which can change lesion values: {text}."
        for text in found.differing()
    ]


def is_same_acquisition(one: str, other: str) -> bool:
    """Return whether two descriptions agree in their words, and in their numbers within 5 %.

    Examples
    --------
    >>> is_same_acquisition("0, 200, 1000 s/mm2", "0, 205, 995 s/mm2")
    True
    >>> is_same_acquisition("0, 200, 1000 s/mm2", "0, 200, 800 s/mm2")
    False
    """
    if _NUMBER.split(one) != _NUMBER.split(other):
        return False
    numbers = zip(_NUMBER.findall(one), _NUMBER.findall(other), strict=True)
    return all(math.isclose(float(a), float(b), rel_tol=_TOLERANCE) for a, b in numbers)


class _Groups:
    """Places with the same value, by the name of what has the value."""

    def __init__(self, is_same: Callable[[str, str], bool]) -> None:
        self._is_same = is_same
        self._places: dict[str, dict[str, list[str]]] = defaultdict(dict)

    def add(self, name: str, value: Any, place: str) -> None:
        """Add a place to those with the same value."""
        text, known = _text(value), self._places[name]
        same = next((other for other in known if self._is_same(text, other)), text)
        known.setdefault(same, []).append(place)

    def differing(self) -> list[str]:
        """Return the names with several values, and where each value occurs."""
        return [
            f"{name} "
            f"{'; '.join(f'{value} in {_abbreviate(places)}' for value, places in known.items())}"
            for name, known in sorted(self._places.items())
            if len(known) > 1
        ]


def sessions_of(statuses: Statuses) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """Yield each participant and session with its status."""
    for participant, status in statuses.items():
        for session, steps in status.get("sessions", {}).items():
            yield participant, session, steps


def _text(value: Any) -> str:
    return "by default" if value is None else value if isinstance(value, str) else json.dumps(value)


def _abbreviate(places: list[str]) -> str:
    """List up to three places, and count the others."""
    more = f" and {len(places) - 3} others" if len(places) > 3 else ""
    return ", ".join(places[:3]) + more
