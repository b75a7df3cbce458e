"""The sections of excluded and missing data, and of how to read the page."""

from bidsapp.reports.group.view import GroupView, count_of, table_files
from bidsapp.reports.page.blocks import Block, Table, Words
from bidsapp.reports.page.numbers import timepoint_label


def show_exclusions(view: GroupView) -> list[Block]:
    """List excluded lesions and missing values."""
    excluded, missing = view.statistics.excluded, view.statistics.missing
    count = len(excluded)
    verb = "is" if count == 1 else "are"
    texts = [
        f"{count_of(count, 'lesion')} {verb} excluded by the ROI tables or by ratings of readers, "
        "and left out of all analyses above."
        if count
        else "No lesion is excluded.",
        f"{count_of(len(missing), 'time point')} of a lesion "
        f"{'lacks' if len(missing) == 1 else 'lack'} a value. Each paired test uses "
        "the lesions with a value at both time points; the mixed model uses all lesions."
        if len(missing)
        else "Every lesion has every parameter at every time point.",
    ]
    blocks: list[Block] = [Words(texts)]
    if count:
        rows = [[str(cell) for cell in row] for row in excluded.to_numpy()]
        columns = ["Participant", "Lesion", "Marked in", "Rated by", "Reasons"]
        files = table_files("excluded")
        text = frozenset({2, 3, 4})
        blocks.append(Table("Excluded", columns, rows, text=text, files=files))
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
        columns = ["Participant", "Lesion", "Time point", "Missing", "Reason"]
        summary = "" if len(rows) <= 12 else f"All {len(rows)} missing values"
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


def explain_page(view: GroupView) -> list[Block]:
    """Explain how to read the page."""
    return [
        Words(
            [
                "A p value above 0.05 does not show that nothing changed; the 95 % confidence "
                "interval shows how large a change is compatible with the data.",
                "All tests are two-sided. Holm's method and the false discovery rate "
                "correct for all parameters and pairs of time points of a table.",
                "All numbers are in group_*.tsv in the folder of this page; the JSON file of the "
                "same name describes the columns. Figures are in figures/ as SVG, PDF and TSV.",
            ]
        )
    ]
