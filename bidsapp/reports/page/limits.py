"""Changes of single lesions beside their limits, as displayed on the pages."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from bidsapp.reports.page.blocks import Cell, Table
from bidsapp.reports.page.numbers import NumberFormat, format_number
from bidsapp.study.tables.changes import PERCENT
from bidsapp.study.tables.limits import published_table

ORIGINS = {"repeats": "repeats", "simulation": "simulation"}
"""Where a limit with a verdict is from, as displayed."""

_KINDS = {
    "change": "change",
    "CV": "coefficient of variation",
    "variability": "variability between visits, taken as a coefficient of variation",
}
"""Kinds of published limits, as displayed."""


def change_cell(row: Mapping[Any, Any], form: NumberFormat) -> Cell:
    """Return the lines of a cell: the change, its limit, and the verdict or the reference.

    Parameters
    ----------
    row : mapping
        A row of the table of changes.
    form : NumberFormat
        Of the parameter.

    Examples
    --------
    >>> row = {"change": -0.02, "percent": -25.0, "limit_from": "repeats", "limit_low": -0.01,
    ...        "limit_high": 0.01, "limit_unit": "1/min", "verdict": "exceeded"}
    >>> change_cell(row, NumberFormat("Ktrans", "1/min", 1, 3))
    ('−0.020 (−25 %)', 'limit ± 0.010', 'repeats: exceeded')
    """
    change = form.format(row["change"], sign=True)
    if pd.notna(row["percent"]):
        change += f" ({format_number(row['percent'], 0, sign=True)} %)"
    if not row["limit_from"]:
        return change, "no limit"
    low, high = row["limit_low"], row["limit_high"]
    limit = format_limit(low, high, form, relative=row["limit_unit"] == PERCENT)
    if row["limit_from"] == "published":
        return change, f"published {limit}", row["source"]
    verdict = f": {row['verdict']}" if row["verdict"] else ""
    return change, f"limit {limit}", f"{ORIGINS[row['limit_from']]}{verdict}"


@dataclass(frozen=True)
class Mark:
    """How a change compares with its limit: a symbol, and its meaning."""

    symbol: str
    meaning: Literal["beyond", "published", "within", "none"]


def change_mark(row: Mapping[Any, Any]) -> Mark:
    """Return the arrow of a change: filled beyond a limit of the study, open if published.

    Parameters
    ----------
    row : mapping
        A row of the table of changes.

    Examples
    --------
    >>> row = {"change": -0.02, "percent": -25.0, "limit_from": "published", "limit_low": -8.0,
    ...        "limit_high": 8.0, "limit_unit": "% of value_a"}
    >>> change_mark(row).symbol, change_mark(row | {"limit_from": "repeats"}).symbol
    ('▽', '▼')
    >>> change_mark(row | {"limit_from": ""})
    Mark(symbol='', meaning='none')
    """
    size = row["percent"] if row["limit_unit"] == PERCENT else row["change"]
    low, high = row["limit_low"], row["limit_high"]
    if not row["limit_from"] or not np.isfinite([size, low, high]).all():
        return Mark("", "none")
    if low <= size <= high:
        return Mark("→", "within")
    published = row["limit_from"] == "published"
    symbols = ("△", "▽") if published else ("▲", "▼")
    return Mark(symbols[size < low], "published" if published else "beyond")


def change_text(row: Mapping[Any, Any], form: NumberFormat) -> str:
    """Return a change in percent, or in the unit of the parameter if the first value was zero.

    Examples
    --------
    >>> form = NumberFormat("vp", "%", 100, 1)
    >>> change_text({"change": -0.01, "percent": -0.3}, form)
    '−0.3 %'
    >>> change_text({"change": 0.01, "percent": float("nan")}, form)
    '+1.0'
    """
    if pd.notna(row["percent"]):
        return f"{format_number(row['percent'], 0, sign=True)} %"
    return form.format(row["change"], sign=True)


def format_limit(low: float, high: float, form: NumberFormat, *, relative: bool) -> str:
    """Return the limits of a change as text, in percent or in the unit of the parameter.

    Examples
    --------
    >>> form = NumberFormat("vp", "%", 100, 1)
    >>> format_limit(-28.0, 39.0, form, relative=True)
    '−28 to +39 %'
    >>> format_limit(-0.01, 0.01, form, relative=False)
    '± 1.0'
    """
    scale, digits, unit = (1.0, 0, " %") if relative else (form.scale, form.digits, "")
    ends = [format_number(value * scale, digits, sign=True) for value in (low, high)]
    if low == -high:
        return f"± {ends[1].removeprefix('+')}{unit}"
    return f"{ends[0]} to {ends[1]}{unit}"


def limit_words(changes: pd.DataFrame, names: Mapping[str, str]) -> Iterator[str]:
    """Yield a sentence on each kind of limit in a table of changes, and on what has none.

    Parameters
    ----------
    changes : pandas.DataFrame
        With the columns ``parameter``, ``limit_from`` and ``source``.
    names : mapping of str to str
        Parameter -> name on the page.
    """
    kinds = dict(iter(changes.groupby("limit_from", sort=False)))
    if "repeats" in kinds:
        scans = "; ".join(dict.fromkeys(kinds["repeats"]["source"]))
        yield (
            f"Limits from repeat scans are of this study ({scans}): the change of an unchanged "
            "lesion is estimated to exceed them in 5 % of cases. With few lesions this is "
            "uncertain; the intervals are in group_repeatability.tsv."
        )
    if "simulation" in kinds:
        yield (
            "Limits from the simulation are of the same lesion in the earlier scan; they do not "
            "include physiological variation between visits."
        )
    if "published" in kinds:
        yield (
            "Published limits are of other scanners and patients and are no verdict on these "
            "changes. Limits of these data need repeat scans (group --repeats) or a simulation "
            "(metperf recovery)."
        )
    if "" in kinds:
        lacking = [names[name] for name in dict.fromkeys(kinds[""]["parameter"])]
        yield f"Where no limit is stated ({', '.join(lacking)}), none is known."


def _doi(doi: str) -> list[str]:
    """Return a reference by its DOI, if it is known."""
    return [] if doi == "n/a" else [f"doi:{doi}"]


def published_limits_table(parameters: Iterable[str], names: Mapping[str, str]) -> Table:
    """Return the table of published limits of some parameters."""
    table = published_table()
    rows = [
        [
            names[row["parameter"]],
            f"± {row['limit']:.3g} %",
            row["measured"],
            row["subjects"],
            row["field"],
            f"{row['percent']:g} %, {_KINDS[row['kind']]}",
            (row["source"], row["journal"], *_doi(row["doi"])),
        ]
        for row in table[table["parameter"].isin(list(parameters))].to_dict("records")
    ]  # fmt: skip
    columns = ["Parameter", "Limit of a change", "What was measured", "Subjects", "Field"]
    caption = "Published limits, other scanners and patients"
    return Table(
        caption, [*columns, "As published", "Source"], rows, text=frozenset({2, 3, 4, 5, 6})
    )
