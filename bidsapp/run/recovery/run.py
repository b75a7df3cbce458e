"""All participants of ``metperf recovery``: simulated one after the other, with their pages."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bidsapp.bids import documents
from bidsapp.errors import NothingSelected, NothingToAnalyse
from bidsapp.issues import Issue, from_error
from bidsapp.run.completion import record_page
from bidsapp.run.engine.locks import exclusive_lock
from bidsapp.run.quality_table import build_page
from bidsapp.run.recovery.participant import Request, recover_participant

Report = Callable[[str], None]


@dataclass(frozen=True)
class Recovered:
    """The issues of a participant, and the page, if it was rebuilt."""

    participant: str
    issues: tuple[Issue, ...]
    page: Path | None


def find_participants(output_dir: Path, wanted: Sequence[str]) -> list[str]:
    """Return the labels of participants with results, without ``sub-``.

    Parameters
    ----------
    output_dir
        The derivatives.
    wanted
        Labels; all if empty.

    Raises
    ------
    NothingSelected
        If one of them has no results.
    NothingToAnalyse
        If no participant has results.
    """
    files = documents.STATUS.find(output_dir)
    found = sorted(path.relative_to(output_dir).parts[0].removeprefix("sub-") for path in files)
    if absent := [label for label in wanted if label not in found]:
        raise NothingSelected(
            f"{output_dir} has no results of {', '.join(absent)}; it has those of "
            f"{', '.join(found[:20]) or 'nobody'}{' ...' if len(found) > 20 else ''}"
        )
    if not found:
        raise NothingToAnalyse(
            f"{output_dir}: no participant has results: run the participant level first"
        )
    return [label for label in found if label in wanted or not wanted]


def recover(label: str, request: Request, report: Report) -> Recovered:
    """Simulate visits of one participant, and rebuild the page.

    Parameters
    ----------
    label
        Without ``sub-``.
    request
        What is to be simulated.
    report
        Takes a line of text on the progress.

    Returns
    -------
    Recovered
        Failures are issues and are never raised.
    """
    participant, output_dir = f"sub-{label}", request.output_dir
    with exclusive_lock(output_dir / participant / "log" / "lock", report):
        issues = recover_participant(label, request, report)
        try:
            page = build_page(output_dir, label)
            record_page(output_dir, participant)
        except Exception as error:
            failure = from_error(error, participant=participant, step="report")
            return Recovered(participant, (*issues, failure), None)
    return Recovered(participant, tuple(issues), page)
