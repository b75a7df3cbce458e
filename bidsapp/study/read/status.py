"""What the runs say of each participant: what failed, and what may mislead."""

import json
from pathlib import Path
from typing import Any

import pandas as pd

from bidsapp.study.tables import WARNINGS
from bidsapp.study.tables.analysis_options import Statuses, sessions_of


def read_statuses(output_dir: Path) -> Statuses:
    """Return what the last run says of each participant; unfinished where it cannot be read.

    Parameters
    ----------
    output_dir : pathlib.Path
        The output folder of the participant level.
    """
    found: dict[str, dict[str, Any]] = {}
    for path in sorted(output_dir.glob("sub-*/log/status.json")):
        try:
            status = json.loads(path.read_bytes())
        except (OSError, ValueError):
            status = None
        found[path.parts[-3]] = status if isinstance(status, dict) else {"finished": False}
    return found


def unfinished(statuses: Statuses) -> list[str]:
    """Return whose last run was stopped: their tables may be of different runs."""
    return [
        f"{participant}: its last run did not finish, so its values may be of different runs: run "
        "it again."
        for participant, status in statuses.items()
        if not status.get("finished", True)
    ]


def failures(statuses: Statuses) -> list[str]:
    """Return what of each session was not done, in words."""
    return [
        f"{participant} {session}: not done: {'; '.join(failed)}"
        for participant, session, steps in sessions_of(statuses)
        if (failed := steps.get("failed"))
    ]


def what_misleads(statuses: Statuses) -> pd.DataFrame:
    """Return a row a session with what may mislead, and what of it was not done, as text."""
    rows = [
        (
            participant,
            session,
            "; ".join(
                [
                    *steps.get("warnings", []),
                    *(f"not done: {text}" for text in steps.get("failed", [])),
                ]
            ),
        )
        for participant, session, steps in sessions_of(statuses)
    ]
    return pd.DataFrame(rows, columns=["participant_id", "session_id", WARNINGS], dtype=object)
