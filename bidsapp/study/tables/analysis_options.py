"""Differences between the options with which sessions were analysed."""

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

Statuses = Mapping[str, Mapping[str, Any]]
"""Participant -> status of its last run: `sessions`, and whether it finished."""
_NO_VALUE = {"output_spaces", "keep_dates"}
"""Options that do not affect lesion values."""


def option_differences(statuses: Statuses) -> list[str]:
    """Return the options and versions in which the analyses of sessions differ, in words.

    Examples
    --------
    >>> steps = {"ses-a": {"options": {"b_max": 800}}, "ses-b": {"options": {"b_max": 1000}}}
    >>> option_differences({"sub-01": {"sessions": steps}})[0].split(": ")[1]
    'b_max 800 in sub-01 ses-a; 1000 in sub-01 ses-b.'
    """
    used: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for participant, session, steps in sessions_of(statuses):
        settings = {"version": steps.get("version"), **steps.get("options", {})}
        for name in settings.keys() - _NO_VALUE:
            # A session whose options were not stored says nothing about an option that others set.
            if settings[name] is not None or "options" in steps:
                used[name][_text(settings[name])].append(f"{participant} {session}")
    return [
        f"Sessions were analysed with different options: {name} "
        f"{'; '.join(f'{value} in {_abbreviate(places)}' for value, places in values.items())}."
        for name, values in sorted(used.items())
        if len(values) > 1
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
