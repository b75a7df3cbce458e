"""What is recovered of a known change in a lesion: by its own course all, by the mean a part."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from bidsapp.errors import BadInput, FitError, UsageError
from bidsapp.imaging.edges import find_edge
from bidsapp.imaging.labels import label_fractions
from bidsapp.imaging.point_spread import VOXEL_MEAN
from bidsapp.lesions.surroundings import LesionSurroundings
from bidsapp.models import MODELS, Spgr, parker2006, plasma_from_blood
from bidsapp.recovery.changes import VOLUME, Change, parse_change
from bidsapp.recovery.kinetic_signal import Artery, KineticSignal
from bidsapp.recovery.lesion import AS_ACQUIRED, ChangedLesion, changed_signal, find_lesion
from bidsapp.recovery.means import NativeRegion, ResampledRegion
from bidsapp.recovery.recovery import (
    Chain,
    Visits,
    change_lesion,
    recover_changes,
    summarise_change,
)
from bidsapp.recovery.signals import (
    DiffusionSignal,
    ModelFit,
    residual_level,
)

TIME = np.arange(50) * 6 / 60
PLASMA = plasma_from_blood(parker2006(TIME, 0.6), 0.42)
SPGR = Spgr(0.004, 0.26, 4.5)
DCE = KineticSignal(TIME, PLASMA, 5, SPGR, 1.4, np.ones(50, bool))
TOFTS = ModelFit("extended-tofts", ("Ktrans", "ve", "vp"), {})
LESION = {"Ktrans": 0.09, "ve": 0.25, "vp": 0.05}
TISSUE = {"Ktrans": 0.0, "ve": 0.2, "vp": 0.02}
BVALUES = np.array([0.0, *np.repeat([200.0, 400, 600, 800, 1000], 3)])
DWI = DiffusionSignal(BVALUES, np.ones(16, bool))
ADC = ModelFit("adc", ("ADC",), {})
IVIM = ModelFit("ivim-fixed-dstar", ("f", "D"), {"dstar": 0.01})
GRID, AFFINE = (24, 24, 7), np.diag([2.0, 2.0, 6.0, 1.0])
DRAWN = np.diag([1.5, 1.5, 1.5, 1.0])
EXACT = Visits(repeats=2, noise=0.0, edge_error=0.0, moved=False)


def ball(radius: float, centre=(23.0, 23.0, 18.0)) -> np.ndarray:
    """Return a ball on the grid of the drawing."""
    places = 1.5 * np.indices((32, 32, 26)) - np.reshape(centre, (3, 1, 1, 1))
    return (np.linalg.norm(places, axis=0) < radius).astype(int)


def decay(f: float, d: float) -> np.ndarray:
    """Return a bi-exponential decay with D* = 0.01 mm2/s."""
    return 100 * (f * np.exp(-0.01 * BVALUES) + (1 - f) * np.exp(-d * BVALUES))


COURSES = {
    "dce": (100 * DCE.relative_signal(TOFTS, LESION), 90 * DCE.relative_signal(TOFTS, TISSUE)),
    "dwi": (decay(0.12, 1.2e-3), 0.8 * decay(0.05, 0.8e-3)),
}
SIGNALS = {"dce": (DCE, (TOFTS,)), "dwi": (DWI, (ADC, IVIM))}

SPREAD = VOXEL_MEAN


@cache
def make_chain(kind="dce", radius=9.0, noise=0.0, *, weighted=True, resampled=False) -> Chain:
    """Return a ball in uniform tissue, mixed by the fractions of its sampling, and its analysis."""
    parts = ball(radius)
    inner, outer = COURSES[kind]
    share = find_edge(parts, DRAWN).sample(np.eye(4), GRID, AFFINE, 6.0)
    fractions = np.zeros(GRID)
    fractions[share.box] = share.fractions([1], SPREAD)[..., 0]
    data = fractions[..., None] * inner + (1 - fractions[..., None]) * outer
    data = data + np.random.default_rng(7).normal(0, noise, data.shape)
    scene = LesionSurroundings(data, AFFINE, parts, parts, DRAWN, 1, SPREAD)
    lesion = find_lesion(scene, np.eye(4))
    if resampled:
        region = ResampledRegion(lesion, np.eye(4))
    else:
        drawn = label_fractions(parts, DRAWN, np.eye(4), GRID, AFFINE, [1])[lesion.box][..., 0]
        region = NativeRegion(lesion, drawn, weighted=weighted)
    signal, models = SIGNALS[kind]
    brain = np.ones(lesion.near.shape, bool)
    return Chain(lesion, signal, models, region, brain)


def recovered(chain: Chain, change: Change, visits: Visits = EXACT) -> dict:
    """Return the rows of a change by estimate and parameter."""
    rows, problems = recover_changes(chain, [change], visits)
    assert not problems
    return {(row["estimate"], row["parameter"]): row for row in rows}


CHANGES = [
    ("dce", Change("Ktrans", -40.0)),
    ("dce", Change("vp", -50.0)),
    ("dwi", Change("f", 20.0)),
    ("dwi", Change("ADC", 10.0)),
]


@pytest.mark.parametrize(("kind", "change"), CHANGES, ids=lambda v: getattr(v, "name", v))
def test_a_large_lesion_gives_all_of_a_change_by_its_own_course_and_part_of_it_by_the_mean(
    kind, change
):
    """Without noise: 98 to 102 % unmixed; the mean loses what its voxels share with tissue."""
    rows = recovered(make_chain(kind), change)
    own, mean = (rows[e, change.parameter] for e in ("unmixed", "mean"))
    assert own["recovered_fraction"] == pytest.approx(1, abs=0.02)
    assert 0.4 < mean["recovered_fraction"] < 0.95
    assert own["true_change"] == pytest.approx(own["true_value"] * change.percent / 100)


def test_a_smaller_lesion_loses_more_of_a_change_by_its_mean():
    """The recovered fraction of the mean grows with the size of the lesion."""
    change = Change("Ktrans", -40.0)
    small, large = (
        recovered(make_chain(radius=r), change)["mean", "Ktrans"]["recovered_fraction"]
        for r in (6.0, 11.0)
    )
    assert small < large - 0.1


def test_another_parameter_does_not_change_with_it():
    """A change of Ktrans leaves vp and ve of the lesion's own course as they are."""
    rows = recovered(make_chain(), Change("Ktrans", -40.0))
    for name in ("vp", "ve"):
        row = rows["unmixed", name]
        assert row["true_change"] == 0
        assert np.isnan(row["recovered_fraction"])
        assert abs(row["recovered_change"]) < 0.02 * row["value"]


