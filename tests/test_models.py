"""What fitting promises beyond the contract of each model (test_models_contract.py)."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import least_squares

from bidsapp.errors import FitError
from bidsapp.models import MODELS, IvimModel, Status, combine_directions, fit, fit_masked
from bidsapp.models.contrast.aif import parker2006, plasma_from_blood
from bidsapp.models.contrast.arrival import find_baseline_frames
from bidsapp.models.contrast.enhancement import Spgr, to_concentration
from bidsapp.models.contrast.spgr import contrast_r1, signal_to_concentration, spgr_signal
from bidsapp.models.kinetics.convolution import convolve_exponential

TIME = np.arange(60) * 5.2 / 60
PLASMA = plasma_from_blood(parker2006(TIME, 0.5), 0.42)
BVALUES = np.array([0, 10, 20, 40, 80, 200, 400, 600, 800, 1000.0])
TISSUE = {"S0": 250.0, "f": 0.12, "D": 0.8e-3, "Dstar": 15e-3}
STUDY_BVALUES = np.array([0, 200, 400, 600, 800, 1000.0])
ANGLES = np.deg2rad([2, 5, 12, 20])


def test_unknown_model_is_named():
    """An unknown model is refused with the list of those there are."""
    with pytest.raises(FitError, match=r"no model 'tofft'; choose one of adc,"):
        fit("tofft", np.ones(3))


def test_unknown_option_is_refused():
    """A misspelt option does not pass unseen."""
    with pytest.raises(FitError, match="adc takes no 'bmin'"):
        fit("adc", np.ones(3), bvalues=[0, 1, 2], bmin=3)


def test_length_of_the_design_is_checked():
    """b-values of another number than the signal's samples are refused with both numbers."""
    with pytest.raises(FitError, match="bvalues has 2 values, the signal 3"):
        fit("adc", np.ones((4, 3)), bvalues=[0, 1000])


def test_mask_of_another_shape_is_refused():
    """A mask must have the shape of the data."""
    with pytest.raises(FitError, match=r"mask has shape \(3,\), the data \(2,\)"):
        fit_masked("adc", np.ones((2, 3)), np.ones(3, bool), bvalues=[0, 1, 2])


@given(
    rate=st.floats(0, 20),
    start=st.floats(0, 5),
    slope=st.floats(-2, 2),
    gaps=st.lists(st.floats(0.01, 2), min_size=3, max_size=12),
)
def test_convolution_is_exact_for_a_straight_line(rate, start, slope, gaps):
    """A straight line is convolved to its closed form, on any uneven times and at any rate."""
    time = np.r_[0, np.cumsum(gaps)]
    got = convolve_exponential(time, start + slope * time, rate)
    if rate < 1e-4:
        expected = start * time + slope * time**2 / 2
        tolerance = 1e-2 * (1 + np.abs(start) + np.abs(slope) * time[-1]) * time[-1] ** 2 * 1e-2
    else:
        decay = -np.expm1(-rate * time)
        expected = start * decay / rate + slope * (time - decay / rate) / rate
        tolerance = 1e-7 / rate**2 * 1e-4 + 1e-9
    np.testing.assert_allclose(got, expected, rtol=1e-6, atol=tolerance)


def test_kinetics_at_zero_rates_are_exact():
    """Ktrans = 0 leaves the plasma term alone; kep = 0 is Patlak's integral."""
    model = MODELS["extended-tofts"]
    still = model.predict(
        {"Ktrans": np.array(0.0), "ve": np.array(np.nan), "vp": np.array(0.1)},
        time=TIME,
        plasma=PLASMA,
    )
    np.testing.assert_array_equal(still, 0.1 * PLASMA)
    found = fit("extended-tofts", 0.1 * PLASMA, time=TIME, plasma=PLASMA)
    assert found.values["vp"] == pytest.approx(0.1, rel=1e-6)
    integral = 0.02 * PLASMA + 0.05 * convolve_exponential(TIME, PLASMA, 0.0)
    patlak = fit("extended-tofts", integral, time=TIME, plasma=PLASMA)
    assert patlak.values["Ktrans"] == pytest.approx(0.05, rel=1e-6)
    assert np.isnan(patlak.values["ve"])
    assert patlak.status == Status.NOT_IDENTIFIABLE


