"""Reading of a user-supplied table of lesions into a cohort."""

import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import pandas as pd

from bidsapp.bids.cells import check_excluded_column, parse_flag, parse_number
from bidsapp.bids.tables import Row, read_numbered_table
from bidsapp.errors import BadInput
from bidsapp.models.parameters import DISPLAY, FOLLOWED
from bidsapp.study.read.cells import lesion_key, unify_participants
from bidsapp.study.read.clinical import parse_clinical, session_clinical
from bidsapp.study.read.lesion_events import carried_warnings
from bidsapp.study.read.plausibility import drop_impossible, scale_warnings
from bidsapp.study.read.repetition import repetition_warnings
from bidsapp.study.tables import (
    AT_BASELINE,
    CLINICAL,
    EVENT,
    LESION,
    SIZES,
    WARNINGS,
    Cohort,
    error_columns,
    lesion_columns,
)

STUDY_UNITS: Mapping[str, str] = {name: DISPLAY[name].table_unit for name in FOLLOWED} | {
    "f": "1",
    "volume_ml": DISPLAY["volume"].table_unit,
}
"""Units of a study table that has no JSON file beside it: those of the reference cohort."""


def load_study_table(path: Path, covariate: str = "") -> Cohort:
    """Read a user-supplied table of lesions.

    Parameters
    ----------
    path : pathlib.Path
        TSV with ``participant_id lesion session_id`` and any of ``days_from_srs volume_ml
        diameter_mm perpendicular_mm n_slices steroid_dose clinical_status excluded warnings``, the
        parameters of `FOLLOWED`, and their standard errors as ``vp_se`` and so on; ``n/a`` for
        missing; names in any letter case. A participant's sessions are in time order.
        Units are `STUDY_UNITS`, or those of a JSON file beside it (``{"vp": {"Units": "1"}}``);
        values are never converted.
    covariate : str
        A further column, with or without `AT_BASELINE`, to read as text into the cohort's visits.

    Returns
    -------
    cohort : Cohort
        Without impossible values, which its problems name. Spellings of one participant are
        unified.

    Raises
    ------
    BadInput
        If the table cannot be read, a cell is not a number, or a lesion has two rows in a session.
    """
    keys = [*LESION, "session_id"]
    named = ["days_from_srs", *FOLLOWED, "volume_ml", *SIZES.values(), *error_columns(FOLLOWED)]
    known = [*keys, *named, *CLINICAL, "excluded", WARNINGS, EVENT]
    numbered = read_numbered_table(path, keys, known=known)
    if not numbered:
        raise BadInput(f"{path}: the table has no rows.")
    columns = list(numbered[0][1])
    further = covariate if covariate in columns else covariate.removesuffix(AT_BASELINE)
    check_excluded_column(path, columns)
    parameters = [name for name in FOLLOWED if name in columns]
    numbers = [name for name in named if name in columns]
    events = [EVENT] if EVENT in columns else []
    # Not a set, whose order differs from run to run.
    seen: dict[tuple[str, int, str], None] = {}
    table = []
    for line, row in numbered:
        key = lesion_key(row, f"{path}: line {line}")
        if key in seen:
            raise BadInput(f"{path}: line {line} repeats lesion {key[1]} of {key[0]} in {key[2]}.")
        seen[key] = None
        values = {name: parse_number(row[name], f"{path}: line {line}, {name}") for name in numbers}
        excluded = parse_flag(row.get("excluded", "0"), f"{path}: line {line}")
        warnings = row.get(WARNINGS, "n/a")
        words = {"excluded": excluded, WARNINGS: "" if warnings == "n/a" else warnings}
        words |= {EVENT: row[EVENT].replace("n/a", "")} if EVENT in columns else {}
        words |= parse_clinical(row, f"{path}: line {line}")
        table.append(dict(zip(keys, key, strict=True)) | values | words)
    frame = pd.DataFrame(table)
    sizes = [name for name in SIZES.values() if name in columns]
    kept = [*lesion_columns(parameters), *sizes, *error_columns(parameters), WARNINGS, *events]
    lesions = frame.reindex(columns=kept)
    units = {name: STUDY_UNITS[name] for name in (*parameters, "volume_ml")}
    units |= _sidecar_units(path.with_suffix(".json"))
    lesions, problems = drop_impossible(lesions, [n for n, _ in numbered], units, path.name)
    unified, notes, alike = unify_participants(list(seen), path.name)
    frame, lesions = (t.replace({"participant_id": dict(unified)}) for t in (frame, lesions))
    visits = _visits(lesions)
    if set(CLINICAL) & set(columns):
        visits = visits.merge(session_clinical(frame, path.name), how="left")
    return Cohort(
        lesions,
        visits,
        units,
        visits=_further(lesions, numbered, further, set(known) - set(CLINICAL)),
        notes=(*notes, *_unused_columns(path, columns, [*known, further])),
        warnings=(
            *alike,
            *scale_warnings(lesions, units, path.name),
            *repetition_warnings(lesions, path.name),
            *carried_warnings(lesions),
        ),
        problems=problems,
    )


def _visits(lesions: pd.DataFrame) -> pd.DataFrame:
    """Return the sessions of each participant, whose rows are in chronological order."""
    visits = lesions[["participant_id", "session_id", "days_from_srs"]]
    visits = visits.drop_duplicates(["participant_id", "session_id"], ignore_index=True)
    visits = visits.rename(columns={"days_from_srs": "days"}).astype({"days": float})
    visits["position"] = visits.groupby("participant_id").cumcount().astype(float)
    return visits


def _further(
    lesions: pd.DataFrame,
    numbered: Sequence[tuple[int, Row]],
    column: str,
    known: Collection[str],
) -> pd.DataFrame:
    """Return a further column of the table beside the lesion and session of each row, if any."""
    if column in known or column not in numbered[0][1]:
        return pd.DataFrame()
    cells = ["" if row[column] == "n/a" else row[column] for _, row in numbered]
    return lesions[[*LESION, "session_id"]].assign(**{column: cells})


def _unused_columns(path: Path, columns: Sequence[str], known: Sequence[str]) -> tuple[str, ...]:
    """Return a note that names the columns of a study table that are not used, if there are any."""
    unused = [column for column in columns if column not in known]
    if not unused:
        return ()
    return (
        f"{path.name}: not used: {', '.join(unused)[:200]}; parameters are {', '.join(FOLLOWED)}, "
        "and their standard errors vp_se and so on.",
    )


def _sidecar_units(path: Path) -> dict[str, str]:
    """Return the units in the JSON file beside a table."""
    if not path.exists():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        described = {name: content[name] for name in content.keys() & STUDY_UNITS.keys()}
        return {name: row["Units"] for name, row in described.items() if "Units" in row}
    except (ValueError, AttributeError, TypeError) as error:
        raise BadInput(f"{path}: is not a data dictionary of the table beside it.") from error
