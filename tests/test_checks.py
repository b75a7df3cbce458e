"""Checks of the signal of a series: what is spoilt is found, what is sound is not."""

import itertools

import numpy as np
import pytest

from bidsapp.checks.decay import unsmooth_decay
from bidsapp.checks.diffusion import check_diffusion_signal
from bidsapp.checks.dynamic import check_dynamic_signal
from bidsapp.checks.finding import list_volumes
from bidsapp.models.contrast.aif import parker2006

SHAPE = (24, 24, 10)
MULTI_B = np.array([0, *np.repeat([200, 400, 600, 800, 1000], 3)], float)
TWO_B = np.array([0, *[1000] * 6], float)
IVIM = np.array([0, 20, 50, 100, 200, 400, 700, 1000], float)
PROTOCOLS = {"five b-values": MULTI_B, "two b-values": TWO_B, "many b-values": IVIM}
SEEDS = range(3)


def head(seed):
    """Return S0, D and f of a head in air: two tissues, fluid, smooth coil sensitivity."""
    rng = np.random.default_rng(seed)
    place = np.indices(SHAPE) / np.array(SHAPE)[:, None, None, None] - 0.5
    inside = (place**2).sum(axis=0) < 0.2
    fluid = ((place - 0.1) ** 2).sum(axis=0) < 0.02
    grey = rng.random(SHAPE) < 0.5
    d = np.where(fluid, 2.9e-3, np.where(grey, 0.85e-3, 0.7e-3)) * rng.normal(1, 0.1, SHAPE)
    s0 = np.where(fluid, 1500, np.where(grey, 800, 600)) * (1 + 0.3 * place[0])
    return inside * s0 * rng.normal(1, 0.05, SHAPE), d, np.where(fluid, 0, 0.08)


def diffusion(seed, bvalues, noise=8.0):
    """Return a series with directions, perfusion and noise."""
    rng = np.random.default_rng(seed + 1000)
    s0, d, f = (x[..., None] for x in head(seed))
    anisotropy = rng.normal(1, 0.15, (*SHAPE, len(bvalues)))
    signal = s0 * (f * np.exp(-bvalues * 0.01) + (1 - f) * np.exp(-bvalues * d * anisotropy))
    real, imaginary = rng.normal(0, noise, (2, *signal.shape))
    return np.hypot(signal + real, imaginary).astype(np.float32)


def adc_map(seed, scale=1e6):
    s0, d, _ = head(seed)
    return (np.where(s0 > 0, d, 0) * scale).astype(np.float32)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("bvalues", PROTOCOLS.values(), ids=PROTOCOLS)
def test_a_sound_diffusion_series_has_no_finding(seed, bvalues):
    """Directions, perfusion, noise and small differences of b-values are no contradiction."""
    data = diffusion(seed, bvalues)
    assert check_diffusion_signal(data, bvalues) == []
    assert check_diffusion_signal(data, np.where(bvalues > 0, bvalues * 1.003, 1.2)) == []


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("scale", [2e5, 1e6, 3e6])
@pytest.mark.parametrize("bvalue", [0, 1000])
@pytest.mark.parametrize("bvalues", [MULTI_B, TWO_B], ids=["five b-values", "two b-values"])
def test_an_adc_map_among_the_volumes_is_left_out(seed, scale, bvalue, bvalues):
    """A map of the scanner, in any scale and with any b-value, is found and named."""
    data = np.concatenate([diffusion(seed, bvalues), adc_map(seed, scale)[..., None]], axis=3)
    (found,) = check_diffusion_signal(data, [*bvalues, bvalue])
    assert found.volumes == (len(bvalues),)
    assert f"volume {len(bvalues) + 1} is listed as b = {bvalue}" in found.text


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("lost", [200, 600, 1000])
def test_a_volume_called_b_zero_is_left_out(seed, lost):
    """A weighted volume whose b-value was lost: the true one is estimated from its signal."""
    bvalues = MULTI_B.copy()
    volume = int(np.flatnonzero(bvalues == lost)[-1])
    bvalues[volume] = 0
    (found,) = check_diffusion_signal(diffusion(seed, MULTI_B), bvalues)
    assert found.volumes == (volume,)
    apparent = float(found.text.split("that of b = ")[1].split(";")[0])
    assert apparent == pytest.approx(lost, rel=0.4)