def test_optimum_is_global():
    """No random-start bounded least-squares fit finds a lower cost than the grid does."""
    rng = np.random.default_rng(11)
    truth = {"Ktrans": 10 ** rng.uniform(-2.5, -0.5, 25), "vp": rng.uniform(0, 0.1, 25)}
    truth["ve"] = np.maximum(rng.uniform(0.05, 0.6, 25), truth["Ktrans"] / 9)
    clean = MODELS["extended-tofts"].predict(truth, time=TIME, plasma=PLASMA)
    noisy = clean + rng.normal(0, 0.05, clean.shape)
    found = fit("extended-tofts", noisy, time=TIME, plasma=PLASMA)

    def residual(p, y):
        return p[0] * PLASMA + p[1] * convolve_exponential(TIME, PLASMA, p[2]) - y

    for voxel, y in enumerate(noisy):
        starts = rng.uniform([0, 0, 0], [0.3, 1, 8], (8, 3))
        box = ([0, 0, 0], [np.inf, np.inf, 10])
        best = min(2 * least_squares(residual, s, bounds=box, args=(y,)).cost for s in starts)
        assert found.rmse[voxel] ** 2 * len(TIME) <= best * 1.0001


TWICE_AT_ZERO = {"bvalues": np.r_[0, STUDY_BVALUES]}
MANY_B = {"bvalues": np.array([0, 10, 20, 40, 80, 120, 200, 400, 600, 800, 1000.0])}
DYNAMIC = {"time": TIME, "plasma": PLASMA}
# The correction is negligible at this sigma, but the signal is fitted and not its logarithm.
OWN_SCALE = {"noise": "rician", "sigma": 1e-3}


@pytest.mark.parametrize(
    ("model", "truth", "design", "noise"),
    [
        ("adc", {"ADC": 1e-3, "S0": 100}, TWICE_AT_ZERO, 1.0),
        ("adc", {"ADC": 1e-3, "S0": 100}, TWICE_AT_ZERO | OWN_SCALE, 1.0),
        ("ivim-asymptotic", {"f": 0.1, "D": 1e-3, "S0": 100}, TWICE_AT_ZERO, 1.0),
        ("ivim-asymptotic", {"f": 0.1, "D": 1e-3, "S0": 100}, TWICE_AT_ZERO | OWN_SCALE, 1.0),
        ("ivim-biexponential", {"f": 0.2, "D": 1e-3, "Dstar": 0.02, "S0": 100}, MANY_B, 0.3),
        ("ivim-segmented", {"f": 0.2, "D": 1e-3, "Dstar": 0.06, "S0": 100}, MANY_B, 0.3),
        ("tofts", {"Ktrans": 0.08, "ve": 0.25, "kep": 0.32}, DYNAMIC, 0.02),
        ("extended-tofts", {"Ktrans": 0.08, "ve": 0.25, "vp": 0.04, "kep": 0.32}, DYNAMIC, 0.02),
        ("patlak", {"Ktrans": 0.08, "vp": 0.04}, DYNAMIC, 0.02),
        ("two-compartment-uptake", {"Fp": 0.3, "PS": 0.05, "vp": 0.06}, DYNAMIC, 0.005),
        ("two-compartment-exchange", {"Fp": 0.3, "PS": 0.1, "ve": 0.2, "vp": 0.06}, DYNAMIC, 0.003),
    ],
)
def test_standard_errors_are_the_scatter_of_repeated_noise(model, truth, design, noise):
    """Of every parameter, to 5 %: the values of many noisy copies scatter by what is reported."""
    arrays = {name: np.array(value, float) for name, value in truth.items()}
    points = {name: value for name, value in design.items() if name not in OWN_SCALE}
    clean = MODELS[model].predict(arrays, **points)
    noisy = clean + np.random.default_rng(5).normal(0, noise, (5000, clean.size))
    found = fit(model, noisy, **design)
    assert set(truth) == set(found.stderr)
    # The segmented fit takes D as known, so that the other errors leave out that of D.
    for name in ["D"] if model == "ivim-segmented" else truth:
        # Variances, as that of the residuals is unbiased however few samples there are.
        stated = np.sqrt(np.mean(found.stderr[name] ** 2))
        assert np.std(found.values[name]) == pytest.approx(stated, rel=0.05), name


