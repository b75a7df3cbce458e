"""Cells of lesion tables: keys, numbers and flags."""

import math

from bidsapp.bids.tables import Row
from bidsapp.errors import BadInput

_FLAGS = {"0": False, "1": True, "false": False, "true": True, "n/a": False, "": False}


def lesion_key(row: Row, where: str) -> tuple[str, int, str]:
    """Return participant, lesion and session of a row, with the prefixes sub- and ses-."""
    try:
        lesion = int(row["lesion"])
    except ValueError:
        raise BadInput(f"{where}: lesion {row['lesion']!r} is not a whole number.") from None
    participant, session = row["participant_id"], row["session_id"]
    return f"sub-{participant.removeprefix('sub-')}", lesion, f"ses-{session.removeprefix('ses-')}"


def parse_number(text: str, where: str) -> float:
    """Return a cell as a number; NaN if it is missing."""
    if text in ("n/a", ""):
        return math.nan
    try:
        return float(text)
    except ValueError:
        raise BadInput(f"{where}: {text!r} is not a number.") from None


def parse_flag(text: str, where: str) -> bool:
    """Return a cell of 0 or 1 as a bool; False if it is missing."""
    if text.lower() not in _FLAGS:
        raise BadInput(f"{where}: excluded is {text!r}, give 0 or 1.")
    return _FLAGS[text.lower()]
