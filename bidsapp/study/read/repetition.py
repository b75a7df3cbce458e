"""Rows of a table of lesions that repeat other rows, and days against the order of the rows."""

from collections import defaultdict
from collections.abc import Iterator

import pandas as pd

from bidsapp.models.parameters import PARAMETERS
from bidsapp.study.tables import LESION

_ENOUGH = 3
"""Equal values from which two rows are a copy; chance does not make so many alike."""
_SHOWN = 3


def repetition_warnings(lesions: pd.DataFrame, name: str) -> tuple[str, ...]:
    """Warn of rows with the same values, and of days that contradict the rows or one another.

    Parameters
    ----------
    lesions : pandas.DataFrame
        A row per lesion and session, as in `Cohort`; the sessions of a participant in time order.
    name : str
        Name of the file, for the messages.

    Returns
    -------
    warnings : tuple of str

    Examples
    --------
    >>> row = {"participant_id": "sub-1", "lesion": 1, "vp": 2.1, "f": 0.11, "ADC": 1.2}
    >>> lesions = pd.DataFrame([row | {"session_id": "ses-a"}, row | {"session_id": "ses-b"}])
    >>> print(*repetition_warnings(lesions, "lesions.tsv"))
    lesions.tsv: ses-b repeats all values of ses-a in sub-1 lesion 1: was one copied?
    """
    found = (*_copies(lesions), *_disordered(lesions), *_unequal(lesions))
    return tuple(f"{name}: {text}" for text in found)


def _copies(lesions: pd.DataFrame) -> Iterator[str]:
    """Yield each pair of sessions with equal values, and the lesions that have them."""
    parameters = [column for column in PARAMETERS if column in lesions]
    seen: dict[tuple[tuple[str, float], ...], int] = {}
    found: dict[tuple[str, str], list[str]] = defaultdict(list)
    sizes: dict[tuple[str, str], int] = defaultdict(int)
    for index, row in enumerate(lesions[parameters].astype(float).to_dict("records")):
        known = tuple((str(k), float(v)) for k, v in row.items() if pd.notna(v) and v != 0)
        if len(known) < 2:
            continue
        first = seen.setdefault(known, index)
        if first == index:
            continue
        one, other = lesions.iloc[first], lesions.iloc[index]
        lesion = f"{other['participant_id']} lesion {other['lesion']}"
        if one["participant_id"] == other["participant_id"]:
            pair = str(one["session_id"]), str(other["session_id"])
        else:
            pair = f"{one['participant_id']} {one['session_id']}", str(other["session_id"])
        found[pair].append(lesion)
        sizes[pair] += len(known)
    for (first_name, second), rows in found.items():
        if sizes[first_name, second] >= _ENOUGH:
            more = f" and {len(rows) - _SHOWN} more" if len(rows) > _SHOWN else ""
            yield (
                f"{second} repeats all values of {first_name} in {', '.join(rows[:_SHOWN])}{more}: "
                "was one copied?"
            )


def _disordered(lesions: pd.DataFrame) -> Iterator[str]:
    """Yield the participants whose days do not increase with the rows."""
    if "days_from_srs" not in lesions:
        return
    visits = lesions[lesions["days_from_srs"].notna()]
    steps = visits.groupby(LESION, sort=False)["days_from_srs"].diff()
    concerned = visits.loc[steps < 0, "participant_id"].unique()
    if not len(concerned):
        return
    (_, lesion) = visits.loc[steps < 0, LESION].iloc[0]
    rows = visits[(visits["participant_id"] == concerned[0]) & (visits["lesion"] == lesion)]
    listed = ", ".join(
        f"{session} is day {day:g}"
        for session, day in rows[["session_id", "days_from_srs"]].to_numpy()
    )
    more = f" (and {len(concerned) - 1} more participants)" if len(concerned) > 1 else ""
    yield (
        f"{concerned[0]}: {listed}{more}: the days are not in the order of the rows: sort the rows "
        "by time, or correct the days"
    )


def _unequal(lesions: pd.DataFrame) -> Iterator[str]:
    """Yield the sessions whose lesions have different days."""
    if "days_from_srs" not in lesions:
        return
    days = lesions.groupby(["participant_id", "session_id"], sort=False)["days_from_srs"].unique()
    days = days.map(lambda found: sorted(day for day in found if pd.notna(day)))
    different = days[days.map(len) > 1]
    if different.empty:
        return
    participant, session = different.index[0]
    listed = ", ".join(f"{day:g}" for day in different.iloc[0])
    more = f" (and {len(different) - 1} more sessions)" if len(different) > 1 else ""
    yield (
        f"days_from_srs differs between the lesions of {participant} in {session} ({listed}){more}"
        ": trends use the day of each lesion, responses that of the first one; was one mistyped?"
    )
