"""Numbers formatted for readers."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from bidsapp.models.parameters import DISPLAY

SIGNIFICANCE: Sequence[tuple[float, str]] = ((0.001, "***"), (0.01, "**"), (0.05, "*"))
"""Upper limits of p values, and their marks."""


ROUNDING = 1e-12
"""Size below which a displayed number is the rounding of a difference, and equal to zero."""


@dataclass(frozen=True)
class NumberFormat:
    """Number format of a parameter: values are multiplied by ``scale`` to be in ``unit``."""

    name: str
    unit: str
    scale: float
    digits: int

    @property
    def title(self) -> str:
        """Name and unit, as the label of an axis."""
        return f"{self.name} ({self.unit})"

    @classmethod
    def of(cls, parameter: str) -> "NumberFormat":
        """Return the format of a parameter.

        Examples
        --------
        >>> NumberFormat.of("ve").format(0.123)
        '12.3'
        """
        shown = DISPLAY[parameter]
        return cls(shown.label, shown.unit, shown.scale, shown.digits)

    def format(self, value: float, sign: bool = False) -> str:
        """Format a value, with a typographic minus sign."""
        return format_number(value * self.scale, self.digits, sign)


def format_number(value: float, digits: int, sign: bool = False) -> str:
    """Format a number, with a typographic minus sign and a dash if missing.

    Parameters
    ----------
    value : float
    digits : int
        Decimal places; more for a number that would be rounded to zero.
    sign : bool
        Whether to print a plus sign.

    Returns
    -------
    text : str

    Examples
    --------
    >>> format_number(-58.3, 0), format_number(32.26, 1, sign=True), format_number(float("nan"), 1)
    ('−58', '+32.3', '–')

    A number other than zero is not printed as zero; zero has no sign:

    >>> [format_number(x, 1, sign=True) for x in (-0.04, 0.00096, -0.0, 1e-17)]
    ['−0.04', '+0.0010', '0.0', '0.0']
    """
    if math.isnan(value):
        return "–"
    if abs(value) < ROUNDING:
        value = 0.0
    text = f"{value:z.{digits}f}"
    if value and math.isfinite(value) and not float(text):
        text = f"{value:.{-math.floor(math.log10(abs(value)))}f}"
    plus = "+" if sign and value > 0 else ""
    return plus + text.replace("-", "−")


def format_pvalue(value: float) -> str:
    """Format a p value with up to two significant digits.

    Parameters
    ----------
    value : float
        NaN if there is no test.

    Returns
    -------
    text : str

    Examples
    --------
    >>> [format_pvalue(p) for p in (0.41, 0.0303, 0.002, 0.000201, 1e-9, float("nan"))]
    ['0.41', '0.030', '0.002', '0.0002', '< 0.0001', 'no test']

    A value below a limit of significance is not rounded to the limit:

    >>> [format_pvalue(p) for p in (0.04996, 0.05, 0.00999, 0.999)]
    ['0.04996', '0.050', '0.00999', '> 0.99']
    """
    if math.isnan(value):
        return "no test"
    if value < 0.00005:
        return "< 0.0001"
    if 0.995 <= value < 1:
        return "> 0.99"
    digits = 4 if value < 0.001 else 3 if value < 0.1 else 2
    for limit, _ in SIGNIFICANCE:
        while value < limit <= float(f"{value:.{digits}f}") and digits < 9:
            digits += 1
    return f"{value:.{digits}f}"


def format_percent(value: float) -> str:
    """Format a change in percent, with its sign.

    Parameters
    ----------
    value : float

    Returns
    -------
    text : str

    Examples
    --------
    >>> format_percent(-58.34), format_percent(float("nan"))
    ('−58.3 %', '–')
    """
    return "–" if math.isnan(value) else f"{format_number(value, 1, sign=True)} %"


def format_interval(low: float, high: float, digits: int) -> str:
    """Format an interval.

    Parameters
    ----------
    low, high : float
    digits : int
        Decimal places.

    Returns
    -------
    text : str

    Examples
    --------
    >>> format_interval(-0.5, 1.25, 2), format_interval(float("nan"), float("nan"), 2)
    ('−0.50 to 1.25', '–')
    """
    if math.isnan(low) and math.isnan(high):
        return "–"
    return f"{format_number(low, digits)} to {format_number(high, digits)}"


def significance_mark(pvalue: float) -> str:
    """Return the mark of a p value in figures.

    Parameters
    ----------
    pvalue : float
        NaN if there is no test.

    Returns
    -------
    mark : {"***", "**", "*", ""}
        For p below 0.001, 0.01, 0.05, and otherwise.

    Examples
    --------
    >>> [significance_mark(p) for p in (0.0002, 0.002, 0.03, 0.05, float("nan"))]
    ['***', '**', '*', '', '']
    """
    return next((mark for limit, mark in SIGNIFICANCE if pvalue < limit), "")


def timepoint_label(name: str) -> str:
    """Return a time point as displayed: ``1week`` becomes ``1 week``.

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


def count_of(count: int, thing: str) -> str:
    """Return a count with its noun in singular or plural.

    Examples
    --------
    >>> count_of(1, "lesion"), count_of(2, "lesion")
    ('1 lesion', '2 lesions')
    """
    return f"{count} {thing}" if count == 1 else f"{count} {thing}s"


def join_words(words: Sequence[str]) -> str:
    """Join words with commas and "and".

    Examples
    --------
    >>> join_words(["vp", "ve", "f"]), join_words(["vp"])
    ('vp, ve and f', 'vp')
    """
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
