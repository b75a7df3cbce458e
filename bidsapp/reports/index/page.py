"""The index: a row per participant with thumbnail, response, quality and rating."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bidsapp.bids import documents
from bidsapp.bids.tables import read_table
from bidsapp.lesions.response import RESPONSES
from bidsapp.reports.index.card import Card, read_card
from bidsapp.reports.page.numbers import count_of, format_number
from bidsapp.reports.page.render import render, script, write_page

_QUALITY = {"good": "good", "warn": "warnings", "bad": "failures", "": "not known"}
"""Tone of a verdict -> quality as displayed, from the best to the worst."""

_RATINGS = ("accept", "repeat", "exclude")
"""From the best to the worst."""


@dataclass(frozen=True)
class Row:
    """A participant as the template shows it; of each text, with its place in the order."""

    label: str
    has_page: bool
    thumbnail: str
    sessions: str
    lesions: str
    last_day: str
    rano: str
    change: str
    responses: str
    tone: str
    quality: str
    verdict: str
    rating: str
    rated: str

    @property
    def rano_order(self) -> int:
        """Place of the response in the order of `RESPONSES`."""
        return RESPONSES.index(self.rano) if self.rano in RESPONSES else len(RESPONSES)

    @property
    def quality_order(self) -> int:
        """Place of the quality, the best first."""
        return list(_QUALITY).index(self.tone)

    @property
    def rating_order(self) -> int:
        """Place of the strictest rating, the best first."""
        return _RATINGS.index(self.rating) if self.rating in _RATINGS else len(_RATINGS)


def write_index(output_dir: Path) -> Path:
    """Write ``index.html`` from the summaries in an output folder.

    Parameters
    ----------
    output_dir : pathlib.Path

    Returns
    -------
    page : pathlib.Path

    Raises
    ------
    NotWritable
        If the page cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     Path(folder, "sub-01").mkdir()
    ...     "sub-01" in write_index(Path(folder)).read_text(encoding="utf-8")
    True
    """
    page = documents.INDEX_PAGE.path(output_dir)
    write_page(page, build_index(output_dir))
    return page


def build_index(output_dir: Path) -> str:
    """Return the index as HTML.

    Parameters
    ----------
    output_dir : pathlib.Path
        Participants without a summary, from older runs, are listed without details.

    Returns
    -------
    html : str
    """
    ratings = _read_ratings(output_dir)
    pages = {page.stem for page in documents.PARTICIPANT_PAGE.find(output_dir)}
    labels = documents.participants_in(output_dir)
    cards = [read_card(output_dir, label) for label in labels]
    rows = [_row(card, card.participant in pages, ratings or {}) for card in cards]
    return render(
        "index.html.j2",
        rows=rows,
        lead=summary_words(cards),
        without=sum(card.sessions is None for card in cards),
        choices=_choices(rows, rated=ratings is not None),
        rated=ratings is not None,
        group=documents.GROUP_PAGE.path(output_dir).exists(),
        script=script("sort.js", "index.js"),
    )


def _read_ratings(output_dir: Path) -> dict[str, list[tuple[str, str]]] | None:
    """Return lesion and rating of every rating by participant; None if there is no table."""
    path = documents.GROUP_TABLE.path(output_dir, table="ratings")
    if not path.exists():
        return None
    found: dict[str, list[tuple[str, str]]] = {}
    for row in read_table(path, ("participant_id", "lesion", "rating")):
        found.setdefault(row["participant_id"], []).append((row["lesion"], row["rating"]))
    return found


def _row(card: Card, has_page: bool, ratings: Mapping[str, Sequence[tuple[str, str]]]) -> Row:
    """Return the row of a participant."""
    own = ratings.get(card.participant, ())
    strictest = max((r for _, r in own if r in _RATINGS), key=_RATINGS.index, default="")
    day, change = card.last_day, card.diameter_change
    return Row(
        label=card.participant,
        has_page=has_page,
        thumbnail=card.thumbnail,
        sessions="–" if card.sessions is None else str(card.sessions),
        lesions="–" if card.lesions is None else str(card.lesions),
        last_day="–" if day is None else format_number(day, 0),
        rano=card.rano or "–",
        change="" if change is None else f"{format_number(change, 0, sign=True)} %",
        responses=response_counts(list(card.responses.values())),
        tone=card.tone,
        quality=_QUALITY[card.tone],
        verdict=card.verdict,
        rating=strictest or "–",
        rated=", ".join(f"lesion {lesion}: {rating}" for lesion, rating in own),
    )


def response_counts(categories: Sequence[str]) -> str:
    """Return the number of lesions of each category, the best response first.

    Examples
    --------
    >>> response_counts(["SD", "PR", "SD"]), response_counts([])
    ('1 PR, 2 SD', '–')
    """
    counts = Counter(categories)
    return ", ".join(f"{counts[name]} {name}" for name in RESPONSES if counts[name]) or "–"


def summary_words(cards: Sequence[Card]) -> list[str]:
    """Return the counts above the table: participants, and the last response of the patients.

    Examples
    --------
    >>> summary_words([Card("sub-01", rano="PR"), Card("sub-02", rano="PR"), Card("sub-03")])
    ['3 participants', 'RANO-BM at the last assessment: 2 PR, 1 without assessment']
    """
    words = [count_of(len(cards), "participant")]
    known = [card.rano for card in cards if card.rano]
    if known:
        without = len(cards) - len(known)
        more = f", {without} without assessment" if without else ""
        words.append(f"RANO-BM at the last assessment: {response_counts(known)}{more}")
    return words


def _choices(rows: Sequence[Row], *, rated: bool) -> dict[str, list[str]]:
    """Return the values of each filter that occur, in their order."""
    found = {
        "Response": [(row.rano_order, row.rano) for row in rows],
        "Quality": [(row.quality_order, row.quality) for row in rows],
    }
    if rated:
        found["Rating"] = [(row.rating_order, row.rating) for row in rows]
    return {name: [text for _, text in sorted(set(pairs))] for name, pairs in found.items()}
