"""The section of changes by dose: parts of the lesions, and the brain around them."""

from bidsapp.lesions.dose import RING_DOSE, describe_region
from bidsapp.reports.group.view import GroupView, span, table_files
from bidsapp.reports.page.blocks import Block, Table, Words
from bidsapp.reports.page.numbers import format_number


def show_dose(view: GroupView) -> list[Block]:
    """Show the mean change of each parameter in each region of dose."""
    changes = view.result.dose
    if changes.empty:
        return []
    rows = []
    for row in changes.to_dict("records"):
        form = view.forms[row["parameter"]]
        spread = "" if row["n"] < 2 else f" (SD {form.format(row['sd_difference'])})"
        percent = format_number(row["mean_percent"], 0, sign=True)
        rows.append(
            [
                describe_region(row["region"]),
                form.name,
                span(row),
                f"{row['n']} ({row['n_participants']})",
                form.format(row["mean_a"]),
                form.format(row["mean_b"]),
                f"{form.format(row['mean_difference'], sign=True)}{spread}",
                f"{percent} %" if percent != "–" else percent,
            ]
        )
    table = Table(
        "Mean of each parameter over the lesions that have a value in the region at both time "
        "points",
        [
            "Region",
            "Parameter",
            "Time points",
            ("Lesions", "(participants)"),
            "Earlier",
            "Later",
            "Change",
            "Percent",
        ],
        rows,
        text=frozenset({1, 2}),
        files=table_files("dose") + table_files("dosevalues"),
    )
    words = Words(
        [],
        "Regions are drawn by the dose on the T1w of each session: a lesion that shrinks moves its "
        "edge to tissue of a higher dose, and the brain that it leaves behind becomes part of the "
        f"ring of {RING_DOSE:g} Gy. Regions of few voxels are noisy. No test is made.",
    )
    return [words, table]
