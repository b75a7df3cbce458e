"""Values of a table of lesions that are impossible, or of another scale than the others."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pandas as pd

from bidsapp.models.parameters import PARAMETERS
from bidsapp.study.tables import error_columns

_SENTINELS = (-99.0, -999.0, -9999.0)
"""Numbers that other programs write for a missing value."""
_RATIO = 30.0
"""Of the median of a session or participant to that of the others; units differ by 100 or 1000."""
_VOLUME_RATIO = 100.0
"""The same for volumes, which differ by more between lesions than parameters do."""
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
        if wrong.any():
            found = [(lines[i], values.iloc[i]) for i in np.flatnonzero(wrong).tolist()]
            problems.append(f"{name}: {column} {_describe(found, limits, unit)}")
            kept[column] = values.where(~wrong)
    return kept, tuple(problems)


def _sentinels(column: str) -> tuple[float, ...]:
    # Day -99 may be a day; days before treatment by years are not.
    return _SENTINELS[1:] if column == "days_from_srs" else _SENTINELS


def _range(column: str, unit: str) -> tuple[float, float] | None:
    """Return the least and the largest possible value of a column in its unit."""
    if column == "days_from_srs":
        return -np.inf, np.inf
    if column == "volume_ml" or column in error_columns(PARAMETERS):
        return 0.0, np.inf
    if column not in PARAMETERS:
        return None
    row = PARAMETERS[column]
    scales = {row.unit: 1.0}
    if row.display:
        scales[row.display.table_unit] = row.display.scale
    if row.is_fraction:
        scales["%"] = 100.0
    # A hundred times a lower limit of 0 is 0: only upper limits depend on the unit.
    return 0.0, row.upper * scales.get(unit, np.inf)


def _describe(found: Sequence[tuple[int, float]], limits: tuple[float, float], unit: str) -> str:
    """Describe the impossible values of a column, given with their lines."""
    listed = ", ".join(f"{value:g} in line {line}" for line, value in found[:_SHOWN])
    if len(found) > _SHOWN:
        listed += f" and impossible in {len(found) - _SHOWN} more"
    if all(value in _SENTINELS for _, value in found):
        return f"is {listed}: not used; a missing value is n/a."
    if any(value > limits[1] for _, value in found):
        return (
            f"is {listed}, above {limits[1]:g}, the largest possible value if its unit is {unit}: "
            "not used; is it in another unit? All values of a column must have the one that the "
            "JSON file beside the table states."
        )
    return f"is {listed}, below zero: not used; correct it, a missing value is n/a."


def scale_warnings(lesions: pd.DataFrame, name: str) -> tuple[str, ...]:
    """Warn of a session or participant whose values are of another scale than those of the others.

    Parameters
    ----------
    lesions : pandas.DataFrame
        A row per lesion and session, as in `Cohort`.
    name : str
        Name of the file, for the messages.

    Returns
    -------
    warnings : tuple of str

    Examples
    --------
    >>> lesions = pd.DataFrame({"session_id": ["ses-a", "ses-a", "ses-b", "ses-b"],
    ...                         "participant_id": ["sub-1", "sub-2", "sub-1", "sub-2"],
    ...                         "vp": [0.04, 0.06, 4.0, 6.0]})
    >>> scale_warnings(lesions, "lesions.tsv")[0].split(":")[1]
    ' vp has a median of 4.9 in ses-b, 100 times that of the others (0.049)'
    """
    return tuple(
        f"{name}: {column} has a median of {here:.3g} in {group}, {_times(here / others)} that of "
        f"the others ({others:.3g}): are all values in the same unit?"
        for column in lesions
        if column in PARAMETERS or column == "volume_ml"
        for key in ("session_id", "participant_id")
        for group, here, others in _odd_groups(lesions, str(column), key)
    )


def _times(ratio: float) -> str:
    return f"{ratio:.3g} times" if ratio > 1 else f"1/{1 / ratio:.3g} of"


def _odd_groups(lesions: pd.DataFrame, column: str, key: str) -> Iterator[tuple[str, float, float]]:
    """Yield each group of another scale, with its median and that of the others."""
    limit = np.log(_VOLUME_RATIO if column == "volume_ml" else _RATIO)
    values = lesions[column].astype(float)
    # A lesion that is gone has the volume 0, which has no scale.
    positive = values > 0
    logs, groups = np.log(values[positive]), lesions.loc[positive, key]
    while True:
        # The group furthest from the others first: it also moves the median of the others.
        found = []
        for group in groups.unique():
            here = groups == group
            # Of two halves, either may be right: the larger one is taken for right.
            if _FEWEST <= here.sum() <= (~here).sum():
                found.append((logs[here].median(), logs[~here].median(), str(group)))
        if not found:
            return
        here_log, others_log, group = max(found, key=lambda row: (abs(row[0] - row[1]), row[2]))
        if abs(here_log - others_log) <= limit:
            return
        yield group, float(np.exp(here_log)), float(np.exp(others_log))
        kept = groups != group
        logs, groups = logs[kept], groups[kept]
