"""Further characteristics of participants and lesions: age, primary tumour, location, dose."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from bidsapp.bids.cells import parse_whole_number
from bidsapp.bids.tables import read_numbered_table
from bidsapp.errors import BadInput
from bidsapp.study.read.cells import bare_label, spelling
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
    return _read(path, LESION)


def _read(path: Path, keys: list[str]) -> pd.DataFrame:
    """Read a table that has one row per key."""
    numbered = read_numbered_table(path, keys, known=keys)
    if not numbered:
        raise BadInput(f"{path}: the table has no rows.")
    table = pd.DataFrame([row for _, row in numbered]).replace("n/a", "")
    if "lesion" in keys:
        table["lesion"] = [
            parse_whole_number(row["lesion"], f"{path}: line {line}", "lesion")
            for line, row in numbered
        ]
    labels = table["participant_id"].str.strip()
    table["participant_id"] = [f"sub-{bare_label(label, 'sub-')}" for label in labels]
    twice = table.loc[table.duplicated(keys), keys]
    if len(twice):
        raise BadInput(f"{path}: {' '.join(map(str, twice.iloc[0]))} has two rows: keep one.")
    return table


def match_rows(
    table: pd.DataFrame, lesions: pd.DataFrame, name: str
) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Match the rows of a table of characteristics with the participants or lesions of a cohort.

    Parameters
    ----------
    table : pandas.DataFrame
        The result of `read_participants` or `read_traits`.
    lesions : pandas.DataFrame
        With ``participant_id lesion``.
    name : str
        Name of the file, for the notes.

    Returns
    -------
    matched : pandas.DataFrame
        With the labels of the cohort, where they differ in leading zeros or letter case only.
    notes : tuple of str
        Rows that match nobody, and participants or lesions without a row.
    """
    here = set(lesions["participant_id"])
    other = _other_spellings(table["participant_id"].unique(), here)
    matched = table.replace({"participant_id": other})
    notes = []
    if other:
        one, real = next(iter(other.items()))
        notes.append(
            f"{name}: {len(other)} labels are matched without leading zeros and letter case, such "
            f"as {one} with {real}."
        )
    keys = [key for key in LESION if key in table]
    rows, wanted = (list(t[keys].drop_duplicates().itertuples(index=False, name=None))
                    for t in (matched, lesions))  # fmt: skip
    if strangers := sorted(set(rows) - set(wanted)):
        notes.append(f"{name}: {_names(strangers)}: not in the tables of lesions.")
    if without := sorted(set(wanted) - set(rows)):
        notes.append(f"{name}: has no row for {_names(without)}.")
    return matched, tuple(notes)


def _other_spellings(labels: Iterable[str], wanted: set[str]) -> dict[str, str]:
    """Map each label that is not wanted to the only wanted one that it can mean."""
    rest = [label for label in labels if label not in wanted]
    times = Counter(map(spelling, rest))
    of_key = Counter(map(spelling, wanted))
    meant = {spelling(label): label for label in wanted - set(labels)}
    return {
        label: meant[key]
        for label in rest
        if (key := spelling(label)) in meant and times[key] == of_key[key] == 1
    }


def _names(rows: list[tuple[object, ...]]) -> str:
    """Return the first few participants or lesions of a list."""
    texts = [" lesion ".join(map(str, row)) for row in rows[:10]]
    return ", ".join(texts) + (f" and {len(rows) - 10} more" if len(rows) > 10 else "")
