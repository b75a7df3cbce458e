"""Statistics: textbook values, properties of each test, and the reason where there is no test."""

import csv
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from bidsapp.errors import BadInput
from bidsapp.lesions.response import relative_change, response_category
from bidsapp.study.statistics import (
    paired_test,
    regression,
    regression_band,
    summary,
    unpaired_test,
)

CLASSIC = Path(__file__).parent / "data" / "stats_classic"
NAN = float("nan")
values = arrays(np.float64, st.integers(4, 12), elements=st.floats(-100, 100, width=32))


def classic(name: str) -> list[dict[str, str]]:
    with (CLASSIC / f"{name}.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


def column(rows: list[dict[str, str]], name: str, **chosen: str) -> list[float]:
    return [float(r[name]) for r in rows if all(r[k] == v for k, v in chosen.items())]


def anorexia(treatment: str) -> tuple[list[float], list[float]]:
    rows = classic("anorexia")
    return column(rows, "Postwt", Treat=treatment), column(rows, "Prewt", Treat=treatment)


@pytest.mark.parametrize(
    ("pair", "t", "df", "p"),
    [
        ([column(classic("sleep"), "extra", group=g) for g in "12"], -4.0621, 9, 0.002833),
        (anorexia("FT"), 4.1849, 16, 0.0007003),
        (anorexia("CBT"), 2.2156, 28, 0.03502),
        (anorexia("Cont"), -0.2872, 25, 0.7763),
        ([column(classic("immer"), y) for y in ("Y1", "Y2")], 3.3240, 29, 0.002413),
        ([column(classic("cd4"), y) for y in ("baseline", "oneyear")], -4.4908, 19, 0.0002504),
    ],
    ids=["sleep", "anorexia-FT", "anorexia-CBT", "anorexia-Cont", "immer", "cd4"],
)
def test_paired_test_gives_the_published_numbers(pair, t, df, p):
    """R's ``t.test(a, b, paired = TRUE)`` on published data, to every printed digit."""
    result = paired_test(*pair)
    assert result.statistic == pytest.approx(t, abs=5e-5)
    assert (result.df, result.n, result.note) == (df, df + 1, "")
    assert result.pvalue == pytest.approx(p, rel=2e-4)


def test_paired_test_gives_the_published_interval():
    """R's help page of ``sleep``: mean difference -1.58, 95 % interval -2.4598858 to -0.7001142."""
    result = paired_test(*(column(classic("sleep"), "extra", group=g) for g in "12"))
    assert result.estimate == pytest.approx(-1.58)
    assert (result.low, result.high) == pytest.approx((-2.4598858, -0.7001142))


def test_unpaired_test_gives_the_published_numbers():
    """R on ``sleep``: Student t -1.8608, df 18, p 0.07919; Welch df 17.776, p 0.07939."""
    groups = [column(classic("sleep"), "extra", group=g) for g in "12"]
    student, welch = unpaired_test(*groups), unpaired_test(*groups, equal_variance=False)
    assert (student.statistic, student.df) == (pytest.approx(-1.8608, abs=5e-5), 18)
    assert student.pvalue == pytest.approx(0.07919, abs=5e-6)
    assert welch.df == pytest.approx(17.776, abs=5e-4)
    assert welch.pvalue == pytest.approx(0.07939, abs=5e-6)
    assert (student.a.n, student.b.n, student.n) == (10, 10, 20)


def test_regression_gives_anscombes_numbers():
    """Anscombe's first quartet: y = 3.00 + 0.500 x, r 0.816, t 4.24 on 9 degrees of freedom."""
    x = [10, 8, 13, 9, 11, 14, 6, 4, 12, 7, 5]
    y = [8.04, 6.95, 7.58, 8.81, 8.33, 9.96, 7.24, 4.26, 10.84, 4.82, 5.68]
    line = regression(x, y)
    assert line.intercept == pytest.approx(3.0001, abs=5e-5)
    assert line.slope == pytest.approx(0.5001, abs=5e-5)
    assert (line.r, line.statistic) == pytest.approx((0.81642, 4.241), abs=5e-4)
    assert (line.pvalue, line.df, line.n) == (pytest.approx(0.00217, abs=5e-6), 9, 11)
    assert line.slope_low < 0.5 < line.slope_high
    assert line.r_low < line.r < line.r_high


@given(values, st.data())
def test_swapping_the_occasions_turns_the_sign(a, data):
    """Later minus earlier and earlier minus later give the same, with opposite sign."""
    b = data.draw(arrays(np.float64, a.size, elements=st.floats(-100, 100, width=32)))
    one, other = paired_test(a, b), paired_test(b, a)
    assume(not one.note)
    assert one.estimate == pytest.approx(-other.estimate)
    assert one.statistic == pytest.approx(-other.statistic)
    assert (one.low, one.pvalue) == pytest.approx((-other.high, other.pvalue))


@given(values, st.floats(0.5, 20), st.floats(-50, 50))
def test_a_test_does_not_depend_on_the_unit(a, scale, shift):
    """Percent or fraction: t and p are the same, the difference is in the unit."""
    b = a[::-1] + np.linspace(0, 3, a.size)
    one, other = paired_test(a, b), paired_test(scale * a + shift, scale * b + shift)
    assume(not one.note and np.ptp(a - b) > 0.01)
    assert other.statistic == pytest.approx(one.statistic, rel=1e-6, abs=1e-9)
    assert other.estimate == pytest.approx(scale * one.estimate, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("missing", [NAN, float("inf")])
def test_incomplete_pairs_are_left_out_and_counted(missing):
    """A lesion without one of its values takes its other value out of the means too."""
    full = paired_test([1.0, 2.0, 4.0, 7.0], [2.0, 2.5, 6.0, 8.0])
    result = paired_test([1.0, 2.0, missing, 4.0, 7.0, 9.0], [2.0, 2.5, 3.0, 6.0, 8.0, missing])
    assert (result.n, result.n_missing) == (4, 2)
    assert (result.a, result.b) == (full.a, full.b)
    assert result.pvalue == full.pvalue


@pytest.mark.parametrize(
    ("n", "words"),
    [(0, "no complete pair"), (1, "only 1 complete pair,"), (2, "only 2 complete pairs")],
)
def test_too_few_pairs_give_words_and_no_test(n, words):
    """Fewer than three pairs: no p value, no interval, and the reason is given."""
    result = paired_test([1.0, 2.0][:n], [3.0, 5.0][:n])
    assert result.note.startswith(words)
    assert np.isnan([result.statistic, result.pvalue, result.low, result.high, result.df]).all()
    assert regression([1.0, 2.0][:n], [3.0, 5.0][:n]).note.startswith(words)
    assert "in one group" in unpaired_test([1.0, 2.0][:n], [3.0, 5.0, 6.0]).note


def test_values_that_do_not_vary_give_words_and_no_test():
    """No division by a zero spread: equal differences, equal groups, a flat x or y."""
    same = paired_test([1.1, 2.1, 3.1], [1.0, 2.0, 3.0])
    assert "the same amount" in same.note
    assert same.estimate == pytest.approx(0.1)
    assert np.isnan(same.pvalue)
    assert "no test" in unpaired_test([2.0, 2.0, 2.0], [1.0, 1.0, 1.0]).note
    assert "x does not vary" in regression([1.0, 1.0, 1.0], [1.0, 2.0, 3.0]).note
    assert "y does not vary" in regression([1.0, 2.0, 3.0], [1.0, 1.0, 1.0]).note


def test_a_line_through_all_points_is_certain():
    """Points on a line: r is 1, p is 0 and nothing divides by zero."""
    line = regression([0.0, 1.0, 2.0, 4.0], [1.0, 3.0, 5.0, 9.0])
    assert (line.r, line.slope, line.intercept) == pytest.approx((1.0, 2.0, 1.0))
    assert line.pvalue < 1e-6


def test_unequal_lengths_are_refused():
    """A pair is a pair: the lists must match."""
    with pytest.raises(BadInput, match="3 values cannot pair with 2"):
        paired_test([1, 2, 3], [1, 2])
    with pytest.raises(BadInput, match="cannot pair"):
        relative_change([1, 2, 3], [1, 2])
    with pytest.raises(BadInput, match=r"shape \(2, 1\)"):
        summary([[1], [2]])


def test_the_band_is_narrowest_at_the_mean_and_has_the_lines_interval():
    """The band holds the line; at x = 0 it is the interval of the intercept (R: confint)."""
    x = np.array([10, 8, 13, 9, 11, 14, 6, 4, 12, 7, 5.0])
    y = np.array([8.04, 6.95, 7.58, 8.81, 8.33, 9.96, 7.24, 4.26, 10.84, 4.82, 5.68])
    low, high = regression_band(x, y, [0.0, 5.0, x.mean(), 13.0])
    assert np.argmin(high - low) == 2
    assert (low[0], high[0]) == pytest.approx((0.4557369, 5.5444449), abs=1e-6)
    with pytest.raises(BadInput, match="no regression line"):
        regression_band([1.0, 2.0], [1.0, 2.0], [1.0])


@pytest.mark.parametrize(
    ("after", "response"),
    [
        (0.0, "CR"),
        (1e-6, "PR"),
        (4.15, "PR"),
        (4.1501, "SD"),
        (10.0, "SD"),
        (17.1499, "SD"),
        (17.15, "PD"),
        (NAN, None),
    ],
)
@pytest.mark.parametrize("unit", [1.0, 1e-3, 1000.0])
def test_response_thresholds_belong_to_the_response(after, response, unit):
    """-100 %, -58.5 % and +71.5 % themselves count, in any unit of volume."""
    assert response_category(10.0 * unit, after * unit) == response


def test_response_needs_a_lesion_at_baseline():
    """A new lesion has no response; a negative volume is refused."""
    assert response_category(0.0, 3.0) is None
    assert response_category(NAN, 3.0) is None
    with pytest.raises(BadInput, match="cannot be negative, got -1 and 3"):
        response_category(-1.0, 3.0)


@given(st.floats(0.01, 1e3), st.floats(0, 1e4))
def test_every_known_volume_has_one_response(before, after):
    """No gap between the categories, and more volume is never a better response."""
    order = ["CR", "PR", "SD", "PD"]
    here = response_category(before, after)
    assert order.index(here) <= order.index(response_category(before, after + 1))


def test_summary_of_little_says_what_it_can():
    """One value has a mean and no spread; none has nothing but a count."""
    one, none = summary([4.0, NAN]), summary([NAN])
    assert (one.n, one.n_missing, one.mean) == (1, 1, 4.0)
    assert np.isnan([one.sd, one.low]).all()
    assert (none.n, none.n_missing) == (0, 1)
    assert np.isnan(none.mean)
