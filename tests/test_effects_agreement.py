"""Effect sizes, ranks, clusters, agreement, discrimination, planning: published numbers, laws."""

import csv
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from bidsapp.errors import BadInput
from bidsapp.study.statistics import (
    cluster_test,
    discrimination,
    effect_size,
    false_discovery_rate,
    holm,
    leave_one_out,
    limits_of_agreement,
    normality,
    paired_test,
    pairs_needed,
    rank_correlation,
    repeatability,
    repeated_correlation,
    signed_rank_test,
)

CLASSIC = Path(__file__).parent / "data" / "stats_classic"
NAN = float("nan")
CLUSTERS = np.array([*range(15), 0, 3, 3, 5, 9])


def sleep(group: str) -> list[float]:
    with (CLASSIC / "sleep.csv").open(newline="") as stream:
        return [float(r["extra"]) for r in csv.DictReader(stream) if r["group"] == group]


def test_effect_size_of_students_sleep():
    """As R's effectsize prints it: d = -1.28 [-2.12, -0.41], Hedges' g = -1.17."""
    effect = effect_size(sleep("1"), sleep("2"))
    assert round(effect.cohens_dz, 2) == -1.28
    assert (round(effect.low, 2), round(effect.high, 2)) == (-2.12, -0.41)
    assert round(effect.hedges_gz, 2) == -1.17


def test_effect_size_interval_covers():
    """Of 400 intervals for dz = 0.5 from 20 pairs, 95 % include it, within the sampling error."""
    rng = np.random.default_rng(8)
    draws = [effect_size(rng.normal(0.5, 1, 20), np.zeros(20)) for _ in range(400)]
    hits = sum(e.low <= 0.5 <= e.high for e in draws)
    assert 0.925 <= hits / 400 <= 0.975


def test_signed_ranks_of_hollander_and_wolfe():
    """R's ``wilcox.test(x, y, paired = TRUE)`` on the depression scale: V = 40, p = 0.03906."""
    x = [1.83, 0.50, 1.62, 2.48, 1.68, 1.88, 1.55, 3.06, 1.30]
    y = [0.878, 0.647, 0.598, 2.05, 1.06, 1.29, 1.06, 3.14, 1.29]
    test = signed_rank_test(x, y)
    assert (test.statistic, test.n) == (40, 9)
    assert test.pvalue == pytest.approx(0.03906, abs=5e-6)


def test_holm_and_false_discovery_rate_agree_with_r():
    """R's ``p.adjust`` with "holm" and "BH", missing values left where they are."""
    p = [0.01, 0.02, NAN, 0.03, 0.04, 0.05]
    np.testing.assert_allclose(holm(p), [0.05, 0.08, NAN, 0.09, 0.09, 0.09])
    np.testing.assert_allclose(false_discovery_rate(p), [0.05, 0.05, NAN, 0.05, 0.05, 0.05])
    with pytest.raises(BadInput, match="outside 0 to 1"):
        holm([0.5, 1.5])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_adjusted_p_values_are_not_smaller(p):
    """No adjustment makes a p value smaller or changes the order; Holm is stricter."""
    strict, loose = holm(p), false_discovery_rate(p)
    assert (strict >= np.array(p) - 1e-15).all()
    assert (loose >= np.array(p) - 1e-15).all()
    assert (strict >= loose - 1e-12).all()
    assert (np.diff(strict[np.argsort(p)]) >= -1e-15).all()


def test_normality_is_tested():
    """Normal values are not rejected, exponential ones are; without spread there is no test."""
    rng = np.random.default_rng(0)
    assert normality(rng.normal(size=40)) > 0.05 > normality(rng.exponential(size=40))
    assert np.isnan(normality([1.0, 1.0, 1.0, NAN]))


def test_sign_flips_of_single_lesions_are_the_exact_permutation_test():
    """With one lesion a patient, scipy's exact paired permutation test gives the same p."""
    change = np.array([0.7, -1.6, -0.2, 1.2, 0.1, 3.4, 3.7, 0.8, 0.4, 2.0])
    mine = cluster_test(change, np.arange(10), seed=0)
    theirs = stats.permutation_test(
        (change, np.zeros(10)),
        lambda a, b: np.mean(a - b),
        permutation_type="samples",
        vectorized=False,
        n_resamples=np.inf,
    )
    assert mine.exact
    assert mine.pvalue == pytest.approx(theirs.pvalue, abs=1e-12)


