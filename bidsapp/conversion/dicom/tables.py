"""The tables that the user checks: kinds of series and their use, and studies and their labels."""

import math
import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bidsapp.bids.derivatives import to_json, to_tsv, write_bytes
from bidsapp.bids.inheritance import read_sidecar
from bidsapp.bids.tables import read_numbered_table
from bidsapp.conversion.dicom.kinds import USES, Kind, Proposal
from bidsapp.conversion.dicom.records import Series
from bidsapp.errors import BadInput, UsageError

FOLDER = Path("code", "prepare")
"""Folder of the tables in the data set; BIDS leaves the content of ``code`` to the user."""
SERIES_COLUMNS = {
    "use": "What the series is used for: " + "; ".join(f"{k}: {v}" for k, v in USES.items()),
    "why": "Why this use was proposed",
    "description": "Name of the series on the scanner",
    "image_type": "Words of ImageType (0008,0008)",
    "sequence": "ScanningSequence, SequenceVariant and name of the sequence",
    "acquisition": "2D or 3D",
    "flip_angle": "Degrees",
    "frames": "single or several volumes",
    "volumes": "Number of volumes",
    "matrix": "Columns x rows x slices",
    "voxel": "Size in mm",
    "repetition_time": "ms",
    "echo_time": "ms",
    "manufacturer": "Manufacturer of the scanner",
    "n_series": "Number of series of this kind",
}
VISIT_COLUMNS = {
    "study": "Pseudonym of the study: a salted hash of its UID, from which nothing can be derived",
    "participant_id": "Label of the participant",
    "session_id": "Label of the session; studies of one day share it",
    "days_since_treatment": "Days from the treatment to the study",
    "days_from": "Where the date of the treatment comes from",
    "series": "Numbers of the series with their use",
    "leave_out": "Numbers of series to leave out, such as a repeated one, separated by blanks",
}
_KEY = ("description", "image_type", "sequence", "acquisition", "flip_angle", "frames")
_LABEL = re.compile(r"[A-Za-z0-9]+")


@dataclass(frozen=True)
class Visit:
    """The row of a study: its labels and days, which the user may edit.

    `days` is None where unknown.
    """

    study: str
    participant: str
    session: str
    days: float | None = None
    days_from: str = ""
    series: str = ""
    leave_out: tuple[int, ...] = ()


@dataclass(frozen=True)
class Tables:
    """Content of the tables of a data set, with the salt of its pseudonyms.

    `rows` are those of the kinds of series as the table has them.
    """

    uses: Mapping[Kind, str] = field(default_factory=dict)
    rows: Mapping[Kind, Mapping[str, str]] = field(default_factory=dict)
    visits: Mapping[str, Visit] = field(default_factory=dict)
    salt: str = field(default_factory=lambda: secrets.token_hex(16))


def read_tables(bids_dir: Path) -> Tables:
    """Return the tables of a data set; empty ones, with a new salt, if there are none.

    Raises
    ------
    BadInput
        If a table is damaged, or a use or a label is not valid: all such cells at once.
    UsageError
        If the data set has participants, but no tables.
    """
    folder = bids_dir / FOLDER
    if not (folder / "visits.json").is_file():
        _check_new(bids_dir)
        return Tables()
    salt = read_sidecar(folder / "visits.json").get("Salt")
    if not isinstance(salt, str) or not salt:
        raise BadInput(f"{folder / 'visits.json'}: Salt is missing; restore the file")
    problems: list[str] = []
    uses: dict[Kind, str] = {}
    rows: dict[Kind, Mapping[str, str]] = {}
    table = folder / "series.tsv"
    for line, row in read_numbered_table(table, ("use", *_KEY), known=SERIES_COLUMNS):
        use = row["use"].strip().lower()
        if use not in USES:
            known = ", ".join(USES)
            problems.append(f"{table}: line {line}: use is {row['use']!r}; it must be {known}")
        kind = Kind(*(row[name] for name in _KEY))
        if kind in uses:
            problems.append(f"{table}: line {line}: repeats another line; keep one of them")
        uses[kind], rows[kind] = use, row
    visits: dict[str, Visit] = {}
    table = folder / "visits.tsv"
    columns = ("study", "participant_id", "session_id", "days_since_treatment")
    for line, row in read_numbered_table(table, columns, known=VISIT_COLUMNS):
        visit = _read_visit(row, f"{table}: line {line}", problems)
        if visit.study in visits:
            problems.append(f"{table}: line {line}: repeats study {visit.study}; keep one line")
        visits[visit.study] = visit
    if problems:
        raise BadInput("\n".join(problems))
    return Tables(uses, rows, visits, salt)


