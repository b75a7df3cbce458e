"""Links from the page of a participant to the other pages of the output folder."""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from markupsafe import Markup

from bidsapp.bids import documents
from bidsapp.reports.page.render import render, write_page

_BAR = re.compile(r"<!-- links -->.*?<!-- end of links -->", re.DOTALL)


def linked_participants(output_dir: Path) -> list[str]:
    """Return the participants that have a page, in their order.

    Parameters
    ----------
    output_dir : pathlib.Path

    Returns
    -------
    labels : list of str
        Such as ``sub-01``.
    """
    return [path.stem for path in documents.PARTICIPANT_PAGE.find(output_dir)]


def link_bar(output_dir: Path, participant: str, participants: Iterable[str]) -> Markup:
    """Return the links of a page to all participants, to the group, and to its neighbours.

    Parameters
    ----------
    output_dir : pathlib.Path
        Only pages that exist there are linked.
    participant : str
        Such as ``sub-01``.
    participants : iterable of str
        Those with a page.

    Returns
    -------
    html : markupsafe.Markup

    Examples
    --------
    >>> bar = link_bar(Path("none"), "sub-02", ["sub-01", "sub-03"])
    >>> [name in bar for name in ("sub-01.html", "sub-03.html", "group.html", "index.html")]
    [True, True, False, False]
    """
    everyone = documents.INDEX_PAGE.path(output_dir)
    group = documents.GROUP_PAGE.path(output_dir)
    before, after = _neighbours(
        participant, sorted({*participants, participant}, key=documents.natural_order)
    )
    links = [
        ("All participants", everyone.name, everyone.is_file()),
        ("Group", group.name, group.is_file()),
        (f"← {before}", f"{before}.html", bool(before)),
        (f"{after} →", f"{after}.html", bool(after)),
    ]
    shown = [(text, href) for text, href, exists in links if exists]
    return Markup(render("links.html.j2", links=shown).strip())  # noqa: S704 (rendered, escaped)


def _neighbours(participant: str, labels: Sequence[str]) -> tuple[str, str]:
    """Return the participants before and after one; empty where there is none."""
    place = labels.index(participant)
    before = labels[place - 1] if place else ""
    after = labels[place + 1] if place + 1 < len(labels) else ""
    return before, after


def relink_page(output_dir: Path, participant: str, participants: Iterable[str]) -> bool:
    """Write the links of a page again, if other pages have appeared or disappeared since.

    Parameters
    ----------
    output_dir, participant, participants
        See `link_bar`.

    Returns
    -------
    changed : bool
        Whether the page was written.

    Raises
    ------
    NotWritable
        If the page cannot be written.
    """
    path = documents.PARTICIPANT_PAGE.path(output_dir, participant=participant)
    html = path.read_text(encoding="utf-8")
    bar = str(link_bar(output_dir, participant, participants))
    found = _BAR.search(html)
    if found is None or found[0] == bar:
        return False
    write_page(path, html[: found.start()] + bar + html[found.end() :])
    return True
