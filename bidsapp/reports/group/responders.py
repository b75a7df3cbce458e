"""The sections of early change and response: responders compared with the others, ROC curves."""

from collections.abc import Hashable, Mapping
from typing import Any

from bidsapp.reports.group.view import ALPHA, GroupView, count_of, join_words, span, table_files
from bidsapp.reports.page.blocks import Block, Table, Words
from bidsapp.reports.page.numbers import (
    NumberFormat,
    interval,
    number,
    percent,
    pvalue,
)


def responders(view: GroupView) -> list[Block]:
    """Give the study's comparison of responders with the others."""
    table = view.statistics.responders
    rows = [
        [
            view.forms[row["parameter"]].name,
            f"{percent(row['change_responders'])} (n = {row['n_responders']})",
            f"{percent(row['change_nonresponders'])} (n = {row['n_nonresponders']})",
            number(row["t"], 2),
            number(row["df"], 0),
            pvalue(row["p"]),
        ]
        for row in table.to_dict("records")
    ]
    caption = f"Change from {view.timepoints[0]} to {view.timepoints[-1]}, unpaired t test"
    columns = ["Parameter", "Responders (CR, PR)", "Others (SD, PD)", "t", "df", "p"]
    words = [_meaning(row, view.forms) for row in table.to_dict("records")]
    return [Words(words), Table(caption, columns, rows, files=table_files("responders"))]


def _meaning(row: Mapping[Hashable, Any], forms: Mapping[str, NumberFormat]) -> str:
    """Say in words what the comparison of one parameter found."""
    name = forms[row["parameter"]].name
    if row["note"]:
        return f"{name}: {row['note']}."
    if row["p"] < ALPHA:
        return f"{name} changed differently in lesions that later responded."
    return f"{name}: no difference was seen between lesions that later responded or not."


def prediction(view: GroupView) -> list[Block]:
    """Show whether early changes single out responders."""
    table = view.statistics.prediction
    tested = table[table["auc"].notna()]
    if tested.empty:
        return [Words([f"No test: {table['note'].iloc[0]}."])]
    rows = [
        [
            view.forms[row["parameter"]].name,
            span(row),
            f"{row['n_responders']} / {row['n_nonresponders']}",
            number(row["auc"], 2),
            interval(row["ci_low"], row["ci_high"], 2),
            pvalue(row["p"]),
            pvalue(row["p_holm"]),
            row["note"],
        ]
        for row in table.to_dict("records")
    ]
    columns = ["Parameter", "Change", "Responders / others", "Area", "95 % interval", "p"]
    found = [
        f"{r['parameter']} {span(r)}" for r in tested[tested["p_holm"] < ALPHA].to_dict("records")
    ]
    words = "No early change singles out responders beyond chance (after Holm's correction)."
    if found:
        words = f"Responders are singled out, also after Holm's correction, by {join_words(found)}."
    fewest = int(min(tested["n_responders"].min(), tested["n_nonresponders"].min()))
    caveat = (
        f"With {count_of(fewest, 'lesion')} in the smaller group, the intervals are wide. The "
        "analysis treats the lesions of a patient as independent, and each curve is evaluated on "
        "the data from which it was derived: it is a hypothesis for another study, not a rule."
    )
    areas = Table(
        "Area under the ROC curve: the chance that a responder's value falls more",
        [*columns, "p Holm", "Note"],
        rows,
        text=frozenset({1, 7}),
        files=table_files("prediction") + table_files("roc"),
    )
    return [Words([words], caveat), view.picture("roc"), areas]
