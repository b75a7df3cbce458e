"""The section of the mixed model, which accounts for several lesions per patient."""

import pandas as pd

from bidsapp.reports.group.view import GroupView, span, table_files
from bidsapp.reports.group.wording import disagreement_words, p_words
from bidsapp.reports.page.blocks import Block, Table, Words
from bidsapp.reports.page.numbers import format_interval, format_number, format_pvalue


def show_mixed_model(view: GroupView) -> list[Block]:
    """Compare the mixed model with the paired t tests."""
    mixed = view.statistics.mixed
    rows = []
    for row in mixed.to_dict("records"):
        form = view.forms[row["parameter"]]
        rows.append(
            [
                form.title,
                span(row),
                form.format(row["mean_difference"], sign=True),
                format_interval(
                    row["ci_low"] * form.scale, row["ci_high"] * form.scale, form.digits
                ),
                format_number(row["df"], 1),
                format_pvalue(row["p"]),
                format_pvalue(row["p_holm"]),
                format_pvalue(row["p_paired"]),
                format_number(row["icc_participant"], 2),
                format_number(row["icc_lesion"], 2),
                row["note"],
            ]
        )
    columns = ["Parameter", "Time points", "Change", "95 % interval", "df", "p", "p Holm"]
    columns += ["p, t test", "ICC patient", "ICC lesion", "Note"]
    table = Table(
        "Linear mixed model, restricted maximum likelihood, Satterthwaite's degrees of freedom",
        columns,
        rows,
        text=frozenset({1, 10}),
        files=table_files("mixed"),
    )
    return [Words(_comparison_words(mixed), _icc_words(mixed)), table]


def _comparison_words(mixed: pd.DataFrame) -> list[str]:
    """Describe where the mixed model and the paired t test disagree."""
    tested = mixed[mixed["agrees"].notna()]
    which = [
        f"{row['parameter']} {span(row)} (mixed model {p_words(row['p'])}, t test "
        f"{p_words(row['p_paired'])})"
        for row in tested[tested["agrees"] == 0].to_dict("records")
    ]
    return [disagreement_words(len(tested), which)]


def _icc_words(mixed: pd.DataFrame) -> str:
    """Describe the intraclass correlations of lesions of one patient."""
    known = mixed.drop_duplicates("parameter").dropna(subset="icc_participant")
    if known.empty:
        return (
            "No patient has two lesions, so the variances between patients and between lesions "
            "cannot be separated."
        )
    parts = [
        f"{row['parameter']} {format_number(row['icc_participant'], 2)}"
        for row in known.to_dict("records")
    ]
    return (
        "ICC: intraclass correlation, the proportion of the variance shared by two lesions of a "
        f"patient ({', '.join(parts)}) or by two time points of a lesion. With few patients who "
        "have several lesions, the former is imprecise."
    )
