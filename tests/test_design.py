"""Impossible arguments of a fit give a clear error, not a traceback of numpy."""

from types import SimpleNamespace

import numpy as np
import pytest

from bidsapp.errors import FitError
from bidsapp.models import MODELS, IvimModel, Status, fit, fit_masked
from bidsapp.models.diffusion.bayesian_ivim import Prior

BVALUES = np.array([0, 10, 20, 40, 80, 200, 400, 600, 800, 1000.0])
DECAY = 100 * (0.1 * np.exp(-BVALUES * 0.02) + 0.9 * np.exp(-BVALUES * 1e-3)) * np.ones((4, 1))
TIME = np.arange(40) * 0.1
PLASMA = np.where(TIME > 0.5, 5 * np.exp(-0.3 * (TIME - 0.5)), 0.0)
PLASMAS = PLASMA * np.array([[1.0], [0.8], [1.3], [1.0]])
TISSUE = {k: np.full(4, v) for k, v in {"Ktrans": 0.1, "ve": 0.3, "vp": 0.03}.items()}
CURVE = MODELS["extended-tofts"].predict(TISSUE, time=TIME, plasma=PLASMAS)
ECHOES = np.ones((4, 3))
ANGLES = np.deg2rad([2, 8, 20])
PRIOR = Prior(np.array([0.1, -7.0, -4.0]), np.diag([0.05, 0.3, 0.4]) ** 2)


@pytest.mark.parametrize(
    ("model", "wrong", "words"),
    [
        (["adc"], {}, r"there is no model \['adc'\]"),
        ("adc", {"bvalues": None}, "adc needs 'bvalues'"),
        ("adc", {"bvalues": 1000}, "bvalues has 1 values, the signal 10"),
        ("adc", {"bvalues": list("abcdefghij")}, "bvalues must hold real numbers, got <U1"),
        (
            "adc",
            {"bvalues": BVALUES[:, None]},
            r"bvalues has shape \(10, 1\), the signal \(4, 10\)",
        ),
        ("adc", {"bvalues": BVALUES - 5}, "bvalues must not be negative, got -5"),
        ("adc", {"b_max": "800"}, "b_max must hold real numbers, got <U3"),
        ("adc", {"b_min": [0, 1]}, r"b_min must be one number, got an array of shape \(2,\)"),
        ("adc", {"b_min": np.nan}, "b_min is not a number"),
        (
            "adc",
            {"b_min": 900},
            r"two b-values, got \[1000.0\] s/mm2 of \[0.0, 10.0.* within b_min",
        ),
        ("adc", {"b_min": 900, "noise": "rician"}, "a straight line needs two b-values"),
        ("adc", {"weights": 2.0}, "weights has 1 values, the signal 10"),
        ("adc", {"noise": "rician", "averages": np.zeros(10)}, "averages must be positive, got 0"),
        ("adc", {"noise": "rician", "averages": 3}, "averages has 1 values, the signal 10"),
        ("adc", {"noise": "rician", "sigma": np.ones(4)}, "sigma must be one number"),
        ("adc", {"chunk": 2.5}, "chunk must be an integer >= 1, got 2.5"),
        ("adc", {"n_jobs": None}, "n_jobs must be an integer >= 1, got None"),
        ("ivim-biexponential", {"bounds": {"D": 1}}, r"bounds of D must be \(low, high\)"),
        ("ivim-biexponential", {"bounds": {"D": (1e-4,)}}, r"bounds of D must be \(low, high\)"),
        ("ivim-biexponential", {"bounds": [(0, 1)]}, "bounds map a parameter's name to"),
        ("ivim-bayesian", {"sigma": np.nan}, "sigma is not a number"),
        (
            "ivim-bayesian",
            {"sigma": -1},
            "sigma is the noise's standard deviation, above 0, got -1",
        ),
        ("ivim-bayesian", {"b_max": 100}, "a straight line needs two b-values"),
        ("ivim-bayesian", {"region": 1, "prior": {0: PRIOR}}, r"nothing for the regions \[1\]"),
        ("ivim-bayesian", {"prior": PRIOR}, "prior maps each region's number to a Prior"),
        ("extended-tofts", {"plasma": None}, "extended-tofts needs 'plasma'"),
        ("extended-tofts", {"plasma": 0 * PLASMA}, "every curve of the model is zero"),
        ("extended-tofts", {"plasma": PLASMAS[:3]}, r"plasma has shape \(3, 40\), the signal \(4"),
        ("extended-tofts", {"delay": np.nan}, "delay is not a number"),
        ("extended-tofts", {"delay": 99.0}, "every curve of the model is zero"),
        ("extended-tofts-delay", {"delay_range": 1}, r"delay_range must be \(low, high\)"),
        (
            "extended-tofts-delay",
            {"delay_range": (0, np.inf)},
            r"delay_range must be \(low, high\)",
        ),
        ("vfa-t1", {"flip_angles": [2, 8, 20]}, "flip angles are in rad, between 0 and pi, got"),
        ("vfa-t1-linear", {"repetition_time": 0}, "the repetition time is in s, above 0, got 0"),
        ("vfa-t1", {"repetition_time": [0.005]}, "repetition_time must be one number"),
        ("vfa-t1", {"b1": "high"}, "b1 must hold real numbers"),
    ],
)
def test_what_cannot_be_is_said(model, wrong, words):
    """A design or option of the wrong kind, shape or size is refused by its name."""
    signal, design = DECAY, {"bvalues": BVALUES}
    if "tofts" in model:
        signal, design = CURVE, {"time": TIME, "plasma": PLASMA}
    elif "vfa" in model[:3]:
        signal, design = ECHOES, {"flip_angles": ANGLES, "repetition_time": 0.005}
    with pytest.raises(FitError, match=words):
        fit(model, signal, **design | wrong)


