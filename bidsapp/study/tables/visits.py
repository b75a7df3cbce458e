"""All visits of every lesion from the baseline on, with its size, smallest size, and response."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from bidsapp.lesions.response import (
    RANO_VOLUME_RULE,
    STUDY_RULE,
    course_categories,
    relative_change,
)
from bidsapp.study.tables.cohort import CLINICAL, LESION, SIZES

_SESSION = ["participant_id", "session_id"]
_RULES = {"volume_response": STUDY_RULE, "volume_rano_bm": RANO_VOLUME_RULE}


def visits_since_baseline(sessions: pd.DataFrame, baseline: Mapping[str, str]) -> pd.DataFrame:
    """Return the sessions of each participant from the baseline on, in chronological order.

    Parameters
    ----------
    sessions : pandas.DataFrame
        As in `Cohort`.
    baseline : mapping of str to str
        Participant -> session.

    Returns
    -------
    visits : pandas.DataFrame
        ``participant_id session_id days visit`` and `CLINICAL`; ``visit`` counts from 0. Sessions
        whose place in time is unknown, and further ones before the treatment, are left out. Days
        that contradict the order of the sessions, where a day is missing, are not used.
    """
    table = sessions.reindex(columns=[*_SESSION, "days", "position", *CLINICAL])
    # Days and ranks are never mixed within one participant.
    dated = table["days"].notna().groupby(table["participant_id"]).transform("all")
    table = table.assign(rank=table["days"].where(dated, table["position"]))
    first = table["session_id"] == table["participant_id"].map(baseline)
    start = table[first].drop_duplicates("participant_id").set_index("participant_id")["rank"]
    # A second scan before the treatment, such as a retest, shows no response to it.
    untreated = (table["days"] < 0) & ~first
    table = table[(table["rank"] >= table["participant_id"].map(start)) & ~untreated]
    table = table.sort_values(["participant_id", "rank"], kind="stable")
    # Of sessions of one day, the baseline is the first.
    first = table["session_id"] == table["participant_id"].map(baseline)
    table = table.assign(later=~first).sort_values(["participant_id", "rank", "later"])
    table["visit"] = table.groupby("participant_id").cumcount()
    table["days"] = table["days"].where(_days_agree(table))
    status = table["clinical_status"].astype(object)
    table["clinical_status"] = status.where(status.notna(), "")
    return table.drop(columns=["position", "rank", "later"]).reset_index(drop=True)


def _days_agree(table: pd.DataFrame) -> "pd.Series[bool]":
    """Return whether the known days of a participant are in the order of the rows."""
    participant = table["participant_id"]
    latest = table["days"].groupby(participant).cummax().groupby(participant).ffill()
    agree = ~(table["days"] < latest.groupby(participant).shift())
    return agree.groupby(participant).transform("all")


def lesion_visits(lesions: pd.DataFrame, visits: pd.DataFrame) -> pd.DataFrame:
    """Return the size of each lesion at each visit, and its volumetric response.

    Parameters
    ----------
    lesions : pandas.DataFrame
        As in `Cohort`, without excluded lesions.
    visits : pandas.DataFrame
        See `visits_since_baseline`.

    Returns
    -------
    table : pandas.DataFrame
        A row per lesion and visit, sorted. A lesion of volume 0 has a diameter of 0 if others
        have any.
    """
    columns = ["volume_ml", *SIZES.values()]
    sizes = lesions.reindex(columns=[*LESION, "session_id", *columns]).astype(
        dict.fromkeys(columns, np.float64)
    )
    every = lesions[LESION].drop_duplicates().merge(visits, on="participant_id")
    table = every.merge(sizes, how="left", on=[*LESION, "session_id"])
    table = table.sort_values([*LESION, "visit"], kind="stable", ignore_index=True)
    if (table["diameter_mm"] > 0).any():
        gone = table["volume_ml"] == 0
        for column in SIZES.values():
            table[column] = table[column].mask(gone & table[column].isna(), 0.0)
    return table.assign(**dict(_changes(table)))


def _changes(table: pd.DataFrame) -> Iterator[tuple[str, Any]]:
    """Yield the columns of the change of volume and diameter, and of the volumetric response."""
    keys = [table[name] for name in LESION]
    start = table["visit"] == 0
    for name, prefix in (("volume_ml", "volume"), ("diameter_mm", "diameter")):
        baseline = table[name].where(start).groupby(keys).transform("max")
        # The smallest value before a visit: the running minimum up to the visit before it. Missing
        # values do not interrupt it.
        lowest = table[name].groupby(keys).cummin().groupby(keys).ffill()
        nadir = lowest.groupby(keys).shift()
        yield f"{prefix}_from_baseline_percent", relative_change(baseline, table[name])
        yield f"{prefix}_nadir_{name.rsplit('_', 1)[1]}", nadir
        yield f"{prefix}_from_nadir_percent", relative_change(nadir, table[name])
        if prefix == "volume":
            for column, rule in _RULES.items():
                found = course_categories(table[name], baseline, nadir, rule)
                yield column, np.where(start, "n/a", found)
