"""The section of changes of each lesion since the first session, beside their limits."""

from collections.abc import Iterator
from typing import Any

import pandas as pd

from bidsapp.bids import documents
from bidsapp.models.parameters import DISPLAY, FOLLOWED, PARAMETERS
from bidsapp.reports.page.blocks import Block, Cell, Table, Words
from bidsapp.reports.page.limits import change_cell, limit_words, published_limits_table
from bidsapp.reports.page.numbers import NumberFormat
from bidsapp.reports.participant.records import ParticipantOutputs, read_frame
from bidsapp.reports.participant.unmixed import unmixed_values
from bidsapp.study.read import read_detectable_changes
from bidsapp.study.tables.changes import assess_change
from bidsapp.study.tables.dictionary import TABLES
from bidsapp.study.tables.limits import Limit, LimitSources, Measure, repeat_limits

ESTIMATES = {"mean": "mean over the voxels", "unmixed": "own signal"}
"""The values of a lesion, as displayed."""

_FORMS = {name: NumberFormat.of(name) for name in DISPLAY}
_NAMES = {name: form.name for name, form in _FORMS.items()}


def show_changes(participant: ParticipantOutputs) -> list[Block]:
    """Show the change of each lesion since the first session, beside the limit that applies."""
    changes = pd.DataFrame(changes_since_first(participant))
    if changes.empty:
        return []
    caveat = (
        "Standard errors of the fits are no limit of a change: they do not include repositioning, "
        "physiological variation or the delineation of the ROIs."
    )
    tables = [
        _lesion_table(participant, lesion, rows)
        for lesion in participant.lesion_names
        if len(rows := changes[changes["lesion"] == lesion])
    ]
    blocks: list[Block] = [Words(list(limit_words(changes, _NAMES)), caveat), *tables]
    published = changes[changes["limit_from"] == "published"]["parameter"]
    return [*blocks, published_limits_table(published, _NAMES)] if len(published) else blocks


def changes_since_first(participant: ParticipantOutputs) -> Iterator[dict[str, Any]]:
    """Yield the change of each value since the first session, with its limit.

    Parameters
    ----------
    participant : ParticipantOutputs

    Yields
    ------
    row : dict
        The fields of `Measure`, of the first session; ``later``, the session it is compared with;
        and the cells of `assess_change`.
    """
    if len(participant.sessions) < 2:
        return
    sources = LimitSources(_repeat_limits(participant), read_detectable_changes(participant.folder))
    values = dict(_values(participant))
    first, *later = participant.sessions
    for measure, before in values.items():
        for session in later if measure.session_id == first.label else ():
            after = values.get(measure._replace(session_id=session.label))
            if after is not None:
                unit = PARAMETERS[measure.parameter].unit
                row = assess_change(before, after, measure, sources, unit)
                yield {**measure._asdict(), "later": session.label, **row}


def _repeat_limits(participant: ParticipantOutputs) -> dict[tuple[str, str], Limit]:
    """Return the limits from repeat scans in the last group analysis of this output folder."""
    path = documents.GROUP_TABLE.path(participant.output_dir, table="repeatability")
    table = read_frame(path) if path.exists() else pd.DataFrame()
    # Tables of 0.1.0 have no limits from repeat scans alone.
    return repeat_limits(table) if set(TABLES["repeatability"]) <= set(table) else {}


def _values(participant: ParticipantOutputs) -> Iterator[tuple[Measure, float]]:
    """Yield the values of the enhancing parts, by both estimates."""
    unmixed = [unmixed_values(session) for session in participant.sessions]
    tables = {"mean": [participant.statistics], "unmixed": unmixed}
    columns = {"mean": "mean", "unmixed": "value"}
    for estimate, frames in tables.items():
        for frame in frames:
            for row in frame.to_dict("records"):
                name, value = row["parameter"], row[columns[estimate]]
                key = int(row["lesion"]), str(row["session_id"])
                if key in participant.not_comparable:
                    continue
                if name in FOLLOWED and row["roi"] == "enhancing" and pd.notna(value):
                    where = participant.label, *key
                    yield Measure(*where, name, estimate), float(value)


def _lesion_table(participant: ParticipantOutputs, lesion: int, changes: pd.DataFrame) -> Table:
    """Return the changes of a lesion: a row per later session and estimate."""
    first = participant.sessions[0]
    shown = [name for name in FOLLOWED if name in set(changes["parameter"])]
    rows: list[list[Cell]] = []
    for session in participant.sessions[1:]:
        for estimate, words in ESTIMATES.items():
            own = changes[(changes["later"] == session.label) & (changes["estimate"] == estimate)]
            cells = {
                row["parameter"]: change_cell(row, _FORMS[row["parameter"]])
                for row in own.to_dict("records")
            }
            if cells:
                heading = f"{first.name} to {session.name}", words
                rows.append([heading, *(cells.get(name, "–") for name in shown)])
    columns: list[Cell] = ["Change", *((_FORMS[name].name, _FORMS[name].unit) for name in shown)]
    # A heading of text: columns as wide as their cells, which columns of equal width would cut.
    return Table(participant.title(lesion), columns, rows, text=frozenset({0}))
