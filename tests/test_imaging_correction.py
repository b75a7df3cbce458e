"""Motion inside a series: known motion is found, uptake and diffusion are not taken for it."""

import numpy as np
import pytest
from heads import CENTRE, brain_points, error, grid, pose, scan
from nibabel.orientations import (
    apply_orientation,
    axcodes2ornt,
    inv_ornt_aff,
    io_orientation,
    ornt_transform,
)
from scipy import ndimage

from bidsapp.errors import BadInput
from bidsapp.imaging.motion.blocks import CannotAlign, cut_blocks, step_matrix
from bidsapp.imaging.motion.correction import estimate_diffusion_motion, estimate_motion
from bidsapp.imaging.resample import resample_series
from bidsapp.imaging.transforms import apply, compose, invert, translation

SAGITTAL = grid((3, 3, 8), axes=(1, 2, 0), oblique=(4, -3, 5))
AXIAL = grid((3, 3, 5), oblique=(6, 0, -4))
MOVES = [
    pose(),
    pose((0.5, 0, 0), (0.3, -0.4, 0)),
    pose((0, 1, -0.5), (1, 0, 0.8)),
    pose((-1.5, 0.5, 1), (-1.2, 2, 1)),
]


def uptake(times):
    """Return how much a lesion and grey matter brighten: a bolus, then a slow rise."""
    peak = np.exp(-0.5 * ((np.asarray(times) - 3) / 0.7) ** 2)
    late = np.clip(np.asarray(times) - 2, 0, None) / 5
    return peak, late


def dynamic(moves, where=SAGITTAL, *, noise=1.0):
    """Return a series of an enhancing head that moves."""
    peak, late = uptake(range(len(moves)))
    plain = [scan("dce", where, m) for m in moves]
    lesion = [scan("t1w", where, m) > 200 for m in moves]
    grey = [scan("b0", where, m) / 300 for m in moves]
    rng = np.random.default_rng(5)
    frames = [
        p * (1 + 0.5 * late[i] * le + 0.4 * peak[i] * g) + noise * rng.standard_normal(p.shape)
        for i, (p, le, g) in enumerate(zip(plain, lesion, grey, strict=True))
    ]
    return np.stack(frames, axis=-1).astype(np.float32)


def misplaced(found, moves, reference=0):
    """Return the mean error of each matrix in the brain, mm."""
    back = invert(moves[reference])
    points = brain_points()
    return [error(f, compose(back, m), points) for f, m in zip(found.matrices, moves, strict=True)]


@pytest.mark.parametrize(
    ("where", "reference", "limit"),
    [(SAGITTAL, 0, 0.35), (AXIAL, 2, 0.12)],
    ids=["8 mm sagittal", "5 mm axial"],
)
def test_known_motion_is_found(where, reference, limit):
    """Any frame may be the reference, on oblique grids, while a lesion and grey matter enhance."""
    moves = [*MOVES, *MOVES[::-1]]
    found = estimate_motion(dynamic(moves, where), where[0], reference=reference)
    assert max(misplaced(found, moves, reference)) < limit
    np.testing.assert_allclose(found.matrices[reference], np.eye(4), atol=1e-12)


def test_uptake_is_not_motion():
    """A head that enhances and does not move has no motion, and no outlier at the bolus."""
    found = estimate_motion(dynamic([pose()] * 8), SAGITTAL[0])
    assert max(misplaced(found, [pose()] * 8)) < 0.05
    assert not found.outliers.any()


def test_a_series_without_noise_or_change_is_left_alone():
    """Identical frames: no division by their zero residual."""
    series = np.repeat(scan("dce", SAGITTAL)[..., None], 4, axis=-1)
    found = estimate_motion(series, SAGITTAL[0])
    np.testing.assert_allclose(found.matrices, np.tile(np.eye(4), (4, 1, 1)), atol=1e-4)
    assert not found.outliers.any()


def test_outliers_are_flagged():
    """Motion while a frame is acquired, and a jump between two; the frames between are inliers."""
    moves = [pose()] * 7 + [pose((1, 0, 0), (0, 2, 1))] * 5
    series = dynamic(moves)
    elsewhere = scan("dce", SAGITTAL, pose((3, 0, 0), (0, 5, 4)))
    series[..., 5] = (series[..., 5] + elsewhere) / 2
    found = estimate_motion(series, SAGITTAL[0])
    assert {5, 7} <= set(np.flatnonzero(found.outliers)) <= {5, 6, 7}
    assert found.framewise_displacement[7] > 1 > found.framewise_displacement[9]


