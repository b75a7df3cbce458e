"""Labels on other grids: shares of voxels in closed form, volumes that are kept, labels as such."""

import numpy as np
import pytest
from heads import grid, head, pose
from hypothesis import given
from hypothesis import strategies as st

from bidsapp.errors import BadInput
from bidsapp.imaging.labels import label_fractions, resample_labels
from bidsapp.imaging.transforms import translation

FINE = (np.diag([1.5, 1.5, 1.5, 1.0]), (50, 50, 50))
FINE[0][:3, 3] = [-17, -42, -25]
SAGITTAL = grid((2, 2, 8), axes=(1, 2, 0), oblique=(10, 4, -6))


def block(shape, start, stop, label=1):
    """Return a label image with a box."""
    labels = np.zeros(shape, np.int16)
    labels[tuple(slice(a, b) for a, b in zip(start, stop, strict=True))] = label
    return labels


def voxel_volume(affine):
    """Return the volume of a voxel, mm3."""
    return abs(np.linalg.det(affine[:3, :3]))


def ball(radius, centre, where=FINE):
    """Return a ball as a label image; centre and radius in mm."""
    affine, shape = where
    points = np.moveaxis(np.indices(shape), 0, -1) @ affine[:3, :3].T + affine[:3, 3]
    return (np.linalg.norm(points - centre, axis=-1) < radius).astype(np.int16)


@pytest.mark.parametrize("edge", [0.0, 0.25, 0.5, 0.75])
def test_thick_voxels_hold_the_share_that_a_box_fills(edge):
    """A box from edge to edge in 8 mm slices of 1 mm voxels: shares are lengths over 8."""
    labels = block((4, 4, 48), (1, 1, 10), (3, 3, 30))
    thick = np.diag([1.0, 1, 8, 1])
    thick[2, 3] = 3.5 + edge
    found = label_fractions(labels, np.eye(4), np.eye(4), (4, 4, 5), thick, [1])
    low = np.arange(5) * 8 - 0.5 + edge
    expected = np.clip(np.minimum(low + 8, 29.5) - np.maximum(low, 9.5), 0, None) / 8
    np.testing.assert_allclose(found[1, 1, :, 0], expected, atol=0.5 / 32)
    assert (found[0] == 0).all()


@given(shift=st.floats(-0.999, 0.999))
def test_a_shifted_voxel_shares_itself_among_two(shift):
    """The share of a voxel moved along an axis is linear in the shift, to a sample of four."""
    labels = block((7, 3, 3), (3, 1, 1), (4, 2, 2))
    found = label_fractions(
        labels, np.eye(4), translation([shift, 0, 0]), (7, 3, 3), np.eye(4), [1]
    )
    line = found[:, 1, 1, 0]
    np.testing.assert_allclose(line[3], 1 - abs(shift), atol=0.126)
    np.testing.assert_allclose(line.sum(), 1, atol=1e-6)


@pytest.mark.parametrize("where", [SAGITTAL, grid((1.1, 0.9, 3)), grid((6, 6, 6))])
@pytest.mark.parametrize("radius", [4.0, 9.0])
def test_a_lesion_keeps_its_volume_on_any_grid(where, radius):
    """Weights times voxels are the lesion's volume within 1 %: thick, finer, coarse, oblique."""
    labels = ball(radius, (20, -5, 12))
    found = label_fractions(labels, FINE[0], pose((6, -3, 8), (4, -7, 2)), where[1], where[0], [1])
    volume = labels.sum() * voxel_volume(FINE[0])
    assert found.sum() * voxel_volume(where[0]) == pytest.approx(volume, rel=0.01)
    assert found.min() == 0
    assert found.max() <= 1


def test_shares_are_those_of_all_samples():
    """Voxels taken for inside or outside without a look are so: the same by brute force."""
    labels = ball(7, (3, -20, 10), grid((3, 3, 3))).astype(bool)
    affine, (target, shape) = grid((3, 3, 3))[0], grid((5, 4, 9), oblique=(20, 10, -15))
    found = label_fractions(labels, affine, np.eye(4), shape, target, [1])[..., 0]
    to_voxel = np.linalg.inv(affine) @ target
    counts = np.maximum(4, np.ceil(4 * np.linalg.norm(to_voxel[:3, :3], axis=0))).astype(int)
    total = np.zeros(shape)
    for step in np.ndindex(*counts):
        place = (np.array(step) + 0.5) / counts - 0.5
        voxels = np.moveaxis(np.indices(shape), 0, -1) + place
        nearest = np.floor(voxels @ to_voxel[:3, :3].T + to_voxel[:3, 3] + 0.5).astype(int)
        inside = ((nearest >= 0) & (nearest < labels.shape)).all(axis=-1)
        total[inside] += labels[tuple(nearest[inside].T)]
    np.testing.assert_allclose(found, total / counts.prod(), atol=1e-6)