def test_no_change_changes_no_voxel():
    """Without displacement and change, the signal is the measured one."""
    chain = make_chain(noise=1.0)
    nothing = ChangedLesion(np.zeros(50), 0.0, {})
    np.testing.assert_array_equal(
        changed_signal(chain.lesion, nothing, AS_ACQUIRED), chain.lesion.data
    )


def test_half_the_volume_leaves_the_surroundings_in_its_place():
    """The volume changes as stated; a voxel without lesion has the course of the surroundings."""
    chain = make_chain()
    half, small = (change_lesion(chain, Change(VOLUME, p)) for p in (-50.0, -90.0))
    volume = chain.lesion.edge.volume(chain.lesion.offset)
    assert half.true_changes[VOLUME] == pytest.approx(-volume / 2000, rel=0.01)
    data = changed_signal(chain.lesion, small, AS_ACQUIRED)
    inside = chain.lesion.fractions(np.zeros(3), small.offset)[..., 0]
    left = (inside < 1e-6) & (chain.lesion.own[..., 0] > 0.2)
    assert left.any()
    expected = np.broadcast_to(COURSES["dce"][1], data[left].shape)
    np.testing.assert_allclose(data[left], expected, rtol=0.02)


def test_half_the_volume_lowers_the_mean_although_the_lesion_is_as_before():
    """A false change of the mean that the lesion's own course does not show."""
    rows = recovered(make_chain(), Change(VOLUME, -50.0))
    false = {e: rows[e, "Ktrans"]["recovered_change"] / rows[e, "Ktrans"]["value"] for e in
             ("mean", "unmixed")}  # fmt: skip
    assert false["mean"] < -0.07
    assert abs(false["unmixed"]) < 0.05
    assert rows["mean", VOLUME]["recovered_fraction"] == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize(
    "only",
    [{"noise": 1.0}, {"edge_error": 0.5}, {"position_error": 0.5}, {"moved": True}],
    ids=lambda only: next(iter(only)),
)
def test_each_difference_between_visits_decides_the_detectable_change(only):
    """Without any difference it is zero; with each of them alone it is not."""
    chain, change = make_chain(noise=1.0), Change("Ktrans", -40.0)
    none = recovered(chain, change)["mean", "Ktrans"]
    some = recovered(chain, change, replace(EXACT, **only))["mean", "Ktrans"]
    assert none["detectable_change"] == pytest.approx(0, abs=1e-12)
    assert some["detectable_change"] > 1e-4


