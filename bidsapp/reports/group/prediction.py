"""The section of the early changes that predict the response."""

from bidsapp.reports.group.view import ALPHA, GroupView, listed, many, span, table_files
from bidsapp.reports.page.blocks import Block, Table, Words
from bidsapp.reports.page.numbers import interval, number, pvalue


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
        words = f"Responders are singled out, also after Holm's correction, by {listed(found)}."
    fewest = int(min(tested["n_responders"].min(), tested["n_nonresponders"].min()))
    caveat = (
        f"With {many(fewest, 'lesion')} in the smaller group the intervals are wide, lesions of a "
        "patient are taken for independent, and the curve is drawn through the data it is judged "
        "by: a hypothesis for another study, not a rule."
    )
    areas = Table(
        "Area under the ROC curve: the chance that a responder's value falls more",
        [*columns, "p Holm", "Note"],
        rows,
        text=frozenset({1, 7}),
        files=table_files("prediction") + table_files("roc"),
    )
    return [Words([words], caveat), view.picture("roc"), areas]
