"""The course of a lesion is recovered from voxels that it shares with other tissue."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from bidsapp.errors import BadInput
from bidsapp.imaging.edges import sample_lesion
from bidsapp.imaging.point_spread import PointSpread
from bidsapp.imaging.transforms import translation
from bidsapp.lesions.unmixed_values import (
    LEAST_EDGE_UNCERTAINTY,
    LesionCourses,
    unmixed_values,
)
from bidsapp.lesions.unmixing import UnmixedCourse, edge_weights, resolved_voxels, unmix
from bidsapp.run.nodes.unmixing import read_position_error

SAMPLES = 12
SPREAD = PointSpread({"filtered": 1.0}, {"box": 1.0})
LESION = 3 + np.linspace(0, 4, SAMPLES) ** 0.5
TISSUE = np.linspace(2, 2.4, SAMPLES)
VESSEL = 2 + 8 * np.exp(-np.linspace(0, 3, SAMPLES))


def ball(radius: float, spacing=(1.0, 1.0, 1.0), half: int = 16):
    """Return the fraction of each voxel in a ball at the centre of a grid, and its affine."""
    counts = np.maximum(1, np.round(2 * half / np.array(spacing))).astype(int)
    affine = np.diag([*spacing, 1.0])
    affine[:3, 3] = -(counts - 1) / 2 * spacing
    fine = [
        (np.arange(n * 4) + 0.5) / 4 * s - n * s / 2 for n, s in zip(counts, spacing, strict=True)
    ]
    inside = np.sqrt(sum(a**2 for a in np.meshgrid(*fine, indexing="ij", sparse=True))) < radius
    i, j, k = counts
    return inside.reshape(i, 4, j, 4, k, 4).mean(axis=(1, 3, 5)), affine


def mixture(rng, noise=0.02, vessel=0.0):
    """Return courses of voxels around a lesion in 8 mm slices, and the lesion's fractions."""
    share, _ = ball(7.0, (2.0, 2.0, 8.0))
    near = ndimage.binary_dilation(share > 0, iterations=3)
    share = share[near]
    # Tissue and vessels vary from voxel to voxel.
    blood = np.where(rng.random(len(share)) < vessel, rng.uniform(0.2, 1.0, len(share)), 0)
    around = TISSUE * rng.normal(1, 0.05, (len(share), 1))
    around = around + blood[:, None] * (VESSEL - TISSUE)
    courses = share[:, None] * LESION + (1 - share)[:, None] * around
    return courses + rng.normal(0, noise, courses.shape), share[:, None]


def test_the_course_of_a_lesion_is_recovered():
    """The mean over the voxels is wrong by more than a tenth of the contrast; the course is not."""
    courses, share = mixture(np.random.default_rng(1))
    mean = share[:, 0] @ courses / share.sum()
    found = unmix(courses, share).course
    contrast = np.abs(LESION - TISSUE).max()
    assert np.abs(mean - LESION).max() > 0.1 * contrast
    assert np.abs(found - LESION).max() < 0.02 * contrast


def test_a_vessel_beside_a_lesion_is_outweighed():
    """With vessels in one voxel of fifty, the error is less than with plain least squares."""
    errors = []
    for seed in range(20):
        courses, share = mixture(np.random.default_rng(seed), vessel=0.02)
        plain = np.linalg.lstsq(np.hstack([share, 1 - share]), courses, rcond=None)[0][0]
        found = unmix(courses, share).course
        errors.append([np.linalg.norm(course - LESION) for course in (found, plain)])
    ours, others = np.median(errors, axis=0)
    assert ours < 0.7 * others


def test_the_spread_is_the_scatter_over_repetitions():
    """The stated covariance predicts the error of the course, within a factor of 1.5."""
    found = [unmix(*mixture(np.random.default_rng(seed))) for seed in range(40)]
    stated = np.mean([np.square(u.spread).sum(axis=0) for u in found], axis=0)
    scatter = np.var([u.course for u in found], axis=0)
    assert 1 / 1.5 < np.sqrt(scatter.mean() / stated.mean()) < 1.5


@given(scale=st.floats(0.1, 50), offset=st.floats(-3, 3))
def test_the_course_follows_the_signal_linearly(scale, offset):
    """A factor on the signal and a constant for all voxels do the same to the course."""
    courses, share = mixture(np.random.default_rng(3))
    found = unmix(courses, share).course
    changed = unmix(scale * courses + offset, share).course
    np.testing.assert_allclose(changed, scale * found + offset, rtol=1e-3)


def test_regions_in_fixed_proportion_cannot_be_separated():
    """Lesions that share every voxel in halves have no separate courses."""
    share = np.array([[0.5, 0.5], [0.25, 0.25], [0.0, 0.0], [0.1, 0.1]])
    found = unmix(np.ones((4, 3)), share)
    assert found.resolved_voxels == 0
    assert np.isnan(found.course).all()


