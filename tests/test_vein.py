"""The venous sinus, and an artery scaled to it: which voxels, how much, and when not."""

import numpy as np
import pytest

from bidsapp.cli.main import main
from bidsapp.errors import FitError
from bidsapp.models import MODELS, fit
from bidsapp.models.contrast.aif import parker2006, plasma_from_blood
from bidsapp.models.contrast.enhancement import Spgr, measured_input, to_concentration
from bidsapp.models.contrast.spgr import contrast_r1, spgr_signal
from bidsapp.models.contrast.vein import (
    ScaledArtery,
    Vein,
    check_scale,
    find_vein,
    scale_to_vein,
)

T1 = 1.65
SPGR = Spgr(0.004, np.deg2rad(15), 4.5)
SETTING = {"t1_blood": T1, "spgr": SPGR}
TIME = np.arange(60) * 5.2 / 60
BLOOD = parker2006(TIME, 0.55)
STEPS = np.arange(60 * 40) * 5.2 / 60 / 40
MIDDLE = slice(20, None, 40)
FINE = parker2006(STEPS, 0.55)
ARTERY, SINUS = (slice(4, 7), slice(4, 7), slice(2, 5)), (slice(11, 21), slice(11, 13), slice(2, 4))


def signal_of(blood, spgr=SPGR):
    """Signal of blood; 17 before the bolus."""
    r1 = contrast_r1(blood, T1, spgr.relaxivity)
    return 1000 * spgr_signal(r1, spgr.repetition_time, np.asarray(spgr.flip_angle)[..., None])


TISSUE = signal_of(0.03 * BLOOD)


def head(*, share=0.6, delay=6.0, vein=True, inflow=0.0, noise=0.2, seed=0):
    """A head with an artery that fills a share of its voxels, and a sinus with its partial volume.

    Inflow is a constant signal in the artery, relative to that of its blood before the bolus.
    """
    part = np.zeros((24, 20, 8))
    part[ARTERY] = share
    venous = np.zeros(part.shape)
    if vein:
        venous[10:22, 10:14, 1:5], venous[SINUS] = 0.5, 1.0
    late = signal_of(parker2006(TIME, 0.55 + delay / 60))
    artery = signal_of(BLOOD) + inflow * signal_of(0 * BLOOD)
    series = part[..., None] * artery + venous[..., None] * late
    series = series + (1 - part - venous)[..., None] * TISSUE
    return series + np.random.default_rng(seed).normal(0, noise, series.shape)


def scaled_artery(series, **setting):
    """Return the vein of a head, its artery as measured, and the artery scaled."""
    setting = {**SETTING, **setting}
    signal = series[ARTERY].mean(axis=(0, 1, 2))
    measured = measured_input(signal, TIME, haematocrit=0.42, **SETTING)
    setting["baseline_frames"] = measured.baseline_frames
    vein = find_vein(series, TIME, signal, **setting)
    setting["spgr"] = SPGR
    scaled = scale_to_vein(signal, TIME, vein, **setting)
    blood = to_concentration(scaled.signal, measured.baseline_frames, T1, SPGR)
    return vein, measured.blood, scaled, blood


def area(curve):
    return float(np.trapezoid(curve, TIME))


@pytest.mark.parametrize("share", [0.9, 0.6, 0.4])
@pytest.mark.parametrize("delay", [4.0, 6.0, 9.0])
def test_the_area_of_an_artery_with_tissue_is_recovered(share, delay):
    """To 5 % in area and Ktrans and 15 % in peak, where the measured area is 15 to 70 % too low."""
    vein, measured, scaled, blood = scaled_artery(head(share=share, delay=delay))
    assert area(measured) < 0.85 * area(BLOOD)
    assert scaled.scale == pytest.approx(area(BLOOD) / area(measured), rel=0.05)
    assert area(blood) == pytest.approx(area(BLOOD), rel=0.05)
    assert blood.max() == pytest.approx(BLOOD.max(), rel=0.15 if share > 0.5 else 0.4)
    assert 60 * vein.delay == pytest.approx(delay, abs=1.5)
    truth = {"Ktrans": np.array([0.07]), "ve": 0.2, "vp": 0.04}
    design = {"time": TIME, "plasma": plasma_from_blood(blood, 0.42)}
    exact = fit("extended-tofts", to_tissue(truth), **design).values["Ktrans"]
    assert exact == pytest.approx(0.07, rel=0.05)


