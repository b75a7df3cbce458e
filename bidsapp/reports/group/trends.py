"""The section of trends over all visits, with its figure."""

from collections.abc import Hashable, Mapping
from typing import Any

import pandas as pd

from bidsapp.reports.group.view import ALPHA, GroupView, join_words, table_files
from bidsapp.reports.group.wording import coefficient_words
from bidsapp.reports.page.blocks import Block, Table, Words
from bidsapp.reports.page.numbers import (
    NumberFormat,
    format_interval,
    format_number,
    format_pvalue,
)

_TERMS = {"level": "level", "step": "step at treatment", "slope": "change in 30 days"}


def show_trends(view: GroupView) -> list[Block]:
    """Show the fitted means over days, and every coefficient of the models."""
    trends = view.statistics.trends
    if not trends["estimate"].notna().any():
        reasons = sorted(set(trends["note"]) - {""})
        return [Words(["There is no trend over days.", *reasons])]
    table = Table(
        "Linear mixed model over all visits, restricted maximum likelihood",
        ["Parameter", "Term", "Compared", "Estimate", "95 % interval", "df", "p", "p Holm",
         "Visits / lesions / patients", "Random", "p, curvature", "Note"],
        [_row(row, view.forms[row["parameter"]]) for row in trends.to_dict("records")],
        text=frozenset({1, 2, 8, 9, 11}),
        files=table_files("trends") + table_files("trend_curves"),
        summary="Every coefficient: estimate, 95 % interval, corrected p, random coefficients",
    )  # fmt: skip
    words = [*_slope_words(view), *_curvature_words(trends, view.statistics.trend_options.step)]
    return [Words(words), *view.pictures("trends"), table]


def _row(row: Mapping[Hashable, Any], form: NumberFormat) -> list[str]:
    """Return the cells of one coefficient."""
    low, high = (row[name] * form.scale for name in ("ci_low", "ci_high"))
    difference = row["term"] != "level" or bool(row["compared"])
    # One digit more than a value has: changes in 30 days are small.
    return [
        form.title,
        _TERMS[row["term"]],
        f"{row['covariate']}: {row['compared']}" if row["compared"] else "",
        format_number(row["estimate"] * form.scale, form.digits + 1, sign=difference),
        format_interval(low, high, form.digits + 1),
        format_number(row["df"], 1),
        format_pvalue(row["p"]),
        format_pvalue(row["p_holm"]),
        f"{row['n_values']} / {row['n_lesions']} / {row['n_participants']}",
        row["random"],
        format_pvalue(row["p_curvature"]),
        row["note"],
    ]


def _slope_words(view: GroupView) -> list[str]:
    """Describe the changes with p < ALPHA, of each term after the treatment."""
    trends = view.statistics.trends
    found = []
    for row in trends[trends["p"] < ALPHA].to_dict("records"):
        form = view.forms[row["parameter"]]
        compared = f"{row['covariate']} {row['compared']}" if row["compared"] else ""
        size = row["estimate"] * form.scale
        term = _TERMS[row["term"]]
        found.append(
            coefficient_words(form.name, term, size, form.unit, form.digits + 1, compared, row["p"])
        )
    if not found:
        return [f"No trend over days is significant (every p ≥ {ALPHA})."]
    return [f"{'; '.join(found)}."]


def _curvature_words(trends: pd.DataFrame, step: bool) -> list[str]:
    """Describe which parameters do not follow the fitted line."""
    bent = trends.loc[trends["p_curvature"] < ALPHA, "parameter"].unique().tolist()
    if not bent:
        return []
    advice = (
        "compare the figure"
        if step
        else "their slopes are means of a course that is not a line; --trend step adds a change at "
        "the treatment"
    )
    return [f"Curved over days (p < {ALPHA}): {join_words(bent)}; {advice}."]
