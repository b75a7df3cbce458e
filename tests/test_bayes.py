"""IVIM with a population prior: what it learns, what it promises, what it buys."""

import numpy as np
import pytest

from bidsapp.models import Status, fit
from bidsapp.models.diffusion.bayesian_ivim import Prior, learn_prior

BVALUES = np.array([0, 10, 20, 40, 80, 120, 200, 400, 600, 800, 1000.0])
STUDY = np.array([0, 200, 400, 600, 800, 1000.0])
SIGMA = 0.03


def tissue(count, rng, f=(0.1, 0.03), d=(1e-3, 0.2), dstar=(15e-3, 0.3)):
    """Return f, D and D* of a population."""
    return (
        np.clip(rng.normal(*f, count), 0.005, 0.8),
        d[0] * np.exp(rng.normal(0, d[1], count)),
        dstar[0] * np.exp(rng.normal(0, dstar[1], count)),
    )


def signals(values, bvalues, rng, sigma=SIGMA):
    f, d, dstar = (v[:, None] for v in values)
    clean = f * np.exp(-bvalues * dstar) + (1 - f) * np.exp(-bvalues * d)
    return clean + rng.normal(0, sigma, clean.shape)


def test_the_prior_is_the_population():
    """Mean and spread of a population are learnt from noisy voxels, without the noise's spread."""
    rng = np.random.default_rng(1)
    signal = signals(tissue(3000, rng), BVALUES, rng)
    prior = learn_prior(signal, bvalues=BVALUES, sigma=SIGMA)["prior"][0]
    spread = np.sqrt(np.diag(prior.covariance))
    assert prior.mean[0] == pytest.approx(0.1, abs=0.006)
    assert np.exp(prior.mean[1]) == pytest.approx(1e-3, rel=0.03)
    assert np.exp(prior.mean[2]) == pytest.approx(15e-3, rel=0.15)
    assert spread[:2] == pytest.approx([0.03, 0.2], rel=0.2)


def test_it_is_closer_than_least_squares():
    """At SNR 33 the median error of f is less than two thirds of the bi-exponential fit's."""
    rng = np.random.default_rng(2)
    values = tissue(2000, rng)
    signal = signals(values, BVALUES, rng)
    errors = [
        np.median(np.abs(fit(name, signal, bvalues=BVALUES).values["f"] - values[0]))
        for name in ("ivim-bayesian", "ivim-biexponential")
    ]
    assert errors[0] < 0.67 * errors[1]


def test_standard_errors_are_the_scatter():
    """Errors over stated deviations have an SD near 1; D* is cautious, S0 leaves out the curve."""
    rng = np.random.default_rng(3)
    values = tissue(3000, rng)
    found = fit("ivim-bayesian", signals(values, BVALUES, rng), bvalues=BVALUES, sigma=SIGMA)
    z = {
        name: np.std((found.values[name] - true) / found.stderr[name])
        for name, true in zip(("f", "D", "Dstar"), values, strict=True)
    }
    assert [z["f"], z["D"]] == pytest.approx([1, 1], abs=0.15)
    assert 0.5 < z["Dstar"] < 1.15
    assert 1 < np.std((found.values["S0"] - 1) / found.stderr["S0"]) < 1.6


def test_each_region_has_its_own_prior():
    """A small region far from the rest is not drawn to it when it is a region of its own."""
    rng = np.random.default_rng(4)
    brain = tissue(2000, rng, f=(0.04, 0.01))
    lesion = tissue(150, rng, f=(0.2, 0.03))
    signal = np.concatenate([signals(v, STUDY, rng) for v in (brain, lesion)])
    region = np.repeat([0, 1], [2000, 150])
    one, own = (fit("ivim-bayesian", signal, bvalues=STUDY, region=r) for r in (None, region))
    mean = [f.values["f"][2000:].mean() for f in (one, own)]
    assert mean[1] == pytest.approx(lesion[0].mean(), abs=0.02)
    assert mean[0] < mean[1] - 0.02
    assert set(own.design["prior"]) == {0, 1}


def test_dstar_that_is_not_identifiable_is_nan():
    """With the study's b-values D* is NaN, NOT_IDENTIFIABLE, in every voxel; f and D are there."""
    rng = np.random.default_rng(5)
    found = fit("ivim-bayesian", signals(tissue(100, rng), STUDY, rng), bvalues=STUDY)
    assert np.isnan(found.values["Dstar"]).all()
    assert (found.status == Status.NOT_IDENTIFIABLE).all()
    assert np.isfinite(found.values["f"]).all()


def test_a_given_prior_is_used():
    """A narrow prior given by the user decides where the data say little."""
    narrow = Prior(np.array([0.3, np.log(1e-3), np.log(15e-3)]), np.diag([0.02, 0.2, 0.2]) ** 2)
    signal = signals(tissue(20, np.random.default_rng(6)), STUDY, np.random.default_rng(7))
    found = fit("ivim-bayesian", signal, bvalues=STUDY, sigma=SIGMA, prior={0: narrow})
    np.testing.assert_allclose(found.values["f"], 0.3, atol=0.04)


def test_one_region_for_all_is_that_region():
    """A region given as one number names the prior of every voxel."""
    rng = np.random.default_rng(8)
    signal = signals(tissue(50, rng), STUDY, rng)
    one, many = (fit("ivim-bayesian", signal, bvalues=STUDY, region=r) for r in (3, [3] * 50))
    assert set(one.design["prior"]) == {3}
    np.testing.assert_array_equal(one.values["f"], many.values["f"])