def test_the_seed_decides():
    """The same seed gives the same table, another one another."""
    chain, change = make_chain(noise=1.0), Change("Ktrans", -40.0)
    visits = Visits(repeats=2, seed=(1,))
    first, again, other = (
        recovered(chain, change, v)["mean", "Ktrans"]["sd"]
        for v in (visits, visits, replace(visits, seed=(2,)))
    )
    assert first == again != other


def test_the_detectable_change_is_that_of_two_visits():
    """1.96 sqrt(2) standard deviations, independent of the change that is put in."""
    before = np.array([1.0, 2.0, 3.0, np.nan])
    found = summarise_change(before, before[:2] + 1, 0.0)
    assert found["detectable_change"] == pytest.approx(1.96 * np.sqrt(2))
    assert (found["n_repeats"], found["n_valid"]) == (4, 2)
    assert np.isnan(found["recovered_fraction"])
    assert not summarise_change(before, before + 2.7, 2.7)["detected"]
    assert summarise_change(before, before + 2.8, 2.8)["detected"]


def test_a_change_whose_limit_is_unknown_is_neither_detected_nor_undetected():
    """With a single valid visit there is no standard deviation: `detected` is missing, not 0."""
    found = summarise_change(np.array([1.0, np.nan]), np.array([2.0, np.nan]), 1.0)
    assert np.isnan(found["detectable_change"])
    assert found["detected"] is None
    assert summarise_change(np.ones(3), np.full(3, np.nan), 1.0)["detected"] is None


def test_the_roi_on_the_grid_of_a_drawing_gives_the_mean_of_its_voxels():
    """Maps are resampled to the drawn voxels, as in a run; a wider ROI has a lower mean."""
    chain = make_chain(resampled=True)
    values = chain.lesion.own[..., 0]
    drawn = chain.region.mean(values, AS_ACQUIRED)
    wide = chain.region.mean(values, replace(AS_ACQUIRED, edge=1.5))
    moved = chain.region.mean(values, replace(AS_ACQUIRED, error=np.array([4.0, 0, 0])))
    assert 0.5 < drawn < 1
    assert wide < drawn - 0.03
    assert moved < drawn - 0.1


def test_a_lesion_and_its_roi_move_together():
    """With the head elsewhere in the grid, the unmixed value stays within 3 %."""
    chain = make_chain()
    shift = np.array([0.8, -0.7, 2.5])
    pose = replace(AS_ACQUIRED, shift=shift)
    nothing = ChangedLesion(np.zeros(50), 0.0, {})
    data = changed_signal(chain.lesion, nothing, pose)
    found = chain.measure(data, replace(pose, edge=chain.lesion.offset))
    lost = chain.measure(data, replace(AS_ACQUIRED, edge=chain.lesion.offset))
    assert found["unmixed", "Ktrans"] == pytest.approx(LESION["Ktrans"], rel=0.03)
    assert abs(lost["unmixed", "Ktrans"] / LESION["Ktrans"] - 1) > 0.05


def test_a_negative_parameter_cannot_change_in_proportion():
    """The message names the parameter and its value."""
    chain = make_chain("dwi")
    courses = chain.lesion.courses * np.where(BVALUES > 0, 1.0, 0.7)
    line = ModelFit("ivim-asymptotic", ("f", "D"), {})
    dark = replace(chain, lesion=replace(chain.lesion, courses=courses), models=(ADC, line))
    rows, problems = recover_changes(dark, [Change("f", 20.0)], EXACT)
    assert not rows
    assert "f+20% cannot be put in: f of the lesion is -" in problems[0]


def test_a_lesion_without_a_complete_course_is_refused():
    """For example outside the brain, where there is no concentration."""
    parts = ball(9.0)
    empty = np.full((*GRID, 50), np.nan)
    scene = LesionSurroundings(empty, AFFINE, parts, parts, DRAWN, 1)
    with pytest.raises(BadInput, match="no voxel of the lesion has a complete signal course"):
        find_lesion(scene, np.eye(4))


@pytest.mark.parametrize(
    ("model", "name", "change"), [(ADC, "ADC", 1e-4), (IVIM, "f", 0.03), (IVIM, "D", 1e-4)]
)
def test_a_diffusion_parameter_changes_by_the_stated_amount(model, name, change):
    """The fit of the changed course gives it, with S0 as before."""
    course = COURSES["dwi"][0]
    before = {k: float(v[0]) for k, v in DWI.fit(model, course[None]).items()}
    after = DWI.changed(model, course, before, name, change)
    found = DWI.fit(model, after[None])[name][0]
    assert found - before[name] == pytest.approx(change, rel=1e-3)
    assert after[0] == pytest.approx(course[0])


