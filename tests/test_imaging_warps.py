"""Shifts along an axis, alone and chained: their inverse, files, images and labels in them."""

import nibabel as nib
import numpy as np
import pytest
from heads import grid, pose
from numpy.testing import assert_allclose

from bidsapp.errors import BadInput
from bidsapp.imaging.labels import label_fractions, resample_labels
from bidsapp.imaging.resample import resample
from bidsapp.imaging.transforms import apply, invert
from bidsapp.imaging.warps import Shift, chain, read_mapping, read_shift, write_shift
from bidsapp.lesions import lesion_series

WHERE = grid((3, 3, 6), axes=(0, 1, 2), oblique=(8, -3, 5))


def places(where=WHERE):
    """Return the points of a grid, mm."""
    affine, shape = where
    return apply(affine, np.moveaxis(np.indices(shape), 0, -1))


def bump(size=6.0, width=25.0, axis=1, where=WHERE):
    """Return a smooth shift with its largest value in the middle of the grid."""
    affine, shape = where
    middle = apply(affine, (np.array(shape) - 1) / 2)
    far = np.linalg.norm(places(where) - middle, axis=-1)
    return Shift((size * np.exp(-((far / width) ** 2) / 2)).astype(np.float32), affine, axis)


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("size", [6.0, -6.0])
def test_an_inverse_takes_points_back(axis, size):
    """There and back is nowhere, to a hundredth of the shift, on an oblique grid."""
    there = bump(size, axis=axis)
    points = places()[5:-5, 5:-5, 3:-3]
    moved = there(points)
    assert np.abs(moved - points).max() > 5
    assert_allclose(there.inverse()(moved), points, atol=0.06)


def test_a_jacobian_keeps_the_signal():
    """An image pulled through a shift and times its Jacobian has all the signal it had."""
    affine, shape = WHERE
    there = bump()
    beside = places().reshape(-1, 3).mean(0) + 25 * there.direction
    image = np.exp(-((places() - beside) ** 2).sum(-1) / 2 / 20**2)
    pulled = resample(image, affine, chain(there), shape, affine)
    assert abs(pulled.sum() / image.sum() - 1) > 0.03
    assert (pulled * there.jacobian()).sum() == pytest.approx(image.sum(), rel=1e-3)


def test_an_image_is_resampled_once_through_all_steps():
    """Matrix, shift, matrix: a linear image is mapped correctly, point by point."""
    affine, shape = WHERE
    ramp = places() @ [0.3, -0.2, 0.5]
    steps = (pose((2, 1, -3), (3, 0, 1)), bump(), pose((0, 0, 2)))
    mapping = chain(*steps)
    found = resample(ramp, affine, mapping, (30, 32, 20), affine @ np.diag([2, 2, 1.5, 1]))
    target = places((affine @ np.diag([2, 2, 1.5, 1]), (30, 32, 20)))
    inside = np.isfinite(found)
    assert inside.mean() > 0.5
    moved = apply(invert(affine), mapping(target))
    well = inside & ((moved > 0) & (moved < np.array(shape) - 1)).all(-1)
    assert_allclose(found[well], (mapping(target) @ [0.3, -0.2, 0.5])[well], atol=1e-2)


def test_matrices_alone_stay_a_matrix():
    """Steps without a shift are one matrix, so nothing slows down where nothing is distorted."""
    one, other = pose((2, 1, -3)), pose((0, 5, 0), (1, 2, 3))
    assert_allclose(chain(one, other), other @ one)
    assert_allclose(chain(), np.eye(4))


def test_a_shift_that_is_zero_changes_nothing():
    """Images and labels come out as with the matrix alone."""
    affine, shape = WHERE
    still = Shift(np.zeros(shape, np.float32), affine, 1)
    turn = pose((2, 1, -3), (3, 0, 1))
    image = np.random.default_rng(0).random(shape).astype(np.float32)
    grid_ = (shape, affine)
    assert_allclose(
        resample(image, affine, chain(still, turn), *grid_),
        resample(image, affine, turn, *grid_),
        atol=1e-4,
    )
    labels = np.zeros(shape, np.int16)
    labels[20:30, 22:40, 10:20] = 3
    labels[32:36, 22:40, 10:20] = 5
    matrix, warp = turn, chain(still, turn)
    assert_allclose(
        label_fractions(labels, affine, warp, *grid_, [3, 5]),
        label_fractions(labels, affine, matrix, *grid_, [3, 5]),
        atol=2e-3,
    )
    same = resample_labels(labels, affine, warp, *grid_) == resample_labels(
        labels, affine, matrix, *grid_
    )
    assert same.mean() > 0.9999


def test_labels_follow_the_signal():
    """The share of a region in a distorted voxel is that of many points drawn in it."""
    affine, shape = WHERE
    there = bump(8.0, 30.0)
    fine = (affine @ np.diag([1 / 3, 1 / 3, 1 / 3, 1]), tuple(3 * n for n in shape))
    middle = places().reshape(-1, 3).mean(0)
    labels = (np.linalg.norm(places(fine) - middle, axis=-1) < 20) * 7
    found = label_fractions(labels, fine[0], chain(there), shape, affine, [7])[..., 0]
    box = tuple(slice(n // 2 - 12, n // 2 + 13) for n in shape)
    voxels = np.moveaxis(np.indices(shape), 0, -1)[box]
    rng = np.random.default_rng(0)
    drawn = voxels[..., None, :] + rng.uniform(-0.5, 0.5, (*voxels.shape[:3], 200, 3))
    moved = apply(invert(fine[0]), there(apply(affine, drawn)))
    nearest = np.clip(np.rint(moved).astype(int), 0, np.array(fine[1]) - 1)
    expected = labels[tuple(np.moveaxis(nearest, -1, 0))].astype(bool).mean(-1)
    assert np.abs(found[box] - expected).mean() < 0.01
    assert found.sum() == pytest.approx(expected.sum(), rel=0.01)
    assert (
        np.abs(found - label_fractions(labels, fine[0], np.eye(4), *WHERE[::-1], [7])[..., 0]).max()
        > 0.5
    )


def test_a_lesions_course_is_read_through_the_shift():
    """Lesion values of a series come from where the lesion's signal was acquired."""
    affine, shape = WHERE
    there = Shift(np.full(shape, 4.0, np.float32), affine, 1)
    labels = np.zeros(shape, np.int32)
    labels[30:34, 30:34, 10:14] = 1
    along = places() @ there.direction
    series = np.stack([along, along * 2], -1)
    found = lesion_series(series, affine, labels, affine, chain(there), [1])[1]
    assert found[0] == pytest.approx(along[labels == 1].mean() + 4, abs=1e-3)
    assert found[1] == pytest.approx(2 * found[0])


def test_a_shift_is_read_as_it_was_written(tmp_path):
    """Data, grid and axis survive; an image without a phase axis is refused in words."""
    there = bump(axis=2)
    path = write_shift(there, tmp_path / "shift.nii")
    found = read_shift(path)
    assert_allclose(found.data, there.data)
    assert_allclose(found.affine, there.affine, atol=1e-4)
    assert found.axis == 2
    assert_allclose(read_mapping([path])(np.zeros((1, 3))), there(np.zeros((1, 3))), atol=1e-3)
    nib.save(nib.Nifti1Image(there.data, there.affine), tmp_path / "plain.nii")
    with pytest.raises(BadInput, match="names the phase axis"):
        read_shift(tmp_path / "plain.nii")
