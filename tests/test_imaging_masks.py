"""Brain mask, recentring of images, overlap, and the limits of an accepted registration."""

import numpy as np
import pytest
from heads import CENTRE, grid, head, pose
from hypothesis import given
from hypothesis import strategies as st

from bidsapp.errors import BadInput, RegistrationError
from bidsapp.imaging.masks import brain_mask, centroid, grow, template_brain
from bidsapp.imaging.registration.quality import Quality, assess, overlap, require_success
from bidsapp.imaging.registration.recentring import mask_fixed, recentre, restore_centre
from bidsapp.imaging.transforms import apply, compose, invert, translation

points = st.tuples(*[st.floats(-400, 400)] * 3)


def brain():
    """Return the brain of the head and its affine."""
    return head().brain, head().affine


def test_the_template_s_mask_is_a_brain():
    """The closed template holds the fluid of the sulci: 1.7 to 2.1 litres in one piece."""
    mask, affine = template_brain(head().t1w * head().brain, head().affine)
    assert 1700 < mask.sum() * np.linalg.det(affine[:3, :3]) / 1000 < 2100


def test_the_brain_comes_to_the_image():
    """The mask lies at the position given by the matrix, and is grown by the margin."""
    matrix = pose((5, -8, 3), (10, 20, -5))
    where = grid((4, 4, 4))
    tight = brain_mask(*brain(), matrix, where[1], where[0], margin=0)
    grown = brain_mask(*brain(), matrix, where[1], where[0], margin=5)
    expected = apply(matrix, centroid(*brain()))
    np.testing.assert_allclose(centroid(tight, where[0]), expected, atol=0.3)
    assert not (tight & ~grown).any()
    np.testing.assert_array_equal(grown, grow(tight, where[0], 5))


def test_half_a_brain_is_refused():
    """A brain out of the field of view, or of another size, is an error with the volume."""
    affine, shape = grid((4, 4, 4))
    with pytest.raises(RegistrationError, match=r"has \d+ ml of brain .* not 900 to 2200"):
        brain_mask(*brain(), translation([120, 0, 0]), shape, affine)
    with pytest.raises(RegistrationError, match=r"has \d{4} ml"):
        brain_mask(*brain(), np.diag([1.2, 1.2, 1.2, 1]), shape, affine)


def test_a_toppled_head_is_refused():
    """A mask of the right volume in the wrong pose is an error with the angle."""
    affine, shape = grid((4, 4, 4))
    with pytest.raises(RegistrationError, match="rotated by 90 degrees, more than 45"):
        brain_mask(*brain(), pose((90, 0, 0)), shape, affine)


def test_growing_counts_millimetres():
    """Distance is in mm along every axis, whatever the voxels; zero changes nothing."""
    point = np.zeros((9, 9, 9), bool)
    point[4, 4, 4] = True
    grown = grow(point, np.diag([1.0, 2.0, 5.0, 1.0]), 4.5)
    assert grown[:, 4, 4].sum() == 9
    assert grown[4, :, 4].sum() == 5
    assert grown[4, 4, :].sum() == 1
    np.testing.assert_array_equal(grow(point, np.eye(4), 0), point)
    assert not grow(np.zeros((3, 3, 3)), np.eye(4), 5).any()


@given(centre=points, shift=st.tuples(*[st.floats(-30, 30)] * 3))
def test_recentring_is_undone(centre, shift):
    """A matrix found between recentred images gives the one between the images as they were."""
    truth = compose(np.diag([1.03, 0.98, 1, 1]), pose((3, 5, -2), shift))
    fixed, moving = np.diag([2.0, 2, 3, 1]), np.diag([1.0, 1, 8, 1])
    near_fixed, near_moving = recentre(fixed, centre), recentre(moving, centre)
    voxels = invert(moving) @ truth @ fixed
    between = near_moving @ voxels @ invert(near_fixed)
    np.testing.assert_allclose(restore_centre(between, centre), truth, atol=1e-6)


