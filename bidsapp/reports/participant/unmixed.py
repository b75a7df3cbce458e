"""The table of lesion values without the surrounding tissue, beside the means over the voxels."""

import pandas as pd

from bidsapp.bids import outputs
from bidsapp.models.parameters import DISPLAY
from bidsapp.reports.page.blocks import Block, Cell, Table
from bidsapp.reports.participant.records import (
    DATATYPES,
    ParticipantOutputs,
    SessionOutputs,
    read_frame,
)


def unmixed_tables(participant: ParticipantOutputs) -> list[Block]:
    """Return a table of all lesions and sessions; none without unmixed values."""
    found = {session: unmixed_values(session) for session in participant.sessions}
    values = {session: table for session, table in found.items() if not table.empty}
    if not values:
        return []
    present = set(pd.concat(values.values())["parameter"])
    shown = [name for name in DISPLAY if name in present]
    rows = [
        [participant.title(lesion), session.name, *_cells(table, lesion, shown)]
        for lesion in participant.lesion_names
        for session, table in values.items()
        if (table["lesion"] == lesion).any()
    ]
    heads = [(DISPLAY[name].label, DISPLAY[name].unit) for name in shown]
    columns: list[Cell] = ["Lesion", "Session", *heads, ("contrast kept", "by the mean")]
    caption = (
        "Without the tissue that shares the voxels: value ± standard error; below, the values with "
        "the edge 0.5 mm further inside and outside"
    )
    return [Table(caption, columns, rows, text=frozenset({1}))]


def unmixed_values(session: SessionOutputs) -> pd.DataFrame:
    """Return the unmixed values of a session from all series."""
    paths = {name: session.find(outputs.UNMIXED_VALUES, name) for name in DATATYPES}
    tables = [read_frame(path).assign(series=name) for name, path in paths.items() if path]
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()


def _cells(table: pd.DataFrame, lesion: int, shown: list[str]) -> list[Cell]:
    """Return the cells of a lesion in a session."""
    own = table[table["lesion"] == lesion]
    cells: list[Cell] = []
    for name in shown:
        rows = own[own["parameter"] == name]
        text = DISPLAY[name].text
        if rows.empty:
            cells.append("–")
            continue
        row = rows.iloc[0]
        value = f"{text(row['value'])} ± {text(row['standard_error'])}"
        cells.append((value, f"{text(row['smaller'])} to {text(row['larger'])}"))
    kept = own.groupby("series", sort=False)["recovery"].first()
    shares = [f"{DATATYPES[str(name)]} {100 * share:.0f} %" for name, share in kept.items()]
    return [*cells, tuple(shares)]
