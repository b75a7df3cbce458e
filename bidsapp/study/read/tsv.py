"""Cells of tables on disk: read whole, checked, in one spelling."""

import csv
import math
from collections.abc import Iterable
from pathlib import Path

from bidsapp.errors import BadInput

Row = dict[str, str]

_FLAGS = {"0": False, "1": True, "false": False, "true": True, "n/a": False, "": False}


def read_table(path: Path, columns: Iterable[str], *, whole: bool = True) -> list[Row]:
    r"""Read a TSV file whose lines must all be complete.

    Parameters
    ----------
    path : pathlib.Path
    columns : iterable of str
        Columns that must be there.
    whole : bool
        Whether the last line must end with a newline, as metperf's own tables do.

    Returns
    -------
    rows : list of dict of str to str

    Raises
    ------
    BadInput
        If the file cannot be read, is empty, lacks a column, or breaks off.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "t.tsv")
    ...     _ = path.write_text("lesion\tmean\n1\t0.5\n")
    ...     read_table(path, ["lesion"])
    [{'lesion': '1', 'mean': '0.5'}]
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"{path}: cannot be read ({error}).") from error
    lines = list(csv.reader(text.splitlines(), delimiter="\t"))
    if len(lines) < 2:
        remedy = ": run the participant again" if whole else " or has no row below its heading"
        raise BadInput(f"{path}: the table is empty{remedy}.")
    if whole and not text.endswith("\n"):
        raise BadInput(f"{path}: the table breaks off in its last line: run the participant again.")
    header, *body = lines
    lacking = [name for name in columns if name not in header]
    if lacking:
        raise BadInput(f"{path}: the table lacks the column(s) {', '.join(lacking)}.")
    for place, line in enumerate(body, start=2):
        if len(line) != len(header):
            raise BadInput(f"{path}: line {place} has {len(line)} of {len(header)} cells.")
    return [dict(zip(header, line, strict=True)) for line in body]


def lesion_key(row: Row, where: str) -> tuple[str, int, str]:
    """Participant, lesion and session of a row, in one spelling."""
    try:
        lesion = int(row["lesion"])
    except ValueError:
        raise BadInput(f"{where}: lesion {row['lesion']!r} is not a whole number.") from None
    participant, session = row["participant_id"], row["session_id"]
    return f"sub-{participant.removeprefix('sub-')}", lesion, f"ses-{session.removeprefix('ses-')}"


def number(text: str, where: str) -> float:
    """Read a number; NaN for a missing one."""
    if text in ("n/a", ""):
        return math.nan
    try:
        return float(text)
    except ValueError:
        raise BadInput(f"{where}: {text!r} is not a number.") from None


def flag(text: str, where: str) -> bool:
    """Read 0 or 1; missing is 0."""
    if text.lower() not in _FLAGS:
        raise BadInput(f"{where}: excluded is {text!r}, give 0 or 1.")
    return _FLAGS[text.lower()]
