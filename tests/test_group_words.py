"""Sentences of the group page: true for every sign, size, p value and number of lesions."""

import re
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from bidsapp.reports.group import correlations, wording
from bidsapp.reports.group.correlations import Association, correlation_words, format_correlation
from bidsapp.reports.page.numbers import NumberFormat, format_number, format_pvalue
from bidsapp.study.statistics.agreement import rank_correlation
from bidsapp.study.tables import ALPHA

NAN = float("nan")
BELOW, ABOVE = np.nextafter(ALPHA, 0), np.nextafter(ALPHA, 1)
PERCENT = NumberFormat("vp", "%", 100, 1)


def words_of(r, p, spearman, p_spearman, n=20, note="", of=""):
    found = [Association("at baseline", n, r, p, spearman, p_spearman, note)]
    return " ".join(correlation_words("f", "vp", found, of))


@pytest.mark.parametrize("r", [-1.0, -0.996, -0.5, -0.04, 0.04, 0.5, 0.996, 1.0])
@pytest.mark.parametrize("spearman", [-0.9, -0.004, 0.004, 0.9])
@pytest.mark.parametrize("p", [0.0, 0.003, BELOW, ALPHA, ABOVE, 1.0])
@pytest.mark.parametrize("p_spearman", [0.003, BELOW, ALPHA, 0.9])
def test_a_correlation_is_described_as_the_table_shows_it(r, spearman, p, p_spearman):
    """Sign and significance of both correlations, whichever is significant."""
    text = words_of(r, p, spearman, p_spearman)
    line, ranks = p < ALPHA, p_spearman < ALPHA
    assert ("not significantly correlated" in text) == (not line and not ranks)
    assert ("but not by ranks" in text) == (line and not ranks)
    assert ("but not by Pearson's r" in text) == (ranks and not line)
    assert ("differ in sign" in text) == (line and ranks and r * spearman < 0)
    decisive = r if line else spearman
    described = (line or ranks) and "differ in sign" not in text
    assert ("positively" in text) == (described and decisive > 0)
    assert ("negatively" in text) == (described and decisive < 0)
    assert f"r = {format_correlation(r)}, " in text
    assert f"Spearman {format_correlation(spearman)}, " in text


@pytest.mark.parametrize(("n", "least"), [(3, "0.997"), (4, "0.950"), (9, "0.666"), (10, "")])
def test_few_lesions_are_stated_with_the_correlation_that_they_need(n, least):
    """The least significant r is that of Student's t; for many lesions it is not stated."""
    text = words_of(0.2, 0.8, 0.3, 0.7, n=n)
    assert (f"With no more than {n} lesions, p < 0.05 needs |r| > {least}." in text) == bool(least)
    if least:
        for r, significant in ((float(least) + 0.0006, True), (float(least) - 0.0006, False)):
            t = r * np.sqrt((n - 2) / (1 - r**2))
            assert (2 * stats.t.sf(t, n - 2) < ALPHA) == significant


def test_occasions_are_grouped_and_none_is_lost():
    """A correlation of one occasion is not that of all; the reason of a missing one is given."""
    found = [
        Association("at baseline", 20, 0.62, 0.003, 0.62, 0.003),
        Association("at 1 week", 20, -0.62, 0.003, -0.62, 0.003),
        Association("at 1 month", 20, 0.1, 0.7, 0.62, 0.003),
        Association("at 1 year", 2, NAN, NAN, NAN, NAN, "only 2 complete pairs: no test"),
    ]
    text = " ".join(correlation_words("f", "vp", found))
    assert "f and vp are positively correlated at baseline (r = 0.62, p = 0.003;" in text
    assert "f and vp are negatively correlated at 1 week" in text
    assert "by ranks, but not by Pearson's r, at 1 month" in text
    assert "f and vp, at 1 year: only 2 complete pairs: no test." in text
    assert "not significantly" not in text


