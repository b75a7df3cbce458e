"""Values of a table of lesions that are impossible, or of another scale than the others."""

import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pandas as pd

from bidsapp.models.parameters import PARAMETERS, Parameter
from bidsapp.study.tables import SIZES, error_columns

_SENTINELS = (-99.0, -999.0, -9999.0)
"""Numbers that other programs write for a missing value."""
_RATIO = 30.0
"""Of the median of a session or participant to that of the others; units differ by 100 or 1000."""
_VOLUME_RATIO = 100.0
"""The same for volumes, which differ by more between lesions than parameters do."""
_CELL_RATIO = 30.0
"""Of one value to the others of its lesion, and to the median of its column."""
_PAIRED_RATIO, _PAIRED_SCATTER, _FEWEST_PAIRS = 5.0, 2.0, 4
"""Median ratio of a session to the others of the same lesions, its robust scatter as a factor, and
smallest number of lesions: a treatment that changes values so much does not change all alike."""
_LEAST_MEDIAN = {"vp": 2e-3, "ve": 5e-3, "Ktrans": 1e-3, "f": 5e-3}
"""Lowest plausible median of a column, in the unit of the parameter."""
_FEWEST = 2
"""Values from which a median is taken."""
_SHOWN = 10


def drop_impossible(
    lesions: pd.DataFrame, lines: Sequence[int], units: Mapping[str, str], name: str
) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Set values that are outside the range of their parameter to missing, and report them.

    Parameters
    ----------
    lesions : pandas.DataFrame
        A row per lesion and session, as in `Cohort`.
    lines : sequence of int
        The line of each row in its file.
    units : mapping of str to str
        Unit of each column; of a unit that is not known only the sign is checked.
    name : str
        Name of the file, for the messages.

    Returns
    -------
    lesions : pandas.DataFrame
        A copy without the impossible values.
    problems : tuple of str
        One for each column that has such values, with their lines.

    Examples
    --------
    >>> lesions = pd.DataFrame({"vp": [0.05, 4.4], "volume_ml": [-999.0, 2.0]})
    >>> kept, problems = drop_impossible(lesions, [2, 3], {"vp": "1"}, "lesions.tsv")
    >>> kept["vp"].tolist(), problems[1]
    ([0.05, nan], 'lesions.tsv: volume_ml is -999 in line 2: not used; a missing value is n/a.')
    """
    kept, problems = lesions.copy(), []
    for column in map(str, lesions):
        unit = units.get(column, "")
        limits = _range(column, unit)
        if limits is None:
            continue
        values = lesions[column].astype(float)
        wrong = (values < limits[0]) | (values > limits[1]) | values.isin(_sentinels(column))
        wrong |= _zeros_for_missing(lesions, column)
        if wrong.any():
            found = [(lines[i], values.iloc[i]) for i in np.flatnonzero(wrong).tolist()]
            problems.append(f"{name}: {column} {_describe(found, limits, unit)}")
            kept[column] = values.where(~wrong)
    return kept, tuple(problems)


def _zeros_for_missing(lesions: pd.DataFrame, column: str) -> "pd.Series[bool]":
    """Return the rows in which 0 stands for a missing value.

    A diffusivity is never 0, and no two parameters of a lesion are at the same time.
    """
    zero = lesions[column] == 0
    if column not in PARAMETERS:
        return zero & False
    parameters = [name for name in PARAMETERS if name in lesions]
    return zero & (
        (PARAMETERS[column].lesion_range[0] > 0) | ((lesions[parameters] == 0).sum(axis=1) > 1)
    )


def _sentinels(column: str) -> tuple[float, ...]:
    # Day -99 may be a day; days before treatment by years are not.
    return _SENTINELS[1:] if column == "days_from_srs" else _SENTINELS


def _range(column: str, unit: str) -> tuple[float, float] | None:
    """Return the least and the largest possible value of a column in its unit."""
    if column == "days_from_srs":
        return -np.inf, np.inf
    if column in ("volume_ml", *SIZES.values()) or column in error_columns(PARAMETERS):
        return 0.0, np.inf
    if column not in PARAMETERS:
        return None
    row = PARAMETERS[column]
    # A hundred times a lower limit of 0 is 0: only upper limits depend on the unit.
    return -np.inf if row.lower < 0 else 0.0, row.upper * _scales(row).get(unit, np.inf)


def _scales(row: Parameter) -> dict[str, float]:
    """Return the value of one unit of a parameter in each unit that is known for it."""
    scales = {row.unit: 1.0}
    if row.display:
        scales[row.display.table_unit] = row.display.scale
    if row.is_fraction:
        scales["%"] = 100.0
    return scales


def _describe(found: Sequence[tuple[int, float]], limits: tuple[float, float], unit: str) -> str:
    """Describe the impossible values of a column, given with their lines."""
    listed = ", ".join(f"{value:g} in line {line}" for line, value in found[:_SHOWN])
    if len(found) > _SHOWN:
        listed += f" and impossible in {len(found) - _SHOWN} more"
    if all(value == 0 for _, value in found):
        return f"is {listed}, which stands for a missing value: not used; a missing value is n/a."
    if all(value in _SENTINELS for _, value in found):
        return f"is {listed}: not used; a missing value is n/a."
    if any(value > limits[1] for _, value in found):
        return (
            f"is {listed}, above {limits[1]:g}, the largest possible value if its unit is {unit}: "
            "not used; is it in another unit? All values of a column must have the one that the "
            "JSON file beside the table states."
        )
    return f"is {listed}, below zero: not used; correct it, a missing value is n/a."


def scale_warnings(lesions: pd.DataFrame, units: Mapping[str, str], name: str) -> tuple[str, ...]:
    """Warn of values that are of another scale than the others, or than their unit implies.

    Parameters
    ----------
    lesions : pandas.DataFrame
        A row per lesion and session, as in `Cohort`.
    units : mapping of str to str
        Unit of each column.
    name : str
        Name of the file, for the messages.

    Returns
    -------
    warnings : tuple of str

    Examples
    --------
    >>> lesions = pd.DataFrame({"session_id": ["ses-a", "ses-a", "ses-b", "ses-b"],
    ...                         "participant_id": ["sub-1", "sub-2", "sub-1", "sub-2"],
    ...                         "lesion": [1, 1, 1, 1], "vp": [0.04, 0.06, 4.0, 6.0]})
    >>> scale_warnings(lesions, {}, "lesions.tsv")[0].split(":")[1]
    ' vp has a median of 4.9 in ses-b, 100 times that of the others (0.049)'
    """
    found: list[str] = []
    for column in map(str, lesions):
        # What may be negative has no scale.
        signed = column in PARAMETERS and PARAMETERS[column].lower < 0
        if signed or (column not in PARAMETERS and column != "volume_ml"):
            continue
        groups = [
            odd for key in ("session_id", "participant_id")
            for odd in _odd_groups(lesions, column, key)
        ]  # fmt: skip
        found += [
            f"{column} has a median of {here:.3g} in {group}, {_times(here / others)} that of the "
            f"others ({others:.3g}): are all values in the same unit?"
            for group, here, others in groups
        ]
        if not groups:
            found += [*_odd_session(lesions, column)] or [*_odd_cells(lesions, column)]
        if column in PARAMETERS:
            found += _odd_column(lesions, column, units.get(column, ""))
            found += _many_zeros(lesions, column)
    return tuple(f"{name}: {text}" for text in found)


def _odd_column(lesions: pd.DataFrame, column: str, unit: str) -> Iterator[str]:
    """Yield a column whose median no group of lesions has, if the unit is right."""
    row = PARAMETERS[column]
    scale = _scales(row).get(unit)
    values = lesions[column].astype(float)
    values = values[values > 0]
    if scale is None or len(values) < _FEWEST:
        return
    low, high = _LEAST_MEDIAN.get(column, row.lesion_range[0]) * scale, row.lesion_range[1] * scale
    median = float(values.median())
    if low <= median <= high:
        return
    beyond = f"below {low:.3g}" if median < low else f"above {high:.3g}"
    stated = f'"{column}": {{"Units": "{row.unit}"}}'
    yield (
        f"{column} has a median of {median:.3g}, {beyond}, which is implausible in {unit}: is it "
        f"in another unit? The JSON file beside the table states it, as in {{{stated}}}"
    )


def _many_zeros(lesions: pd.DataFrame, column: str) -> Iterator[str]:
    """Yield a column with several values that are exactly 0."""
    count = int((lesions[column] == 0).sum())
    if count >= _FEWEST:
        yield (
            f"{column} is exactly 0 in {count} rows: if it was not measured there, write n/a, "
            "since a 0 enters all means"
        )


def _odd_session(lesions: pd.DataFrame, column: str) -> Iterator[str]:
    """Yield the session in which all lesions differ most from themselves, by nearly one factor."""
    logs = _log_values(lesions, column)
    keys = [lesions.loc[logs.index, name] for name in ("participant_id", "lesion")]
    sessions = lesions.loc[logs.index, "session_id"]
    found = []
    for session in sessions.unique():
        here = sessions == session
        others = logs[~here].groupby([key[~here] for key in keys]).median()
        own = logs[here].groupby([key[here] for key in keys]).median()
        ratios = (own - others).dropna()
        median = float(ratios.median())
        scatter = 1.48 * float((ratios - median).abs().median())
        if len(ratios) >= _FEWEST_PAIRS and scatter < np.log(_PAIRED_SCATTER):
            found.append((abs(median), median, len(ratios), session))
    size, median, count, session = max(found, default=(0.0, 0.0, 0, ""))
    if size > np.log(_PAIRED_RATIO):
        yield (
            f"{column} in {session} is {_times(float(np.exp(median)))} that of the same lesions in "
            f"other sessions, nearly alike in all {count}: another unit or scale?"
        )


def _odd_cells(lesions: pd.DataFrame, column: str) -> Iterator[str]:
    """Yield each value far from those of its lesion in other sessions and from the column's."""
    logs, limit = _log_values(lesions, column), np.log(_CELL_RATIO)
    if column == "volume_ml":
        return
    apart = logs - logs.median()
    for index in logs.index[apart.abs() > limit]:
        row = lesions.loc[index]
        same = (lesions["participant_id"] == row["participant_id"]) & (
            lesions["lesion"] == row["lesion"]
        )
        ratio = logs[index] - logs[same.reindex(logs.index)].drop(index).median()
        if abs(ratio) > limit and ratio * apart[index] > 0:
            yield (
                f"{column} of {row['participant_id']} lesion {row['lesion']} in "
                f"{row['session_id']} is {np.exp(logs[index]):.3g}, "
                f"{_times(float(np.exp(ratio)))} its values in other sessions: is it in the same "
                "unit?"
            )


