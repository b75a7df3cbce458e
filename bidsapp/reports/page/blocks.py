"""Blocks, the elements of the sections of a page."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from matplotlib.figure import Figure


@dataclass(frozen=True)
class Picture:
    """A figure; ``name`` is the stem of its file, ``alt`` its alternative text.

    ``form`` is that of its file; the page contains a PNG as lossless WebP. ``files`` can be
    downloaded. A figure with a ``summary`` is collapsed under it.
    """

    name: str
    figure: Figure
    alt: str
    caption: str
    heading: str = ""
    form: Literal["svg", "png", "jpeg"] = "svg"
    files: tuple[str, ...] = ()
    summary: str = ""


Cell = str | tuple[str, ...]
"""One line of text, or several: a value, then smaller remarks."""


@dataclass(frozen=True)
class Table:
    """A table; the first cell of each row is its heading.

    ``text`` are the columns of text, which are left-aligned; ``bold`` are highlighted cells, as
    (row, column); ``files`` can be downloaded. A table with a ``summary`` is collapsed under it; a
    row heading that is a key of ``hrefs`` links to a page. ``total`` is the number of rows of the
    whole table if only the first ones are shown.
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
    total: int = 0


@dataclass(frozen=True)
class Flicker:
    """Images of the same region, shown alternately: (label, figure); ``alt`` describes them."""

    name: str
    layers: Sequence[tuple[str, Figure]]
    alt: str
    heading: str
    caption: str = ""


@dataclass(frozen=True)
class Page:
    """A separate page, ``figures/<name>.html``, and the text of the link to it."""

    name: str
    html: Callable[[], str]
    text: str
    note: str = ""


@dataclass(frozen=True)
class Words:
    """The findings of a section in sentences, and their limitations."""

    sentences: Sequence[str]
    caveat: str = ""


@dataclass(frozen=True)
class Text:
    """A longer text with line breaks kept; can be collapsed; ``href`` is its file."""

    heading: str
    body: str
    folded: bool = False
    href: str = ""


@dataclass(frozen=True)
class Fold:
    """Blocks that are collapsed under a line of text."""

    summary: str
    blocks: Sequence["Block"]


@dataclass(frozen=True)
class RatingForm:
    """A form for ratings: of the lesions (number -> title), as seen in the results of a run."""

    participant: str
    run: str
    choices: Sequence[str]
    lesions: Mapping[int, str]


Block = Picture | Table | Text | Words | Flicker | Page | RatingForm | Fold