def test_a_frame_that_is_spoilt_without_motion_is_an_outlier():
    """Stripes across one frame: the head is where it was, but no neighbour is like it."""
    series = dynamic([pose()] * 8)
    stripes = 1 + 0.7 * np.sin(np.arange(series.shape[0]) * np.pi / 2)
    series[..., 6] *= stripes[:, None, None]
    found = estimate_motion(series, SAGITTAL[0])
    assert np.nanmax(found.framewise_displacement) < 0.5
    assert np.flatnonzero(found.outliers).tolist() == [6]
    assert found.residual[6] > 3 > np.delete(found.residual, 6).max()


def test_frames_in_which_contrast_passes_are_known():
    """Around the bolus, with its peak, wherever the head moved; a spoilt frame is none of them."""
    series = dynamic([pose()] * 4 + [pose((1, 0, 0), (0, 1, 1))] * 9)
    stripes = 1 + 0.7 * np.sin(np.arange(series.shape[0]) * np.pi / 2)
    series[..., 10] *= stripes[:, None, None]
    found = estimate_motion(series, SAGITTAL[0])
    assert found.passage[2:5].all()
    assert not found.passage[[0, 7, 10, 12]].any()
    assert np.flatnonzero(found.outliers).tolist() == [4, 10], "the step, and the stripes"


def test_threads_do_not_change_the_result():
    """Frames are independent of each other."""
    series = dynamic(MOVES)
    one, two = (estimate_motion(series, SAGITTAL[0], n_jobs=n) for n in (1, 2))
    np.testing.assert_array_equal(one.matrices, two.matrices)


def eddy(affine, axis, strain):
    """Return what shears and stretches along an axis of the voxels, about the middle."""
    along = affine[:3, axis] / np.linalg.norm(affine[:3, axis])
    matrix = np.eye(4)
    matrix[:3, :3] += np.outer(along, strain)
    matrix[:3, 3] = CENTRE - matrix[:3, :3] @ CENTRE
    return matrix


def test_diffusion_and_eddy_currents():
    """Fluid goes from the brightest to the darkest; shear along the phase encoding is taken up."""
    strains = [(0, 0, 0), (0.01, 0, 0), (0, 0.012, -0.01), (0.008, -0.01, 0.01)]
    moves = [compose(m, eddy(AXIAL[0], 1, s)) for m, s in zip(MOVES, strains, strict=True)]
    levels = [(1, 0), (0.6, 0.3), (0.3, 0.5), (0.1, 0.6)]
    frames = [
        a * scan("b0", AXIAL, m, noise=1, seed=i) + b * scan("dce", AXIAL, m)
        for i, (m, (a, b)) in enumerate(zip(moves, levels, strict=True))
    ]
    series = np.stack(frames, axis=-1)
    bvalues = [0, 300, 600, 1000]
    rigid = misplaced(estimate_diffusion_motion(series, AXIAL[0], bvalues), moves)
    found = misplaced(estimate_diffusion_motion(series, AXIAL[0], bvalues, phase_axis=1), moves)
    assert max(found) < 0.45
    assert np.mean(found) < 0.75 * np.mean(rigid)


def test_averaged_voxels_lie_where_their_signal_is():
    """In voxels of 1 mm, which are averaged to 2 mm, a ramp reads as the position of each point."""
    affine = translation([7, -3, 4]) @ np.diag([1.0, 1, 1, 1])
    ramp = np.broadcast_to(7.0 + np.arange(60)[:, None, None, None], (60, 60, 60, 1))
    blocks = cut_blocks(ramp, affine, np.ones((60, 60, 60)))
    values, _ = blocks.sample(blocks.frames[0], np.eye(4))
    inner = (blocks.points[..., 0] > 17) & (blocks.points[..., 0] < 57)
    np.testing.assert_allclose(values[inner], blocks.points[..., 0][inner], atol=0.01)


@pytest.mark.parametrize("axis", range(3))
def test_eddy_currents_move_along_the_phase_encoding_alone(axis):
    """By an amount that grows along any axis: a millimetre at 50 mm from the centre."""
    phase, along, point = np.array([0.0, 1, 0]), np.eye(3)[axis], np.array([60.0, 70, 80])
    matrix = step_matrix(np.r_[np.zeros(6), along], np.array([10.0, 20, 30]), phase)
    np.testing.assert_allclose(apply(matrix, point) - point, phase, atol=1e-9)


