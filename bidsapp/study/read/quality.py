"""The quality tables of all participants in an output folder, combined."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd

from bidsapp.bids import documents
from bidsapp.bids.tables import read_table
from bidsapp.errors import BadInput

_REQUIRED = ("participant_id", "session_id", "series")


def read_quality(output_dir: Path, columns: Iterable[str]) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Read ``sub-*/sub-*_quality.tsv``.

    Parameters
    ----------
    output_dir : pathlib.Path
        The output folder of the participant level.
    columns : iterable of str
        Columns of the result; the tables need not have all of them.

    Returns
    -------
    quality : pandas.DataFrame
        A row per series, numbers where all of a column are; empty without any table.
    problems : tuple of str
        Tables that cannot be used.
    """
    names, rows, problems = list(columns), [], []
    for path in documents.QUALITY.find(output_dir):
        try:
            rows += read_table(path, _REQUIRED, complete=True)
        except BadInput as error:
            problems.append(str(error).replace(f"{output_dir}/", ""))
    table = pd.DataFrame(rows).reindex(columns=names).replace(["n/a", np.nan], None)
    for name in names:
        # A column is numeric only if every value in it is a number.
        numbers = pd.to_numeric(table[name], errors="coerce")
        if numbers.notna().eq(table[name].notna()).all():
            table[name] = numbers
    return table, tuple(problems)
