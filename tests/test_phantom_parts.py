"""The parts of the phantom, on arrays: shapes, physics, sampling, cohorts."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from bidsapp.errors import BadInput, UsageError
from bidsapp.models import MODELS, fit
from bidsapp.models.contrast.aif import parker2006, plasma_from_blood
from bidsapp.models.contrast.spgr import signal_to_concentration
from bidsapp.phantom import physics, series
from bidsapp.phantom.acquisition import (
    ImageGrid,
    add_rician_noise,
    draw_motion,
    epi_displacement,
    plan_grid,
    rigid,
    sample,
    sample_distorted,
)
from bidsapp.phantom.anatomy import draw_anatomy
from bidsapp.phantom.cohort import draw_cohort, read_cohort, study_rows
from bidsapp.phantom.lesions import ball_cover, draw_shapes, grow_lesions
from bidsapp.phantom.scene import Scene, build_scene, coarsen

REFERENCE = Path(__file__).parent / "data" / "reference_cohort" / "lesions.tsv"
LESION = physics.lesion_tissues(Ktrans=0.068, ve=0.108, vp=0.037, adc=1.1e-3, f=0.083, t1=1.6)


@pytest.fixture(scope="module")
def anatomy():
    return draw_anatomy(np.random.default_rng(11))


@pytest.fixture(scope="module")
def uniform():
    """A block of nothing but the rim of a lesion, wider than any grid's middle."""
    tissues = {**physics.TISSUES, "lesion-1_rim": LESION["rim"]}
    names = tuple(tissues)
    shape, spacing = (40, 40, 40), 5.0
    voxels = int(np.prod(shape))
    rows, column = np.arange(voxels), np.full(voxels, names.index("lesion-1_rim"))
    weights = sparse.csc_array((np.ones(voxels, np.float32), (rows, column)), (voxels, len(names)))
    affine = np.diag([spacing] * 3 + [1.0])
    affine[:3, 3] = np.array([0, -18, 0]) - spacing * (np.array(shape) - 1) / 2
    return Scene(affine, shape, names, weights), [tissues[n] for n in names]


