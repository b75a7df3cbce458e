"""The section of lesions followed over the sessions: what happened to each, by its place."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from bidsapp.bids import documents
from bidsapp.reports.page.blocks import Block, Cell, Table
from bidsapp.reports.participant.records import ParticipantOutputs, read_frame


def show_followed(participant: ParticipantOutputs) -> list[Block]:
    """Show what happened to each lesion by each session, a row for each lesion."""
    path = documents.LESIONS.path(participant.output_dir, participant=participant.label)
    table = read_frame(path) if path.exists() else pd.DataFrame()
    if table.empty or table["session_id"].nunique() < 2:
        return []
    sessions = [s for s in participant.sessions if s.label in set(table["session_id"])]
    known = {(row["session_id"], row["lesion"]): row for row in table.to_dict("records")}
    numbers = sorted(set(table["lesion"]))
    rows: list[list[Cell]] = []
    bold = set()
    for i, number in enumerate(numbers):
        found = [known.get((session.label, number)) for session in sessions]
        rows.append([participant.title(int(number)), *(_cell(row) for row in found)])
        bold |= {(i, j) for j, row in enumerate(found, 1) if row and not row["comparable"]}
    columns = ["Lesion", *(session.name for session in sessions)]
    caption = (
        "What happened to each lesion; highlighted: not used by the group level, because its "
        "values are not surely those of the lesion with this number"
    )
    text = frozenset(range(1, len(columns)))
    return [Table(caption, columns, rows, text=text, bold=frozenset(bold))]


def _cell(row: Mapping[Any, Any] | None) -> Cell:
    """Return the event, the distance from the session it is compared with, and the note."""
    if row is None:
        return "–"
    lines = [str(row["event"])]
    if not pd.isna(row["distance_mm"]):
        lines.append(f"{row['distance_mm']:.1f} mm from {str(row['reference'])[4:]}")
    if not pd.isna(row["original"]):
        lines.append(f"drawn as {row['original']:.0f}")
    lines += [] if pd.isna(row["note"]) else [str(row["note"])]
    return tuple(lines) if len(lines) > 1 else lines[0]
