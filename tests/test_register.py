"""`register`: known poses are found, wrong input is refused, options have their stated effect."""

import pickle
from dataclasses import replace
from functools import cache

import nibabel as nib
import numpy as np
import pytest
from heads import CENTRE, brain_points, error, grid, pose, scan

from bidsapp.errors import BadInput
from bidsapp.imaging import register
from bidsapp.imaging.masks import grow
from bidsapp.imaging.registration.quality import Verdict
from bidsapp.imaging.registration.register import halfway_matrix
from bidsapp.imaging.transforms import compose, invert, read_itk, translation

T1W, DCE = grid((4, 4, 4)), grid((3, 3, 8), axes=(1, 2, 0))
TRUTH = pose((5, -4, 6), (7, -5, 4))


def image(kind, where=T1W, matrix=None, **noise):
    return nib.Nifti1Image(scan(kind, where, matrix, **noise), where[0])


# Drawn when a test first needs them, not when the tests are collected.
@cache
def brain():
    return nib.Nifti1Image((scan("brain", T1W) > 0.5).astype(np.uint8), T1W[0])


@cache
def fixed_image():
    return image("t1w", noise=4)


@cache
def moving_image():
    return image("dce", DCE, TRUTH, noise=4, seed=1)


@pytest.fixture(scope="module")
def rigid():
    """Function of the metric: the rigid registration of the two images, computed once."""

    @cache
    def registration(metric):
        options = {"transform": "rigid", "metric": metric}
        return register(moving_image(), fixed_image(), fixed_mask=brain(), **options)

    return registration


@pytest.mark.parametrize("metric", ["lpa", "lpp", "nmi"])
def test_every_metric_finds_the_head(metric, rigid):
    """Like contrast, thick sagittal slices: all that suit find it, rigidly."""
    found = rigid(metric)
    assert error(found.matrix, TRUTH, brain_points()) < 0.6
    assert [stage.name for stage in found.history] == ["coarse", "middle", "fine"]
    assert all(list(stage.costs) == sorted(stage.costs) for stage in found.history)


def test_a_start_is_taken_and_only_refined():
    """With a start near the solution there is no search, and its ambiguity is unknown."""
    near = compose(TRUTH, translation([1.5, -1, 1]))
    found = register(moving_image(), fixed_image(), fixed_mask=brain(), metric="lpa", initial=near)
    assert error(found.matrix, TRUTH, brain_points()) < 0.5
    assert [stage.name for stage in found.history] == ["fine"]
    assert np.isnan(found.quality.ambiguity)


def test_an_image_with_left_and_right_exchanged_is_refused():
    """Its registration would pass all other limits, but on the wrong side of the head."""
    data = np.flip(np.asarray(fixed_image().dataobj), 0)
    mirrored = nib.Nifti1Image(data + np.float32(0.01), fixed_image().affine)
    options = {"fixed_mask": brain(), "metric": "lpp", "transform": "rigid"}
    assert register(fixed_image(), fixed_image(), **options).quality.verdict is Verdict.GOOD
    quality = register(mirrored, fixed_image(), **options).quality
    assert quality.verdict is Verdict.FAILED
    assert "is one of the two images mirrored?" in quality.reason
    assert replace(quality, disagreement_mm=0.1).verdict is Verdict.FAILED, "engines agree on it"
    assert replace(quality, mirror=0.5).verdict is Verdict.GOOD, "nothing else tells"


def test_what_the_moving_mask_leaves_out_does_not_matter():
    """A bright block over part of the moving image changes nothing when it is masked out."""
    data = np.asarray(moving_image().dataobj).copy()
    hole = np.zeros(data.shape, np.uint8)
    hole[20:45, 20:45, 8:14] = 1
    spoilt = np.where(hole, np.random.default_rng(0).random(data.shape) * 3000, data)
    mask = nib.Nifti1Image(1 - hole, moving_image().affine)
    spoilt_image = nib.Nifti1Image(spoilt.astype(np.float32), moving_image().affine)
    options = {"fixed_mask": brain(), "metric": "lpa", "transform": "rigid", "moving_mask": mask}
    found = register(spoilt_image, fixed_image(), **options)
    assert error(found.matrix, TRUTH, brain_points()) < 0.5