@pytest.mark.parametrize("of", ["", "changes of"])
def test_values_and_their_changes_are_named(of):
    """The subject of a sentence is what is correlated."""
    for text in (words_of(0.9, 0.01, 0.9, 0.01, of=of), words_of(0.1, 0.9, 0.1, 0.9, of=of)):
        assert text.startswith("Changes of f and vp are" if of else "f and vp are")
    assert ("correlation of changes of f" in words_of(0.9, 0.01, -0.9, 0.01, of=of)) == bool(of)


@given(st.floats(-1, 1))
def test_a_correlation_is_shown_as_0_or_1_only_if_it_is(r):
    """No correlation other than 0 and 1 is rounded to them."""
    shown = float(format_correlation(r).replace("−", "-"))
    assert (abs(shown) == 1) == (abs(r) > 1 - 5e-9)
    assert (shown == 0) == (abs(r) < 1e-12)
    assert shown * r >= 0


@pytest.mark.parametrize("r", [-0.9, -0.001, 0.001, 0.9])
@pytest.mark.parametrize("p", [0.001, BELOW, ALPHA, 0.9])
def test_correlation_within_lesions(r, p):
    """Sign only of a significant correlation; no interval where there is none."""
    text = correlations.within_words("f", "vp", r, (r - 0.1, r + 0.1), p)
    assert ("not significantly correlated" in text) == (p >= ALPHA)
    assert ("positively" in text, "negatively" in text) == (
        p < ALPHA and r > 0,
        p < ALPHA and r < 0,
    )
    assert "95 % interval" in text
    assert "interval" not in correlations.within_words("f", "vp", r, (NAN, NAN), p)


@pytest.mark.parametrize(
    ("a", "b", "words"),
    [
        (0.037, 0.021, "fell from 3.7 to 2.1 %"),
        (0.021, 0.037, "rose from 2.1 to 3.7 %"),
        (0.0371, 0.0373, "rose from 3.71 to 3.73 %"),
        (0.0373, 0.0371, "fell from 3.73 to 3.71 %"),
        (0.0004, 0.0, "fell from 0.04 to 0.0 %"),
        (-0.02, 0.01, "rose from −2.0 to 1.0 %"),
        (-0.02, -0.03, "fell from −2.0 to −3.0 %"),
        (0.00001, 0.00002, "rose from 0.001 to 0.002 %"),
        (0.02, 0.02, "was unchanged from 2.0 to 2.0 %"),
    ],
)
def test_a_change_has_the_direction_and_digits_of_its_means(a, b, words):
    """Two means that differ are shown as different, and nothing else than zero as zero."""
    text = wording.change_words(a, b, 0.01, ("baseline", "1 month"), PERCENT)
    assert text == f"{words} between baseline and 1 month (p = 0.010)"


@given(st.floats(-1e3, 1e3), st.floats(-1e3, 1e3), st.integers(0, 4))
def test_numbers_that_differ_look_different(a, b, digits):
    """Down to six further decimal places."""
    first, second = wording.distinct(a, b, digits)
    if abs(a - b) > 10.0 ** -(digits + 6):
        assert first != second


@pytest.mark.parametrize("p", [1e-12, 0.00004, 0.00005, 0.001, 0.0099999, BELOW, 0.04999])
def test_a_significant_p_value_is_not_shown_as_the_limit(p):
    """0.0499 is not 0.050, and no p value is 0."""
    shown = float(re.sub("[<> ]", "", format_pvalue(p)))
    assert 0 < shown < ALPHA or p == BELOW
    assert format_pvalue(0.05) == "0.050"
    assert format_pvalue(0.9999) == "> 0.99"
    assert wording.p_words(0.9999) == "p > 0.99"


@given(st.floats(-1e6, 1e6), st.integers(0, 4), st.booleans())
def test_only_zero_is_shown_as_zero(value, digits, sign):
    """A number keeps its sign; rounding errors of a difference are zero."""
    shown = float(format_number(value, digits, sign).replace("−", "-"))
    assert (shown == 0) == (abs(value) < 1e-12)
    assert shown * value >= 0


