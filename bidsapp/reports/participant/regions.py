"""The section of the regions beside lesions: the reference region, rings and mirror images."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from bidsapp.bids import outputs
from bidsapp.models.parameters import DISPLAY, PARAMETERS
from bidsapp.reports.figures.images import Panel
from bidsapp.reports.figures.map_grid import MapBlock, MapRow, map_grid
from bidsapp.reports.page.blocks import Block, Cell, Picture, Table
from bidsapp.reports.participant.records import (
    ParticipantOutputs,
    SessionOutputs,
    load_volume,
    read_json,
)
from bidsapp.reports.participant.slices import (
    crop_panel,
    cut_panel,
    detail_box,
    grey_window,
    lesion_cut,
    turn,
)

_ROWS = ((0, "slice"), (1, "detail"))
_NAMES = {"enhancing": "enhancing part", "ring": "ring of 5 mm", "mirror": "mirror image"}


def show_regions(participant: ParticipantOutputs) -> list[Block]:
    """Show the reference region and its values, and those around and opposite each lesion."""
    table = participant.regions
    if table.empty:
        return []
    blocks = [*_reference_picture(participant), *_reference_table(participant, table)]
    others = sorted(set(table["roi"]) - {"reference", *_NAMES})
    return [*blocks, *_lesion_tables(participant, table), *_other_tables(participant, others)]


def _reference_picture(participant: ParticipantOutputs) -> list[Block]:
    """Return the outline of the reference region on the T1w of each session."""
    found = {s.name: panels for s in participant.sessions if (panels := _panels(s))}
    if not found:
        return []
    rows = [MapRow(name, [panels[i] for panels in found.values()]) for i, name in _ROWS]
    figure = map_grid([MapBlock("", rows)], list(found))
    title = "Reference region on the T1w"
    alt = f"{title} in {', '.join(found)}: the slice in which it is largest, and a detail."
    caption = "The outline must be in homogeneous white matter, without lesion, oedema or vessel."
    stem = f"{participant.label}_desc-reference"
    return [Picture(stem, figure, alt, caption, heading=title, form="png")]


def _panels(session: SessionOutputs) -> list[Panel] | None:
    """Return the slice in which the reference region is largest, and a detail of it."""
    path = session.find(outputs.REFERENCE)
    if path is None or session.t1w is None:
        return None
    anatomy, mask = load_volume(session.t1w), load_volume(path)
    inside = (mask.data > 0).astype(np.int64)
    if not inside.any() or not mask.same_grid(anatomy):
        return None
    cut = lesion_cut(inside, 1, anatomy.slice_axis)
    outline = np.asarray(turn(np.take(inside, cut[1], cut[0]) == 1), bool)
    brain = session.find(outputs.BRAIN_MASK)
    window = grey_window(anatomy, load_volume(brain) if brain else None)
    panel = cut_panel(anatomy, cut, window)
    whole = Panel(panel.background, panel.spacing, panel.window, outline=outline)
    box = detail_box(outline, whole.spacing)
    boxed = Panel(panel.background, panel.spacing, panel.window, outline=outline, box=box)
    return [boxed, crop_panel(whole, box)]


def _reference_table(participant: ParticipantOutputs, table: pd.DataFrame) -> list[Block]:
    """Return the values of the reference region, and the ranges of normal white matter."""
    rows = table[table["roi"] == "reference"]
    shown = [name for name in DISPLAY if name in set(rows["parameter"])]
    if not shown:
        return []
    lines: list[list[Cell]] = []
    bold = set()
    for session in participant.sessions:
        here = {r["parameter"]: r for r in rows.to_dict("records") if _is_of(r, session)}
        if not here:
            continue
        bold |= {(len(lines), 2 + i) for i, n in enumerate(shown) if _is_odd(here.get(n), n)}
        cells = [_cell(here.get(name), name) for name in shown]
        lines.append([session.name, _place(session), *cells])
    normal = [_range(name) for name in shown]
    columns = _columns(shown)
    lines.append(["normal white matter", "", *normal])
    caption = "Reference region; values outside the range of normal white matter are bold"
    return [Table(caption, columns, lines, text=frozenset({1}), bold=frozenset(bold))]


def _columns(names: list[str]) -> list[Cell]:
    """Return the headings of a table of regions."""
    return ["Session", "Region", *((DISPLAY[n].label, DISPLAY[n].unit) for n in names)]


def _is_of(row: Mapping[Any, Any], session: SessionOutputs) -> bool:
    known = row["session_id"]
    return (known if isinstance(known, str) else "") == session.label


def _is_odd(row: Mapping[Any, Any] | None, name: str) -> bool:
    """Return whether a mean is outside the range of normal white matter."""
    limits = PARAMETERS[name].white_range if name in PARAMETERS else None
    return bool(row and limits) and not limits[0] <= row["mean"] <= limits[1]  # type: ignore[index]


def _range(name: str) -> str:
    """Return the range of normal white matter, as shown."""
    limits = PARAMETERS[name].white_range if name in PARAMETERS else None
    return " to ".join(DISPLAY[name].text(limit) for limit in limits) if limits else "–"


def _place(session: SessionOutputs) -> str:
    """Return where the reference region of a session is."""
    path = session.find(outputs.REFERENCE)
    sidecar = path.with_name(path.name.replace(".nii.gz", ".json")) if path else None
    known = read_json(sidecar) if sidecar and sidecar.exists() else {}
    if "Side" not in known:
        return "given by the user" if path is None else "none was found"
    text = f"{known['Side']}, {known['VolumeMl']:.1f} ml"
    return f"{text}, that of the baseline" if known.get("OfBaseline") else text


def _cell(row: Mapping[Any, Any] | None, name: str) -> Cell:
    """Return mean and SD of a value."""
    if row is None:
        return "–"
    text, spread = DISPLAY[name].text, row.get("std", np.nan)
    return text(row["mean"]) if np.isnan(spread) else f"{text(row['mean'])} ± {text(spread)}"


def _lesion_tables(participant: ParticipantOutputs, table: pd.DataFrame) -> list[Block]:
    """Return a table for each lesion with a ring or a mirror image, beside the lesion itself."""
    around = table[table["roi"].isin(("ring", "mirror"))]
    if around.empty:
        return []
    both = pd.concat([participant.statistics, around], ignore_index=True)
    both = both[both["roi"].isin(_NAMES)]
    return [
        _region_table(participant, both[both["lesion"] == lesion], participant.title(lesion))
        for lesion in sorted(set(around["lesion"].astype(int)))
    ]


def _other_tables(participant: ParticipantOutputs, names: list[str]) -> list[Block]:
    """Return a table for each label image of the user; its parts by number."""
    table = participant.regions
    return [
        _region_table(participant, table[table["roi"] == name], f"Region {name}") for name in names
    ]


def _region_table(participant: ParticipantOutputs, rows: pd.DataFrame, title: str) -> Table:
    """Return the means of several regions, sessions below one another."""
    shown = [name for name in DISPLAY if name in set(rows["parameter"])]
    lines: list[list[Cell]] = []
    for session in participant.sessions:
        here = [row for row in rows.to_dict("records") if _is_of(row, session)]
        for key in dict.fromkeys((row["roi"], row["lesion"]) for row in here):
            own = {r["parameter"]: r for r in here if (r["roi"], r["lesion"]) == key}
            label = _NAMES.get(key[0], f"label {key[1]}")
            lines.append([session.name, label, *(_cell(own.get(n), n) for n in shown)])
    columns = _columns(shown)
    return Table(title, columns, lines, text=frozenset({1}))
