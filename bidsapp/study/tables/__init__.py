"""A cohort of lesions -> the tables of the study; frames in, frames out.

The same code serves the lesions that metperf measured and a table that someone else filled in.
"""

from bidsapp.study.tables.analysis import SEED, GroupResult, Statistics, analyse
from bidsapp.study.tables.cohort import (
    COLUMNS,
    ERRORS,
    LESION,
    PARAMETERS,
    WARNINGS,
    Cohort,
    measured,
)
from bidsapp.study.tables.robustness import ALPHA, standardised
from bidsapp.study.tables.timepoints import TIMEPOINTS, session_labels, window

__all__ = [
    "ALPHA",
    "COLUMNS",
    "ERRORS",
    "LESION",
    "PARAMETERS",
    "SEED",
    "TIMEPOINTS",
    "WARNINGS",
    "Cohort",
    "GroupResult",
    "Statistics",
    "analyse",
    "measured",
    "session_labels",
    "standardised",
    "window",
]
