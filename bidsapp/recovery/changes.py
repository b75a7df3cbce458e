"""The changes that are put into a lesion."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from bidsapp.errors import UsageError
from bidsapp.models.parameters import DESCRIPTIVE, PARAMETERS

VOLUME = "volume"


@dataclass(frozen=True)
class Change:
    """A relative change of one parameter; `percent` is that of its value.

    Examples
    --------
    >>> change = Change("Ktrans", -40.0)
    >>> change.name, round(change.factor, 6)
    ('Ktrans-40%', 0.6)
    """

    parameter: str
    percent: float

    @property
    def name(self) -> str:
        """Parameter and percentage with its sign."""
        return f"{self.parameter}{self.percent:+g}%"

    @property
    def factor(self) -> float:
        """Value after the change, relative to that before."""
        return 1 + self.percent / 100


DEFAULT_CHANGES = (
    Change("Ktrans", -40.0),
    Change("vp", -50.0),
    Change("f", 20.0),
    Change("ADC", 10.0),
    Change(VOLUME, -50.0),
)
"""Changes of the order of those after radiosurgery."""

_CHANGEABLE = tuple(
    name
    for name, row in PARAMETERS.items()
    if row.display
    and (name == VOLUME or row.datatype != "anat")
    and name not in ("fT2", "delay")
    and row not in DESCRIPTIVE
)
_LARGEST_GROWTH = 100.0
"""Largest growth of a lesion, percent: the surroundings of the ROI that are sampled limit it."""


def parse_change(text: str) -> Change:
    """Return the change that a text describes.

    Parameters
    ----------
    text
        ``NAME=PERCENT``, such as ``Ktrans=-40``; a percent sign may follow.

    Raises
    ------
    UsageError
        If the parameter is unknown or the percentage impossible.

    Examples
    --------
    >>> parse_change("f=+20%")
    Change(parameter='f', percent=20.0)
    """
    name, _, number = text.partition("=")
    if name not in _CHANGEABLE:
        raise UsageError(
            f"{text}: no change of {name or 'nothing'}; choose one of {', '.join(_CHANGEABLE)}, "
            "as in Ktrans=-40"
        )
    try:
        percent = float(number.removesuffix("%"))
    except ValueError:
        percent = math.nan
    if not math.isfinite(percent) or percent <= -100 or percent == 0:
        raise UsageError(
            f"{text}: the change must be a number of percent above -100 and not 0, as in {name}=-40"
        )
    if name == VOLUME and percent > _LARGEST_GROWTH:
        raise UsageError(f"{text}: a lesion can grow by at most {_LARGEST_GROWTH:g} %")
    return Change(name, percent)


def select_changes(changes: Sequence[Change], parameters: Sequence[str]) -> tuple[Change, ...]:
    """Return the changes that concern a series: of its parameters, and of the volume."""
    return tuple(c for c in changes if c.parameter in parameters or c.parameter == VOLUME)
