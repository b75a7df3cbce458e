"""What a registration is made of: reading an image, likeness in blocks, slopes, standard errors."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from bidsapp.errors import BadInput
from bidsapp.imaging.registration.matching import Coordinates, descend, make_match, sort_samples
from bidsapp.imaging.registration.sampling import (
    Image,
    as_image,
    at_resolution,
    blur,
    blur_to_voxels_of,
    crop,
    interpolate,
    subsample,
)
from bidsapp.imaging.registration.similarity import METRICS, assign_blocks, make_measure
from bidsapp.imaging.registration.uncertainty import expected_error
from bidsapp.imaging.transforms import apply, compose, translation


def texture(shape=(40, 40, 40), sigma=2.0, seed=0):
    """Return smooth random intensities."""
    noise = np.random.default_rng(seed).standard_normal(shape)
    smooth = ndimage.gaussian_filter(noise, sigma)
    return (smooth / smooth.std() + 5).astype(np.float32)


IMAGE = as_image(texture(), translation([-40, -40, -40]) @ np.diag([2.0, 2, 2, 1]))


@given(st.lists(st.floats(0.01, 38.9), min_size=3, max_size=3))
def test_reading_is_linear_interpolation(point):
    """Values are those of scipy's map_coordinates; slopes are differences of values."""
    where = np.array(point)[:, None]
    found = interpolate(IMAGE, where)
    expected = ndimage.map_coordinates(IMAGE.data, where, order=1)
    np.testing.assert_allclose(found.values, expected, rtol=1e-4)
    low = np.floor(where)
    for axis in range(3):
        ends = np.repeat(where, 2, axis=1)
        ends[axis] = low[axis, 0], low[axis, 0] + 1
        a, b = ndimage.map_coordinates(IMAGE.data, ends, order=1)
        np.testing.assert_allclose(found.slopes[axis], b - a, atol=2e-4)


def test_points_outside_the_image_are_marked():
    """Points beyond the centres of the outermost voxels are not inside, and read as the edge."""
    found = interpolate(IMAGE, np.array([[-0.1, 0, 39, 39.1]] * 3))
    assert found.inside.tolist() == [False, True, True, False]
    assert found.values[0] == found.values[1]


def test_an_image_becomes_as_coarse_as_another():
    """A point in a fine image spreads as a voxel of the coarse one does, sagittal slices too."""
    point = np.zeros((41, 41, 41), np.float32)
    point[20, 20, 20] = 1
    fine = as_image(point, translation([-20, -20, -20]))
    sagittal = np.array([[0, 0, 8.0, 0], [1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1]])
    coarse = as_image(texture((20, 20, 5)), sagittal)
    spread = blur_to_voxels_of(fine, coarse, np.eye(4)).data
    places = np.indices(spread.shape) - 20
    variance = (places**2 * spread).sum(axis=(1, 2, 3)) / spread.sum()
    np.testing.assert_allclose(variance, [(8**2 - 1) / 12, 0, 0], rtol=0.06, atol=0.01)


def test_resolution_takes_the_voxel_into_account():
    """What is as coarse already is not blurred; affines follow the thinned voxels."""
    thick = as_image(texture((30, 30, 8)), np.diag([1.0, 1, 8, 1]))
    found = at_resolution(thick, 6.0)
    np.testing.assert_allclose(found.zooms, [3, 3, 8])
    np.testing.assert_array_equal(blur(thick, [0, 0, 0.1]).data, thick.data)
    part = crop(IMAGE, np.zeros((1, 3)), 6.0)
    here = apply(np.linalg.inv(part.affine), np.zeros(3))
    there = apply(np.linalg.inv(IMAGE.affine), np.zeros(3))
    assert part.data[tuple(here.astype(int))] == IMAGE.data[tuple(there.astype(int))]
    np.testing.assert_allclose(subsample(IMAGE, 6.0).zooms, 6)


def test_resolution_is_a_full_width_at_half_maximum():
    """A point, blurred to 6 mm, has half of its height 3 mm away from it."""
    point = np.zeros((25, 25, 25), np.float32)
    point[12, 12, 12] = 1
    found = at_resolution(Image(point, np.eye(4)), 6.0)
    np.testing.assert_allclose(found.zooms, 3)
    line = found.data[:, 4, 4]
    assert line[[3, 5]] / line[4] == pytest.approx([0.5, 0.5], abs=0.02)


