"""Sentences of the group page that are made from numbers: numbers in, words out.

Every sentence agrees with the table beside it for every sign, size, p value and number of lesions.
"""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite, isnan
from typing import Any

from bidsapp.reports.page.numbers import (
    NumberFormat,
    count_of,
    format_number,
    format_percent,
    format_pvalue,
    join_words,
)
from bidsapp.study.tables import ALPHA

FEW_IN_GROUP = 30
"""Number of lesions in the smaller group below which an interval of the area is called wide."""

FURTHER_DIGITS = 6
"""Most decimal places that are added where two numbers would look equal."""


def p_words(p: float) -> str:
    """Return a p value as part of a sentence.

    Examples
    --------
    >>> p_words(0.03), p_words(1e-9), p_words(float("nan"))
    ('p = 0.030', 'p < 0.0001', 'no test')
    """
    text = format_pvalue(p)
    return text if isnan(p) else f"p {text}" if text[0] in "<>" else f"p = {text}"


def change_words(a: float, b: float, p: float, times: tuple[str, str], form: NumberFormat) -> str:
    """Describe a change of a mean, with as many digits as show its direction.

    Parameters
    ----------
    a, b : float
        Earlier and later mean.
    p : float
    times : (str, str)
        The two time points.
    form : NumberFormat

    Examples
    --------
    >>> form = NumberFormat("vp", "%", 100, 1)
    >>> change_words(0.037, 0.021, 0.0002, ("baseline", "1 month"), form)
    'fell from 3.7 to 2.1 % between baseline and 1 month (p = 0.0002)'
    >>> change_words(0.0371, 0.0373, 0.03, ("baseline", "1 month"), form)
    'rose from 3.71 to 3.73 % between baseline and 1 month (p = 0.030)'
    """
    before, after = distinct(a * form.scale, b * form.scale, form.digits)
    verb = "rose" if b > a else "fell" if b < a else "was unchanged"
    return (
        f"{verb} from {before} to {after} {form.unit} between {' and '.join(times)} ({p_words(p)})"
    )


def distinct(a: float, b: float, digits: int) -> tuple[str, str]:
    """Format two numbers with as many digits as are needed to show that they differ.

    Examples
    --------
    >>> distinct(3.71, 3.73, 1), distinct(3.7, 2.1, 1), distinct(2.0, 2.0, 1)
    (('3.71', '3.73'), ('3.7', '2.1'), ('2.0', '2.0'))
    """
    further = range(digits, digits + FURTHER_DIGITS + 1)
    pairs = [(format_number(a, n), format_number(b, n)) for n in further]
    return next((pair for pair in pairs if pair[0] != pair[1]), pairs[0])


def multiplicity_words(count: int) -> str:
    """State how many tests were made, and what that means for small p values.

    Examples
    --------
    >>> multiplicity_words(1)
    '1 paired test was performed.'
    """
    if count < 2:
        return f"{count_of(count, 'paired test')} {'was' if count == 1 else 'were'} performed."
    return (
        f"{count} paired tests were performed; about one in twenty has p < 0.05 by chance alone. "
        "The full table includes p values after Holm's correction."
    )


def responder_words(
    name: str, responders: float, others: float, p: float, counts: tuple[int, int]
) -> str:
    """Compare the mean changes of responders and of other lesions, in percent.

    Parameters
    ----------
    name : str
        The parameter.
    responders, others : float
        Mean changes.
    p : float
    counts : (int, int)
        Numbers of lesions.

    Examples
    --------
    >>> responder_words("vp", -58.3, 12.0, 0.01, (6, 9))
    'The early change of vp was lower in responders (−58.3 %, n = 6) than in other lesions (+12.0 %, n = 9; p = 0.010).'
    """  # noqa: E501
    first, second = distinct_percent(responders, others)
    if p < ALPHA:
        side = "lower" if responders < others else "higher"
        return (
            f"The early change of {name} was {side} in responders ({first}, n = {counts[0]}) than "
            f"in other lesions ({second}, n = {counts[1]}; {p_words(p)})."
        )
    return (
        f"{name}: no significant difference between the early change of responders ({first}, n = "
        f"{counts[0]}) and of other lesions ({second}, n = {counts[1]}; {p_words(p)})."
    )


