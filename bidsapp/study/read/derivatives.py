"""Reading of the participants' tables in an output folder into a cohort."""

import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from bidsapp.bids import documents, outputs
from bidsapp.bids.cells import parse_flag, parse_number
from bidsapp.bids.output import Output
from bidsapp.bids.tables import Row, read_numbered_table
from bidsapp.errors import BadInput, NothingToAnalyse
from bidsapp.lesions import COLUMNS as ROISTATS
from bidsapp.lesions.unmixed_values import UNMIXED_COLUMNS
from bidsapp.models.parameters import FOLLOWED
from bidsapp.study.read.cells import lesion_key
from bidsapp.study.read.clinical import parse_clinical
from bidsapp.study.read.lesion_events import (
    apply_lesion_events,
    carried_warnings,
    read_lesion_events,
    separate_runs,
)
from bidsapp.study.read.recovery import read_detectable_changes
from bidsapp.study.read.status import (
    collect_issues,
    describe_failures,
    read_statuses,
    unfinished_runs,
    warnings_beside,
)
from bidsapp.study.tables import (
    CLINICAL,
    EVENT,
    LESION,
    SIZES,
    WARNINGS,
    Cohort,
    LesionValues,
    error_columns,
    lesion_columns,
)
from bidsapp.study.tables.analysis_options import acquisition_differences, option_differences
from bidsapp.study.tables.limits import Measure

_TEXT = (
    "participant_id",
    "session_id",
    "roi",
    "model",
    "parameter",
    "unit",
    "space",
    "point_spread",
    "roi_from",
)
_REQUIRED = (
    "participant_id",
    "session_id",
    "lesion",
    "roi",
    "model",
    "parameter",
    "unit",
    "mean",
    "excluded",
)
"""Columns that are used; tables of other versions may lack other columns, or have more."""

_WHOLE = {"volume": "volume_ml", **SIZES}
"""Parameter of a whole lesion -> its column."""
_TABLES = (outputs.VOLUMES, outputs.LESION_VALUES, outputs.REGION_VALUES)

_NUMBERS = [
    name for name in {**ROISTATS, **UNMIXED_COLUMNS} if name not in (*_TEXT, "lesion", "excluded")
]


@dataclass(frozen=True)
class OutputTables:
    """Content of an output folder: the cohort, the rows of its tables, problems and notes.

    `rows` are those of volumes and of means over voxels, also of regions beside lesions; `unmixed`
    are those of unmixed values.
    """

    cohort: Cohort
    rows: Sequence[Row]
    unmixed: Sequence[Row]
    problems: tuple[str, ...]
    notes: tuple[str, ...]


def read_output(output_dir: Path, lesion_values: LesionValues = "mean") -> OutputTables:
    """Read the lesion and session tables of every participant.

    Parameters
    ----------
    output_dir : pathlib.Path
        The output folder of the participant level.
    lesion_values : "mean" or "unmixed"
        Which values the cohort holds.

    Returns
    -------
    found : OutputTables

    Raises
    ------
    NothingToAnalyse
        If there is no table that can be used.
    """
    problems: list[str] = []
    notes: list[str] = []
    rows = _read_tables(output_dir, _TABLES, problems)
    unmixed = _unmixed_rows(output_dir, problems)
    statuses = read_statuses(output_dir)
    problems += unfinished_runs(statuses)
    problems += [*option_differences(statuses), *acquisition_differences(statuses)]
    reported = collect_issues(statuses)
    notes += describe_failures(reported)
    used = [row for row in rows if row["roi"] in ("enhancing", "whole")]
    if not used:
        why = "\n".join(["", *problems])
        raise NothingToAnalyse(
            f"{output_dir}: no sub-*/ses-*/**/*_roistats.tsv that can be used: "
            f"run the participant level first.{why}"
        )
    if lesion_values == "unmixed":
        used = [row for row in rows if row["roi"] == "whole"] + unmixed
        if not unmixed:
            raise NothingToAnalyse(
                f"{output_dir}: no sub-*/ses-*/**/*_desc-unmixed_roistats.tsv, which "
                "--lesion-values unmixed needs: run the participant level with this version, with "
                "ROIs, and with --fit-space native."
            )
    sessions, visits = _sessions(output_dir, used, problems, notes)
    lesions, units = _lesions(used, problems, notes)
    days = sessions[["participant_id", "session_id", "days"]]
    lesions = lesions.merge(days, how="left").rename(columns={"days": "days_from_srs"})
    lesions[WARNINGS] = warnings_beside(lesions, reported)
    events = read_lesion_events(output_dir, problems)
    lesions = apply_lesion_events(lesions, events, problems, notes)
    cohort = Cohort(
        _sort_by_time(lesions, sessions),
        sessions,
        units,
        visits=visits,
        estimate=lesion_values,
        detectable=_detectable_changes(output_dir, problems),
        warnings=(*_doubtful_rows(lesions), *carried_warnings(lesions), *separate_runs(events)),
    )
    here = f"{output_dir}/"
    problems, notes = ([text.replace(here, "") for text in texts] for texts in (problems, notes))
    return OutputTables(cohort, rows, unmixed, tuple(problems), tuple(notes))