def test_asymptotic_fit_is_the_studys():
    """F is one minus the intercept of the line through b >= 200 over S(0), to the last digit."""
    rng = np.random.default_rng(2)
    truth = {k: np.array(v) for k, v in TISSUE.items()}
    signal = MODELS["ivim-biexponential"].predict(truth, bvalues=STUDY_BVALUES)
    signal = signal * rng.normal(1, 0.01, signal.shape)
    slope, intercept = np.polyfit(STUDY_BVALUES[1:], np.log(signal[1:]), 1)
    found = fit("ivim-asymptotic", signal, bvalues=STUDY_BVALUES)
    assert found.values["D"] == pytest.approx(-slope)
    assert found.values["f"] == pytest.approx(1 - np.exp(intercept) / signal[0])


@pytest.mark.parametrize("model", ["adc", "ivim-asymptotic", "ivim-biexponential"])
def test_the_limits_of_the_range_belong_to_it(model):
    """With b_max at a b-value, as with b_min, its sample is fitted; those beyond are not."""
    signal = np.exp(-BVALUES * 1e-3) + np.random.default_rng(4).normal(0, 0.02, BVALUES.size)
    part = BVALUES <= 800
    found = fit(model, signal, bvalues=BVALUES, b_max=800.0)
    alone = fit(model, signal[part], bvalues=BVALUES[part])
    assert found.samples == alone.samples
    np.testing.assert_allclose([*found.values.values()], [*alone.values.values()])
    if model == "adc":
        line = fit(model, signal, bvalues=BVALUES, b_min=200.0, b_max=800.0)
        inner = fit(model, signal[5:9], bvalues=BVALUES[5:9])
        assert line.values["ADC"] == pytest.approx(inner.values["ADC"])


@pytest.mark.parametrize("model", ["ivim-asymptotic", "ivim-segmented"])
def test_the_signal_at_b_zero_is_no_part_of_the_line(model):
    """Whatever b_min: it includes the blood."""
    signal = 90 * np.exp(-BVALUES * 1e-3) + 10 * (BVALUES == 0)
    found = fit(model, signal, bvalues=BVALUES, b_min=0.0)
    assert found.values["D"] == pytest.approx(1e-3)
    assert found.values["f"] == pytest.approx(0.1, abs=0.01)


def test_asymptotic_fit_needs_b_zero():
    """Without b = 0 the asymptotic fit is refused; the message names a fit that can do without."""
    with pytest.raises(FitError, match="needs the signal at b = 0; the lowest b-value is 50"):
        fit("ivim-asymptotic", np.ones((1, 4)), bvalues=[50, 200, 400, 600])


def test_negative_fraction_is_kept_and_marked():
    """Noise that makes f negative is not clipped: the value is kept, and its status marks it."""
    signal = np.exp(-STUDY_BVALUES * 1e-3)
    signal[0] = 0.95
    found = fit("ivim-asymptotic", signal, bvalues=STUDY_BVALUES)
    assert found.values["f"] < 0
    assert found.status == Status.AT_BOUND


def test_shells_are_distinguished():
    """Rounded b-values merge, the low ones of IVIM do not, and below 5 they count as zero."""
    bvalues = [0, 4.9, 10, 20, 995, 1000, 1005]
    shells, combined = combine_directions(np.arange(1, 8.0), bvalues)
    np.testing.assert_allclose(shells, [0, 10, 20, 1000])
    np.testing.assert_allclose(combined, [2**0.5, 3, 4, 210 ** (1 / 3)])


