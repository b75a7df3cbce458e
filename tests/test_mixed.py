"""The mixed model: lme4's and nlme's printed numbers, a dense double, the size of its test."""

import csv
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from bidsapp.errors import BadInput
from bidsapp.study.statistics import MixedModel, mixed_model, paired_test

DATA = Path(__file__).parent / "data" / "mixed_models"
NAN = float("nan")
# The study's design: 15 patients, 20 lesions, 3 sessions.
LESION_OF = np.array([*range(15), 0, 3, 3, 5, 9])
PATIENTS, LESIONS = np.repeat(LESION_OF, 3), np.repeat(np.arange(20), 3)
OCCASIONS = np.tile([0, 1, 2], 20)
CONTRASTS = ([-1, 1, 0], [-1, 0, 1], [0, -1, 1])


def rows(name: str) -> list[dict[str, str]]:
    with (DATA / f"{name}.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_pastes_as_lme4_prints_it():
    """``lmer(strength ~ 1 + (1 | batch/cask), Pastes)``.

    REML criterion at convergence: 247
     Groups     Name        Variance Std.Dev.
     cask:batch (Intercept) 8.4337   2.9041
     batch      (Intercept) 1.6573   1.2874
     Residual               0.6780   0.8234
                Estimate Std. Error t value
    (Intercept)  60.0533     0.6769   88.72
    """
    table = rows("pastes")
    strength = [float(row["strength"]) for row in table]
    batch, cask = ([row[name] for row in table] for name in ("batch", "cask"))
    model = mixed_model(strength, np.zeros(60, int), batch, cask)
    assert model.criterion == pytest.approx(247.0, abs=0.05)
    assert model.sd_lesion == pytest.approx(2.9041, abs=5e-5)
    assert model.sd_patient == pytest.approx(1.2874, abs=5e-5)
    assert model.sd_residual == pytest.approx(0.8234, abs=5e-5)
    mean = model.contrast([1])
    assert (round(mean.estimate, 4), round(mean.standard_error, 4)) == (60.0533, 0.6769)
    assert round(mean.statistic, 2) == 88.72


def test_oats_as_nlme_prints_it():
    """``lme(yield ~ ordered(nitro), random = ~ 1 | Block/Variety)``, Pinheiro and Bates.

     logLik -291.8025;  StdDev: Block 14.506, Variety 11.039, Residual 12.74985
                         Value Std.Error DF   t-value p-value
    ordered(nitro).L  32.94473  3.005169 51 10.962691  0.0000
    ordered(nitro).Q  -5.16667  3.005169 51 -1.719260  0.0916
    ordered(nitro).C  -0.44721  3.005169 51 -0.148815  0.8823

    Their columns are orthonormal beside a constant of length 2, ours are the four means: the
    criterion differs by 2 ln 2.
    """
    table = rows("oats")
    level = [round(5 * float(row["N"].removesuffix("cwt"))) for row in table]
    block, variety = ([row[name] for row in table] for name in ("B", "V"))
    model = mixed_model([float(row["Y"]) for row in table], level, block, variety)
    assert model.criterion + 2 * np.log(2) == pytest.approx(2 * 291.8025, abs=1e-4)
    assert model.sd_patient == pytest.approx(14.506, abs=1e-3)
    assert model.sd_lesion == pytest.approx(11.0387, abs=1e-4)
    assert model.sd_residual == pytest.approx(12.74985, abs=2e-5)
    root = np.sqrt(20)
    for weights, value, t, p in (
        (np.array([-3, -1, 1, 3]) / root, 32.94473, 10.962691, 0.0),
        (np.array([1, -1, -1, 1]) / 2, -5.16667, -1.719260, 0.0916),
        (np.array([-1, 3, -3, 1]) / root, -0.44721, -0.148815, 0.8823),
    ):
        found = model.contrast(weights)
        assert found.estimate == pytest.approx(value, abs=1e-5)
        assert found.standard_error == pytest.approx(3.005169, abs=1e-5)
        assert found.statistic == pytest.approx(t, abs=1e-4)
        assert found.df == pytest.approx(51, abs=1e-4)
        assert found.pvalue == pytest.approx(p, abs=5e-5)


def drawn(seed: int, patient: float = 0.3, lesion: float = 0.3, noise: float = 0.4) -> np.ndarray:
    """Values of one cohort of the study's design, without any change over time."""
    rng = np.random.default_rng(seed)
    levels = np.sqrt(patient) * rng.normal(size=15)[PATIENTS]
    levels += np.sqrt(lesion) * rng.normal(size=20)[LESIONS]
    return levels + np.sqrt(noise) * rng.normal(size=60)


def dense(y: np.ndarray, variances: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
    """Criterion, means and covariance with the full covariance matrix, as textbooks write it."""
    kept = np.isfinite(y)
    x, y = np.eye(3)[OCCASIONS[kept]], y[kept]
    same = [np.equal.outer(names[kept], names[kept]) for names in (LESIONS, PATIENTS)]
    covariance = variances[0] * np.eye(len(y)) + variances[1] * same[0] + variances[2] * same[1]
    inverse = np.linalg.inv(covariance)
    information = x.T @ inverse @ x
    means = np.linalg.solve(information, x.T @ inverse @ y)
    rest = y - x @ means
    logdets = np.linalg.slogdet(covariance)[1] + np.linalg.slogdet(information)[1]
    criterion = logdets + rest @ inverse @ rest + (len(y) - 3) * np.log(2 * np.pi)
    return float(criterion), means, np.linalg.inv(information)


def variances_of(model: MixedModel) -> np.ndarray:
    return np.square([model.sd_residual, model.sd_lesion, model.sd_patient])


@pytest.mark.parametrize("seed", range(6))
def test_unbalanced_data_agree_with_the_dense_formulas(seed):
    """With a quarter missing: criterion, means and covariance are those of the full matrices."""
    y = drawn(seed)
    y[np.random.default_rng(seed).choice(60, 15, replace=False)] = NAN
    model = mixed_model(y, OCCASIONS, PATIENTS, LESIONS)
    criterion, means, covariance = dense(y, variances_of(model))
    assert model.criterion == pytest.approx(criterion, abs=1e-7)
    np.testing.assert_allclose(model.means, means, atol=1e-9)
    np.testing.assert_allclose(model.covariance, covariance, atol=1e-9)
    assert (model.n_values, model.n_missing) == (45, 15)
    rng = np.random.default_rng(seed)
    for _ in range(200):
        near = variances_of(model) * rng.uniform(0.2, 5, 3) + rng.uniform(0, 0.05, 3)
        assert dense(y, near)[0] >= criterion - 1e-7


def test_degrees_of_freedom_are_satterthwaites():
    """From the expected information of the dense model, balanced but for five values."""
    y = drawn(7)
    y[[1, 14, 33, 40, 58]] = NAN
    model = mixed_model(y, OCCASIONS, PATIENTS, LESIONS)
    along, at = np.array([-1.0, 0.0, 1.0]), variances_of(model)
    assert (at > 0.01).all()

    def variance(v: np.ndarray) -> float:
        return float(along @ dense(y, v)[2] @ along)

    steps = np.diag(at) * 1e-3
    slope = np.array([(variance(at + s) - variance(at - s)) / (2 * s.sum()) for s in steps])
    curvature = np.array(
        [
            [
                sum(
                    sign * dense(y, at + a * i + b * j)[0]
                    for i, j, sign in ((1, 1, 1), (1, -1, -1), (-1, 1, -1), (-1, -1, 1))
                )
                / (4 * a.sum() * b.sum())
                for b in steps
            ]
            for a in steps
        ]
    )
    expected = 2 * variance(at) ** 2 / (slope @ np.linalg.inv(curvature / 2) @ slope)
    assert model.contrast(along).df == pytest.approx(expected, rel=2e-3)


def test_balanced_lesions_of_one_patient_each_are_the_analysis_of_variance():
    """One lesion a patient, nothing missing: t and df of the two-way analysis of variance."""
    y = np.random.default_rng(5).normal(size=(12, 3)) + np.arange(12)[:, None]
    model = mixed_model(y.ravel(), np.tile([0, 1, 2], 12), np.repeat(np.arange(12), 3), [1] * 36)
    rest = y - y.mean(1, keepdims=True) - y.mean(0) + y.mean()
    error = np.sqrt(2 * np.sum(rest**2) / 22 / 12)
    found = model.contrast([-1, 0, 1])
    assert found.statistic == pytest.approx((y[:, 2] - y[:, 0]).mean() / error, rel=1e-5)
    assert found.df == pytest.approx(22, abs=1e-3)
    assert np.isnan(model.sd_patient)


def test_two_occasions_are_the_paired_t_test():
    """With two occasions and one lesion a patient, the model agrees with the t test."""
    y = drawn(2).reshape(20, 3)[:, :2]
    model = mixed_model(y.ravel(), np.tile([0, 1], 20), np.repeat(np.arange(20), 2), [1] * 40)
    found, test = model.contrast([-1, 1]), paired_test(y[:, 1], y[:, 0])
    assert found.statistic == pytest.approx(test.statistic, rel=1e-5)
    assert found.df == pytest.approx(19, abs=1e-3)


@settings(deadline=None, max_examples=25)
@given(st.integers(0, 500), st.floats(1e-6, 1e6), st.floats(-1e3, 1e3))
def test_units_do_not_matter(seed, unit, shift):
    """In other units, or from another zero, t, df and ICC stay and the rest is scaled."""
    y = drawn(seed)
    here = mixed_model(y, OCCASIONS, PATIENTS, LESIONS)
    there = mixed_model(unit * (y + shift), OCCASIONS, PATIENTS, LESIONS)
    assert there.contrast([-1, 0, 1]).statistic == pytest.approx(
        here.contrast([-1, 0, 1]).statistic, rel=1e-3, abs=1e-3
    )
    assert there.sd_residual == pytest.approx(unit * here.sd_residual, rel=1e-3)
    assert there.icc_lesion == pytest.approx(here.icc_lesion, abs=1e-3)


@pytest.mark.benchmark
def test_the_size_of_the_test_is_what_it_says():
    """600 cohorts without any change, ICC 0.3 between lesions: 3 to 7 % are below 0.05."""
    found = np.empty((600, 6))
    for seed in range(600):
        y = drawn(10_000 + seed)
        model = mixed_model(y, OCCASIONS, PATIENTS, LESIONS)
        wide = y.reshape(20, 3)
        found[seed, :3] = [model.contrast(weights).pvalue for weights in CONTRASTS]
        found[seed, 3:] = [
            stats.ttest_rel(wide[:, j], wide[:, i]).pvalue for i, j in ((0, 1), (0, 2), (1, 2))
        ]
    size = np.mean(found < 0.05, axis=0)
    assert ((size >= 0.03) & (size <= 0.07)).all(), size
    low = np.mean(found[:, :3] < 0.01)
    assert 0.006 <= low <= 0.014


def test_a_model_without_spread_between_lesions_has_none():
    """Where lesions are no more alike than values are, their variance is 0, not below."""
    wide = np.random.default_rng(1).normal(size=(20, 3))
    wide -= wide.mean(1, keepdims=True)
    model = mixed_model(wide.ravel(), OCCASIONS, PATIENTS, LESIONS)
    assert (model.sd_lesion, model.sd_patient, model.icc_lesion) == (0, 0, 0)
    assert model.contrast([-1, 0, 1]).df == pytest.approx(57, abs=1e-3)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ([NAN] * 12, "an occasion has 0 values, a model needs 3: no model"),
        ([1.0] * 12, "every lesion changes by the same amount: no model"),
        ([1.0, 2.0] * 6, "every lesion changes by the same amount: no model"),
        ([1, NAN, 2, NAN, 3, NAN, NAN, 4, NAN, 5, NAN, 6], "too few lesions have values on two"),
    ],
)
def test_without_a_model_there_are_words(values, words):
    """Nothing to fit: no number, and the reason."""
    model = mixed_model(values, [0, 1] * 6, np.repeat(np.arange(6), 2), [1] * 12)
    assert words in model.note
    assert np.isnan(model.contrast([-1, 1]).pvalue)
    assert np.isnan(model.means).all()


def test_what_does_not_fit_together_is_refused():
    """Lengths that differ, a negative occasion, weights for another number of occasions."""
    with pytest.raises(BadInput, match=r"2 values, 2 occasions, 1 patients and 2 lesions"):
        mixed_model([1, 2], [0, 1], [1], [1, 1])
    with pytest.raises(BadInput, match=r"An occasion is -1: number them from 0"):
        mixed_model([1, 2], [-1, 1], [1, 1], [1, 1])
    with pytest.raises(BadInput, match=r"2 weights for 3 occasions"):
        mixed_model(drawn(0), OCCASIONS, PATIENTS, LESIONS).contrast([1, -1])
