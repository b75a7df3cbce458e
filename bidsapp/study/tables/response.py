"""Response of each lesion: its volume at the last follow-up after the time points."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from bidsapp.lesions.response import relative_change, response_category
from bidsapp.study.tables.cohort import AT_BASELINE, EVENT, LESION, Cohort, values_by_timepoint
from bidsapp.study.tables.dose import add_effective_dose
from bidsapp.study.tables.timepoints import window


def response_table(
    lesions: pd.DataFrame, sessions: pd.DataFrame, labels: Mapping[str, str]
) -> pd.DataFrame:
    """Classify the response of every lesion.

    Parameters
    ----------
    lesions, sessions : pandas.DataFrame
        As in `Cohort`, with a column ``timepoint``.
    labels : mapping of str to str
        Time point -> session label or days.

    Returns
    -------
    response : pandas.DataFrame
        A row per lesion: category, change of volume, follow-up, and why a category is missing.
    """
    before = values_by_timepoint(lesions, "volume_ml", labels).iloc[:, 0]
    with_volume = lesions.loc[lesions["volume_ml"].notna(), ["participant_id", "session_id"]]
    followup = _followups(with_volume.drop_duplicates(), sessions, labels)
    table = before.index.to_frame(index=False).merge(followup, how="left", on="participant_id")
    volumes = lesions.set_index([*LESION, "session_id"])["volume_ml"]
    wanted = pd.MultiIndex.from_frame(table[[*LESION, "followup_session"]])
    # Pairs of baseline and follow-up volume, in the order of the table.
    both = list(zip(before.to_numpy(), volumes.reindex(wanted).to_numpy(), strict=True))
    table["volume_change_percent"] = relative_change(*np.reshape(both, (-1, 2)).T)
    table["response"] = [response_category(*pair) or "n/a" for pair in both]
    table["note"] = [
        _unknown_response(session, *pair)
        for session, pair in zip(table["followup_session"], both, strict=True)
    ]
    columns = ["followup_days", "volume_change_percent", "response", "followup_session", "note"]
    if EVENT in lesions:
        table["events"] = _events(lesions).reindex(before.index).fillna("n/a").to_numpy()
        columns.append("events")
    return table[[*LESION, *columns]]


def _events(lesions: pd.DataFrame) -> "pd.Series[str]":
    """Return what happened to each lesion, with the session of each event, by lesion."""
    rows = lesions[lesions[EVENT].fillna("") != ""]
    texts = rows[EVENT] + " in " + rows["session_id"]
    return texts.groupby([rows[name] for name in LESION]).agg("; ".join)


def _unknown_response(session: object, before: float, after: float) -> str:
    """Return why a lesion has no response category, or an empty text."""
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
    """Return the last session of each participant after the last time point.

    Sessions are compared by days if known, otherwise by order. For a participant without the last
    time point, its median day in the other participants is used.
    """
    name, label = list(labels.items())[-1]
    last = sessions[sessions["timepoint"] == name]
    last = last.set_index("participant_id")[["days", "position"]].add_prefix("last_")
    days = window(label)
    # The median day of the last time point, for participants who miss it; without any known day,
    # the end of the time point's window.
    usual = (
        last["last_days"].median() if last["last_days"].notna().any() else (days or [np.nan])[-1]
    )
    table = sessions.join(last, on="participant_id").merge(visited)
    has_last = table["last_position"].notna()
    table["last_days"] = table["last_days"].where(has_last, usual)
    # Days decide what comes later where both are known; otherwise the order of the sessions does.
    by_days = table["days"].notna() & table["last_days"].notna()
    later = (table["days"] > table["last_days"]).where(
        by_days, table["position"] > table["last_position"]
    )
    # A session that belongs to a time point, by its label or by its day, does not count as
    # follow-up.
    named = table["session_id"].isin(labels.values())
    table = table[later & ~named & table["timepoint"].isna()]
    # Days and ranks are never mixed within one participant.
    dated = table["days"].notna().groupby(table["participant_id"]).transform("all")
    table = table.assign(rank=table["days"].where(dated, table["position"]))
    table = table.sort_values("rank", kind="stable").drop_duplicates("participant_id", keep="last")
    table = table[["participant_id", "session_id", "days"]]
    return table.set_axis(["participant_id", "followup_session", "followup_days"], axis="columns")


def characteristics(
    cohort: Cohort, response: pd.DataFrame, sessions: pd.DataFrame, baseline: str
) -> pd.DataFrame:
    """Join the characteristics of every lesion (Table 1 of the study).

    Parameters
    ----------
    cohort : Cohort
    response : pandas.DataFrame
        See `response_table`.
    sessions : pandas.DataFrame
        As in `Cohort`, with a column ``timepoint``.
    baseline : str
        The first time point.

    Returns
    -------
    table : pandas.DataFrame
        A row per lesion: columns of its participant, of the lesion, of its session at the first
        time point (with the ending `AT_BASELINE`), dose, follow-up and response.
    """
    table = response[LESION]
    if "participant_id" in cohort.participants:
        taken = cohort.participants.columns.difference(["lesion"], sort=False)
        table = table.merge(cohort.participants[taken], how="left", on="participant_id")
    if set(LESION) <= set(cohort.traits):
        new = [c for c in cohort.traits if c in LESION or c not in table]
        table = table.merge(cohort.traits[new], how="left", on=LESION)
    if "participant_id" in cohort.visits:
        visits = _at_baseline(cohort.visits, sessions, baseline)
        new = [c for c in visits if c in LESION or c not in table]
        keys = [key for key in LESION if key in visits]
        table = table.merge(visits[new], how="left", on=keys)
    table = add_effective_dose(table)
    if len(cohort.doses):
        new = [c for c in cohort.doses if c in LESION or c not in table]
        table = table.merge(cohort.doses[new], how="left", on=LESION)
    outcome = ["followup_days", "volume_change_percent", "response"]
    kept = [column for column in table if column not in outcome]
    return table[kept].merge(response[[*LESION, *outcome]], how="left", on=LESION)


def _at_baseline(visits: pd.DataFrame, sessions: pd.DataFrame, baseline: str) -> pd.DataFrame:
    """Return what is known of the sessions at the first time point."""
    first = sessions.loc[sessions["timepoint"] == baseline, ["participant_id", "session_id"]]
    table = visits.merge(first).drop(columns="session_id")
    return table.rename(columns=lambda c: c if c in LESION else f"{c}{AT_BASELINE}")