def middle(image):
    """Signal in the middle of the field of view, over all volumes."""
    i, j, k = (n // 2 for n in image.grid.shape)
    return image.data[i, j, k].astype(float)


@settings(max_examples=30)
@given(volume=st.floats(0.02, 25), roughness=st.floats(0, 0.3))
def test_a_lesion_fills_exactly_its_volume(volume, roughness):
    """Whatever the shape, thresholding it gives the volume asked for."""
    axes = np.meshgrid(*[np.arange(-24, 25.0)] * 3, indexing="ij")
    distance = np.linalg.norm(axes, axis=0) * (1 + roughness * np.sin(axes[0] / 3))
    allowed = np.where(axes[2] > -15, 1.0, 0.3)
    cover, _ = ball_cover(distance.astype(np.float32), allowed.astype(np.float32), volume)
    assert cover.sum(dtype=float) / 1000 == pytest.approx(volume, rel=1e-5)
    assert (cover <= allowed + 1e-6).all()


def test_a_lesion_with_no_room_takes_what_there_is():
    """A volume that does not fit is not invented."""
    distance = np.abs(np.arange(-5, 6.0)).astype(np.float32)
    cover, _ = ball_cover(distance, np.ones(11, np.float32), 1.0)
    assert cover.sum() == 11


def test_tissues_fill_no_voxel_twice(anatomy):
    """Fractions of all tissues sum to one inside the head, and never to more."""
    total = np.zeros(int(np.prod(anatomy.shape)))
    for part in anatomy.parts.values():
        total[part.index] += part.fraction
    assert total.max() < 1 + 1e-4
    inside = (anatomy.brain > 0.99).ravel()
    assert np.quantile(total[inside], 0.01) > 0.98


def test_lesions_of_a_session_have_their_volumes_and_keep_apart(anatomy):
    """Four lesions, one as large as a fist: all exact, in the brain, none over another."""
    usual = {1: 4.6, 2: 1.1, 3: 2.0, 4: 5.2}
    now = {1: 127.35, 2: 0.13, 3: 0.0, 4: 5.2}
    shapes = draw_shapes(
        anatomy, usual, {n: max(usual[n], now[n]) for n in usual}, np.random.default_rng(5)
    )
    lesions = grow_lesions(anatomy, shapes, now)
    assert {n: lesion.volume for n, lesion in lesions.items()} == {
        n: pytest.approx(v, rel=1e-4) for n, v in now.items() if v
    }
    total = np.zeros(int(np.prod(anatomy.shape)))
    for lesion in lesions.values():
        for part in (lesion.rim, lesion.core, lesion.oedema):
            total[part.index] += part.fraction
    assert (total <= anatomy.brain.ravel() + 1e-4).all()
    assert not len(lesions[2].core.index)
    assert 0.05 * 5.2 <= lesions[4].core.fraction.sum() / 1000 <= 0.15 * 5.2


def test_a_lesion_grows_around_its_place(anatomy):
    """A smaller session's lesion lies inside a larger session's."""
    shapes = draw_shapes(anatomy, {1: 3.0}, {1: 9.0}, np.random.default_rng(8))
    small, large = (grow_lesions(anatomy, shapes, {1: v})[1] for v in (3.0, 9.0))
    covered = np.zeros(int(np.prod(anatomy.shape)))
    for part in (large.rim, large.core):
        covered[part.index] += part.fraction
    assert (covered[small.rim.index] >= small.rim.fraction - 1e-4).all()


def test_coarse_scene_keeps_every_tissue(anatomy):
    """Averaging blocks of voxels loses nothing: partial volume is exact."""
    scene = build_scene(anatomy, {})
    coarse = coarsen(scene, 2)
    totals = (s.weights.sum(axis=0) * np.linalg.det(s.affine) for s in (scene, coarse))
    assert np.allclose(*totals, rtol=1e-3)


@given(adc=st.floats(0.5e-3, 2e-3), f=st.floats(0, 0.3))
def test_the_adc_is_the_slope_of_the_logarithm(adc, f):
    """The diffusivity is solved for, so that the fit of the ADC model finds the table's ADC."""
    rim = physics.lesion_tissues(Ktrans=0.05, ve=0.1, vp=0.02, adc=adc, f=f, t1=1.6)["rim"]
    assert physics.adc_of(rim.diffusivity, f) == pytest.approx(adc, rel=1e-9)
    signal = physics.attenuation(physics.BVALUES, f, rim.diffusivity[0])
    slope = -np.polyfit(physics.BVALUES, np.log(signal), 1)[0]
    assert slope == pytest.approx(adc, rel=1e-9)


def test_the_diffusion_series_obeys_the_bi_exponential_law(uniform):
    """In a voxel full of lesion, signal over b is f exp(-b D*) + (1 - f) exp(-b D)."""
    scene, tissues = uniform
    image = series.image_dwi(
        scene, tissues, series.PROTOCOLS["fast"], np.eye(4), 1e6, np.random.default_rng(0)
    )
    rim = LESION["rim"]
    expected = physics.attenuation(image.bvalues, rim.f, rim.diffusivity[0])
    signal = middle(image)
    assert np.allclose(signal / signal[0], expected, atol=1.5 / signal[0])


def test_the_dynamic_series_obeys_the_extended_tofts_law(uniform):
    """From the true arterial curve, the fit of a voxel full of lesion finds the table's values."""
    scene, tissues = uniform
    bolus = series.Bolus(0.55, 1.0)
    image = series.image_dce(
        scene, tissues, series.PROTOCOLS["fast"], np.eye(4), bolus, 1e6, np.random.default_rng(0)
    )
    curve = signal_to_concentration(
        middle(image),
        middle(image)[:5].mean(),
        t1=LESION["rim"].t1,
        repetition_time=series.DCE_TR,
        flip_angle=np.deg2rad(series.DCE_FLIP),
        relaxivity=physics.RELAXIVITY,
    )
    fine = np.arange(0, 60 * 5.2, 0.26) / 60
    plasma = plasma_from_blood(parker2006(fine, bolus.arrival), physics.HAEMATOCRIT)
    truth = {n: np.array(getattr(LESION["rim"], n)) for n in ("Ktrans", "ve", "vp")}
    expected = MODELS["extended-tofts"].predict(truth, time=fine, plasma=plasma)[10::20]
    assert np.allclose(curve, expected, atol=0.01)
    start, blood = series.frame_blood(bolus)
    sampled = plasma_from_blood(blood, physics.HAEMATOCRIT)
    found = fit("extended-tofts", expected[None], time=start / 60, plasma=sampled)
    assert float(found.values["ve"][0]) == pytest.approx(0.108, rel=0.05)


def test_the_arterial_curve_is_that_of_an_injection():
    """Nothing for six frames, then a peak of a few mM, then a slow washout."""
    bolus = series.draw_bolus(np.random.default_rng(1))
    _, blood = series.frame_blood(bolus)
    assert (blood[:6] == 0).all()
    assert 3.5 < blood.max() < 6.5
    assert blood.argmax() in (7, 8, 9)
    assert 0.3 < blood[-1] < 0.6


@settings(max_examples=25, deadline=None)
@given(
    angles=st.tuples(*[st.floats(-0.15, 0.15)] * 3),
    shift=st.tuples(*[st.floats(-5, 5)] * 3),
    points=st.sampled_from([(1, 1, 1), (1, 1, 4), (2, 2, 2)]),
)
def test_sampling_a_linear_image_is_exact(angles, shift, points):
    """A slope, seen in any pose, is a slope: each voxel has the value at its own centre."""
    n = 30
    i, j, k = np.meshgrid(*[np.arange(n, dtype=np.float32)] * 3, indexing="ij")
    affine = rigid([0.1, 0, 0], [-10, 0, 3]) @ np.diag([2.0, 2, 2, 1])
    pose = rigid(angles, shift, centre=(affine @ [n / 2, n / 2, n / 2, 1])[:3])
    middle_of_scene = (pose @ affine @ [n / 2, n / 2, n / 2, 1])[:3]
    grid_affine = np.diag([3.0, 3, 6, 1])
    grid_affine[:3, 3] = middle_of_scene - [6, 6, 6]
    image = sample(i + 2 * j - k, affine, ImageGrid((5, 5, 3), grid_affine), pose, points)
    where = np.linalg.inv(pose @ affine) @ grid_affine
    x = np.stack(
        [*np.meshgrid(*[np.arange(m) for m in (5, 5, 3)], indexing="ij"), np.ones((5, 5, 3))]
    )
    expected = np.einsum("a,ab,b...->...", [1, 2, -1, 0], where, x)
    assert np.allclose(image, expected, atol=1e-2)


def test_distortion_moves_signal_and_keeps_its_sum():
    """Signal is displaced by millimetres along the phase-encode axis; none is made or lost."""
    grid = plan_grid("axial", (2, 2, 5), (200, 240, 150), np.eye(4), np.random.default_rng(0))
    displacement = epi_displacement(grid, np.eye(4), (1, 1, 1))
    assert 2 < np.abs(displacement).max() <= 3
    shape = (100, 125, 90)
    affine = np.diag([2.0, 2, 2, 1])
    affine[:3, 3] = [-100, -143, -80]
    x, y, z = (affine[i, 3] + 2 * np.arange(n) for i, n in enumerate(shape))
    blob = np.exp(
        -(((x[:, None, None]) / 40) ** 2 + ((y[:, None] - 20) / 40) ** 2 + ((z + 10) / 30) ** 2)
    )
    blob = blob.astype(np.float32)
    plain = sample(blob, affine, grid, np.eye(4))
    moved = sample_distorted(blob, affine, grid, np.eye(4), (1, 1, 1), displacement)
    assert moved.sum() == pytest.approx(plain.sum(), rel=2e-3)
    assert np.abs(moved - plain).max() > 0.02


def test_motion_starts_at_rest_and_stays_small():
    """The first volume is the reference; later ones move by parts of a millimetre, rigidly."""
    motion = draw_motion(np.random.default_rng(3), 60, 0.5, 0.8)
    assert np.allclose(motion[0], np.eye(4))
    assert np.allclose(np.linalg.det(motion[:, :3, :3]), 1)
    centre = motion @ [0, -18, 0, 1]
    assert 0.1 < np.abs(centre[:, :3] - [0, -18, 0]).max() < 0.81


def test_noise_is_rician():
    """Without signal the magnitude has the Rayleigh mean; with much signal it is Gaussian."""
    rng = np.random.default_rng(0)
    empty = add_rician_noise(np.zeros(200_000, np.float32), 2.0, rng)
    assert empty.mean() == pytest.approx(2 * np.sqrt(np.pi / 2), rel=0.01)
    full = add_rician_noise(np.full(200_000, 100, np.float32), 2.0, rng)
    assert full.std() == pytest.approx(2, rel=0.01)


def test_drawn_cohorts_agree_with_the_study():
    """Over many participants, means and SDs are those of Table 2."""
    people = draw_cohort(600, seed=3)
    first = [s for p in people for s in p.sessions[0].lesions.values()]
    month = [s for p in people for s in p.sessions[2].lesions.values()]
    for name, before, after in (("vp", 0.037, 0.021), ("Ktrans", 0.068, 0.037), ("f", 0.083, 0.1)):
        assert np.mean([getattr(s, name) for s in first]) == pytest.approx(before, rel=0.08)
        assert np.mean([getattr(s, name) for s in month]) == pytest.approx(after, rel=0.08)
    adc = np.array([(a.ADC, b.ADC) for a, b in zip(first, month, strict=True)])
    assert np.corrcoef(adc.T)[0, 1] > 0.85
    assert all(0.8 <= s.volume <= 10 for s in first)


def test_a_larger_cohort_begins_with_the_smaller():
    """Participants are what they are, however many follow them."""
    few, many = draw_cohort(2, seed=1), draw_cohort(5, seed=1)
    assert str(few) == str(many[:2])
    assert str(few) != str(draw_cohort(2, seed=2))


def test_the_reference_cohort_is_read_whole():
    """Fifteen participants, the table is reproduced, and a count cuts it."""
    people = read_cohort(REFERENCE)
    assert len(people) == 15
    assert [s.label for s in people[0].sessions] == [
        "ses-baseline",
        "ses-1week",
        "ses-1month",
        "ses-followup",
    ]
    assert people[0].sessions[0].has_dwi
    assert not people[0].sessions[3].has_dce
    first = study_rows(people[0])[0]
    assert first["vp"] == 2.7908
    assert first["volume_ml"] == 0.956
    assert len(read_cohort(REFERENCE, 4)) == 4
    with pytest.raises(UsageError, match="15 participants, but 16 were requested"):
        read_cohort(REFERENCE, 16)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("sub-01\t1\tses-a\t-5\t4\t.05\t10\t1.1\t.1\tn/a\t0", "volume_ml must be from 0"),
        ("sub-01\t1\tses-a\t-5\t4\t.05\t10\t1100\t.1\t2\t0", "ADC is 1100 in line 2"),
        ("sub-01\t1\tses-a\tn/a\t4\t.05\t10\t1.1\t.1\t2\t0", "days_from_srs"),
        ("sub-0_1\t1\tses-a\t-5\t4\t.05\t10\t1.1\t.1\t2\t0", "participant_id must be sub-"),
        ("sub-01\t99\tses-a\t-5\t4\t.05\t10\t1.1\t.1\t2\t0", "lesion must be from 1"),
        ("sub-01\t1\tses-a\t-5\t4\t.05\t0\t1.1\t.1\t2\t0", "Ktrans but no ve"),
    ],
)
def test_what_cannot_be_imaged_is_refused(tmp_path, line, message):
    """A table that makes no physical sense is refused, with the place and the reason."""
    header = "participant_id lesion session_id days_from_srs vp Ktrans ve ADC f volume_ml excluded"
    table = tmp_path / "lesions.tsv"
    table.write_text(header.replace(" ", "\t") + "\n" + line + "\n")
    with pytest.raises(BadInput, match=message):
        read_cohort(table)


