"""Errors of kinetic parameters from noise in the arterial input, compared with a simulation."""

import numpy as np
import pytest

from bidsapp.lesions.unmixed_values import EDGE_OFFSETS, LesionCourses, unmixed_values
from bidsapp.lesions.unmixing import UnmixedCourse
from bidsapp.models import MODELS, fit, parker2006
from bidsapp.models.arterial_error import arterial_effects, arterial_noise

TIME = np.arange(60) * 5.2 / 60
PLASMA = parker2006(TIME, 0.6) / 0.58
TRUTH = {"Ktrans": 0.07, "kep": 0.5, "ve": 0.14, "vp": 0.03}


@pytest.mark.parametrize("model", ["extended-tofts", "patlak"])
def test_the_effects_have_the_spread_of_fits_with_noisy_inputs(model):
    """The sum of squares is the variance of fits whose arterial input has new noise each time."""
    curve = MODELS[model].predict(TRUTH, time=TIME, plasma=PLASMA)
    effects = arterial_effects(model, curve, PLASMA, 0.05, time=TIME)
    noise = np.random.default_rng(3).normal(0, 0.05, (400, 60))
    fits = fit(model, np.tile(curve, (400, 1)), time=TIME, plasma=PLASMA + noise)
    for name in ("Ktrans", "vp"):
        expected = fits.values[name].std()
        assert np.sqrt(np.square(effects[name]).sum()) == pytest.approx(expected, rel=0.15)


def test_no_noise_has_no_effect():
    """An exact arterial input leaves the parameters as they are."""
    curve = MODELS["patlak"].predict(TRUTH, time=TIME, plasma=PLASMA)
    effects = arterial_effects("patlak", curve, PLASMA, 0.0, time=TIME)
    assert np.abs(effects["vp"]).max() < 1e-12


def test_noise_is_that_before_the_bolus():
    """The bolus itself does not count as noise."""
    plasma = np.r_[0.1, -0.1, 0.1, -0.1, 9.0, 5.0]
    assert arterial_noise(plasma, 4) == pytest.approx(np.std([0.1, -0.1, 0.1, -0.1], ddof=1))


def same_course() -> LesionCourses:
    """Return courses of a lesion whose edge and position have no effect."""
    course = UnmixedCourse(np.array([2.0, 4.0]), np.diag([0.3, 0.4]), 9.0, 0.0)
    return LesionCourses([course] * len(EDGE_OFFSETS), np.zeros((0, 2)), 0.8)


def test_further_parts_add_to_the_standard_error():
    """Each part is stated, and their squares add up."""
    found = unmixed_values(
        same_course(),
        lambda c: {"sum": c.sum(axis=1)},
        {"arterial": lambda c: {"sum": np.array([0.3, 0.4])}, "t1": lambda c: {"sum": 0.1 * c[:1]}},
    )["sum"]
    assert (found.arterial, found.t1) == pytest.approx((0.5, 0.2))
    assert found.standard_error == pytest.approx(np.sqrt(0.5**2 + 0.5**2 + 0.2**2))


def test_a_part_that_is_not_known_is_missing():
    """Without enough frames before the bolus there is no estimate, and no zero in its place."""
    effects = {"arterial": lambda c: {"sum": np.full(2, np.nan)}}
    found = unmixed_values(same_course(), lambda c: {"sum": c.sum(axis=1)}, effects)["sum"]
    assert np.isnan(found.arterial)
    assert np.isnan(found.t1)
    assert found.standard_error == pytest.approx(0.5)