def _log_values(lesions: pd.DataFrame, column: str) -> "pd.Series[float]":
    """Return the logarithm of the positive values of a column."""
    values = lesions[column].astype(float)
    return values[values > 0].map(math.log)


def _times(ratio: float) -> str:
    return f"{ratio:.3g} times" if ratio > 1 else f"1/{1 / ratio:.3g} of"


def _odd_groups(lesions: pd.DataFrame, column: str, key: str) -> Iterator[tuple[str, float, float]]:
    """Yield each group of another scale, with its median and that of the others."""
    limit = np.log(_VOLUME_RATIO if column == "volume_ml" else _RATIO)
    # A lesion that is gone has the volume 0, which has no scale.
    logs = _log_values(lesions, column)
    groups = lesions.loc[logs.index, key]
    while True:
        # The group furthest from the others first: it also moves the median of the others.
        found = []
        for group in _distant_groups(logs, groups, limit):
            here = groups == group
            found.append((logs[here].median(), logs[~here].median(), str(group)))
        if not found:
            return
        here_log, others_log, group = max(found, key=lambda row: (abs(row[0] - row[1]), row[2]))
        if abs(here_log - others_log) <= limit:
            return
        yield group, float(np.exp(here_log)), float(np.exp(others_log))
        kept = groups != group
        logs, groups = logs[kept], groups[kept]


def _distant_groups(
    logs: "pd.Series[float]", groups: "pd.Series[str]", limit: float
) -> "pd.Index[str]":
    """Return the groups whose median may differ from that of the others by more than the limit."""
    each = logs.groupby(groups).agg(["median", "size"])
    # Of two halves, either may be right: the larger one is taken for right.
    each = each[(each["size"] >= _FEWEST) & (each["size"] <= len(logs) / 2)]
    # Without half of the values or less, the median of the rest still lies between the quartiles.
    lower = np.sort(logs)[max(len(logs) // 4 - 1, 0)] if len(logs) else 0.0
    upper = np.sort(logs)[min(3 * len(logs) // 4 + 1, len(logs) - 1)] if len(logs) else 0.0
    return each.index[(each["median"] > lower + limit) | (each["median"] < upper - limit)]
