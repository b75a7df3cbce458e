"""The arterial input: population functions, arrival of the bolus, voxels of the artery."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bidsapp.errors import FitError
from bidsapp.models.contrast.aif import (
    POPULATION,
    georgiou2019,
    parker2006,
)
from bidsapp.models.contrast.aif_checks import check_arterial_input, compare_with_artery
from bidsapp.models.contrast.arrival import find_arrival, find_baseline_frames, fit_arrival
from bidsapp.models.contrast.artery import find_artery, select_arterial_voxels
from bidsapp.models.contrast.enhancement import Spgr, measured_input, population_input
from bidsapp.models.contrast.spgr import contrast_r1, spgr_signal

CURVES = ("time", "plasma", "tissue")
GLIOBLASTOMA = np.load(Path(__file__).parent / "data" / "dce_gbm_rrift" / "curves.npz")
SPGR = Spgr(0.004, np.deg2rad(15), 4.5)
T1_BLOOD = 1.65
TIME = np.arange(60) * 5.2 / 60
SETTING = {"t1_blood": T1_BLOOD, "spgr": SPGR}

INTERVALS = st.sampled_from([1.0, 2.0, 5.2])
ARRIVALS = st.floats(20, 50)
SEEDS = st.integers(0, 2**31)


def signal_of(blood, level=1000.0):
    """Signal of blood, such that it is 1 % of the level at equilibrium times the sequence."""
    r1 = contrast_r1(blood, T1_BLOOD, SPGR.relaxivity)
    return level * spgr_signal(r1, SPGR.repetition_time, SPGR.flip_angle)


def head(rng, *, artery=True, delay=0.0, noise=0.15):
    """A head of weakly enhancing tissue with a vein, and an artery with its partial volume."""
    share = np.zeros((16, 16, 6))
    if artery:
        share[4:7, 4:7] = 0.5
        share[5, 5] = 1.0
    blood = parker2006(TIME, 0.51 + delay)
    tissue = signal_of(0.05 * np.convolve(blood, np.ones(20) / 5)[: len(TIME)])
    vein = signal_of(parker2006(TIME, 0.65 + delay))
    series = share[..., None] * signal_of(blood) + (1 - share[..., None]) * tissue
    if artery:
        series[10:13, 10:13] = vein
    return series + rng.normal(0, noise, series.shape), share


@pytest.mark.parametrize("function", POPULATION.values(), ids=POPULATION)
def test_a_population_function_is_zero_before_its_arrival_and_moves_with_it(function):
    """Nothing before the arrival; later arrival, same curve."""
    time = np.linspace(0, 8, 801)
    late = function(time, 1.0)
    assert (late[time < 1] == 0).all()
    np.testing.assert_allclose(late[100:], function(time, 0.0)[:-100], atol=1e-9)
    assert np.isfinite(function(np.linspace(0, 60, 50), 0.0)).all()


def test_georgious_constants_round_to_those_published():
    """With the two or three digits of Table 3 the curve is the same within 3 %."""
    time = np.linspace(0.02, 5, 500)
    passes = np.arange(1, 40)
    since = np.maximum(time[:, None] - (passes - 1) * 0.129, 1e-9)
    from scipy.stats import gamma

    bolus = gamma.pdf(since, passes * 6.26, scale=0.032).sum(axis=1)
    decay = (np.array([0.37, 0.33, 10.06]) * np.exp(-np.outer(time, [0.11, 1.17, 16.02]))).sum(1)
    np.testing.assert_allclose(georgiou2019(time), decay * bolus, rtol=0.03, atol=0.05)


@settings(deadline=None, max_examples=60)
@given(step=INTERVALS, arrival=ARRIVALS, seed=SEEDS, cnr=st.sampled_from([10, 20, 50]))
def test_frames_before_the_bolus_are_free_of_it(step, arrival, seed, cnr):
    """From contrast to noise 10 up, at 1 to 5.2 s: the frames hold under 2 % of the peak."""
    time = np.arange(0, 300, step) / 60
    blood = parker2006(time, arrival / 60)
    noise = np.random.default_rng(seed).normal(0, blood.max() / cnr, len(time))
    frames = find_baseline_frames(blood + noise)
    assert blood[:frames].mean() < 0.02 * blood.max()
    assert frames * step > 0.5 * arrival - step


def arrival_error(step, arrival, seed, cnr):
    """Return the error of the arrival of a population function in a noisy curve, s."""
    time = np.arange(0, 300, step) / 60
    blood = parker2006(time, arrival / 60)
    noise = np.random.default_rng(seed).normal(0, blood.max() / cnr, len(time))
    return 60 * fit_arrival(parker2006, blood + noise, time) - arrival


@settings(deadline=None, max_examples=60)
@given(step=INTERVALS, arrival=ARRIVALS, seed=SEEDS, cnr=st.sampled_from([20, 50]))
def test_a_population_function_is_placed_between_the_frames(step, arrival, seed, cnr):
    """Its arrival is found to 0.6 s at contrast to noise 50, and to 1.5 s at 20."""
    assert arrival_error(step, arrival, seed, cnr) == pytest.approx(0, abs={20: 1.5, 50: 0.6}[cnr])


@pytest.mark.parametrize("step", [1.0, 5.2])
def test_a_population_function_is_placed_in_much_noise(step):
    """At contrast to noise 10, half of the errors are below 1 s and nine of ten below 2.5 s."""
    errors = np.abs([arrival_error(step, 44.0, seed, 10) for seed in range(40)])
    assert np.median(errors) < 1
    assert np.quantile(errors, 0.9) < 2.5


@pytest.mark.parametrize("step", [1.0, 2.0, 5.2])
def test_the_bend_is_near_the_arrival(step):
    """Without noise, a curve begins to rise within 4 s of the bolus: its foot is flat."""
    time = np.arange(0, 300, step) / 60
    for arrival in np.linspace(25, 35, 11):
        error = 60 * find_arrival(parker2006(time, arrival / 60), time).time - arrival
        assert -1 < error < 4


@settings(deadline=None, max_examples=30)
@given(arrival=ARRIVALS, name=st.sampled_from(sorted(POPULATION)))
def test_population_input_arrives_as_the_signal_of_blood_does(arrival, name):
    """The signal saturates, the arrival is none the less right to 0.3 s, frames 5.2 s apart."""
    blood = POPULATION[name](TIME, arrival / 60)
    found = population_input(name, signal_of(blood), TIME, haematocrit=0.42, **SETTING)
    np.testing.assert_allclose(found.blood, blood, atol=0.3)
    assert found.baseline_frames * 5.2 <= arrival + 5.2


def tissue_that_climbs(time, arrival, rng, snr):
    """Return the signal of tissue that jumps with the bolus and then climbs for minutes."""
    blood = parker2006(time, arrival)
    leaked = np.concatenate([[0], np.cumsum((blood[1:] + blood[:-1]) / 2 * np.diff(time))])
    signal = signal_of(0.06 * blood + 0.06 * leaked)
    return signal + rng.normal(0, signal[0] / snr, len(time))


@pytest.mark.parametrize("step", [1.5, 5.2])
@pytest.mark.parametrize("snr", [15, 50])
def test_tissue_that_climbs_for_minutes_does_not_arrive_early(step, snr):
    """The jump decides, not the climb; the baseline and a population function agree with it."""
    time, rng = np.arange(0, 360, step) / 60, np.random.default_rng(3)
    for arrival in np.linspace(25, 40, 8):
        tissue = tissue_that_climbs(time, arrival / 60, rng, snr)
        found = find_arrival(tissue, time)
        assert found.earliest <= found.time <= found.latest
        assert 60 * found.time == pytest.approx(arrival + 1, abs=4)
        assert find_baseline_frames(tissue) * step > arrival - 3 * step
        assert 60 * fit_arrival(parker2006, tissue, time) == pytest.approx(arrival, abs=2.5)


@pytest.mark.parametrize("visit", [1, 2, 3])
def test_the_artery_of_a_glioblastoma_is_no_vein(visit):
    """Measured curves: artery and tumour agree to a frame, but not the artery 8 s later."""
    time, blood, tissue = (GLIOBLASTOMA[f"{name}_{visit}"].astype(float) for name in CURVES)
    tumour = np.mean([signal_of(np.maximum(curve, 0)) for curve in tissue], axis=0)
    assert not [text for text in check_arterial_input(blood, time, tumour) if "vein" in text]
    late = np.interp(time - 8 / 60, time, blood)
    assert any("after the tissue: a vein" in t for t in check_arterial_input(late, time, tumour))

    assert not any("before the tissue" in t for t in check_arterial_input(blood, time, tumour))
    early = np.interp(time + 12 / 60, time, blood)
    (text,) = (t for t in check_arterial_input(early, time, tumour) if "before the tissue" in t)
    assert float(text.split()[2]) == pytest.approx(12, abs=3)

    def shape(at, arrival):
        return signal_of(parker2006(at, arrival))

    placed = [60 * fit_arrival(shape, curve, time) for curve in (tumour, signal_of(blood))]
    assert placed[0] == pytest.approx(placed[1], abs=5.4)  # a frame


def test_given_frames_need_no_bolus_to_be_found():
    """With the frames before the bolus given, a curve that rises at once places the function."""
    curve = signal_of(parker2006(TIME, 1.2 * 5.2 / 60))
    found = population_input(
        "parker2006", curve, TIME, haematocrit=0.42, baseline_frames=1, **SETTING
    )
    np.testing.assert_allclose(found.blood, parker2006(TIME, 1.2 * 5.2 / 60), atol=0.3)


def test_noise_is_no_bolus():
    """Nine in ten curves of noise alone are refused."""
    rng = np.random.default_rng(0)
    refused = 0
    for _ in range(200):
        try:
            find_baseline_frames(rng.normal(0, 1, 60))
        except FitError:
            refused += 1
    assert refused > 170


@pytest.mark.parametrize("noise", [0.0, 0.15, 0.5])
def test_an_even_region_is_taken_almost_whole(noise):
    """Noise is not taken for height: the peak of an even region is right to 4 %."""
    rng = np.random.default_rng(1)
    blood = parker2006(TIME, 0.51)
    signal = signal_of(blood) + rng.normal(0, noise, (60, 60))
    taken = select_arterial_voxels(signal, TIME, **SETTING)
    found = measured_input(signal[taken].mean(axis=0), TIME, haematocrit=0.42, **SETTING)
    assert taken.mean() > (0.4 if noise == 0.5 else 0.9)
    assert found.blood.max() == pytest.approx(blood.max(), rel=0.04)


def test_partial_volume_late_and_unphysical_voxels_are_left_out():
    """Of a careless region, the pure and early voxels remain."""
    blood = parker2006(TIME, 0.51)
    artery, rest = signal_of(blood), signal_of(0 * blood)
    region = [
        *([artery] * 4),
        *([(artery + rest) / 2] * 4),
        *([signal_of(parker2006(TIME, 0.75))] * 2),
        np.where(blood > 3, 10 * artery, artery),
        np.full_like(artery, np.nan),
    ]
    assert np.flatnonzero(select_arterial_voxels(region, TIME, **SETTING)).tolist() == [0, 1, 2, 3]


def test_a_region_of_one_voxel_is_that_voxel():
    """There is nothing to choose from, and no reason to refuse."""
    assert select_arterial_voxels([signal_of(parker2006(TIME, 0.51))], TIME, **SETTING).all()


def test_a_region_beyond_physics_is_refused():
    """The message states the number of voxels, and what to check."""
    signal = np.where(TIME > 0.5, 1e6, 10.0)[None].repeat(4, axis=0)
    with pytest.raises(FitError, match=r"none of the 4 voxels.*AIF mask.*--t1-blood"):
        select_arterial_voxels(signal, TIME, **SETTING)


def test_a_region_without_a_signal_is_refused():
    """Voxels outside the series, all missing, are reported as such."""
    with pytest.raises(FitError, match="none of the 2 voxels of the artery has a finite signal"):
        select_arterial_voxels(np.full((2, 60), np.nan), TIME, **SETTING)


@pytest.mark.parametrize("delay", [0.0, 0.02, 0.05])
def test_the_artery_is_found(delay):
    """Not its partial volume and not the vein, though that is larger; each time the same voxels."""
    series, share = head(np.random.default_rng(2), delay=delay)
    found = find_artery(series, TIME, **SETTING)
    assert found.sum() >= 5
    assert (share[found] == 1).all()
    np.testing.assert_array_equal(found, find_artery(series, TIME, **SETTING))


@pytest.mark.parametrize("scale", [0.4, 0.6, 0.8, 1.0, 1.7, 2.5, 4.0])
def test_an_input_from_elsewhere_has_the_area_of_the_artery(scale):
    """Tissue in its voxels lowers the artery of the images, so that the limits are not alike."""
    blood = parker2006(TIME, 0.6)
    found = compare_with_artery(scale * blood, 0.9 * blood)
    assert bool(found) == (scale in (0.4, 0.6, 2.5, 4.0))
    assert all(f"{scale / 0.9:.2g} times" in text for text in found)


@pytest.mark.parametrize(("seconds", "count"), [(40, 1), (60, 1), (90, 0), (260, 0)])
def test_a_series_that_ends_early_is_reported(seconds, count):
    """With the time that is left after the arrival, which determines ve."""
    kept = 0.6 + seconds / 60 > TIME
    blood = parker2006(TIME, 0.6)[kept]
    tissue = np.convolve(blood, np.ones(20))[: kept.sum()]
    found = check_arterial_input(blood, TIME[kept], tissue)
    assert sum("not determined by less than" in text for text in found) == count


def test_an_artery_that_wraps_around_is_no_vein():
    """Its peak lies below the baseline while tissue rises: late, but for another reason."""
    blood = parker2006(TIME, 0.6)
    wrapped = np.where(blood > 2, -0.3, blood)
    found = check_arterial_input(wrapped, TIME, np.convolve(blood, np.ones(20))[: len(TIME)])
    assert any("3 frames lie below its baseline" in text for text in found)
    assert not any("vein" in text and "after the tissue" in text for text in found)


def test_an_artery_without_concentrations_is_refused_by_their_number():
    """A few frames are listed, many are counted."""
    signal = np.r_[np.full(10, 10.0), np.full(40, 1e6)]
    with pytest.raises(FitError, match=r"at frames 11 and 39 others is beyond"):
        measured_input(signal, TIME[:50], haematocrit=0.4, **SETTING)
    with pytest.raises(FitError, match=r"at frames \[11, 12\] is beyond"):
        measured_input(np.r_[signal[:12], np.full(38, 11.0)], TIME[:50], haematocrit=0.4, **SETTING)


def test_without_an_artery_none_is_made_up():
    """A head of tissue is refused, and the message states what to do."""
    series, _ = head(np.random.default_rng(3), artery=False, noise=0.02)
    with pytest.raises(FitError, match=r"no artery was found.*--aif roi.*--aif parker2006"):
        find_artery(series, TIME, **SETTING)


def test_a_bright_vessel_of_inflow_is_left_out():
    """Blood that flows in is brighter at rest than tissue; its concentration would be wrong."""
    series, share = head(np.random.default_rng(4))
    series[0, :8] = 3 * signal_of(parker2006(TIME, 0.5))
    found = find_artery(series, TIME, **SETTING)
    assert not found[0].any()
    assert (share[found] == 1).all()


def test_arterial_voxels_are_found_with_the_flip_angle_of_each_voxel():
    """At 0.54 to 0.66 of the nominal angle: the pure voxels, which the nominal angle misses."""
    _, share = head(np.random.default_rng(3))
    b1 = np.broadcast_to(np.linspace(0.54, 0.66, 16)[:, None, None], share.shape)
    actual = Spgr(SPGR.repetition_time, SPGR.flip_angle * b1, SPGR.relaxivity)
    blood = parker2006(TIME, 0.51)

    def signal(concentration):
        r1 = contrast_r1(concentration, T1_BLOOD, SPGR.relaxivity)
        return 1000 * spgr_signal(r1, SPGR.repetition_time, actual.flip_angle[..., None])

    tissue = signal(0.05 * np.convolve(blood, np.ones(20) / 5)[: len(TIME)])
    series = share[..., None] * signal(blood) + (1 - share[..., None]) * tissue
    series += np.random.default_rng(3).normal(0, 0.05, series.shape)
    pure, region = share == 1, share > 0
    found = find_artery(series, TIME, t1_blood=T1_BLOOD, spgr=actual)
    np.testing.assert_array_equal(found, pure)
    within = actual.at(region)
    taken = select_arterial_voxels(series[region], TIME, t1_blood=T1_BLOOD, spgr=within)
    np.testing.assert_array_equal(taken, pure[region])
    with pytest.raises(FitError, match="no artery was found"):
        find_artery(series, TIME, **SETTING)


def test_a_voxel_without_b1_is_not_arterial():
    """It cannot be converted; the others of the region are taken."""
    series, share = head(np.random.default_rng(3))
    angles = np.full(share.shape, SPGR.flip_angle)
    angles[5, 5, 0] = np.nan
    actual = Spgr(SPGR.repetition_time, angles, SPGR.relaxivity)
    found = find_artery(series, TIME, t1_blood=T1_BLOOD, spgr=actual)
    expected = share == 1
    expected[5, 5, 0] = False
    np.testing.assert_array_equal(found, expected)