def test_a_volume_of_another_scale_is_left_out():
    """One of several volumes at b = 0 that is 15 % brighter would shift f by as much."""
    bvalues = np.r_[np.zeros(4), MULTI_B]
    data = diffusion(0, bvalues)
    data[..., 2] *= 1.15
    (found,) = check_diffusion_signal(data, bvalues)
    assert found.volumes == (2,)
    assert "+15 % off" in found.text


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda b: b[::-1], "in the order of the volumes"),
        (lambda b: b / 10, "are the b-values in s/mm2"),
        (lambda b: b * 2.2, "are the b-values in s/mm2"),
        (lambda b: b / 2.2, "are the b-values in s/mm2"),
    ],
    ids=["reversed", "a tenth", "doubled", "halved"],
)
def test_wrong_b_values_as_a_whole_are_reported(change, words):
    """Another order, or another unit, is a warning: no volume is singled out."""
    (found,) = check_diffusion_signal(diffusion(0, IVIM), change(IVIM))
    assert words in found.text
    assert not found.volumes


def five_shells(seed, b_zero=1.0, level=0.0, **changed):
    """Return a sound series with shells of another scale (`b200=0.9`) or a constant added."""
    data = diffusion(seed, MULTI_B)
    factors = {0: b_zero, **{int(name[1:]): factor for name, factor in changed.items()}}
    for bvalue, factor in factors.items():
        data[..., bvalue == MULTI_B] *= np.float32(factor)
    return data + np.float32(level)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(("factor", "words"), [(1.2, "above the curve"), (0.85, "below the curve")])
def test_b_zero_of_another_scale_is_reported(seed, factor, words):
    """It would change f everywhere by more than brains differ; no volume is left out for it."""
    (found,) = check_diffusion_signal(five_shells(seed, b_zero=factor), MULTI_B)
    assert "the signal at b = 0 s/mm2" in found.text
    assert words in found.text
    implied = float(found.text.split("perfusion fraction were ")[1].split(" %")[0])
    # The phantom has f = 8 %: f' = 1 - (1 - f) / factor.
    assert implied == pytest.approx(100 * (1 - 0.92 / factor), abs=4)
    assert not found.volumes
    assert not found.fatal


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(("bvalue", "factor"), [(200, 0.9), (400, 1.1), (600, 1.15), (1000, 1.15)])
def test_a_shell_of_another_scale_is_reported(seed, bvalue, factor):
    """All volumes of a b-value are wrong: only the curve through the other shells shows it."""
    data = five_shells(seed, **{f"b{bvalue}": factor})
    (found,) = check_diffusion_signal(data, MULTI_B)
    assert f"the signal at b = {bvalue} s/mm2" in found.text
    stated = float(found.text.split("s/mm2 is ")[1].split(" %")[0])
    assert stated == pytest.approx(100 * abs(factor - 1), abs=3)
    assert not found.volumes
    assert not found.fatal


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(("true", "listed"), [(200, 100), (400, 500), (600, 500), (1000, 1200)])
def test_a_shell_with_a_wrong_b_value_is_reported(seed, true, listed):
    """The message names the b-value listed, and about that of the signal."""
    bvalues = np.where(true == MULTI_B, listed, MULTI_B)
    (found,) = check_diffusion_signal(diffusion(seed, MULTI_B), bvalues)
    assert f"the signal at b = {listed} s/mm2" in found.text
    apparent = float(found.text.split("as if b were about ")[1].split(" ")[0])
    assert apparent == pytest.approx(true, abs=50)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("bvalues", PROTOCOLS.values(), ids=PROTOCOLS)
def test_b_values_half_too_high_are_reported(seed, bvalues):
    """B = 1000 called 1500, also without another shell to compare it with."""
    (found,) = check_diffusion_signal(diffusion(seed, bvalues), bvalues * 1.5)
    assert "are plausible in the brain" in found.text


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("bvalues", PROTOCOLS.values(), ids=PROTOCOLS)
def test_a_constant_in_the_whole_image_is_reported(seed, bvalues):
    """It does not decay with b; noise of the same mean, which varies, is no constant."""
    (found,) = check_diffusion_signal(diffusion(seed, bvalues) + np.float32(80), bvalues)
    assert "a constant was added" in found.text
    assert 80 < float(found.text.split("signal of ")[1].split(",")[0]) < 100
    assert check_diffusion_signal(diffusion(seed, bvalues, noise=64), bvalues) == []


