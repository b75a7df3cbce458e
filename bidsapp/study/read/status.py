"""Failures and warnings that the runs report of each participant."""

import json
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd

from bidsapp.bids import documents
from bidsapp.issues import MISNUMBERED, Issue, read_issues
from bidsapp.study.tables.analysis_options import Statuses


def read_statuses(output_dir: Path) -> Statuses:
    """Return the status of each participant's last run; unfinished where it cannot be read.

    Parameters
    ----------
    output_dir : pathlib.Path
        The output folder of the participant level.
    """
    found: dict[str, dict[str, Any]] = {}
    for path in documents.STATUS.find(output_dir):
        try:
            status = json.loads(path.read_bytes())
        except (OSError, ValueError):
            status = None
        found[path.parts[-3]] = status if isinstance(status, dict) else {"finished": False}
    return found


def run_identifiers(statuses: Statuses) -> dict[str, str]:
    """Return the identifier of each participant's last run; empty if it is not known."""
    return {name: str(status.get("run_id", "")) for name, status in statuses.items()}


def unfinished_runs(statuses: Statuses) -> list[str]:
    """Describe the runs that were stopped: the participant's tables may be of different runs."""
    return [
        f"{participant}: its last run did not finish, so its values may be of different runs: run "
        "it again."
        for participant, status in statuses.items()
        if not status.get("finished", True)
    ]


def collect_issues(statuses: Statuses) -> list[Issue]:
    """Return everything that the runs reported."""
    return [
        issue
        for participant, status in statuses.items()
        for issue in read_issues(participant, status.get("sessions", {}))
    ]


def describe_failures(found: Iterable[Issue]) -> list[str]:
    """Describe what was not done in each session; wrong numbers of lesions are problems."""
    texts: dict[str, list[str]] = defaultdict(list)
    for issue in found:
        if issue.level == "failed" and issue.code != MISNUMBERED:
            texts[issue.place].append(str(issue))
    return [f"{place}: not done: {'; '.join(failed)}" for place, failed in texts.items()]


def warnings_beside(lesions: pd.DataFrame, found: Iterable[Issue]) -> list[str]:
    """Return the warnings and failures that concern each row of a table of lesions, as text.

    Parameters
    ----------
    lesions : pandas.DataFrame
        With the columns ``participant_id session_id lesion``.
    found
        What the runs reported.

    Returns
    -------
    list of str
        Those of the session as a whole, and of the lesion; empty if there are none.
    """
    texts: dict[tuple[str, str], list[Issue]] = defaultdict(list)
    for issue in _most_usable_first(found):
        texts[issue.participant, issue.session].append(issue)
    keys = lesions[["participant_id", "session_id", "lesion"]]
    return [
        "; ".join(
            _as_text(issue)
            for issue in texts[participant, session]
            if issue.lesion in ("", str(lesion))
        )
        for participant, session, lesion in keys.itertuples(index=False, name=None)
    ]


def _most_usable_first(found: Iterable[Issue]) -> list[Issue]:
    """Return the warnings, then the failures."""
    ranked = [issue for issue in found if issue.level in ("warning", "failed")]
    return sorted(ranked, key=lambda issue: issue.level == "failed")


def _as_text(issue: Issue) -> str:
    done = issue.level != "failed" or issue.code == MISNUMBERED
    return str(issue) if done else f"not done: {issue}"
