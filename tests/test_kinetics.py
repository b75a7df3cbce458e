"""Kinetic models beyond their contract: exchange, delay, arterial curves by voxel, choice."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bidsapp.errors import FitError
from bidsapp.models import MODELS, Status, fit
from bidsapp.models.contrast.aif import parker2006, plasma_from_blood
from bidsapp.models.kinetics.convolution import convolve_exponential, delayed_curves
from bidsapp.models.kinetics.exchange import from_response, to_response

TIME = np.arange(60) * 5.2 / 60
PLASMA = plasma_from_blood(parker2006(TIME, 0.5), 0.42)
DESIGN = {"time": TIME, "plasma": PLASMA}


def curve(model, **values):
    return MODELS[model].predict({k: np.array(v) for k, v in values.items()}, **DESIGN)


@given(
    flow=st.floats(0.05, 2),
    exchange=st.floats(0.005, 1),
    ve=st.floats(0.02, 0.6),
    vp=st.floats(0.005, 0.3),
)
def test_response_and_physiology_are_each_others_inverse(flow, exchange, ve, vp):
    """Amplitudes and rates are never negative, and give flow, exchange and volumes back."""
    response = np.array(to_response(*np.array([[flow], [exchange], [ve], [vp]])))
    assert (response >= 0).all()
    np.testing.assert_allclose(from_response(response)[:, 0], [flow, exchange, ve, vp], rtol=1e-6)


def test_slow_exchange_is_extended_tofts():
    """With a flow that is fast beside the frames, exchange looks like extended Tofts with PS."""
    fast = curve("two-compartment-exchange", Fp=20.0, PS=0.05, ve=0.2, vp=0.05)
    tofts = curve("extended-tofts", Ktrans=0.05, ve=0.2, vp=0.05, kep=0.25)
    assert np.abs(fast - tofts).max() < 0.05 * tofts.max()


def test_uptake_is_exchange_into_a_space_without_end():
    """Nothing returns from an extravascular space that is huge: uptake is that limit."""
    taken = curve("two-compartment-uptake", Fp=0.6, PS=0.08, vp=0.06)
    endless = curve("two-compartment-exchange", Fp=0.6, PS=0.08, ve=1e7, vp=0.06)
    np.testing.assert_allclose(taken, endless, rtol=1e-6)


@settings(deadline=None, max_examples=40)
@given(delay=st.floats(-0.3, 0.5), rate=st.floats(0, 5))
def test_delayed_curves_are_those_of_a_fine_grid(delay, rate):
    """Delay and convolution are exact: 200 times finer frames give the same."""
    fine = np.linspace(0, TIME[-1], 59 * 200 + 1)
    known = np.interp(fine, TIME, PLASMA)
    convolved = convolve_exponential(fine, known, rate)
    blood, tissue = delayed_curves(TIME, PLASMA, rate, delay)
    wanted = TIME - delay
    inside = wanted <= TIME[-1]
    np.testing.assert_allclose(
        blood[inside], np.interp(wanted[inside], fine, known, left=0), atol=1e-9
    )
    np.testing.assert_allclose(
        tissue[inside], np.interp(wanted[inside], fine, convolved, left=0), atol=2e-4
    )


@pytest.mark.parametrize("delay", [-0.05, 0.0, 0.0317, 0.2])
def test_delay_is_found_between_frames(delay):
    """A delay is found within 0.005 min of frames 0.087 min apart, and Ktrans with it."""
    values = {"Ktrans": np.array(0.1), "ve": np.array(0.3), "vp": np.array(0.04)}
    signal = MODELS["extended-tofts"].predict(values, **DESIGN, delay=delay)
    found = fit("extended-tofts-delay", signal, **DESIGN)
    assert found.values["delay"] == pytest.approx(delay, abs=0.005)
    assert found.values["Ktrans"] == pytest.approx(0.1, rel=0.03)


def test_a_delay_ignored_biases_vp_and_the_fit_repairs_it():
    """A bolus that is 6 s late halves vp if it is not known of."""
    values = {"Ktrans": np.array(0.1), "ve": np.array(0.3), "vp": np.array(0.04)}
    late = MODELS["extended-tofts"].predict(values, **DESIGN, delay=0.1)
    late = late + np.random.default_rng(2).normal(0, 0.01, (200, 60))
    ignored, fitted = (fit(m, late, **DESIGN) for m in ("extended-tofts", "extended-tofts-delay"))
    assert np.median(ignored.values["vp"]) < 0.02
    assert np.median(fitted.values["vp"]) == pytest.approx(0.04, rel=0.1)
    z = (fitted.values["delay"] - 0.1) / fitted.stderr["delay"]
    assert np.nanstd(z) == pytest.approx(1, abs=0.25)


def test_the_error_of_a_delay_counts_its_free_parameters():
    """Of 14 frames four are spent on the parameters: errors from 14 would be a fifth too small."""
    time = np.r_[np.arange(10) * 0.1, 1.2 + 0.3 * np.arange(4)]
    design = {"time": time, "plasma": plasma_from_blood(parker2006(time, 0.25), 0.42)}
    values = {k: np.full(300, v) for k, v in {"Ktrans": 0.1, "ve": 0.25, "vp": 0.05}.items()}
    signal = MODELS["extended-tofts"].predict(values, **design, delay=0.05)
    noisy = signal + np.random.default_rng(0).normal(0, 0.03, signal.shape)
    found = fit("extended-tofts-delay", noisy, **design)
    z = (found.values["delay"] - 0.05) / found.stderr["delay"]
    assert np.nanstd(z) == pytest.approx(1, abs=0.15)


def test_a_delay_beyond_the_range_is_marked():
    """A bolus later than the range gives its bound with that status; an empty range is refused."""
    values = {"Ktrans": np.array(0.1), "ve": np.array(0.3), "vp": np.array(0.04)}
    signal = MODELS["extended-tofts"].predict(values, **DESIGN, delay=0.3)
    found = fit("extended-tofts-delay", signal, **DESIGN, delay_range=(0.0, 0.1))
    assert found.status == Status.AT_BOUND
    with pytest.raises(FitError, match="delay_range must be"):
        fit("extended-tofts-delay", signal, **DESIGN, delay_range=(0.2, 0.1))


def test_each_voxel_may_have_its_own_arterial_curve():
    """A plasma curve for each voxel gives what each gives alone."""
    plasma = np.stack([PLASMA, 0.7 * PLASMA, PLASMA])
    signal = np.stack([0.03 * p + 0.1 * convolve_exponential(TIME, p, 0.4) for p in plasma])
    found = fit("extended-tofts", signal, time=TIME, plasma=plasma)
    np.testing.assert_allclose(found.values["vp"], 0.03, rtol=1e-5)
    np.testing.assert_allclose(found.values["kep"], 0.4, rtol=1e-5)


def test_criterion_prefers_the_model_that_made_the_curve():
    """AICc prefers Patlak for a curve without return, extended Tofts for one with plasma."""
    rng = np.random.default_rng(3)
    noise = rng.normal(0, 0.02, (300, 60))
    leak = curve("patlak", Ktrans=0.03, vp=0.04) + noise
    washed = curve("extended-tofts", Ktrans=0.15, ve=0.2, vp=0.04) + noise
    for signal, best in ((leak, "patlak"), (washed, "extended-tofts")):
        names = ("patlak", "tofts", "extended-tofts", "two-compartment-exchange")
        criterion = np.stack([fit(n, signal, **DESIGN).aicc for n in names])
        assert names[criterion.sum(axis=1).argmin()] == best


def test_bounds_are_kept_and_checked():
    """A searched rate stays in the bounds given; bounds on anything else are refused in words."""
    signal = curve("extended-tofts", Ktrans=0.2, ve=0.1, vp=0.02, kep=2.0)
    found = fit("extended-tofts", signal, **DESIGN, bounds={"kep": (0.1, 1.0)})
    assert found.values["kep"] == pytest.approx(1.0)
    assert found.status == Status.AT_BOUND
    found = fit("extended-tofts", signal, **DESIGN, bounds={"kep": (3.0, 5.0)})
    assert found.values["kep"] == pytest.approx(3.0)
    assert found.status == Status.AT_BOUND
    wide = fit("tofts", curve("tofts", Ktrans=0.6, ve=0.02), **DESIGN, bounds={"kep": (0, 40)})
    assert wide.values["kep"] == pytest.approx(30, rel=1e-3)
    with pytest.raises(FitError, match="takes no bounds for vp: it searches kep"):
        fit("extended-tofts", signal, **DESIGN, bounds={"vp": (0, 0.1)})
    with pytest.raises(FitError, match=r"bounds of kep must be \(low, high\)"):
        fit("extended-tofts", signal, **DESIGN, bounds={"kep": (2, 1)})


def test_frames_left_out_at_the_end_are_as_never_taken():
    """Late frames of weight zero leave a delay and its standard error as a shorter series does."""
    noise = np.random.default_rng(12).normal(0, 0.02, (8, 60))
    noisy = curve("extended-tofts", Ktrans=0.1, ve=0.3, vp=0.04) + noise
    weights = np.where(np.arange(60) < 40, 1.0, 0.0)
    left_out = fit("extended-tofts-delay", noisy, **DESIGN, weights=weights)
    short = fit("extended-tofts-delay", noisy[:, :40], time=TIME[:40], plasma=PLASMA[:40])
    for maps, others in ((left_out.values, short.values), (left_out.stderr, short.stderr)):
        np.testing.assert_allclose(maps["delay"], others["delay"], rtol=0.02)
