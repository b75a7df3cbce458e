"""Semi-quantitative description of contrast curves: hand-worked curves, laws, and real ones."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import spearmanr

from bidsapp.errors import FitError
from bidsapp.models import MODELS, Status, fit, parker2006
from bidsapp.models.arterial_error import arterial_effects
from bidsapp.models.contrast.arrival import find_arrival
from bidsapp.models.kinetics.semiquantitative import interval_weights

NAME = "semi-quantitative"
ARRIVAL = 0.5
TIME = np.arange(40) / 10
RRIFT = np.load(Path(__file__).parent / "data" / "dce_gbm_rrift" / "curves.npz")


def lines(peak, rise, decline, time=TIME, arrival=ARRIVAL):
    """Return a rise from zero at the arrival, and a straight line after the peak."""
    u = np.maximum(time - arrival, 0)
    return rise * np.minimum(u, peak) + decline * np.maximum(u - peak, 0)


def describe(curve, time=TIME, arrival=ARRIVAL, **options):
    return fit(NAME, curve, time=time, arrival=arrival, **options)


def test_a_triangle_worked_by_hand():
    """Arrival at 30 s, peak of 0.6 mM 18 s later, then a fall of 0.1 mM/min.

    iAUC60 = 0.3 x 0.6 / 2 + (0.6 + 0.53) / 2 x 0.7; iAUC90 = 0.09 + (0.6 + 0.48) / 2 x 1.2 mM min.
    """
    found = describe(lines(0.3, 2.0, -0.1))
    expected = {"iAUC60": 0.4855, "iAUC90": 0.738, "TTP": 0.3, "washin": 2.0, "washout": -0.1}
    for name, value in expected.items():
        assert found.values[name] == pytest.approx(value, rel=1e-9), name
        assert found.stderr[name] == pytest.approx(0, abs=1e-9), name
    assert found.status == Status.OK


def test_a_peak_between_two_frames_is_found():
    """The lines before and after meet at 0.333 min, which is no frame."""
    assert describe(lines(0.333, 2.0, -0.1)).values["TTP"] == pytest.approx(0.333, rel=1e-9)


def test_the_area_is_that_of_the_trapezoidal_rule():
    """On frames that hold both limits it is numpy's; limits between frames are interpolated."""
    curve = np.random.default_rng(1).uniform(0, 1, len(TIME))
    assert describe(curve).values["iAUC60"] == pytest.approx(np.trapezoid(curve[5:16], TIME[5:16]))
    inside = quad(np.interp, 0.54, 1.54, args=(TIME, curve), points=TIME[6:16], limit=200)[0]
    assert describe(curve, arrival=0.54).values["iAUC60"] == pytest.approx(inside, rel=1e-6)


def test_the_area_of_tissue_is_that_of_its_equation():
    """Of an extended Tofts curve sampled every second, against the integral of fine samples."""
    fine = np.arange(0, 4, 0.001)
    plasma = parker2006(fine, ARRIVAL)
    truth = {k: np.array(v) for k, v in {"Ktrans": 0.1, "ve": 0.3, "vp": 0.04}.items()}
    curve = MODELS["extended-tofts"].predict(truth, time=fine, plasma=plasma)
    late = (fine >= ARRIVAL) & (fine <= ARRIVAL + 1.0005)
    frames = slice(0, None, 17)
    found = describe(curve[frames], fine[frames]).values["iAUC60"]
    assert found == pytest.approx(np.trapezoid(curve[late], fine[late]), rel=3e-3)


def test_the_artery_relative_to_itself_is_one():
    """A tissue that is plasma to a fifth has a fifth of its initial area."""
    plasma = parker2006(TIME, ARRIVAL)
    found = fit(f"{NAME}-relative", 0.2 * plasma, time=TIME, plasma=plasma, arrival=ARRIVAL)
    assert found.values["iAUC60BN"] == pytest.approx(0.2, rel=1e-9)
    for name, value in describe(0.2 * plasma).values.items():
        np.testing.assert_array_equal(found.values[name], value)


def test_an_error_of_the_artery_changes_the_relative_area_alone():
    """By the weight of its frame in the area under the plasma curve, for small errors."""
    plasma, name = parker2006(TIME, ARRIVAL), f"{NAME}-relative"
    found = arterial_effects(name, 0.2 * plasma, plasma, noise=1e-3, time=TIME, arrival=ARRIVAL)
    share = interval_weights(TIME, ARRIVAL, ARRIVAL + 1)
    expected = -0.2 * 1e-3 * share / (share @ plasma)
    np.testing.assert_allclose(found.pop("iAUC60BN"), expected, rtol=1e-3, atol=1e-12)
    for value in found.values():
        np.testing.assert_array_equal(value, 0)


@pytest.mark.parametrize(("minutes", "lost"), [(1.2, {"iAUC60", "iAUC90"}), (1.8, {"iAUC90"})])
def test_a_short_series_is_never_extrapolated(minutes, lost):
    """An area beyond the last frame is NaN, and its status says so; the rest is there."""
    short = minutes >= TIME
    found = describe(lines(0.3, 2.0, -0.1)[short], TIME[short])
    assert {name for name, value in found.values.items() if np.isnan(value)} == lost
    assert found.status == Status.NOT_IDENTIFIABLE


