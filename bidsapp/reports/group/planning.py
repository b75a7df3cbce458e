"""The section of sample size."""

from bidsapp.reports.group.view import GroupView, span, table_files
from bidsapp.reports.page.blocks import Block, Table, Words
from bidsapp.reports.page.numbers import format_number


def show_planning(view: GroupView) -> list[Block]:
    """Show the sample size of a future study."""
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
        [],
        "Small studies tend to overestimate effects: plan with the cautious number, which assumes "
        "the limit of the confidence interval that is nearest to zero. The numbers refer to "
        "independent lesions; several lesions of one patient contribute less information.",
    )
    return [words, needed]
