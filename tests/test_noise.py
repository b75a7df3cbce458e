"""The noise floor: its size, its level from the data, and what fits make of it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bidsapp.errors import FitError
from bidsapp.models import fit
from bidsapp.models.diffusion.noise import floor_gain, noise_level

BVALUES = np.array([0, 200, 400, 600, 800, 1000.0])


def magnitudes(clean, sigma, rng, averages=1):
    """Return geometric means of magnitudes with noise in both channels."""
    shape = (averages, *clean.shape)
    noisy = np.hypot(clean + rng.normal(0, sigma, shape), rng.normal(0, sigma, shape))
    return np.exp(np.log(noisy).mean(axis=0))


def decays(d, count):
    """Return IVIM signals, S0 = 1, f = 0.08, whose perfusion is gone at the first b-value."""
    clean = 0.92 * np.exp(-BVALUES * d) + 0.08 * (BVALUES == 0)
    return np.tile(clean, (count, 1))


def test_floor_is_rayleighs_where_there_is_no_signal():
    """Without signal the mean magnitude is sigma sqrt(pi / 2), in closed form."""
    level = 1e-3
    assert level * floor_gain(np.array(level), 1) == pytest.approx(np.sqrt(np.pi / 2), rel=1e-5)


@pytest.mark.parametrize("averages", [1, 3])
@pytest.mark.parametrize("snr", [0.5, 1.5, 4.0])
def test_floor_is_what_is_drawn(snr, averages):
    """The gain is the mean of a million drawn magnitudes, of one or of geometric means of three."""
    drawn = magnitudes(np.full(10**6, snr), 1.0, np.random.default_rng(1), averages)
    assert floor_gain(np.array(snr), 1 / averages) == pytest.approx(drawn.mean() / snr, rel=3e-3)


@given(snr=st.floats(0.01, 30), power=st.floats(0.1, 1))
def test_floor_only_raises(snr, power):
    """A magnitude is never below its signal on average, and more so the weaker the signal."""
    weak, strong = floor_gain(np.array([snr, 1.1 * snr]), power)
    assert weak >= strong - 1e-12
    assert strong >= 1 - 1e-12


@pytest.mark.parametrize("averages", [1, 3])
@pytest.mark.parametrize("sigma", [0.02, 0.05])
def test_noise_level_is_estimated(sigma, averages):
    """The study's six b-values determine the noise level within 6 %, directions combined or not."""
    rng = np.random.default_rng(3)
    clean = np.concatenate([decays(d, 4000) for d in (0.7e-3, 1e-3)])
    noisy = magnitudes(clean, sigma, rng, averages)
    counts = np.full(len(BVALUES), float(averages))
    assert noise_level(noisy, BVALUES, counts) == pytest.approx(sigma, rel=0.06)


@pytest.mark.parametrize("dstar", [0.01, 0.02, 0.05])
def test_the_noise_level_counts_the_degrees_of_freedom(dstar):
    """Eleven b-values that show D*: four parameters are fitted, and sigma is right to 2 %."""
    b = np.array([0, 10, 20, 40, 80, 120, *BVALUES[1:]])
    clean = np.tile(0.8 * np.exp(-b * 1e-3) + 0.2 * np.exp(-b * dstar), (6000, 1))
    noisy = clean + np.random.default_rng(3).normal(0, 0.01, clean.shape)
    assert noise_level(noisy, b) == pytest.approx(0.01, rel=0.02)


@pytest.mark.parametrize("d", [0.5e-3, 1e-3, 1.5e-3, 2e-3])
@pytest.mark.parametrize("model", ["adc", "ivim-asymptotic"])
def test_rician_bias_is_gone_at_snr_20(model, d):
    """At SNR 20 the median of D is within 1 % of the truth, the noise level unknown."""
    rng = np.random.default_rng(4)
    clean = decays(d, 20000) if model != "adc" else np.tile(np.exp(-BVALUES * d), (20000, 1))
    found = fit(model, magnitudes(clean, 0.05, rng), bvalues=BVALUES, noise="rician")
    name = "ADC" if model == "adc" else "D"
    assert np.nanmedian(found.values[name]) == pytest.approx(d, rel=0.01)


def test_the_correction_matters_at_low_snr():
    """At SNR 8 and D = 2e-3 the plain line is 20 % low; with the floor known D is within 3 %."""
    noisy = magnitudes(decays(2e-3, 20000), 0.125, np.random.default_rng(5))
    plain = fit("ivim-asymptotic", noisy, bvalues=BVALUES)
    known = fit("ivim-asymptotic", noisy, bvalues=BVALUES, noise="rician", sigma=0.125)
    assert np.nanmedian(plain.values["D"]) < 0.8 * 2e-3
    assert np.nanmedian(known.values["D"]) == pytest.approx(2e-3, rel=0.03)


@pytest.mark.parametrize("averages", [1, 3, 6])
def test_the_floor_of_combined_directions_is_taken_off(averages):
    """The mean of many geometric means of magnitudes, at SNR 4 to 1.5, gives the ADC to 0.5 %.

    As the floor of a single direction is higher, it would raise the ADC by a tenth.
    """
    clean = np.tile(4 * np.exp(-BVALUES * 1e-3), (50_000, 1))
    mean = magnitudes(clean, 1.0, np.random.default_rng(6), averages).mean(axis=0)
    setting = {"bvalues": BVALUES, "noise": "rician", "sigma": 1.0}
    found = fit("adc", mean, **setting, averages=np.full(len(BVALUES), averages))
    assert found.values["ADC"] == pytest.approx(1e-3, rel=0.005)
    if averages > 1:
        assert fit("adc", mean, **setting).values["ADC"] > 1.08e-3


def test_without_noise_the_correction_changes_nothing():
    """A signal far above the floor is fitted as with Gaussian noise."""
    clean = decays(1e-3, 1)
    plain = fit("ivim-biexponential", clean, bvalues=BVALUES)
    known = fit("ivim-biexponential", clean, bvalues=BVALUES, noise="rician", sigma=1e-4)
    np.testing.assert_allclose(known.values["D"], plain.values["D"], rtol=1e-4)


def test_what_cannot_be_is_refused():
    """An unknown kind of noise, or too few b-values to estimate its level, is refused in words."""
    with pytest.raises(FitError, match="noise is gaussian, or rician"):
        fit("adc", decays(1e-3, 3), bvalues=BVALUES, noise="poisson", sigma=1.0)
    with pytest.raises(FitError, match="needs five b-values to be estimated, got 3; give sigma"):
        fit("adc", np.ones((2, 3)), bvalues=[0, 500, 1000], noise="rician")
