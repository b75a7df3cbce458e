"""Further characteristics of participants and lesions: age, primary tumour, location, dose."""

from pathlib import Path

import pandas as pd

from bidsapp.bids.tables import read_table
from bidsapp.errors import BadInput
from bidsapp.study.tables import LESION


def read_participants(path: Path) -> pd.DataFrame:
    """Read a BIDS participants.tsv.

    Parameters
    ----------
    path : pathlib.Path
        TSV with ``participant_id`` and any columns.

    Returns
    -------
    participants : pandas.DataFrame
        As text, one row each; an empty text is missing.

    Raises
    ------
    BadInput
        If the table cannot be read, or a participant has two rows.
    """
    return _read(path, LESION[:1])


def read_traits(path: Path) -> pd.DataFrame:
    """Read a table of lesion traits.

    Parameters
    ----------
    path : pathlib.Path
        TSV with ``participant_id lesion`` and any columns, such as location and dose.

    Returns
    -------
    traits : pandas.DataFrame
        As text but for ``lesion``, one row each; an empty text is missing.

    Raises
    ------
    BadInput
        If the table cannot be read, a lesion is not an integer, or has two rows.
    """
    table = _read(path, LESION)
    try:
        return table.assign(lesion=table["lesion"].astype(int))
    except ValueError as error:
        raise BadInput(f"{path}: a lesion is not a whole number ({error}).") from None


def _read(path: Path, keys: list[str]) -> pd.DataFrame:
    """Read a table that has one row per key."""
    rows = read_table(path, keys)
    if not rows:
        raise BadInput(f"{path}: the table has no rows.")
    table = pd.DataFrame(rows).replace("n/a", "")
    table["participant_id"] = "sub-" + table["participant_id"].str.removeprefix("sub-")
    twice = table.loc[table.duplicated(keys), keys]
    if len(twice):
        raise BadInput(f"{path}: {' '.join(map(str, twice.iloc[0]))} has two rows: keep one.")
    return table