def test_overlap_is_relative_to_what_the_slab_can_hold():
    """A thin slab inside the brain is complete; one that slides off the brain is not."""
    affine, shape = grid((4, 4, 4))
    slab = (shape[0], shape[1], 6)
    inside = compose(affine, translation([0, 0, 100]))
    beyond = compose(affine, translation([0, 0, 170]))
    assert overlap(np.eye(4), *brain(), shape, affine) == pytest.approx(1, abs=0.01)
    assert overlap(np.eye(4), *brain(), slab, inside) > 0.9
    assert overlap(np.eye(4), *brain(), slab, beyond) < 0.2
    assert overlap(translation([300, 0, 0]), *brain(), shape, affine) == 0


def test_quality_holds_the_motion_of_the_brain():
    """Rotation and volume are those of the matrix, the translation that of the brain's centre."""
    affine, shape = grid((4, 4, 4))
    found = assess(pose((0, 0, 10), (3, 4, 0), about=centroid(*brain())), *brain(), shape, affine)
    assert found.rotation_degrees == pytest.approx(10)
    assert found.translation_mm == pytest.approx(5)
    assert found.determinant == pytest.approx(1)
    require_success(found, "b0 on T1w")


@pytest.mark.parametrize(
    ("quality", "message"),
    [
        (Quality(1.3, 5, 5, 1), r"ratio of volumes 1\.300 \(accepted: 0\.8 to 1\.25\)"),
        (Quality(-1.0, 5, 5, 1), r"ratio of volumes -1\.000"),
        (Quality(1.0, 31, 5, 1), r"rotation of 31 degrees \(accepted: up to 30\)"),
        (Quality(1.0, 5, 5, 0.4), r"overlap of 40% \(accepted: at least 60%\)"),
        (Quality(0.5, 90, 5, 0.1), r"volumes.*rotation.*overlap"),
        (Quality(float("nan"), 5, 5, 1), r"ratio of volumes nan"),
    ],
)
def test_what_cannot_be_right_is_refused(quality, message):
    """Each number beyond its limit is named, with the images that were compared."""
    with pytest.raises(
        RegistrationError, match="DCE on T1w: the registration failed: .*" + message
    ):
        require_success(quality, "DCE on T1w")


@pytest.mark.parametrize(
    ("measure", "good", "doubtful", "failed"),
    [
        ("expected_error_mm", 0.5, 1.0, 2.5),
        ("ambiguity", 0.2, 0.4, 0.6),
        ("round_trip_mm", 0.5, 1.5, 2.5),
        ("disagreement_mm", 0.5, 1.5, 2.5),
    ],
)
def test_doubt_comes_before_failure(measure, good, doubtful, failed):
    """Each measure has a limit of doubt and, above it, one of failure; without it there is none."""
    values = (np.nan, good, doubtful, failed)
    verdicts = [Quality(1.0, 5, 5, 1, **{measure: value}).verdict for value in values]
    assert verdicts == ["good", "good", "doubtful", "failed"]


def test_two_engines_that_agree_outweigh_a_doubt():
    """Within a millimetre, whatever the other measures; what is impossible stays refused."""
    doubts = {"expected_error_mm": 3.0, "ambiguity": 0.9}
    assert Quality(1.0, 5, 5, 1, **doubts).verdict == "failed"
    assert Quality(1.0, 5, 5, 1, **doubts, disagreement_mm=0.9).verdict == "doubtful"
    assert Quality(1.0, 5, 5, 1, **doubts, disagreement_mm=1.1).verdict == "failed"
    assert Quality(1.0, 31, 5, 1, disagreement_mm=0.1).verdict == "failed"


def test_an_empty_mask_is_refused():
    """Without a brain there is no centre."""
    with pytest.raises(BadInput, match="brain mask of the fixed image is empty"):
        centroid(np.zeros((3, 3, 3)), np.eye(4))
    with pytest.raises(BadInput, match="are on different grids"):
        mask_fixed(np.ones((3, 3, 3)), np.ones((3, 3, 4)), np.eye(4), 0)


def test_masking_keeps_the_margin_and_drops_nan():
    """Only brain and margin are left of the fixed image, with no NaN for the engine."""
    data = np.full(head().brain.shape, 5.0)
    data[tuple(n // 2 for n in data.shape)] = np.nan
    kept = mask_fixed(data, *brain(), 6)
    assert np.isfinite(kept).all()
    np.testing.assert_array_equal(kept[~grow(*brain(), 6)], 0)
    assert (kept == 5).sum() == grow(*brain(), 6).sum() - 1
    assert np.linalg.norm(centroid(*brain()) - CENTRE) < 30
