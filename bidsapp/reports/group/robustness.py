"""The section on the robustness of every paired test."""

import pandas as pd

from bidsapp.reports.group.view import ALPHA, GroupView, join_words, span, table_files
from bidsapp.reports.group.wording import fragility_words, is_robust
from bidsapp.reports.page.blocks import Block, Table, Words
from bidsapp.reports.page.numbers import format_interval, format_number, format_pvalue


def show_robustness(view: GroupView) -> list[Block]:
    """Show effect sizes, rank tests, tests of whole patients and leave-one-out tests."""
    paired = view.statistics.paired
    rows = [
        [
            view.forms[row["parameter"]].name,
            span(row),
            format_number(row["cohens_dz"], 2, sign=True),
            format_interval(row["dz_low"], row["dz_high"], 2),
            format_pvalue(row["p"]),
            format_pvalue(row["p_wilcoxon"]),
            format_pvalue(row["p_signflip"]),
            f"{format_pvalue(row['p_without_max'])} without {row['without_max']}"
            if row["without_max"]
            else "–",
            format_pvalue(row["p_normality"]),
        ]
        for row in paired.to_dict("records")
    ]
    columns = ["Parameter", "Time points", "dz", "95 % interval", "p, t test", "p, Wilcoxon"]
    columns += ["p, whole patients", "Largest p", "p, normality"]
    table = Table(
        "Robustness of each change",
        columns,
        rows,
        text=frozenset({1, 7}),
        files=table_files("paired") + table_files("influence"),
    )
    words = Words(
        _robustness_words(paired),
        "A small p value of the Shapiro-Wilk test of normality indicates that the changes are not "
        "normally distributed; Wilcoxon's test is then preferable. The permutation test flips the "
        "signs of all lesions of a patient together, so that they need not be independent.",
    )
    return [words, view.picture("effects"), table]


def _robustness_words(paired: pd.DataFrame) -> list[str]:
    """Describe which findings are robust, and which depend on one test or one patient."""
    found = paired[paired["p"] < ALPHA]
    if found.empty:
        return ["No paired t test has p < 0.05, so there is no finding to check."]
    rows = found.to_dict("records")
    robust = [f"{row['parameter']} {span(row)}" for row in rows if is_robust(row)]
    texts = []
    if robust:
        texts.append(
            "Robust (p < 0.05 also after Holm's correction, by ranks, with whole patients, and "
            f"without any single patient): {join_words(robust)}."
        )
    return texts + [
        fragility_words(f"{row['parameter']}, {span(row)}", row, row["n"], row["n_participants"])
        for row in rows
        if not is_robust(row)
    ]
