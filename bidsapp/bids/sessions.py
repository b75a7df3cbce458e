"""Chronological order of a participant's sessions: from days, acquisition times or labels."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from statistics import median

from bidsapp.bids.session_labels import label_days, label_order
from bidsapp.bids.tables import read_numbered_table
from bidsapp.errors import BadInput

_DAYS = ("days_since_treatment", "days_from_treatment", "days_from_srs")
_TIME = "acq_time"


@dataclass(frozen=True)
class Chronology:
    """Sessions of a participant in chronological order.

    Attributes
    ----------
    order
        Labels of all sessions, without ``ses-``.
    days
        Days since treatment, where known.
    warnings, notes
        Contradictions and guesses; and what the order is based on.
    """

    order: tuple[str, ...]
    days: Mapping[str, float]
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Times:
    """Content of the sessions table: sessions, days, dates (as days), and unusable dates."""

    listed: frozenset[str]
    days: Mapping[str, float]
    dates: Mapping[str, float]
    warnings: tuple[str, ...] = ()


def find_chronology(folder: Path, labels: Sequence[str]) -> Chronology:
    """Return the order of the sessions of a participant.

    Parameters
    ----------
    folder
        The raw folder of the participant, with its ``sessions.tsv``.
    labels
        Labels of all sessions with files, without ``ses-``.

    Raises
    ------
    BadInput
        If the table of sessions cannot be read.
    """
    times = _read_times(folder, labels)
    places = _place_in_time(times)
    by_label, obvious = label_order(labels)
    order = sorted(labels, key=lambda s: (places.get(s, math.inf), by_label.index(s)))
    warnings = [*times.warnings, *_table_warnings(times, labels, places)]
    warnings += [*_contradictions(times), *_label_contradictions(order, places)]
    notes = []
    names = ", ".join(f"ses-{s}" for s in order)
    if len(labels) > 1 and not places:
        where = f"{folder.name}_sessions.tsv"
        basis = f"{where} has neither days_since_treatment nor acq_time"
        if obvious:
            notes.append(f"{basis}: the order of the sessions, {names}, is that of their labels")
        else:
            warnings.append(
                f"{basis}, and the labels do not show the order of the sessions: {names} is a "
                f"guess, and with it the baseline and the response; add one of them to {where}"
            )
    if places and len(labels) > 1 and not times.days:
        notes.append(
            f"the order of the sessions, {names}, is that of acq_time; days since treatment are "
            "unknown"
        )
    return Chronology(tuple(order), times.days, tuple(warnings), tuple(notes))


def _read_times(folder: Path, labels: Iterable[str]) -> _Times:
    """Read ``sub-X_sessions.tsv``, and ``sub-X_ses-Y_scans.tsv`` where it has no acq_time."""
    table = folder / f"{folder.name}_sessions.tsv"
    listed: set[str] = set()
    days: dict[str, float] = {}
    dates: dict[str, float] = {}
    warnings = []
    if table.exists() or table.is_symlink():
        known = ("session_id", *_DAYS, _TIME)
        for line, row in read_numbered_table(table, ("session_id",), known=known):
            session = row["session_id"].strip().removeprefix("ses-")
            if session in listed:
                raise BadInput(f"{table}: ses-{session} is listed twice; keep one row")
            listed.add(session)
            text = next((row[c] for c in _DAYS if row.get(c, "").strip()), "n/a").strip()
            if text != "n/a":
                days[session] = _parse_days(text, table)
            date = _parse_date(row.get(_TIME, ""))
            if date is not None:
                dates[session] = date
            elif row.get(_TIME, "").strip() not in ("", "n/a"):
                warnings.append(
                    f"{table.name}: line {line}: acq_time {row[_TIME]!r} is not a date and time "
                    "such as 2019-03-01T10:00:00: it is not used"
                )
    for session in labels:
        if session not in dates and (first := _first_scan(folder, session)) is not None:
            dates[session] = first
    return _Times(frozenset(listed), days, dates, tuple(warnings))


def _parse_days(text: str, path: Path) -> float:
    try:
        days = float(text)
    except ValueError:
        days = math.nan
    if not math.isfinite(days):
        raise BadInput(
            f"{path}: {text!r} is not a number of days since treatment; write 7, -5 for five days "
            "before it, or n/a"
        )
    return days


def _parse_date(text: str) -> float | None:
    """Return an ISO 8601 date or date and time as a number of days; None if it is not one.

    Examples
    --------
    >>> _parse_date("0001-01-02"), _parse_date("0001-01-01T12:00:00Z"), _parse_date("n/a")
    (2.0, 1.5, None)
    """
    try:
        when = datetime.fromisoformat(text.strip())
    except ValueError:
        return None
    return when.toordinal() + (when.hour + when.minute / 60 + when.second / 3600) / 24


def _first_scan(folder: Path, session: str) -> float | None:
    """Return the earliest acq_time in the ``scans.tsv`` of a session, if there is any."""
    table = folder / f"ses-{session}" / f"{folder.name}_ses-{session}_scans.tsv"
    try:
        rows = read_numbered_table(table, (_TIME,)) if table.exists() else []
    except BadInput:  # the validator reports it
        return None
    found = [_parse_date(row[_TIME]) for _, row in rows]
    return min((date for date in found if date is not None), default=None)


def _place_in_time(times: _Times) -> dict[str, float]:
    """Return days on a common axis for the sessions with days, dates or both."""
    both = times.days.keys() & times.dates.keys()
    if both:
        treatment = median(times.dates[s] - times.days[s] for s in both)
        return {s: date - treatment for s, date in times.dates.items()} | dict(times.days)
    # Days and dates of different sessions cannot be compared: the more frequent ones count.
    return dict(times.dates if len(times.dates) > len(times.days) else times.days)


def _table_warnings(
    times: _Times, labels: Sequence[str], places: Mapping[str, float]
) -> Iterator[str]:
    """Yield warnings of sessions that only the table or only the data set has."""
    if strangers := sorted(times.listed - set(labels)):
        yield f"sessions.tsv lists ses-{', ses-'.join(strangers)}, which has no files: misnamed?"
    if places and (without := sorted(set(labels) - places.keys())):
        kind = "day" if set(places) & times.days.keys() else "acq_time"
        yield f"sessions.tsv has no {kind} for ses-{', ses-'.join(without)}: its order is unknown"


def _contradictions(times: _Times) -> Iterator[str]:
    """Yield a warning for each two sessions whose days and dates are in opposite order."""
    dated = sorted(times.days.keys() & times.dates.keys(), key=lambda s: times.days[s])
    for one, other in pairwise(dated):
        days = times.days[one], times.days[other]
        if days[0] < days[1] and times.dates[one] > times.dates[other]:
            yield (
                f"sessions.tsv: ses-{one} is day {days[0]:g} and ses-{other} day {days[1]:g}, but "
                f"by acq_time ses-{other} is the earlier one: the days are used; correct one of "
                "them"
            )


def _label_contradictions(order: Sequence[str], places: Mapping[str, float]) -> Iterator[str]:
    """Yield a warning for each two sessions whose times contradict their labels."""
    named = [(s, day) for s in order if s in places and (day := label_days(s)) is not None]
    for (one, first), (other, second) in pairwise(named):
        if first > second and places[one] < places[other]:
            yield (
                f"sessions.tsv puts ses-{one} before ses-{other}, against their labels: are two "
                "rows or two labels swapped?"
            )
