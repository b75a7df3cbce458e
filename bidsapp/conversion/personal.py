"""Removal of what identifies a patient from texts."""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Any

PERSONAL = (
    "PatientName", "OtherPatientNames", "PatientBirthName", "PatientMotherBirthName",
    "ReferringPhysicianName", "PerformingPhysicianName", "OperatorsName",
    "NameOfPhysiciansReadingStudy", "RequestingPhysician", "PhysiciansOfRecord",
    "PatientID", "OtherPatientIDs", "AccessionNumber", "InstitutionName", "InstitutionAddress",
    "PatientAddress", "StationName", "DeviceSerialNumber", "InstitutionalDepartmentName", "StudyID",
    "PatientBirthDate", "StudyDate", "SeriesDate", "AcquisitionDate",
)  # fmt: skip
"""Fields of DICOM that identify the patient, the staff, the hospital, the device or the day."""
MASK = "***"
"""Stands for what was removed."""
_SHORTEST, _LONG = 3, 6
"""Characters of the shortest word with digits, and of one that is removed within other words."""
_RUN = re.compile(r"[^\W\d_]+|\d+")
_UMLAUTS = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "ß": "ss", "ø": "oe", "å": "aa"})
_MONTHS = "jan|feb|m[aä]r|apr|ma[iy]|jun|jul|aug|sep|o[ck]t|nov|de[cz]"
_DATE = re.compile(
    r"(?<!\d)(?:"
    r"(?:19|20)\d\d(?P<a>[-./_ ]?)(?:0[1-9]|1[0-2])(?P=a)[0-3]\d(?:\d{6})?"
    r"|[0-3]\d(?P<b>[-./_])[0-3]\d(?P=b)(?:1[89]|20)?\d\d"
    r"|[0-3]?\d(?P<c>[-./_ ])[0-3]?\d(?P=c)(?:1[89]|20)\d\d"
    rf"|[0-3]?\d[-./_ ]*(?:{_MONTHS})[a-z]*[-./_ ]*(?:1[89]|20)?\d\d"
    r")(?!\d)",
    re.IGNORECASE,
)
"""Dates: year, month, day, and the time of day; day and month in either order; names of months."""
_UID = re.compile(r"\d+(?:\.\d+){4,}")


def split_name(name: str) -> set[str]:
    """Return the parts of a name.

    Examples
    --------
    >>> sorted(split_name("Lovelace-King^Ada"))
    ['Ada', 'Ada Lovelace-King', 'King', 'Lovelace', 'Lovelace-King^Ada']
    """
    family, _, others = name.partition("^")
    reverse = {f"{others.partition('^')[0]} {family}"} if others else set[str]()
    return {name, *re.split(r"[\s^=,_-]+", name)} | reverse


def spell_date(text: str) -> set[str]:
    """Return a date of DICOM in the orders in which dates are written.

    Examples
    --------
    >>> sorted(spell_date("20210902"))[:3]
    ['02-09-2021', '02-09-21', '09-02-2021']
    """
    if not re.fullmatch(r"\d{8}", text):
        return {text}
    year, month, day = text[:4], text[4:6], text[6:]
    return {
        "-".join(parts)
        for y in (year, year[2:])
        for parts in ((y, month, day), (day, month, y), (month, day, y))
    }


def personal_words(dataset: Any) -> frozenset[str]:
    """Return the texts of a data set of DICOM that identify the patient, the place or the day.

    Examples
    --------
    >>> sorted(personal_words({"PatientName": "Lovelace^Ada", "OtherPatientIDs": ["A17", "B4"]}))
    ['A17', 'Ada', 'Ada Lovelace', 'B4', 'Lovelace', 'Lovelace^Ada']
    """
    words: set[str] = set()
    for field in PERSONAL:
        value = dataset.get(field) or ""
        several = isinstance(value, Sequence) and not isinstance(value, str)
        for text in (str(v).strip() for v in (value if several else [value])):
            if field.endswith("Date"):
                words |= spell_date(text)
            else:
                words |= {part for part in split_name(text) if len(part) >= _least(field)}
                words.add(text)
    return frozenset(words - {""})


def _least(field: str) -> int:
    """Return the least length of a part of a field that is sought on its own.

    Initials of staff, and short words in names of places, may be words of any description.
    """
    if field.startswith(("Institution", "PatientAddress")):
        return _LONG
    split = "Name" in field or "Phys" in field
    return (2 if field == "PatientName" else _SHORTEST) if split and field != "StationName" else 99


def remove_personal(text: str, words: Iterable[str]) -> str:
    """Return a text without words that identify a patient, and without dates and UIDs.

    Parameters
    ----------
    text
        Text of a header.
    words
        Names, identifiers and dates, found in any letter case, with or without accents, and with
        other separators; those of less than two letters or three characters are not sought.

    Examples
    --------
    >>> remove_personal("T1 Lovelace 2021-09-02 3D", ["lovelace"])
    'T1 *** *** 3D'
    >>> remove_personal("Mueller_PAT-4711 t1", ["Müller", "PAT4711"])
    '***_*** t1'
    """
    text = unicodedata.normalize("NFC", text)
    spelled = {other for word in words for other in _spellings(word)}
    for word in sorted(spelled, key=len, reverse=True):
        if pattern := _pattern(word):
            text = re.sub(pattern, MASK, text, flags=re.IGNORECASE)
    return _DATE.sub(MASK, _UID.sub(MASK, text))


def _spellings(word: str) -> set[str]:
    """Return a word, and as it is written without accents."""
    plain = unicodedata.normalize("NFKD", word)
    plain = "".join(c for c in plain if not unicodedata.combining(c))
    return {word, plain, word.casefold().translate(_UMLAUTS)}


def _pattern(word: str) -> str:
    """Return the pattern of a word with any separators between its letters and numbers."""
    runs = _RUN.findall(word)
    body, size = r"[\W_]*".join(map(re.escape, runs)), len("".join(runs).encode())
    if size < _SHORTEST - (body.isalpha() and size == len(body)):
        return ""
    if size < _LONG:
        return rf"(?<![A-Za-z0-9]){body}(?![A-Za-z0-9])"
    before, after = runs[0][0].isdigit(), runs[-1][-1].isdigit()
    return ("(?<!\\d)" if before else "") + body + ("(?!\\d)" if after else "")
