"""The page of the group level: the published analyses of the study first, then the others."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib import import_module
from typing import Any

from bidsapp.bids import documents
from bidsapp.reports.group.plot import Plot
from bidsapp.reports.group.view import MOST_ROWS, GroupView, count_of
from bidsapp.reports.page.blocks import Block, Picture, Table
from bidsapp.reports.page.numbers import timepoint_label
from bidsapp.reports.page.render import inline_svg, render, section_rows
from bidsapp.study.tables import GroupResult


def build_group_page(
    result: GroupResult, plots: Sequence[Plot], pages: frozenset[str] = frozenset()
) -> str:
    """Build the group page.

    Parameters
    ----------
    result : GroupResult
    plots : sequence of Plot
        Figures of the result.
    pages : frozenset of str
        Participants with a page in the same folder.

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
        index=documents.INDEX_PAGE.template if pages else "",
        timepoints=[(timepoint_label(n), label) for n, label in view.statistics.timepoints.items()],
        sections=[_section(row, view) for row in section_rows("groupsections.toml")],
    )


def section_function(name: str) -> Callable[[GroupView], list[Block]]:
    """Return the function of a section.

    Parameters
    ----------
    name : str
        Module of this package and function, as in groupsections.toml.

    Returns
    -------
    function : callable
        From a `GroupView` to the blocks of the section.

    Examples
    --------
    >>> section_function("planning.show_planning").__name__
    'show_planning'
    """
    module, function = name.split(".")
    found: Callable[[GroupView], list[Block]] = getattr(
        import_module(f"bidsapp.reports.group.{module}"), function
    )
    return found


def _section(row: dict[str, Any], view: GroupView) -> dict[str, Any]:
    """Return a section as the template needs it."""
    found = section_function(row["function"])(view)
    blocks = [_render_block(_cap(_drop_empty_notes(block)), view) for block in found]
    return {**row, "problem": "", "blocks": blocks}


def _drop_empty_notes(block: Block) -> Block:
    """Remove the last column if it is for notes and empty."""
    if not isinstance(block, Table) or block.columns[-1] != "Note":
        return block
    if any(row[-1] for row in block.rows):
        return block
    rows = [row[:-1] for row in block.rows]
    return replace(block, columns=block.columns[:-1], rows=rows)


def _cap(block: Block) -> Block:
    """Keep the first rows of a long table, and state how many there are."""
    if not isinstance(block, Table) or len(block.rows) <= MOST_ROWS:
        return block
    summary = block.summary.replace("All ", f"First {MOST_ROWS} of ", 1)
    rows, total = block.rows[:MOST_ROWS], max(block.total, len(block.rows))
    return replace(block, rows=rows, total=total, summary=summary)


def _render_block(block: Block, view: GroupView) -> dict[str, Any]:
    """Return a block for the template, a picture with its SVG element."""
    rendered = {"kind": type(block).__name__, "block": block}
    if isinstance(block, Picture):
        rendered["image"] = inline_svg(view.plot(block.name).svg, block.alt)
    return rendered
