"""The section of the reference region: sanity of its values, and their variation."""

import numpy as np

from bidsapp.models.parameters import DISPLAY
from bidsapp.reports.group.view import GroupView, table_files
from bidsapp.reports.group.wording import count_words
from bidsapp.reports.page.blocks import Block, Cell, Table, Words
from bidsapp.reports.page.numbers import format_number


def show_reference(view: GroupView) -> list[Block]:
    """Show the variation of the reference region, and its values at every session."""
    tables = view.result.reference
    if not tables:
        return []
    variation, values = tables["referencevariation"], tables["reference"]
    rows = [
        [
            str(row["parameter"]),
            _shown(str(row["parameter"]), float(row["mean"])),
            format_number(row["n_values"], 0),
            f"{row['n_repeated']:.0f} of {row['n_participants']:.0f}",
            format_number(row["within_cv"], 1),
            format_number(row["between_cv"], 1),
        ]
        for row in variation.to_dict("records")
        if row["parameter"] in DISPLAY
    ]
    columns: list[Cell] = ["Parameter", "Mean", "Values", "Participants with several sessions"]
    columns += [("CV between sessions", "% within participants"), ("CV between participants", "%")]
    files = table_files("referencevariation") + table_files("ratios")
    block = Table("Variation of the reference region", columns, rows, files=files)
    return [_words(values["plausible"].to_numpy(float)), block, _values(view)]


def _words(plausible: np.ndarray) -> Words:
    """Return how many values are those of normal white matter."""
    known = plausible[np.isfinite(plausible)]
    what = "outside the range of normal white matter"
    outside = count_words(int((known == 0).sum()), len(known), "values", what)
    text = outside if len(known) else "No range of normal white matter is known of these values."
    caveat = (
        "The variation between sessions is that of scanner, analysis and region, and of the "
        "treatment if it reaches white matter: a change of a lesion of this size is no finding."
    )
    return Words([text], caveat)


def _values(view: GroupView) -> Table:
    """Return the values at every session, those outside the range of white matter in bold."""
    rows: list[list[Cell]] = []
    bold = set()
    for row in view.result.reference["reference"].to_dict("records"):
        name = str(row["parameter"])
        if name not in DISPLAY:
            continue
        bold |= {(len(rows), 4)} if row["plausible"] == 0 else set()
        known = f"{_shown(name, row['low'])} to {_shown(name, row['high'])}"
        rows.append(
            [
                row["participant_id"],
                str(row["session_id"]).removeprefix("ses-"),
                format_number(row["days"], 0),
                name,
                _shown(name, row["mean"]),
                "–" if np.isnan(row["low"]) else known,
            ]
        )
    return Table(
        "Reference region at every session",
        ["Participant", "Session", "Day", "Parameter", "Mean", "Normal white matter"],
        rows,
        text=frozenset({1, 3, 5}),
        bold=frozenset(bold),
        files=table_files("reference"),
        summary=f"All {len(rows)} values",
        hrefs={str(r[0]): f"{r[0]}.html" for r in rows if r[0] in view.pages},
    )


def _shown(name: str, value: float) -> str:
    """Return a value with its unit."""
    return f"{DISPLAY[name].text(value)} {DISPLAY[name].unit}"
