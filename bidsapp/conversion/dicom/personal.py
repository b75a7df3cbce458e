"""Removal of what identifies a patient from texts."""

import re
from collections.abc import Iterable

MASK = "***"
"""Stands for what was removed."""
_SHORTEST = 3
"""Characters of the shortest word that is removed."""
_DATE = re.compile(r"(?<!\d)(?:19|20)\d\d(?P<mark>[-./]?)(?:0\d|1[0-2])(?P=mark)[0-3]\d(?!\d)")


def split_name(name: str) -> set[str]:
    """Return the parts of a name.

    Examples
    --------
    >>> sorted(split_name("Lovelace-King^Ada"))
    ['Ada', 'King', 'Lovelace', 'Lovelace-King^Ada']
    """
    return {name, *re.split(r"[\s^=,_-]+", name)}


def remove_personal(text: str, words: Iterable[str]) -> str:
    """Return a text without words that identify a patient, and without dates.

    Parameters
    ----------
    text
        Text of a header.
    words
        Names, identifiers and dates; those of less than three characters are not sought.

    Examples
    --------
    >>> remove_personal("T1 Lovelace 2021-09-02 3D", ["lovelace"])
    'T1 *** *** 3D'
    """
    for word in sorted({w.strip() for w in words}, key=len, reverse=True):
        if len(word) >= _SHORTEST:
            whole = rf"(?<![A-Za-z0-9]){re.escape(word)}(?![A-Za-z0-9])"
            text = re.sub(whole, MASK, text, flags=re.IGNORECASE)
    return _DATE.sub(MASK, text)