def test_what_the_fixed_mask_leaves_out_does_not_pull():
    """Skull and scalp that are 8 mm from their place change nothing outside the mask."""
    data = np.asarray(fixed_image().dataobj)
    beyond = ~grow(np.asarray(brain().dataobj), T1W[0], 8.0)
    spoilt = nib.Nifti1Image(np.where(beyond, np.roll(data, 2, axis=1), data), T1W[0])
    options = {"metric": "lpa", "transform": "rigid", "initial": TRUTH}
    found = [
        register(moving_image(), f, fixed_mask=brain(), **options).matrix
        for f in (fixed_image(), spoilt)
    ]
    assert error(found[0], found[1], brain_points()) < 0.02
    everything = nib.Nifti1Image(np.ones(T1W[1], np.uint8), T1W[0])
    pulled = register(moving_image(), spoilt, fixed_mask=everything, **options).matrix
    assert error(found[0], pulled, brain_points()) > 0.2


def test_without_a_mask_the_head_is_taken():
    """All that is bright counts, skull and scalp with it."""
    found = register(moving_image(), fixed_image(), metric="lpa", transform="rigid")
    assert error(found.matrix, TRUTH, brain_points()) < 0.6


def test_the_seed_decides_where_it_begins_not_where_it_ends(rigid):
    """Another seed comes to the same answer; the same seed to the same last digit."""
    options = {"fixed_mask": brain(), "metric": "lpa", "transform": "rigid"}
    same, other = (
        register(moving_image(), fixed_image(), seed=n, **options).matrix for n in (0, 7)
    )
    one = rigid("lpa").matrix
    np.testing.assert_array_equal(one, same)
    assert error(one, other, brain_points()) < 0.1


@pytest.mark.parametrize("spoilt", ["noise", "nothing of it"])
def test_a_failed_registration_is_never_good(spoilt):
    """Noise, or a sliver outside the head, never passes for a good registration."""
    if spoilt == "noise":
        rng = np.random.default_rng(1)
        moving = nib.Nifti1Image(rng.random(DCE[1]).astype(np.float32), DCE[0])
    else:
        moving = moving_image().slicer[:, :, :2]
    found = register(moving, fixed_image(), fixed_mask=brain(), metric="lpa")
    assert found.quality.verdict is not Verdict.GOOD
    assert "accepted" in found.quality.reason


def test_both_ways_meet_wherever_the_header_puts_the_head():
    """A finer image whose header lies 200 mm off: the way back looks where the head is."""
    fine, raised = grid((2.5, 2.5, 2.5)), translation([0, 0, 200])
    moving = nib.Nifti1Image(scan("t1w", fine, TRUTH, noise=4, seed=1), raised @ fine[0])
    options = {"transform": "rigid", "metric": "lpp", "symmetric": True}
    found = register(moving, fixed_image(), fixed_mask=brain(), **options)
    assert error(found.matrix, compose(TRUTH, raised), brain_points()) < 0.2
    assert found.quality.round_trip_mm < 0.1


def test_both_ways_count_alike():
    """The answer lies halfway between those of the two directions, which differ by the noise."""
    options = {"fixed_mask": brain(), "transform": "rigid", "initial": TRUTH}
    one, both = (
        register(moving_image(), fixed_image(), symmetric=s, **options) for s in (False, True)
    )
    assert np.isnan(one.quality.round_trip_mm)
    assert both.quality.round_trip_mm > 0.02
    apart = error(one.matrix, both.matrix, brain_points())
    assert apart == pytest.approx(both.quality.round_trip_mm / 2, rel=0.1)


def test_halfway_is_as_far_from_both():
    """The middle of two rigid matrices is rigid, and as far from the one as from the other."""
    one, other = pose((3, 2, 1), (1, 2, 3)), pose((3.5, 1, 1), (2, 2, 2))
    middle = halfway_matrix(one, other)
    np.testing.assert_allclose(middle[:3, :3] @ middle[:3, :3].T, np.eye(3), atol=1e-9)
    step = invert(one) @ middle
    np.testing.assert_allclose(middle @ step, other, atol=1e-9)
    assert error(one, middle, CENTRE[None]) == pytest.approx(
        error(other, middle, CENTRE[None]), rel=0.1
    )