def test_few_filled_voxels_resolve_little():
    """A tenth of a voxel counts a hundredth of one."""
    background = np.zeros((50, 1))
    share = np.vstack([background, [[0.1]]])
    assert resolved_voxels(np.hstack([share, 1 - share])) == pytest.approx(0.01, rel=0.03)


@pytest.mark.parametrize("spacing", [(1, 1, 1), (2, 2, 2), (1.0, 1.1, 1.5)])
@pytest.mark.parametrize("offset", [-0.5, 0.0, 0.5])
def test_an_edge_moves_by_its_offset(spacing, offset):
    """The volume is that of a ball with a radius changed by the offset, within 6 %."""
    share, affine = ball(8.0, spacing)
    target = np.eye(4)
    target[:3, 3] = -20
    parts = (share > 0.5).astype(int)
    found = sample_lesion(parts, affine, np.eye(4), (41, 41, 41), target, margin=6)
    drawn = parts.sum() * np.prod(spacing)
    radius = (drawn * 3 / (4 * np.pi)) ** (1 / 3)
    wanted = 4 / 3 * np.pi * (radius + offset) ** 3
    assert found.fractions([1], SPREAD, offset).sum() == pytest.approx(wanted, rel=0.06)


def test_parts_keep_their_place_when_the_edge_moves():
    """The outer edge alone moves: the core inside keeps its volume."""
    share, affine = ball(8.0)
    core, _ = ball(4.0)
    parts = np.where(core > 0.5, 2, np.where(share > 0.5, 1, 0))
    shape = parts.shape
    found = sample_lesion(parts, affine, np.eye(4), shape, affine, margin=6)
    inner = [found.fractions([2], SPREAD, offset).sum() for offset in (-0.5, 0.0, 0.5)]
    assert inner == pytest.approx([(parts == 2).sum()] * 3, rel=0.01)


def test_a_shifted_series_has_shifted_fractions():
    """The mapping is from points of the series to points of the lesion."""
    share, affine = ball(6.0)
    parts = (share > 0.5).astype(int)
    options = (parts.shape, affine, 4.0)
    here = sample_lesion(parts, affine, np.eye(4), *options)
    there = sample_lesion(parts, affine, translation([2.0, 0, 0]), *options)

    def centre(found):
        weights = found.fractions([1], SPREAD)[..., 0]
        first = [s.start for s in found.box]
        return np.array(ndimage.center_of_mass(weights)) + first

    np.testing.assert_allclose(centre(there) - centre(here), [-2, 0, 0], atol=0.01)


def test_a_lesion_outside_the_series_is_refused():
    """There is no voxel to sample; the message states it."""
    share, affine = ball(5.0)
    far = translation([500.0, 0, 0])
    with pytest.raises(BadInput, match="outside the series"):
        sample_lesion((share > 0.5) * 1, affine, far, share.shape, affine, 6.0)
    with pytest.raises(BadInput, match="no voxel"):
        sample_lesion(np.zeros((4, 4, 4), int), np.eye(4), np.eye(4), (4, 4, 4), np.eye(4), 6.0)


def test_the_series_corrects_a_drawn_edge():
    """With an ROI drawn 0.5 mm too large, the likeliest edge is 0.5 mm further inside."""
    rng = np.random.default_rng(5)
    grid, affine = ball(1.0, (2.0, 2.0, 8.0))
    share, fine = ball(8.5)
    parts = (share > 0.5).astype(int)
    sampled = sample_lesion(parts, fine, np.eye(4), grid.shape, affine, 6.0)
    near = sampled.near(6.0)
    true = sampled.fractions([1], SPREAD, -0.5)[near]
    around = TISSUE * rng.normal(1, 0.05, (len(true), 1))
    courses = true * LESION + (1 - true) * around + rng.normal(0, 0.02, (len(true), SAMPLES))
    offsets = (-1.0, -0.5, 0.0, 0.5, 1.0)
    found = [unmix(courses, sampled.fractions([1], SPREAD, o)[near]) for o in offsets]
    weights = edge_weights([u.log_likelihood for u in found], offsets, 0.5)
    assert offsets[int(np.argmax(weights))] == -0.5


def courses_at(values, likelihoods, spread, shifted):
    """Return lesion courses of two samples whose mean is each of the values."""
    by_offset = [
        UnmixedCourse(np.full(2, v), spread, 5.0, ell)
        for v, ell in zip(values, likelihoods, strict=True)
    ]
    return LesionCourses(by_offset, shifted, 0.9)


def mean_of(courses):
    return {"mean": courses.mean(axis=1)}


