"""The section of changes of single lesions: repeatability, and every change beside its limit."""

import pandas as pd

from bidsapp.reports.group.view import MOST_ROWS, GroupView, span, table_files
from bidsapp.reports.page.blocks import Block, Cell, Table, Words
from bidsapp.reports.page.limits import (
    ORIGINS,
    change_cell,
    format_limit,
    limit_words,
    published_limits_table,
)
from bidsapp.reports.page.numbers import format_interval, format_number
from bidsapp.study.statistics import SPAN


def show_single_lesions(view: GroupView) -> list[Block]:
    """Show the changes of single lesions and the limits that apply to them."""
    statistics = view.statistics
    names = {name: form.name for name, form in view.forms.items()}
    blocks: list[Block] = []
    if statistics.repeatability["within_sd"].notna().any():
        blocks.append(_repeatability(view))
    changes = statistics.changes
    if changes.empty:
        return blocks
    judged = changes[changes["verdict"] != ""]
    words = Words(list(limit_words(changes, names)))
    blocks = [words, *blocks, *([_counts(view, judged)] if len(judged) else [])]
    published = changes[changes["limit_from"] == "published"]["parameter"]
    if len(published):
        blocks.append(published_limits_table(published, names))
    return [*blocks, _every_change(view, changes)]


def _repeatability(view: GroupView) -> Table:
    """Return the table of the repeatability of each parameter."""
    rows = []
    for row in view.statistics.repeatability.to_dict("records"):
        form = view.forms[row["parameter"]]
        limits = row["limit_low"], row["limit_high"]
        limit = format_limit(*limits, form, relative=row["scale"] == "relative")
        rows.append(
            [
                form.title,
                str(row["n"]),
                form.format(row["bias"], sign=True),
                form.format(row["within_sd"]),
                form.format(row["repeatability_coefficient"]),
                format_interval(
                    row["ci_low"] * form.scale, row["ci_high"] * form.scale, form.digits
                ),
                format_number(row["within_cv"], 1),
                format_interval(row["cv_low"], row["cv_high"], 1),
                "–" if row["note"] else limit,
                row["note"],
            ]
        )
    first = view.statistics.repeatability.iloc[0]
    columns: list[Cell] = ["Parameter", "n", "Bias", "Within-lesion SD", ("RC", f"{SPAN:.2f} SD"),
                           "95 % interval", ("wCV", "%"), "95 % interval", "Limit of a change",
                           "Note"]  # fmt: skip
    return Table(
        f"Repeatability from {first['session_a']} and {first['session_b']}",
        columns,
        rows,
        text=frozenset({9}),
        files=table_files("repeatability"),
    )


def _counts(view: GroupView, judged: pd.DataFrame) -> Table:
    """Return the number of lesions that changed by more than their limit."""
    keys = ["parameter", "timepoint_a", "timepoint_b", "limit_from"]
    rows = []
    for _, group in judged.groupby(keys, sort=False):
        row = group.iloc[0].to_dict()
        beyond = group[group["verdict"] == "exceeded"]["change"]
        fell, rose = int((beyond < 0).sum()), int((beyond > 0).sum())
        name = view.forms[row["parameter"]].name
        counts = [str(n) for n in (len(group), fell, rose, len(group) - len(beyond))]
        rows.append([name, span(row), ORIGINS[row["limit_from"]], *counts])
    columns = ["Parameter", "Time points", "Limit from", "Lesions", "Fell by more", "Rose by more"]
    return Table(
        "Lesions that changed by more than their limit",
        [*columns, "Within"],
        rows,
        text=frozenset({1, 2}),
    )


def _every_change(view: GroupView, changes: pd.DataFrame) -> Table:
    """Return the changes of all lesions, folded: a row per lesion and later time point."""
    shown = [name for name in view.forms if name in set(changes["parameter"])]
    rows: list[list[Cell]] = []
    keys = ["participant_id", "lesion", "timepoint_a", "timepoint_b"]
    place_of = changes.groupby(keys, sort=False).ngroup()
    for _, group in changes[place_of < MOST_ROWS].groupby(keys, sort=False):
        cells = {
            row["parameter"]: change_cell(row, view.forms[row["parameter"]])
            for row in group.to_dict("records")
        }
        row = group.iloc[0].to_dict()
        place = [row["participant_id"], str(row["lesion"]), span(row)]
        rows.append([*place, *(cells.get(name, "–") for name in shown)])
    heads: list[Cell] = [(view.forms[name].name, view.forms[name].unit) for name in shown]
    return Table(
        "Change of every lesion from the first time point",
        ["Participant", "Lesion", "Time points", *heads],
        rows,
        text=frozenset({2}),
        files=table_files("changes"),
        summary="Change of every lesion, with its limit",
        total=int(place_of.max()) + 1,
    )
