"""The contract that every model of the table keeps; numpy, scipy and pytest suffice."""

import re

import numpy as np
import pytest

from bidsapp.errors import FitError
from bidsapp.models import MODELS, Status, fit
from bidsapp.models.contrast.aif import parker2006, plasma_from_blood
from bidsapp.models.diffusion.bayesian_ivim import Prior
from bidsapp.models.table import kinetic_rows

TIME = np.arange(60) * 5.2 / 60
DESIGNS = {
    "bvalues": np.array([0, 10, 20, 40, 80, 200, 400, 600, 800, 1000.0]),
    "time": TIME,
    "plasma": plasma_from_blood(parker2006(TIME, 0.5), 0.42),
    "flip_angles": np.deg2rad([2, 5, 12, 20]),
    "repetition_time": 0.005,
    "dstar": 0.015,
    "blood_signal": 1.6,
    "arrival": TIME[6],
}
# Peak at a frame, so that the trapezoidal rule is exact.
LINES = {"TTP": TIME[12] - TIME[6], "washin": 0.7, "washout": -0.02}


def area_of_lines(minutes):
    """Return the area under a rise of LINES and the decline after it."""
    peak, late = LINES["TTP"], minutes - LINES["TTP"]
    return LINES["washin"] * peak * (peak / 2 + late) + LINES["washout"] * late**2 / 2


def area_of_plasma(minutes):
    """Return the area under the plasma curve after the arrival, sampled finely."""
    fine = DESIGNS["arrival"] + np.linspace(0, minutes, 120001)
    return np.trapezoid(np.interp(fine, TIME, DESIGNS["plasma"]), fine)


TRUTH = {
    "ADC": 0.9e-3,
    "S0": 250.0,
    "f": 0.12,
    "fT2": 0.12 / (0.12 + 0.88 * 1.6),
    "D": 0.8e-3,
    "Dstar": 15e-3,
    "Ktrans": 0.08,
    "ve": 0.25,
    "vp": 0.03,
    "kep": 0.32,
    "Fp": 0.4,
    "PS": 0.1,
    "delay": 0.05,
    "T1": 1.3,
    "M0": 4000.0,
    **LINES,
    "iAUC60": area_of_lines(1),
    "iAUC90": area_of_lines(1.5),
    "iAUC60BN": area_of_lines(1) / area_of_plasma(1),
}
# Perfusion must be gone where the line of a segmented fit begins.
SPECIAL = {name: {"Dstar": 0.1} for name in ("ivim-segmented", "ivim-segmented-t2")}
PRIOR = Prior(np.array([0.12, np.log(0.8e-3), np.log(15e-3)]), np.diag([0.05, 0.3, 0.4]) ** 2)
BAYESIAN = ("ivim-bayesian", "ivim-bayesian-t2")
# The prior is otherwise learnt from all voxels.
OPTIONS = {name: {"sigma": 5.0, "prior": {0: PRIOR}} for name in BAYESIAN}
TOLERANCE = dict.fromkeys(BAYESIAN, 0.05)  # a prior draws even a clean voxel a little
SAME = dict.fromkeys(BAYESIAN, 1e-5)  # single precision


def design_of(model):
    return {name: DESIGNS[name] for name in model.design} | OPTIONS.get(model.name, {})