def test_resampling_brings_a_frame_back():
    """Matrices and the grid's affine are used the same way round when the frames are resampled."""
    still, moved = (scan("dce", AXIAL, m) for m in (pose(), MOVES[3]))
    series = np.stack([still, moved], axis=-1)
    back = resample_series(series, AXIAL[0], [np.eye(4), MOVES[3]], n_jobs=2)
    inside = ndimage.binary_erosion(scan("brain", AXIAL) > 0.9, iterations=2)
    before = np.abs(moved - still)[inside].mean()
    assert np.abs(back[..., 1] - still)[inside].mean() < 0.4 * before
    np.testing.assert_array_equal(back[..., 0], still)


def test_what_cannot_be_corrected_is_refused_in_words():
    """No fourth axis, no such reference, too few b-values, nothing in the image."""
    series = dynamic(MOVES[:2])
    with pytest.raises(BadInput, match="must be 4D and hold the reference volume 0"):
        estimate_motion(series[..., 0], np.eye(4))
    with pytest.raises(BadInput, match="volume 2"):
        estimate_motion(series, SAGITTAL[0], reference=2)
    with pytest.raises(BadInput, match="1 b-values for 2 volumes"):
        estimate_diffusion_motion(series, SAGITTAL[0], [0])
    with pytest.raises(CannotAlign, match="only 8 blocks"):
        estimate_motion(np.zeros((8, 8, 8, 3)), np.diag([3.0, 3, 3, 1]))
    with pytest.raises(CannotAlign, match="cover 24 mm, 40 mm are needed"):
        estimate_diffusion_motion(np.zeros((80, 80, 8, 3)), np.diag([3.0, 3, 3, 1]), [0, 500, 800])


def still_shells(noise=6.0):
    """Return a still series: b = 0, then six volumes at b = 1000, noisy and dark as a real one."""
    b0 = scan("b0", AXIAL, noise=noise)
    shell = [
        np.abs(0.1 * scan("b0", AXIAL) + 0.2 * scan("dce", AXIAL, noise=5 * noise, seed=n))
        for n in range(1, 7)
    ]
    return np.stack([b0, *shell], axis=-1), [0, *[1000] * 6]


def test_noise_is_not_motion():
    """Dark volumes of a still head are moved by less than their distance to b = 0 suggests."""
    series, bvalues = still_shells()
    found = estimate_diffusion_motion(series, AXIAL[0], bvalues, phase_axis=1)
    assert max(misplaced(found, [pose()] * 7)) < 0.3
    assert not found.outliers.any()


def test_a_jump_within_a_shell_is_an_outlier():
    """One volume of a shell is 4 mm away; those before and after it are where they were."""
    moves = [pose()] * 4 + [pose((1, 0, 1), (0, 4, 1))] + [pose()] * 2
    frames = [
        scan("b0", AXIAL, m, noise=1, seed=n) * (1 if n == 0 else 0.4) for n, m in enumerate(moves)
    ]
    found = estimate_diffusion_motion(np.stack(frames, axis=-1), AXIAL[0], [0, *[1000] * 6])
    assert max(misplaced(found, moves)) < 0.2
    assert np.flatnonzero(found.outliers).tolist() == [4, 5]


@pytest.mark.parametrize("codes", ["LPI", "SRA", "AIL"])
def test_the_storage_order_changes_nothing(codes):
    """Flipped or permuted axes of the same voxels give the same poses, with eddy currents too."""
    series = dynamic(MOVES[:3], AXIAL)
    order = ornt_transform(io_orientation(AXIAL[0]), axcodes2ornt(codes))
    turned = apply_orientation(series, order)
    affine = AXIAL[0] @ inv_ornt_aff(order, AXIAL[1])
    pairs = [estimate_motion(s, a).matrices for s, a in ((series, AXIAL[0]), (turned, affine))]
    np.testing.assert_allclose(*pairs, atol=1e-4)
    axis = int(order[1, 0])
    b = [0, 500, 1000]
    pairs = [
        estimate_diffusion_motion(s, a, b, phase_axis=k).matrices
        for s, a, k in ((series, AXIAL[0], 1), (turned, affine, axis))
    ]
    np.testing.assert_allclose(*pairs, atol=1e-4)