@pytest.mark.slow
def test_tests_of_whole_patients_keep_size_and_coverage():
    """Correlated changes of the lesions of a patient, 600 null cohorts: size 5 %, coverage 95 %."""
    rng = np.random.default_rng(21)
    small = covered = 0
    for seed in range(600):
        change = 0.8 * rng.normal(size=15)[CLUSTERS] + 0.6 * rng.normal(size=20)
        test = cluster_test(change, CLUSTERS, seed=seed, draws=1999)
        small += test.pvalue < 0.05
        covered += test.low <= 0 <= test.high
    assert 0.03 <= small / 600 <= 0.07
    assert 0.925 <= covered / 600 <= 0.975


def test_patients_are_drawn_and_lesions_averaged():
    """The interval is about the mean of lesions, and as wide as patients differ.

    Forty patients have three lesions each with a change near 1, forty one lesion near 0: the mean
    of the lesions is 3/4, of the patients 1/2. Drawing lesions would give a narrower interval.
    """
    patients = np.r_[np.repeat(np.arange(40), 3), 40 + np.arange(40)]
    change = (patients < 40) + np.random.default_rng(6).normal(0, 0.1, 160)
    whole, single = (cluster_test(change, c, seed=0) for c in (patients, np.arange(160)))
    assert (whole.n, whole.n_patients) == (160, 80)
    assert whole.estimate == pytest.approx(0.75, abs=0.02)
    assert 0.55 < whole.low < 0.75 < whole.high < 0.9
    assert whole.high - whole.low > 1.2 * (single.high - single.low)


def test_the_interval_of_a_skewed_change_reaches_farther_along_the_skew():
    """Few large changes: the mean may well be larger than observed, hardly smaller."""
    change = np.exp(np.random.default_rng(12).normal(0, 1, 30))
    right, left = (cluster_test(sign * change, np.arange(30), seed=0) for sign in (1, -1))
    assert right.high - right.estimate > 1.5 * (right.estimate - right.low)
    assert left.estimate - left.low > 1.5 * (left.high - left.estimate)


def test_no_random_test_is_certain():
    """If no drawn pattern of signs is as extreme as the observed one, p is one in all draws."""
    found = cluster_test(np.linspace(4, 6, 40), np.arange(40), seed=0, draws=999)
    assert found.pvalue == pytest.approx(0.001)


def test_the_seed_determines_the_random_numbers():
    """The same seed gives the same numbers, another seed others; many patients are resampled."""
    change = np.random.default_rng(3).normal(0.2, 1, 40)
    first, again, other = (cluster_test(change, np.arange(40), seed=s) for s in (1, 1, 2))
    assert first == again
    assert (first.low, first.pvalue) != (other.low, other.pvalue)
    assert not first.exact


def test_three_patients_have_a_p_value_but_no_interval():
    """One resample in nine has a single patient and no standard error: missing, not a warning."""
    test = cluster_test([1.0, 2.0, 4.0, 3.0], ["a", "b", "c", "c"], seed=0)
    assert test.pvalue == 0.25
    assert not np.isfinite([test.low, test.high]).any()


def test_leaving_a_patient_out_is_the_test_of_the_others():
    """Each row equals the paired t test of the lesions that are left."""
    change = np.random.default_rng(4).normal(1, 2, 20)
    found = leave_one_out(change, CLUSTERS)
    for i, patient in enumerate(found.patients):
        rest = change[patient != CLUSTERS]
        test = paired_test(rest, np.zeros_like(rest))
        assert found.statistic[i] == pytest.approx(test.statistic, rel=1e-9)
        assert found.pvalue[i] == pytest.approx(test.pvalue, rel=1e-8)
        assert found.estimate[i] == pytest.approx(test.estimate)


def test_repeated_correlation_of_bland_and_altman():
    """PH and PaCO2, BMJ 1995: r = -0.51, 38 degrees of freedom, p = 0.0008 [-0.71, -0.23]."""
    with (CLASSIC / "bland1995.csv").open(newline="") as stream:
        table = list(csv.DictReader(stream))
    columns = ([float(r[name]) for r in table] for name in ("pH", "PacO2", "Subject"))
    found = repeated_correlation(*columns)
    assert (round(found.r, 3), found.df, found.n) == (-0.507, 38, 47)
    assert found.pvalue == pytest.approx(0.000847, abs=5e-7)
    assert (round(found.low, 2), round(found.high, 2)) == (-0.71, -0.23)


def test_limits_of_agreement_of_the_peak_flow_meters():
    """Bland and Altman, Lancet 1986: -2.1 l/min, SD 38.8, limits -79.7 to 75.5 (with 2 SD)."""
    large = [494, 395, 516, 434, 476, 557, 413, 442, 650, 433, 417, 656, 267, 478, 178, 423, 427]
    mini = [512, 430, 520, 428, 500, 600, 364, 380, 658, 445, 432, 626, 260, 477, 259, 350, 451]
    found = limits_of_agreement(large, mini)
    assert (round(found.bias, 1), round(found.sd, 1)) == (-2.1, 38.8)
    assert found.bias - 2 * found.sd == pytest.approx(-79.7, abs=0.1)
    assert found.upper_limit == pytest.approx(found.bias + 1.959964 * found.sd)
    assert (round(found.bias_low, 1), round(found.bias_high, 1)) == (-22.0, 17.8)
    # The interval of the lower limit is printed as -114.3 to -45.1.
    assert found.limit_half_width == pytest.approx((114.3 - 45.1) / 2, abs=0.1)