def _detectable_changes(output_dir: Path, problems: list[str]) -> dict[Measure, float]:
    """Return the changes that simulations can detect; one that cannot be read is a problem."""
    found: dict[Measure, float] = {}
    for folder in sorted(output_dir.glob("sub-*")):
        try:
            found |= read_detectable_changes(folder)
        except BadInput as error:
            problems.append(str(error))
    return found


def _doubtful_rows(lesions: pd.DataFrame) -> tuple[str, ...]:
    """Return a warning of the number of rows that carry warnings, if there are any."""
    count = int((lesions[WARNINGS] != "").sum())
    if not count:
        return ()
    return (
        f"{count} of the {len(lesions)} lesion values over time carry warnings: read the column "
        f"{WARNINGS} of group_lesions.tsv before the statistics are used",
    )


def _unmixed_rows(output_dir: Path, problems: list[str]) -> list[Row]:
    """Return the rows of unmixed values, with the value also under the name of the mean."""
    required = tuple("value" if name == "mean" else name for name in _REQUIRED)
    rows = _read_tables(output_dir, (outputs.UNMIXED_VALUES,), problems, required)
    return [row | {"mean": row["value"]} for row in rows]


def _read_tables(
    output_dir: Path,
    kinds: Sequence[Output],
    problems: list[str],
    required: Sequence[str] = _REQUIRED,
) -> list[Row]:
    """Return the rows of lesion tables; a file with an error is left out as a whole."""
    rows: list[Row] = []
    sessions = sorted(output_dir.glob("sub-*/ses-*"))
    paths = sorted(path for s in sessions for kind in kinds for path in kind.find(s))
    for path in paths:
        try:
            found = read_numbered_table(path, required, complete=True)
            participant, session = path.relative_to(output_dir).parts[:2]
            for line, row in found:
                _check_row(row, participant, session, f"{path}: line {line}")
            rows += [row for _, row in found]
        except BadInput as error:
            problems.append(str(error))
    return rows


def _check_row(row: Row, participant: str, session: str, where: str) -> None:
    """Raise an error for a row that belongs to another folder, or with an invalid cell."""
    found = lesion_key(row, where)
    if found[::2] != (participant, session):
        raise BadInput(
            f"{where} is of {found[0]} {found[2]}, in the folder of {participant} {session}."
        )
    for name in _NUMBERS:
        parse_number(row.get(name, "n/a"), f"{where}, {name}")
    parse_flag(row["excluded"], where)
    if row["parameter"] in ("volume", *SIZES) and parse_number(row["mean"], where) < 0:
        raise BadInput(f"{where}: {row['parameter']} is {row['mean']}, below zero.")


def _column(row: Row) -> str | None:
    """Return the column of the wide table for a row of a lesion table; None if it is not used."""
    if row["roi"] == "whole":
        return _WHOLE.get(row["parameter"])
    return row["parameter"] if row["roi"] == "enhancing" and row["parameter"] in FOLLOWED else None


def _lesions(
    rows: Sequence[Row], problems: list[str], notes: list[str]
) -> tuple[pd.DataFrame, dict[str, str]]:
    """Return a table with a row per lesion and session, and the unit of each column."""
    chosen = _choose_kinds(rows, problems, notes)
    table: dict[tuple[str, int, str], dict[str, Any]] = defaultdict(dict)
    excluded = set()
    repeated = set()
    for row in rows:
        key, column = lesion_key(row, ""), _column(row)
        cells = table[key]
        if parse_flag(row["excluded"], ""):
            excluded.add(key)
        if column and (row["model"], row["unit"]) == chosen[column]:
            value = parse_number(row["mean"], "")
            # The same value in two tables is not a conflict; two different values are.
            before = cells.setdefault(column, value)
            cells.setdefault(f"{column}_se", parse_number(row.get("standard_error", "n/a"), ""))
            if before != value and not (math.isnan(before) and math.isnan(value)):
                repeated.add((key, column))
    for key, column in sorted(repeated):
        table[key][column] = math.nan
        what = f"{column} of {key[0]} lesion {key[1]} in {key[2]}"
        problems.append(f"{what} has two values in the tables: neither is used.")
    _fill_vanished(table)
    parameters = [name for name in FOLLOWED if name in chosen]
    sizes = [name for name in SIZES.values() if name in chosen]
    columns = [*lesion_columns(parameters), *sizes, *error_columns(parameters)]
    keys = [*LESION, "session_id"]
    frame = pd.DataFrame(
        [dict(zip(keys, key, strict=True)) | cells for key, cells in table.items()]
    ).reindex(columns=[name for name in columns if name != "days_from_srs"])
    frame["excluded"] = [key in excluded for key in table]
    return frame, {column: unit for column, (_, unit) in chosen.items()}


