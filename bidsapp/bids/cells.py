"""Cells of tables: numbers and flags."""

import math
from collections.abc import Iterable
from pathlib import Path

from bidsapp.errors import BadInput

_MISSING = ("n/a", "")
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
        point = "; write a decimal point, not a comma" if "," in text else ""
        raise BadInput(f"{where}: {text!r} is not a number{point}.") from None
    if math.isinf(number):
        raise BadInput(f"{where}: {text!r} is not a finite number; a missing value is n/a.")
    return number


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
