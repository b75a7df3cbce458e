"""The mixed model over days: numbers of lme4, lmerTest and statsmodels, dense formulas, size."""

import csv
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bidsapp.errors import BadInput
from bidsapp.study.statistics import Structure, TrendModel, mixed_model, trend_model

DATA = Path(__file__).parent / "data" / "mixed_models"
NAN = float("nan")
# The design of the study, with visits at irregular days: 15 patients, 20 lesions, 3 to 6 visits.
LESION_OF = np.array([*range(15), 0, 3, 3, 5, 9])


def line(times: np.ndarray) -> np.ndarray:
    return np.column_stack([np.ones(len(times)), times])


def drawn(
    seed: int, lesion_slope: float = 0.0, patient_slope: float = 0.0
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Values without a mean trend, times in units of 30 days, patients, lesions."""
    rng = np.random.default_rng(seed)
    days = [
        np.sort(np.append(0, rng.choice(np.arange(5, 181), rng.integers(2, 6), replace=False)))
        for _ in range(15)
    ]
    lesions = np.repeat(np.arange(20), [len(days[p]) for p in LESION_OF])
    patients = LESION_OF[lesions]
    times = np.concatenate([days[p] for p in LESION_OF]) / 30
    levels = 0.5 * rng.normal(size=15)[patients] + 0.5 * rng.normal(size=20)[lesions]
    slopes = patient_slope * rng.normal(size=15)[patients]
    slopes += lesion_slope * rng.normal(size=20)[lesions]
    return levels + slopes * times + 0.4 * rng.normal(size=len(times)), times, patients, lesions


def fitted(seed: int, structure: Structure | None = None, **slopes: float) -> TrendModel:
    y, times, patients, lesions = drawn(seed, **slopes)
    return trend_model(y, line(times), times, patients, lesions, structure=structure)


def test_sleepstudy_as_lme4_and_lmertest_print_it():
    """``lmer(Reaction ~ Days + (Days | Subject), sleepstudy)``, Satterthwaite's method.

    REML criterion at convergence: 1743.6
     Groups   Name        Variance Std.Dev. Corr
     Subject  (Intercept) 612.10   24.741
              Days         35.07    5.922   0.07
     Residual             654.94   25.592
                Estimate Std. Error      df t value Pr(>|t|)
    (Intercept)  251.405      6.825  17.000  36.838  < 2e-16
    Days          10.467      1.546  17.000   6.771 3.26e-06
    """
    with (DATA / "sleepstudy.csv").open(newline="") as stream:
        table = list(csv.DictReader(stream))
    days = np.array([float(row["Days"]) for row in table])
    people = [row["Subject"] for row in table]
    reaction = [float(row["Reaction"]) for row in table]
    model = trend_model(reaction, line(days), days, people, np.ones(180))
    assert model.random == "intercepts, slopes of lesions", "one lesion a patient: of either"
    assert model.criterion == pytest.approx(1743.628, abs=1e-3)
    assert model.lesion.sd_level**2 == pytest.approx(612.10, abs=0.02)
    assert model.lesion.sd_slope**2 == pytest.approx(35.07, abs=0.005)
    assert model.lesion.correlation == pytest.approx(0.066, abs=5e-4)
    assert model.sd_residual**2 == pytest.approx(654.94, abs=0.005)
    for weights, value, error, t in (
        ([1, 0], 251.405, 6.825, 36.838),
        ([0, 1], 10.467, 1.546, 6.771),
    ):
        found = model.contrast(weights)
        assert found.estimate == pytest.approx(value, abs=5e-4)
        assert found.standard_error == pytest.approx(error, abs=5e-4)
        assert found.statistic == pytest.approx(t, abs=5e-4)
        assert found.df == pytest.approx(17.0, abs=5e-4)
    assert found.pvalue == pytest.approx(3.26e-6, abs=5e-9)


def test_slopes_of_patients_with_several_lesions_as_statsmodels_fits_them():
    """MixedLM of statsmodels 0.15.0, numpy's generator with the seed 19.

    ``mixedlm("y ~ t", groups="p", re_formula="~t", vc_formula={"lesion": "0 + C(l)"})``, REML.
    """
    rng = np.random.default_rng(19)
    patient, lesion = np.repeat(np.arange(30), 12), np.tile(np.repeat([1, 2, 3], 4), 30)
    day = rng.uniform(0, 6, 360).round(2)
    levels, slopes = rng.normal(size=(2, 30))
    between = rng.normal(size=90)
    y = 4 - 0.3 * day + 0.8 * levels[patient] + 0.2 * slopes[patient] * day
    y = (y + 0.6 * np.repeat(between, 4) + 0.5 * rng.normal(size=360)).round(3)
    model = trend_model(y, line(day), day, patient, lesion, structure=Structure(1, 2))
    assert model.criterion == pytest.approx(790.2338461, abs=1e-6)
    np.testing.assert_allclose(model.coefficients, [3.88341563, -0.30311415], rtol=1e-6)
    errors = np.sqrt(np.diag(model.covariance))
    np.testing.assert_allclose(errors, [0.18765405, 0.03817491], rtol=3e-4)
    assert model.sd_residual**2 == pytest.approx(0.2460840, rel=1e-5)
    assert model.lesion.sd_level**2 == pytest.approx(0.29044289, rel=1e-5)
    assert model.patient.sd_level**2 == pytest.approx(0.854175, rel=1e-5)
    assert model.patient.sd_slope**2 == pytest.approx(0.034149, rel=1e-4)
    together = model.patient.correlation * model.patient.sd_level * model.patient.sd_slope
    assert together == pytest.approx(0.025898, rel=1e-4)


def dense(
    y: np.ndarray, x: np.ndarray, covariance: np.ndarray
) -> tuple[float, np.ndarray, np.ndarray]:
    """Criterion, coefficients and their covariance, as textbooks write them."""
    inverse = np.linalg.inv(covariance)
    information = x.T @ inverse @ x
    found = np.linalg.solve(information, x.T @ inverse @ y)
    rest = y - x @ found
    logdets = np.linalg.slogdet(covariance)[1] + np.linalg.slogdet(information)[1]
    criterion = logdets + rest @ inverse @ rest + (len(y) - x.shape[1]) * np.log(2 * np.pi)
    return float(criterion), found, np.linalg.inv(information)


def covariance_of(model: TrendModel, times, patients, lesions) -> np.ndarray:
    total = model.sd_residual**2 * np.eye(len(times))
    for effect, names in ((model.lesion, lesions), (model.patient, patients)):
        slope, both = np.nan_to_num(effect.sd_slope), np.nan_to_num(effect.correlation)
        shared = effect.sd_level**2 + slope**2 * np.outer(times, times)
        shared += both * effect.sd_level * slope * np.add.outer(times, times)
        total += np.equal.outer(names, names) * shared
    return total


@pytest.mark.parametrize("structure", [Structure(1, 1), Structure(2, 1), Structure(2, 2)])
def test_every_structure_agrees_with_the_dense_formulas(structure):
    """Irregular visits: criterion, coefficients and covariance are those of the full matrices."""
    for seed in range(3):
        y, times, patients, lesions = drawn(seed, 0.2, 0.2)
        model = trend_model(y, line(times), times, patients, lesions, structure=structure)
        full = covariance_of(model, times, patients, lesions)
        criterion, found, covariance = dense(y, line(times), full)
        assert model.criterion == pytest.approx(criterion, abs=1e-6)
        np.testing.assert_allclose(model.coefficients, found, atol=1e-7)
        np.testing.assert_allclose(model.covariance, covariance, atol=1e-7)


def test_a_larger_structure_is_never_worse():
    """The restricted likelihood does not fall with a further random coefficient."""
    for seed in range(8):
        criteria = [
            fitted(seed, Structure(*pair), lesion_slope=0.1).criterion
            for pair in ((1, 1), (2, 1), (2, 2))
        ]
        assert criteria[1] <= criteria[0] + 1e-6
        assert criteria[2] <= criteria[1] + 1e-3, seed


def test_time_points_are_the_model_of_occasions():
    """With an indicator of each of three occasions as design, it is `mixed_model`."""
    y = np.random.default_rng(3).normal(size=60) + np.repeat(np.arange(20), 3) % 7
    when, patients, lesions = (
        np.tile([0, 1, 2], 20),
        np.repeat(LESION_OF, 3),
        np.repeat(range(20), 3),
    )
    ours = trend_model(y, np.eye(3)[when], when, patients, lesions, structure=Structure(1, 1))
    theirs = mixed_model(y, when, patients, lesions)
    assert ours.criterion == pytest.approx(theirs.criterion, abs=1e-6)
    a, b = ours.contrast([-1, 0, 1]), theirs.contrast([-1, 0, 1])
    assert (a.estimate, a.df, a.pvalue) == pytest.approx((b.estimate, b.df, b.pvalue), rel=1e-5)


@settings(deadline=None, max_examples=8)
@given(
    st.integers(0, 500), st.floats(1e-4, 1e4), st.floats(-1e3, 1e3), st.floats(1e-2, 1e3),
    st.floats(-500, 500),
)  # fmt: skip
def test_units_and_origins_do_not_matter(seed, unit, shift, pace, origin):
    """In other units of values and time, or from other zeros, t and df of the slope stay."""
    y, times, patients, lesions = drawn(seed, 0.3)
    here = trend_model(y, line(times), times, patients, lesions)
    later = pace * times + origin
    there = trend_model(unit * (y + shift), line(later), later, patients, lesions)
    assert there.random == here.random
    a, b = here.contrast([0, 1]), there.contrast([0, 1])
    assert b.statistic == pytest.approx(a.statistic, rel=1e-3, abs=1e-3)
    assert b.df == pytest.approx(a.df, rel=1e-2)
    assert there.sd_residual == pytest.approx(unit * here.sd_residual, rel=1e-3)


def test_slopes_are_random_where_the_visits_carry_them():
    """Of lesions with three visits, of patients with such lesions; whatever the values are."""
    assert fitted(1, lesion_slope=0.4).random == "intercepts, slopes of lesions and patients"
    y, times, patients, lesions = drawn(2)
    apart = np.where(patients < 4, patients, 100 + lesions)  # two patients with several lesions
    model = trend_model(y, line(times), times, apart, lesions)
    assert model.random == "intercepts, slopes of lesions"
    y, times, patients, lesions = drawn(1, 0.4)
    _, first = np.unique(lesions, return_index=True)
    two = np.sort(np.concatenate([first, first + 1]))
    model = trend_model(y[two], line(times[two]), times[two], patients[two], lesions[two])
    assert (model.n_values, model.random) == (40, "intercepts")
    few = lesions < 4
    model = trend_model(y[few], line(times[few]), times[few], patients[few], lesions[few])
    assert model.random == "intercepts"
    patients = np.repeat(np.arange(12), 15)
    rng = np.random.default_rng(4)
    times = rng.uniform(0, 6, 180)
    y = rng.normal(size=12)[patients] * times + rng.normal(size=180)
    y += 0.5 * np.repeat(rng.normal(size=36), 5) * times
    model = trend_model(y, line(times), times, patients, np.repeat(np.arange(36), 5))
    assert model.random == "intercepts, slopes of lesions and patients"
    assert model.patient.sd_slope == pytest.approx(1, abs=0.5)


@pytest.mark.parametrize(
    ("values", "design", "words"),
    [
        ([1.0, 2, NAN, NAN], [[1], [1], [1], [1]], "2 values are too few for 1 coefficients"),
        ([1.0, 2, 4, 3, 5, 7], [[1, 2]] * 6, "do not determine every coefficient"),
        ([1.0, 2, 3, 5, 8, 9], [[1]] * 6, ""),
        ([1.0] * 6, [[1]] * 6, "all values lie on the fitted lines"),
    ],
)
def test_without_a_model_there_are_words(values, design, words):
    """Nothing to fit: no number, and the reason."""
    size = len(values)
    model = trend_model(values, design, np.arange(size) % 2, np.arange(size) // 2, np.ones(size))
    assert words in model.note
    assert bool(model.note) == bool(words) == np.isnan(model.contrast(np.ones(len(design[0]))).df)


def test_single_visits_are_no_trend():
    """Lesions with one visit each do not tell a slope."""
    times = np.arange(8.0)
    model = trend_model(times**2, line(times), times, np.arange(8), np.ones(8))
    assert model.note == "too few lesions have values at two visits: no model"
    assert model.random == ""


def test_what_does_not_fit_together_is_refused():
    """Lengths that differ; weights for another number of coefficients."""
    with pytest.raises(BadInput, match=r"2 values, a design of shape \(2, 1\), 1 times, 2 pati"):
        trend_model([1, 2], [[1], [1]], [0], [1, 1], [1, 1])
    with pytest.raises(BadInput, match=r"3 weights for 2 coefficients: give one each"):
        fitted(0).contrast([1, 0, 0])


@pytest.mark.benchmark
def test_the_size_of_the_test_is_what_it_says():
    """200 cohorts without any trend: 2 to 8 % of slopes have p < 0.05, whatever varies.

    Seeds 50,000 to 50,199. A slope that varies between lesions, or between patients, by 0.1 per
    30 days, beside a residual of 0.4, is found by the criterion of Akaike only in a part of the
    cohorts.
    """
    for lesion, patient in ((0.1, 0), (0, 0.1)):
        p = [
            fitted(50_000 + seed, lesion_slope=lesion, patient_slope=patient)
            .contrast([0, 1]).pvalue
            for seed in range(200)
        ]  # fmt: skip
        assert 0.02 <= np.mean(np.less(p, 0.05)) <= 0.08, (lesion, patient)
