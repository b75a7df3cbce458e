"""From a cohort of lesions to the tables of the study: data frames in, data frames out.

The same code analyses the output of the participant level and a table of lesions from elsewhere.
"""

from bidsapp.study.tables.agreement import standardise
from bidsapp.study.tables.analysis import SEED, GroupResult, Statistics, analyse
from bidsapp.study.tables.cohort import (
    AT_BASELINE,
    CLINICAL,
    EVENT,
    LESION,
    PAIR,
    SIZES,
    WARNINGS,
    Cohort,
    LesionValues,
    ParameterPair,
    error_columns,
    followed_parameters,
    lesion_columns,
    values_by_timepoint,
)
from bidsapp.study.tables.mixed_model import ALPHA
from bidsapp.study.tables.timepoints import TIMEPOINTS, session_labels, window
from bidsapp.study.tables.trends import GROUP, TrendOptions

__all__ = [
    "ALPHA",
    "AT_BASELINE",
    "CLINICAL",
    "EVENT",
    "GROUP",
    "LESION",
    "PAIR",
    "SEED",
    "SIZES",
    "TIMEPOINTS",
    "WARNINGS",
    "Cohort",
    "GroupResult",
    "LesionValues",
    "ParameterPair",
    "Statistics",
    "TrendOptions",
    "analyse",
    "error_columns",
    "followed_parameters",
    "lesion_columns",
    "session_labels",
    "standardise",
    "values_by_timepoint",
    "window",
]
