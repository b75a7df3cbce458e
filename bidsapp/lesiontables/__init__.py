"""Tables of lesions on disk -> a cohort; every file that cannot be used is named."""

from bidsapp.lesiontables.output import Found, read_output
from bidsapp.lesiontables.quality import read_quality
from bidsapp.lesiontables.study import STUDY_UNITS, load_study_table
from bidsapp.lesiontables.traits import read_participants, read_traits

__all__ = [
    "STUDY_UNITS",
    "Found",
    "load_study_table",
    "read_output",
    "read_participants",
    "read_quality",
    "read_traits",
]