def test_blocks_are_the_cells_of_a_centred_lattice():
    """Each point is in the block of the nearest lattice point; a block holds half a cube."""
    points = np.random.default_rng(0).uniform(-40, 40, (20_000, 3))
    blocks = assign_blocks(points, 16.0)
    steps = np.arange(-4, 5) * 16.0
    corners = np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(-1, 3)
    lattice = np.concatenate([corners, corners + 8.0])
    nearest = np.linalg.norm(points[:, None] - lattice, axis=-1).argmin(axis=1)
    pairs = np.unique(np.column_stack([blocks, nearest]), axis=0)
    assert len(pairs) == len(np.unique(blocks)) == len(np.unique(nearest)) == blocks.max() + 1
    inner = np.bincount(nearest)[np.linalg.norm(lattice, axis=1).argmin()]
    assert inner / len(points) == pytest.approx(16**3 / 2 / 80**3, rel=0.2)


@pytest.mark.parametrize("metric", METRICS)
def test_the_slope_is_the_slope_of_the_cost(metric):
    """Changing one value changes the cost by its slope; what does not count has none."""
    rng = np.random.default_rng(1)
    blocks = np.repeat(np.arange(20), 150)
    mine = rng.standard_normal(3000).astype(np.float32)
    theirs = 0.6 * mine + rng.standard_normal(3000)
    counts = rng.random(3000) < 0.9
    compare = make_measure(metric, mine, blocks, theirs)
    found = compare(theirs, counts)
    assert not found.slope[~counts].any()
    step = found.slope / np.abs(found.slope).max() * 1e-3
    there, back = (compare(theirs + s * step, counts).cost for s in (1, -1))
    assert (there - back) / 2 == pytest.approx(float(found.slope @ step), rel=0.1)


def test_the_local_pearson_correlation_is_the_papers(monkeypatch):
    """Two blocks: the sum of z|z| with the blocks' sizes, z the Fisher transform of r."""
    monkeypatch.setattr("bidsapp.imaging.registration.similarity.FLAT", 0.0)
    rng = np.random.default_rng(2)
    mine, theirs = rng.standard_normal((2, 500)).astype(np.float32)
    theirs = theirs - 0.8 * mine
    blocks = np.repeat([0, 1], [200, 300])
    z = [np.arctanh(np.corrcoef(mine[blocks == k], theirs[blocks == k])[0, 1]) for k in (0, 1)]
    expected = (200 * z[0] * abs(z[0]) + 300 * z[1] * abs(z[1])) / 500
    costs = {
        m: make_measure(m, mine, blocks, theirs)(theirs, np.ones(500, bool)).cost for m in METRICS
    }
    assert costs["lpc"] == pytest.approx(expected, rel=1e-5)
    assert costs["lpp"] == -costs["lpc"]
    assert costs["lpa"] == pytest.approx(costs["lpc"]), "both blocks are anticorrelated"


@pytest.mark.parametrize("metric", METRICS)
def test_what_a_mask_leaves_out_does_not_enter_the_cost(metric):
    """Voxels outside the mask of the moving image may have any values."""
    points = np.random.default_rng(0).uniform(-30, 30, (4000, 3))
    values = ndimage.map_coordinates(IMAGE.data, (points.T + 40) / 2, order=1)
    kept = np.ones(IMAGE.data.shape, np.float32)
    kept[8:24, 8:24, 8:24] = 0
    turned = IMAGE.data.copy()
    inner = (slice(10, 22),) * 3  # no sample inside the mask interpolates from these
    turned[inner] = turned[inner][::-1]
    samples, matrix = sort_samples(points, values, 18.0), translation([0.7, -0.4, 0.2])
    mask = Image(kept, IMAGE.affine)
    other = Image(turned, IMAGE.affine)
    with_mask, without = (
        [make_match(samples, image, metric, mask=m).cost(matrix) for image in (IMAGE, other)]
        for m in (mask, None)
    )
    assert with_mask[0] == pytest.approx(with_mask[1], rel=1e-6)
    assert without[0] != pytest.approx(without[1], rel=1e-3)


