"""Reading of what is known of a participant at a session besides the images."""

import pandas as pd

from bidsapp.bids.cells import parse_number
from bidsapp.bids.tables import Row
from bidsapp.errors import BadInput
from bidsapp.lesions.rano_records import CLINICAL_STATUS
from bidsapp.study.tables import CLINICAL


def parse_clinical(row: Row, where: str) -> dict[str, float | str]:
    """Return the dose of corticosteroids and the clinical status in a row of a table.

    Parameters
    ----------
    row : mapping of str to str
        With any of the columns `CLINICAL`.
    where : str
        File and line, for the messages.

    Returns
    -------
    cells : dict
        By the names of `CLINICAL`: NaN or an empty text if missing.

    Raises
    ------
    BadInput
        If the dose is not a number or negative, or the status is none of `CLINICAL_STATUS`.

    Examples
    --------
    >>> parse_clinical({"steroid_dose": "4", "clinical_status": "Stable"}, "sessions.tsv: line 2")
    {'steroid_dose': 4.0, 'clinical_status': 'stable'}
    """
    dose = parse_number(row.get("steroid_dose", "n/a"), f"{where}, steroid_dose")
    if dose < 0:
        raise BadInput(f"{where}: steroid_dose is {dose:g}, below zero.")
    status = row.get("clinical_status", "").strip().lower()
    status = "" if status == "n/a" else status
    if status and status not in CLINICAL_STATUS:
        known = ", ".join(CLINICAL_STATUS)
        raise BadInput(f"{where}: clinical_status is {status!r}: write {known} or n/a.")
    return {"steroid_dose": dose, "clinical_status": status}


def session_clinical(rows: pd.DataFrame, name: str) -> pd.DataFrame:
    """Return the clinical columns of a table of lesions, one row for each session.

    Parameters
    ----------
    rows : pandas.DataFrame
        ``participant_id session_id`` and `CLINICAL`, a row per lesion and session.
    name : str
        Name of the file, for the messages.

    Raises
    ------
    BadInput
        If the lesions of a session differ in a clinical column.
    """
    keys = ["participant_id", "session_id"]
    known = rows[[*keys, *CLINICAL]].copy()
    known["clinical_status"] = known["clinical_status"].where(known["clinical_status"] != "")
    groups = known.groupby(keys, sort=False)
    different = (groups.nunique() > 1).any(axis=1)
    if different.any():
        participant, session = different.index[different][0]
        raise BadInput(
            f"{name}: {' or '.join(CLINICAL)} differs between the lesions of {participant} in "
            f"{session}: it is of the participant; give the same in all rows of a session."
        )
    return groups.first().reset_index().fillna({"clinical_status": ""})