def test_a_volume_without_signal_spoils_its_voxel_only():
    """A signal of zero in one direction has no geometric mean, and the mean is not zero."""
    data = np.array([[9.0, 4.0, 0.0], [9.0, 4.0, 1.0]])
    _, combined = combine_directions(data, [0, 1000, 1000])
    assert np.isnan(combined[0, 1])
    assert combined[1, 1] == pytest.approx(2)


def test_estimator_takes_dipys_place():
    """The estimator takes dipy's gradient table, as dipy's own class does, and finds the truth."""
    from dipy.core.gradients import gradient_table
    from dipy.reconst.ivim import IvimModel as DipyModel

    truth = {k: np.array(v) for k, v in TISSUE.items()}
    signal = MODELS["ivim-biexponential"].predict(truth, bvalues=BVALUES)
    directions = np.eye(3)[np.arange(len(BVALUES)) % 3] * (BVALUES[:, None] > 0)
    gtab = gradient_table(BVALUES, bvecs=directions, b0_threshold=0)
    ours = IvimModel(gtab, method="biexponential").fit(signal)
    with pytest.warns(UserWarning, match="Bounds for this fit"):
        dipys = DipyModel(gtab, fit_method="trr")
    theirs = dipys.fit(signal)
    for name in ("perfusion_fraction", "D", "D_star"):
        assert getattr(ours, name) == pytest.approx(getattr(theirs, name), rel=0.02)
    np.testing.assert_allclose(ours.predict(gtab), signal, rtol=1e-4)
    np.testing.assert_allclose(theirs.predict(gtab), signal, rtol=1e-2)


@settings(max_examples=50)
@given(
    concentration=st.floats(0, 10),
    t1=st.floats(0.3, 4),
    angle=st.floats(5, 40),
    time=st.floats(0.002, 0.01),
)
def test_concentration_inverts_the_signal(concentration, t1, angle, time):
    """The concentration found is the one that made the signal, for any acquisition."""
    setting = {"repetition_time": time, "flip_angle": np.deg2rad(angle)}
    signal = spgr_signal(contrast_r1([0, concentration], t1, 4.5), **setting)
    got = signal_to_concentration(signal, signal[0], t1=t1, relaxivity=4.5, **setting)
    np.testing.assert_allclose(got, [0, concentration], atol=1e-6)


def test_the_baseline_is_the_mean_of_its_frames():
    """A signal equal to that mean has no contrast agent; no other frame enters the mean."""
    spgr = Spgr(repetition_time=0.004, flip_angle=0.26, relaxivity=4.5)
    found = to_concentration([4.0, 6.0, 10.0, 5.0], 2, 1.6, spgr)
    assert found[3] == pytest.approx(0, abs=1e-9)
    assert (found[:3] * [-1, 1, 1] > 0.01).all()


def test_signal_beyond_the_physical_range_is_nan():
    """A signal above full magnetisation, or a baseline of zero, gives NaN and no number."""
    setting = {"repetition_time": 0.004, "flip_angle": 0.26, "t1": 1.5, "relaxivity": 4.5}
    assert np.isnan(signal_to_concentration([1.0, 500.0], 1.0, **setting)[1])
    assert np.isnan(signal_to_concentration([1.0, 2.0], 0.0, **setting)).all()


@given(shift=st.integers(3, 20), noise=st.integers(0, 100))
def test_bolus_is_found_where_it_arrives(shift, noise):
    """The frames before the arrival are counted, one spared, whatever the shift and the noise."""
    rng = np.random.default_rng(noise)
    curve = parker2006(np.arange(60) * 5.2 / 60, shift * 5.2 / 60) + rng.normal(0, 0.05, 60)
    assert shift - 2 <= find_baseline_frames(curve) <= shift + 1


def test_no_bolus_is_said():
    """A curve that only falls has no frame before the bolus, and the message states what to do."""
    with pytest.raises(FitError, match=r"no frame before the bolus.*--baseline-frames"):
        find_baseline_frames([5.0, 4.0, 3.0])
