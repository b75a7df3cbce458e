"""The section of changes over time (the study's Table 2 and Figure 2)."""

from collections.abc import Hashable, Iterator, Mapping
from typing import Any

import pandas as pd

from bidsapp.reports.group.view import ALPHA, GroupView, join_words, span, table_files
from bidsapp.reports.group.wording import change_words, multiplicity_words
from bidsapp.reports.page.blocks import Block, Cell, Table, Words
from bidsapp.reports.page.numbers import (
    NumberFormat,
    format_interval,
    format_number,
    format_pvalue,
    timepoint_label,
)

_TEST_COLUMNS = ["Parameter", "Time points", "n", "Change", "95 % interval", "t", "df", "p"]
_TEST_COLUMNS += ["p Holm", "p FDR", "Note"]


def show_changes(view: GroupView) -> list[Block]:
    """Show means and tests at every time point, the time courses, and every test in full."""
    paired = view.statistics.paired
    caveat = multiplicity_words(int(paired["p"].notna().sum()))
    every = Table(
        "Every paired t test",
        _TEST_COLUMNS,
        list(_tests(paired, view.forms)),
        text=frozenset({1, 10}),
        files=table_files("paired"),
        summary="Every test: n, mean difference, 95 % interval, t, corrected p",
    )
    return [
        Words(list(_changes(paired, view.forms)), caveat),
        _table2(view),
        view.picture("timecourse"),
        *view.pictures("timecourse_others"),
        every,
    ]


def _table2(view: GroupView) -> Table:
    """Return mean and SD at every time point, and p of every pair (the study's Table 2)."""
    statistics = view.statistics
    rows: list[list[str]] = []
    bold: set[tuple[int, int]] = set()
    for name, form in view.forms.items():
        means = statistics.summary[statistics.summary["parameter"] == name]
        tests = statistics.paired[statistics.paired["parameter"] == name]
        cells = [
            f"{form.format(m)} ± {form.format(s)}" for m, s in means[["mean", "sd"]].to_numpy()
        ]
        cells = ["–" if cell == "– ± –" else cell for cell in cells]
        first = 1 + len(cells)
        bold |= {(len(rows), first + i) for i, p in enumerate(tests["p"]) if p < ALPHA}
        rows.append([form.title, *cells, *(format_pvalue(p) for p in tests["p"])])
    spans = statistics.paired[["timepoint_a", "timepoint_b"]].drop_duplicates()
    columns: list[Cell] = ["Parameter", *view.timepoints]
    columns += [("p", span(row)) for row in spans.to_dict("records")]
    caption = "Mean ± SD of the lesions, and p of the paired t tests"
    files = table_files("summary")
    return Table(caption, columns, rows, bold=frozenset(bold), files=files)


def _tests(paired: pd.DataFrame, forms: Mapping[str, NumberFormat]) -> Iterator[list[str]]:
    """Yield a row per paired test."""
    for row in paired.to_dict("records"):
        form = forms[row["parameter"]]
        yield [
            form.title,
            span(row),
            str(row["n"]),
            form.format(row["mean_difference"], sign=True),
            format_interval(row["ci_low"] * form.scale, row["ci_high"] * form.scale, form.digits),
            format_number(row["t"], 2),
            format_number(row["df"], 0),
            *(format_pvalue(row[name]) for name in ("p", "p_holm", "p_fdr")),
            row["note"],
        ]


def _changes(paired: pd.DataFrame, forms: Mapping[str, NumberFormat]) -> Iterator[str]:
    """Yield a sentence per parameter on its significant changes."""
    quiet = []
    for name, form in forms.items():
        tests = paired[paired["parameter"] == name]
        found = tests[tests["p"] < ALPHA]
        if tests["p"].notna().any() and found.empty:
            quiet.append(form.name)
        if not found.empty:
            parts = [_change(row, form) for row in found.to_dict("records")]
            yield f"{form.name} {'; '.join(parts)}."
    if quiet:
        yield f"{join_words(quiet)}: no significant change (every p ≥ {ALPHA})."
    counts = paired.groupby("parameter")["p"].count()
    untested = [form.name for name, form in forms.items() if counts.get(name, 0) == 0]
    if untested:
        yield f"{join_words(untested)}: no test, as too few lesions have values at two time points."


def _change(row: Mapping[Hashable, Any], form: NumberFormat) -> str:
    """Describe one change in words."""
    times = timepoint_label(row["timepoint_a"]), timepoint_label(row["timepoint_b"])
    return change_words(row["mean_a"], row["mean_b"], row["p"], times, form)
