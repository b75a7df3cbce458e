"""The sections of what was left out, and of how to read the page."""

from bidsapp.reports.group.view import GroupView, count_of, table_files
from bidsapp.reports.page.blocks import Block, Table, Words
from bidsapp.reports.page.numbers import timepoint_label


def left_out(view: GroupView) -> list[Block]:
    """List what was excluded and what is missing."""
    excluded, missing = view.statistics.excluded, view.statistics.missing
    count = len(excluded)
    verb = "is" if count == 1 else "are"
    texts = [
        f"{count_of(count, 'lesion')} {verb} marked as excluded in the ROI tables and left out of "
        "every number above."
        if count
        else "No lesion is marked as excluded.",
        f"{count_of(len(missing), 'time point')} of a lesion lack a value. Each paired test uses "
        "the lesions with a value at both time points; the mixed model uses all lesions."
        if len(missing)
        else "Every lesion has every parameter at every time point.",
    ]
    blocks: list[Block] = [Words(texts)]
    if count:
        rows = [[str(cell) for cell in row] for row in excluded.to_numpy()]
        columns = ["Participant", "Lesion", "Marked in"]
        files = table_files("excluded")
        blocks.append(Table("Excluded", columns, rows, text=frozenset({2}), files=files))
    if len(missing):
        rows = [
            [
                row["participant_id"],
                str(row["lesion"]),
                timepoint_label(row["timepoint"]),
                row["parameters"],
                row["reason"],
            ]
            for row in missing.to_dict("records")
        ]
        columns = ["Participant", "Lesion", "Time point", "Lacks", "Why"]
        summary = "" if len(rows) <= 12 else f"All {len(rows)} that are missing"
        blocks.append(
            Table(
                "Missing",
                columns,
                rows,
                text=frozenset({2, 3, 4}),
                files=table_files("missing"),
                summary=summary,
            )
        )
    return blocks


def reading(view: GroupView) -> list[Block]:
    """Say how to read the page."""
    return [
        Words(
            [
                "A p value above 0.05 does not show that nothing changed; the 95 % interval says "
                "how large a change may have been missed.",
                "Tests are two-sided. The family that Holm's and the false discovery correction "
                "count is all parameters and pairs of time points of a table.",
                "All numbers are in group_*.tsv beside this page, their columns described in the "
                "JSON file of the same name; figures are in figures/ as SVG, PDF and TSV.",
            ]
        )
    ]