def to_tissue(truth):
    """Return the concentration of a lesion with the true arterial input."""
    plasma = plasma_from_blood(BLOOD, 0.42)
    return MODELS["extended-tofts"].predict(truth, time=TIME, plasma=plasma)


@pytest.mark.parametrize(
    ("share", "t1", "vp"), [(0.8, 1.3, 0.03), (0.6, 1.3, 0.03), (0.4, 1.3, 0.03), (0.6, 4.0, 0.0)]
)
def test_a_subtraction_restores_what_a_multiplication_does_not(share, t1, vp):
    """In brain and CSF, with a vein delayed by 4 s and dispersed by 3 s: Ktrans to 4 %, and vp."""
    plasma = plasma_from_blood(FINE, 0.42)
    tissue = spgr_signal(contrast_r1(vp * plasma, t1, SPGR.relaxivity), 0.004, SPGR.flip_angle)
    artery = (share * signal_of(FINE) + (1 - share) * 1000 * tissue)[MIDDLE]
    spread = np.exp(-STEPS / 0.05)
    venous = np.interp(STEPS - 0.07, STEPS, np.convolve(FINE, spread / spread.sum())[: len(FINE)])
    late, measured = (
        to_concentration(curve, 6, T1, SPGR) for curve in (signal_of(venous)[MIDDLE], artery)
    )
    vein = Vein(np.ones((1, 1, 1), bool), late, error=0.0, delay=0.1)
    scaled = scale_to_vein(artery, TIME, vein, baseline_frames=6, **SETTING)
    truth = {"Ktrans": np.array([0.07]), "ve": 0.2, "vp": 0.04}
    lesion = MODELS["extended-tofts"].predict(truth, time=STEPS, plasma=plasma)[:, MIDDLE]

    def errors(blood):
        design = {"time": TIME, "plasma": plasma_from_blood(blood, 0.42)}
        values = fit("extended-tofts", lesion, **design).values
        return [float(values["Ktrans"][0]) / 0.07 - 1, float(values["vp"][0]) / 0.04 - 1]

    restored = errors(to_concentration(scaled.signal, 6, T1, SPGR))
    multiplied = errors(scaled.scale * measured)
    assert abs(restored[0]) < 0.04 < abs(multiplied[0])
    assert abs(restored[1]) < 0.3 < multiplied[1]


@pytest.mark.parametrize("inflow", [0.5, 2.0])
def test_inflow_is_subtracted(inflow):
    """Blood that flows in adds a constant signal; without it, the curve is that of the artery."""
    _, measured, scaled, blood = scaled_artery(head(share=1.0, inflow=inflow))
    assert measured.max() < 0.6 * BLOOD.max()
    assert scaled.share == pytest.approx(1 / (1 + inflow), rel=0.05)
    np.testing.assert_allclose(blood, BLOOD, atol=0.08 * BLOOD.max())


def test_the_averaged_venous_voxels_are_the_pure_ones():
    """Of a sinus with its partial volume; the artery is none of them."""
    vein, *_ = scaled_artery(head())
    expected = np.zeros(vein.mask.shape, bool)
    expected[SINUS] = True
    assert (vein.mask <= expected).all()
    assert vein.mask.sum() > 0.9 * expected.sum()


def test_the_standard_error_is_that_of_repeated_measurements():
    """Noise alone differs between them."""
    found = [scaled_artery(head(noise=0.5, seed=seed))[2] for seed in range(20)]
    spread = np.std([one.scale for one in found], ddof=1)
    assert 0.5 < spread / np.mean([one.error for one in found]) < 1.6