@pytest.mark.parametrize("responders", [-58.3, -0.04, 0.0, 12.0])
@pytest.mark.parametrize("others", [-60.0, -0.03, 3.0])
@pytest.mark.parametrize("p", [0.01, BELOW, ALPHA, 0.7])
def test_responders_and_others(responders, others, p):
    """The side of the difference, also if both fell or both rose."""
    text = wording.responder_words("vp", responders, others, p, (6, 9))
    assert ("no significant difference" in text) == (p >= ALPHA)
    assert ("was lower in responders" in text) == (p < ALPHA and responders < others)
    assert ("was higher in responders" in text) == (p < ALPHA and responders > others)
    shown = [float(x.replace("−", "-")) for x in re.findall(r"\(([+−]?[0-9.]+) %", text)]
    assert (shown[0] < shown[1]) == (responders < others)
    assert "n = 6" in text
    assert "n = 9" in text


@pytest.mark.parametrize("area", [0.0, 0.1, 0.49, 0.51, 0.9, 1.0])
@pytest.mark.parametrize(("p", "p_holm"), [(0.001, 0.01), (0.01, ALPHA), (0.04, 0.6), (0.2, 1.0)])
def test_prediction_of_the_response(area, p, p_holm):
    """The direction of the change, and whether the correction changes the conclusion."""
    text = " ".join(wording.prediction_words([wording.Area("vp", area, p, p_holm)]))
    found = p_holm < ALPHA
    assert ("is predicted by" in text) == found
    assert ("No early change predicts" in text) == (not found)
    assert ("Only without correction" in text) == (p < ALPHA and not found)
    assert ("a lower change" in text, "a higher change" in text) == (
        found and area > 0.5,
        found and area < 0.5,
    )


@pytest.mark.parametrize(("fewest", "wide"), [(1, True), (29, True), (30, False), (500, False)])
def test_intervals_are_called_wide_only_if_a_group_is_small(fewest, wide):
    """One lesion is singular."""
    text = wording.prediction_caveat(fewest)
    assert ("intervals are wide" in text) == wide
    assert "1 lesions" not in text


@pytest.mark.parametrize("p", [0.001, BELOW, ALPHA, 0.9, NAN])
@pytest.mark.parametrize("name", ["p_holm", "p_wilcoxon", "p_signflip", "p_without_max"])
def test_a_missing_test_is_not_called_insignificant(name, p):
    """By each other method: significant, not significant, or not tested."""
    pvalues = dict.fromkeys(["p_holm", "p_wilcoxon", "p_signflip", "p_without_max"], 0.01)
    pvalues[name] = p
    assert wording.is_robust(pvalues) == (p < ALPHA)
    if not p < ALPHA:
        text = wording.fragility_words("vp, 1 week", pvalues, 20, 15)
        assert ("is not significant" in text) == (p >= ALPHA)
        assert ("could not be tested" in text) == np.isnan(p)


@pytest.mark.parametrize(("count", "possible"), [(2, False), (5, False), (6, True), (20, True)])
def test_tests_of_signs_that_cannot_be_significant_are_named(count, possible):
    """2 / 2^5 exceeds 0.05, and 2 / 2^6 does not."""
    pvalues = {"p_holm": 0.01, "p_wilcoxon": 0.06, "p_signflip": 0.06, "p_without_max": 0.01}
    text = wording.fragility_words("vp", pvalues, count, count)
    assert ("impossible with" in text) == (not possible)


@pytest.mark.parametrize(
    ("tested", "different", "words"),
    [
        (0, [], "There are too few values for a mixed model."),
        (1, [], "Mixed model and paired t test agree on the only comparison."),
        (15, [], "Mixed model and paired t test agree on all 15 comparisons."),
        (15, ["vp", "ve"], "Mixed model and paired t test disagree on vp and ve."),
    ],
)
def test_agreement_of_the_mixed_model(tested, different, words):
    assert wording.disagreement_words(tested, different) == words


