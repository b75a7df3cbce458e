"""What a fit returns: it predicts what was fitted, compares, pickles and prints in one line."""

import copy
import pickle

import numpy as np
import pytest
from scipy import stats
from test_models_contract import design_of, truth_of

from bidsapp.models import MODELS, Status, fit, fit_masked

SHAPE = (30, 4)


def noisy_signal(model):
    """Return signals (30, 4, N): whole, weak, inverted and pure noise; parameters are withheld."""
    clean = np.nan_to_num(model.predict(truth_of(model), **design_of(model)), nan=1.0)
    rng = np.random.default_rng(21)
    size = np.abs(clean).max()
    weights = np.array([1.0, 0.2, -0.5, 0.0])[:, None]
    return weights * clean + rng.normal(0, 0.1 * size, (*SHAPE, len(clean)))


def pickled(found):
    """Return a fit after a trip through pickle."""
    return pickle.loads(pickle.dumps(found))  # noqa: S301 - pickled here


def residual(found, signal):
    """Return the root mean square (...) of what a prediction leaves of a signal."""
    left = signal - found.predict()
    return np.sqrt(np.nanmean(np.square(left), axis=-1))


@pytest.fixture(scope="module", params=MODELS.values(), ids=MODELS)
def fitted(request):
    """Each model, a signal in which parameters are withheld, and its fit."""
    signal = noisy_signal(request.param)
    return request.param, signal, fit(request.param, signal, **design_of(request.param))


@pytest.mark.filterwarnings("ignore:Mean of empty slice:RuntimeWarning")
class TestPrediction:
    """`Fit.predict` returns the signal that was fitted, whatever is withheld."""

    def test_is_what_was_fitted(self, fitted):
        """It leaves the residual that the fit reports, also where a parameter is NaN."""
        _, signal, found = fitted
        left = residual(found, signal)
        predicted = np.isfinite(left)
        assert predicted.sum() > 30
        np.testing.assert_allclose(found.rmse[predicted], left[predicted], rtol=1e-4)

    def test_is_there_where_a_parameter_is_withheld(self, fitted):
        """A voxel that is not identifiable has a prediction, unless no value was fitted at all."""
        model, _, found = fitted
        withheld = found.status == Status.NOT_IDENTIFIABLE
        if model.label.startswith("segmented"):  # without a D from the line there is no second step
            withheld &= np.isfinite(found.values["f"])
        if model.name == "vfa-t1-linear":  # the line has no slope that is a decay
            withheld &= np.isfinite(found.fitted["M0"])
        assert np.isfinite(found.predict()[withheld]).any(axis=-1).all()

    def test_is_the_same_in_a_mask_and_after_pickling(self, fitted):
        """Voxels of a mask predict as they do without one, pickled or not; others are NaN."""
        model, signal, found = fitted
        mask = np.random.default_rng(2).random(SHAPE) > 0.4
        options = {k: v for k, v in found.design.items() if v is not None}
        inside = pickled(fit_masked(model, signal, mask, **options))
        assert np.isnan(inside.predict()[~mask]).all()
        np.testing.assert_allclose(inside.predict()[mask], found.predict()[mask], rtol=1e-5)


class TestRecord:
    """A `Fit` is a value: it compares, copies and pickles, and prints in one line."""

    def test_is_equal_to_its_copy(self, fitted):
        """A pickled or deeply copied fit equals the original, NaN and all, and keeps the row."""
        model, _, found = fitted
        for twin in (pickled(found), copy.deepcopy(found)):
            assert twin == found
            assert twin.model is model

    @pytest.mark.parametrize("change", ["values", "status", "design"])
    def test_differs_where_anything_differs(self, fitted, change):
        """One other value, status or design makes two fits unequal."""
        _, _, found = fitted
        twin = copy.deepcopy(found)
        if change == "status":
            twin.status[0, 0] = Status.BAD_INPUT if twin.status[0, 0] == Status.OK else Status.OK
        elif change == "values":
            next(iter(twin.values.values()))[0, 0] = -1
        else:
            twin.design["weights"] = np.ones(3)
        assert twin != found
        assert found != "a fit"

    def test_prints_in_one_line(self):
        """Its repr names the model, the shape and how many voxels have which status."""
        bvalues = np.array([0, 500, 1000.0])
        signal = np.exp(-bvalues * np.array([1e-3, 2e-3, -1e-3, np.nan])[:, None])
        found = fit("adc", signal, bvalues=bvalues)
        assert repr(found) == "Fit(adc, shape (4,): 2 OK, 1 AT_BOUND, 1 BAD_INPUT)"

    def test_prints_without_a_voxel(self):
        """An empty fit is printed as such."""
        found = fit("adc", np.empty((0, 3)), bvalues=[0, 500, 1000])
        assert repr(found) == "Fit(adc, shape (0,): no voxel)"


def test_dstar_that_is_withheld_is_not_taken_as_infinite():
    """With the study's b-values D* is withheld, and the curve between them still falls with it."""
    bvalues = np.array([0, 200, 400, 600, 800, 1000.0])
    signal = 0.9 * np.exp(-bvalues * 1e-3) + 0.1 * np.exp(-bvalues * 8e-3)
    found = fit("ivim-biexponential", signal, bvalues=bvalues)
    assert np.isnan(found.values["Dstar"])
    np.testing.assert_allclose(found.predict(), signal, rtol=1e-5)
    assert found.predict(bvalues=np.array([50.0])) == pytest.approx(0.9232, abs=2e-3)


@pytest.mark.parametrize(
    ("model", "penalty"),
    # 2 k + 2 k (k + 1) / (N - k - 1) of N = 10 samples, with k = 3 and k = 5.
    [("adc", 10), ("ivim-biexponential", 25)],
)
def test_the_criterion_is_that_of_the_likelihood(model, penalty):
    """Twice the negative log-likelihood of normal residuals, but for a constant, and the penalty.

    The noise counts as a parameter.
    """
    bvalues = np.array([0, 10, 20, 50, 100, 200, 400, 600, 800, 1000.0])
    signal = 90 * np.exp(-bvalues * 1e-3) + 10 * np.exp(-bvalues * 0.02)
    signal += np.random.default_rng(3).normal(0, 0.5, 10)
    found = fit(model, signal, bvalues=bvalues)
    likelihood = stats.norm.logpdf(signal, found.predict(), found.rmse).sum()
    constant = 10 * (1 + np.log(2 * np.pi))
    assert found.aicc == pytest.approx(-2 * likelihood - constant + penalty)
