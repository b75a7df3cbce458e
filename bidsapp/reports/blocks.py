"""What a section of a page is made of."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from matplotlib.figure import Figure


@dataclass(frozen=True)
class Picture:
    """A figure; ``name`` is its file's stem, ``alt`` says it to who cannot see it."""

    name: str
    figure: Figure
    alt: str
    caption: str
    heading: str = ""
    form: Literal["svg", "png"] = "svg"


Cell = str | tuple[str, ...]
"""One line of text, or several: the first one counts."""


@dataclass(frozen=True)
class Table:
    """A table; each row begins with its heading.

    ``text`` are the columns that hold words, and so are set left.
    """

    caption: str
    columns: Sequence[Cell]
    rows: Sequence[Sequence[Cell]]
    text: frozenset[int] = field(default_factory=frozenset)
    badge: str = ""


@dataclass(frozen=True)
class Text:
    """A longer text, with its lines as they are; folded until asked for; ``href`` is its file."""

    heading: str
    body: str
    folded: bool = False
    href: str = ""


Block = Picture | Table | Text
