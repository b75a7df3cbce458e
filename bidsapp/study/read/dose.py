"""Reading of the dose of lesions, and of their values by dose, from an output folder."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from bidsapp.bids import outputs
from bidsapp.bids.cells import parse_flag, parse_number
from bidsapp.bids.output import Output
from bidsapp.bids.tables import read_numbered_table
from bidsapp.errors import BadInput
from bidsapp.models.parameters import FOLLOWED
from bidsapp.study.read.cells import lesion_key
from bidsapp.study.tables import LESION
from bidsapp.study.tables.dose import DOSE_VALUES, LESION_DOSES

_STATISTICS = ("mean", "minimum", "d95")
"""Columns of the table of a session -> `LESION_DOSES`, in order."""


def read_lesion_doses(output_dir: Path) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Read the dose of each lesion.

    Parameters
    ----------
    output_dir : pathlib.Path
        The output folder of the participant level.

    Returns
    -------
    doses : pandas.DataFrame
        ``participant_id lesion`` and the columns `LESION_DOSES`; empty without any dose. The dose
        is that of the whole lesion, or else of its enhancing part, in the session for which the
        dose was given; if the lesion is not there, in the first session of the folder.
    problems : tuple of str
        Tables that cannot be used.
    """
    rows, problems = _read(
        output_dir, outputs.DOSE_STATISTICS, ("roi", "dose_session", *_STATISTICS)
    )
    if not rows:
        return pd.DataFrame(), problems
    table = pd.DataFrame(rows)
    table["elsewhere"] = table["session_id"] != table["dose_session"]
    table["part"] = table["roi"] != "whole"
    table = table.sort_values([*LESION, "elsewhere", "part", "session_id"], kind="stable")
    table = table.drop_duplicates(LESION).reset_index(drop=True)
    renamed = dict(zip(_STATISTICS, LESION_DOSES, strict=True))
    return table.rename(columns=renamed)[[*LESION, *LESION_DOSES]], problems


def read_dose_values(output_dir: Path) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Read the values of the lesions by region of dose.

    Parameters
    ----------
    output_dir : pathlib.Path
        The output folder of the participant level.

    Returns
    -------
    values : pandas.DataFrame
        With the columns `DOSE_VALUES`, without lesions that are excluded in any session, and
        parameters that the group level does not follow.
    problems : tuple of str
        Tables that cannot be used.
    """
    rows, problems = _read(
        output_dir, outputs.DOSE_VALUES, ("roi", "parameter", "unit", "mean", "excluded")
    )
    if not rows:
        return pd.DataFrame(columns=list(DOSE_VALUES)), problems
    table = pd.DataFrame(rows).rename(columns={"roi": "region", "mean": "value"})
    excluded = table.groupby(LESION)["excluded"].transform("any").astype(bool)
    kept = table[~excluded & table["parameter"].isin(FOLLOWED) & table["value"].notna()]
    return kept[list(DOSE_VALUES)].reset_index(drop=True), problems


def _read(
    output_dir: Path, kind: Output, columns: Sequence[str]
) -> tuple[list[dict[str, object]], tuple[str, ...]]:
    """Return the rows of all tables of a kind; a file with an error is left out as a whole."""
    rows: list[dict[str, object]] = []
    problems = []
    sessions = sorted(output_dir.glob("sub-*/ses-*"))
    for path in sorted(path for session in sessions for path in kind.find(session)):
        try:
            found = read_numbered_table(path, [*LESION, "session_id", *columns], complete=True)
            rows += [_parse(row, columns, f"{path}: line {line}") for line, row in found]
        except BadInput as error:
            problems.append(str(error).replace(f"{output_dir}/", ""))
    return rows, tuple(problems)


def _parse(row: dict[str, str], columns: Sequence[str], where: str) -> dict[str, object]:
    """Return a row with its key, numbers and texts."""
    participant, lesion, session = lesion_key(row, where)
    parsed: dict[str, object] = {
        "participant_id": participant,
        "lesion": lesion,
        "session_id": session,
    }
    for name in columns:
        if name == "excluded":
            parsed[name] = parse_flag(row[name], where)
        elif name in _STATISTICS:
            parsed[name] = parse_number(row[name], f"{where}, {name}")
        else:
            parsed[name] = row[name]
    return parsed
