"""TSV tables, read and checked as rows of text."""

import csv
import io
from collections.abc import Iterable
from pathlib import Path

from bidsapp.bids.text_files import read_text
from bidsapp.errors import BadInput

Row = dict[str, str]
_SEPARATORS = {",": "commas", ";": "semicolons"}
"""Separators of tables that are not tab-separated."""


def read_table(
    path: Path,
    required: Iterable[str] = (),
    *,
    complete: bool = False,
    known: Iterable[str] = (),
) -> list[Row]:
    r"""Read the rows of a TSV table; see `read_numbered_table`.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "t.tsv")
    ...     _ = path.write_text("lesion\tmean\n1\t0.5\n")
    ...     read_table(path, ["lesion"])
    [{'lesion': '1', 'mean': '0.5'}]
    """
    return [row for _, row in read_numbered_table(path, required, complete=complete, known=known)]


def read_numbered_table(
    path: Path,
    required: Iterable[str] = (),
    *,
    complete: bool = False,
    known: Iterable[str] = (),
) -> list[tuple[int, Row]]:
    """Read a TSV table with the number of the line of each row.

    Parameters
    ----------
    path
        The file.
    required
        Columns that it must have; others are read, too.
    complete
        Whether the table is one of metperf's own, which has rows and ends with a newline.
    known
        Columns that are recognised in any letter case, and returned under these names.

    Returns
    -------
    list of (int, dict of str to str)
        One per row; cells are unchanged, including ``n/a``.

    Raises
    ------
    BadInput
        If the file cannot be read, lacks a column, or has one twice; if a row has too few or too
        many cells; if a complete table has no rows or is truncated.
    """
    text = read_text(path)
    try:
        reader = csv.reader(io.StringIO(text, newline=""), delimiter="\t")
        lines = [(reader.line_num, cells) for cells in reader if cells]
    except csv.Error as error:
        raise BadInput(f"{path}: cannot be read as a table ({error})") from error
    if complete and len(lines) < 2:
        raise BadInput(f"{path}: the table has no rows; run the participant again")
    if complete and not text.endswith("\n"):
        raise BadInput(f"{path}: the last line is truncated; run the participant again")
    columns = _known_columns(path, lines[0][1] if lines else [], known)
    _check_columns(path, columns, required)
    for number, cells in lines[1:]:
        if len(cells) != len(columns):
            raise BadInput(
                f"{path}: line {number} has {len(cells)} cells, the header {len(columns)}; "
                "cells are separated by tabs, a missing value is n/a"
            )
    return [(number, dict(zip(columns, cells, strict=True))) for number, cells in lines[1:]]


def _known_columns(path: Path, columns: list[str], known: Iterable[str]) -> list[str]:
    """Return the columns with the known ones spelled as expected; refuse an ambiguous spelling."""
    names = list(columns)
    for name in known:
        alike = [i for i, column in enumerate(columns) if column.strip().lower() == name.lower()]
        if len({columns[i] for i in alike}) > 1:
            spelled = ", ".join(repr(columns[i]) for i in alike)
            raise BadInput(f"{path}: columns {spelled} are the same; keep the right one, {name!r}")
        for i in alike:
            names[i] = name
    return names


def _check_columns(path: Path, columns: list[str], required: Iterable[str]) -> None:
    """Refuse columns that are missing or present twice, all of them at once."""
    present = f"; the columns are {', '.join(columns)[:200]}" if columns else "; the table is empty"
    missing = [repr(column) for column in required if column not in columns]
    mark = next((mark for mark in _SEPARATORS if missing and mark in "".join(columns)), "")
    if mark and len(columns) == 1:
        raise BadInput(
            f"{path}: its columns are separated by {_SEPARATORS[mark]}, not tabs; save it as a "
            "tab-separated table"
        )
    if missing:
        raise BadInput(f"{path}: column {', '.join(missing)} is missing{present}")
    repeated = {repr(column) for column in columns if columns.count(column) > 1}
    if repeated:
        raise BadInput(f"{path}: column {', '.join(sorted(repeated))} is present twice{present}")
