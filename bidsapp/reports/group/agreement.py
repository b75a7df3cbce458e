"""The section of the agreement of two parameters."""

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from bidsapp.reports.group.view import ALPHA, GroupView, join_words, span, table_files
from bidsapp.reports.page.blocks import Block, Table, Words
from bidsapp.reports.page.numbers import interval, number, pvalue, significance, timepoint_label
from bidsapp.study.tables import ParameterPair


def correlation(view: GroupView) -> list[Block]:
    """Give the regression of the pair and the study's Figure 3."""
    x, y = view.statistics.pair
    table = view.statistics.correlation.to_dict("records")
    found = [timepoint_label(row["timepoint"]) for row in table if significance(row["p"])]
    if found:
        words = f"{y} goes with {x} at {join_words(found)}."
    elif any(not row["note"] for row in table):
        words = f"{y} and {x}: no correlation was seen at any time point."
    else:
        words = f"There are too few lesions with both {y} and {x}, so there is no correlation."
    rows = [
        [
            timepoint_label(row["timepoint"]),
            str(row["n"]),
            number(row["r"], 2),
            f"{number(row['r_low'], 2)} to {number(row['r_high'], 2)}",
            pvalue(row["p"]),
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


def agreement(view: GroupView) -> list[Block]:
    """Correlate changes of the pair, within lesions, and show the limits of agreement."""
    pair = view.statistics.pair
    y_with_x, y_minus_x = f"{pair.y} with {pair.x}", f"{pair.y} minus {pair.x}"
    table = view.statistics.agreement
    rows = [
        [
            _question(row),
            str(row["n"]),
            number(row["r"], 2),
            interval(row["r_low"], row["r_high"], 2),
            pvalue(row["p"]),
            number(row["spearman"], 2),
            interval(row["spearman_low"], row["spearman_high"], 2),
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
        f"Bland and Altman: {y_minus_x}, both in SDs from their means at the first time point",
        ["Time point", "n", "Bias", "95 % interval", "Limits of agreement", "Note"],
        [
            [
                timepoint_label(row["timepoint"]),
                str(row["n"]),
                number(row["bias"], 2),
                interval(row["bias_low"], row["bias_high"], 2),
                interval(row["lower_limit"], row["upper_limit"], 2),
                row["note"],
            ]
            for row in view.statistics.limits.to_dict("records")
        ],
        text=frozenset({5}),
        files=table_files("limits"),
    )
    words = Words(
        _agreement_words(table, pair),
        "An interval that holds 0 leaves open whether there is any correlation at all.",
    )
    pictures = [view.picture("changes"), view.picture("limits")]
    return [words, correlations, pictures[0], limits, pictures[1]]


def _question(row: Mapping[Hashable, Any]) -> str:
    if row["question"] == "values":
        return f"at {timepoint_label(row['timepoint_a'])}"
    if row["question"] == "change":
        return f"change {span(row)}"
    return "within lesions"


def _agreement_words(table: pd.DataFrame, pair: ParameterPair) -> list[str]:
    """Say whether changes of the pair go together."""
    changes = table[(table["question"] == "change") & table["r"].notna()]
    texts = []
    if len(changes):
        found = changes[changes["p"] < ALPHA].to_dict("records")
        if found:
            parts = [f"{span(row)} (r = {number(row['r'], 2)})" for row in found]
            texts.append(
                f"Changes of {pair.y} and {pair.x} go together between {join_words(parts)}."
            )
        else:
            texts.append(f"No correlation was seen between the changes of {pair.y} and {pair.x}.")
    within = table[table["question"] == "within lesions"].to_dict("records")[0]
    if np.isfinite(within["r"]):
        means = "rise and fall together" if within["r"] > 0 else "move against each other"
        seen = means if within["p"] < ALPHA else "show no common course"
        texts.append(
            f"Within a lesion {pair.y} and {pair.x} {seen} (repeated measures r = "
            f"{number(within['r'], 2)}, {interval(within['r_low'], within['r_high'], 2)})."
        )
    return texts or [f"There are too few lesions with both {pair.y} and {pair.x}."]
