"""Links between the pages of participants, written again when other pages have appeared."""

from collections.abc import Iterable
from pathlib import Path

from bidsapp.bids import documents
from bidsapp.reports.participant.links import linked_participants, relink_page
from bidsapp.run.completion import record_page

MANY = 200
"""Number of pages above which `group` does not write them again: that would take minutes, and each
page leads to the group by way of the list of all participants."""


def relink_pages(output_dir: Path, participants: Iterable[str] | None = None) -> int:
    """Link the pages of participants to the pages that exist now.

    Parameters
    ----------
    output_dir
        The derivatives.
    participants
        Participants, such as ``sub-01``, of which no run is active; by default all with a page, if
        there are no more than `MANY`.

    Returns
    -------
    int
        The number of pages whose links have changed.

    Raises
    ------
    NotWritable
        If a page cannot be written.
    """
    known = linked_participants(output_dir)
    if participants is None and len(known) > MANY:
        return 0
    changed = 0
    for label in known if participants is None else participants:
        if not documents.PARTICIPANT_PAGE.path(output_dir, participant=label).is_file():
            continue
        if relink_page(output_dir, label, known):
            record_page(output_dir, label)
            changed += 1
    return changed
