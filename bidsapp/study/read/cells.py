"""Keys of the rows of lesion tables."""

from bidsapp.bids.tables import Row
from bidsapp.errors import BadInput


def lesion_key(row: Row, where: str) -> tuple[str, int, str]:
    """Return participant, lesion and session of a row, with the prefixes sub- and ses-."""
    try:
        lesion = int(row["lesion"])
    except ValueError:
        raise BadInput(f"{where}: lesion {row['lesion']!r} is not a whole number.") from None
    participant, session = row["participant_id"], row["session_id"]
    return f"sub-{participant.removeprefix('sub-')}", lesion, f"ses-{session.removeprefix('ses-')}"