def _check_new(bids_dir: Path) -> None:
    """Refuse a data set of another origin, whose participants new ones could be mistaken for."""
    lost = bids_dir / FOLDER / "visits.tsv"
    if lost.exists():
        raise BadInput(f"{lost.with_suffix('.json')}: is missing, and with it the salt of the "
                       "pseudonyms; restore the file, or start with a new bids_dir")  # fmt: skip
    if present := sorted(path.name for path in bids_dir.glob("sub-*")):
        raise UsageError(
            f"{bids_dir} has participants that metperf prepare has not made ({present[0]}"
            f"{', ...' if len(present) > 1 else ''}): new ones could have the same labels; choose "
            "another bids_dir, or restore its code/prepare"
        )


def _read_visit(row: Mapping[str, str], place: str, problems: list[str]) -> Visit:
    """Return a row of the table of visits; add what is wrong to the problems."""
    labels = []
    for name, prefix in (("participant_id", "sub-"), ("session_id", "ses-")):
        label = row[name].strip().removeprefix(prefix)
        if not _LABEL.fullmatch(label):
            problems.append(
                f"{place}: {name} is {row[name]!r}; it must be {prefix} with letters and digits"
            )
        labels.append(label)
    days: float | None = None
    text = row["days_since_treatment"].strip()
    if text not in ("", "n/a"):
        try:
            days = float(text)
        except ValueError:
            days = math.nan
        if not math.isfinite(days):
            problems.append(
                f"{place}: days_since_treatment is {text!r}; it must be a number or n/a"
            )
    left = row.get("leave_out", "").replace("n/a", "").replace(",", " ").split()
    if not all(word.isdigit() for word in left):
        problems.append(f"{place}: leave_out is {' '.join(left)!r}; it must be numbers of series")
        left = []
    source = row.get("days_from", "").replace("n/a", "")
    series = row.get("series", "").replace("n/a", "")
    participant, session = labels
    leave_out = tuple(map(int, left))
    return Visit(row["study"], participant, session, days, source, series, leave_out)


def write_tables(
    bids_dir: Path,
    tables: Tables,
    kinds: Mapping[Kind, Sequence[Series]],
    proposals: Mapping[Kind, Proposal],
) -> None:
    """Write the tables, with the descriptions of their columns.

    Parameters
    ----------
    bids_dir
        The data set.
    tables
        Content.
    kinds
        Series of this run by their kind.
    proposals
        Reasons of the proposed uses.

    Raises
    ------
    NotWritable
        If a file cannot be written.
    """
    folder = bids_dir / FOLDER
    rows = [
        _series_row(kind, use, kinds[kind], proposals[kind])
        if kind in kinds
        else {**tables.rows[kind], "use": use}
        for kind, use in tables.uses.items()
    ]
    order = list(USES)
    rows.sort(key=lambda row: (order.index(str(row["use"])), str(row["description"])))
    visits = [
        {
            "study": v.study,
            "participant_id": f"sub-{v.participant}",
            "session_id": f"ses-{v.session}",
            "days_since_treatment": v.days,
            "days_from": v.days_from or None,
            "series": v.series or None,
            "leave_out": " ".join(map(str, v.leave_out)) or None,
        }
        for v in sorted(tables.visits.values(), key=lambda v: (v.participant, v.session, v.study))
    ]
    for name, columns, content, extra in (
        ("series", SERIES_COLUMNS, rows, {}),
        ("visits", VISIT_COLUMNS, visits, {"Salt": tables.salt}),
    ):
        described = {column: {"Description": text} for column, text in columns.items()}
        write_bytes(folder / f"{name}.json", to_json(described | extra))
        write_bytes(folder / f"{name}.tsv", to_tsv(list(columns), content))


def _series_row(
    kind: Kind, use: str, series: Sequence[Series], proposal: Proposal
) -> dict[str, object]:
    """Return the row of a kind of series."""
    why = proposal.why
    if proposal.use != use:
        why = f"chosen by the user; proposed was {proposal.use}: {proposal.why}"
    row: dict[str, object] = {"use": use, "why": why}
    row |= {name: getattr(kind, name) for name in _KEY}
    return row | {
        "volumes": _span([s.volumes for s in series]),
        "matrix": _first([f"{s.matrix[0]}x{s.matrix[1]}x{len(s.places)}" for s in series]),
        "voxel": _first(["x".join(f"{v:.4g}" for v in s.voxel) for s in series]),
        "repetition_time": _span([s.repetition_time for s in series]),
        "echo_time": _span([s.slices[0].echo_time for s in series]),
        "manufacturer": _first([s.manufacturer for s in series]),
        "n_series": len(series),
    }


def _span(values: Sequence[float | None]) -> str | None:
    """Return the range of numbers."""
    known = [v for v in values if v is not None]
    if not known:
        return None
    low, high = min(known), max(known)
    return f"{low:g}" if low == high else f"{low:g} to {high:g}"


def _first(texts: Sequence[str]) -> str:
    """Return the most frequent text, and how many others there are."""
    usual = max(sorted(set(texts)), key=texts.count)
    others = len(set(texts)) - 1
    return f"{usual} and {others} other{'s' if others > 1 else ''}" if others else usual
