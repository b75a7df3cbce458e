"""The quality of each series: registration, motion, noise, and voxels without a value."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from bidsapp.bids import outputs
from bidsapp.errors import BadInput
from bidsapp.models.parameters import expected_parameters
from bidsapp.reports.participant.noise import signal_to_noise
from bidsapp.reports.participant.records import (
    DATATYPES,
    ParticipantOutputs,
    SessionOutputs,
    read_frame,
    read_json,
)

_VERDICTS = ("good", "doubtful", "failed")
"""From the best to the worst."""


def quality_rows(participant: ParticipantOutputs) -> list[dict[str, Any]]:
    """Return the quality of each series of each session.

    Parameters
    ----------
    participant : ParticipantOutputs

    Returns
    -------
    rows : list of dict
        With the columns of ``sub-*_quality.tsv`` as keys; unknown values are missing.
    """
    rows = []
    for session in participant.sessions:
        named = {"participant_id": participant.label, "session_id": session.label}
        path = session.find(outputs.TO_BASELINE_QUALITY)
        if path:
            rows.append({**named, "series": "T1w", **_registration_fields(path)})
        if flips := session.find(outputs.T1_QUALITY):
            rows += [{**named, "series": "VFA", **row} for row in _flip_angle_fields(flips)]
        for datatype, name in DATATYPES.items():
            if session.ran(datatype):
                rows.append({**named, "series": name, **_series(participant, session, datatype)})
    return rows


def _registration_fields(path: Path | None) -> dict[str, Any]:
    """Return the verdict of a registration; an unreadable quality file counts as failed."""
    try:
        content = read_json(path) if path else {}
    except BadInput as error:
        content = {"verdict": "failed", "reason": str(error)}
    return {key: content.get(key) or None for key in ("verdict", "expected_error_mm", "reason")}


def _flip_angle_fields(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the worst verdict on the images at several flip angles, with its reason."""
    try:
        images = read_json(path).get("Registration", {}).get("Images", {})
    except BadInput as error:
        yield {"verdict": _VERDICTS[-1], "expected_error_mm": None, "reason": str(error)}
        return
    if not images:
        return
    worst = max(images.values(), key=lambda image: _VERDICTS.index(image["verdict"]))
    errors = [e for image in images.values() if (e := image.get("expected_error_mm")) is not None]
    yield {
        "verdict": worst["verdict"],
        "expected_error_mm": max(errors, default=None),
        "reason": worst["reason"] or None,
    }


def _series(
    participant: ParticipantOutputs, session: SessionOutputs, datatype: str
) -> dict[str, Any]:
    """Return the quality of one series; errors of reading are added to the reason."""
    row = _registration_fields(session.find(outputs.TO_T1W_QUALITY, datatype))
    known: tuple[Callable[[], dict[str, Any]], ...] = (
        lambda: _consistency(session, datatype),
        lambda: _motion(session, datatype),
        lambda: _noise(session, datatype),
        lambda: {"failed_percent": _failed_percent(participant, session, datatype)},
    )
    for ask in known:
        try:
            row |= ask()
        except (BadInput, KeyError, ValueError) as error:
            row["reason"] = "; ".join(filter(None, (row["reason"], str(error))))
    return row


def _noise(session: SessionOutputs, datatype: str) -> dict[str, Any]:
    """Return the signal-to-noise ratio of a diffusion series."""
    return {"signal_to_noise": signal_to_noise(session)} if datatype == "dwi" else {}


def _consistency(session: SessionOutputs, datatype: str) -> dict[str, Any]:
    """Return the distance between direct and chained registration to the baseline T1w."""
    path = session.find(outputs.CONSISTENCY, datatype)
    return {"consistency_mm": read_json(path).get("consistency_mm")} if path else {}


def _motion(session: SessionOutputs, datatype: str) -> dict[str, Any]:
    """Return the number of volumes, the maximum displacement, and the number of outliers."""
    path = session.find(outputs.MOTION, datatype)
    if not path:
        return {}
    table = read_frame(path)
    return {
        "n_volumes": len(table),
        "max_displacement_mm": float(np.nanmax(table["framewise_displacement"], initial=0)),
        "n_outliers": int(table["outlier"].sum()) if "outlier" in table else None,
    }


def _failed_percent(
    participant: ParticipantOutputs, session: SessionOutputs, datatype: str
) -> float | None:
    """Return the largest proportion of failed voxels of any parameter in any lesion, percent."""
    table = participant.statistics
    if table.empty:
        return None
    own = table["parameter"].isin(expected_parameters(datatype)) & (
        table["session_id"] == session.label
    )
    rows = table[own & (table["n_voxels"] > 0)]
    return None if rows.empty else float(100 * (rows["n_failed"] / rows["n_voxels"]).max())
