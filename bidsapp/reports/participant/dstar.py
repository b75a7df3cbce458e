"""Tables on what the perfusion fraction of a lesion depends on: D*, and relaxation."""

from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from bidsapp.bids import outputs
from bidsapp.config import constants
from bidsapp.models.diffusion.what_if import explaining_dstar, explaining_t2, held_fraction
from bidsapp.models.parameters import DISPLAY
from bidsapp.reports.page.blocks import Block, Cell, Table
from bidsapp.reports.participant.records import (
    ParticipantOutputs,
    SessionOutputs,
    read_frame,
    read_json,
)


def dstar_tables(participant: ParticipantOutputs) -> list[Block]:
    """Return f of each lesion for several D*, and what else would explain its changes."""
    tables = {s: _table(s) for s in participant.sessions}
    found = {session: table for session, table in tables.items() if not table.empty}
    if not found:
        return []
    return [_sensitivity(participant, found), *_explanations(participant, list(found))]


def _table(session: SessionOutputs) -> pd.DataFrame:
    path = session.find(outputs.DSTAR_TABLE)
    return read_frame(path) if path else pd.DataFrame()


def _sensitivity(
    participant: ParticipantOutputs, tables: Mapping[SessionOutputs, pd.DataFrame]
) -> Table:
    """Return the table of f by D*, a row for each lesion and session."""
    held = [t.iloc[1:]["dstar"] for t in tables.values()]
    values = sorted({float(d) for column in held for d in column if np.isfinite(d)})
    values = [d for d in values if all((abs(t["dstar"] - d) < 1e-9).any() for t in tables.values())]
    rows: list[list[Cell]] = []
    for lesion in participant.lesion_names:
        for session, table in tables.items():
            own = table[table["lesion"] == lesion]
            if len(own):
                rows.append([participant.title(lesion), session.name, *_fractions(own, values)])
    unit = DISPLAY["Dstar"].unit
    heads = [(f"D* = {1e3 * d:g}", unit) for d in values]
    columns: list[Cell] = ["Lesion", "Session", ("f", "fit of this run"), *heads]
    caption = (
        "Perfusion fraction of the mean curve of each lesion, as fitted in this run, and with D* "
        "held at other values. The true D* of a lesion is not known: a difference in f that is "
        "smaller than the range of its row may be a difference in D*. A straight line from b_min "
        "assumes that no signal of the blood is left there, and is too low if D* is small."
    )
    return Table(caption, columns, rows, text=frozenset({1}))


def _fractions(rows: pd.DataFrame, values: list[float]) -> list[Cell]:
    """Return the cells of one lesion: the fit of the run, then one for each D*."""
    text = DISPLAY["f"].text
    others = rows.iloc[1:]
    chosen = [others[abs(others["dstar"] - d) < 1e-9].iloc[0]["f"] for d in values]
    first = rows.iloc[0]
    return [(text(first["f"]), f"SE {text(first['f_standard_error'])}"), *map(text, chosen)]


def _explanations(
    participant: ParticipantOutputs, sessions: list[SessionOutputs]
) -> Iterator[Block]:
    """Yield the table of what would have to differ for f to be unchanged between two sessions."""
    rows: list[list[Cell]] = []
    for lesion in participant.lesion_names:
        for first, second in pairwise(sessions):
            if cells := _explanation(first, second, lesion):
                pair = f"{first.name} to {second.name}"
                rows.append([participant.title(lesion), pair, *cells])
    if not rows:
        return
    value = 1e3 * constants()["dstar"]["value"]
    columns: list[Cell] = ["Lesion", "Sessions", ("f", f"D* = {value:g}"),
                           ("D*", DISPLAY["Dstar"].unit), ("T2 of tissue", "ms"),
                           ("T2 of blood", "ms")]  # fmt: skip
    caption = (
        "The D* of the later session, or the T2 of its tissue or blood, that alone would explain "
        f"the change of f, if D* was {value:g} · 10⁻³ mm²/s before; n/a if none is plausible. T2 "
        "needs the echo time (--correct-t2)."
    )
    yield Table(caption, columns, rows, text=frozenset({1}))


def _explanation(first: SessionOutputs, second: SessionOutputs, lesion: int) -> list[Cell]:
    """Return the cells of a lesion in two sessions; none if it has no curve in one of them."""
    curves = [_curve(session, lesion) for session in (first, second)]
    if not all(curves):
        return []
    (b1, y1), (b2, y2) = (curve for curve in curves if curve)
    held = constants()["dstar"]["value"]
    before, after = held_fraction(y1, b1, held), held_fraction(y2, b2, held)
    dstar = DISPLAY["Dstar"].text(explaining_dstar(y2, b2, before))
    settings = _settings(second)
    times = [_explaining_time(before, after, settings, part) for part in ("tissue", "blood")]
    text = DISPLAY["f"].text
    return [f"{text(before)} → {text(after)}", dstar, *times]


def _explaining_time(before: float, after: float, settings: Mapping[str, Any], part: str) -> str:
    """Return a T2 in ms as text."""
    if "echo_time" not in settings:
        return "–"
    t2 = explaining_t2(before, after, settings["echo_time"], settings[f"t2_{part}"], part)
    return "n/a" if np.isnan(t2) else f"{1e3 * t2:.0f}"


def _curve(session: SessionOutputs, lesion: int) -> tuple[Any, Any] | None:
    """Return b-values and mean signal of a lesion, within the range of the fit."""
    path = session.find(outputs.LESION_CURVES["dwi"])
    table = read_frame(path) if path else pd.DataFrame()
    column = f"lesion-{lesion}"
    if column not in table or table[column].isna().any():
        return None
    limit = _settings(session).get("b_max")
    if limit is not None:
        table = table[table["bvalue"] <= limit]
    return table["bvalue"].to_numpy(float), table[column].to_numpy(float)


def _settings(session: SessionOutputs) -> Mapping[str, Any]:
    """Return the settings of the fit of f, from the sidecar of its map."""
    paths = session.files(outputs.parameter_map("dwi", "f"), extension=".json")
    settings: Mapping[str, Any] = read_json(paths[0])["Model"]["Parameters"] if paths else {}
    return settings