OTHER_GRID = nib.Nifti1Image(np.ones((5, 5, 5), np.uint8), np.eye(4))
EMPTY = nib.Nifti1Image(np.zeros(T1W[1], np.uint8), T1W[0])
FLAT = nib.Nifti1Image(np.ones(T1W[1], np.float32), T1W[0])
SERIES = nib.Nifti1Image(np.ones((4, 4, 4, 2), np.float32), np.eye(4))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"metric": "ncc"}, "metric: 'ncc' is unknown; use one of lpc, lpa, lpp, nmi"),
        ({"transform": "bspline"}, "transform: 'bspline' is unknown; use 'affine' or 'rigid'"),
        ({"fixed_mask": OTHER_GRID}, "the fixed image .* and its mask .* are on different grids"),
        ({"moving_mask": OTHER_GRID}, "the moving image .* and its mask .* are on different grids"),
        ({"fixed_mask": EMPTY}, "the mask of the fixed image is empty"),
        ({"moving": FLAT}, "is constant: there is nothing to register"),
        ({"moving": SERIES}, "an image to register is 3D"),
        ({"initial": np.eye(3)}, "a transform is a finite 4x4 matrix"),
    ],
)
def test_wrong_input_is_refused_in_words(change, message):
    """Each mistake is a BadInput that states what is wrong."""
    given = {"moving": moving_image(), "fixed": fixed_image(), "fixed_mask": brain()} | change
    with pytest.raises(BadInput, match=message):
        register(given.pop("moving"), given.pop("fixed"), **given)


@pytest.mark.parametrize("change", ["dark", "tiny", "huge", "spike", "volume of a series"])
def test_the_unit_of_an_image_does_not_matter(change):
    """Negative or minute numbers, a spoilt voxel, a last axis of length one: the same answer."""
    data = np.asarray(moving_image().dataobj, float)
    peak = data.copy()
    peak[30:32, 40, 12] = 1e9
    changed = {
        "dark": data - 5000,
        "tiny": data * 1e-12,
        "huge": data * 1e35,
        "spike": peak,
        "volume of a series": data[..., None],
    }[change]
    moving = nib.Nifti1Image(changed, moving_image().affine)
    found = register(moving, fixed_image(), fixed_mask=brain(), metric="lpa", transform="rigid")
    assert error(found.matrix, TRUTH, brain_points()) < 0.5


def test_a_rigid_answer_is_rigid():
    """Whatever the start was."""
    start = compose(np.diag([1.1, 1, 1, 1]), TRUTH)
    found = register(
        moving_image(), fixed_image(), fixed_mask=brain(), transform="rigid", initial=start
    )
    assert np.linalg.det(found.matrix[:3, :3]) == pytest.approx(1, abs=1e-9)


@pytest.fixture(scope="module")
def started():
    """A registration from a start near the solution: quick."""
    near = compose(TRUTH, translation([1.5, -1, 1]))
    return register(moving_image(), fixed_image(), fixed_mask=brain(), metric="lpa", initial=near)


def test_a_registration_compares_pickles_and_prints_in_one_line(started):
    """Equal also after pickling, where NaN is another object; unequal if any attribute differs."""
    assert pickle.loads(pickle.dumps(started)) == started  # noqa: S301
    assert replace(started, cost=started.cost + 1) != started
    assert replace(started, quality=replace(started.quality, mirror=0.5)) != started
    assert started != "a registration"
    assert repr(started).startswith("Registration(good: ")
    assert len(repr(started)) < 80


def test_the_moving_image_is_resampled_to_the_fixed_grid(started):
    """The head then coincides with that of the fixed image; without the matrix it does not."""
    found = started.resample(moving_image())
    assert found.shape == fixed_image().shape
    assert np.array_equal(found.affine, fixed_image().affine)
    inside = (brain().get_fdata() > 0) & np.isfinite(found.get_fdata())
    unmoved = replace(started, matrix=np.eye(4)).resample(moving_image()).get_fdata()
    clean = image("dce").get_fdata()
    r = [np.corrcoef(d[inside], clean[inside])[0, 1] for d in (found.get_fdata(), unmoved)]
    assert r[0] > 0.9 > np.nan_to_num(r[1])


def test_a_saved_registration_is_read_back_in_the_documented_direction(started, tmp_path):
    """From points of the fixed image to points of the moving one; a text path will do."""
    path = started.save(str(tmp_path / "moved.txt"))
    assert read_itk(path) == pytest.approx(started.matrix, abs=1e-5)
