"""The section of noise, detectable change and sample size."""

from collections.abc import Iterator

import numpy as np

from bidsapp.reports.group.view import GroupView, span, table_files
from bidsapp.reports.page.blocks import Block, Table, Words
from bidsapp.reports.page.numbers import format_interval, format_number


def show_planning(view: GroupView) -> list[Block]:
    """Show the smallest detectable change and the sample size of a future study."""
    sizes = view.statistics.planning
    needed = Table(
        "Number of lesions needed in a future study with a paired t test",
        ["Parameter", "Time points", "dz", "80 % power", "90 % power", "80 %, cautious", "Note"],
        [
            [
                view.forms[row["parameter"]].name,
                span(row),
                format_number(row["cohens_dz"], 2, sign=True),
                format_number(row["n_power80"], 0),
                format_number(row["n_power90"], 0),
                format_number(row["n_power80_cautious"], 0),
                row["note"],
            ]
            for row in sizes.to_dict("records")
        ],
        text=frozenset({1, 6}),
        files=table_files("planning"),
    )
    words = Words(
        list(_noise_words(view)),
        "Small studies tend to overestimate effects: plan with the cautious number, which assumes "
        "the limit of the confidence interval that is nearest to zero. The numbers refer to "
        "independent lesions; several lesions of one patient contribute less information.",
    )
    known = view.statistics.repeatability["within_sd"].notna().any()
    return [words, *([_noise_table(view)] if known else []), needed]


def _noise_table(view: GroupView) -> Table:
    """Return the table of the smallest detectable change of one lesion."""
    rows = []
    for row in view.statistics.repeatability.to_dict("records"):
        form = view.forms[row["parameter"]]
        changed = "–" if np.isnan(row["n_changed"]) else f"{row['n_changed']:.0f}"
        rows.append(
            [
                form.title,
                {"fit": "standard errors of the fits"}.get(row["source"], row["source"]),
                str(row["n"]),
                form.format(row["within_sd"]),
                form.format(row["detectable_change"]),
                format_interval(
                    row["ci_low"] * form.scale, row["ci_high"] * form.scale, form.digits
                ),
                f"{changed} of {row['n_lesions']}",
                row["note"],
            ]
        )
    columns = ["Parameter", "Source", "n", "SD of one value", "Detectable change", "95 % interval"]
    return Table(
        "Smallest change of one lesion that exceeds the noise",
        [*columns, "Lesions above it", "Note"],
        rows,
        text=frozenset({1, 7}),
        files=table_files("repeatability"),
    )


def _noise_words(view: GroupView) -> Iterator[str]:
    """Describe the limits of the noise estimate."""
    table = view.statistics.repeatability
    if table["within_sd"].isna().all():
        yield (
            "The variation between repeated scans of an unchanged lesion is unknown: name two such "
            "sessions with --repeats, or provide standard errors."
        )
    elif (table["source"] == "fit").any():
        yield (
            "Noise estimated from the standard errors of the fits is a lower bound: it does not "
            "include repositioning, physiological variation or the delineation of ROIs."
        )
