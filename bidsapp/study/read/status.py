"""Failures and warnings that the runs report of each participant."""

import json
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd

from bidsapp.bids import documents
from bidsapp.issues import Issue, read_issues
from bidsapp.study.tables import WARNINGS
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
    """Describe what was not done in each session."""
    texts: dict[str, list[str]] = defaultdict(list)
    for issue in found:
        if issue.level == "failed":
            texts[issue.place].append(str(issue))
    return [f"{place}: not done: {'; '.join(failed)}" for place, failed in texts.items()]


def session_warnings(found: Iterable[Issue]) -> pd.DataFrame:
    """Return a row per session with its warnings and failures, as text."""
    texts: dict[tuple[str, str], list[str]] = defaultdict(list)
    ranked = {"warning": "", "failed": "not done: "}
    # False sorts before True: warnings come first.
    for issue in sorted(found, key=lambda issue: issue.level == "failed"):
        if issue.level in ranked:
            texts[issue.participant, issue.session].append(f"{ranked[issue.level]}{issue}")
    rows = [(*place, "; ".join(lines)) for place, lines in texts.items()]
    return pd.DataFrame(rows, columns=["participant_id", "session_id", WARNINGS], dtype=object)