def truth_of(model):
    middle = {p.name: (p.lower + p.upper) / 2 for p in model.parameters}
    numbers = middle | TRUTH | SPECIAL.get(model.name, {})
    return {p.name: np.array(numbers[p.name]) for p in model.parameters}


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
class TestContract:
    """What every row of the table promises."""

    def test_recovers_its_own_signal(self, model):
        """A noise-free signal gives its parameters back, with status OK and R2 = 1."""
        design = design_of(model)
        signal = model.predict(truth_of(model), **design)
        heard = np.isfinite(signal)
        design = {k: v[heard] if np.ndim(v) else v for k, v in design.items()}
        found = fit(model, signal[heard], **design)
        for name, true in truth_of(model).items():
            assert found.values[name] == pytest.approx(true, rel=TOLERANCE.get(model.name, 1e-4))
        assert found.status == Status.OK
        assert found.rsquared == pytest.approx(1, abs=1e-4)

    def test_counts_its_free_parameters(self, model):
        """Akaike's criterion counts as many as the signal depends on: the rank of its slopes."""
        truth, design = truth_of(model), design_of(model)
        slopes = []
        for name, value in truth.items():
            ends = (model.predict(truth | {name: value * x}, **design) for x in (1.001, 0.999))
            slopes.append(np.nan_to_num(np.subtract(*ends)))
        size = np.linalg.norm(slopes, axis=1, keepdims=True)
        unit = slopes / np.where(size > 0, size, 1)
        assert np.linalg.matrix_rank(unit, tol=1e-4) == model.free

    def test_keeps_the_shape(self, model):
        """A (2, 3, N) signal gives (2, 3) maps of every parameter, error and measure."""
        signal = np.nan_to_num(model.predict(truth_of(model), **design_of(model)), nan=1.0)
        found = fit(model, np.broadcast_to(signal, (2, 3, len(signal))), **design_of(model))
        maps = [*found.values.values(), *found.stderr.values()]
        assert {m.shape for m in (*maps, found.rmse, found.rsquared, found.status)} == {(2, 3)}
        assert found.predict().shape == (2, 3, len(signal))

    def test_residuals_are_those_of_its_prediction(self, model):
        """RMSE and R2 are what predict() leaves of the signal, where every parameter is known."""
        signal = np.nan_to_num(model.predict(truth_of(model), **design_of(model)), nan=1.0)
        noisy = signal * np.random.default_rng(8).normal(1, 0.03, (40, len(signal)))
        found = fit(model, noisy, **design_of(model))
        known = np.all([np.isfinite(v) for v in found.values.values()], axis=0)
        predicted = found.predict()[known]
        spoken = np.isfinite(predicted[0])
        left = (noisy[known] - predicted)[:, spoken]
        assert known.sum() > 10
        np.testing.assert_allclose(found.rmse[known], np.sqrt(np.mean(left**2, axis=1)), rtol=1e-4)
        missed = np.mean(left**2, axis=1) / np.var(noisy[known][:, spoken], axis=1)
        np.testing.assert_allclose(1 - found.rsquared[known], missed, rtol=1e-3)

    def test_one_bad_voxel_harms_no_other(self, model):
        """NaN, infinite and empty voxels are NaN with BAD_INPUT; their neighbour is as alone."""
        signal = np.nan_to_num(model.predict(truth_of(model), **design_of(model)), nan=1.0)
        bad = [np.full_like(signal, x) for x in (np.nan, np.inf, 0)]
        block = np.stack([signal, *bad, signal])
        found = fit(model, block, **design_of(model))
        alone = fit(model, signal, **design_of(model))
        assert found.status.tolist()[1:4] == [Status.BAD_INPUT] * 3
        for name, value in found.values.items():
            assert np.isnan(value[1:4]).all()
            np.testing.assert_allclose(
                value[[0, 4]], alone.values[name], rtol=SAME.get(model.name, 1e-9)
            )

    def test_nothing_to_fit_is_no_error(self, model):
        """Voxels without any signal, or no voxels at all, give empty maps of the right shape."""
        count = len(model.predict(truth_of(model), **design_of(model)))
        found = fit(model, np.full((3, count), np.nan), **design_of(model))
        assert (found.status == Status.BAD_INPUT).all()
        assert fit(model, np.empty((0, count)), **design_of(model)).rmse.shape == (0,)

    def test_chunks_do_not_matter(self, model):
        """The same voxels in chunks of any size, in any number of threads, give the same maps."""
        rng = np.random.default_rng(3)
        signal = np.nan_to_num(model.predict(truth_of(model), **design_of(model)), nan=1.0)
        noisy = signal * rng.normal(1, 0.05, (11, len(signal)))
        one = fit(model, noisy, chunk=100, **design_of(model))
        many = fit(model, noisy, chunk=3, n_jobs=2, **design_of(model))
        np.testing.assert_array_equal(one.status, many.status)
        for name, value in one.values.items():
            np.testing.assert_allclose(value, many.values[name], rtol=SAME.get(model.name, 1e-6))

    def test_says_what_it_is(self, model):
        """Each row names its units, its formula, and a DOI."""
        assert re.match(r"10\.\d+/", model.doi)
        assert model.formula
        assert model.title
        assert all(p.unit and p.description and p.lower < p.upper for p in model.parameters)

    def test_refuses_an_incomplete_design(self, model):
        """Without its design a model is refused, and the message states what it needs."""
        with pytest.raises(FitError, match=f"{model.name} needs '{model.design[0]}'"):
            fit(model, np.ones((2, 5)))

    def test_scale_of_the_signal_does_not_matter(self, model):
        """A signal k times as strong gives the same rates and k times the amplitudes."""
        signal = np.nan_to_num(model.predict(truth_of(model), **design_of(model)), nan=1.0)
        noisy = signal * np.random.default_rng(5).normal(1, 0.02, (7, len(signal)))
        design = design_of(model)
        noise = design.get("sigma", 0)
        one, big = (
            fit(model, k * noisy, **design | ({"sigma": k * noise} if noise else {}))
            for k in (1.0, 1e3)
        )
        amplitudes = [name for name in one.values if name in ("S0", "M0")]
        for name in amplitudes:
            np.testing.assert_allclose(big.values[name], 1e3 * one.values[name], rtol=1e-6)
        # Of a concentration, all parameters but rates and times are proportional to the signal.
        rates = [p.name for p in model.parameters if p.unit in ("1/min", "min", "mm2/s", "s")]
        same = set(one.values) - set(amplitudes) - {"Ktrans", "Fp", "PS"}
        for name in same if model.design[0] != "time" else same & set(rates):
            np.testing.assert_allclose(big.values[name], one.values[name], rtol=1e-5)
        np.testing.assert_allclose(big.rmse, 1e3 * one.rmse, rtol=1e-5)

    def test_what_is_missing_has_its_status(self, model):
        """In pure noise every NaN is reported by its status, and every value lies in its range."""
        rng = np.random.default_rng(11)
        count = len(DESIGNS[model.design[0]])
        found = fit(model, rng.normal(0, 1, (300, count)), **design_of(model))
        outcome = {Status.NOT_IDENTIFIABLE, Status.BAD_INPUT}
        for parameter in model.parameters:
            value = found.values[parameter.name]
            assert set(found.status[np.isnan(value)]) <= outcome
            inside = value[found.status == Status.OK]
            assert (inside >= parameter.lower).all()
            assert (inside <= parameter.upper).all()
            assert np.isnan(found.stderr[parameter.name][np.isnan(value)]).all()


