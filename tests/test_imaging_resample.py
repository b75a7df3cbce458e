"""Resampling: exact where it can be, and missing stays missing."""

import nibabel as nib
import numpy as np
import pytest
from heads import grid, pose
from hypothesis import given, settings
from hypothesis import strategies as st
from nitransforms.linear import Affine
from nitransforms.resampling import apply as nitransforms_apply
from scipy import ndimage

from bidsapp.errors import BadInput
from bidsapp.imaging.resample import resample, resample_series
from bidsapp.imaging.transforms import apply, compose, invert, translation

SAGITTAL = grid((6, 6, 12), axes=(1, 2, 0), oblique=(12, -5, 8))
AXIAL = grid((9, 9, 9))
MOVED = compose(np.diag([1.02, 0.97, 1.0, 1]), pose((4, -3, 6), (5, -8, 3)))


def world(where):
    """Return the points of a grid, mm."""
    affine, shape = where
    return apply(affine, np.moveaxis(np.indices(shape), 0, -1))


def smooth_image(where, seed=0):
    noise = np.random.default_rng(seed).standard_normal(where[1])
    return ndimage.gaussian_filter(noise, 1.5).astype(np.float32)


@settings(deadline=None)
@given(rotation=st.tuples(*[st.floats(-20, 20)] * 3), shift=st.tuples(*[st.floats(-20, 20)] * 3))
def test_a_linear_ramp_is_reproduced(rotation, shift):
    """Linear interpolation is exact for a linear function, on oblique grids and any transform."""
    matrix = pose(rotation, shift)
    slope = np.array([0.3, -0.7, 1.1])
    ramp = (world(SAGITTAL) @ slope).astype(np.float32)
    found = resample(ramp, SAGITTAL[0], matrix, AXIAL[1], AXIAL[0])
    voxels = apply(invert(SAGITTAL[0]) @ matrix, world(AXIAL))
    inner = ((voxels > 0) & (voxels < np.array(SAGITTAL[1]) - 1)).all(axis=-1)
    assert inner.any()
    np.testing.assert_allclose(
        found[inner], (apply(matrix, world(AXIAL)) @ slope)[inner], atol=1e-3
    )


@pytest.mark.parametrize("order", [0, 1, 3])
def test_identity_changes_nothing(order):
    """On its own grid an image is what it was."""
    data = smooth_image(AXIAL)
    found = resample(data, AXIAL[0], np.eye(4), AXIAL[1], AXIAL[0], order=order)
    np.testing.assert_allclose(found, data, atol=1e-6)
    assert found.dtype == np.float32


def test_direction_is_that_of_nitransforms():
    """An independent program that is given the same matrix puts the image in the same place."""
    data = smooth_image(SAGITTAL)
    found = resample(data, SAGITTAL[0], MOVED, AXIAL[1], AXIAL[0], order=3, cval=0)
    reference = nib.Nifti1Image(np.zeros(AXIAL[1], np.float32), AXIAL[0])
    moving = nib.Nifti1Image(data, SAGITTAL[0])
    theirs = nitransforms_apply(Affine(MOVED, reference=reference), moving, order=3).get_fdata()
    voxels = apply(invert(SAGITTAL[0]) @ MOVED, world(AXIAL))
    inner = ((voxels > 2) & (voxels < np.array(SAGITTAL[1]) - 3)).all(axis=-1)
    assert np.corrcoef(found[inner], theirs[inner])[0, 1] > 0.9999


def test_missing_values_do_not_leak():
    """A NaN voxel is missing where it weighs most, and its neighbours keep their own values."""
    data = np.full((6, 6, 6), 7.0, np.float32)
    data[3, 3, 3] = np.nan
    half = np.eye(4)
    half[0, 3] = 0.4
    for order in (1, 3):
        found = resample(data, np.eye(4), half, data.shape, np.eye(4), order=order)
        assert np.argwhere(np.isnan(found)).tolist() == [[3, 3, 3]]
        np.testing.assert_allclose(found[np.isfinite(found)], 7.0, rtol=1e-6)


