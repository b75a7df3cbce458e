"""Why a value of a lesion is doubtful or missing, in the words of a note below its table."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from bidsapp.bids import outputs
from bidsapp.issues import MISNUMBERED, UNFITTED_VOXELS
from bidsapp.models.parameters import PARAMETERS
from bidsapp.reports.page.numbers import count_of, format_number
from bidsapp.reports.participant.findings import FAILED_SHARE, SMALL_LESION, lesion_voxels
from bidsapp.reports.participant.records import (
    DATATYPES,
    ParticipantOutputs,
    SessionOutputs,
    read_json,
)

_STATED_OTHERWISE = {UNFITTED_VOXELS, MISNUMBERED, "LesionEvent"}
"""Codes of issues that have a note of their own here."""
_STEPS = {"dwi": "dwi", "perf": "dce"}
"""Data type -> first word of the steps of a run."""


def visit_doubts(
    participant: ParticipantOutputs, session: SessionOutputs, lesion: int, rows: pd.DataFrame
) -> list[str]:
    """Return what is doubtful about all values of a lesion in a session.

    Parameters
    ----------
    participant : ParticipantOutputs
    session : SessionOutputs
    lesion : int
    rows : pandas.DataFrame
        The values of the lesion in the session.

    Returns
    -------
    notes : list of str
    """
    notes = []
    if (lesion, session.label) in participant.not_comparable:
        notes.append("may be another lesion: not compared with the first session")
    if rows.empty:
        return notes
    if "roi_from" in rows:
        sources = [str(name).removeprefix("ses-") for name in rows["roi_from"].dropna().unique()]
        notes += [f"ROI carried from {name}" for name in sources]
    for datatype, name in DATATYPES.items():
        if session.ran(datatype):
            doubts = _series_doubts(participant, session, lesion, datatype)
            notes += [f"{name}: {text}" for text in doubts]
    for issue in participant.issues:
        own = (issue.session, issue.lesion) == (session.label, str(lesion))
        if own and issue.level in ("failed", "warning") and issue.code not in _STATED_OTHERWISE:
            notes.append(str(issue).removeprefix(f"lesion {lesion}: "))
    return notes


def _series_doubts(
    participant: ParticipantOutputs, session: SessionOutputs, lesion: int, datatype: str
) -> Iterator[str]:
    """Yield what is doubtful about the values from one series."""
    voxels = lesion_voxels(participant, session, datatype).get(lesion, np.nan)
    if 0 < voxels < SMALL_LESION:
        yield f"{format_number(voxels, 1)} voxels of the series, shared with surrounding tissue"
    path = session.find(outputs.TO_T1W_QUALITY, datatype)
    quality = read_json(path) if path else {}
    if quality.get("verdict") in ("doubtful", "failed"):
        yield f"{quality['verdict']} registration: {quality['reason']}"
    if path is None and session.t1w is not None:
        yield "not registered to the T1w"
    artery = session.find(outputs.ARTERIAL_QUALITY) if datatype == "perf" else None
    for text in read_json(artery).get("Warnings", []) if artery else ():
        yield f"arterial input: {text}"


def value_doubt(row: Mapping[Any, Any]) -> str:
    """Return why the mean of a lesion is that of a part of its voxels only; empty if it is not.

    Examples
    --------
    >>> value_doubt({"n_voxels": 12, "n_valid": 8, "n_failed": 4})
    '8 of 12 voxels have a value'
    >>> value_doubt({"n_voxels": 100, "n_valid": 90, "n_failed": 10})
    ''
    """
    voxels, failed = row["n_voxels"], row["n_failed"]
    if not (voxels > 0 and failed / voxels > FAILED_SHARE):
        return ""
    valid = row["n_valid"]
    return (
        f"{valid:.0f} of {count_of(int(voxels), 'voxel')} {'has' if valid == 1 else 'have'} a value"
    )


def missing_reason(
    participant: ParticipantOutputs, session: SessionOutputs, parameter: str, rows: pd.DataFrame
) -> str:
    """Return why a lesion has no value of a parameter in a session.

    Parameters
    ----------
    participant : ParticipantOutputs
    session : SessionOutputs
    parameter : str
    rows : pandas.DataFrame
        The values of the lesion in the session.

    Returns
    -------
    reason : str
    """
    if rows.empty:
        return "no ROI of this lesion"
    if ((rows["parameter"] == "volume") & (rows["mean"] == 0)).any():
        return "no longer there"
    if parameter == "volume":
        return "no ROI of the whole lesion"
    datatype = PARAMETERS[parameter].datatype
    name = DATATYPES[datatype]
    if not session.ran(datatype):
        own = [issue for issue in participant.issues if issue.session == session.label]
        stopped = any(i.level == "failed" and i.step.startswith(_STEPS[datatype]) for i in own)
        return f"the analysis of the {name} failed" if stopped else f"no {name} result"
    if not (rows["parameter"] == parameter).any():
        return "no ROI of the enhancing part, or not a parameter of the fitted model"
    return "no voxel has a value"
