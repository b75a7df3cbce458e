"""Keys of the rows of lesion tables."""

from bidsapp.bids.cells import parse_whole_number
from bidsapp.bids.tables import Row
from bidsapp.errors import BadInput


def lesion_key(row: Row, where: str) -> tuple[str, int, str]:
    """Return participant, lesion and session of a row, with the prefixes sub- and ses-."""
    lesion = parse_whole_number(row["lesion"], where, "lesion")
    participant, session = (_label(row, name, where) for name in ("participant_id", "session_id"))
    return f"sub-{bare_label(participant, 'sub-')}", lesion, f"ses-{bare_label(session, 'ses-')}"


def _label(row: Row, name: str, where: str) -> str:
    """Return the label in a column; a row without one belongs to nobody."""
    label = row[name].strip()
    if label in ("", "n/a"):
        raise BadInput(f"{where}: {name} is missing ({row[name]!r}): give it or remove the row.")
    return label


def bare_label(label: str, prefix: str) -> str:
    """Return a label without its prefix in any letter case."""
    return label[len(prefix) :] if label.lower().startswith(prefix) else label