@given(st.integers(4, 30), st.integers(0, 999))
def test_rank_correlation_depends_on_the_order_only(n, seed):
    """Any increasing transformation leaves Spearman's correlation and interval unchanged."""
    x, y = np.random.default_rng(seed).normal(size=(2, n))
    assert rank_correlation(x, y) == rank_correlation(np.exp(x), 5 * y**3)


def test_the_interval_of_a_rank_correlation_is_bonetts_and_wrights():
    """Five pairs with r = 0.8, by hand: artanh r = 1.0986, and its standard error 0.8124."""
    found = rank_correlation([1, 2, 3, 4, 5], [2, 1, 4, 3, 5])
    assert (found.low, found.high) == pytest.approx((-0.457, 0.991), abs=1e-3)


def test_exact_areas_agree_with_scipy():
    """P of groups without ties is that of the exact Mann-Whitney test; the area is U / nm."""
    rng = np.random.default_rng(11)
    for _ in range(30):
        a, b = rng.normal(-0.7, 1, 6), rng.normal(0, 1, 9)
        found = discrimination(a, b)
        test = stats.mannwhitneyu(b, a, method="exact")
        assert found.pvalue == pytest.approx(test.pvalue, abs=1e-12)
        assert found.area == pytest.approx(test.statistic / 54)
        assert found.exact


@pytest.mark.parametrize("power", [0.3, 1.0, 2.5])
def test_area_intervals_cover(power):
    """600 samples of 6 and 9 under a Lehmann alternative: at least 95 % of the intervals cover."""
    rng = np.random.default_rng(5)
    truth = power / (1 + power)
    hits = 0
    for _ in range(600):
        found = discrimination(rng.random(6), rng.random(9) ** (1 / power))
        hits += found.low - 1e-9 <= truth <= found.high + 1e-9
    assert hits / 600 >= 0.94


def test_complete_separation_has_an_interval():
    """The interval of an area of 1 from few lesions is wide, exact or not."""
    few = discrimination([1, 2, 3], [4, 5, 6])
    assert (few.area, few.high, few.pvalue) == (1.0, 1.0, pytest.approx(0.1))
    assert 0.2 < few.low < 0.7
    many = discrimination(np.arange(40), 100 + np.arange(40))
    assert not many.exact
    assert 0.85 < many.low < many.high == 1.0


def test_ties_count_half():
    """All values equal: the area is one half and p is one."""
    found = discrimination([1.0] * 4, [1.0] * 5)
    assert (found.area, found.pvalue) == (0.5, 1.0)


def test_the_curve_goes_from_none_to_all():
    """Thresholds rise, both shares never fall, and both end at one; its area is the area."""
    rng = np.random.default_rng(2)
    found = discrimination(rng.normal(-1, 1, 12), rng.normal(0, 1, 15))
    curve = np.array([(0, 0), *((fp, tp) for _, fp, tp in found.curve)])
    assert (np.diff(curve, axis=0) >= 0).all()
    assert tuple(curve[-1]) == (1, 1)
    assert np.trapezoid(curve[:, 1], curve[:, 0]) == pytest.approx(found.area)


@pytest.mark.parametrize(
    ("effect", "power", "n"), [(0.5, 0.8, 34), (0.2, 0.8, 199), (0.8, 0.8, 15), (1.0, 0.9, 13)]
)
def test_sample_sizes_are_those_of_gpower(effect, power, n):
    """G*Power 3.1, matched pairs, two-sided 0.05; the sign of the effect does not matter."""
    assert pairs_needed(effect, power) == pairs_needed(-effect, power) == n


def test_sample_sizes_at_the_ends():
    """Zero effect needs infinitely many, an unknown effect gives NaN; power must exceed alpha."""
    assert pairs_needed(0.0, 0.8) == float("inf")
    assert np.isnan(pairs_needed(NAN, 0.8))
    assert pairs_needed(50.0, 0.8) == 2
    with pytest.raises(BadInput, match="0 < alpha < power < 1"):
        pairs_needed(0.5, 0.01)


@settings(max_examples=40)
@given(st.floats(0.15, 3), st.floats(0.5, 0.95))
def test_the_sample_size_is_the_smallest(effect, power):
    """One pair fewer has less power than requested, computed with scipy's noncentral t."""
    n = pairs_needed(effect, power)

    def power_of(pairs: float) -> float:
        limit = stats.t.ppf(0.975, pairs - 1)
        return float(stats.nct.sf(limit, pairs - 1, effect * np.sqrt(pairs)))

    assert power_of(n) >= power - 1e-3
    assert n <= 2 or power_of(n - 1) < power


