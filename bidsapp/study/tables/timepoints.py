"""Assignment of sessions to time points, by label or by days since treatment."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import pandas as pd

from bidsapp.errors import UsageError
from bidsapp.study.tables.cohort import Cohort

TIMEPOINTS: Mapping[str, str] = {"baseline": "baseline", "1week": "1week", "1month": "1month"}
"""Name of a time point -> label of its session, in time order; the first is before treatment."""

WINDOWS: Mapping[str, str] = {"baseline": "-60:0", "1week": "3:12", "1month": "20:45"}
"""Name of a time point -> its first and last day since treatment, if no label matches."""

_WINDOW = re.compile(r"(-?\d+(?:\.\d+)?):(-?\d+(?:\.\d+)?)")


@dataclass(frozen=True)
class Assignment:
    """Lesions and sessions with a column ``timepoint``, and the conflicts that were found."""

    lesions: pd.DataFrame
    sessions: pd.DataFrame
    timepoints: Mapping[str, str]
    problems: tuple[str, ...]
    notes: tuple[str, ...]


def session_labels(timepoints: Mapping[str, str] | None) -> dict[str, str]:
    """Check the time points and complete their session labels.

    Parameters
    ----------
    timepoints : mapping of str to str, or None
        Name -> session label with or without ``ses-``, or first and last day since treatment as
        ``"3:12"``; in chronological order. None for `TIMEPOINTS`.

    Returns
    -------
    timepoints : dict of str to str
        Name -> ``ses-<label>``, or the days.

    Raises
    ------
    UsageError
        If there are fewer than two time points, two have the same session, or their days overlap.

    Examples
    --------
    >>> session_labels({"before": "01", "after": "ses-02", "late": "60:120"})
    {'before': 'ses-01', 'after': 'ses-02', 'late': '60:120'}
    """
    chosen = TIMEPOINTS if timepoints is None else timepoints
    labels = {
        name: label if _WINDOW.fullmatch(label) else f"ses-{label.removeprefix('ses-')}"
        for name, label in chosen.items()
    }
    if len(labels) < 2:
        raise UsageError(f"A comparison needs two time points, got {len(labels)}: name more.")
    given = ", ".join(f"{name}={label}" for name, label in labels.items())
    if len(set(labels.values())) < len(labels):
        raise UsageError(
            f"Two time points have the same session in {given}: name a different one for each."
        )
    # Windows in ascending order must neither overlap nor touch, so that no day belongs to two time
    # points.
    edges = [days for label in labels.values() if (days := window(label))]
    flat = [day for days in edges for day in days]
    if flat != sorted(flat) or any(a[1] >= b[0] for a, b in pairwise(edges)):
        raise UsageError(f"The days overlap or go backwards in {given}: give from:to, in order.")
    return labels


def window(label: str) -> tuple[float, float] | None:
    """Return the first and last day of a time point defined by days.

    Parameters
    ----------
    label : str

    Returns
    -------
    days : (float, float) or None
        None for a session label.

    Examples
    --------
    >>> window("3:12"), window("ses-1week")
    ((3.0, 12.0), None)
    """
    found = _WINDOW.fullmatch(label)
    return (float(found[1]), float(found[2])) if found else None


def assign_timepoints(
    cohort: Cohort,
    timepoints: Mapping[str, str] | None = None,
    repeats: tuple[str, str] | None = None,
) -> Assignment:
    """Find the session of each participant at each time point.

    Parameters
    ----------
    cohort : Cohort
    timepoints : mapping of str to str, or None
        See `session_labels`. None for `TIMEPOINTS`, or for `WINDOWS` where no session has such a
        label and days are known.
    repeats : (str, str) or None
        Labels of two sessions without a change between them. The second belongs to no time point
        that is defined by days, in which the first is, too.

    Returns
    -------
    assignment : Assignment
        If a participant has two sessions for a time point, neither is assigned; if the days of a
        participant are not in the order of the time points, none of its sessions is, and the days
        of its lesions are missing.

    Raises
    ------
    UsageError
        If the time points cannot be compared.
    """
    labels = session_labels(timepoints)
    notes: list[str] = []
    sessions = cohort.sessions.copy()
    if timepoints is None and not sessions["session_id"].isin(labels.values()).any():
        # Without any label of a time point, sessions are assigned by day, if any lies between the
        # first and the last day of the windows.
        within = sessions["days"].between(*_widest(WINDOWS))
        if within.any():
            labels = session_labels(WINDOWS)
            days = ", ".join(f"{name} {label}" for name, label in labels.items())
            notes.append(f"No session is labelled as a time point: taken by day ({days}).")
    sessions["timepoint"] = None
    for name, label in labels.items():
        span = window(label)
        here = sessions["session_id"] == label
        if span:
            again = sessions["session_id"] == (repeats[1] if repeats else None)
            here = sessions["days"].between(*span) & ~again
        sessions.loc[here, "timepoint"] = name
    double = _drop_duplicates(sessions, labels)
    disordered = _drop_disordered(sessions, labels)
    keys = ["participant_id", "session_id"]
    lesions = cohort.lesions.merge(sessions[[*keys, "timepoint"]], how="left", on=keys)
    # The merge numbers the rows anew; the cohort's own index is kept.
    lesions.index = cohort.lesions.index
    if disordered:
        wrong = lesions["participant_id"].isin(list(disordered))
        lesions["days_from_srs"] = lesions["days_from_srs"].mask(wrong)
    return Assignment(lesions, sessions, labels, (*double, *disordered.values()), tuple(notes))


def _widest(windows: Mapping[str, str]) -> tuple[float, float]:
    """Return the first and the last day of all time points."""
    edges = [days for label in windows.values() if (days := window(label))]
    return edges[0][0], edges[-1][1]


def _drop_duplicates(sessions: pd.DataFrame, labels: Mapping[str, str]) -> list[str]:
    """Clear a time point for which a participant has two sessions; return the problems."""
    keys = ["participant_id", "timepoint"]
    double = sessions["timepoint"].notna() & sessions.duplicated(keys, keep=False)
    problems = [
        f"{participant}: {' and '.join(group['session_id'])} are both {name} "
        f"({labels[str(name)]}): none of them is used; name one with --timepoints, or put "
        "the series of a single visit into one session."
        for (participant, name), group in sessions[double].groupby(keys)
    ]
    sessions.loc[double, "timepoint"] = None
    return problems


def _drop_disordered(sessions: pd.DataFrame, labels: Mapping[str, str]) -> dict[str, str]:
    """Clear the time points of participants whose days do not increase; return each problem."""
    problems = {}
    dated = sessions[sessions["timepoint"].notna() & sessions["days"].notna()]
    rank = dated["timepoint"].map({name: i for i, name in enumerate(labels)})
    dated = dated.assign(rank=rank).sort_values(["participant_id", "rank"])
    # Within a participant, in the order of the time points.
    steps = dated.groupby("participant_id")["days"].diff()
    for participant in dated.loc[steps <= 0, "participant_id"].unique():
        group = dated[dated["participant_id"] == participant]
        days = ", ".join(
            f"{name} ({label}) is day {day:g}"
            for name, label, day in group[["timepoint", "session_id", "days"]].to_numpy()
        )
        problems[participant] = (
            f"{participant}: {days}: the days are not in the order of the time points, so none of "
            "its sessions is compared; correct sessions.tsv or name them with --timepoints."
        )
        sessions.loc[sessions["participant_id"] == participant, "timepoint"] = None
    return problems
