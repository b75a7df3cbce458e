"""Keys of the rows of lesion tables."""

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

from bidsapp.bids.cells import parse_whole_number
from bidsapp.bids.tables import Row
from bidsapp.errors import BadInput

Key = tuple[str, int, str]
"""Participant, lesion and session of a row."""


def lesion_key(row: Row, where: str) -> Key:
    """Return participant, lesion and session of a row, with the prefixes sub- and ses-."""
    lesion = parse_whole_number(row["lesion"], where, "lesion")
    participant, session = (_label(row, name, where) for name in ("participant_id", "session_id"))
    return f"sub-{bare_label(participant, 'sub-')}", lesion, f"ses-{bare_label(session, 'ses-')}"


def _label(row: Row, name: str, where: str) -> str:
    """Return the label in a column; a row without one belongs to nobody."""
    label = row[name].strip()
    if label in ("", "n/a"):
        raise BadInput(f"{where}: {name} is missing ({row[name]!r}): give it or remove the row.")
    return label


def bare_label(label: str, prefix: str) -> str:
    """Return a label without its prefix in any letter case."""
    return label[len(prefix) :] if label.lower().startswith(prefix) else label


def spelling(label: str) -> str:
    """Return a participant's label without prefix, letter case and leading zeros of its numbers.

    Examples
    --------
    >>> spelling("sub-01"), spelling("sub-P007")
    ('1', 'p7')
    """
    return re.sub(r"(?<!\d)0+(?=\d)", "", label.removeprefix("sub-").casefold())


def unify_participants(
    keys: Sequence[Key], name: str
) -> tuple[Mapping[str, str], tuple[str, ...], tuple[str, ...]]:
    """Find participants whose label is spelt in several ways in a table.

    Parameters
    ----------
    keys : sequence of (str, int, str)
        Of the rows of the table.
    name : str
        Name of the file, for the messages.

    Returns
    -------
    unified : mapping of str to str
        Label -> the most frequent spelling of it.
    notes, warnings : tuple of str
        Labels that are unified; labels that are alike and have rows of the same lesion and session,
        and may therefore be two participants.

    Examples
    --------
    >>> keys = [("sub-01", 1, "ses-a"), ("sub-01", 1, "ses-b"), ("sub-1", 1, "ses-c")]
    >>> unify_participants(keys, "lesions.tsv")[0]
    {'sub-1': 'sub-01'}
    """
    counts = Counter(participant for participant, _, _ in keys)
    alike = defaultdict(list)
    for label in counts:
        alike[spelling(label)].append(label)
    unified: dict[str, str] = {}
    notes, warnings = [], []
    for labels in alike.values():
        if len(labels) == 1:
            continue
        visits = [rest for participant, *rest in keys if participant in labels]
        if len({tuple(visit) for visit in visits}) < len(visits):
            warnings.append(
                f"{name}: {' and '.join(labels)} have rows of the same lesion and session, and are "
                "taken for different participants; if they are one, keep one row of each session."
            )
            continue
        best = max(labels, key=lambda label: counts[label])
        unified |= {label: best for label in labels if label != best}
        notes.append(f"{name}: {' and '.join(labels)} are taken for one participant, {best}.")
    return unified, tuple(notes), tuple(warnings)
