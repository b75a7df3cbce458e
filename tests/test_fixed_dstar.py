"""IVIM with D* held, and f corrected for relaxation: against scipy, OSIPI's curves and physics."""

import json
from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import curve_fit

from bidsapp.errors import FitError
from bidsapp.models import MODELS, Status, fit
from bidsapp.models.diffusion.relaxation import correct_fraction, spin_echo_weight

STUDY = np.array([0, 200, 400, 600, 800, 1000.0])
OSIPI = Path(__file__).parent / "data" / "ivim_osipi"
NAME = "ivim-fixed-dstar"


def mixture(b, s0, f, d, dstar):
    return s0 * (f * np.exp(-b * dstar) + (1 - f) * np.exp(-b * d))


@pytest.mark.parametrize(("dstar", "loss"), [(8e-3, 0.23), (10e-3, 0.15), (15e-3, 0.05)])
def test_it_recovers_what_the_straight_line_loses(dstar, loss):
    """The line from b = 200 s/mm2 takes some blood for tissue and loses part of f; the fit not."""
    signal = mixture(STUDY, 100, 0.1, 1e-3, dstar)
    line = fit("ivim-asymptotic", signal, bvalues=STUDY)
    held = fit(NAME, signal, bvalues=STUDY, dstar=dstar)
    assert 1 - line.values["f"] / 0.1 == pytest.approx(loss, abs=0.012)
    assert held.values["f"] == pytest.approx(0.1, rel=1e-4)
    assert held.values["D"] == pytest.approx(1e-3, rel=1e-4)


def test_it_is_the_least_squares_fit_of_scipy():
    """Values and standard errors equal those of scipy's curve_fit with D* fixed."""
    rng = np.random.default_rng(4)
    clean = mixture(STUDY, 100, 0.12, 0.9e-3, 12e-3)
    noisy = clean + rng.normal(0, 1.5, (30, len(STUDY)))
    found = fit(NAME, noisy, bvalues=STUDY, dstar=12e-3)
    inside = found.status == Status.OK
    assert inside.sum() > 20
    for i in np.flatnonzero(inside):
        values, covariance = curve_fit(
            lambda b, s0, f, d: mixture(b, s0, f, d * 1e-3, 12e-3),
            STUDY,
            noisy[i],
            (100, 0.1, 1.0),
            ftol=1e-12,
            xtol=1e-12,
        )
        errors = np.sqrt(np.diag(covariance))
        for name, k, unit in (("S0", 0, 1), ("f", 1, 1), ("D", 2, 1e-3)):
            assert found.values[name][i] == pytest.approx(values[k] * unit, rel=1e-4)
            assert found.stderr[name][i] == pytest.approx(errors[k] * unit, rel=2e-2)


@pytest.mark.parametrize("tissue", ["Gray matter", "White matter"])
def test_it_finds_the_brain_of_osipi(tissue):
    """With their D*, f and D of OSIPI's noisy brain curves are found within three errors."""
    curves = json.loads((OSIPI / "generic_brain.json").read_text())
    truth, b = curves[tissue], np.array(curves["config"]["bvalues"])
    found = fit(NAME, truth["data"], bvalues=b, dstar=truth["Dp"])
    for name in ("f", "D"):
        error = abs(found.values[name] - truth[name])
        assert error < 3 * found.stderr[name]
        assert error < 0.02 * truth[name]


def test_its_standard_error_is_the_scatter():
    """Over repeated noise, f scatters by its mean standard error, and its mean is the truth."""
    rng = np.random.default_rng(7)
    clean = mixture(STUDY, 100, 0.15, 1e-3, 10e-3)
    found = fit(NAME, clean + rng.normal(0, 1, (4000, len(STUDY))), bvalues=STUDY, dstar=10e-3)
    scatter = found.values["f"].std()
    assert np.sqrt(np.mean(found.stderr["f"] ** 2)) == pytest.approx(scatter, rel=0.05)
    assert found.values["f"].mean() == pytest.approx(0.15, abs=4 * scatter / np.sqrt(4000))


@pytest.mark.parametrize("dstar", [0.004, -0.01, 1.0])
def test_a_dstar_that_could_be_a_d_is_refused(dstar):
    """D* lies above every D that is searched, or blood and tissue could change places."""
    with pytest.raises(FitError, match=r"dstar of ivim-fixed-dstar must be above .* got"):
        fit(NAME, np.ones(6), bvalues=STUDY, dstar=dstar)


@pytest.mark.parametrize("b", [[0, 200, 200.0], [100, 200, 300.0]])
def test_too_few_b_values_are_refused(b):
    """Three parameters need three b-values, and f is a fraction of the signal at b = 0."""
    with pytest.raises(FitError, match="needs b = 0 and two further b-values"):
        fit(NAME, np.ones(3), bvalues=np.array(b), dstar=0.01)
    assert not all(need.met for need in MODELS[NAME].needs(bvalues=np.unique(b)))


def test_relaxation_is_undone():
    """A voxel mixed of blood and tissue by protons gives its mixture back, whatever TE and TR."""
    blood, tissue = {"t1": 1.65, "t2": 0.275}, {"t1": 1.6, "t2": 0.099}
    share = np.array([0.0, 0.03, 0.1, 0.4])
    for repetition, echo in ((3.0, 0.06), (5.0, 0.1)):
        w_b, w_t = (spin_echo_weight(repetition, echo, **x) for x in (blood, tissue))
        f = share * w_b / (share * w_b + (1 - share) * w_t)
        assert (f[1:] > share[1:]).all()
        np.testing.assert_allclose(correct_fraction(f, w_b / w_t), share, atol=1e-12)


def test_the_corrected_fraction_comes_with_the_fit():
    """It is a further parameter; f stays the fraction of the signal, and errors propagate."""
    rng = np.random.default_rng(1)
    noisy = mixture(STUDY, 100, 0.1, 1e-3, 0.1) + rng.normal(0, 1, (2000, 6))
    plain = fit("ivim-asymptotic", noisy, bvalues=STUDY)
    found = fit("ivim-asymptotic-t2", noisy, bvalues=STUDY, blood_signal=1.5)
    np.testing.assert_array_equal(found.values["f"], plain.values["f"])
    expected = correct_fraction(plain.values["f"], 1.5)
    np.testing.assert_array_equal(found.values["fT2"], expected)
    assert found.stderr["fT2"].mean() == pytest.approx(found.values["fT2"].std(), rel=0.1)


def test_an_impossible_correction_is_withheld():
    """An f far below zero has no proton fraction: it is NaN, with its status."""
    signal = np.array([[10.0, 90, 80, 70, 60, 50], [100, 80, 68, 57, 48, 40]])
    found = fit("ivim-asymptotic-t2", signal, bvalues=STUDY, blood_signal=0.5)
    assert found.values["f"][0] < -1
    assert np.isnan(found.values["fT2"]).tolist() == [True, False]
    assert found.status.tolist()[0] == Status.NOT_IDENTIFIABLE


def test_a_ratio_of_signals_is_positive():
    """Zero would make every voxel blood."""
    with pytest.raises(FitError, match="blood_signal of ivim-asymptotic-t2 must be above 0"):
        fit("ivim-asymptotic-t2", np.ones(6), bvalues=STUDY, blood_signal=0)
