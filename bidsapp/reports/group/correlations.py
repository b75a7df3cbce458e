"""Sentences on the correlation of two parameters: numbers in, words out."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite, isnan, sqrt
from typing import Literal

from bidsapp.reports.group.wording import FURTHER_DIGITS, p_words
from bidsapp.reports.page.numbers import count_of, format_interval, format_number, join_words
from bidsapp.study.statistics.values import t_quantile
from bidsapp.study.tables import ALPHA

FEW_PAIRS = 10
"""Number of lesions below which a sentence states how strong a correlation would have to be."""

Kind = Literal["both", "line", "ranks", "opposite", "neither", "no test"]


@dataclass(frozen=True)
class Association:
    """A correlation of two measures: Pearson's r and Spearman's, with their p values.

    Attributes
    ----------
    where : str
        Such as "at baseline".
    n : int
        Number of lesions.
    r, p, spearman, p_spearman : float
        NaN if there is none.
    note : str
        Why there is none.
    """

    where: str
    n: int
    r: float
    p: float
    spearman: float
    p_spearman: float
    note: str = ""

    @property
    def kind(self) -> Kind:
        """Which of the two correlations are significant, and whether their signs agree."""
        if isnan(self.r):
            return "no test"
        line, ranks = self.p < ALPHA, self.p_spearman < ALPHA
        if line and ranks:
            return "both" if self.r * self.spearman > 0 else "opposite"
        return "line" if line else "ranks" if ranks else "neither"


def correlation_words(y: str, x: str, found: Sequence[Association], of: str = "") -> list[str]:
    """Describe the correlation of two parameters on several occasions.

    Parameters
    ----------
    y, x : str
        Names of the parameters.
    found : sequence of Association
    of : str
        What of the parameters is correlated, such as "changes of"; the parameters themselves if
        empty.

    Returns
    -------
    sentences : list of str
        Significant correlations by sign, then those of which only one of the two is significant,
        then those of which neither is, then those that could not be tested.

    Examples
    --------
    >>> correlation_words("f", "vp", [Association("at baseline", 20, -0.996, 1e-9, -0.9, 0.001)])
    ['f and vp are negatively correlated at baseline (r = −0.996, p < 0.0001; Spearman −0.90, p = 0.001).']
    """  # noqa: E501
    pair = f"{y} and {x}"
    subject = f"{of[0].upper()}{of[1:]} {pair}" if of else pair
    sentences = []
    for sign, adverb in ((1, "positively"), (-1, "negatively")):
        both = [a for a in found if a.kind == "both" and sign * a.r > 0]
        line = [a for a in found if a.kind == "line" and sign * a.r > 0]
        ranks = [a for a in found if a.kind == "ranks" and sign * a.spearman > 0]
        if both:
            sentences.append(f"{subject} are {adverb} correlated {_places(both)}.")
        if line:
            sentences.append(
                f"{subject} are {adverb} correlated by Pearson's r, but not by ranks, "
                f"{_places(line)}: this may depend on single lesions."
            )
        if ranks:
            sentences.append(
                f"{subject} are {adverb} correlated by ranks, but not by Pearson's r, "
                f"{_places(ranks)}: the association may not be a straight line."
            )
    opposite = [a for a in found if a.kind == "opposite"]
    if opposite:
        sentences.append(
            f"Pearson's r and Spearman's correlation of {of or ''}{' ' if of else ''}{pair} differ "
            f"in sign {_places(opposite)}."
        )
    return [*sentences, *_without_correlation(subject, found)]


def _without_correlation(subject: str, found: Sequence[Association]) -> list[str]:
    """Describe where there is no significant correlation, and where there is no test."""
    sentences = []
    neither = [a for a in found if a.kind == "neither"]
    if neither:
        sentences.append(
            f"{subject} are not significantly correlated {_places(neither)}."
            f"{_least_correlation(max(a.n for a in neither))}"
        )
    for note in dict.fromkeys(a.note for a in found if a.kind == "no test"):
        places = [a.where for a in found if a.kind == "no test" and a.note == note]
        sentences.append(f"{subject}, {join_words(places)}: {note}.")
    return sentences


def _places(found: Sequence[Association]) -> str:
    """Return the occasions with their correlations."""
    return join_words(
        [
            f"{a.where} (r = {format_correlation(a.r)}, {p_words(a.p)}; Spearman "
            f"{format_correlation(a.spearman)}, {p_words(a.p_spearman)})"
            for a in found
        ]
    )


def _least_correlation(n: int) -> str:
    """State how strong Pearson's r has to be in so few lesions; empty for many lesions."""
    if n >= FEW_PAIRS:
        return ""
    t = t_quantile(n - 2)
    least = format_number(t / sqrt(n - 2 + t**2), 3)
    return f" With no more than {count_of(n, 'lesion')}, p < {ALPHA:g} needs |r| > {least}."


def format_correlation(r: float) -> str:
    """Format a correlation; a correlation that is not perfect is not shown as 1.

    Examples
    --------
    >>> [format_correlation(r) for r in (0.62, -0.996, 0.99999, 1.0, 0.002, float("nan"))]
    ['0.62', '−0.996', '0.99999', '1.00', '0.002', '–']
    """
    digits = 2
    while abs(r) < 1 and abs(float(f"{r:.{digits}f}")) == 1 and digits < 2 + FURTHER_DIGITS:
        digits += 1
    return format_number(r, digits)


def within_words(y: str, x: str, r: float, interval: tuple[float, float], p: float) -> str:
    """Describe the correlation of two parameters within lesions.

    Examples
    --------
    >>> within_words("f", "vp", -0.4, (-0.89, 0.5), 0.3)
    'Within lesions, f and vp are not significantly correlated over time (repeated measures r = −0.40, 95 % interval −0.89 to 0.50, p = 0.30).'
    """  # noqa: E501
    sign = "positively" if r > 0 else "negatively"
    seen = f"{sign} correlated" if p < ALPHA else "not significantly correlated"
    limits = f", 95 % interval {format_interval(*interval, 2)}" if isfinite(interval[0]) else ""
    return (
        f"Within lesions, {y} and {x} are {seen} over time (repeated measures r = "
        f"{format_correlation(r)}{limits}, {p_words(p)})."
    )
