"""Lesion tables: what is counted, what fails, and lesions on another grid."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bidsapp.errors import BadInput
from bidsapp.rois import COLUMNS, as_labels, lesion_series, summarise, volume_ml


@given(st.lists(st.one_of(st.floats(-1e6, 1e6), st.just(np.nan)), min_size=1, max_size=50))
def test_counts_add_up(values):
    """Valid and failed voxels are all voxels; the statistics are those of the valid ones."""
    found = summarise(values, np.ones(len(values), bool))
    valid = np.array(values)[np.isfinite(values)]
    assert found.n_valid + found.n_failed == found.n_voxels == len(values)
    assert found.n_valid == len(valid)
    if len(valid):
        assert found.mean == pytest.approx(valid.mean())
        assert found.median == np.median(valid)


def test_an_empty_region_has_no_mean():
    """Nothing to summarise is NaN, not zero."""
    found = summarise([1.0, 2.0], [False, False])
    assert found.n_voxels == 0
    assert np.isnan([found.mean, found.std, found.median, *found.percentiles]).all()


def test_every_column_is_described():
    """Each statistic of a row has its description among the columns."""
    assert set(summarise([1.0], [True]).row()) < set(COLUMNS)


def test_labels_must_be_whole_numbers():
    """Several values that are no labels are refused by name; negative ones too."""
    with pytest.raises(BadInput, match=r"x.nii: labels must be whole numbers; it holds \[0.2, 0.7"):
        as_labels([0, 0.2, 0.7], "x.nii")
    with pytest.raises(BadInput, match="must not be negative; it holds -1"):
        as_labels([0, -1], "x.nii")


def test_volume_counts_voxels_in_ml():
    """A lesion of 1000 voxels of 1 x 2 x 3 mm has 6 ml, in any orientation."""
    labels = np.zeros((20, 20, 20), int)
    labels[5:15, 5:15, 5:15] = 4
    turned = np.array([[0, -2.0, 0, 7], [1, 0, 0, 8], [0, 0, 3, 9], [0, 0, 0, 1]])
    assert volume_ml(labels, 4, turned) == pytest.approx(6)
    assert volume_ml(labels, 5, turned) == 0


def test_series_is_sampled_through_the_transform():
    """A lesion on a fine, shifted grid takes the coarse series' values at its true place."""
    coarse = np.diag([4.0, 4, 8, 1])
    x = np.arange(10)
    series = np.broadcast_to(x[:, None, None, None] * [1.0, 10.0], (10, 10, 5, 2))
    labels = np.zeros((30, 30, 30), np.int32)
    labels[10:14, 15:19, 10:14] = 1
    shift = np.eye(4)
    shift[0, 3] = 3.0
    course = lesion_series(series, coarse, labels, np.eye(4), shift, [1])[1]
    expected = (11.5 + 3) / 4
    np.testing.assert_allclose(course, [expected, 10 * expected])


def test_a_lesion_outside_the_series_has_no_course():
    """A lesion beyond the field of view is NaN, and one that is absent too."""
    series = np.ones((4, 4, 4, 3))
    labels = np.zeros((50, 4, 4), np.int32)
    labels[40:, :, :] = 1
    found = lesion_series(series, np.eye(4), labels, np.eye(4), np.eye(4), [1, 2])
    assert np.isnan(found[1]).all()
    assert np.isnan(found[2]).all()
