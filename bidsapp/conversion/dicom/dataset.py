"""The files of a data set besides the images: description, participants, sessions."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from bidsapp.bids.derivatives import to_json, to_tsv, write_bytes
from bidsapp.bids.tables import read_table
from bidsapp.config import version
from bidsapp.conversion.dicom.tables import Visit

_README = """\
# MRI of brain tumours

Converted from DICOM by `metperf prepare`, with dcm2niix. Participants and sessions are numbered;
days are counted from the treatment. Sidecars describe the acquisition only: names, identifiers,
dates, hospital and device were not copied.

`code/prepare` holds the tables with the use of each kind of series (`series.tsv`) and the labels
of each study (`visits.tsv`).
"""
_IGNORED = "*_dce.*\n"
"""BIDS has no suffix for dynamic contrast-enhanced series yet."""


def describe_dataset(bids_dir: Path) -> None:
    """Write description, README and .bidsignore, unless the data set has them.

    Raises
    ------
    NotWritable
        If a file cannot be written.
    """
    description = {
        "Name": "MRI of brain tumours, converted from DICOM",
        "BIDSVersion": "1.10.0",
        "DatasetType": "raw",
        "GeneratedBy": [{"Name": "metperf prepare", "Version": version()}],
    }
    contents = {
        "dataset_description.json": to_json(description),
        ".bidsignore": _IGNORED.encode(),
        "README.md": _README.encode(),
    }
    for name, content in contents.items():
        if not any(bids_dir.glob(f"{Path(name).stem}*")):
            write_bytes(bids_dir / name, content)


def list_participants(bids_dir: Path, visits: Iterable[Visit]) -> list[str]:
    """Add participants and sessions to their tables; other rows and columns are kept.

    Parameters
    ----------
    bids_dir
        The data set.
    visits
        Those with images.

    Returns
    -------
    list of str
        Warnings on days that the table states otherwise.

    Raises
    ------
    BadInput
        If a table cannot be read.
    NotWritable
        If a table cannot be written.
    """
    by_person: dict[str, dict[str, float | None]] = {}
    for visit in visits:
        sessions = by_person.setdefault(visit.participant, {})
        if sessions.get(visit.session) is None:
            sessions[visit.session] = visit.days
    people: dict[str, dict[str, float | None]] = {f"sub-{label}": {} for label in by_person}
    _extend(bids_dir / "participants.tsv", "participant_id", people)
    warnings = []
    for label, sessions in by_person.items():
        rows = {f"ses-{name}": {"days_since_treatment": days} for name, days in sessions.items()}
        table = bids_dir / f"sub-{label}" / f"sub-{label}_sessions.tsv"
        warnings += [f"{table.name}: {text}" for text in _extend(table, "session_id", rows)]
    described = {"days_since_treatment": {"Description": "Days from the treatment", "Units": "d"}}
    write_bytes(bids_dir / "sessions.json", to_json(described))
    return warnings


def _extend(table: Path, key: str, new: Mapping[str, Mapping[str, float | None]]) -> list[str]:
    """Add rows and empty cells to a table; return where it states something else."""
    rows: dict[str, dict[str, object]] = {}
    if table.is_file():
        rows = {row[key]: dict(row) for row in read_table(table, (key,), known=(key,))}
    before = {name: dict(row) for name, row in rows.items()}
    warnings = []
    for name, cells in new.items():
        row = rows.setdefault(name, {key: name})
        for column, value in cells.items():
            stated = str(row.get(column, "n/a")).strip()
            if stated in ("", "n/a"):
                row[column] = value
            elif value is not None and stated != f"{value:.7g}":
                warnings.append(f"{column} of {name} is {stated}, which is kept, not {value:g}")
    columns = dict.fromkeys(column for row in rows.values() for column in row)
    ordered = [rows[name] for name in sorted(rows)]
    if rows != before:
        write_bytes(table, to_tsv(list(columns), ordered))
    return warnings
