"""A cohort: its lesions and sessions, and the values of a parameter by time point."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import combinations
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd

from bidsapp.models.parameters import FOLLOWED
from bidsapp.study.tables.limits import Measure

LesionValues = Literal["mean", "unmixed"]
"""Mean over the voxels of a lesion, or value of its own course, without its surroundings."""

LESION = ["participant_id", "lesion"]
AT_BASELINE = "_baseline"
"""Ending of a column with the value of a session at the first time point."""
WARNINGS = "warnings"
"""Column of the warnings about a session."""

SIZES: Mapping[str, str] = {
    "longest_diameter": "diameter_mm",
    "perpendicular_diameter": "perpendicular_mm",
    "slices": "n_slices",
}
"""Parameter of the size of a whole lesion besides its volume -> its column."""

CLINICAL = ("steroid_dose", "clinical_status")
"""Columns of what is known of a participant at a session besides the images."""


EVENT = "event"
"""Column of what happened to a lesion by a session: new, gone, merged, misnumbered."""


class ParameterPair(NamedTuple):
    """Two parameters that are compared with each other: y is regressed on x."""

    x: str
    y: str


PAIR = ParameterPair("vp", "f")
"""The default: perfusion fraction by IVIM on plasma volume by DCE."""


@dataclass(frozen=True)
class Cohort:
    """Lesions and sessions, one row each.

    Attributes
    ----------
    lesions : pandas.DataFrame
        A row per lesion and session with the columns `lesion_columns`, and optionally
        `error_columns`, those of `SIZES`, `WARNINGS` and `EVENT`; NaN where missing.
    sessions : pandas.DataFrame
        ``participant_id session_id days position``: days since treatment, and the rank in time
        among the participant's sessions; NaN where unknown. Optionally `CLINICAL`: the dose of
        corticosteroids in any one unit, and one of `CLINICAL_STATUS` or an empty text.
    units : mapping of str to str
        Unit of each parameter and of ``volume_ml``.
    participants, traits : pandas.DataFrame
        Characteristics of each participant (``participant_id`` and any columns) and of each
        lesion (``participant_id lesion`` and any columns), as text; may be empty.
    visits : pandas.DataFrame
        What else is known of each session (``participant_id session_id``, of a table of lesions
        also ``lesion``, and any columns), as text; may be empty.
    doses : pandas.DataFrame
        Dose of each lesion from maps of the dose (``participant_id lesion`` and the columns
        `bidsapp.study.tables.dose.LESION_DOSES`); may be empty.
    ratings : pandas.DataFrame
        Ratings of lesions by readers and their effect
        (`bidsapp.study.tables.ratings.RATINGS_TABLE`); may be empty.
    notes, warnings, problems : tuple of str
        Remarks on the tables that were read; doubts about their values; values that are impossible
        and were left out.
    estimate : str
        "mean" or "unmixed" for values of metperf.
    detectable : mapping of Measure to float
        Change that a simulation of the session can detect, in the unit of the values.
    """

    lesions: pd.DataFrame
    sessions: pd.DataFrame
    units: Mapping[str, str]
    participants: pd.DataFrame = field(default_factory=pd.DataFrame)
    traits: pd.DataFrame = field(default_factory=pd.DataFrame)
    visits: pd.DataFrame = field(default_factory=pd.DataFrame)
    doses: pd.DataFrame = field(default_factory=pd.DataFrame)
    ratings: pd.DataFrame = field(default_factory=pd.DataFrame)
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    estimate: str = "n/a"
    detectable: Mapping[Measure, float] = field(default_factory=dict)

    @property
    def parameters(self) -> tuple[str, ...]:
        """The parameters of `FOLLOWED` that the lesions have, in order."""
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
        """Parameter and time points under the column names of the tables."""
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
    """Return the columns of a table of lesions: identifiers, parameters, volume, exclusion."""
    return [*LESION, "session_id", "days_from_srs", *parameters, "volume_ml", "excluded"]


def error_columns(parameters: Iterable[str]) -> dict[str, str]:
    """Map the column of each standard error to its parameter."""
    return {f"{name}_se": name for name in parameters}


def followed_parameters(lesions: pd.DataFrame) -> tuple[str, ...]:
    """Return the parameters of a table that the group level analyses, in order.

    Parameters
    ----------
    lesions : pandas.DataFrame
        As in `Cohort`.

    Returns
    -------
    parameters : tuple of str
        `PAIR` if the table has none, so that every group table reports the missing values.

    Examples
    --------
    >>> followed_parameters(pd.DataFrame(columns=["f", "PS", "Fp", "volume_ml"]))
    ('Fp', 'PS', 'f')
    """
    return tuple(name for name in FOLLOWED if name in lesions) or tuple(PAIR)


def values_by_timepoint(
    lesions: pd.DataFrame, column: str, timepoints: Mapping[str, str]
) -> pd.DataFrame:
    """Return one parameter with a row per lesion and a column per time point.

    Parameters
    ----------
    lesions : pandas.DataFrame
        As in `Cohort`, with a column ``timepoint``: its name, or None.
    column : str
        Such as ``"vp"`` or ``"volume_ml"``.
    timepoints : mapping
        Its keys are the time points, in order.

    Returns
    -------
    values : pandas.DataFrame
        float64, indexed by participant and lesion; NaN where there is no value or no such column.

    Examples
    --------
    >>> lesions = pd.DataFrame({"participant_id": ["sub-01"], "lesion": [1],
    ...                         "timepoint": ["before"], "vp": [3.5]})
    >>> values_by_timepoint(lesions, "vp", {"before": "ses-01", "after": "ses-02"}).to_numpy()
    array([[3.5, nan]])
    """
    # Every lesion has a row, also one without a value at any time point.
    everyone = pd.MultiIndex.from_frame(lesions[LESION].drop_duplicates())
    if column not in lesions:
        return pd.DataFrame(np.nan, index=everyone, columns=list(timepoints))
    placed = lesions[lesions["timepoint"].notna()]
    wide = placed.pivot(index=LESION, columns="timepoint", values=column)
    return wide.reindex(index=everyone, columns=list(timepoints)).astype(np.float64)


def timepoint_pairs(
    lesions: pd.DataFrame, timepoints: Mapping[str, str]
) -> Iterator[TimepointPair]:
    """Yield every parameter at every two time points.

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
    """Return the participant of each row of `values_by_timepoint`."""
    return values.index.get_level_values("participant_id").to_numpy()
