"""A cohort of lesions -> the tables of the study; frames in, frames out.

The same code serves the lesions that metperf measured and a table that someone else filled in.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd

from bidsapp.errors import UsageError
from bidsapp.groupstats import (
    paired_test,
    regression,
    relative_change,
    response_category,
    summary,
    unpaired_test,
)

PARAMETERS = ("vp", "Ktrans", "ve", "ADC", "f")
"""What the study followed, in its order."""

TIMEPOINTS: Mapping[str, str] = {"baseline": "baseline", "1week": "1week", "1month": "1month"}
"""Name of a time point -> label of its session, in time order; the first is before treatment."""

LESION = ["participant_id", "lesion"]
COLUMNS = [*LESION, "session_id", "days_from_srs", *PARAMETERS, "volume_ml", "excluded"]


@dataclass(frozen=True)
class Cohort:
    """Lesions and sessions, one row each.

    Attributes
    ----------
    lesions : pandas.DataFrame
        A row per lesion and session, the columns `COLUMNS`; NaN for missing.
    sessions : pandas.DataFrame
        ``participant_id session_id days position``: days since treatment, and the place in time
        among the participant's sessions; NaN where unknown.
    units : mapping of str to str
        Unit of each parameter and of ``volume_ml``.
    """

    lesions: pd.DataFrame
    sessions: pd.DataFrame
    units: Mapping[str, str]


@dataclass(frozen=True)
class Statistics:
    """The tables of the study, one frame each, and the time points they were made for."""

    timepoints: Mapping[str, str]
    summary: pd.DataFrame
    paired: pd.DataFrame
    response: pd.DataFrame
    responders: pd.DataFrame
    correlation: pd.DataFrame
    excluded: pd.DataFrame
    missing: pd.DataFrame


@dataclass(frozen=True)
class GroupResult:
    """What the group level found.

    Attributes
    ----------
    cohort : Cohort
    statistics : Statistics
    problems : tuple of str
        What could not be used, so that the result is incomplete.
    notes : tuple of str
        What a reader should know, though nothing is wrong with the tables.
    """

    cohort: Cohort
    statistics: Statistics
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def session_labels(timepoints: Mapping[str, str] | None) -> dict[str, str]:
    """Check a choice of time points.

    Parameters
    ----------
    timepoints : mapping of str to str, or None
        Name -> session label with or without ``ses-``, in time order; None for `TIMEPOINTS`.

    Returns
    -------
    timepoints : dict of str to str
        Name -> ``ses-<label>``.

    Raises
    ------
    UsageError
        If there are fewer than two, or two of them are one session.

    Examples
    --------
    >>> session_labels({"before": "01", "after": "ses-02"})
    {'before': 'ses-01', 'after': 'ses-02'}
    """
    chosen = TIMEPOINTS if timepoints is None else timepoints
    labels = {name: f"ses-{label.removeprefix('ses-')}" for name, label in chosen.items()}
    if len(labels) < 2:
        raise UsageError(f"A comparison needs two time points, got {len(labels)}: name more.")
    if len(set(labels.values())) < len(labels):
        given = ", ".join(f"{name}={label}" for name, label in labels.items())
        raise UsageError(f"Two time points are one session in {given}: give each its own.")
    return labels


def analyse(cohort: Cohort, timepoints: Mapping[str, str] | None = None) -> Statistics:
    """Make every table of the study.

    Parameters
    ----------
    cohort : Cohort
    timepoints : mapping of str to str, or None
        See `session_labels`; the first is the baseline, the last the early response.

    Returns
    -------
    statistics : Statistics
        Lesions marked as excluded are left out of every table but ``excluded``.

    Raises
    ------
    UsageError
        If the time points are not two or more different sessions.

    Examples
    --------
    >>> lesions = pd.DataFrame(
    ...     [["sub-01", 1, "ses-baseline", -5, 4.0, 0.1, 9.0, 1.1, 0.08, 2.0, False],
    ...      ["sub-01", 1, "ses-1month", 30, 2.0, 0.1, 9.0, 1.1, 0.10, 1.0, False]],
    ...     columns=COLUMNS)
    >>> sessions = lesions.rename(columns={"days_from_srs": "days"}).assign(position=[0, 1])
    >>> statistics = analyse(Cohort(lesions, sessions, {}))
    >>> print(*statistics.paired[["parameter", "timepoint_b", "note"]].iloc[1])
    vp 1month only 1 complete pair, a test needs 3: no test
    """
    labels = session_labels(timepoints)
    marked = cohort.lesions.groupby(LESION)["excluded"].transform("any").astype(bool)
    kept = cohort.lesions[~marked]
    response = _response(kept, cohort.sessions, labels)
    return Statistics(
        timepoints=labels,
        summary=_summary(kept, labels, cohort.units),
        paired=_paired(kept, labels),
        response=response,
        responders=_responders(kept, labels, response),
        correlation=_correlation(kept, labels),
        excluded=_excluded(cohort.lesions),
        missing=_missing(kept, cohort.sessions, labels),
    )


def measured(lesions: pd.DataFrame, column: str, timepoints: Mapping[str, str]) -> pd.DataFrame:
    """Arrange one parameter with a row per lesion and a column per time point.

    Parameters
    ----------
    lesions : pandas.DataFrame
        As in `Cohort`.
    column : str
        Such as ``"vp"`` or ``"volume_ml"``.
    timepoints : mapping of str to str
        Name -> ``ses-<label>``.

    Returns
    -------
    values : pandas.DataFrame
        float64, indexed by participant and lesion; NaN where there is no value.

    Examples
    --------
    >>> lesions = pd.DataFrame({"participant_id": ["sub-01"], "lesion": [1],
    ...                         "session_id": ["ses-01"], "vp": [3.5]})
    >>> measured(lesions, "vp", {"before": "ses-01", "after": "ses-02"}).to_numpy()
    array([[3.5, nan]])
    """
    wide = lesions.pivot(index=LESION, columns="session_id", values=column)
    wide = wide.reindex(columns=list(timepoints.values())).astype(np.float64)
    return wide.set_axis(list(timepoints), axis="columns")


def _summary(
    lesions: pd.DataFrame, labels: Mapping[str, str], units: Mapping[str, str]
) -> pd.DataFrame:
    """Mean, SD and range of every parameter at every time point."""
    rows = []
    for column in (*PARAMETERS, "volume_ml"):
        values = measured(lesions, column, labels)
        for timepoint in labels:
            found = summary(values[timepoint])
            rows.append(
                {
                    "parameter": column.removesuffix("_ml"),
                    "timepoint": timepoint,
                    "unit": units.get(column, "n/a"),
                    "n": found.n,
                    "mean": found.mean,
                    "sd": found.sd,
                    "median": found.median,
                    "minimum": found.minimum,
                    "maximum": found.maximum,
                    "ci_low": found.low,
                    "ci_high": found.high,
                }
            )
    return pd.DataFrame(rows)


def _paired(lesions: pd.DataFrame, labels: Mapping[str, str]) -> pd.DataFrame:
    """Paired t test of every parameter between every two time points, later minus earlier."""
    rows = []
    for parameter in PARAMETERS:
        values = measured(lesions, parameter, labels)
        for before, after in combinations(labels, 2):
            test = paired_test(values[after], values[before])
            lost = f"{test.n_missing} of {len(values)} lesions lack a value at one of the two"
            rows.append(
                {
                    "parameter": parameter,
                    "timepoint_a": before,
                    "timepoint_b": after,
                    "n": test.n,
                    "mean_a": test.b.mean,
                    "sd_a": test.b.sd,
                    "mean_b": test.a.mean,
                    "sd_b": test.a.sd,
                    "mean_difference": test.estimate,
                    "ci_low": test.low,
                    "ci_high": test.high,
                    "t": test.statistic,
                    "df": test.df,
                    "p": test.pvalue,
                    "note": test.note or (lost if test.n_missing else ""),
                }
            )
    return pd.DataFrame(rows)


def _correlation(lesions: pd.DataFrame, labels: Mapping[str, str]) -> pd.DataFrame:
    """Regression of f on vp at every time point."""
    x, y = measured(lesions, "vp", labels), measured(lesions, "f", labels)
    rows = []
    for timepoint in labels:
        line = regression(x[timepoint], y[timepoint])
        rows.append(
            {
                "timepoint": timepoint,
                "x": "vp",
                "y": "f",
                "n": line.n,
                "r": line.r,
                "p": line.pvalue,
                "slope": line.slope,
                "intercept": line.intercept,
                "r_low": line.r_low,
                "r_high": line.r_high,
                "note": line.note,
            }
        )
    return pd.DataFrame(rows)


def _response(
    lesions: pd.DataFrame, sessions: pd.DataFrame, labels: Mapping[str, str]
) -> pd.DataFrame:
    """Response of every lesion by its volume at the last follow-up after the time points."""
    before = measured(lesions, "volume_ml", labels).iloc[:, 0]
    with_volume = lesions.loc[lesions["volume_ml"].notna(), ["participant_id", "session_id"]]
    followup = _followups(with_volume.drop_duplicates(), sessions, labels)
    table = before.index.to_frame(index=False).merge(followup, how="left", on="participant_id")
    volumes = lesions.set_index([*LESION, "session_id"])["volume_ml"]
    wanted = pd.MultiIndex.from_frame(table[[*LESION, "followup_session"]])
    pairs = list(zip(before.to_numpy(), volumes.reindex(wanted).to_numpy(), strict=True))
    table["volume_change_percent"] = relative_change(*np.reshape(pairs, (-1, 2)).T)
    table["response"] = [response_category(*pair) or "n/a" for pair in pairs]
    table["note"] = [
        _unknown_response(session, *pair)
        for session, pair in zip(table["followup_session"], pairs, strict=True)
    ]
    columns = ["followup_days", "volume_change_percent", "response", "followup_session", "note"]
    return table[[*LESION, *columns]]


def _unknown_response(session: object, before: float, after: float) -> str:
    """Why a lesion has no response category, or an empty text."""
    if not isinstance(session, str):
        return "no follow-up with a whole-lesion ROI after the time points"
    if np.isnan(after):
        return f"no volume in {session}"
    if np.isnan(before):
        return "no volume at baseline"
    return "not there at baseline: a new lesion" if before == 0 else ""


def _followups(
    visited: pd.DataFrame, sessions: pd.DataFrame, labels: Mapping[str, str]
) -> pd.DataFrame:
    """Last visited session later than the last time point, per participant.

    Later by days where both have them, else by order. A participant without the last time point is
    held to the day that it usually has.
    """
    last = sessions[sessions["session_id"] == list(labels.values())[-1]]
    last = last.set_index("participant_id")[["days", "position"]].add_prefix("last_")
    table = sessions.join(last, on="participant_id").merge(visited)
    has_last = table["last_position"].notna()
    table["last_days"] = table["last_days"].where(has_last, last["last_days"].median())
    by_days = table["days"].notna() & table["last_days"].notna()
    later = (table["days"] > table["last_days"]).where(
        by_days, table["position"] > table["last_position"]
    )
    table = table[later & ~table["session_id"].isin(labels.values())]
    dated = table["days"].notna().groupby(table["participant_id"]).transform("all")
    table = table.assign(rank=table["days"].where(dated, table["position"]))
    table = table.sort_values("rank", kind="stable").drop_duplicates("participant_id", keep="last")
    table = table[["participant_id", "session_id", "days"]]
    return table.set_axis(["participant_id", "followup_session", "followup_days"], axis="columns")


def _responders(
    lesions: pd.DataFrame, labels: Mapping[str, str], response: pd.DataFrame
) -> pd.DataFrame:
    """Early change in percent of vp and f, responders (CR, PR) against the others."""
    first, last = next(iter(labels)), list(labels)[-1]
    category = response.set_index(LESION)["response"]
    rows = []
    for parameter in ("vp", "f"):
        values = measured(lesions, parameter, labels).reindex(category.index)
        change = relative_change(values[first], values[last])
        test = unpaired_test(
            change[category.isin(["CR", "PR"])], change[category.isin(["SD", "PD"])]
        )
        rows.append(
            {
                "parameter": parameter,
                "n_responders": test.a.n,
                "n_nonresponders": test.b.n,
                "change_responders": test.a.mean,
                "change_nonresponders": test.b.mean,
                "t": test.statistic,
                "df": test.df,
                "p": test.pvalue,
                "sd_responders": test.a.sd,
                "sd_nonresponders": test.b.sd,
                "ci_low": test.low,
                "ci_high": test.high,
                "note": test.note,
            }
        )
    return pd.DataFrame(rows)


def _excluded(lesions: pd.DataFrame) -> pd.DataFrame:
    """Lesions marked as excluded, with the sessions whose ROI table says so."""
    marked = lesions[lesions["excluded"].astype(bool)]
    rows = [
        {"participant_id": participant, "lesion": lesion, "sessions": " ".join(group["session_id"])}
        for (participant, lesion), group in marked.groupby(LESION)
    ]
    return pd.DataFrame(rows, columns=[*LESION, "sessions"])


def _missing(
    lesions: pd.DataFrame, sessions: pd.DataFrame, labels: Mapping[str, str]
) -> pd.DataFrame:
    """What each lesion lacks at each time point, and why."""
    known = set(zip(sessions["participant_id"], sessions["session_id"], strict=True))
    lacking = {name: measured(lesions, name, labels).isna() for name in PARAMETERS}
    rows = []
    for timepoint, session in labels.items():
        table = pd.DataFrame({name: lacking[name][timepoint] for name in PARAMETERS})
        for here, row in zip(table.index, table.to_numpy(), strict=True):
            names = " ".join(np.array(PARAMETERS)[row])
            reason = "no value" if (here[0], session) in known else f"no {session}"
            if names:
                rows.append([*here, timepoint, names, reason])
    table = pd.DataFrame(rows, columns=[*LESION, "timepoint", "parameters", "reason"])
    return table.sort_values(LESION, kind="stable", ignore_index=True)