@pytest.mark.parametrize("seed", SEEDS)
def test_directions_are_no_wrong_b_value(seed):
    """In slow tissue with fibres a direction changes the slope over D, but not the median."""
    data = diffusion(seed, MULTI_B)
    _, d, _ = head(seed)
    low, high = np.quantile(d, [0.1, 0.9])
    # Up to 17 % less decay where D is low, as much more where it is high: none in the middle.
    tilt = 0.17 * np.clip((d - np.median(d)) / (high - low) * 2, -1, 1)
    data[..., 9] *= np.exp(600 * d * tilt).clip(0.9, 1.1)
    assert check_diffusion_signal(data, MULTI_B) == []


def test_volumes_that_vary_in_scale_are_not_singled_out():
    """Where all volumes at b = 0 differ by some percent, none of them is the wrong one."""
    scales = [0.9, 1.1, 0.96, 1.04, 0.93, 1.07, 1.0]
    bvalues = np.r_[np.zeros(7), TWO_B[1:]]
    data = diffusion(0, bvalues)
    data[..., :7] *= np.array(scales, np.float32)
    assert check_diffusion_signal(data, bvalues) == []
    data[..., 2] *= 1.5
    assert [found.volumes for found in check_diffusion_signal(data, bvalues)] == [(2,)]


PERFUSION = [(f, rate) for f in (0.02, 0.06, 0.10) for rate in (6e-3, 15e-3, 50e-3, 100e-3)]
SAMPLINGS = [
    [0, 200, 400, 600, 800, 1000],
    [0, 10, 20, 40, 80, 110, 140, 170, 200, 300, 400, 500, 600, 700, 800, 900],
    [0, 50, 400, 800],
    [0, 20, 50, 100, 200, 400, 700, 1000, 1500],
]


@pytest.mark.parametrize(("fraction", "rate"), PERFUSION)
@pytest.mark.parametrize("bvalues", SAMPLINGS, ids=len)
def test_perfusion_and_kurtosis_of_the_brain_are_smooth(fraction, rate, bvalues):
    """Curves of sound brains, from little to much perfusion, slow or fast, are accepted."""
    b = np.array(bvalues, float)
    for diffusivity, kurtosis in itertools.product((0.65e-3, 0.8e-3, 0.95e-3), (0.3, 0.6, 0.9)):
        tissue = np.exp(-b * diffusivity + (b * diffusivity) ** 2 * kurtosis / 6)
        course = np.log(fraction * np.exp(-b * rate) + (1 - fraction) * tissue)
        assert list(unsmooth_decay(b, course)) == []


def test_shuffled_b_values_refuse_the_series():
    """Where more than a quarter of the volumes contradict their b-values nothing is guessed."""
    shuffled = np.random.default_rng(0).permutation(MULTI_B)
    (found,) = check_diffusion_signal(diffusion(0, MULTI_B), shuffled)
    assert found.fatal
    assert "compare the b-values with the protocol" in found.text


def dynamic(seed, frames=60, step=5.2, noise=0.01, leak=0.0, dose=1.0):
    """Return a head in which vessels and tissue take up a contrast agent, and fluid does not."""
    rng = np.random.default_rng(seed)
    s0, d, f = (x[..., None] for x in head(seed))
    time = np.arange(frames) * step / 60
    blood = parker2006(np.maximum(time - 0.6, 0)) * (time > 0.6)
    blood = dose * (blood + leak * (time > 0.6))
    tissue = np.where(d > 0.78e-3, 0.03, 0.01)
    vessels = rng.random(s0.shape) < 0.08
    uptake = np.where(vessels, 0.2, np.where(f > 0, tissue, 0)) * blood
    signal = s0 * (1 + uptake) * (1 + 0.005 * np.sin(time * 3))
    return (signal * rng.normal(1, noise, signal.shape)).astype(np.float32)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("step", [1.5, 5.2, 9.0])
def test_a_sound_dynamic_series_has_no_finding(seed, step):
    """A bolus, its recirculation, drift of the scanner and noise are no contradiction."""
    assert check_dynamic_signal(dynamic(seed, step=step)) == []
    assert check_dynamic_signal(dynamic(seed, step=step)[..., int(30 / step) :]) == []


def first_pass(before, most, rest, least, seed=0):
    """Return a head in which a tenth enhances most, a third least, from their first passes."""
    rng = np.random.default_rng(seed)
    place = rng.random(SHAPE)[..., None]
    frames = [np.r_[np.zeros(before), c, np.full(26, c[-1])] for c in (most, rest, least)]
    course = np.exp(np.select([place < 0.1, place < 0.7], frames[:2], frames[2]))
    return (500 * course * rng.normal(1, 0.01, course.shape)).astype(np.float32)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("before", [2, 3, 7])
