"""The page of one participant, created from the derivatives alone."""

from pathlib import Path
from typing import Any
from urllib.parse import quote

from markupsafe import Markup

from bidsapp.bids import documents
from bidsapp.bids.derivatives import write_bytes
from bidsapp.errors import BadInput, NotWritable
from bidsapp.reports.page.blocks import Block, Flicker, Fold, Page, Picture
from bidsapp.reports.page.numbers import count_of
from bidsapp.reports.page.render import (
    inline_image,
    inline_svg,
    jpeg_bytes,
    png_bytes,
    render,
    section_rows,
    svg_bytes,
    webp_bytes,
    write_page,
)
from bidsapp.reports.participant.findings import findings
from bidsapp.reports.participant.head import build_head
from bidsapp.reports.participant.kinds import UNREADABLE, Finding
from bidsapp.reports.participant.links import link_bar, linked_participants
from bidsapp.reports.participant.records import DATATYPES, ParticipantOutputs, read_participant
from bidsapp.reports.participant.sections import SECTIONS


def build_participant_page(output_dir: Path, participant: str) -> Path:
    """Write ``sub-<label>.html`` and its figures.

    Missing data and failures are listed at the top; a section that cannot be created states why.

    Parameters
    ----------
    output_dir : pathlib.Path
        The derivatives of metperf; nothing else is read.
    participant : str
        Label, with or without ``sub-``.

    Returns
    -------
    page : pathlib.Path

    Raises
    ------
    NotWritable
        If the page or a figure cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     page = build_participant_page(Path(folder), "01")
    ...     "There are no results for this participant" in page.read_text(encoding="utf-8")
    True
    """
    found = read_participant(output_dir, participant)
    known = findings(found)
    sections = []
    for row in section_rows("sections.toml"):
        blocks, problem = _blocks(found, row["id"])
        if problem:
            text = f"{row['title']}: this section could not be created ({problem})"
            known = [Finding("failed", text, row["id"], kind=UNREADABLE), *known]
        if blocks or problem or row["absent"]:
            sections.append({**row, "problem": problem, "blocks": blocks})
    page = documents.PARTICIPANT_PAGE.path(output_dir, participant=found.label)
    html = render(
        "participant.html.j2",
        label=found.label,
        counts=_counts(found),
        head=build_head(found, known),
        links=link_bar(output_dir, found.label, linked_participants(output_dir)),
        sections=sections,
    )
    write_page(page, html)
    return page


def _blocks(participant: ParticipantOutputs, section: str) -> tuple[list[dict[str, Any]], str]:
    """Return the rendered blocks of a section, or the reason why it cannot be created."""
    try:
        blocks = SECTIONS[section](participant)
        return [_render_block(block, participant.folder / "figures") for block in blocks], ""
    except NotWritable:
        raise
    except Exception as error:  # one damaged file must not prevent the rest of the page
        return [], f"{type(error).__name__}: {error}"


def _render_block(block: Block, folder: Path) -> dict[str, Any]:
    """Return a block for the template; figures and pages are also written to files."""
    if isinstance(block, Page):
        write_bytes(folder / f"{block.name}.html", block.html().encode())
        href = quote(f"{folder.parent.name}/{folder.name}/{block.name}.html")
        return {"kind": "Page", "block": block, "href": href}
    if isinstance(block, Fold):
        inner = [_render_block(one, folder) for one in block.blocks]
        return {"kind": "Fold", "block": block, "inner": inner}
    if isinstance(block, Flicker):
        layers = [
            (name, inline_image(jpeg_bytes(figure), name, "jpeg")) for name, figure in block.layers
        ]
        return {"kind": "Flicker", "block": block, "layers": layers}
    if not isinstance(block, Picture):
        return {"kind": type(block).__name__, "block": block}
    data = {"svg": svg_bytes, "png": png_bytes, "jpeg": jpeg_bytes}[block.form](block.figure)
    write_bytes(folder / f"{block.name}.{block.form}", data)
    return {"kind": "Picture", "block": block, "image": _inline(block, data)}


def _inline(block: Picture, data: bytes) -> Markup:
    """Return the file of a figure as an element of the page."""
    if block.form == "svg":
        return inline_svg(data, block.alt)
    if block.form == "jpeg":
        return inline_image(data, block.alt, "jpeg")
    return inline_image(webp_bytes(data), block.alt, "webp")


def _counts(participant: ParticipantOutputs) -> list[str]:
    """Return the numbers of sessions, lesions and series, in words."""
    sessions = participant.sessions
    try:
        lesions = [count_of(len(participant.lesion_names), "lesion")]
    except BadInput:  # the findings name the table that cannot be read
        lesions = []
    ran = [f"{n} in {sum(s.ran(datatype) for s in sessions)}" for datatype, n in DATATYPES.items()]
    return [count_of(len(sessions), "session"), *lesions, *ran]
