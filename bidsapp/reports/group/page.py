"""The page of the group level: what the study printed, then what its reviewers would have asked."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from bidsapp.reports.group.agreement import agreement, correlation
from bidsapp.reports.group.changes import changes
from bidsapp.reports.group.characteristics import characteristics
from bidsapp.reports.group.mixed_model import patients
from bidsapp.reports.group.notes import left_out, reading
from bidsapp.reports.group.planning import planning
from bidsapp.reports.group.plots import Plot
from bidsapp.reports.group.quality import quality
from bidsapp.reports.group.responders import prediction, responders
from bidsapp.reports.group.robustness import robustness
from bidsapp.reports.group.view import GroupView, count_of
from bidsapp.reports.page.blocks import Block, Picture, Table
from bidsapp.reports.page.numbers import timepoint_label
from bidsapp.reports.page.render import inline_svg, render, section_rows
from bidsapp.study.tables import GroupResult

SECTIONS: dict[str, Callable[[GroupView], list[Block]]] = {
    "characteristics": characteristics,
    "changes": changes,
    "responders": responders,
    "correlation": correlation,
    "patients": patients,
    "robustness": robustness,
    "agreement": agreement,
    "prediction": prediction,
    "planning": planning,
    "quality": quality,
    "left-out": left_out,
    "reading": reading,
}
"""Anchor of a section, as groupsections.toml names it -> what makes its blocks."""


def build_group_page(
    result: GroupResult, plots: Sequence[Plot], pages: frozenset[str] = frozenset()
) -> str:
    """Write the group page.

    Parameters
    ----------
    result : GroupResult
    plots : sequence of Plot
        Its figures.
    pages : frozenset of str
        Participants who have a page beside this one.

    Returns
    -------
    html : str
        Self-contained: it opens from disk without a network.
    """
    view = GroupView(result, plots, pages)
    lesions = result.cohort.lesions
    counts = [
        count_of(lesions["participant_id"].nunique(), "participant"),
        count_of(len(lesions[["participant_id", "lesion"]].drop_duplicates()), "lesion"),
        *([f"{len(view.statistics.excluded)} excluded"] if len(view.statistics.excluded) else []),
    ]
    return render(
        "group.html.j2",
        result=result,
        counts=counts,
        timepoints=[(timepoint_label(n), label) for n, label in view.statistics.timepoints.items()],
        sections=[_section(row, view) for row in section_rows("groupsections.toml")],
    )


def _section(row: dict[str, str], view: GroupView) -> dict[str, Any]:
    """Return what the template needs of a section."""
    blocks = [_render_block(_drop_empty_notes(block), view) for block in SECTIONS[row["id"]](view)]
    return {**row, "problem": "", "blocks": blocks}


def _drop_empty_notes(block: Block) -> Block:
    """Leave out a last column of notes that has none."""
    if not isinstance(block, Table) or block.columns[-1] != "Note":
        return block
    if any(row[-1] for row in block.rows):
        return block
    rows = [row[:-1] for row in block.rows]
    return replace(block, columns=block.columns[:-1], rows=rows)


def _render_block(block: Block, view: GroupView) -> dict[str, Any]:
    drawn = {"kind": type(block).__name__, "block": block}
    if isinstance(block, Picture):
        drawn["image"] = inline_svg(view.plot(block.name).svg, block.alt)
    return drawn