def test_a_bolus_that_passes_within_a_frame_or_two_is_none_found_late(seed, before):
    """Frames 10 s apart: tissue that keeps the agent is as far above the rest a frame later."""
    data = first_pass(before, [0.6, 0.67, 0.62], [0.4, 0.3, 0.19], [0.0, 0.0, -0.02], seed)
    assert check_dynamic_signal(data) == []


@pytest.mark.parametrize("seed", SEEDS)
def test_a_brain_without_its_skull_has_no_change_of_the_gain(seed):
    """All tissue of a brain takes part in the first pass, the least by half of the median."""
    most, rest = [0.24, 0.81, 0.63, 0.48], [0.22, 0.67, 0.44, 0.2]
    data = first_pass(8, most, rest, [0.12, 0.37, 0.23, 0.08], seed)
    assert check_dynamic_signal(data) == []
    assert check_dynamic_signal(data[..., :18]) == []


def test_fast_frames_have_their_first_pass_by_time():
    """The number of frames that the first pass may last follows from their times."""
    data = first_pass(8, np.full(16, 0.6), np.full(16, 0.3), np.zeros(16))
    data *= np.where(np.arange(50) < 20, 1.06, 1).astype(np.float32)
    (found,) = check_dynamic_signal(data)
    assert "at volume 21, after the contrast agent" in found.text
    assert check_dynamic_signal(data, np.arange(50) * 2 / 60) == []


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("factors", [(1.1,), (1.5,), (2.5,), (1.6, 1.2), (0.7,)])
def test_frames_before_the_steady_state_are_left_out(seed, factors):
    """The first frames are brighter, or darker, than the rest of the baseline."""
    data = dynamic(seed)
    data[..., : len(factors)] *= np.array(factors, np.float32)
    (found,) = check_dynamic_signal(data)
    assert found.volumes == tuple(range(len(factors)))
    stated = float(found.text.split("(")[1].split(" %")[0])
    assert stated == pytest.approx(100 * (factors[0] - 1), abs=2)


@pytest.mark.parametrize("ratios", [(0.88,), (0.8,), (0.5,), (0.8, 0.65)])
def test_alternating_echoes_refuse_the_series(ratios):
    """Two or three echoes in one file are named with their period."""
    data = dynamic(0)
    frames = np.stack([data, *(data * r for r in ratios)], axis=-1)
    (found,) = check_dynamic_signal(frames.reshape(*SHAPE, -1))
    assert found.fatal
    assert f"a period of {len(ratios) + 1} frames" in found.text


def test_alternating_magnitude_and_phase_refuse_the_series():
    """Phase has no course at all."""
    data = dynamic(0)
    phase = np.random.default_rng(0).integers(-3142, 3142, data.shape).astype(np.float32)
    (found,) = check_dynamic_signal(np.stack([data, phase], axis=-1).reshape(*SHAPE, -1))
    assert found.fatal


@pytest.mark.parametrize("frame", [3, 40])
@pytest.mark.parametrize("factor", [0.8, 1.2, 2.0])
def test_a_frame_of_another_scale_is_left_out(frame, factor):
    """A single frame unlike its neighbours, before the bolus or long after it."""
    data = dynamic(0)
    data[..., frame] *= factor
    (found,) = check_dynamic_signal(data)
    assert found.volumes == (frame,)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("frame", [3, 40])
