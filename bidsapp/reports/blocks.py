"""What a section of a page is made of."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from matplotlib.figure import Figure


@dataclass(frozen=True)
class Picture:
    """A figure; ``name`` is its file's stem, ``alt`` says it to who cannot see it.

    ``files`` are beside the page, to download.
    """

    name: str
    figure: Figure
    alt: str
    caption: str
    heading: str = ""
    form: Literal["svg", "png"] = "svg"
    files: tuple[str, ...] = ()


Cell = str | tuple[str, ...]
"""One line of text, or several: the first one counts."""


@dataclass(frozen=True)
class Table:
    """A table; each row begins with its heading.

    ``text`` are the columns that hold words, and so are set left; ``bold`` the cells, as (row,
    column), that stand out; ``files`` are beside the page, to download. A table with a ``summary``
    is folded behind it; a row whose heading is in ``hrefs`` links to a page.
    """

    caption: str
    columns: Sequence[Cell]
    rows: Sequence[Sequence[Cell]]
    text: frozenset[int] = field(default_factory=frozenset)
    badge: str = ""
    bold: frozenset[tuple[int, int]] = field(default_factory=frozenset)
    files: tuple[str, ...] = ()
    summary: str = ""
    hrefs: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Words:
    """What a section means, in sentences, and what to beware of."""

    sentences: Sequence[str]
    caveat: str = ""


@dataclass(frozen=True)
class Text:
    """A longer text, with its lines as they are; folded until asked for; ``href`` is its file."""

    heading: str
    body: str
    folded: bool = False
    href: str = ""


Block = Picture | Table | Text | Words
