"""The section of the quality of every series, outlying series first."""

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bidsapp.imaging.motion.parameters import DISPLACEMENT
from bidsapp.reports.group.view import GroupView, table_files
from bidsapp.reports.group.wording import count_words
from bidsapp.reports.page.blocks import Block, Cell, Table, Words
from bidsapp.reports.page.numbers import format_number
from bidsapp.reports.participant.findings import CONSISTENCY, FAILED_SHARE

FAR = 5.0
"""Robust standard deviations from the median of its kind beyond which a value is outlying."""

FEWEST = 5
"""Smallest number of series of a kind for which outlying values are sought."""

_NUMBERS = {
    "expected_error_mm": ("expected error", 2, 1),
    "consistency_mm": ("inconsistency", 2, 1),
    "max_displacement_mm": ("motion", 2, 1),
    "n_outliers": ("outliers", 0, 1),
    "signal_to_noise": ("signal-to-noise ratio", 0, -1),
    "failed_percent": ("voxels without a value", 1, 1),
}
"""Column -> label, decimals, and direction of poor quality (1: high, -1: low)."""

_LIMITS = {
    "consistency_mm": CONSISTENCY,
    "max_displacement_mm": DISPLACEMENT,
    "failed_percent": 100 * FAILED_SHARE,
}
"""Limits above which a value is outlying regardless of the other series."""


def show_quality(view: GroupView) -> list[Block]:
    """Tabulate the quality of every series."""
    table = view.result.quality
    if table.empty:
        return []
    flags = find_outlying(table)
    order = sorted(range(len(table)), key=lambda i: (-len(flags[i]), i))
    rows, bold = [], set()
    for place, index in enumerate(order):
        row = table.iloc[index].to_dict()
        rows.append(_row(row, flags[index]))
        bold |= {
            (place, 4 + list(_NUMBERS).index(name)) for name in flags[index] if name in _NUMBERS
        }
        bold |= {(place, 3)} if "verdict" in flags[index] else set()
    count = sum(bool(found) for found in flags)
    text = count_words(count, len(table), "series", "outlying")
    columns: list[Cell] = ["Participant", "Session", "Series", "Registration"]
    columns += [("Expected error", "mm"), ("Inconsistency", "mm"), ("Motion", "mm, largest")]
    columns += ["Outliers", "SNR", ("No value", "% of voxels"), "Outlying in"]
    people = table["participant_id"].unique()
    block = Table(
        "Outlying series",
        columns,
        rows[:count],
        text=frozenset({1, 2, 3, 10}),
        bold=frozenset(bold),
        files=table_files("quality"),
        hrefs={p: f"{p}.html" for p in people if p in view.pages},
    )
    every = replace(
        block,
        caption="Every series, outlying ones first",
        rows=rows,
        summary=f"All {len(rows)} series",
    )
    return [Words([text]), *([block] if count else []), every]


def _row(row: dict[Any, Any], flags: list[str]) -> list[str]:
    """Return the row of one series."""
    numbers = [
        format_number(float("nan") if row[name] is None else float(row[name]), digits)
        for name, (_, digits, _) in _NUMBERS.items()
    ]
    named = [_NUMBERS[name][0] if name in _NUMBERS else str(row["reason"]) for name in flags]
    verdict = row["verdict"] if isinstance(row["verdict"], str) else "–"
    session = str(row["session_id"]).removeprefix("ses-")
    return [row["participant_id"], session, row["series"], verdict, *numbers, ", ".join(named)]


def find_outlying(table: pd.DataFrame) -> list[list[str]]:
    """Find the columns in which each series is outlying.

    Parameters
    ----------
    table : pandas.DataFrame
        A row per series; see `bidsapp.run.quality_table.COLUMNS`.

    Returns
    -------
    flags : list of list of str
        "verdict", or a column whose value exceeds a limit or is far from those of its kind.

    Examples
    --------
    >>> rows = [{"series": "DWI", "verdict": "good", "max_displacement_mm": 0.2}] * 5
    >>> rows += [{"series": "DWI", "verdict": "doubtful", "max_displacement_mm": 3.0}]
    >>> find_outlying(pd.DataFrame(rows))[-1]
    ['verdict', 'max_displacement_mm']
    """
    flags: list[list[str]] = [[] for _ in range(len(table))]
    for i, verdict in enumerate(table["verdict"]):
        if isinstance(verdict, str) and verdict != "good":
            flags[i].append("verdict")
    for name, (_, _, side) in _NUMBERS.items():
        if name not in table:
            continue
        values = table[name].to_numpy(np.float64)
        outlying = values > _LIMITS.get(name, np.inf)
        for kind in table["series"].unique():
            here = (table["series"] == kind).to_numpy()
            outlying[here] |= _far(side * values[here])
        for row in np.flatnonzero(outlying):
            flags[int(row)].append(name)
    return flags


def _far(values: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return which values are far above the median, if there are enough and they vary."""
    known = values[np.isfinite(values)]
    if known.size < FEWEST:
        return np.zeros(values.size, bool)
    middle = float(np.median(known))
    spread = 1.4826 * float(np.median(np.abs(known - middle)))
    far: NDArray[np.bool_] = values - middle > (FAR * spread if spread > 0 else np.inf)
    return far
