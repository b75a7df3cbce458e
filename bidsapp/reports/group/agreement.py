"""The sections of the regression and of the agreement of two parameters."""

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from bidsapp.reports.group.view import ALPHA, GroupView, join_words, span, table_files
from bidsapp.reports.page.blocks import Block, Table, Words
from bidsapp.reports.page.numbers import (
    format_interval,
    format_number,
    format_pvalue,
    significance_mark,
    timepoint_label,
)
from bidsapp.study.tables import ParameterPair


def show_correlation(view: GroupView) -> list[Block]:
    """Show the regression of the two parameters at each time point (the study's Figure 3)."""
    x, y = view.statistics.pair
    table = view.statistics.correlation.to_dict("records")
    found = [timepoint_label(row["timepoint"]) for row in table if significance_mark(row["p"])]
    if found:
        words = f"{y} and {x} are correlated at {join_words(found)}."
    elif any(not row["note"] for row in table):
        words = f"{y} and {x}: no significant correlation at any time point."
    else:
        words = f"There are too few lesions with both {y} and {x}, so there is no correlation."
    rows = [
        [
            timepoint_label(row["timepoint"]),
            str(row["n"]),
            format_number(row["r"], 2),
            f"{format_number(row['r_low'], 2)} to {format_number(row['r_high'], 2)}",
            format_pvalue(row["p"]),
            row["note"],
        ]
        for row in table
    ]
    columns = ["Time point", "n", "r", "95 % interval", "p", "Note"]
    lines = Table(
        f"{y} on {x}, Pearson's r",
        columns,
        rows,
        text=frozenset({5}),
        files=table_files("correlation"),
    )
    return [Words([words]), lines, view.picture("regression")]


def show_agreement(view: GroupView) -> list[Block]:
    """Show correlations of changes and within lesions, and the limits of agreement."""
    pair = view.statistics.pair
    y_with_x, y_minus_x = f"{pair.y} with {pair.x}", f"{pair.y} minus {pair.x}"
    table = view.statistics.agreement
    rows = [
        [
            _question(row),
            str(row["n"]),
            format_number(row["r"], 2),
            format_interval(row["r_low"], row["r_high"], 2),
            format_pvalue(row["p"]),
            format_number(row["spearman"], 2),
            format_interval(row["spearman_low"], row["spearman_high"], 2),
            row["note"],
        ]
        for row in table.to_dict("records")
    ]
    columns = [y_with_x, "n", "r", "95 % interval", "p", "Spearman", "95 % interval", "Note"]
    correlations = Table(
        f"Correlation of {y_with_x}: values, changes, within lesions",
        columns,
        rows,
        text=frozenset({7}),
        files=table_files("agreement"),
    )
    limits = Table(
        f"Bland-Altman analysis of {y_minus_x}, in SDs from the means at the first time point",
        ["Time point", "n", "Bias", "95 % interval", "Limits of agreement", "Note"],
        [
            [
                timepoint_label(row["timepoint"]),
                str(row["n"]),
                format_number(row["bias"], 2),
                format_interval(row["bias_low"], row["bias_high"], 2),
                format_interval(row["lower_limit"], row["upper_limit"], 2),
                row["note"],
            ]
            for row in view.statistics.limits.to_dict("records")
        ],
        text=frozenset({5}),
        files=table_files("limits"),
    )
    words = Words(
        _agreement_words(table, pair),
        "If the 95 % confidence interval of r includes 0, the data do not show whether there is a "
        "correlation.",
    )
    return [words, correlations, view.picture("changes"), limits, view.picture("limits")]


def _question(row: Mapping[Hashable, Any]) -> str:
    if row["question"] == "values":
        return f"at {timepoint_label(row['timepoint_a'])}"
    if row["question"] == "change":
        return f"change {span(row)}"
    return "within lesions"


def _agreement_words(table: pd.DataFrame, pair: ParameterPair) -> list[str]:
    """Describe whether the changes of the two parameters are correlated."""
    changes = table[(table["question"] == "change") & table["r"].notna()]
    texts = []
    if len(changes):
        found = changes[changes["p"] < ALPHA].to_dict("records")
        if found:
            parts = [f"{span(row)} (r = {format_number(row['r'], 2)})" for row in found]
            texts.append(
                f"Changes of {pair.y} and {pair.x} are correlated between {join_words(parts)}."
            )
        else:
            texts.append(
                f"No significant correlation between the changes of {pair.y} and {pair.x}."
            )
    within = table[table["question"] == "within lesions"].to_dict("records")[0]
    if np.isfinite(within["r"]):
        sign = "positively" if within["r"] > 0 else "negatively"
        seen = (
            f"are {sign} correlated" if within["p"] < ALPHA else "are not significantly correlated"
        )
        low_to_high = format_interval(within["r_low"], within["r_high"], 2)
        texts.append(
            f"Within lesions, {pair.y} and {pair.x} {seen} over time (repeated measures r = "
            f"{format_number(within['r'], 2)}, {low_to_high})."
        )
    return texts or [f"There are too few lesions with both {pair.y} and {pair.x}."]