def test_the_interval_of_the_repeatability_coefficient_has_a_degree_of_freedom_a_lesion():
    """With three lesions, by the printed quantiles of chi-squared: 9.348 and 0.2158."""
    found = repeatability([0.0, 0.0, 0.0], [1.0, 2.0, 4.0])
    assert found.bias == pytest.approx(7 / 3), "second less first"
    assert found.low == pytest.approx(found.coefficient * np.sqrt(3 / 9.348), rel=1e-3)
    assert found.high == pytest.approx(found.coefficient * np.sqrt(3 / 0.2158), rel=1e-3)
    assert (found.relative, found.fall, found.rise) == (
        False,
        -found.coefficient,
        found.coefficient,
    )
    assert np.isnan(found.within_cv), "no logarithm of zero"


def test_repeatability_of_repeated_scans():
    """SD within a lesion is that of the differences over root 2; 95 % of 1,000 intervals cover."""
    rng = np.random.default_rng(9)
    first = rng.normal(5, 1, (1000, 12))
    second = first + rng.normal(0, 0.3 * np.sqrt(2), (1000, 12))
    found = [repeatability(a, b) for a, b in zip(first, second, strict=True)]
    expected = 1.959964 * np.sqrt(2) * 0.3
    assert np.median([f.coefficient for f in found]) == pytest.approx(expected, rel=0.05)
    assert 0.93 <= np.mean([f.low <= expected <= f.high for f in found]) <= 0.97


@pytest.mark.parametrize(("constant", "share"), [(0.5, 0.0), (0.0, 0.3)])
def test_limits_of_a_change_hold_for_constant_and_proportional_errors(constant, share):
    """The right scale is found; 5 % of unchanged lesions exceed the limits, half each way."""
    rng = np.random.default_rng(4)

    def scan():
        errors = np.exp(rng.normal(0, share, (300, 30))), rng.normal(0, constant, (300, 30))
        return truth * errors[0] + errors[1]

    truth = rng.uniform(2, 20, (300, 30))
    found = [repeatability(a, b) for a, b in zip(scan(), scan(), strict=True)]
    relative = np.array([f.relative for f in found])
    assert np.mean(relative == (share > 0)) > 0.95
    a, b = scan(), scan()
    change = np.where(relative[:, np.newaxis], b / a - 1, b - a)
    ends = np.array([(f.fall, f.rise) for f in found])
    below, above = np.mean(change < ends[:, :1]), np.mean(change > ends[:, 1:])
    assert below == pytest.approx(0.025, abs=0.01)
    assert above == pytest.approx(0.025, abs=0.01)
    if share:
        expected = np.sqrt(np.expm1(share**2))
        assert 0.92 <= np.mean([f.cv_low <= expected <= f.cv_high for f in found]) <= 0.98


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: effect_size([1, 2], [2, 3]), "only 2 complete pairs"),
        (lambda: effect_size([1, 2, 3], [2, 3, 4]), "changes by the same amount"),
        (lambda: signed_rank_test([1, 2, 3], [1, 2, 3]), "no change, a test needs 3"),
        (lambda: cluster_test([1.0, 2.0, 3.0], [1, 1, 2], seed=0), "only 2 patients"),
        (lambda: rank_correlation([1, 1, 1], [1, 2, 3]), "does not vary"),
        (lambda: repeated_correlation([1, 2, 3], [1, 2, 3], [1, 2, 3]), "too few lesions"),
        (lambda: limits_of_agreement([1, NAN, 2], [1, 2, 3]), "only 2 complete pairs"),
        (lambda: discrimination([1, 2, 3], [1, 2]), "only 2 values in one group"),
        (lambda: repeatability([1], [1]), "only 1 repeated lesion"),
    ],
)
def test_a_missing_test_has_a_reason(call, words):
    """Too few values, or none that vary: the reason, and no number."""
    found = call()
    assert words in found.note
    assert np.isnan([v for v in vars(found).values() if isinstance(v, float)]).all()


def test_lesions_with_one_occasion_do_not_enter_the_correlation_within_lesions():
    """Wherever they are in the order, also last: the result is that without them."""
    x, y, lesions = [1.0, 2, 3, 5, 6, 7], [3.0, 4, 6, 1, 3, 3], [1, 1, 1, 2, 2, 2]
    expected = repeated_correlation(x, y, lesions)
    for single in (0, 3):
        assert repeated_correlation([*x, 9.0], [*y, 9.0], [*lesions, single]) == expected
