"""Lesions and sessions of a cohort, and how one parameter of them is laid out."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import combinations
from typing import NamedTuple

import numpy as np
import pandas as pd

PARAMETERS = ("vp", "Ktrans", "ve", "ADC", "f")
"""What the study followed, in its order."""

LESION = ["participant_id", "lesion"]
COLUMNS = [*LESION, "session_id", "days_from_srs", *PARAMETERS, "volume_ml", "excluded"]

ERRORS = {f"{name}_se": name for name in PARAMETERS}
"""Column with the standard error of a parameter -> the parameter."""
WARNINGS = "warnings"
"""Column with what may mislead in the session, in words."""


@dataclass(frozen=True)
class Cohort:
    """Lesions and sessions, one row each.

    Attributes
    ----------
    lesions : pandas.DataFrame
        A row per lesion and session, the columns `COLUMNS`; NaN for missing. There may be those of
        `ERRORS`, and `WARNINGS`.
    sessions : pandas.DataFrame
        ``participant_id session_id days position``: days since treatment, and the place in time
        among the participant's sessions; NaN where unknown.
    units : mapping of str to str
        Unit of each parameter and of ``volume_ml``.
    participants, traits : pandas.DataFrame
        What else is known of each participant (``participant_id`` and any columns) and of each
        lesion (``participant_id lesion`` and any columns), as text; may be empty.
    """

    lesions: pd.DataFrame
    sessions: pd.DataFrame
    units: Mapping[str, str]
    participants: pd.DataFrame = field(default_factory=pd.DataFrame)
    traits: pd.DataFrame = field(default_factory=pd.DataFrame)


class Pair(NamedTuple):
    """One parameter of every lesion at two time points."""

    parameter: str
    before: str
    after: str
    a: pd.Series
    b: pd.Series

    @property
    def names(self) -> dict[str, str]:
        """What a table says of the pair, under the names of its columns."""
        return {
            "parameter": self.parameter,
            "timepoint_a": self.before,
            "timepoint_b": self.after,
        }

    @property
    def change(self) -> pd.Series:
        """Later minus earlier."""
        return self.b - self.a


def measured(lesions: pd.DataFrame, column: str, timepoints: Mapping[str, str]) -> pd.DataFrame:
    """Arrange one parameter with a row per lesion and a column per time point.

    Parameters
    ----------
    lesions : pandas.DataFrame
        As in `Cohort`, with a column ``timepoint``: its name, or missing.
    column : str
        Such as ``"vp"`` or ``"volume_ml"``.
    timepoints : mapping
        Its keys are the time points, in order.

    Returns
    -------
    values : pandas.DataFrame
        float64, indexed by participant and lesion; NaN where there is no value.

    Examples
    --------
    >>> lesions = pd.DataFrame({"participant_id": ["sub-01"], "lesion": [1],
    ...                         "timepoint": ["before"], "vp": [3.5]})
    >>> measured(lesions, "vp", {"before": "ses-01", "after": "ses-02"}).to_numpy()
    array([[3.5, nan]])
    """
    everyone = pd.MultiIndex.from_frame(lesions[LESION].drop_duplicates())
    placed = lesions[lesions["timepoint"].notna()]
    wide = placed.pivot(index=LESION, columns="timepoint", values=column)
    return wide.reindex(index=everyone, columns=list(timepoints)).astype(np.float64)


def pairs(lesions: pd.DataFrame, timepoints: Mapping[str, str]) -> Iterator[Pair]:
    """Go through the parameters, and through every two time points of each.

    Parameters
    ----------
    lesions : pandas.DataFrame
        As for `measured`.
    timepoints : mapping
        Its keys are the time points, in order.

    Yields
    ------
    pair : Pair

    Examples
    --------
    >>> lesions = pd.DataFrame({"participant_id": ["sub-01"], "lesion": [1],
    ...                         "timepoint": ["before"], **dict.fromkeys(PARAMETERS, 1.0)})
    >>> [pair.parameter for pair in pairs(lesions, {"before": "", "after": ""})]
    ['vp', 'Ktrans', 've', 'ADC', 'f']
    """
    for parameter in PARAMETERS:
        values = measured(lesions, parameter, timepoints)
        for before, after in combinations(timepoints, 2):
            yield Pair(parameter, before, after, values[before], values[after])


def patients(values: pd.Series | pd.DataFrame) -> np.ndarray:
    """Participant of each row of what `measured` gives."""
    return values.index.get_level_values("participant_id").to_numpy()