def distinct_percent(a: float, b: float) -> tuple[str, str]:
    """Format two changes in percent, with as many digits as show that they differ."""
    if isnan(a) or isnan(b):
        return format_percent(a), format_percent(b)
    for digits in range(1, 2 + FURTHER_DIGITS):
        texts = [f"{format_number(x, digits, sign=True)} %" for x in (a, b)]
        if texts[0] != texts[1]:
            return texts[0], texts[1]
    return format_percent(a), format_percent(b)


@dataclass(frozen=True)
class Area:
    """The area under a ROC curve of an early change, with its p value and the corrected one."""

    name: str
    area: float
    p: float
    p_holm: float

    def words(self) -> str:
        """Describe in which direction the change of responders differs."""
        side = "a lower" if self.area > 0.5 else "a higher"
        shown = format_number(self.area, 2)
        return f"{side} change of {self.name} (area {shown}, {p_words(self.p_holm)})"


def prediction_words(areas: Sequence[Area]) -> list[str]:
    """Describe which early changes predict the response, before and after Holm's correction.

    Examples
    --------
    >>> prediction_words([Area("vp, baseline – 1 month", 0.9, 0.01, 0.02)])
    ["After Holm's correction, a response is predicted by a lower change of vp, baseline – 1 month (area 0.90, p = 0.020)."]
    """  # noqa: E501
    found = [area for area in areas if area.p_holm < ALPHA]
    alone = [area for area in areas if area.p < ALPHA and not area.p_holm < ALPHA]
    sentences = []
    if found:
        which = join_words([area.words() for area in found])
        sentences.append(f"After Holm's correction, a response is predicted by {which}.")
    else:
        sentences.append(
            "No early change predicts the response better than chance after Holm's correction."
        )
    if alone:
        which = join_words([f"{area.name} ({p_words(area.p)})" for area in alone])
        sentences.append(f"Only without correction, p < {ALPHA:g}: {which}.")
    return sentences


def prediction_caveat(fewest: int) -> str:
    """State how far the ROC curves can be relied on, given the size of the smaller group."""
    wide = ""
    if fewest < FEW_IN_GROUP:
        wide = f"With {count_of(fewest, 'lesion')} in the smaller group, the intervals are wide. "
    return (
        f"{wide}The analysis treats the lesions of a patient as independent, and each curve is "
        "evaluated on the data from which it was derived: it is a hypothesis for another study, "
        "not a rule."
    )


_OTHER_TESTS: Mapping[str, str] = {
    "p_holm": "after Holm's correction",
    "p_wilcoxon": "by ranks",
    "p_signflip": "with whole patients",
    "p_without_max": "without one patient",
}
"""Tests of the same change by other methods: column of their p value, and words."""


def is_robust(pvalues: Mapping[Hashable, Any]) -> bool:
    """Return whether a change is significant by all other methods."""
    return all(pvalues[name] < ALPHA for name in _OTHER_TESTS)


def fragility_words(what: str, pvalues: Mapping[Hashable, Any], lesions: int, patients: int) -> str:
    """Describe by which other methods a change is not significant, or could not be tested.

    Parameters
    ----------
    what : str
        The parameter, and the time points.
    pvalues : mapping of str to float
        By the column of the table; NaN without a test.
    lesions, patients : int
        Their numbers. With fewer than six, no test of signs has p < 0.05.

    Examples
    --------
    >>> pvalues = {"p_holm": 0.08, "p_wilcoxon": 0.01, "p_signflip": float("nan"),
    ...            "p_without_max": 0.2}
    >>> fragility_words("vp, baseline – 1 week", pvalues, 12, 2)
    "vp, baseline – 1 week, is not significant after Holm's correction and without one patient, and could not be tested with whole patients."
    """  # noqa: E501
    numbers = {"p_wilcoxon": (lesions, "lesions"), "p_signflip": (patients, "patients")}
    lost, untested = [], []
    for name, words in _OTHER_TESTS.items():
        if isnan(pvalues[name]):
            untested.append(words)
        elif pvalues[name] >= ALPHA:
            count, unit = numbers.get(name, (0, ""))
            impossible = count > 0 and 2.0 ** (1 - count) >= ALPHA
            lost.append(f"{words} (impossible with {count} {unit})" if impossible else words)
    parts = [f"is not significant {join_words(lost)}"] if lost else []
    parts += [f"could not be tested {join_words(untested)}"] if untested else []
    return f"{what}, {', and '.join(parts)}."