def _choose_kinds(
    rows: Sequence[Row], problems: list[str], notes: list[str]
) -> dict[str, tuple[str, str]]:
    """Return the most frequent model and unit of each column, and report the others."""
    counts: dict[str, Counter[tuple[str, str]]] = defaultdict(Counter)
    for row in rows:
        column = _column(row)
        if column:
            counts[column][row["model"], row["unit"]] += 1
    chosen = {}
    for column, kinds in counts.items():
        # The most frequent kind; in case of a tie, the first in alphabetical order.
        best = min(kinds, key=lambda kind: (-kinds[kind], kind))
        chosen[column] = best
        for kind in sorted(kinds.keys() - {best}):
            text = f"{column}: {kinds[kind]} rows of model {kind[0]} in {kind[1]} are not used, "
            text += f"the others are of model {best[0]} in {best[1]}."
            # Another model in the same unit is a remark. Another unit is a problem: the values are
            # not comparable.
            (notes if kind[1] == best[1] else problems).append(text)
    return chosen


def _fill_vanished(table: dict[tuple[str, int, str], dict[str, Any]]) -> None:
    """Set the volume of a lesion to 0 where only other sessions' whole-lesion tables list it."""
    # Sessions without any volume are not completed: nobody has looked for the lesion there.
    listed = [key for key, cells in table.items() if "volume_ml" in cells]
    lesions, sessions = defaultdict(set), defaultdict(set)
    for participant, lesion, session in listed:
        lesions[participant].add(lesion)
        sessions[participant].add(session)
    for participant in lesions:
        for session in sorted(sessions[participant]):
            for lesion in sorted(lesions[participant]):
                table[participant, lesion, session].setdefault("volume_ml", 0.0)


def _sessions(
    output_dir: Path, rows: Sequence[Row], problems: list[str], notes: list[str]
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the sessions of every participant: day and rank in time, and what else is known."""
    with_tables = defaultdict(set)
    for row in rows:
        participant, _, session = lesion_key(row, "")
        with_tables[participant].add(session)
    for path in documents.SESSIONS.find(output_dir):
        if path.parent.name not in with_tables:
            notes.append(f"{path.parent.name}: has no lesion table that can be used.")
    table: list[dict[str, Any]] = []
    further: list[Row] = []
    for participant, found in sorted(with_tables.items()):
        path = documents.SESSIONS.path(output_dir, participant=participant)
        listed, others = _session_rows(path, problems, notes)
        own = {"participant_id": participant}
        further += [own | row for row in others]
        unlisted = sorted(found - listed.keys())
        if listed and unlisted:
            notes.append(f"{path}: lacks {', '.join(unlisted)}, so its time is unknown.")
        table += [
            own | {"session_id": session, "position": float(i)} | row
            for i, (session, row) in enumerate(listed.items())
        ]
        table += [own | {"session_id": session} for session in unlisted]
    columns = ["participant_id", "session_id", "days", "position", *CLINICAL]
    sessions = pd.DataFrame(table).reindex(columns=columns).astype({CLINICAL[1]: object})
    sessions = sessions.fillna({CLINICAL[1]: ""})
    known = pd.DataFrame(further)
    # Without a further column there is nothing to know.
    return sessions, known if known.shape[1] > 2 else pd.DataFrame()


def _session_rows(
    path: Path, problems: list[str], notes: list[str]
) -> tuple[dict[str, dict[str, Any]], list[Row]]:
    """Return day and clinical columns by session, in the order of its table, and all columns."""
    if not path.exists():
        notes.append(f"{path}: does not exist, so the order of the sessions is unknown.")
        return {}, []
    try:
        found: dict[str, dict[str, Any]] = {}
        further: list[Row] = []
        for line, row in read_numbered_table(path, ["session_id"], complete=True):
            session = f"ses-{row['session_id'].removeprefix('ses-')}"
            where = f"{path}: line {line}"
            if session in found:
                raise BadInput(f"{where} repeats {session}.")
            day = parse_number(row.pop("days_since_treatment", "n/a"), where)
            found[session] = {"days": day, **parse_clinical(row, where)}
            cells = {name: "" if cell == "n/a" else cell for name, cell in row.items()}
            further.append(cells | {"session_id": session})
    except BadInput as error:
        problems.append(str(error))
        return {}, []
    days = [row["days"] for row in found.values()]
    for day, count in Counter(d for d in days if not math.isnan(d)).items():
        if count > 1:
            notes.append(f"{path}: {count} sessions are of day {day:g}: is one of them misnamed?")
    return found, further


def _sort_by_time(lesions: pd.DataFrame, sessions: pd.DataFrame) -> pd.DataFrame:
    """Sort rows by participant, lesion and time."""
    placed = lesions.merge(sessions[["participant_id", "session_id", "position"]], how="left")
    placed = placed.sort_values(["participant_id", "lesion", "position", "session_id"])
    parameters = [name for name in FOLLOWED if name in placed]
    sizes = [name for name in SIZES.values() if name in placed]
    columns = [*lesion_columns(parameters), *sizes, *error_columns(parameters), WARNINGS]
    columns += [EVENT] if EVENT in placed else []
    return placed.reset_index(drop=True)[columns]