def test_lesions_of_one_session_are_measured_alike(tmp_path):
    """A lesion that is there cannot lack the parameters that the session's others have."""
    header = "participant_id lesion session_id days_from_srs vp Ktrans ve ADC f volume_ml excluded"
    rows = ["sub-01 1 ses-a -5 4 .05 10 1.1 .1 2 0", "sub-01 2 ses-a -5 n/a n/a n/a n/a n/a 2 0"]
    table = tmp_path / "lesions.tsv"
    table.write_text("\n".join([header, *rows]).replace(" ", "\t") + "\n")
    with pytest.raises(BadInput, match="lesion 2 needs ADC and f"):
        read_cohort(table)


def test_the_head_moves_between_flip_angles_only_on_request(uniform):
    """Each image has its own pose within the limit; without motion, the pose of the DCE."""
    scene, tissues = uniform
    protocol, rng = series.PROTOCOLS["fast"], np.random.default_rng
    pose = np.eye(4)
    grid = plan_grid("sagittal", (20.0, 20.0, 20.0), (60.0, 60.0, 60.0), pose, rng(0))
    dce = series.SimulatedSeries(np.zeros(grid.shape, np.int16), grid, pose, *[np.zeros(0)] * 2)
    still, moved = (
        series.image_vfa(scene, tissues, protocol, dce, 40.0, rng(1), motion) for motion in (0, 3.0)
    )
    assert all((image.pose == pose).all() for image in still)
    poses = [image.pose for image in moved]
    assert len({p.tobytes() for p in poses}) == len(series.VFA_FLIPS)
    for turned in poses:
        cosine = (np.trace(turned[:3, :3]) - 1) / 2
        assert 0 < np.rad2deg(np.arccos(cosine)) < 3 * np.sqrt(3) + 0.1
    # The noise is the same, and so are the middles of a uniform block.
    for one, other in zip(still, moved, strict=True):
        assert middle(one) == pytest.approx(middle(other), abs=1)