def count_words(count: int, total: int, thing: str, what: str) -> str:
    """State how many of several things are so.

    Examples
    --------
    >>> count_words(1, 18, "series", "outlying"), count_words(0, 1, "series", "outlying")
    ('1 of 18 series is outlying.', 'None of 1 series is outlying.')
    """
    return f"{count or 'None'} of {total} {thing} {'are' if count > 1 else 'is'} {what}."


def between_days(days: Sequence[float]) -> str:
    """Return when the first and the last of several events occurred; empty without a day.

    Examples
    --------
    >>> between_days([20, 92]), between_days([20]), between_days([20, 20])
    (', first on day 20, at the latest on day 92', ', on day 20', ', all on day 20')
    """
    known = [format_number(day, 0) for day in sorted(days) if isfinite(day)]
    if not known:
        return ""
    if len(known) == 1:
        return f", on day {known[0]}"
    if known[0] == known[-1]:
        return f", all on day {known[0]}"
    return f", first on day {known[0]}, at the latest on day {known[-1]}"


def disagreement_words(tested: int, different: Sequence[str]) -> str:
    """State whether the mixed model and the paired t test agree.

    Parameters
    ----------
    tested : int
        Number of changes tested by both.
    different : sequence of str
        Those on which the tests disagree.

    Examples
    --------
    >>> disagreement_words(1, []), disagreement_words(15, [])[-35:]
    ('Mixed model and paired t test agree on the only comparison.', 't test agree on all 15 comparisons.')
    """  # noqa: E501
    if not tested:
        return "There are too few values for a mixed model."
    if different:
        return f"Mixed model and paired t test disagree on {join_words(different)}."
    what = "the only comparison" if tested == 1 else f"all {tested} comparisons"
    return f"Mixed model and paired t test agree on {what}."


def coefficient_words(
    name: str, term: str, estimate: float, unit: str, digits: int, compared: str, p: float
) -> str:
    """Describe a significant coefficient of the model over all visits.

    Parameters
    ----------
    name : str
        The parameter.
    term : str
        What the coefficient is, such as "change in 30 days".
    estimate : float
        In ``unit``.
    unit : str
        Empty if there is none.
    digits : int
        Decimal places.
    compared : str
        The covariate and its groups, if the coefficient is a difference between groups.
    p : float

    Examples
    --------
    >>> coefficient_words("f", "change in 30 days", 0.012, "", 4, "", 0.003)
    'f, change in 30 days: +0.0120 (p = 0.003)'
    >>> coefficient_words("vp", "level", -0.4, "%", 2, "sex F - M", 0.01)
    'vp, level, difference by sex F - M: −0.40 % (p = 0.010)'
    """
    of = f", difference by {compared}" if compared else ""
    size = format_number(estimate, digits, sign=True)
    shown = f" {unit}" if unit else ""
    return f"{name}, {term}{of}: {size}{shown} ({p_words(p)})"


def response_words(lesions: int, cr: int, pr: int, sd: int, pd: int) -> str:
    """State how many lesions responded, were stable or progressed.

    Examples
    --------
    >>> response_words(3, 1, 1, 1, 0)
    'Of 3 lesions, 3 have a volume at baseline and at a follow-up: 2 responded (1 completely), 1 remained stable, 0 progressed.'
    """  # noqa: E501
    followed = cr + pr + sd + pd
    words = (
        f"Of {count_of(lesions, 'lesion')}, {followed or 'none'} "
        f"{'have' if followed > 1 else 'has'} a volume at baseline and at a follow-up"
    )
    if not followed:
        return f"{words}."
    return f"{words}: {cr + pr} responded ({cr} completely), {sd} remained stable, {pd} progressed."


def followup_words(days: Sequence[float]) -> str:
    """Describe the time to the last follow-up of several participants.

    Examples
    --------
    >>> followup_words([92, 117]), followup_words([92])
    ('Mean time to follow-up: 104 days (92 to 117; 2 participants).', 'Time to follow-up: 92 days (1 participant).')
    """  # noqa: E501
    mean = format_number(sum(days) / len(days), 0)
    people = count_of(len(days), "participant")
    if len(days) == 1:
        return f"Time to follow-up: {mean} days ({people})."
    spread = " to ".join(format_number(day, 0) for day in (min(days), max(days)))
    return f"Mean time to follow-up: {mean} days ({spread}; {people})."
