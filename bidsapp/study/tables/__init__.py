"""A cohort of lesions -> the tables of the study; frames in, frames out.

The same code serves the lesions that metperf measured and a table that someone else filled in.
"""

from bidsapp.study.tables.agreement import standardise
from bidsapp.study.tables.analysis import SEED, GroupResult, Statistics, analyse
from bidsapp.study.tables.cohort import (
    LESION,
    PAIR,
    WARNINGS,
    Cohort,
    ParameterPair,
    error_columns,
    followed_parameters,
    lesion_columns,
    values_by_timepoint,
)
from bidsapp.study.tables.mixed_model import ALPHA
from bidsapp.study.tables.timepoints import TIMEPOINTS, session_labels, window

__all__ = [
    "ALPHA",
    "LESION",
    "PAIR",
    "SEED",
    "TIMEPOINTS",
    "WARNINGS",
    "Cohort",
    "GroupResult",
    "ParameterPair",
    "Statistics",
    "analyse",
    "error_columns",
    "followed_parameters",
    "lesion_columns",
    "session_labels",
    "standardise",
    "values_by_timepoint",
    "window",
]
