"""Keys of the rows of lesion tables."""

from bidsapp.bids.tables import Row
from bidsapp.errors import BadInput


def lesion_key(row: Row, where: str) -> tuple[str, int, str]:
    """Return participant, lesion and session of a row, with the prefixes sub- and ses-."""
    try:
        lesion = int(row["lesion"])
    except ValueError:
        raise BadInput(f"{where}: lesion {row['lesion']!r} is not a whole number.") from None
    participant, session = row["participant_id"].strip(), row["session_id"].strip()
    return f"sub-{bare_label(participant, 'sub-')}", lesion, f"ses-{bare_label(session, 'ses-')}"


def bare_label(label: str, prefix: str) -> str:
    """Return a label without its prefix in any letter case."""
    return label[len(prefix) :] if label.lower().startswith(prefix) else label
