"""Ratings of lesions by readers: which lesions they exclude, and on which they differ."""

from collections.abc import Mapping
from dataclasses import replace

import pandas as pd

from bidsapp.study.tables.cohort import LESION, Cohort

CHOICES = ("accept", "repeat", "exclude")
"""Ratings, from the best to the worst."""

RATED: Mapping[str, str] = {
    "participant_id": "Participant",
    "lesion": "Lesion number, the same in all sessions",
    "rating": "accept; repeat: not to be used until the participant is analysed again; exclude",
    "rater": "Who rated the lesion, as given on the page",
    "saved": "When the rating was saved (UTC)",
    "note": "Reason given by the rater",
    "run_id": "Run whose page was rated",
}
"""Columns of ratings that were read, with their descriptions."""

EFFECT: Mapping[str, str] = {
    "effect": "excluded: the lesion is left out of all statistics; accepted; outdated: rated "
    "repeat, and analysed again since; unknown: there is no such lesion",
}
RATINGS_TABLE: Mapping[str, str] = {**RATED, **EFFECT}
"""Columns of ``group_ratings.tsv``, with their descriptions."""


def apply_ratings(cohort: Cohort, ratings: pd.DataFrame, runs: Mapping[str, str]) -> Cohort:
    """Decide which lesions are excluded because of their ratings.

    The strictest of several ratings of a lesion counts.

    Parameters
    ----------
    cohort : Cohort
    ratings : pandas.DataFrame
        With the columns `RATED`; each rater rates a lesion once.
    runs : mapping of str to str
        Participant -> identifier of the run that wrote the present results; empty if not known.

    Returns
    -------
    cohort : Cohort
        With ``ratings``, the columns `RATINGS_TABLE`, and notes.

    Examples
    --------
    >>> lesions = pd.DataFrame({"participant_id": ["sub-01"], "lesion": [1], "excluded": [False]})
    >>> one = ["sub-01", 1, "repeat", "AB", "2026-01-31T12:00:00+00:00", "motion", "run 1"]
    >>> ratings = pd.DataFrame([one], columns=list(RATED))
    >>> rated = apply_ratings(Cohort(lesions, lesions, {}), ratings, {"sub-01": "run 1"})
    >>> bool(rated_out(lesions, rated.ratings)[0]), rated.ratings["effect"][0]
    (True, 'excluded')
    >>> again = apply_ratings(Cohort(lesions, lesions, {}), ratings, {"sub-01": "run 2"})
    >>> bool(rated_out(lesions, again.ratings)[0]), again.ratings["effect"][0]
    (False, 'outdated')
    """
    there = set(cohort.lesions[LESION].itertuples(index=False, name=None))
    effects = [
        _effect(row["rating"], runs.get(row["participant_id"], "") in ("", row["run_id"]))
        if (row["participant_id"], row["lesion"]) in there
        else "unknown"
        for row in ratings.to_dict("records")
    ]
    rated = ratings.assign(effect=effects)
    return replace(cohort, ratings=rated, notes=(*cohort.notes, *_notes(rated)))


def rated_out(lesions: pd.DataFrame, ratings: pd.DataFrame) -> pd.Series:
    """Return whether the lesion of each row is excluded by a rating.

    Parameters
    ----------
    lesions : pandas.DataFrame
        With ``participant_id lesion``.
    ratings : pandas.DataFrame
        With the columns `RATINGS_TABLE`; may be empty.

    Returns
    -------
    out : pandas.Series of bool
    """
    keys = lesions[LESION].itertuples(index=False, name=None)
    if ratings.empty:
        return pd.Series(False, lesions.index)
    excluding = ratings.loc[ratings["effect"] == "excluded", LESION]
    excluded = set(excluding.itertuples(index=False, name=None))
    return pd.Series([key in excluded for key in keys], lesions.index, dtype=bool)


def _effect(rating: str, current: bool) -> str:
    """Return the effect of a rating, given whether the results may be those that were rated."""
    if rating == "accept":
        return "accepted"
    return "outdated" if rating == "repeat" and not current else "excluded"


def _notes(rated: pd.DataFrame) -> list[str]:
    """Return notes on ratings without effect, and on lesions whose ratings differ."""
    outdated, unknown = (_names(rated[rated["effect"] == e]) for e in ("outdated", "unknown"))
    notes = []
    if outdated:
        notes.append(
            f"{outdated}: rated repeat, and analysed again since: the values are used; rate them "
            "again."
        )
    if unknown:
        notes.append(f"{unknown}: rated, but not in the tables of lesions.")
    differ = rated.groupby(LESION)["rating"].transform("nunique") > 1
    if differ.any():
        notes.append(f"{_names(rated[differ])}: ratings differ; the strictest one counts.")
    return notes


def _names(rows: pd.DataFrame) -> str:
    """Return the first few of the lesions, by name."""
    keys = rows[LESION].drop_duplicates().itertuples(index=False, name=None)
    names = [f"{participant} lesion {lesion}" for participant, lesion in keys]
    return ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")