@pytest.mark.parametrize("size", [0.15, 0.3])
def test_a_frame_with_a_ghost_is_left_out(seed, frame, size):
    """Half a field of view away, as of alternating lines, though the median is hardly changed."""
    data = dynamic(seed)
    data[..., frame] += size * np.roll(data[..., frame], SHAPE[1] // 2, axis=1)
    (found,) = check_dynamic_signal(data)
    assert found.volumes == (frame,)


@pytest.mark.parametrize("noise", [0.01, 0.1])
def test_motion_that_lasts_and_noise_are_no_ghost(noise):
    """Motion is left to its correction: from one frame on, or for two frames, and in noise."""
    data = dynamic(0, noise=noise)
    for moved in (slice(40, None), slice(40, 42)):
        other = data.copy()
        other[..., moved] = np.roll(data[..., moved], 1, axis=1)
        assert check_dynamic_signal(other) == []


def test_volumes_are_counted_from_one():
    """As viewers and people count."""
    assert list_volumes([0, 1, 2, 7, 9]) == "volumes 1 to 3, 8 and 10"


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("frames", [slice(59, 60), slice(57, 60), slice(26, 29), slice(2, 4)])
@pytest.mark.parametrize("factor", [0.7, 1.15, 1.3])
def test_a_group_of_frames_of_another_scale_is_left_out(seed, frames, factor):
    """The wrong frames themselves, not their neighbours; also at the end of the series."""
    data = dynamic(seed)
    data[..., frames] *= factor
    (found,) = check_dynamic_signal(data)
    assert found.volumes == tuple(range(60)[frames])


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("size", [0.05, 0.15, 0.3, -0.15])
def test_a_lasting_change_of_the_gain_is_reported(seed, size):
    """After the bolus it is a warning with the frame and the size; before it, frames go."""
    data = dynamic(seed)
    after = data * np.where(np.arange(60) < 30, 1, 1 + size).astype(np.float32)
    (found,) = check_dynamic_signal(after)
    assert not found.volumes
    assert "at volume 31, after the contrast agent" in found.text
    assert float(found.text.split("by ")[1].split(" %")[0]) == pytest.approx(100 * size, abs=2)
    before = data * np.where(np.arange(60) < 3, 1, 1 + size).astype(np.float32)
    (found,) = check_dynamic_signal(before)
    assert found.volumes == (0, 1, 2)
    assert "the gain of the receiver changed" in found.text


@pytest.mark.parametrize("seed", SEEDS)
def test_a_summary_image_at_the_end_is_left_out(seed):
    """A maximum over time is as bright as the bolus, and is not taken for one."""
    data = dynamic(seed, leak=2.0, dose=3.0)
    (found,) = check_dynamic_signal(np.concatenate([data, data.max(axis=3)[..., None]], axis=3))
    assert found.volumes == (60,)


@pytest.mark.parametrize("ratio", [0.5, 0.8])
def test_series_that_follow_each_other_are_refused(ratio):
    """Two echoes one after the other, or two halves that are exchanged."""
    data = dynamic(0, leak=4.0)[..., :30]
    (found,) = check_dynamic_signal(np.concatenate([data, ratio * data], axis=3))
    assert found.fatal
    assert "disappears at once at volume 31" in found.text


@pytest.mark.parametrize("seed", SEEDS)
def test_frames_that_were_normalised_are_refused(seed):
    """Each to the same mean; rounding to integers leaves it the same."""
    data = dynamic(seed, leak=2.0)
    (found,) = check_dynamic_signal(np.round(data / data.mean(axis=(0, 1, 2)) * 300))
    assert found.fatal
    assert "normalised by itself" in found.text


@pytest.mark.parametrize("seed", SEEDS)
def test_a_constant_added_to_a_dynamic_series_is_reported(seed):
    """Air of noise raises no doubt, also that of many coils; a constant is steady."""
    rng = np.random.default_rng(seed)
    data = dynamic(seed, frames=30)
    noise = 15 * np.hypot(*rng.normal(size=(2, *data.shape)))
    many = 15 * np.sqrt(rng.chisquare(64, data.shape))
    for background in (noise, many):
        assert check_dynamic_signal(np.hypot(data, background).astype(np.float32)) == []
    found = check_dynamic_signal((np.hypot(data, noise) + 250).astype(np.float32))
    assert ["a constant was added" in finding.text for finding in found] == [True]


def test_a_small_alternation_is_a_warning():
    """A series of one echo whose frames alternate by 4 % is analysed."""
    data = dynamic(0) * np.where(np.arange(60) % 2, 0.98, 1.02).astype(np.float32)
    (found,) = check_dynamic_signal(data)
    assert not found.fatal
    assert "alternates with a period of 2 frames, by 4 %" in found.text


def test_many_first_frames_are_left_out_only_if_all_tissue_changes():
    """Tissue of which most enhances before the rest has no first frames that are not steady."""
    rng = np.random.default_rng(4)
    frames = np.arange(40)
    slow = np.where(frames >= 10, 1.06, 1.0)
    fast = np.where(frames >= 16, 2.0, 1.0)
    place = rng.random(SHAPE)[..., None]
    course = np.where(place < 0.6, slow, np.where(place < 0.7, fast, 1.0))
    data = 500 * course * rng.normal(1, 0.01, (*SHAPE, len(frames)))
    found = check_dynamic_signal(data.astype(np.float32))
    assert not any(finding.volumes for finding in found)
    gain = np.where(frames < 10, 0.94, 1.0)
    found = check_dynamic_signal((data / np.where(place < 0.6, slow, 1) * gain).astype(np.float32))
    assert any(finding.volumes == tuple(range(10)) for finding in found)
