"""What the index shows of a participant, stored by each run in ``sub-*/log/card.json``."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from bidsapp.bids import documents
from bidsapp.bids.derivatives import to_json, write_bytes
from bidsapp.errors import BadInput
from bidsapp.reports.index.thumbnail import participant_thumbnail
from bidsapp.reports.participant.findings import findings
from bidsapp.reports.participant.head import verdict
from bidsapp.reports.participant.records import ParticipantOutputs, read_json
from bidsapp.reports.participant.response import response_tables

_UNKNOWN = ("n/a", "NE")


@dataclass(frozen=True)
class Card:
    """Summary of a participant.

    Attributes
    ----------
    participant : str
        Label, such as ``sub-01``.
    sessions : int or None
        Number of sessions; None if the run wrote no summary.
    lesions : int or None
        Number of lesions.
    last_day : float or None
        Days from the treatment to the last session.
    rano : str
        Last assessment by RANO-BM; empty if there is none.
    diameter_change : float or None
        Change of the sum of diameters from the baseline at that assessment, percent.
    responses : mapping of str to str
        Lesion -> category by the volume at its last session.
    tone : str
        Of the verdict: good, warn or bad; empty if it is not known.
    verdict : str
    thumbnail : str
        A JPEG file in base64; empty without a T1w.
    """

    participant: str
    sessions: int | None = None
    lesions: int | None = None
    last_day: float | None = None
    rano: str = ""
    diameter_change: float | None = None
    responses: Mapping[str, str] = field(default_factory=dict)
    tone: str = ""
    verdict: str = ""
    thumbnail: str = ""


def write_card(participant: ParticipantOutputs) -> Path:
    """Write the summary of a participant.

    Parameters
    ----------
    participant : ParticipantOutputs

    Returns
    -------
    path : pathlib.Path

    Raises
    ------
    NotWritable
        If the file cannot be written.
    """
    path = documents.CARD.path(participant.output_dir, participant=participant.label)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, to_json(asdict(summarise(participant))))
    return path


def summarise(participant: ParticipantOutputs) -> Card:
    """Return the summary of a participant from its derivatives.

    Parameters
    ----------
    participant : ParticipantOutputs

    Returns
    -------
    card : Card
        Without lesions and responses if a table of lesions cannot be read, which the verdict
        counts as a failure.
    """
    tone, text = verdict(findings(participant))
    days = [session.days for session in participant.sessions if pd.notna(session.days)]
    image = base64.b64encode(participant_thumbnail(participant)).decode("ascii")
    known = Card(
        participant.label,
        sessions=len(participant.sessions),
        last_day=float(max(days)) if days else None,
        tone=tone,
        verdict=text,
        thumbnail=image,
    )
    try:
        return Card(**{**vars(known), **_lesion_fields(participant)})
    except BadInput:
        return known


def _lesion_fields(participant: ParticipantOutputs) -> dict[str, Any]:
    """Return the number of lesions, and the last responses of the patient and of each lesion."""
    fields: dict[str, Any] = {"lesions": len(participant.lesion_names)}
    tables = response_tables(participant)
    if tables is None:
        return fields
    patients = tables.patients
    if len(patients):
        assessed = patients[~patients["response"].isin(_UNKNOWN)]
        fields |= _assessment(assessed.to_dict("records"))
    known = tables.lesions[tables.lesions["volume_response"] != "n/a"]
    last = known.groupby("lesion", sort=True)["volume_response"].last()
    return fields | {"responses": {str(lesion): str(name) for lesion, name in last.items()}}


def _assessment(rows: Sequence[Mapping[Any, Any]]) -> dict[str, Any]:
    """Return the last assessment by RANO-BM; empty without any."""
    if not rows:
        return {}
    change = rows[-1]["from_baseline_percent"]
    known = None if pd.isna(change) else float(change)
    return {"rano": str(rows[-1]["response"]), "diameter_change": known}


def read_card(output_dir: Path, label: str) -> Card:
    """Read the summary of a participant; one without details if there is none.

    Parameters
    ----------
    output_dir : pathlib.Path
    label : str
        Such as ``sub-01``.

    Returns
    -------
    card : Card
        Of an older run, and of a file that cannot be read: the label alone.

    Examples
    --------
    >>> read_card(Path("nowhere"), "sub-01").sessions is None
    True
    """
    path = documents.CARD.path(output_dir, participant=label)
    try:
        found = read_json(path) if path.exists() else {}
        return Card(**{**found, "participant": label})
    except (BadInput, TypeError):
        return Card(label)