def test_outside_the_field_of_view_is_missing():
    """Half a voxel beyond the last centre the image ends; no zero is made up."""
    data = np.ones((4, 4, 4), np.float32)
    shift = np.eye(4)
    shift[0, 3] = 0.6
    found = resample(data, np.eye(4), shift, (5, 4, 4), np.eye(4))
    assert np.isfinite(found[:3]).all()
    assert np.isnan(found[3:]).all()
    assert (resample(data, np.eye(4), shift, (5, 4, 4), np.eye(4), cval=0)[3:] == 0).all()


def test_an_image_without_a_value_stays_without():
    """All missing in, all missing out."""
    data = np.full((3, 3, 3), np.nan)
    assert np.isnan(resample(data, np.eye(4), np.eye(4), (3, 3, 3), np.eye(4))).all()


def test_a_series_is_resampled_volume_by_volume():
    """4D gives what each of its volumes gives."""
    series = np.stack([smooth_image(SAGITTAL, seed) for seed in (1, 2)], axis=-1)
    series[20, 20, 8, 1] = np.nan
    found = resample(series, SAGITTAL[0], MOVED, AXIAL[1], AXIAL[0])
    for i in range(2):
        one = resample(series[..., i], SAGITTAL[0], MOVED, AXIAL[1], AXIAL[0])
        np.testing.assert_array_equal(found[..., i], one)


def test_correcting_motion_keeps_a_peak():
    """After half a voxel along each axis; linear interpolation would lower it by a seventh."""
    where = np.moveaxis(np.indices((21, 21, 21), float), 0, -1)
    middle, step = np.full(3, 10.0), np.full(3, 0.5)
    still, moved = (
        np.exp(-((where - centre) ** 2).sum(axis=-1) / (2 * 1.5**2))
        for centre in (middle, middle + step)
    )
    matrices = [np.eye(4), translation(step)]
    found = resample_series(np.stack([still, moved], axis=-1), np.eye(4), matrices)
    inner = (slice(1, -1),) * 3  # half a voxel beyond the edge there is no value
    np.testing.assert_allclose(found[..., 1][inner], still[inner], atol=0.01)


@pytest.mark.parametrize("shape", [(4, 4), (4, 4, 4, 2, 2)])
def test_an_image_of_the_wrong_shape_is_refused(shape):
    """The message names the shape."""
    with pytest.raises(BadInput, match=r"not one of shape \(4, 4"):
        resample(np.zeros(shape), np.eye(4), np.eye(4), (4, 4, 4), np.eye(4))


def test_next_to_missing_voxels_the_storage_order_does_not_count():
    """With half of the voxels missing, flipped axes give the same values, of the valid ones."""
    rng = np.random.default_rng(5)
    data = rng.uniform(1, 2, (6, 5, 4)).astype(np.float32)
    data[rng.random(data.shape) < 0.5] = np.nan
    shift = np.eye(4)
    shift[:3, 3] = 0.3, 0.4, 0.2
    expected = resample(data, np.eye(4), shift, data.shape, np.eye(4))
    flipped = np.diag([-1.0, -1.0, 1.0, 1.0])
    flipped[:2, 3] = 5, 4
    found = resample(data[::-1, ::-1], flipped, shift, data.shape, np.eye(4))
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    alone = np.full((2, 1, 1), np.nan)
    alone[0] = 7.0
    assert resample(alone, np.eye(4), np.eye(4), (2, 1, 1), np.eye(4))[0, 0, 0] == 7


def test_outside_the_head_a_series_takes_the_nearest_voxel():
    """In the head as without a head, to the bit; elsewhere only values of the volume itself."""
    volume = np.random.default_rng(0).normal(100, 10, (12, 11, 9)).astype(np.float32)
    series = volume[..., None]
    turned = pose((4, 3, -5), (0.4, -0.3, 0.6))
    head = np.zeros(volume.shape, bool)
    head[3:9, 3:8, 2:7] = True
    everywhere = resample_series(series, np.eye(4), [turned])
    found = resample_series(series, np.eye(4), [turned], head=head)
    np.testing.assert_array_equal(found[head], everywhere[head])
    np.testing.assert_array_equal(np.isnan(found), np.isnan(everywhere))
    outside = found[..., 0][~head]
    assert np.isin(outside[np.isfinite(outside)], volume).all()
    assert np.isnan(found).any()
