"""What a section of a page is made of."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from matplotlib.figure import Figure


@dataclass(frozen=True)
class Picture:
    """A figure; ``name`` is its file's stem, ``alt`` says it to who cannot see it.

    ``files`` are beside the page, to download. One with a ``summary`` is folded behind it.
    """

    name: str
    figure: Figure
    alt: str
    caption: str
    heading: str = ""
    form: Literal["svg", "png"] = "svg"
    files: tuple[str, ...] = ()
    summary: str = ""


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
class Flicker:
    """Images of one place, shown in turn: (what it is, figure); ``alt`` says what is seen."""

    name: str
    layers: Sequence[tuple[str, Figure]]
    alt: str
    heading: str
    caption: str = ""


@dataclass(frozen=True)
class Page:
    """A page of its own, ``figures/<name>.html``, and the words of the link to it."""

    name: str
    html: Callable[[], str]
    text: str
    note: str = ""


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


Block = Picture | Table | Text | Words | Flicker | Page