def test_a_curve_that_rises_to_the_end_has_no_peak():
    """Neither time to peak nor wash-out, but a wash-in slope and areas."""
    found = describe(lines(9.0, 0.2, 0.0))
    assert np.isnan([found.values["TTP"], found.values["washout"]]).all()
    assert found.values["washin"] == pytest.approx(0.2)
    assert found.status == Status.NOT_IDENTIFIABLE


def test_a_curve_without_enhancement_has_no_peak():
    """In noise alone, most voxels have no time to peak, and areas scatter about zero."""
    found = describe(np.random.default_rng(2).normal(0, 0.1, (2000, len(TIME))))
    assert np.isnan(found.values["TTP"]).mean() > 0.9
    assert abs(found.values["iAUC60"].mean()) < 3 * 0.1 / np.sqrt(2000)


def test_too_few_frames_are_refused():
    """With the number that is needed, and the arrival."""
    with pytest.raises(FitError, match="need 5 frames after the arrival of the bolus at 222 s"):
        describe(np.ones(len(TIME)), arrival=3.7)


CURVES = st.builds(
    lambda peak, rise, decline, seed: (
        lines(peak, rise, decline) + np.random.default_rng(seed).normal(0, 0.05, (5, len(TIME)))
    ),
    peak=st.floats(0.2, 2.0),
    rise=st.floats(0.3, 3.0),
    decline=st.floats(-0.2, 0.1),
    seed=st.integers(0, 99),
)


@settings(max_examples=30, deadline=None)
@given(curves=CURVES, factor=st.floats(0.01, 100))
def test_concentration_scales_areas_and_slopes_alone(curves, factor):
    """All are linear in the concentration but the time to peak, which does not depend on it."""
    one, other = describe(curves), describe(factor * curves)
    for name, value in one.values.items():
        k = 1 if name == "TTP" else factor
        np.testing.assert_allclose(other.values[name], k * value, rtol=1e-6, atol=1e-9 * factor)
        np.testing.assert_allclose(other.stderr[name], k * one.stderr[name], rtol=1e-5)


@settings(max_examples=30, deadline=None)
@given(curves=CURVES, shift=st.floats(-5, 5))
def test_the_origin_of_time_does_not_matter(curves, shift):
    """Times and arrival later by the same amount give the same parameters."""
    one, other = describe(curves), describe(curves, TIME + shift, ARRIVAL + shift)
    for name, value in one.values.items():
        np.testing.assert_allclose(other.values[name], value, rtol=1e-5, atol=1e-7)


@settings(max_examples=30, deadline=None)
@given(start=st.floats(0, 1.9), length=st.floats(0.01, 2.0), slope=st.floats(-3, 3))
def test_the_area_under_a_straight_line_is_exact(start, length, slope):
    """Whatever the limits and the spacing of the samples."""
    time = np.cumsum(np.r_[0, np.linspace(0.05, 0.5, 15)])
    share = interval_weights(time, start, start + length)
    middle = start + length / 2
    assert share @ (1 + slope * time) == pytest.approx(length * (1 + slope * middle), abs=1e-9)


def test_standard_errors_are_those_of_repeated_noise():
    """The scatter of 4,000 noisy curves, each relative to its own baseline, within a tenth."""
    rng = np.random.default_rng(3)
    noisy = lines(0.4, 1.5, -0.05) + rng.normal(0, 0.04, (4000, len(TIME)))
    noisy -= noisy[:, TIME <= ARRIVAL].mean(axis=1, keepdims=True)
    found = describe(noisy)
    for name, value in found.values.items():
        scatter, stated = np.nanstd(value), np.sqrt(np.nanmean(found.stderr[name] ** 2))
        assert stated == pytest.approx(scatter, rel=0.12), name


def test_an_outlying_frame_is_left_out_by_its_weight():
    """The frame of the peak is spoilt; without it the lines are found all the same."""
    curve, weights = lines(0.35, 2.0, -0.1), np.ones(len(TIME))
    curve[8], weights[8] = 9.0, 0
    found = describe(curve, weights=weights)
    assert found.values["TTP"] == pytest.approx(0.35, rel=1e-6)
    assert found.values["washin"] == pytest.approx(2.0, rel=1e-6)


@pytest.mark.parametrize("visit", [1, 2, 3])
def test_glioblastoma(visit):
    """Areas of measured voxels are those under the curves of the published fits of these voxels."""
    time, plasma, tissue, published = (
        np.asarray(RRIFT[f"{k}_{visit}"], float) for k in ("time", "plasma", "tissue", "published")
    )
    arrival = find_arrival(tissue.mean(axis=0), time).time
    fine = (published > 0).all(axis=1)
    ktrans, kep, vp = published[fine].T
    theirs = MODELS["extended-tofts"].predict(
        {"Ktrans": ktrans, "kep": kep, "vp": vp}, time=time, plasma=plasma
    )
    found, expected = describe(tissue[fine], time, arrival), describe(theirs, time, arrival)
    assert fine.sum() > 100
    for name in ("iAUC60", "iAUC90"):
        ratio = found.values[name] / expected.values[name]
        assert np.isfinite(ratio).all()
        assert np.median(ratio) == pytest.approx(1, abs=0.1), name
        assert spearmanr(found.values[name], expected.values[name]).statistic > 0.97, name
