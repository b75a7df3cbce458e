"""Numbers as people read them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

SIGNIFICANCE: Sequence[tuple[float, str]] = ((0.001, "***"), (0.01, "**"), (0.05, "*"))
"""A p value below the number earns the mark."""


@dataclass(frozen=True)
class NumberFormat:
    """How the values of one parameter are printed: times ``scale``, in ``unit``."""

    name: str
    unit: str
    scale: float
    digits: int

    @property
    def title(self) -> str:
        """Name and unit, as an axis says it."""
        return f"{self.name} ({self.unit})"

    def number(self, value: float, sign: bool = False) -> str:
        """Print a value, with a true minus sign."""
        return number(value * self.scale, self.digits, sign)


def number(value: float, digits: int, sign: bool = False) -> str:
    """Print a number for people: a true minus, and a dash for what is missing.

    Parameters
    ----------
    value : float
    digits : int
        After the point.
    sign : bool
        Whether to print a plus.

    Returns
    -------
    text : str

    Examples
    --------
    >>> number(-58.3, 0), number(32.26, 1, sign=True), number(float("nan"), 1)
    ('−58', '+32.3', '–')
    """
    if math.isnan(value):
        return "–"
    return f"{value:{'+' if sign else ''}.{digits}f}".replace("-", "−")


def pvalue(value: float) -> str:
    """Print a p value with two digits that say something.

    Parameters
    ----------
    value : float
        NaN for no test.

    Returns
    -------
    text : str

    Examples
    --------
    >>> [pvalue(p) for p in (0.41, 0.0303, 0.002, 0.000201, 1e-9, float("nan"))]
    ['0.41', '0.030', '0.002', '0.0002', '< 0.0001', 'no test']
    """
    if math.isnan(value):
        return "no test"
    if value < 0.00005:
        return "< 0.0001"
    return f"{value:.{4 if value < 0.001 else 3 if value < 0.1 else 2}f}"


def percent(value: float) -> str:
    """Print a change in percent, with its sign.

    Parameters
    ----------
    value : float

    Returns
    -------
    text : str

    Examples
    --------
    >>> percent(-58.34), percent(float("nan"))
    ('−58.3 %', '–')
    """
    return "–" if math.isnan(value) else f"{number(value, 1, sign=True)} %"


def interval(low: float, high: float, digits: int) -> str:
    """Print an interval.

    Parameters
    ----------
    low, high : float
    digits : int
        After the point.

    Returns
    -------
    text : str

    Examples
    --------
    >>> interval(-0.5, 1.25, 2), interval(float("nan"), float("nan"), 2)
    ('−0.50 to 1.25', '–')
    """
    if math.isnan(low) and math.isnan(high):
        return "–"
    return f"{number(low, digits)} to {number(high, digits)}"


def significance(pvalue: float) -> str:
    """Give the mark of a p value, as figures print it.

    Parameters
    ----------
    pvalue : float
        NaN for no test.

    Returns
    -------
    mark : {"***", "**", "*", ""}
        Below 0.001, 0.01, 0.05, or none.

    Examples
    --------
    >>> [significance(p) for p in (0.0002, 0.002, 0.03, 0.05, float("nan"))]
    ['***', '**', '*', '', '']
    """
    return next((mark for limit, mark in SIGNIFICANCE if pvalue < limit), "")


def timepoint_label(name: str) -> str:
    """Part a number from its unit: ``1week`` reads ``1 week``.

    Parameters
    ----------
    name : str

    Returns
    -------
    name : str

    Examples
    --------
    >>> timepoint_label("1week"), timepoint_label("baseline")
    ('1 week', 'baseline')
    """
    digits = len(name) - len(name.lstrip("0123456789"))
    return f"{name[:digits]} {name[digits:]}" if 0 < digits < len(name) else name
