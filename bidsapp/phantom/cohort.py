"""The simulated cohort: lesions over time, from a study table or drawn at random."""

import re
import tomllib
from dataclasses import dataclass, replace
from importlib.resources import files
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bidsapp.errors import BadInput, UsageError
from bidsapp.models.parameters import DISPLAY
from bidsapp.study.read import STUDY_UNITS, load_study_table
from bidsapp.study.tables import lesion_columns

FACTORS = {
    name: 1 / DISPLAY[name].scale if STUDY_UNITS[name] == DISPLAY[name].table_unit else 1.0
    for name in ("vp", "Ktrans", "ve", "ADC", "f")
}
"""Factors from the units of the study table to internal units."""
RANGES = {"vp": (0, 100), "Ktrans": (0, 5), "ve": (0, 100), "ADC": (0.05, 5), "f": (0, 0.95)}
MAX_LESIONS = 50
OUTCOMES = {"CR": (-1.0, -1.0), "SD": (-0.4, 0.5), "PR": (-0.95, -0.65), "PD": (0.8, 2.5)}
"""Ranges of the relative volume change at follow-up, assigned to lesions in this order."""
LESIONS_EACH = (2, 1, 1)
"""Number of lesions of the first, second and third participant, repeated cyclically."""
FOLLOWUP_DAYS = (60, 400)
RETEST = "ses-retest"
"""Label of a session that repeats the first one after a day."""


@dataclass(frozen=True)
class State:
    """One lesion in one session, in internal units; NaN if not measured."""

    volume: float
    vp: float
    Ktrans: float
    ve: float
    ADC: float
    f: float
    excluded: bool

    @property
    def diffuses(self) -> bool:
        """Whether ADC and f are known."""
        return bool(np.isfinite([self.ADC, self.f]).all())

    @property
    def enhances(self) -> bool:
        """Whether vp, Ktrans and ve are known."""
        return bool(np.isfinite([self.vp, self.Ktrans, self.ve]).all())


@dataclass(frozen=True)
class SimulatedSession:
    """One session, with its lesions by number; the images depend on the known parameters."""

    label: str
    days: int
    lesions: dict[int, State]

    @property
    def has_dwi(self) -> bool:
        """Whether there is a DWI: any lesion has ADC and f."""
        return any(s.diffuses for s in self.lesions.values())

    @property
    def has_dce(self) -> bool:
        """Whether there is a DCE: any lesion has vp, Ktrans and ve."""
        return any(s.enhances for s in self.lesions.values())


@dataclass(frozen=True)
class SimulatedParticipant:
    """One patient, with the sessions in chronological order."""

    label: str
    sessions: tuple[SimulatedSession, ...]


def read_cohort(path: Path, participants: int | None = None) -> list[SimulatedParticipant]:
    """Read a study table.

    Parameters
    ----------
    path : Path
        In the format of `bidsapp.study.read.load_study_table`, in the units of the study.
    participants : int, optional
        Number of participants, from the top of the table; default: all.

    Returns
    -------
    list of Participant

    Raises
    ------
    BadInput
        If the table cannot be read or contains values that cannot be simulated.
    UsageError
        If it has fewer participants than requested.
    """
    cohort = load_study_table(path)
    if cohort.problems:
        raise BadInput("\n".join(cohort.problems))
    units = {name: STUDY_UNITS[name] for name in cohort.units}
    if cohort.units != units:
        raise BadInput(f"{path}: must be in the units {units}, not {cohort.units}")
    table = cohort.lesions.reindex(columns=lesion_columns(FACTORS))
    for row in table.to_dict("records"):
        _check_row(row, f"{path}: {row['participant_id']} {row['session_id']}")
    labels = list(dict.fromkeys(table["participant_id"]))
    if participants is not None and participants > len(labels):
        raise UsageError(
            f"{path} has {len(labels)} participants, but {participants} were requested"
        )
    chosen = labels[:participants]
    return [_participant(n, table[table["participant_id"] == n], path) for n in chosen]


