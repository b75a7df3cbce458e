"""A covariate of the trend model: a column of the characteristics or of the sessions."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import nan

import numpy as np
import pandas as pd

from bidsapp.errors import UsageError
from bidsapp.study.statistics import MIN_N
from bidsapp.study.statistics.values import FloatArray
from bidsapp.study.tables.cohort import LESION, Cohort


@dataclass(frozen=True)
class Covariate:
    """Values of a covariate beside the rows of a table of lesions.

    Attributes
    ----------
    name : str
    columns : mapping of str to (N,) float64 ndarray
        What is compared -> column of the design: deviation from the mean of a number, or 1 in a
        group and 0 in others; NaN where missing.
    groups : (N,) ndarray of str
        Group of each row, "" where missing; all "" for a number.
    reference : str
        The group with which the others are compared; empty for a number.
    varies : bool
        Whether it differs between sessions of a lesion.
    note : str
        How many lesions or sessions lack it; empty if none.
    """

    name: str
    columns: Mapping[str, FloatArray]
    groups: np.ndarray
    reference: str = ""
    varies: bool = False
    note: str = ""


def find_covariate(
    cohort: Cohort, lesions: pd.DataFrame, characteristics: pd.DataFrame, name: str, reference: str
) -> Covariate:
    """Return the values of a covariate.

    Parameters
    ----------
    cohort : Cohort
    lesions : pandas.DataFrame
        Those that are analysed.
    characteristics : pandas.DataFrame
        See `bidsapp.study.tables.response.characteristics`.
    name : str
        A column of the characteristics or of the cohort's visits.
    reference : str
        Of a grouping; empty for its most frequent group. A column of numbers is a grouping only if
        its reference is given.

    Returns
    -------
    covariate : Covariate

    Raises
    ------
    UsageError
        If there is no such column, or two; if all its values are the same; if numbers and texts are
        mixed; if the reference is not among them; if it has nearly as many groups as there are
        lesions.
    """
    sources = [_further(characteristics), _further(cohort.visits)]
    having = [table for table in sources if name in table]
    option = f"--covariate {name}"
    if not having:
        there = ", ".join(str(c) for table in sources for c in table if c not in _KEYS) or "none"
        raise UsageError(
            f"{option}: is no further column of the tables of participants, traits, sessions or "
            f"lesions; there are {there[:400]}."
        )
    if len(having) > 1:
        raise UsageError(f"{option}: is a column of two tables: rename one of them.")
    keys = [key for key in _KEYS if key in having[0]]
    cells = lesions[_KEYS].merge(having[0], how="left", on=keys)[name]
    texts = cells.map(_text).to_numpy(dtype=object)
    varies = bool((cells.groupby([lesions[key].to_numpy() for key in LESION]).nunique() > 1).any())
    missing = texts == ""
    if not missing.all() and len(set(texts[~missing])) == 1:
        raise UsageError(f"{option}: is {texts[~missing][0]} in all lesions: nothing to compare.")
    note = _missing_note(lesions, missing, name, varies)
    numbers = pd.to_numeric(pd.Series(texts), errors="coerce").to_numpy(dtype=np.float64)
    if missing.all():
        raise UsageError(f"{option}: has no value for any lesion.")
    is_number = np.isfinite(numbers[~missing])
    if not reference and is_number.all():
        return _number(name, numbers, lesions, varies, note)
    if not reference and is_number.any():
        words = ", ".join(sorted(set(texts[~missing][~is_number])))[:200]
        raise UsageError(
            f"{option}: has numbers and texts ({words}): write numbers alone, or name the group "
            f"with which the others are compared, --covariate {name}=GROUP."
        )
    return _grouping(name, texts, lesions, reference, varies, note)


_KEYS = [*LESION, "session_id"]


def _further(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table that can be joined: with a participant for each row, or empty."""
    return table if "participant_id" in table else pd.DataFrame()


def _text(cell: object) -> str:
    """Return a cell as text, empty if missing."""
    if cell is None or (isinstance(cell, float) and np.isnan(cell)):
        return ""
    text = str(cell).strip()
    return "" if text == "n/a" else text


def _missing_note(lesions: pd.DataFrame, missing: np.ndarray, name: str, varies: bool) -> str:
    """Return how many lesions, or sessions of lesions, have no value."""
    if not missing.any():
        return ""
    keys, what = (_KEYS, "values") if varies else (LESION, "lesions")
    lost = len(lesions.loc[missing, keys].drop_duplicates())
    every = len(lesions[keys].drop_duplicates())
    return f"{lost} of {every} {what} without {name} are left out"


def _number(
    name: str, numbers: FloatArray, lesions: pd.DataFrame, varies: bool, note: str
) -> Covariate:
    """Return a number as its deviation from the mean of the lesions, or of their sessions."""
    one = ~lesions.duplicated(_KEYS if varies else LESION).to_numpy()
    mean = float(np.nanmean(numbers[one]))
    column = {f"per 1, at a mean of {mean:.4g}": numbers - mean}
    return Covariate(name, column, np.full(len(numbers), ""), varies=varies, note=note)


def _grouping(
    name: str,
    texts: np.ndarray,
    lesions: pd.DataFrame,
    reference: str,
    varies: bool,
    note: str,
) -> Covariate:
    """Return an indicator of each group but the reference."""
    # Of what varies, every session of a lesion counts, otherwise every lesion.
    keys, what = (_KEYS, "sessions of lesions") if varies else (LESION, "lesions")
    counted = pd.Series(texts)[~lesions.duplicated(keys).to_numpy()]
    counts = counted[counted != ""].value_counts()
    levels = sorted(set(texts) - {""})
    if MIN_N * len(levels) > counts.sum():
        raise UsageError(
            f"--covariate {name}: {counts.sum()} {what} are in {len(levels)} groups "
            f"({', '.join(levels)[:200]}): fewer than {MIN_N} per group; unite groups."
        )
    # The most frequent group; in case of a tie, the first in alphabetical order.
    first = reference or min(levels, key=lambda level: (-counts.get(level, 0), level))
    if first not in levels:
        raise UsageError(
            f"--covariate {name}={reference}: is no group; there are {', '.join(levels)[:200]}."
        )
    columns = {
        f"{level} - {first}": np.where(texts == "", nan, np.equal(texts, level).astype(float))
        for level in levels
        if level != first
    }
    return Covariate(name, columns, texts, first, varies, note)