def test_neighbours_share_a_voxel():
    """Shares of touching lesions add up to those of both together; an absent label has none."""
    labels = ball(8, (20, -5, 12)).astype(np.int16)
    both = label_fractions(labels, FINE[0], np.eye(4), SAGITTAL[1], SAGITTAL[0], [1])[..., 0]
    labels[25:][labels[25:] > 0] = 5
    found = label_fractions(labels, FINE[0], np.eye(4), SAGITTAL[1], SAGITTAL[0], [1, 5, 9])
    assert (labels == 5).any()
    assert (labels == 1).any()
    np.testing.assert_allclose(found.sum(axis=-1), both, atol=1e-6)
    assert not found[..., 2].any()


@pytest.mark.parametrize("kind", [np.uint8, np.int32])
def test_labels_stay_labels(kind):
    """No label is made up between two, volumes are kept but for corners, outside is none."""
    where = grid((3, 3, 3))
    labels = block(where[1], (20, 20, 20), (32, 30, 30), 3).astype(kind)
    labels[32:40, 20:30, 20:30] = 7
    found = resample_labels(labels, where[0], pose((10, 5, -7), (3, 2, 1)), where[1], where[0])
    assert found.dtype == kind
    assert set(np.unique(found)) == {0, 3, 7}
    for label in (3, 7):
        assert (found == label).sum() == pytest.approx((labels == label).sum(), rel=0.04)


def test_half_a_voxel_is_not_most_of_it():
    """A label needs more than the background; of two labels of equal shares the lower is taken."""
    coarse = np.diag([2.0, 1, 1, 1])
    coarse[0, 3] = 0.5
    labels = np.array([7, 7, 7, 0, 3, 7]).reshape(6, 1, 1)
    found = resample_labels(labels, np.eye(4), np.eye(4), (3, 1, 1), coarse)
    assert found.ravel().tolist() == [7, 0, 3]
    fractions = label_fractions(labels, np.eye(4), np.eye(4), (3, 1, 1), coarse, [3, 7])
    np.testing.assert_allclose(fractions[:, 0, 0], [[0, 1], [0, 0.5], [0.5, 0.5]])


def test_on_their_own_grid_labels_are_what_they_were():
    """Nothing is lost to a transform that does nothing, not even a lone voxel at the edge."""
    labels = ball(8, (20, -5, 12)).astype(np.int32) * 2
    labels[0, 0, 0] = 9
    same = resample_labels(labels, FINE[0], np.eye(4), FINE[1], FINE[0])
    np.testing.assert_array_equal(same, labels)


def test_a_brain_keeps_its_volume_in_thick_slices():
    """A brain mask on a sagittal grid of 8 mm keeps its volume within 1 %."""
    affine, brain = head().affine, head().brain
    found = resample_labels(brain.astype(np.uint8), affine, np.eye(4), SAGITTAL[1], SAGITTAL[0])
    volume = brain.sum() * voxel_volume(affine)
    assert found.sum() * voxel_volume(SAGITTAL[0]) == pytest.approx(volume, rel=0.01)


def test_labels_outside_the_target_leave_no_trace():
    """A target elsewhere has no label, and no error."""
    labels = ball(8, (20, -5, 12))
    away = translation([1000, 0, 0])
    assert not label_fractions(labels, FINE[0], away, (9, 9, 9), np.eye(4), [1]).any()
    assert not resample_labels(labels, FINE[0], away, (9, 9, 9), np.eye(4)).any()


@pytest.mark.parametrize("shape", [(4, 4), (4, 4, 4, 2)])
def test_labels_of_the_wrong_shape_are_refused(shape):
    """The message names the shape."""
    with pytest.raises(BadInput, match=r"a label image is 3D, not of shape \(4, 4"):
        resample_labels(np.zeros(shape, int), np.eye(4), np.eye(4), (4, 4, 4), np.eye(4))