WEIGHTED = {name: row for name, row in MODELS.items() if "weights" in row.options}


@pytest.mark.parametrize("model", WEIGHTED.values(), ids=WEIGHTED)
class TestWeights:
    """What every model with weights promises."""

    def test_weights_weigh_the_residuals(self, model):
        """RMSE and R2 are weighted means, so that doubling all weights changes nothing."""
        signal = np.nan_to_num(model.predict(truth_of(model), **design_of(model)), nan=1.0)
        noisy = signal * np.random.default_rng(9).normal(1, 0.03, (20, len(signal)))
        weights = np.linspace(0.2, 3, len(signal))
        found, twice = (
            fit(model, noisy, **design_of(model), weights=k * weights) for k in (1.0, 2.0)
        )
        known = np.all([np.isfinite(v) for v in found.values.values()], axis=0)
        predicted = found.predict()[known]
        spoken = np.isfinite(predicted[0])
        square = np.square(noisy[known] - predicted)[:, spoken]
        expected = np.sqrt(np.average(square, axis=1, weights=weights[spoken]))
        assert known.sum() > 5
        np.testing.assert_allclose(found.rmse[known], expected, rtol=1e-4)
        np.testing.assert_allclose(twice.rmse, found.rmse, rtol=1e-6)
        np.testing.assert_allclose(twice.rsquared, found.rsquared, rtol=1e-4, atol=1e-6)

    def test_weight_zero_leaves_a_sample_out(self, model):
        """A sample of weight zero does not affect the fit, whatever its value."""
        signal = np.nan_to_num(model.predict(truth_of(model), **design_of(model)), nan=1.0)
        share = np.ones(len(signal))
        share[-3:] = 0, 2, 0
        spoiled = np.where(share > 0, signal, 2 * signal)
        one, other = (fit(model, y, **design_of(model), weights=share) for y in (signal, spoiled))
        for name, value in one.values.items():
            np.testing.assert_allclose(value, other.values[name], rtol=1e-6)


# Frames of a dynamic series cannot be repeated.
WEIGHTED_DIFFUSION = {name: row for name, row in WEIGHTED.items() if "bvalues" in row.design}


@pytest.mark.parametrize("model", WEIGHTED_DIFFUSION.values(), ids=WEIGHTED_DIFFUSION)
def test_a_weight_of_two_is_a_sample_taken_twice(model):
    """Values are the same as with each sample repeated as often as its weight states."""
    design, times = design_of(model), np.resize([1, 3, 2], len(DESIGNS["bvalues"]))
    signal = np.nan_to_num(model.predict(truth_of(model), **design), nan=1.0)
    noisy = signal * np.random.default_rng(9).normal(1, 0.02, (20, len(signal)))
    weighted = fit(model, noisy, **design, weights=times.astype(float))
    repeated = {"bvalues": np.repeat(design["bvalues"], times)}
    taken = fit(model, np.repeat(noisy, times, axis=1), **design | repeated)
    for name, value in weighted.values.items():
        np.testing.assert_allclose(value, taken.values[name], rtol=1e-5)


@pytest.mark.parametrize("name", sorted(MODELS.keys() - WEIGHTED.keys()))
def test_a_model_without_weights_refuses_them(name):
    """They are never ignored."""
    model = MODELS[name]
    with pytest.raises(FitError, match="takes no 'weights'"):
        fit(model, np.ones(4), **design_of(model), weights=np.ones(4))


def test_most_models_take_weights():
    """All kinetic models do, and all fits of diffusion that have no prior."""
    able = {row.name for row in (*kinetic_rows("auto"), MODELS["adc"])}
    able |= {f"ivim-{name}" for name in ("asymptotic", "segmented", "biexponential")}
    assert able <= WEIGHTED.keys()


@pytest.mark.parametrize(
    "row", [row for row in MODELS.values() if row.requires], ids=lambda r: r.name
)
def test_a_model_says_what_it_requires_of_the_b_values(row):
    """One b-value meets no need but "b = 0"; eleven meet all."""
    few, many = np.zeros(1), np.array([0, 10, 20, 40, 80, 120, 200, 400, 600, 800, 1000.0])
    assert not all(need.met for need in row.needs(bvalues=few))
    assert all(need.met and need.text for need in row.needs(bvalues=many))
