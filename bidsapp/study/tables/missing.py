"""Excluded lesions and missing values."""

from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd

from bidsapp.study.tables.cohort import (
    LESION,
    followed_parameters,
    values_by_timepoint,
)


def excluded_table(lesions: pd.DataFrame, ratings: pd.DataFrame) -> pd.DataFrame:
    """List the excluded lesions, with the sessions whose ROI table marks them, and the raters.

    Parameters
    ----------
    lesions : pandas.DataFrame
        As in `Cohort`.
    ratings : pandas.DataFrame
        As in `Cohort`; may be empty.

    Returns
    -------
    excluded : pandas.DataFrame
        ``participant_id lesion sessions raters reasons``; texts are empty where there is nothing.

    Examples
    --------
    >>> lesions = pd.DataFrame([["sub-01", 1, "ses-a", True]],
    ...                        columns=[*LESION, "session_id", "excluded"])
    >>> excluded_table(lesions, pd.DataFrame()).to_numpy().tolist()
    [['sub-01', 1, 'ses-a', '', '']]
    """
    marked = lesions[lesions["excluded"].astype(bool)]
    rated = ratings[ratings["effect"] == "excluded"] if len(ratings) else pd.DataFrame(marked[:0])
    sessions = marked.groupby(LESION)["session_id"].agg(" ".join)
    by_lesion = dict(list(rated.groupby(LESION)))
    rows = []
    for key in sorted({*sessions.index, *by_lesion}):
        found = by_lesion.get(key, pd.DataFrame(columns=["rater", "note"]))
        reasons = (found["rater"] + ": " + found["note"])[found["note"] != ""]
        rows.append([*key, sessions.get(key, ""), ", ".join(found["rater"]), "; ".join(reasons)])
    return pd.DataFrame(rows, columns=[*LESION, "sessions", "raters", "reasons"])


def missing_table(
    lesions: pd.DataFrame, sessions: pd.DataFrame, labels: Mapping[str, str]
) -> pd.DataFrame:
    """List the missing parameters of each lesion at each time point, with the reason."""
    rows = list(_missing(lesions, sessions, labels))
    table = pd.DataFrame(rows, columns=[*LESION, "timepoint", "parameters", "reason"])
    return table.sort_values(LESION, kind="stable", ignore_index=True)


def _missing(
    lesions: pd.DataFrame, sessions: pd.DataFrame, labels: Mapping[str, str]
) -> Iterator[list[object]]:
    assigned = set(zip(sessions["participant_id"], sessions["timepoint"], strict=True))
    labelled = set(zip(sessions["participant_id"], sessions["session_id"], strict=True))
    parameters = followed_parameters(lesions)
    lacking = {name: values_by_timepoint(lesions, name, labels).isna() for name in parameters}
    for timepoint, label in labels.items():
        table = pd.DataFrame({name: lacking[name][timepoint] for name in parameters})
        for here, row in zip(table.index, table.to_numpy(), strict=True):
            names = " ".join(np.array(parameters)[row])
            if not names:
                continue
            # From the general to the specific: no session, a session that was assigned but has no
            # value, or a session with the right label that was not assigned because of a conflict.
            reason = f"no {label}" if label.startswith("ses-") else f"no session of day {label}"
            if (here[0], timepoint) in assigned:
                reason = "no value"
            elif (here[0], label) in labelled:
                reason = f"{label} is in conflict: see the problems"
            yield [*here, timepoint, names, reason]
