"""The section on changes that were put into the series: which of them the analysis shows."""

import re

import numpy as np
import pandas as pd

from bidsapp.bids import outputs
from bidsapp.models.parameters import DISPLAY
from bidsapp.reports.page.blocks import Block, Cell, Table, Words
from bidsapp.reports.participant.records import ParticipantOutputs, SessionOutputs, read_frame

_ESTIMATES = {"mean": "Mean over the voxels", "unmixed": "Own signal"}
_FALSE_CHANGE = 0.1
"""Smallest change, relative to the value, that is reported although the lesion has not changed."""


def show_recovery(participant: ParticipantOutputs) -> list[Block]:
    """Show what is recovered of the changes put into each session; none without a simulation."""
    blocks: list[Block] = []
    for session in participant.sessions:
        rows = _read(session)
        if rows.empty:
            continue
        blocks.append(_table(participant, session, rows[_is_direct(rows)]))
        if sentences := _false_changes(participant, rows[~_is_direct(rows)]):
            blocks.append(Words(sentences))
    return blocks


def _read(session: SessionOutputs) -> pd.DataFrame:
    """Return the rows of all series of a session."""
    tables = [read_frame(path) for path in session.files(outputs.RECOVERY)]
    tables = [table for table in tables if not table.empty]
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()


def _is_direct(rows: pd.DataFrame) -> pd.Series:
    """Return which rows are of the parameter that was changed."""
    changed = rows["injected"].str.extract(r"^(\w+)[+-]", expand=False)
    return changed == rows["parameter"]


def _table(participant: ParticipantOutputs, session: SessionOutputs, rows: pd.DataFrame) -> Table:
    """Return the table of a session: a row for each lesion and change."""
    lines: list[list[Cell]] = []
    for _, own in rows.groupby(["lesion", "injected"], sort=False):
        by_estimate = {row["estimate"]: row for _, row in own.iterrows()}
        cells = [_cell(by_estimate.get(name)) for name in _ESTIMATES]
        first = own.iloc[0]
        true = _change_text(str(first["parameter"]), first["true_change"])
        lesion = participant.title(int(first["lesion"]))
        lines.append([lesion, (_injected_text(str(first["injected"])), true), *cells])
    order = sorted(range(len(lines)), key=lambda i: str(lines[i][0]))
    visits = int(rows["n_repeats"].max())
    caption = f"{session.name}: {visits} simulated visits"
    columns: list[Cell] = ["Lesion", "Change put in", *_ESTIMATES.values()]
    return Table(caption, columns, [lines[i] for i in order], text=frozenset({1, 2, 3}))


def _cell(row: "pd.Series | None") -> Cell:
    """Return what is recovered, the detectable change, and whether the change is seen."""
    if row is None or np.isnan(row["recovered_fraction"]):
        return "–"
    name = str(row["parameter"])
    value = DISPLAY[name].text(row["detectable_change"])
    limit = f"detectable: {value} {DISPLAY[name].unit}"
    if row["value"]:
        limit += f" ({100 * row['detectable_change'] / abs(row['value']):.0f} % of the value)"
    recovered = f"{100 * row['recovered_fraction']:.0f} % recovered"
    return (recovered, limit, "not detectable here") if row["detected"] == 0 else (recovered, limit)


def _injected_text(name: str) -> str:
    """Return the name of a change with spaces, such as ``f +20 %``."""
    return re.sub(r"([+-].*)%$", r" \1 %", name).replace("-", "−")


def _change_text(name: str, change: float) -> str:
    """Return a change in the unit in which the parameter is shown."""
    return f"{'+' if change > 0 else '−'}{DISPLAY[name].text(abs(change))} {DISPLAY[name].unit}"


def _false_changes(participant: ParticipantOutputs, rows: pd.DataFrame) -> list[str]:
    """Return a sentence for each value that changes although the parameter has not."""
    still = rows[(rows["true_change"] == 0) & (rows["detected"] == 1)]
    share = still["recovered_change"] / still["value"].abs()
    return [
        f"{participant.title(int(row['lesion']))}: {_injected_text(row['injected'])} alone changes "
        f"{DISPLAY[str(row['parameter'])].label} ({_ESTIMATES[str(row['estimate'])].lower()}) by "
        f"{100 * change:+.0f} %.".replace("-", "−")
        for (_, row), change in zip(still.iterrows(), share, strict=True)
        if abs(change) >= _FALSE_CHANGE and row["parameter"] in DISPLAY
    ]
