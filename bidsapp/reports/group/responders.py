"""The sections of early change and response: responders and others, and ROC curves."""

from collections.abc import Hashable, Mapping
from typing import Any

from bidsapp.reports.group.view import GroupView, span, table_files
from bidsapp.reports.group.wording import (
    Area,
    prediction_caveat,
    prediction_words,
    responder_words,
)
from bidsapp.reports.page.blocks import Block, Table, Words
from bidsapp.reports.page.numbers import (
    NumberFormat,
    format_interval,
    format_number,
    format_percent,
    format_pvalue,
)


def show_responders(view: GroupView) -> list[Block]:
    """Compare the early changes of responders with those of the others."""
    table = view.statistics.responders
    rows = [
        [
            view.forms[row["parameter"]].name,
            f"{format_percent(row['change_responders'])} (n = {row['n_responders']})",
            f"{format_percent(row['change_nonresponders'])} (n = {row['n_nonresponders']})",
            format_number(row["t"], 2),
            format_number(row["df"], 0),
            format_pvalue(row["p"]),
        ]
        for row in table.to_dict("records")
    ]
    caption = f"Change from {view.timepoints[0]} to {view.timepoints[-1]}, unpaired t test"
    columns = ["Parameter", "Responders (CR, PR)", "Others (SD, PD)", "t", "df", "p"]
    words = [_meaning(row, view.forms) for row in table.to_dict("records")]
    return [Words(words), Table(caption, columns, rows, files=table_files("responders"))]


def _meaning(row: Mapping[Hashable, Any], forms: Mapping[str, NumberFormat]) -> str:
    """Describe the comparison of one parameter in a sentence."""
    name = forms[row["parameter"]].name
    if row["note"]:
        return f"{name}: {row['note']}."
    changes = row["change_responders"], row["change_nonresponders"]
    counts = row["n_responders"], row["n_nonresponders"]
    return responder_words(name, *changes, row["p"], counts)


def show_prediction(view: GroupView) -> list[Block]:
    """Show whether early changes predict the response."""
    table = view.statistics.prediction
    tested = table[table["auc"].notna()]
    if tested.empty:
        return [Words([f"No test: {table['note'].iloc[0]}."])]
    rows = [
        [
            view.forms[row["parameter"]].name,
            span(row),
            f"{row['n_responders']} / {row['n_nonresponders']}",
            format_number(row["auc"], 2),
            format_interval(row["ci_low"], row["ci_high"], 2),
            format_pvalue(row["p"]),
            format_pvalue(row["p_holm"]),
            row["note"],
        ]
        for row in table.to_dict("records")
    ]
    columns = ["Parameter", "Change", "Responders / others", "Area", "95 % interval", "p"]
    words = prediction_words(
        [
            Area(f"{view.forms[r['parameter']].name}, {span(r)}", r["auc"], r["p"], r["p_holm"])
            for r in tested.to_dict("records")
        ]
    )
    fewest = int(min(tested["n_responders"].min(), tested["n_nonresponders"].min()))
    areas = Table(
        "Area under the ROC curve: probability that the value falls more in a responder",
        [*columns, "p Holm", "Note"],
        rows,
        text=frozenset({1, 7}),
        files=table_files("prediction") + table_files("roc"),
    )
    return [Words(words, prediction_caveat(fewest)), view.picture("roc"), areas]
