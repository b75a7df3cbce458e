"""The table of the quality of each series of a participant, for the group level."""

from collections.abc import Mapping
from pathlib import Path

from bidsapp.bids import documents
from bidsapp.bids.derivatives import to_json, to_tsv, write_bytes
from bidsapp.reports.index.card import write_card
from bidsapp.reports.participant.page import build_participant_page
from bidsapp.reports.participant.quality import quality_rows
from bidsapp.reports.participant.records import ParticipantOutputs, read_participant

COLUMNS: Mapping[str, str] = {
    "participant_id": "Participant",
    "session_id": "Session",
    "series": "DWI or DCE (registered to the session's T1w), T1w (to that of the baseline), or VFA "
    "(the worst of the images at several flip angles, registered to the DCE)",
    "verdict": "Verdict on the registration: good, doubtful or failed; n/a without a registration",
    "expected_error_mm": "Expected error of the registration in the brain",
    "consistency_mm": "Distance between direct registration to the baseline and that via the T1w",
    "max_displacement_mm": "Largest framewise displacement",
    "n_volumes": "Volumes of the series",
    "n_outliers": "Volumes that are outliers of motion or signal",
    "signal_to_noise": "Signal at b = 0 divided by the residual of the fit, median over the brain",
    "failed_percent": "Largest proportion of voxels without a value, over lesions and parameters",
    "reason": "Why the registration is not good, and which files could not be read",
}
"""The columns of ``sub-*_quality.tsv``."""


def write_quality(participant: ParticipantOutputs) -> None:
    """Write ``sub-<label>_quality.tsv`` and its data dictionary; nothing if no series ran.

    Parameters
    ----------
    participant : ParticipantOutputs

    Raises
    ------
    NotWritable
        If a file cannot be written.
    """
    table = documents.QUALITY.path(participant.output_dir, participant=participant.label)
    rows = quality_rows(participant)
    if not rows:
        for extension in (".tsv", ".json"):
            table.with_suffix(extension).unlink(missing_ok=True)
        return
    write_bytes(table, to_tsv(list(COLUMNS), rows))
    dictionary = {name: {"Description": text} for name, text in COLUMNS.items()}
    write_bytes(table.with_suffix(".json"), to_json(dictionary))


def build_page(output_dir: Path, label: str) -> Path:
    """Write the table of quality, the page and the summary for the index of a participant.

    Parameters
    ----------
    output_dir
        The derivatives.
    label
        Label of the participant.

    Returns
    -------
    pathlib.Path
        The page.
    """
    participant = read_participant(output_dir, label)
    if participant.sessions:
        write_quality(participant)
        write_card(participant)
    return build_participant_page(output_dir, label)
