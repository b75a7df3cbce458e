"""Values of all regions in the lesion tables of an output folder, as numbers."""

from collections.abc import Sequence

import pandas as pd

from bidsapp.bids.cells import parse_flag
from bidsapp.bids.tables import Row
from bidsapp.study.read.cells import lesion_key

_TEXT = ("roi", "model", "parameter", "unit")
_NUMBERS = ("n_valid", "measured_ml", "mean", "standard_error", "std", "median")


def region_values(rows: Sequence[Row]) -> pd.DataFrame:
    """Return checked rows of ``*_roistats.tsv`` as a table with numbers.

    Parameters
    ----------
    rows : sequence of mapping
        A missing column is a missing value.

    Returns
    -------
    values : pandas.DataFrame
        ``participant_id``, ``lesion``, ``session_id``, what was measured, and the values.
    """
    keys = pd.DataFrame(
        [lesion_key(row, "") for row in rows], columns=["participant_id", "lesion", "session_id"]
    )
    cells = pd.DataFrame(rows).reindex(columns=[*_TEXT, *_NUMBERS])
    numbers = cells[list(_NUMBERS)].apply(pd.to_numeric, errors="coerce")
    excluded = pd.Series([parse_flag(row["excluded"], "") for row in rows], dtype=bool)
    parts = [keys, cells[list(_TEXT)], numbers, excluded.rename("excluded")]
    values: pd.DataFrame = pd.concat(parts, axis=1)
    return values
