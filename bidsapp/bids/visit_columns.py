"""Further columns of a table of sessions, without those that may identify a patient."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from bidsapp.bids.tables import read_table

_OWN = ("session_id", "days_since_treatment", "days_from_treatment", "days_from_srs", "acq_time")
"""Columns with a meaning of their own: the session, its day, and its date."""

_DATE = re.compile(
    r"\d{1,4}[-./]\d{1,2}[-./]\d{1,4}|(?:19|20)\d{6}|\d{1,2}:\d{2}|[A-Za-z]{3,} \d{4}"
)
"""A date or time of day in one of the usual notations, anywhere in a cell."""

_PERSONAL = re.compile(
    r"date|time|birth|dob|name|initial|operator|physician|radiolog|comment|note|remark|address|"
    r"phone|mail|accession|mrn|patient_?id|uid",
    re.IGNORECASE,
)
"""Names of columns that may hold dates, persons, numbers of a hospital, or free text."""

_LONGEST = 24
"""Characters of a cell above which it is taken for free text."""


@dataclass(frozen=True)
class VisitColumns:
    """Further columns of a table of sessions.

    Attributes
    ----------
    columns : tuple of str
    rows : mapping of str to mapping
        Label of a session with ``ses-`` -> column -> cell.
    withheld : tuple of str
        Columns that may identify a patient, and are not among them.
    """

    columns: tuple[str, ...] = ()
    rows: Mapping[str, Mapping[str, str]] | None = None
    withheld: tuple[str, ...] = ()

    @property
    def notes(self) -> tuple[str, ...]:
        """A note that names the columns that are withheld, if there are any."""
        if not self.withheld:
            return ()
        return (
            f"sessions.tsv: {', '.join(self.withheld)} may contain dates, names or free text, and "
            "will not be in the output; other columns are copied",
        )

    def of(self, session: str) -> dict[str, str]:
        """Return the cells of a session, ``n/a`` where it has none."""
        row = (self.rows or {}).get(session, {})
        return {column: row.get(column, "").strip() or "n/a" for column in self.columns}


def session_table(bids_dir: str | Path, label: str) -> Path:
    """Return the path of the table of sessions of a participant, without ``sub-``."""
    return Path(bids_dir) / f"sub-{label}" / f"sub-{label}_sessions.tsv"


def read_visit_columns(table: Path) -> VisitColumns:
    r"""Read the further columns of a table of sessions.

    Parameters
    ----------
    table
        ``sub-X_sessions.tsv``; it need not exist.

    Returns
    -------
    found
        A column is withheld if its name is one of dates, persons or comments, or if a cell contains
        a date or a long text.

    Raises
    ------
    BadInput
        If the table cannot be read.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "sub-01_sessions.tsv")
    ...     _ = path.write_text("session_id\tsteroid_dose\tseen\nses-01\t8\t2020-01-31\n")
    ...     found = read_visit_columns(path)
    >>> found.of("ses-01"), found.withheld
    ({'steroid_dose': '8'}, ('seen',))
    """
    if not table.is_file():
        return VisitColumns()
    rows = read_table(table, ("session_id",))
    further = [c for c in (rows[0] if rows else {}) if c.strip().lower() not in _OWN]
    withheld = [c for c in further if _may_identify(c, (row[c] for row in rows))]
    return VisitColumns(
        tuple(column for column in further if column not in withheld),
        {f"ses-{row['session_id'].strip().removeprefix('ses-')}": row for row in rows},
        tuple(withheld),
    )


def _may_identify(column: str, cells: Iterable[str]) -> bool:
    """Return whether a column may hold a date, a person or free text."""
    return bool(_PERSONAL.search(column)) or any(
        len(cell.strip()) > _LONGEST or _DATE.search(cell) for cell in cells
    )
