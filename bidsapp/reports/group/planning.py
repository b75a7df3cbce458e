"""The section of noise, detectable change and sample size."""

from collections.abc import Iterator

import numpy as np

from bidsapp.reports.group.view import GroupView, span, table_files
from bidsapp.reports.page.blocks import Block, Table, Words
from bidsapp.reports.page.numbers import interval, number


def planning(view: GroupView) -> list[Block]:
    """Give the smallest change beyond noise and the sample size of a next study."""
    sizes = view.statistics.planning
    needed = Table(
        "Lesions that a next study with a paired t test needs",
        ["Parameter", "Time points", "dz", "80 % power", "90 % power", "80 %, cautious", "Note"],
        [
            [
                view.forms[row["parameter"]].name,
                span(row),
                number(row["cohens_dz"], 2, sign=True),
                number(row["n_power80"], 0),
                number(row["n_power90"], 0),
                number(row["n_power80_cautious"], 0),
                row["note"],
            ]
            for row in sizes.to_dict("records")
        ],
        text=frozenset({1, 6}),
        files=table_files("planning"),
    )
    words = Words(
        list(_noise_words(view)),
        "An effect found in a small study is larger than the true one more often than not: plan "
        "with the cautious number, which takes the end of the interval that is nearest to zero. "
        "It counts independent lesions; several lesions of a patient count less.",
    )
    known = view.statistics.repeatability["within_sd"].notna().any()
    return [words, *([_noise_table(view)] if known else []), needed]


def _noise_table(view: GroupView) -> Table:
    """The smallest change of one lesion that is more than noise."""
    rows = []
    for row in view.statistics.repeatability.to_dict("records"):
        form = view.forms[row["parameter"]]
        changed = "–" if np.isnan(row["n_changed"]) else f"{row['n_changed']:.0f}"
        rows.append(
            [
                form.title,
                {"fit": "standard errors of the fits"}.get(row["source"], row["source"]),
                str(row["n"]),
                form.number(row["within_sd"]),
                form.number(row["detectable_change"]),
                interval(row["ci_low"] * form.scale, row["ci_high"] * form.scale, form.digits),
                f"{changed} of {row['n_lesions']}",
                row["note"],
            ]
        )
    columns = ["Parameter", "From", "n", "SD of one value", "Detectable change", "95 % interval"]
    return Table(
        "Smallest change of one lesion that is more than noise",
        [*columns, "Lesions beyond it", "Note"],
        rows,
        text=frozenset({1, 7}),
        files=table_files("repeatability"),
    )


def _noise_words(view: GroupView) -> Iterator[str]:
    table = view.statistics.repeatability
    if table["within_sd"].isna().all():
        yield (
            "How much a lesion differs between two scans without any change is unknown here: name "
            "two such sessions with --repeats, or bring standard errors."
        )
    elif (table["source"] == "fit").any():
        yield (
            "Noise from the standard errors of the fits is a lower bound: it knows nothing of "
            "repositioning, physiology or the drawing of ROIs."
        )
