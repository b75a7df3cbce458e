"""With which options sessions were analysed, and whether all alike."""

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

Statuses = Mapping[str, Mapping[str, Any]]
"""Participant -> what its last run says of it: `sessions`, and whether it finished."""
_NO_VALUE = {"output_spaces", "keep_dates"}
"""Options that change no value of a lesion."""


def option_differences(statuses: Statuses) -> list[str]:
    """Return which options, or versions, the sessions were not analysed with alike.

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
            if settings[name] is not None or "options" in steps:
                used[name][_text(settings[name])].append(f"{participant} {session}")
    return [
        f"Sessions were analysed with different options: {name} "
        f"{'; '.join(f'{value} in {_few(places)}' for value, places in values.items())}."
        for name, values in sorted(used.items())
        if len(values) > 1
    ]


def sessions_of(statuses: Statuses) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """Yield each participant and session, and what is said of it."""
    for participant, status in statuses.items():
        for session, steps in status.get("sessions", {}).items():
            yield participant, session, steps


def _text(value: Any) -> str:
    return "by default" if value is None else value if isinstance(value, str) else json.dumps(value)


def _few(places: list[str]) -> str:
    """Return some places in words, and how many more there are."""
    more = f" and {len(places) - 3} others" if len(places) > 3 else ""
    return ", ".join(places[:3]) + more