def test_parts_of_the_error_are_those_of_their_causes():
    """Noise, edge and position each move the value; the total is their sum in quadrature."""
    shifted = np.array([[3.3, 3.3], [3.0, 3.0], [3.0, 3.4]])
    courses = courses_at([1, 2, 3, 4, 5], [-1e9, 0, 0, 0, -1e9], np.diag([0.2, 0.4]), shifted)
    found = unmixed_values(courses, mean_of)["mean"]
    assert found.value == pytest.approx(3)
    assert found.noise == pytest.approx(np.hypot(0.1, 0.2))
    assert found.registration == pytest.approx(np.hypot(0.3, 0.2))
    weights = np.exp([-0.5, 0, -0.5])
    likely = np.sqrt(weights[[0, 2]].sum() / weights.sum())
    assert found.edge == pytest.approx(np.hypot(likely, LEAST_EDGE_UNCERTAINTY * 2))
    parts = [found.noise, found.edge, found.registration]
    assert found.standard_error == pytest.approx(np.linalg.norm(parts))
    assert (found.smaller, found.larger) == (2, 4)


def test_a_lesion_that_cannot_be_resolved_has_no_value():
    """All positions fail: each parameter is NaN, with its name."""
    courses = courses_at([np.nan] * 5, [-np.inf] * 5, np.eye(2), np.zeros((0, 2)))
    found = unmixed_values(courses, mean_of)["mean"]
    assert np.isnan([found.value, found.standard_error, found.edge]).all()


def test_a_fit_that_fails_at_the_likeliest_edge_has_no_value():
    """A value from unlikely positions alone would hide the failure."""
    courses = courses_at([1, 2, np.nan, 4, 5], [-50, -50, 0, -50, -50], np.eye(2), np.ones((3, 2)))
    assert np.isnan(unmixed_values(courses, mean_of)["mean"].value)


def test_fits_that_fail_do_not_lower_the_standard_error():
    """With one side of the edge the slope is that of the other; few failed errors are typical."""
    courses = courses_at(
        [1, 2, 3, np.nan, 5], [-1e9, -1e9, 0, -np.inf, -1e9], np.full((4, 2), 0.2), np.zeros((0, 2))
    )
    whole = unmixed_values(courses, mean_of)["mean"]
    assert whole.edge == pytest.approx(LEAST_EDGE_UNCERTAINTY * 2)

    def failing(count):
        def measure(values):
            found = mean_of(values)["mean"]
            found[5 : 5 + count] = np.nan  # the courses that are perturbed by noise
            return {"mean": found}

        return unmixed_values(courses, measure)["mean"]

    assert failing(1).noise == pytest.approx(whole.noise)
    assert np.isnan([failing(3).noise, failing(3).standard_error]).all()


def test_a_displaced_edge_does_not_count_as_an_error_of_the_registration():
    """The shifts are compared with the ROI as drawn, not with the most probable edge."""
    near, far = (
        UnmixedCourse(np.array([level]), np.zeros((1, 1)), 9.0, likelihood)
        for level, likelihood in ((5.0, 0.0), (6.0, 500.0))
    )
    courses = LesionCourses([near, near, near, far, near], np.full((3, 1), 5.1), 0.8)
    found = unmixed_values(courses, lambda c: {"level": c[:, 0]})["level"]
    assert found.value == pytest.approx(6)
    assert found.registration == pytest.approx(0.1 * np.sqrt(3))


def test_the_position_of_an_roi_is_less_certain_on_real_heads(tmp_path):
    """2.3 times the expected error, along each axis; unknown, not 0, if none is stated."""
    path = tmp_path / "quality.json"
    path.write_text('{"expected_error_mm": 0.3}', encoding="utf-8")
    assert read_position_error(path) == pytest.approx(2.3 * 0.3 / np.sqrt(3))
    path.write_text('{"expected_error_mm": null}', encoding="utf-8")
    assert np.isnan(read_position_error(path))


def test_an_unknown_error_of_the_registration_is_missing_not_zero():
    """The part is n/a and the standard error is that of the other parts; the value stays."""
    same = UnmixedCourse(np.array([5.0]), np.full((1, 1), 0.3), 9.0, 0.0)
    known, unknown = (
        unmixed_values(LesionCourses([same] * 5, shifted, 0.8), lambda c: {"level": c[:, 0]})[
            "level"
        ]
        for shifted in (np.zeros((0, 1)), np.full((3, 1), np.nan))
    )
    assert known.registration == 0
    assert np.isnan(unknown.registration)
    assert unknown.value == known.value
    assert unknown.standard_error == known.standard_error == pytest.approx(0.3)


@pytest.mark.parametrize("power", [0.5, 2.0, 3.0])
def test_a_lesion_whose_voxels_all_fit_no_mixture_has_no_value(power):
    """Fractions far from the true ones beside a constant background: NaN, not a course of zero."""
    assumed = np.r_[np.zeros(200), np.linspace(0.05, 1, 20)]
    true = assumed[:, None] ** power
    found = unmix(true * [4.0, 8.0, 6.0] + (1 - true) * [2.0, 2.0, 2.0], assumed[:, None])
    assert np.isnan(found.course).all()
    assert found.log_likelihood == -np.inf
