"""The section on the dose: of each lesion in each session, with isodose lines on the T1w."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pandas as pd

from bidsapp.bids import outputs
from bidsapp.lesions.dose import BIN_EDGES, RING_DOSE
from bidsapp.reports.figures.images import Panel
from bidsapp.reports.figures.isodose import isodose_lines
from bidsapp.reports.page.blocks import Block, Cell, Picture, Table
from bidsapp.reports.page.numbers import format_number
from bidsapp.reports.participant.records import (
    ParticipantOutputs,
    SessionOutputs,
    load_volume,
    read_frame,
)
from bidsapp.reports.participant.slices import (
    crop_panel,
    cut_panel,
    detail_box,
    grey_window,
    lesion_cut,
    turn,
)

_SHOWN: dict[str, tuple[Cell, int]] = {
    "volume_ml": (("Volume", "ml"), 2),
    "mean": (("Mean", "Gy"), 1),
    "minimum": (("Minimum", "Gy"), 1),
    "maximum": (("Maximum", "Gy"), 1),
    "d98": (("D98", "Gy"), 1),
    "d95": (("D95", "Gy"), 1),
    "v12_ml": ((f"V{RING_DOSE:g}", "ml of the lesion"), 2),
    "ring_ml": ((f"V{RING_DOSE:g}", "ml of brain around it"), 2),
}
"""Columns of the table of a session: heading and decimals."""
_LEVELS = sorted({RING_DOSE, *BIN_EDGES})


def show_dose(participant: ParticipantOutputs) -> list[Block]:
    """Show the dose of each lesion and session, and isodose lines; nothing without a dose."""
    found = {
        session: read_frame(path)
        for session in participant.sessions
        if (path := session.find(outputs.DOSE_STATISTICS))
    }
    tables = {session: table for session, table in found.items() if len(table)}
    if not tables:
        return []
    return [_table(participant, tables), *_pictures(participant, tables)]


def _table(participant: ParticipantOutputs, tables: dict[SessionOutputs, pd.DataFrame]) -> Table:
    """Return the table of all lesions, ROIs and sessions."""
    rows: list[list[Cell]] = []
    for lesion in participant.lesion_names:
        for session, table in tables.items():
            for row in table[table["lesion"] == lesion].to_dict("records"):
                own = row["dose_session"] == row["session_id"]
                source = str(row["dose_session"]).removeprefix("ses-")
                covered = "" if row["covered"] > 0.999 else f"{100 * row['covered']:.0f} % covered"
                part = (row["roi"], covered) if covered else row["roi"]
                cells = [format_number(row[name], digits) for name, (_, digits) in _SHOWN.items()]
                rows.append(
                    [
                        participant.title(lesion),
                        session.name,
                        "this session" if own else f"carried from {source}",
                        part,
                        *cells,
                    ]
                )
    headings = [heading for heading, _ in _SHOWN.values()]
    columns: list[Cell] = ["Lesion", "Session", "Dose of", "ROI", *headings]
    caption = "Dose of the lesions. D95: the dose that at least 95 % of the volume receives"
    return Table(caption, columns, rows, text=frozenset({1, 2, 3}))


def _pictures(
    participant: ParticipantOutputs, tables: dict[SessionOutputs, pd.DataFrame]
) -> Iterator[Picture]:
    """Yield the figure of each session for which a dose was given."""
    for session, table in tables.items():
        if session.label not in set(table["dose_session"]):
            continue
        panels = _panels(session)
        if panels:
            names = [f"Lesion {lesion}" for lesion in panels]
            doses = [np.asarray(panel.values, float) for panel in panels.values()]
            figure = isodose_lines(list(panels.values()), doses, names, _LEVELS)
            alt = f"Isodose lines of {', '.join(names)} on the T1w of {session.name}."
            yield Picture(
                f"{session.stem}_desc-isodose",
                figure,
                alt,
                "Each lesion in the slice in which it is largest.",
                heading=f"{session.name}: isodose lines on the T1w",
                form="png",
            )


def _panels(session: SessionOutputs) -> dict[int, Panel]:
    """Return the slice of each lesion with its outline and the dose."""
    path = session.find(outputs.DOSE)
    if path is None or session.t1w is None:
        return {}
    anatomy, dose = load_volume(session.t1w), load_volume(path)
    labels = session.lesions(anatomy, "anat")
    if labels is None or not dose.same_grid(anatomy):
        return {}
    window, axis = grey_window(anatomy), anatomy.slice_axis
    panels = {}
    for lesion in (int(n) for n in np.unique(labels) if n > 0):
        cut = lesion_cut(labels, lesion, axis)
        outline = np.asarray(turn(np.take(labels, cut[1], axis) == lesion), bool)
        plane = np.asarray(turn(np.take(dose.data, cut[1], axis)), float)
        whole = replace(cut_panel(anatomy, cut, window), outline=outline, values=plane)
        panels[lesion] = crop_panel(whole, detail_box(outline, whole.spacing))
    return panels