@pytest.mark.parametrize("estimate", [-12.0, -0.0004, 0.0004, 12.0])
@pytest.mark.parametrize("unit", ["", "%"])
def test_a_coefficient_keeps_sign_and_unit(estimate, unit):
    """A small coefficient is not shown as zero."""
    text = wording.coefficient_words("f", "change in 30 days", estimate, unit, 2, "", 0.01)
    assert text.startswith(f"f, change in 30 days: {'+' if estimate > 0 else '−'}")
    assert (" % (p" in text) == (unit == "%")
    assert "0.00 " not in text
    compared = wording.coefficient_words("f", "level", estimate, unit, 2, "sex F - M", 0.01)
    assert compared.startswith("f, level, difference by sex F - M: ")


@pytest.mark.parametrize(
    ("counts", "words"),
    [
        ((0, 0, 0, 0), "Of 5 lesions, none has a volume at baseline and at a follow-up."),
        ((1, 0, 0, 0), "Of 5 lesions, 1 has a volume"),
        (
            (1, 2, 1, 1),
            "5 have a volume at baseline and at a follow-up: 3 responded (1 completely)",
        ),
    ],
)
def test_responses_are_counted(counts, words):
    assert words in wording.response_words(5, *counts)


@pytest.mark.parametrize(
    ("days", "words"),
    [
        ([], ""),
        ([NAN], ""),
        ([0.4], ", on day 0.4"),
        ([-3.0, 20.0], ", first on day −3, at the latest on day 20"),
        ([92.0, 20.0, NAN], ", first on day 20, at the latest on day 92"),
        ([20.0, 20.0], ", all on day 20"),
    ],
)
def test_days_of_progressions(days, words):
    assert wording.between_days(days) == words


@pytest.mark.parametrize(
    ("count", "total", "words"),
    [(0, 9, "None of 9 series is"), (1, 9, "1 of 9 series is"), (2, 9, "2 of 9 series are")],
)
def test_counts_agree_with_their_verb(count, total, words):
    assert wording.count_words(count, total, "series", "outlying") == f"{words} outlying."


@pytest.mark.parametrize(("count", "chance"), [(0, False), (1, False), (2, True), (15, True)])
def test_the_number_of_tests(count, chance):
    """One test has no multiple testing."""
    text = wording.multiplicity_words(count)
    assert ("by chance alone" in text) == chance
    assert text.startswith(f"{count} paired test{'' if count == 1 else 's'} ")


def test_follow_up_of_one_participant_has_no_range():
    assert wording.followup_words([92.0]) == "Time to follow-up: 92 days (1 participant)."
    assert "(0.4 to 92; 2 participants)" in wording.followup_words([0.4, 92.0])


@pytest.mark.parametrize("n", [3, 4, 5, 6, 7, 8])
def test_the_p_value_of_few_ranks_is_exact(n):
    """The same as that of scipy's permutation test; the least one is 2 / n!."""
    rng = np.random.default_rng(n)
    x, y = rng.normal(size=n), rng.integers(0, 4, n) + 0.5 * np.arange(n)
    observed = abs(stats.spearmanr(x, y).statistic)
    every = [abs(stats.spearmanr(x, order).statistic) for order in permutations(y)] if n < 7 else []
    if every:
        expected = np.mean(np.array(every) > observed - 1e-9)
        assert rank_correlation(x, y).pvalue == pytest.approx(expected)
    ordered = np.arange(float(n))
    assert rank_correlation(ordered, -(ordered**3)).pvalue == pytest.approx(
        2 / np.prod(ordered + 1)
    )
    assert rank_correlation(x, y).pvalue == rank_correlation(y, x).pvalue
