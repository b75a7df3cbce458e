"""The sections of the regression and of the agreement of two parameters."""

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from bidsapp.reports.group.correlations import (
    Association,
    correlation_words,
    format_correlation,
    within_words,
)
from bidsapp.reports.group.view import GroupView, span, table_files
from bidsapp.reports.page.blocks import Block, Table, Words
from bidsapp.reports.page.numbers import (
    format_interval,
    format_number,
    format_pvalue,
    timepoint_label,
)
from bidsapp.study.tables import ParameterPair

_CORRELATION_COLUMNS = ["n", "r", "95 % interval", "p", "Spearman", "95 % interval", "p, ranks"]
_CORRELATION_COLUMNS += ["Note"]


def show_correlation(view: GroupView) -> list[Block]:
    """Show the regression of the two parameters at each time point (the study's Figure 3)."""
    x, y = view.statistics.pair
    table = view.statistics.agreement
    values = table[table["question"] == "values"].to_dict("records")
    words = correlation_words(y, x, [_association(row) for row in values])
    lines = Table(
        f"{y} on {x}: correlation by Pearson (r) and by ranks (Spearman)",
        ["Time point", *_CORRELATION_COLUMNS],
        [[timepoint_label(row["timepoint_a"]), *_correlation_cells(row)] for row in values],
        text=frozenset({8}),
        files=table_files("correlation"),
    )
    return [Words(words), lines, view.picture("regression")]


def _correlation_cells(row: Mapping[Hashable, Any]) -> list[str]:
    """Return the cells of both correlations."""
    return [
        str(row["n"]),
        format_correlation(row["r"]),
        format_interval(row["r_low"], row["r_high"], 2),
        format_pvalue(row["p"]),
        format_correlation(row["spearman"]),
        format_interval(row["spearman_low"], row["spearman_high"], 2),
        "–" if row["question"] == "within lesions" else format_pvalue(row["p_spearman"]),
        row["note"],
    ]


def show_agreement(view: GroupView) -> list[Block]:
    """Show correlations of changes and within lesions, and the limits of agreement."""
    pair = view.statistics.pair
    table = view.statistics.agreement
    correlations = Table(
        f"Correlation of {pair.y} with {pair.x}: values, changes, within lesions",
        [f"{pair.y} with {pair.x}", *_CORRELATION_COLUMNS],
        [[_question(row), *_correlation_cells(row)] for row in table.to_dict("records")],
        text=frozenset({8}),
        files=table_files("agreement"),
    )
    limits = Table(
        f"Bland-Altman analysis of {pair.y} minus {pair.x}, in SDs from the means at the first "
        "time point",
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
    changes = table[table["question"] == "change"].to_dict("records")
    texts = correlation_words(pair.y, pair.x, [_association(row) for row in changes], "changes of")
    within = table[table["question"] == "within lesions"].to_dict("records")[0]
    if np.isfinite(within["r"]):
        interval = (within["r_low"], within["r_high"])
        return [*texts, within_words(pair.y, pair.x, within["r"], interval, within["p"])]
    return [*texts, f"Within lesions: {within['note']}."]


def _association(row: Mapping[Hashable, Any]) -> Association:
    """Return the two correlations of a row, and the time points as part of a sentence."""
    first, last = (timepoint_label(row[name]) for name in ("timepoint_a", "timepoint_b"))
    where = f"from {first} to {last}" if last else f"at {first}"
    numbers = (row[name] for name in ("n", "r", "p", "spearman", "p_spearman", "note"))
    return Association(where, *numbers)
