"""Reading of the changes that a simulation of a participant's own scans can detect."""

from pathlib import Path

from bidsapp.bids.cells import parse_number
from bidsapp.bids.tables import read_numbered_table
from bidsapp.errors import BadInput
from bidsapp.models.parameters import PARAMETERS
from bidsapp.study.read.cells import lesion_key
from bidsapp.study.tables.limits import Measure

_REQUIRED = (
    "participant_id",
    "session_id",
    "lesion",
    "roi",
    "parameter",
    "estimate",
    "detectable_change",
    "unit",
)
"""Columns that are used; ``detectable_change`` is absolute, in ``unit``, that of lesion tables."""


def read_detectable_changes(folder: Path) -> dict[Measure, float]:
    """Read every ``*_desc-recovery_roistats.tsv`` of a participant.

    Parameters
    ----------
    folder : pathlib.Path
        The participant's folder in the output.

    Returns
    -------
    detectable : dict of Measure to float
        Of the enhancing parts; empty without a simulation, NaN where it detects no change.

    Raises
    ------
    BadInput
        If a table cannot be used: a column is missing, a value has another unit than in the lesion
        tables or is negative, or there are two different values.
    """
    found: dict[Measure, float] = {}
    for path in sorted(folder.rglob("*_desc-recovery_roistats.tsv")):
        for line, row in read_numbered_table(path, _REQUIRED, complete=True):
            where = f"{path}: line {line}"
            if row["roi"] != "enhancing":
                continue
            name, unit = row["parameter"], row["unit"]
            if name not in PARAMETERS or unit != PARAMETERS[name].unit:
                expected = PARAMETERS[name].unit if name in PARAMETERS else "a known parameter"
                raise BadInput(
                    f"{where}: {name} in {unit}, expected {expected}: run metperf recovery again."
                )
            measure = Measure(*lesion_key(row, where), name, row["estimate"])
            change = parse_number(row["detectable_change"], f"{where}, detectable_change")
            if change < 0:
                raise BadInput(f"{where}: detectable_change is {change:g}, below zero.")
            if repr(found.setdefault(measure, change)) != repr(change):
                raise BadInput(
                    f"{where}: two detectable changes of {name} of lesion {measure.lesion} in "
                    f"{measure.session_id}, {found[measure]:g} and {change:g}: remove one table."
                )
    return found
