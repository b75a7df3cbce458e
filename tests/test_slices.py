"""Checks of single slices: what is spoilt is found, with volume and slices; sound series pass."""

import numpy as np
import pytest
from test_checks import MULTI_B, PROTOCOLS, SHAPE, TWO_B, diffusion

from bidsapp.checks.diffusion import check_diffusion_signal
from bidsapp.checks.diffusion_slices import check_diffusion_slices
from bidsapp.checks.dynamic_slices import check_dynamic_slices
from bidsapp.models.contrast.aif import parker2006

INTERLEAVED = [*range(0, SHAPE[2], 2), *range(1, SHAPE[2], 2)]


def dynamic(seed, frames=40):
    """Return a series of a head in which tissue enhances from frame 6 on, by its own amount."""
    s0 = diffusion(seed, np.zeros(1))[..., 0]
    rng = np.random.default_rng(seed)
    uptake = (
        1
        + rng.uniform(0, 0.3, SHAPE)[..., None]
        * parker2006(np.maximum(np.arange(frames) - 6, 0) / 12)
        / 6
    )
    return (s0[..., None] * uptake + rng.normal(0, 5, (*SHAPE, frames))).astype(np.float32)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("bvalues", PROTOCOLS.values(), ids=PROTOCOLS)
def test_slices_of_a_sound_diffusion_series_have_no_finding(seed, bvalues):
    """Directions, perfusion and noise change slices, but not abruptly; nor does a flip."""
    data = diffusion(seed, bvalues)
    assert check_diffusion_slices(data, bvalues) == []
    assert check_diffusion_slices(data[:, :, ::-1], bvalues) == []
    assert check_diffusion_slices(data[:, :, 3:7], bvalues) == []


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("factor", [0.3, 0.6, 0.8])
@pytest.mark.parametrize("slices", [slice(4, 7), slice(5, 6)])
def test_slices_that_lost_signal_in_one_volume_are_found(seed, factor, slices):
    """Only that volume is left out, and the finding names the slices and the loss."""
    data = diffusion(seed, MULTI_B)
    data[:, :, slices, 14] *= factor
    (found,) = check_diffusion_signal(data, MULTI_B)
    assert found.volumes == (14,)
    named = f"slices {slices.start + 1} to {slices.stop}" if slices.stop == 7 else "slice 6"
    assert found.text.startswith(f"volume 15: {named} differ")
    size = float(found.text.split("by up to ")[1].split(" %")[0])
    assert size == pytest.approx(100 * (factor - 1), abs=6)


def test_slices_of_a_single_volume_at_b_0_cannot_be_left_out():
    """The finding names the b-value, and no volume is left out."""
    data = diffusion(0, MULTI_B)
    data[:, :, 4:6, 0] *= 0.7
    found = check_diffusion_slices(data, MULTI_B)
    assert [one.volumes for one in found] == [()]
    assert found[0].text.startswith("the signal at b = 0 s/mm2 differs from the curve")
    alternating = np.where(np.arange(SHAPE[2]) % 2, 0.8, 1.25)
    data = diffusion(0, MULTI_B)
    data[..., 0] *= alternating
    assert check_diffusion_slices(data, MULTI_B)[0].text.startswith("the signal at b = 0")


@pytest.mark.parametrize(("volume", "left_out"), [(5, True), (0, False)])
def test_empty_slices_are_named_as_such(volume, left_out):
    """Not as an ADC map; the volume is left out if others of its b-value remain."""
    data = diffusion(0, MULTI_B)
    data[:, :, 4, volume] = 0
    found = check_diffusion_signal(data, MULTI_B)[0]
    assert found.text.startswith(f"volume {volume + 1}: slice 5 is empty; the volume ")
    assert found.volumes == ((volume,) if left_out else ())
    assert ("too few of its b-value would remain" in found.text) == (not left_out)


def test_the_other_volumes_keep_their_numbers_when_one_is_left_out_for_its_slices():
    """A second fault, in a later volume, is reported with its number in the file."""
    data = diffusion(0, MULTI_B)
    data[:, :, 4, 5] = 0
    data[..., 12] *= 1.5
    found = check_diffusion_signal(data, MULTI_B)
    assert [one.volumes for one in found] == [(5,), (12,)]
    assert found[1].text.startswith("volume 13 is listed as b = 800")


def test_slices_in_another_order_are_found():
    """In all volumes the series is refused; in one volume of a shell, that one is left out."""
    data = diffusion(0, MULTI_B)
    (whole,) = check_diffusion_signal(data[:, :, INTERLEAVED], MULTI_B)
    assert whole.fatal
    assert "in the order of an interleaved acquisition (1, 3, 5, ... 2, 4, 6, ...)" in whole.text
    data[..., 14] = data[:, :, ::-1, 14]
    (one,) = check_diffusion_signal(data, MULTI_B)
    assert one.volumes == (14,)
    assert "slices 1 to 10 are stored in reverse" in one.text
    assert check_dynamic_slices(dynamic(0)[:, :, INTERLEAVED])[0].fatal


def test_with_two_volumes_of_a_b_value_the_darker_slices_have_lost_signal():
    """Two volumes cannot outvote each other."""
    bvalues = np.array([0, 0, 1000, 1000], float)
    data = diffusion(0, bvalues)
    data[:, :, 4:6, 2] *= 0.6
    assert [one.volumes for one in check_diffusion_slices(data, bvalues)] == [(2,)]
    assert check_diffusion_slices(diffusion(1, TWO_B), TWO_B) == []


@pytest.mark.parametrize("seed", range(3))
def test_slices_of_a_sound_dynamic_series_have_no_finding(seed):
    """The bolus and noise change slices alike; frames may be few."""
    data = dynamic(seed)
    assert check_dynamic_slices(data) == []
    assert check_dynamic_slices(data[..., ::2]) == []
    assert check_dynamic_slices(data * np.linspace(1, 1.05, 40, dtype=np.float32)) == []


@pytest.mark.parametrize("factor", [0.85, 1.1, 1.2])
def test_a_gain_of_some_slices_that_lasts_is_found(factor):
    """With the slices, the volume and the size."""
    data = dynamic(0)
    data[:, :, 4:7, 25:] *= factor
    (found,) = check_dynamic_slices(data)
    assert found.text.startswith("slices 5 to 7 change by ")
    assert f"{100 * (factor - 1):+.0f}"[:2] in found.text
    assert "at volume 26, unlike the other slices" in found.text


def test_frames_with_empty_slices_are_left_out_away_from_the_bolus():
    """During the first pass, or in many frames, they are only reported."""
    data = dynamic(0)
    few, bolus, many = data.copy(), data.copy(), data.copy()
    few[:, :, 4, 30:32] = 0
    bolus[:, :, 4, 8] = 0
    many[:, :, 4, 20:] = 0
    assert [one.volumes for one in check_dynamic_slices(few)] == [(30, 31)]
    assert [one.volumes for one in check_dynamic_slices(bolus)] == [()]
    assert "lesions there have no values" in check_dynamic_slices(many)[0].text
