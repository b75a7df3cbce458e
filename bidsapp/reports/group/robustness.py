"""The section that repeats every paired test by other means."""

import pandas as pd

from bidsapp.reports.group.view import ALPHA, GroupView, join_words, span, table_files
from bidsapp.reports.page.blocks import Block, Table, Words
from bidsapp.reports.page.numbers import interval, number, pvalue


def robustness(view: GroupView) -> list[Block]:
    """Show effect sizes, ranks, whole patients and patients left out."""
    paired = view.statistics.paired
    rows = [
        [
            view.forms[row["parameter"]].name,
            span(row),
            number(row["cohens_dz"], 2, sign=True),
            interval(row["dz_low"], row["dz_high"], 2),
            pvalue(row["p"]),
            pvalue(row["p_wilcoxon"]),
            pvalue(row["p_signflip"]),
            f"{pvalue(row['p_without_max'])} without {row['without_max']}"
            if row["without_max"]
            else "–",
            pvalue(row["p_normality"]),
        ]
        for row in paired.to_dict("records")
    ]
    columns = ["Parameter", "Time points", "dz", "95 % interval", "p, t test", "p, Wilcoxon"]
    columns += ["p, whole patients", "Largest p", "p, normality"]
    table = Table(
        "The same change by other means",
        columns,
        rows,
        text=frozenset({1, 7}),
        files=table_files("paired") + table_files("influence"),
    )
    words = Words(
        _firm_words(paired),
        "A small p of normality (Shapiro and Wilk) says that the changes are not normally "
        "distributed: Wilcoxon's test is the safer one there. Whole patients change sign together "
        "in the permutation test, so that their lesions need not be independent.",
    )
    return [words, view.picture("effects"), table]


def _firm_words(paired: pd.DataFrame) -> list[str]:
    """Say which findings every test shares, and which hang on one test or patient."""
    found = paired[paired["p"] < ALPHA]
    if found.empty:
        return ["No paired t test is below 0.05, so there is no finding to doubt."]
    others = ["p_holm", "p_wilcoxon", "p_signflip", "p_without_max"]
    firm = found[(found[others] < ALPHA).all(axis="columns")]
    loose = found.drop(firm.index)
    texts = []
    if len(firm):
        names = join_words([f"{row['parameter']} {span(row)}" for row in firm.to_dict("records")])
        texts.append(
            "Firm (below 0.05 also after Holm's correction, by ranks, with whole patients, and "
            f"without any one patient): {names}."
        )
    reasons = {
        "p_holm": "after Holm's correction",
        "p_wilcoxon": "by ranks",
        "p_signflip": "with whole patients",
        "p_without_max": "without one patient",
    }
    for row in loose.to_dict("records"):
        lost = [text for name, text in reasons.items() if not row[name] < ALPHA]
        texts.append(f"{row['parameter']} {span(row)} is not below 0.05 {join_words(lost)}.")
    return texts