@pytest.mark.parametrize("axes", [(2, 1, 0), (1, 0, 2)])
def test_the_order_of_the_axes_does_not_matter(axes):
    """The same voxels, and the same factor."""
    series = head()
    signal = series[ARTERY].mean(axis=(0, 1, 2))
    one = find_vein(series, TIME, signal, **SETTING)
    other = find_vein(np.transpose(series, (*axes, 3)), TIME, signal, **SETTING)
    np.testing.assert_array_equal(other.mask, np.transpose(one.mask, axes))
    np.testing.assert_allclose(other.blood, one.blood, rtol=1e-9, atol=1e-12)


def test_the_flip_angle_of_each_voxel_counts():
    """With 0.8 of the nominal angle in the sinus, known from a B1 map, the factor is the same."""
    series = head(share=1.0)
    angles = np.full(series.shape[:3], SPGR.flip_angle)
    angles[10:] *= 0.8
    actual = Spgr(SPGR.repetition_time, angles[SINUS], SPGR.relaxivity)
    late = parker2006(TIME, 0.65)
    series[SINUS] = signal_of(late, actual) * np.ones((*angles[SINUS].shape, 1))
    known = Spgr(SPGR.repetition_time, angles, SPGR.relaxivity)
    assert scaled_artery(series, spgr=known)[2].scale == pytest.approx(1, abs=0.03)
    assert abs(scaled_artery(series)[2].scale - 1) > 0.1


@pytest.mark.parametrize(("vein", "delay"), [(False, 6.0), (True, 0.0), (True, 30.0)])
def test_without_a_vein_none_is_made_up(vein, delay):
    """Neither tissue, nor a vessel at the time of the artery, nor one half a minute later."""
    series = head(vein=vein, delay=delay)
    with pytest.raises(FitError, match=r"no vein was found: .*no 10 of these touch.*none"):
        find_vein(series, TIME, series[ARTERY].mean(axis=(0, 1, 2)), **SETTING)


def test_an_artery_that_is_purer_than_the_vein_stays_as_it_is():
    """A diluted sinus would make it worse; that is reported."""
    signal = signal_of(BLOOD)
    vein = Vein(np.ones((1, 1, 1), bool), 0.8 * BLOOD, error=0.01, delay=0.0)
    scaled = scale_to_vein(signal, TIME, vein, baseline_frames=5, **SETTING)
    np.testing.assert_array_equal(scaled.signal, signal)
    assert (scaled.share, scaled.scale) == (1, pytest.approx(0.8, rel=1e-3))
    text = check_scale(scaled)[0]
    assert "0.8 times that of the artery, which is the purer of the two" in text


def test_an_area_beyond_what_the_signal_allows_is_refused():
    """The message states both areas."""
    vein = Vein(np.ones((1, 1, 1), bool), 90 * BLOOD, error=0.01, delay=0.0)
    with pytest.raises(FitError, match=r"cannot be scaled to the vein.*mM min.*--aif-scale none"):
        scale_to_vein(signal_of(BLOOD), TIME, vein, baseline_frames=5, **SETTING)


@pytest.mark.parametrize(
    ("scale", "error", "words"),
    [
        (1.3, 0.1, []),
        (2.6, 0.1, ["plausible is 0.8 to 2.5"]),
        (0.7, 0.01, ["purer of the two", "plausible is 0.8 to 2.5"]),
        (1.3, 0.3, ["standard error of 23 %"]),
    ],
)
def test_an_implausible_or_uncertain_factor_is_reported(scale, error, words):
    """By its factor and by its error."""
    found = check_scale(ScaledArtery(np.ones(3), 1.0, scale, error))
    assert len(found) == len(words)
    assert all(word in text for word, text in zip(words, found, strict=True))


@pytest.mark.parametrize("source", ["table", "parker2006"])
def test_only_a_measured_artery_can_be_scaled(source, tmp_path, capsys):
    """A table or a population function is refused, with what to choose instead."""
    words = ["--aif", source, "--aif-scale", "vein"]
    with pytest.raises(SystemExit, match="2"):
        main([str(tmp_path), str(tmp_path / "out"), "participant", *words])
    said = " ".join(capsys.readouterr().err.split())
    assert f"needs --aif roi or --aif auto, not {source}" in said
