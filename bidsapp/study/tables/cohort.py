"""Lesions and sessions of a cohort, and how one parameter of them is laid out."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import combinations
from typing import NamedTuple

import numpy as np
import pandas as pd

from bidsapp.models.parameters import FOLLOWED

LESION = ["participant_id", "lesion"]
WARNINGS = "warnings"
"""Column with what may mislead in the session, in words."""


class ParameterPair(NamedTuple):
    """Two parameters of which the study asks whether they go together: y against x."""

    x: str
    y: str


PAIR = ParameterPair("vp", "f")
"""The plasma volume by DCE and the perfusion fraction by IVIM, unless others are named."""


@dataclass(frozen=True)
class Cohort:
    """Lesions and sessions, one row each.

    Attributes
    ----------
    lesions : pandas.DataFrame
        A row per lesion and session, the columns `lesion_columns`; NaN for missing. There may be
        those of `error_columns`, and `WARNINGS`.
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

    @property
    def parameters(self) -> tuple[str, ...]:
        """The followed parameters that the lesions have, in order."""
        return followed_parameters(self.lesions)


class TimepointPair(NamedTuple):
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


def lesion_columns(parameters: Iterable[str]) -> list[str]:
    """Return the columns that identify a lesion in a session, and its values."""
    return [*LESION, "session_id", "days_from_srs", *parameters, "volume_ml", "excluded"]


def error_columns(parameters: Iterable[str]) -> dict[str, str]:
    """Map the column of each standard error to its parameter."""
    return {f"{name}_se": name for name in parameters}


def followed_parameters(lesions: pd.DataFrame) -> tuple[str, ...]:
    """Return the parameters that the group level follows and a table has, in order.

    Parameters
    ----------
    lesions : pandas.DataFrame
        As in `Cohort`.

    Returns
    -------
    parameters : tuple of str
        `PAIR` where the table has none, so that every table says that values are missing.

    Examples
    --------
    >>> followed_parameters(pd.DataFrame(columns=["f", "PS", "Fp", "volume_ml"]))
    ('Fp', 'PS', 'f')
    """
    return tuple(name for name in FOLLOWED if name in lesions) or tuple(PAIR)


def values_by_timepoint(
    lesions: pd.DataFrame, column: str, timepoints: Mapping[str, str]
) -> pd.DataFrame:
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
        float64, indexed by participant and lesion; NaN where there is no value, or no such column.

    Examples
    --------
    >>> lesions = pd.DataFrame({"participant_id": ["sub-01"], "lesion": [1],
    ...                         "timepoint": ["before"], "vp": [3.5]})
    >>> values_by_timepoint(lesions, "vp", {"before": "ses-01", "after": "ses-02"}).to_numpy()
    array([[3.5, nan]])
    """
    everyone = pd.MultiIndex.from_frame(lesions[LESION].drop_duplicates())
    if column not in lesions:
        return pd.DataFrame(np.nan, index=everyone, columns=list(timepoints))
    placed = lesions[lesions["timepoint"].notna()]
    wide = placed.pivot(index=LESION, columns="timepoint", values=column)
    return wide.reindex(index=everyone, columns=list(timepoints)).astype(np.float64)


def timepoint_pairs(
    lesions: pd.DataFrame, timepoints: Mapping[str, str]
) -> Iterator[TimepointPair]:
    """Go through the parameters, and through every two time points of each.

    Parameters
    ----------
    lesions : pandas.DataFrame
        As for `values_by_timepoint`.
    timepoints : mapping
        Its keys are the time points, in order.

    Yields
    ------
    pair : TimepointPair

    Examples
    --------
    >>> lesions = pd.DataFrame({"participant_id": ["sub-01"], "lesion": [1],
    ...                         "timepoint": ["before"], "ADC": [1e-3], "vp": [0.03]})
    >>> [pair.parameter for pair in timepoint_pairs(lesions, {"before": "", "after": ""})]
    ['vp', 'ADC']
    """
    for parameter in followed_parameters(lesions):
        values = values_by_timepoint(lesions, parameter, timepoints)
        for before, after in combinations(timepoints, 2):
            yield TimepointPair(parameter, before, after, values[before], values[after])


def patients(values: pd.Series | pd.DataFrame) -> np.ndarray:
    """Participant of each row of what `values_by_timepoint` gives."""
    return values.index.get_level_values("participant_id").to_numpy()
