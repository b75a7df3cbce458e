"""A card for each lesion: its response, and its values by session with their changes."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from bidsapp.lesions.response import PARTIAL_RESPONSE, PROGRESSION, response_category
from bidsapp.models.parameters import FOLLOWED
from bidsapp.reports.page.limits import Mark, change_mark, change_text, format_limit
from bidsapp.reports.page.numbers import NumberFormat, format_number
from bidsapp.reports.participant.changes import changes_since_first
from bidsapp.reports.participant.doubts import missing_reason, value_doubt, visit_doubts
from bidsapp.reports.participant.records import ParticipantOutputs, SessionOutputs, rows_of
from bidsapp.reports.participant.response import response_tables
from bidsapp.study.tables.changes import PERCENT
from bidsapp.study.tables.limits import percent_change

VOLUME = "volume"
NO_MARK = Mark("", "none")

_ARROWS = {"CR": "▼", "PR": "▼", "SD": "→", "PD": "▲"}
_LETTERS = "abcdefghijklmnopqrstuvwxyz"

Row = Mapping[Any, Any]


@dataclass(frozen=True)
class CardColumn:
    """A parameter: its name, its unit, and the limit of its changes."""

    name: str
    unit: str
    limit: str


@dataclass(frozen=True)
class CardCell:
    """A value, its change since the first session with its mark, and the letters of its notes."""

    value: str
    change: str = ""
    mark: Mark = NO_MARK
    letters: str = ""


@dataclass(frozen=True)
class CardRow:
    """The values of a lesion in a session."""

    session: str
    day: str
    cells: tuple[CardCell, ...]
    letters: str = ""


@dataclass(frozen=True)
class Badge:
    """A category of response, or a remark, with the class of its colour."""

    text: str
    tone: str
    title: str = ""


@dataclass(frozen=True)
class LesionCard:
    """The card of a lesion; ``anchor`` is its id, and ``notes`` are letters with their text."""

    anchor: str
    title: str
    badges: tuple[Badge, ...]
    response: str
    columns: tuple[CardColumn, ...]
    rows: tuple[CardRow, ...]
    notes: tuple[tuple[str, str], ...]


@dataclass
class Notes:
    """The notes of a card; the same text has one letter."""

    texts: dict[str, str] = field(default_factory=dict)

    def letters(self, texts: Sequence[str]) -> str:
        """Return the letters of some texts, such as ``a, c``.

        Examples
        --------
        >>> notes = Notes()
        >>> notes.letters(["no DCE", "no DWI"]), notes.letters(["no DWI"]), notes.letters([])
        ('a, b', 'b', '')
        """
        for text in texts:
            if text and text not in self.texts:
                count, place = divmod(len(self.texts), len(_LETTERS))
                self.texts[text] = _LETTERS[place] * (count + 1)
        return ", ".join(self.texts[text] for text in texts if text)


def lesion_cards(participant: ParticipantOutputs) -> list[LesionCard]:
    """Return the card of each lesion with values.

    Parameters
    ----------
    participant : ParticipantOutputs

    Returns
    -------
    cards : list of LesionCard
    """
    table = participant.statistics
    if table.empty:
        return []
    values = table[
        ((table["roi"] == "enhancing") & table["parameter"].isin(FOLLOWED))
        | ((table["roi"] == "whole") & (table["parameter"] == VOLUME))
    ]
    tables = response_tables(participant)
    courses = pd.DataFrame() if tables is None else tables.lesions
    changes = {
        (row["lesion"], row["later"], row["parameter"]): row
        for row in changes_since_first(participant)
        if row["estimate"] == "mean"
    }
    return [
        _card(participant, lesion, own, changes, courses)
        for lesion in participant.lesion_names
        if len(own := values[values["lesion"] == lesion])
    ]


def _card(
    participant: ParticipantOutputs,
    lesion: int,
    values: pd.DataFrame,
    changes: Mapping[tuple[int, str, str], Row],
    courses: pd.DataFrame,
) -> LesionCard:
    """Return the card of one lesion."""
    present = set(values["parameter"])
    shown = [VOLUME, *(name for name in FOLLOWED if name in present)]
    notes, rows = Notes(), []
    own = {key[1:]: row for key, row in changes.items() if key[0] == lesion}
    start = _volume(values, participant.sessions[0])
    for session in participant.sessions:
        here = rows_of(values, session)
        letters = notes.letters(visit_doubts(participant, session, lesion, here))
        first = session is participant.sessions[0]
        comparable = not first and (lesion, session.label) not in participant.not_comparable
        cells = []
        for name in shown:
            row = own.get((session.label, name))
            if name == VOLUME and comparable:
                row = volume_change(start, _volume(values, session))
            cells.append(_cell(participant, session, name, here, row, notes))
        day = "" if np.isnan(session.days) else f"day {session.day}"
        rows.append(CardRow(session.name, day, tuple(cells), letters))
    badges, words = _response(participant, lesion, values, courses)
    columns = tuple(_column(name, own) for name in shown)
    ordered = tuple((letter, text) for text, letter in notes.texts.items())
    title = participant.title(lesion)
    return LesionCard(f"lesion-{lesion}", title, badges, words, columns, tuple(rows), ordered)


def _volume(values: pd.DataFrame, session: SessionOutputs) -> float:
    """Return the volume of a lesion in a session; NaN if it is not known."""
    own = rows_of(values, session)
    found = own[own["parameter"] == VOLUME]["mean"]
    return float(found.iloc[0]) if len(found) else np.nan


def volume_change(before: float, after: float) -> dict[str, Any] | None:
    """Return the change of a volume with its mark: an arrow for a response or a progression.

    Parameters
    ----------
    before, after : float
        ml; NaN if unknown.

    Returns
    -------
    row : dict or None
        ``change``, ``percent`` and ``mark``; None if a volume is not known.

    Examples
    --------
    >>> [volume_change(10.0, after)["mark"].symbol for after in (0.0, 4.15, 4.16, 17.14, 17.15)]
    ['▼', '▼', '→', '→', '▲']
    >>> volume_change(0.0, 1.0)["mark"].symbol, volume_change(1.0, float("nan"))
    ('', None)
    """
    if np.isnan(before) or np.isnan(after):
        return None
    category = response_category(before, after)
    meaning = {None: "none", "SD": "within"}.get(category, "beyond")
    mark = Mark(_ARROWS.get(category or "", ""), meaning)  # type: ignore[arg-type]
    return {"change": after - before, "percent": percent_change(before, after), "mark": mark}


def _cell(
    participant: ParticipantOutputs,
    session: SessionOutputs,
    name: str,
    values: pd.DataFrame,
    change: Row | None,
    notes: Notes,
) -> CardCell:
    """Return a value with its change and the letters of its notes."""
    rows = values[values["parameter"] == name].to_dict("records")
    if not rows or pd.isna(rows[0]["mean"]):
        return CardCell(
            "–", letters=notes.letters([missing_reason(participant, session, name, values)])
        )
    form, value = NumberFormat.of(name), rows[0]["mean"]
    letters = notes.letters([value_doubt(rows[0])]) if name != VOLUME else ""
    if change is None:
        return CardCell(form.format(value), letters=letters)
    mark = change["mark"] if name == VOLUME else change_mark(change)
    return CardCell(form.format(value), change_text(change, form), mark, letters)


def _column(name: str, changes: Mapping[tuple[str, str], Row]) -> CardColumn:
    """Return the heading of a parameter, with the limit that applies to its changes."""
    form = NumberFormat.of(name)
    found = next((row for (_, parameter), row in changes.items() if parameter == name), None)
    if name == VOLUME:
        low, high = (
            format_number(limit, 1, sign=True) for limit in (PARTIAL_RESPONSE, PROGRESSION)
        )
        return CardColumn(form.name, form.unit, f"{low} to {high} %")
    if found is None:
        return CardColumn(form.name, form.unit, "")
    if not found["limit_from"]:
        return CardColumn(form.name, form.unit, "no limit")
    relative = found["limit_unit"] == PERCENT
    limit = format_limit(found["limit_low"], found["limit_high"], form, relative=relative)
    return CardColumn(form.name, form.unit, limit)


def _response(
    participant: ParticipantOutputs, lesion: int, values: pd.DataFrame, courses: pd.DataFrame
) -> tuple[tuple[Badge, ...], str]:
    """Return the categories of a lesion at its last session that has any, and its changes."""
    marked = pd.to_numeric(values["excluded"], errors="coerce").fillna(0) > 0
    badges = [Badge("excluded from the group analysis", "warn")] if marked.any() else []
    if courses.empty:
        return tuple(badges), ""
    own = courses[courses["lesion"] == lesion]
    if (own["role"] == "new").any():
        badges.append(Badge("new lesion", "bad"))
    known = own[own["volume_response"].ne("n/a") | ~own["rano_bm"].isin(["n/a", "NE"])]
    if known.empty:
        return tuple(badges), ""
    last = known.iloc[-1].to_dict()
    return (*_categories(last), *badges), "; ".join(_response_words(participant, last))


def _categories(row: Row) -> Iterator[Badge]:
    """Yield the badges of the volumetric response and of RANO-BM."""
    if row["volume_response"] != "n/a":
        title = "volumetric response since the first session and the smallest volume"
        yield Badge(row["volume_response"], f"response {row['volume_response']}", title)
    if row["rano_bm"] not in ("n/a", "NE"):
        yield Badge(f"RANO-BM {row['rano_bm']}", "gap", "by its longest diameter")


def _response_words(participant: ParticipantOutputs, row: Row) -> Iterator[str]:
    """Yield the session of the categories, with the changes of volume and diameter."""
    session = next(s for s in participant.sessions if s.label == row["session_id"])
    changes = [
        f"{name} {format_number(row[f'{name}_from_baseline_percent'], 0, sign=True)} %"
        for name in (VOLUME, "diameter")
        if pd.notna(row[f"{name}_from_baseline_percent"])
    ]
    yield f"{', '.join(changes) or 'category'} at {session.heading}"
    later = participant.sessions[participant.sessions.index(session) + 1 :]
    if later:
        yield f"not known at {', '.join(s.name for s in later)}"
