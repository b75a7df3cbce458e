"""Lesion tables: what is counted, what fails, and lesions on another grid."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bidsapp.bids.tissue_classes import enclosed_labels, tissue_class_warning
from bidsapp.errors import BadInput
from bidsapp.lesions import (
    COLUMNS,
    as_labels,
    lesion_series,
    standard_error_of_mean,
    summarise,
    summarise_weighted,
    volume_ml,
    weighted_course,
)
from bidsapp.lesions.summary import PERCENTILES


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
    else:
        assert np.isnan([found.mean, found.median]).all()


def test_an_empty_region_has_no_mean():
    """Nothing to summarise is NaN, not zero."""
    found = summarise([1.0, 2.0], [False, False])
    assert found.n_voxels == 0
    assert np.isnan([found.mean, found.std, found.median, *found.percentiles]).all()


def test_every_column_is_described():
    """Each statistic of a row has its description among the columns."""
    assert set(summarise([1.0], [True]).row(1.0)) < set(COLUMNS)


def test_each_statistic_is_in_the_column_of_its_name():
    """Of the squares of 0 to 100, whose percentiles and mean are all different."""
    values = np.arange(101.0) ** 2
    for found in (summarise(values, values >= 0), summarise_weighted(values, np.ones(101))):
        row = found.row(0.02)
        quantiles = [row[name] for name in ("p05", "p25", "median", "p75", "p95")]
        assert quantiles == pytest.approx([25, 625, 2500, 5625, 9025])
        assert (row["mean"], row["measured_ml"]) == pytest.approx((3350, 2.02))


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


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=50), st.floats(1e-3, 1))
def test_equal_weights_are_no_weights(values, weight):
    """Voxels that lie in the region by the same share give the statistics of whole voxels."""
    found = summarise_weighted(values, np.full(len(values), weight))
    plain = summarise(values, np.ones(len(values), bool))
    assert (found.n_voxels, found.n_valid) == (plain.n_voxels, plain.n_valid)
    assert found.weight == pytest.approx(weight * plain.weight)
    near = {"rel": 1e-9, "abs": 1e-4, "nan_ok": True}
    assert found.mean == pytest.approx(plain.mean, **near)
    assert found.std == pytest.approx(plain.std, **near)
    assert found.median == pytest.approx(plain.median, **near)
    assert found.percentiles == pytest.approx(plain.percentiles, **near)


def test_weighted_statistics_in_closed_form():
    """Two values with weights 1 and 1/2: mean, SD and volume as by hand."""
    found = summarise_weighted([3.0, 9.0, 100.0], [1.0, 0.5, 0.0])
    assert found.mean == pytest.approx((3 + 4.5) / 1.5)
    assert found.std == pytest.approx(np.sqrt((1 * 4 + 0.5 * 16) / (1.5 - 1.25 / 1.5)))
    assert found.row(0.008)["measured_ml"] == pytest.approx(0.012)
    assert found.n_voxels == 2


def test_weighted_spread_is_not_biased():
    """Over many draws the weighted variance is that of the voxels, whatever their weights."""
    rng = np.random.default_rng(3)
    weights = rng.uniform(0.05, 1, 12)
    draws = rng.normal(5, 2, (4000, 12))
    variance = np.mean([summarise_weighted(d, weights).std ** 2 for d in draws])
    assert variance == pytest.approx(4, rel=0.03)


def test_a_voxel_of_hardly_any_weight_hardly_counts():
    """An outlier that the region only grazes changes no statistic: they go with the weight."""
    rng = np.random.default_rng(5)
    values, weights = rng.normal(0, 1, 30), rng.uniform(0.2, 1, 30)
    without = summarise_weighted(values, weights)
    grazed = summarise_weighted([*values, -1e3], [*weights, 1e-9])
    assert grazed.n_voxels == without.n_voxels + 1
    for name in ("mean", "std", "median", "percentiles", "weight"):
        assert getattr(grazed, name) == pytest.approx(getattr(without, name), abs=1e-3)


def test_weighted_quantiles_are_those_of_the_distribution():
    """A ramp whose upper half weighs half has the quantiles of that density, by hand."""
    values = np.linspace(0, 1, 20_001)
    weights = np.where(values < 0.5, 1.0, 0.5)
    found = summarise_weighted(values, weights)
    expected = np.interp(np.array(PERCENTILES) / 100, [0, 2 / 3, 1], [0, 0.5, 1])
    assert found.percentiles == pytest.approx(expected, abs=1e-3)
    assert found.median == pytest.approx(0.375, abs=1e-3)


def test_weighted_failures_are_counted():
    """A voxel without a value takes no part in any statistic, and is counted."""
    found = summarise_weighted([np.nan, 2.0], [0.9, 0.1])
    assert (found.n_voxels, found.n_valid, found.n_failed) == (2, 1, 1)
    assert (found.mean, found.weight) == (2.0, pytest.approx(0.1))
    assert np.isnan(found.std)
    nothing = summarise_weighted([np.nan, 2.0], [0.9, 0.0])
    assert (nothing.n_voxels, nothing.n_valid, nothing.weight) == (1, 0, 0.0)
    assert np.isnan([nothing.mean, nothing.median, *nothing.percentiles]).all()


def test_a_weighted_course_leaves_out_what_is_missing():
    """A voxel that lacks one frame has no part in the course; none left is NaN."""
    series = np.array([[1.0, 3.0], [np.nan, 9.0], [3.0, 9.0]])
    np.testing.assert_allclose(weighted_course(series, [0.5, 1.0, 0.25]), [5 / 3, 5])
    assert np.isnan(weighted_course(series, [0.0, 1.0, 0.0])).all()


def test_the_error_of_a_mean_knows_that_voxels_share_noise():
    """A map resampled to half the voxel size has eight times the voxels and no less noise."""
    errors = np.full((8, 8, 8), 0.4)
    share = np.ones((8, 8, 8))
    assert standard_error_of_mean(errors, share, 0.001, 0.001) == pytest.approx(0.4 / np.sqrt(512))
    assert standard_error_of_mean(errors, share, 0.001, 0.008) == pytest.approx(0.4 / np.sqrt(64))
    assert standard_error_of_mean(errors, share, 0.001, 10.0) == pytest.approx(0.4), (
        "at least one voxel"
    )


def test_the_error_of_a_mean_is_that_of_repeated_noise():
    """Simulated: the spread of lesion means over 4,000 noisy maps, with voxels in part inside."""
    rng = np.random.default_rng(2)
    sigma, share = rng.uniform(0.5, 1.5, 60), rng.uniform(0.8, 1, 60)
    means = (rng.normal(0, sigma, (4000, 60)) * share).sum(1) / share.sum()
    assert standard_error_of_mean(sigma, share, 1, 1) == pytest.approx(means.std(), rel=0.1)


def test_the_error_of_a_mean_leaves_out_what_has_none():
    """Voxels without an error do not count; without any there is none."""
    assert standard_error_of_mean([2.0, np.nan], [1, 1], 1, 1) == 2.0
    # Four voxels of the map with an error are two of the series; the other four do not add any.
    half_known = np.repeat([2.0, np.nan], 4)
    assert standard_error_of_mean(half_known, np.ones(8), 1, 2) == pytest.approx(2 / np.sqrt(2))
    assert np.isnan(standard_error_of_mean([np.nan, 1.0], [1, 0], 1, 1))


def test_large_voxels_of_a_map_count_no_more_than_there_are():
    """Four voxels of a map, each as large as eight of the series, are four values, not 32."""
    assert standard_error_of_mean([2.0] * 4, [1] * 4, 0.008, 0.001) == pytest.approx(1.0)


def test_one_voxel_that_knows_nothing_does_not_hide_the_noise_of_the_others():
    """A voxel at which a parameter is not determined has any error: the typical one counts."""
    errors = np.full(50, 0.4)
    errors[7] = 1e4
    assert standard_error_of_mean(errors, np.ones(50), 1, 1) == pytest.approx(0.4 / np.sqrt(50))


def ellipsoids(*shapes):
    """Return labels of ellipsoids (centre, radius), each voxel that of the nearest one."""
    grid = np.stack(np.meshgrid(*[np.arange(40.0)] * 3, indexing="ij"), -1)
    distance = np.array([(((grid - c) / r) ** 2).sum(-1) for c, r in shapes])
    return np.where(distance.min(0) < 1, distance.argmin(0) + 1, 0).astype(np.int32)


@pytest.mark.parametrize("gap", [0, 1])
def test_tissue_classes_are_recognised_by_their_place(gap):
    """Necrosis in an enhancing rim in oedema, also if the rim has a small gap."""
    grid = np.linalg.norm(np.indices((40, 40, 40)) - 20.0, axis=0)
    labels = np.select([grid < 5, grid < 9, grid < 15], [1, 3, 2], 0).astype(np.int32)
    if gap:
        labels[20, 20, 20:] = 0
    assert set(enclosed_labels(labels)) == {1, 3}
    assert "label 1 lies inside the others" in tissue_class_warning(labels, "x.nii.gz")
    assert not enclosed_labels(np.where(labels == 2, 2, 0))


@pytest.mark.parametrize("apart", [6, 9, 12])
@pytest.mark.parametrize("small", [3, 6, 9])
def test_metastases_that_touch_are_no_tissue_classes(apart, small):
    """A small one in the notch between two others, or flattened against a large one."""
    a, b, c = (20, 20, 14), (20, 20, 14 + 2 * apart), (24 + small, 20, 14 + apart)
    labels = ellipsoids((a, 9), (b, 9), (c, small))
    assert tissue_class_warning(labels, "x.nii.gz") == ""