@pytest.mark.parametrize(("name", "fixed"), [("Ktrans", "ve"), ("ve", "Ktrans"), ("kep", "Ktrans")])
def test_of_ktrans_ve_and_kep_one_follows(name, fixed):
    """Ktrans changes at constant ve, so that kep follows."""
    known = {**LESION, "kep": LESION["Ktrans"] / LESION["ve"]}
    after = DCE.changed(TOFTS, COURSES["dce"][0], known, name, -0.2 * known[name])
    found = {k: float(v[0]) for k, v in DCE.fit(TOFTS, after[None]).items()}
    assert found[name] == pytest.approx(0.8 * known[name], rel=0.01)
    assert found[fixed] == pytest.approx(known[fixed], rel=0.01)


@pytest.mark.parametrize("kind", ["dce", "dwi"])
def test_the_noise_of_a_series_is_measured(kind):
    """Within 15 % of that put in."""
    assert make_chain(kind, noise=0.5).noise_level() == pytest.approx(0.5, rel=0.15)


def test_noise_needs_more_samples_than_parameters():
    """The message states both numbers."""
    with pytest.raises(FitError, match="from 2 samples of 3 voxels and a model with 2 free"):
        residual_level(np.ones((3, 2)), 2)


def test_a_measured_artery_has_its_own_noise():
    """The arterial input of a visit differs where it was measured, and stays where it was given."""
    course = 500 * replace(DCE, t1=1.65).enhancement(PLASMA * 0.58)
    measured = replace(DCE, artery=Artery(course, 4, 5, 1.65, SPGR, 0.42))
    rng = np.random.default_rng(0)
    np.testing.assert_allclose(measured.redrawn(0.0, rng).plasma, PLASMA, atol=1e-6)
    errors = [measured.redrawn(5.0, rng).plasma - PLASMA for _ in range(30)]
    assert np.std(errors, axis=0)[-1] > 0.001
    assert DCE.redrawn(5.0, rng) is DCE
    fewer = replace(measured, artery=replace(measured.artery, voxels=1))
    more = [fewer.redrawn(5.0, rng).plasma - PLASMA for _ in range(30)]
    assert np.std(more) > 1.4 * np.std(errors)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Ktrans", "the change must be a number of percent above -100 and not 0"),
        ("Ktrans=0", "not 0"),
        ("vp=-100", "above -100"),
        ("T1=10", "no change of T1; choose one of vp, Ktrans"),
        ("volume=300", "can grow by at most 100 %"),
    ],
)
def test_an_impossible_change_is_refused(text, message):
    """The message states what is possible."""
    with pytest.raises(UsageError, match=message):
        parse_change(text)


def test_changes_are_read():
    """With or without a percent sign."""
    assert parse_change("ADC=+10%") == Change("ADC", 10.0)
    assert parse_change("volume=-50").name == "volume-50%"


def test_fractions_of_volume_are_those_of_the_labels():
    """Without the point spread, a sampled lesion fills the voxels as its labels do."""
    parts = ball(9.0)
    sampled = find_edge(parts, DRAWN).sample(np.eye(4), GRID, AFFINE, 6.0)
    labels = label_fractions(parts, DRAWN, np.eye(4), GRID, AFFINE, [1])[sampled.box]
    assert np.abs(sampled.fractions([1], VOXEL_MEAN) - labels).max() < 0.15
    assert np.abs(sampled.fractions([1], VOXEL_MEAN) - labels).mean() < 0.01


def test_every_kinetic_model_can_change():
    """A parameter of any model that it predicts from its values."""
    for name in ("tofts", "patlak", "two-compartment-exchange", "two-compartment-uptake"):
        row = MODELS[name]
        first = row.parameters[0].name
        model = ModelFit(name, (first,), {})
        known = {"Ktrans": 0.05, "ve": 0.2, "kep": 0.25, "vp": 0.05, "Fp": 0.5, "PS": 0.05}
        values = {p.name: known[p.name] for p in row.parameters}
        course = 100 * DCE.relative_signal(model, values)
        after = DCE.changed(model, course, values, first, 0.2 * values[first])
        assert DCE.fit(model, after[None])[first][0] == pytest.approx(1.2 * known[first], rel=0.02)
