"""Response of every patient and lesion at every visit by RANO-BM, and time to progression."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from typing import NamedTuple

import numpy as np
import pandas as pd

from bidsapp.lesions.rano_bm import assess_course
from bidsapp.lesions.rano_records import BASELINE_DAYS, Assessment, Course, Size, Visit
from bidsapp.lesions.response import RESPONSES
from bidsapp.study.tables.cohort import CLINICAL, LESION, SIZES
from bidsapp.study.tables.visits import lesion_visits, visits_since_baseline

RANO_COLUMNS = (
    "participant_id",
    "session_id",
    "days",
    "n_targets",
    "diameter_sum_mm",
    "nadir_mm",
    "from_baseline_percent",
    "from_nadir_percent",
    "n_new",
    "response",
    "confirmed",
    "radiographic_only",
    "note",
)
LESION_COLUMNS = (
    "participant_id",
    "lesion",
    "session_id",
    "days",
    "role",
    "diameter_mm",
    "diameter_nadir_mm",
    "diameter_from_baseline_percent",
    "diameter_from_nadir_percent",
    "rano_bm",
    "volume_ml",
    "volume_nadir_ml",
    "volume_from_baseline_percent",
    "volume_from_nadir_percent",
    "volume_response",
    "volume_rano_bm",
)
PROGRESSION_COLUMNS = (
    "participant_id",
    "lesion",
    "criterion",
    "best_response",
    "best_confirmed",
    "progressed",
    "days",
    "session_id",
)


@dataclass(frozen=True)
class RanoTables:
    """Response over all visits.

    Attributes
    ----------
    patients : pandas.DataFrame
        `RANO_COLUMNS`, a row per participant and visit; empty if no diameter is known.
    lesions : pandas.DataFrame
        `LESION_COLUMNS`, a row per lesion and visit.
    progression : pandas.DataFrame
        `PROGRESSION_COLUMNS`, a row per participant by RANO-BM, and per lesion by volume; also of
        those that could not be assessed.
    """

    patients: pd.DataFrame
    lesions: pd.DataFrame
    progression: pd.DataFrame


def rano_tables(
    lesions: pd.DataFrame, sessions: pd.DataFrame, baseline: Mapping[str, str]
) -> RanoTables:
    """Assess the response of every participant and lesion at every visit.

    Parameters
    ----------
    lesions, sessions : pandas.DataFrame
        As in `Cohort`, without excluded lesions.
    baseline : mapping of str to str
        Participant -> session before treatment; who has none is not assessed.

    Returns
    -------
    tables : RanoTables

    Examples
    --------
    >>> lesions = pd.DataFrame({"participant_id": ["sub-01"] * 2, "lesion": [1, 1],
    ...                         "session_id": ["ses-a", "ses-b"], "diameter_mm": [20.0, 12.0]})
    >>> sessions = pd.DataFrame({"participant_id": ["sub-01"] * 2, "session_id": ["ses-a", "ses-b"],
    ...                          "days": [-3.0, 40.0], "position": [0.0, 1.0]})
    >>> rano_tables(lesions, sessions, {"sub-01": "ses-a"}).patients["response"].tolist()
    ['n/a', 'PR']
    """
    visits = visits_since_baseline(sessions, baseline)
    table = lesion_visits(lesions, visits)
    known = bool((lesions.reindex(columns=["diameter_mm"]) > 0).any(axis=None))
    followed = list(_followed(table, visits)) if known else []
    table["role"], table["rano_bm"] = _lesion_categories(table, followed)
    rows = [row for patient in followed for row in _patient_rows(patient)]
    ends = [_patient_end(patient) for patient in followed]
    without = lesions.loc[~lesions["participant_id"].isin(visits["participant_id"]), LESION]
    if known:
        names = sorted(set(without["participant_id"]))
        rows += [_unassessed(name) for name in names]
        ends += [_no_end(name, "", "RANO-BM") for name in names]
    ends += _lesion_ends(table)
    pairs = sorted(set(without.itertuples(index=False, name=None)))
    ends += [_no_end(participant, lesion, "volume") for participant, lesion in pairs]
    return RanoTables(
        pd.DataFrame(rows, columns=list(RANO_COLUMNS)),
        table[list(LESION_COLUMNS)],
        pd.DataFrame(ends, columns=list(PROGRESSION_COLUMNS)),
    )


class _Followed(NamedTuple):
    """A participant: labels of the visits, the visits, and their assessment."""

    participant: str
    sessions: list[str]
    visits: list[Visit]
    course: Course


def _followed(table: pd.DataFrame, visits: pd.DataFrame) -> Iterator[_Followed]:
    """Yield every participant with the assessment of the visits since the baseline."""
    sizes: dict[tuple[str, int], dict[int, Size]] = defaultdict(dict)
    columns = ["participant_id", "visit", "lesion", *SIZES.values()]
    for participant, visit, lesion, *size in zip(
        *(table[c].tolist() for c in columns), strict=True
    ):
        sizes[participant, visit][lesion] = Size(*size)
    columns = ["participant_id", "visit", "session_id", "days", *CLINICAL]
    rows = zip(*(visits[c].tolist() for c in columns), strict=True)
    for participant, group in groupby(rows, key=itemgetter(0)):
        own = list(group)
        found = [
            Visit(day, sizes[participant, visit], dose, status or None)
            for _, visit, _, day, dose, status in own
        ]
        yield _Followed(participant, [row[2] for row in own], found, assess_course(found))


def _lesion_categories(
    table: pd.DataFrame, followed: Sequence[_Followed]
) -> tuple[list[str], list[str]]:
    """Return the role of each lesion, and its category by RANO-BM at each visit."""
    courses = {patient.participant: patient.course for patient in followed}
    roles: list[str] = []
    categories: list[str] = []
    columns = (table[name].tolist() for name in (*LESION, "visit"))
    for participant, lesion, visit in zip(*columns, strict=True):
        course = courses.get(participant)
        roles.append(course.roles[lesion] if course else "n/a")
        categories.append(course.lesions[lesion][visit - 1] if course and visit else "n/a")
    return roles, categories


def _patient_rows(patient: _Followed) -> Iterator[dict[str, object]]:
    """Yield a row for the baseline and one for each later visit."""
    targets = [n for n, role in patient.course.roles.items() if role == "target"]
    baseline = patient.visits[0]
    fixed: dict[str, object] = {
        "participant_id": patient.participant,
        "n_targets": len(targets),
    }
    total = sum(baseline.sizes[n].diameter for n in targets) if targets else np.nan
    note = "baseline"
    if baseline.day < -BASELINE_DAYS:
        note += f", {-baseline.day:g} days before the treatment: more than four weeks"
    yield fixed | {
        "session_id": patient.sessions[0],
        "days": baseline.day,
        "diameter_sum_mm": total,
        "response": "n/a",
        "note": note,
    }
    later = zip(patient.sessions[1:], patient.visits[1:], patient.course.assessments, strict=True)
    for session, visit, row in later:
        yield fixed | {"session_id": session, "days": visit.day} | _cells(row)


def _cells(row: Assessment) -> dict[str, object]:
    """Return the cells of an assessment."""
    return {
        "diameter_sum_mm": row.diameter_sum,
        "nadir_mm": row.nadir,
        "from_baseline_percent": row.from_baseline,
        "from_nadir_percent": row.from_nadir,
        "n_new": len(row.new_lesions),
        "response": row.response,
        "confirmed": np.nan if row.confirmed is None else float(row.confirmed),
        "radiographic_only": float(row.radiographic_only),
        "note": "; ".join(row.notes),
    }


def _unassessed(participant: str) -> dict[str, object]:
    """Return the row of a participant without a baseline."""
    note = "no session at baseline, or its place in time is unknown"
    return {"participant_id": participant, "response": "NE", "note": note}


def _no_end(participant: str, lesion: int | str, criterion: str) -> dict[str, object]:
    """Return the end of the course of a patient or lesion without a baseline."""
    best = "NE" if criterion == "RANO-BM" else "n/a"
    return {
        "participant_id": participant,
        "lesion": lesion,
        "criterion": criterion,
        "best_response": best,
        "best_confirmed": best,
        "progressed": np.nan,
        "days": np.nan,
        "session_id": "",
    }


def _patient_end(patient: _Followed) -> dict[str, object]:
    """Return when a participant progressed by RANO-BM, or was last assessed."""
    course = patient.course
    assessed = [i for i, row in enumerate(course.assessments) if row.response != "NE"]
    end = course.progression if course.progression is not None else max(assessed, default=None)
    return {
        "participant_id": patient.participant,
        "lesion": "",
        "criterion": "RANO-BM",
        "best_response": course.best_response(),
        "best_confirmed": course.best_response(confirmed=True),
        "progressed": float(course.progression is not None) if assessed else np.nan,
        "days": np.nan if end is None else patient.visits[end + 1].day,
        "session_id": "" if end is None else patient.sessions[end + 1],
    }


def _lesion_ends(table: pd.DataFrame) -> Iterator[dict[str, object]]:
    """Yield when each lesion progressed by its volume, or was last measured."""
    columns = [*LESION, "volume_response", "days", "session_id"]
    rows = zip(*(table[name].tolist() for name in columns), strict=True)
    for (participant, lesion), group in groupby(rows, key=itemgetter(0, 1)):
        known = [row for row in group if row[2] != "n/a"]
        progressed = next((i for i, row in enumerate(known) if row[2] == "PD"), None)
        until = known if progressed is None else known[: progressed + 1]
        found = {row[2] for row in until}
        yield {
            "participant_id": participant,
            "lesion": lesion,
            "criterion": "volume",
            "best_response": next((name for name in RESPONSES if name in found), "n/a"),
            "best_confirmed": "n/a",
            "progressed": float(progressed is not None) if known else np.nan,
            "days": until[-1][3] if until else np.nan,
            "session_id": until[-1][4] if until else "",
        }
