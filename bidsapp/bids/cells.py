"""Cells of tables: numbers and flags."""

import math
from collections.abc import Iterable
from pathlib import Path

from bidsapp.errors import BadInput

_MISSING = ("n/a", "")
_MISSING_ELSEWHERE = (*_MISSING, "na", "nan", "null", "none")
"""Missing in tables of other programs, in lower case."""
_YES = ("true", "yes", "y", "x")
_NO = ("false", "no", "n", *_MISSING)


def parse_number(text: str, where: str) -> float:
    """Return a cell as a finite number; NaN if it is missing.

    Parameters
    ----------
    text
        The cell.
    where
        File, line and column, for error messages.

    Raises
    ------
    BadInput
        If it is not a number, or not finite.

    Examples
    --------
    >>> parse_number("2.5", "lesions.tsv: line 2, vp"), parse_number("n/a", "")
    (2.5, nan)
    """
    if text.strip() in _MISSING:
        return math.nan
    try:
        number = float(text)
    except ValueError:
        hint = "; write a decimal point, not a comma" if "," in text else ""
        hint = "; a missing value is n/a" if text.strip().lower() in _MISSING_ELSEWHERE else hint
        raise BadInput(f"{where}: {text!r} is not a number{hint}.") from None
    if math.isinf(number):
        raise BadInput(f"{where}: {text!r} is not a finite number; a missing value is n/a.")
    return number


def parse_whole_number(text: str, where: str, column: str) -> int:
    """Return a cell as an integer; tables with missing cells may have integers as 1.0.

    Parameters
    ----------
    text
        The cell.
    where
        File and line, for error messages.
    column
        Name of the column, for error messages.

    Raises
    ------
    BadInput
        If it is missing, or not a whole number.

    Examples
    --------
    >>> [parse_whole_number(text, "lesions.tsv: line 2", "lesion") for text in ("3", "1.0")]
    [3, 1]
    """
    if text.strip().lower() in _MISSING_ELSEWHERE:
        raise BadInput(
            f"{where}: {column} is missing ({text!r}): give its number or remove the row."
        )
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not number.is_integer():
        raise BadInput(f"{where}: {column} {text!r} is not a whole number.")
    return int(number)


def parse_flag(text: str, where: str, column: str = "excluded") -> bool:
    """Return a cell of yes or no as a bool; False if it is missing.

    Parameters
    ----------
    text
        The cell: 0 or 1 in any spelling of a number, or a word.
    where
        File and line, for error messages.
    column
        Name of the column, for error messages.

    Raises
    ------
    BadInput
        If it has another value.

    Examples
    --------
    >>> [parse_flag(text, "dseg.tsv") for text in ("1.0", "Yes", "x", "0", "n/a", "")]
    [True, True, True, False, False, False]
    """
    word = text.strip().lower()
    if word in _YES or word in _NO:
        return word in _YES
    try:
        number = float(word.replace(",", "."))
    except ValueError:
        number = math.nan
    if number not in (0, 1):
        raise BadInput(
            f"{where}: {column} is {text!r}, give 0 or 1 "
            f"(or {', '.join((*_YES, *_NO[:-1]))}, or nothing)."
        )
    return number == 1


def check_excluded_column(table: Path, columns: Iterable[str]) -> None:
    """Refuse a misspelt column ``excluded``, which would otherwise be ignored.

    Raises
    ------
    BadInput
        If a column has a similar name.
    """
    for name in columns:
        if name != "excluded" and name.strip().lower().startswith("exclu"):
            raise BadInput(f"{table}: column {name!r} is not known; call it 'excluded'")