@pytest.mark.parametrize("signal", [DECAY.astype(complex), DECAY.astype(str), [[1, 2], [3]]])
def test_a_signal_that_is_not_a_number_is_refused(signal):
    """Complex images, words and ragged lists are refused; their magnitude is not guessed."""
    with pytest.raises(FitError, match="the signal"):
        fit("adc", signal, bvalues=BVALUES)


@pytest.mark.parametrize("signal", [DECAY[:, :-1], 3.0, DECAY[:, :0]])
def test_volumes_and_b_values_are_as_many(signal):
    """An estimator whose gradient table belongs to another series is an error."""
    with pytest.raises(FitError, match=r"one b-value per volume: bvalues has shape \(10,\)"):
        IvimModel(SimpleNamespace(bvals=BVALUES)).fit(signal)


def test_fewer_samples_than_parameters_are_refused():
    """Two frames cannot determine three parameters, however well a curve goes through them."""
    with pytest.raises(FitError, match="extended-tofts has 3 free parameters; 2 samples are too"):
        fit("extended-tofts", CURVE[:, [5, 30]], time=TIME[[5, 30]], plasma=PLASMA[[5, 30]])


def test_a_voxel_without_region_is_bad_input():
    """A region that is not a number loses its voxel, and no prior is learnt for it."""
    region = np.array([1, 1, np.nan, 1])
    found = fit("ivim-bayesian", DECAY, bvalues=BVALUES, region=region)
    assert set(found.design["prior"]) == {1}
    assert found.status.tolist() == [Status.OK, Status.OK, Status.BAD_INPUT, Status.OK]


@pytest.mark.parametrize("model", ["extended-tofts", "patlak-delay"])
def test_a_plasma_curve_for_each_voxel_predicts_and_is_masked(model):
    """With a plasma curve a voxel, predict() gives every voxel its own, inside a mask too."""
    inside = np.array([True, False, True, True])
    design = {"time": TIME, "plasma": PLASMAS}
    every = fit(model, CURVE, **design)
    some = fit_masked(model, CURVE, inside, **design)
    assert every.predict().shape == CURVE.shape
    np.testing.assert_allclose(some.predict()[inside], every.predict()[inside], rtol=1e-6)
    assert np.isnan(some.predict()[1]).all()


def test_a_delay_given_predicts_each_voxels_plasma():
    """A known delay moves every voxel's own plasma curve."""
    late = MODELS["extended-tofts"].predict(TISSUE, time=TIME, plasma=PLASMAS, delay=0.15)
    alone = [
        MODELS["extended-tofts"].predict(
            {k: v[i] for k, v in TISSUE.items()}, time=TIME, plasma=PLASMAS[i], delay=0.15
        )
        for i in range(4)
    ]
    np.testing.assert_allclose(late, alone)


def test_no_voxels_predict_no_signal():
    """An empty fit with a delay predicts an empty array of the right shape."""
    found = fit("tofts-delay", CURVE[:0], time=TIME, plasma=PLASMA)
    assert found.predict().shape == (0, 40)


def test_as_many_voxels_as_samples_are_no_design_by_voxel():
    """In a mask, a design whose length happens to be the number of voxels stays whole."""
    decay = np.exp(-BVALUES * np.linspace(5e-4, 2e-3, 10)[:, None])
    found = fit_masked("adc", decay, np.arange(10) > 4, bvalues=BVALUES, weights=np.ones(10))
    np.testing.assert_allclose(found.values["ADC"][5:], np.linspace(5e-4, 2e-3, 10)[5:])