@pytest.mark.parametrize("metric", METRICS)
def test_leaving_the_field_of_view_never_pays(metric):
    """The best half alone costs more than all of it, in every metric."""
    rng = np.random.default_rng(3)
    mine = rng.standard_normal(2000).astype(np.float32)
    sign = -1 if metric == "lpc" else 1
    theirs = (sign * mine + 0.3 * rng.standard_normal(2000)).astype(np.float32)
    compare = make_measure(metric, mine, np.repeat(np.arange(10), 200), theirs)
    every, half = np.ones(2000, bool), np.arange(2000) < 1000
    assert compare(theirs, every).cost < compare(theirs, half).cost < 0


@pytest.mark.parametrize("transform", ["affine", "rigid"])
@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**20))
def test_the_way_down_is_known_exactly(transform, seed):
    """Slopes by the 12 or 6 numbers are the differences of the cost, strain's price included."""
    rng = np.random.default_rng(seed)
    points = rng.uniform(-25, 25, (4000, 3))
    values = ndimage.map_coordinates(IMAGE.data, (points.T + 40) / 2, order=1)
    problem = make_match(sort_samples(points, values, 18.0), blur(IMAGE, 3.0), "lpa", stiffness=0.3)
    origin = compose(
        translation(rng.uniform(-3, 3, 3)), np.eye(4) + 0.03 * np.eye(4, k=1) * [1, 1, 1, 0]
    )
    at = Coordinates(origin, problem.centre, transform)
    numbers = rng.uniform(-1, 1, at.size)
    slope = at.slopes(numbers, problem.slope(at.matrix(numbers))[1])
    step = 0.01
    found = [
        (problem.cost(at.matrix(numbers + e)) - problem.cost(at.matrix(numbers - e))) / (2 * step)
        for e in np.eye(at.size) * step
    ]
    np.testing.assert_allclose(found, slope, atol=0.02 * np.abs(slope).max())


def test_the_blocks_slopes_add_up():
    """The slopes of all blocks together are the slope of the cost."""
    points = np.random.default_rng(0).uniform(-25, 25, (3000, 3))
    values = ndimage.map_coordinates(IMAGE.data, (points.T + 40) / 2, order=1)
    problem = make_match(sort_samples(points, values, 18.0), IMAGE, "lpp")
    matrix = translation([1, 0.5, -0.7])
    total = problem.block_slopes(matrix).sum(axis=0)
    np.testing.assert_allclose(total, problem.slope(matrix)[1], rtol=1e-3, atol=1e-4)


def test_the_expected_error_is_twice_the_error_of_noise_alone():
    """Thirty images that differ by their noise: the answers scatter by half of what each foretells.

    Twice, as neighbouring blocks of a head share noise and distortion, and these blocks do not.
    """
    rng = np.random.default_rng(5)
    points = np.argwhere(np.ones((20, 20, 20))) * 2.5 - 25.0
    clean = ndimage.map_coordinates(IMAGE.data, (points.T + 40) / 2, order=1)
    ends, outcome = [], []
    for _ in range(30):
        noisy = clean + rng.standard_normal(len(clean)) * 0.8
        problem = make_match(sort_samples(points, noisy, 14.0), IMAGE, "lpp")
        ends.append(descend(problem, np.eye(4), "rigid", 40).matrix)
        outcome.append(expected_error(problem, ends[-1], "rigid", points))
    moved = np.stack([apply(m, points) for m in ends]) - points
    scatter = np.sqrt((moved**2).sum(axis=-1).mean())
    assert np.median(outcome) / 2 == pytest.approx(scatter, rel=0.3)


def test_noise_has_no_error_bar():
    """Where the cost does not rise on all sides, the expected error is infinite, or very large."""
    noise = as_image(np.random.default_rng(0).random((30, 30, 30)), np.diag([2.0, 2, 2, 1]))
    points = np.random.default_rng(1).uniform(10, 48, (3000, 3))
    values = np.random.default_rng(2).random(3000)
    problem = make_match(sort_samples(points, values, 14.0), noise, "lpp")
    assert expected_error(problem, np.eye(4), "affine", points) > 5


def test_too_few_samples_are_refused():
    """A mask of a few voxels is an error in words."""
    with pytest.raises(BadInput, match="only 5 voxels of the brain lie in both images"):
        sort_samples(np.zeros((5, 3)), np.zeros(5), 10.0)