def _check_row(row: dict[Any, Any], where: str) -> None:
    for column, prefix in (("participant_id", "sub-"), ("session_id", "ses-")):
        if not re.fullmatch(prefix + "[0-9a-zA-Z]+", str(row[column])):
            raise BadInput(
                f"{where}: {column} must be {prefix} and letters or digits, got {row[column]!r}"
            )
    if not float(row["days_from_srs"]).is_integer():
        raise BadInput(f"{where}: days_from_srs must be a whole number of days")
    if not 1 <= row["lesion"] <= MAX_LESIONS:
        raise BadInput(f"{where}: lesion must be from 1 to {MAX_LESIONS}, got {row['lesion']}")
    if not 0 <= row["volume_ml"] < 1000:
        raise BadInput(f"{where}: volume_ml must be from 0 to 1000, got {row['volume_ml']}")
    for column, (low, high) in RANGES.items():
        value = row[column]
        if value < low or value > high:
            raise BadInput(f"{where}: {column} must be from {low} to {high}, got {value}")


def _participant(label: str, table: pd.DataFrame, path: Path) -> SimulatedParticipant:
    def visit(row: dict[Any, Any]) -> tuple[int, str]:
        return int(row["days_from_srs"]), str(row["session_id"])

    sessions = []
    for (days, name), group in groupby(sorted(table.to_dict("records"), key=visit), key=visit):
        states = {int(r["lesion"]): _state(r) for r in group}
        session = SimulatedSession(name, days, dict(sorted(states.items())))
        _check_session(session, f"{path}: {label} {name}")
        sessions.append(session)
    labels = [s.label for s in sessions]
    if len(set(labels)) < len(labels):
        raise BadInput(f"{path}: {label} has one session on two days: {', '.join(labels)}")
    return SimulatedParticipant(label, tuple(sessions))


def _state(row: dict[Any, Any]) -> State:
    values = {name: float(row[name]) * factor for name, factor in FACTORS.items()}
    return State(volume=float(row["volume_ml"]), excluded=bool(row["excluded"]), **values)


def _check_session(session: SimulatedSession, where: str) -> None:
    """Raise an error for a visible lesion that lacks parameters other lesions have."""
    for number, state in session.lesions.items():
        if state.volume <= 0:
            continue
        if session.has_dwi and not state.diffuses:
            raise BadInput(
                f"{where}: lesion {number} needs ADC and f, because other lesions have them"
            )
        if session.has_dce and not state.enhances:
            raise BadInput(
                f"{where}: lesion {number} needs vp, Ktrans, ve, because others have them"
            )
        if state.enhances and state.Ktrans > 0 and state.ve <= 0:
            raise BadInput(f"{where}: lesion {number} has Ktrans but no ve")


def draw_cohort(participants: int, seed: int) -> list[SimulatedParticipant]:
    """Draw a random cohort with the distributions of Table 2 of the study.

    Parameters
    ----------
    participants : int
    seed : int

    Returns
    -------
    list of Participant
        A participant does not depend on the number of participants.

    Raises
    ------
    UsageError
        If `participants` is not positive.

    Notes
    -----
    Each parameter is log-normal with the mean and SD of its session; its logarithms are correlated
    over the sessions of a lesion. Responses are assigned cyclically, so that all categories occur
    even with few lesions.

    Examples
    --------
    >>> [person.label for person in draw_cohort(2, seed=0)]
    ['sub-01', 'sub-02']
    """
    if participants < 1:
        raise UsageError(f"a cohort must have at least one participant, got {participants}")
    table = tomllib.loads(files("bidsapp.data").joinpath("study_table2.toml").read_text())
    width = max(2, len(str(participants)))
    outcomes = list(OUTCOMES.values())
    people, lesions = [], 0
    for number in range(participants):
        rng = np.random.default_rng([seed, number, 1])
        count = LESIONS_EACH[number % len(LESIONS_EACH)]
        ranges = [outcomes[(lesions + n) % len(outcomes)] for n in range(count)]
        lesions += count
        people.append(_draw_participant(f"sub-{number + 1:0{width}d}", ranges, table, rng))
    return people


