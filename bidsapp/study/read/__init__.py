"""Reading of lesion tables into a cohort; every file that cannot be used is reported."""

from bidsapp.study.read.derivatives import OutputTables, read_output
from bidsapp.study.read.dose import read_dose_values, read_lesion_doses
from bidsapp.study.read.lesion_table import STUDY_UNITS, load_study_table
from bidsapp.study.read.quality import read_quality
from bidsapp.study.read.ratings import read_ratings
from bidsapp.study.read.recovery import read_detectable_changes
from bidsapp.study.read.regions import region_values
from bidsapp.study.read.traits import match_rows, read_participants, read_traits

__all__ = [
    "STUDY_UNITS",
    "OutputTables",
    "load_study_table",
    "match_rows",
    "read_detectable_changes",
    "read_dose_values",
    "read_lesion_doses",
    "read_output",
    "read_participants",
    "read_quality",
    "read_ratings",
    "read_traits",
    "region_values",
]
