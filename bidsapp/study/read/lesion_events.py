"""What the runs found about the identity of lesions: ``sub-*_lesions.tsv``."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from bidsapp.bids import documents
from bidsapp.bids.cells import parse_flag
from bidsapp.bids.tables import read_numbered_table
from bidsapp.errors import BadInput
from bidsapp.study.read.cells import Key, lesion_key
from bidsapp.study.tables import EVENT, LESION

_REQUIRED = ("session_id", "lesion", "event", "comparable")
_UNEVENTFUL = ("first", "same")
_KEPT = (*LESION, "session_id", "days_from_srs", "excluded", "warnings")
_WRONG = ("misnumbered", "moved")


@dataclass(frozen=True)
class LesionEvent:
    """What happened to a lesion by a session, and whether its values are those of its number."""

    event: str
    comparable: bool
    note: str = ""


def read_lesion_events(output_dir: Path, problems: list[str]) -> dict[Key, LesionEvent]:
    """Return what was found about each lesion and session; a table with an error is a problem.

    Parameters
    ----------
    output_dir : pathlib.Path
        Output folder of the participant level; outputs of older versions have no such table.
    problems : list of str
        Extended by the tables that cannot be used.
    """
    found: dict[Key, LesionEvent] = {}
    for path in documents.LESIONS.find(output_dir):
        try:
            for line, row in read_numbered_table(path, _REQUIRED, complete=True):
                where = f"{path}: line {line}"
                key = lesion_key(row | {"participant_id": path.parent.name}, where)
                note = row.get("note", "n/a")
                found[key] = LesionEvent(
                    row["event"], parse_flag(row["comparable"], where), note.replace("n/a", "")
                )
        except BadInput as error:
            problems.append(str(error))
    return found


def apply_lesion_events(
    lesions: pd.DataFrame, events: Mapping[Key, LesionEvent], problems: list[str], notes: list[str]
) -> pd.DataFrame:
    """Return a table of lesions with what happened to each, without values of other lesions.

    Parameters
    ----------
    lesions : pandas.DataFrame
        As in `Cohort`.
    events : mapping
        See `read_lesion_events`; if there are none, the table is returned as it is.
    problems, notes : list of str
        Extended by what is left out: because of wrong numbers, or of what cannot be decided.
    """
    if not events:
        return lesions
    table = lesions.copy()
    keys = list(table[[*LESION, "session_id"]].itertuples(index=False, name=None))
    known = [events.get(key) for key in keys]
    table[EVENT] = [one.event if one and one.event not in _UNEVENTFUL else "" for one in known]
    values = [name for name in table if name not in (*_KEPT, EVENT)]
    others = np.array([one is not None and not one.comparable for one in known])
    for key, one, has_values in zip(keys, known, table[values].notna().any(axis=1), strict=True):
        if one and not one.comparable and has_values:
            text = f"{key[0]} {key[2]} lesion {key[1]} {one.note or one.event}: no value is used."
            (problems if one.event in _WRONG else notes).append(text)
    table.loc[others, values] = np.nan
    return table


def carried_warnings(lesions: pd.DataFrame) -> tuple[str, ...]:
    """Warn of values in ROIs that were carried from another session.

    Parameters
    ----------
    lesions : pandas.DataFrame
        As in `Cohort`.

    Returns
    -------
    warnings : tuple of str
        One, or none.

    Examples
    --------
    >>> lesions = pd.DataFrame({EVENT: ["", "propagated"], "vp": [0.1, 0.2]})
    >>> carried_warnings(lesions)[0].split(" carried")[0]
    '1 of the 2 lesion values over time is of an ROI'
    """
    count = int((lesions[EVENT] == "propagated").sum()) if EVENT in lesions else 0
    if not count:
        return ()
    what = "is of an ROI" if count == 1 else "are of ROIs"
    return (
        f"{count} of the {len(lesions)} lesion values over time {what} carried from another "
        "session (event propagated): in a lesion that changes its size, the bias has the "
        "direction of a response to treatment",
    )


def separate_runs(events: Mapping[Key, LesionEvent]) -> tuple[str, ...]:
    """Warn of participants whose sessions were not compared with one another.

    Parameters
    ----------
    events : mapping
        See `read_lesion_events`. A run has one first session.

    Returns
    -------
    warnings : tuple of str
        One for each such participant.

    Examples
    --------
    >>> first = LesionEvent("first", comparable=True)
    >>> events = {("sub-01", 1, "ses-a"): first, ("sub-01", 2, "ses-b"): first}
    >>> separate_runs(events)[0].split(",")[0]
    'sub-01: the lesions of ses-a and ses-b were not compared with one another'
    """
    found: dict[str, dict[str, None]] = {}
    for (participant, _, session), one in events.items():
        if one.event == "first":
            found.setdefault(participant, {})[session] = None
    return tuple(
        f"{participant}: the lesions of {' and '.join(sessions)} were not compared with one "
        "another, since they are of different runs, and their numbers may differ: run the "
        "participant level with all sessions"
        for participant, sessions in found.items()
        if len(sessions) > 1
    )