def _draw_participant(
    label: str, outcomes: list[tuple[float, float]], table: dict[str, Any], rng: np.random.Generator
) -> SimulatedParticipant:
    names, days = table["sessions"], table["days"]
    courses = [_draw_course(outcome, table, rng) for outcome in outcomes]
    sessions = [
        SimulatedSession(name, day, {n: course[i] for n, course in enumerate(courses, start=1)})
        for i, (name, day) in enumerate(zip(names, days, strict=True))
    ]
    last = SimulatedSession(
        "ses-followup",
        int(rng.integers(*FOLLOWUP_DAYS)),
        {n: course[-1] for n, course in enumerate(courses, start=1)},
    )
    return SimulatedParticipant(label, (*sessions, last))


def _draw_course(
    outcome: tuple[float, float], table: dict[str, Any], rng: np.random.Generator
) -> list[State]:
    """Return one lesion at baseline, 1 week and 1 month, and its volume at follow-up."""
    start = float(_log_normal(table["volume_ml"], rng)[0])
    change = rng.uniform(*outcome)
    month = rng.uniform(0.86, 0.97) if change < -0.5 else rng.uniform(1.0, 1.07)
    growth = [1.0, rng.uniform(0.98, 1.06), month, 1 + change]
    volumes = [round(start * g, 3) for g in growth]
    drawn = {name: _log_normal(table[name], rng) for name in FACTORS}
    states = []
    for i, volume in enumerate(volumes[:-1]):
        values = {n: round(float(drawn[n][i]), 5) * FACTORS[n] for n in FACTORS}
        states.append(State(volume=volume, excluded=False, **values))
    unknown = dict.fromkeys(FACTORS, np.nan)
    return [*states, State(volume=volumes[-1], excluded=False, **unknown)]


def _log_normal(row: dict[str, Any], rng: np.random.Generator) -> NDArray[np.float64]:
    """Draw a log-normal value for each session, with given means, SDs and correlations."""
    mean, sd = np.array(row["mean"]), np.array(row["sd"])
    variance = np.log1p((sd / mean) ** 2)
    correlation = np.eye(len(mean))
    rows, columns = np.triu_indices(len(mean), 1)
    correlation[rows, columns] = correlation[columns, rows] = row.get("correlation", [])
    factor = np.linalg.cholesky(correlation)
    normal = factor @ rng.standard_normal(len(mean))
    drawn = np.exp(np.log(mean) - variance / 2 + np.sqrt(variance) * normal)
    return np.asarray(np.clip(drawn, *row["range"]))


def add_retest(person: SimulatedParticipant, where: str) -> SimulatedParticipant:
    """Return a participant whose first session is repeated after a day, as `RETEST`.

    The lesions of the repetition are those of the first session.

    Raises
    ------
    BadInput
        If there is a session with that label, or one within a day of the first.

    Examples
    --------
    >>> person = add_retest(draw_cohort(1, seed=0)[0], "drawn cohort")
    >>> [(s.label, s.days) for s in person.sessions[:3]]
    [('ses-baseline', -5), ('ses-retest', -4), ('ses-1week', 7)]
    """
    first, *others = person.sessions
    again = replace(first, label=RETEST, days=first.days + 1)
    for session in others:
        if session.label == RETEST or session.days <= again.days:
            raise BadInput(
                f"{where}: {person.label} {session.label} on day {session.days}: --retest adds "
                f"{RETEST} on day {again.days}, between the first session and the next one; "
                "change the label or the day"
            )
    if first.label == RETEST:
        raise BadInput(f"{where}: {person.label}: the first session must not be {RETEST}")
    return replace(person, sessions=(first, again, *others))


def study_rows(participant: SimulatedParticipant) -> list[dict[str, Any]]:
    """Return the rows of a participant in the study table, in its units; NaN if unknown."""
    rows = []
    for session in participant.sessions:
        for number, state in session.lesions.items():
            values = {n: round(getattr(state, n) / k, 9) for n, k in FACTORS.items()}
            rows.append(
                {
                    "participant_id": participant.label,
                    "lesion": number,
                    "session_id": session.label,
                    "days_from_srs": session.days,
                    **values,
                    "volume_ml": state.volume,
                    "excluded": int(state.excluded),
                }
            )
    return sorted(rows, key=lambda r: int(r["lesion"]))
