"""Diameters of lesions: ellipsoids and rims within a voxel, in the plane that was acquired."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from bidsapp.errors import BadInput
from bidsapp.lesions.diameters import lesion_diameters, slice_axis

ISOTROPIC = np.eye(4)
THICK = np.diag([1.0, 1.0, 3.0, 1.0])


def affine_of(size, turn=None):
    """Voxels of a size in mm, with the grid turned in space."""
    affine = np.diag([*size, 1.0])
    if turn is not None:
        affine[:3, :3] = turn @ affine[:3, :3]
    affine[:3, 3] = [-30, 12, 40]
    return affine


def ellipsoid(semiaxes, turn, size, shift=(0, 0, 0)):
    """Voxels whose centre is in an ellipsoid that is turned on the grid."""
    size = np.asarray(size, float)
    shape = np.ceil((2 * np.max(semiaxes) + 4) / size).astype(int) + 1
    points = np.moveaxis(np.indices(shape), 0, -1) * size - (
        shape / 2 * size + np.multiply(shift, size)
    )
    return (np.square(points @ turn / semiaxes).sum(axis=-1) <= 1).astype(np.int16)


def section(semiaxes, turn):
    """Longest diameter of the sections of an ellipsoid across the third axis, and across it."""
    form = (turn @ np.diag(1 / np.square(semiaxes)) @ turn.T)[:2, :2]
    return 2 / np.sqrt(np.linalg.eigvalsh(form))


def cases(seed, count, size, least=4.0):
    """Random ellipsoids, every third one a sphere."""
    rng = np.random.default_rng(seed)
    for index in range(count):
        semiaxes = rng.uniform(least, 12, 3)
        semiaxes = semiaxes if index % 3 else np.full(3, semiaxes[0])
        turn = Rotation.random(random_state=rng).as_matrix()
        yield semiaxes, turn, ellipsoid(semiaxes, turn, size, rng.uniform(-0.5, 0.5, 3))


@pytest.mark.parametrize("size", [(1, 1, 1), (0.7, 0.7, 0.7), (0.9, 0.9, 1.8)])
def test_ellipsoids_are_measured_within_a_voxel_and_without_bias(size):
    """In any pose on the grid, and at any place between the voxels.

    Where a section is nearly round, its longest direction is uncertain, and with it the
    perpendicular: within a voxel and a quarter.
    """
    errors = []
    for semiaxes, turn, labels in cases(1, 40, size):
        found = lesion_diameters(labels, 1, affine_of(size))
        true = section(semiaxes, turn)
        errors.append((np.array([found.longest, found.perpendicular]) - true) / size[0])
    longest, perpendicular = np.abs(errors).max(axis=0)
    assert longest < 1
    assert perpendicular < 1.25
    assert np.abs(np.mean(errors, axis=0)).max() < 0.2


def test_thick_slices_miss_no_more_than_their_place_explains():
    """The equator of a lesion may lie between two slices: the error grows with their thickness."""
    errors = []
    for semiaxes, turn, labels in cases(2, 40, (1, 1, 3), least=6.0):
        found = lesion_diameters(labels, 1, THICK)
        errors.append(found.longest - section(semiaxes, turn)[0])
    assert -1.3 < min(errors) < max(errors) < 1
    assert abs(np.mean(errors)) < 0.25


def test_a_rim_is_measured_as_the_lesion_that_it_encloses():
    """Necrosis within a lesion is part of its diameter."""
    turn = Rotation.from_euler("z", 30, degrees=True).as_matrix()
    outer = ellipsoid([10, 7, 8], turn, (1, 1, 1))
    core = np.zeros_like(outer)
    inner = ellipsoid([6, 4, 5], turn, (1, 1, 1))
    start = [(a - b) // 2 for a, b in zip(outer.shape, inner.shape, strict=True)]
    place = tuple(slice(s, s + n) for s, n in zip(start, inner.shape, strict=True))
    core[place] = inner
    assert 0 < core.sum() < outer.sum()
    assert lesion_diameters(outer - core, 1, ISOTROPIC) == lesion_diameters(outer, 1, ISOTROPIC)


@settings(max_examples=30, deadline=None)
@given(angles=st.tuples(*[st.floats(-180, 180)] * 3), seed=st.integers(0, 1000))
def test_diameters_do_not_depend_on_where_the_grid_lies_in_space(angles, seed):
    """An oblique affine with thick slices gives what a straight one does."""
    _, _, labels = next(cases(seed, 1, (1, 1, 3)))
    turn = Rotation.from_euler("xyz", angles, degrees=True).as_matrix()
    straight = lesion_diameters(labels, 1, affine_of((1, 1, 3)))
    oblique = lesion_diameters(labels, 1, affine_of((1, 1, 3), turn))
    np.testing.assert_allclose(oblique.longest, straight.longest)
    np.testing.assert_allclose(oblique.perpendicular, straight.perpendicular)
    assert (oblique.n_slices, oblique.slice_index) == (straight.n_slices, straight.slice_index)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 1000), scale=st.floats(0.2, 5))
def test_diameters_scale_with_the_voxels(seed, scale):
    """And the perpendicular diameter never exceeds the longest."""
    _, _, labels = next(cases(seed, 1, (1, 1, 1)))
    one = lesion_diameters(labels, 1, ISOTROPIC)
    other = lesion_diameters(labels, 1, affine_of([scale] * 3))
    np.testing.assert_allclose(other.longest, scale * one.longest)
    np.testing.assert_allclose(other.perpendicular, scale * one.perpendicular)
    assert 0 < one.perpendicular <= one.longest


def test_slices_are_along_the_longest_voxel_else_axial():
    """Thick coronal slices are read as acquired, a nearly isotropic sagittal series axially."""
    sagittal = np.array([[0, 0, 1.2, 0], [1.0, 0, 0, 0], [0, 1.0, 0, 0], [0, 0, 0, 1]])
    assert slice_axis(affine_of((0.5, 4, 0.5))) == 1
    assert slice_axis(sagittal) == 1
    tilted = Rotation.from_euler("x", 20, degrees=True).as_matrix()
    assert slice_axis(affine_of((1, 1, 1), tilted)) == 2


def test_the_acquired_plane_decides_the_diameter():
    """A cigar along the third axis is short in axial slices and long in thick coronal ones."""
    labels = np.zeros((20, 20, 20), np.int8)
    labels[8:12, 8:12, 2:18] = 1
    assert lesion_diameters(labels, 1, ISOTROPIC).longest < 6
    assert lesion_diameters(labels, 1, affine_of((1, 2, 1))).longest > 15
    assert lesion_diameters(labels, 1, affine_of((1, 2, 1))).n_slices == 4


def test_parts_that_do_not_touch_are_not_measured_across_the_gap():
    """A stray voxel far from a lesion does not lengthen it."""
    labels = np.zeros((60, 20, 3), np.int8)
    labels[5:15, 5:15, 1] = 1
    whole = lesion_diameters(labels, 1, THICK)
    labels[55, 10, 1] = 1
    assert lesion_diameters(labels, 1, THICK) == whole


def test_a_lesion_without_voxels_has_no_diameter_and_a_single_voxel_has_half_a_voxel():
    labels = np.zeros((5, 5, 5), np.int8)
    labels[2, 2, 2] = 3
    gone, small = (lesion_diameters(labels, n, ISOTROPIC) for n in (1, 3))
    assert (gone.longest, gone.perpendicular, gone.n_slices, gone.slice_index) == (0, 0, 0, -1)
    assert (small.longest, small.perpendicular, small.n_slices, small.slice_index) == (
        0.5,
        0.5,
        1,
        2,
    )


def test_unusable_images_are_refused():
    with pytest.raises(BadInput, match="give a three-dimensional image"):
        lesion_diameters(np.ones((3, 3)), 1, ISOTROPIC)
    with pytest.raises(BadInput, match="no three independent axes"):
        lesion_diameters(np.ones((3, 3, 3)), 1, np.zeros((4, 4)))
