"""Matrices: the direction, the file on disk, and their laws."""

import numpy as np
import pytest
from heads import pose
from hypothesis import given, settings
from hypothesis import strategies as st
from nitransforms.linear import Affine
from scipy.spatial.transform import Rotation

from bidsapp.errors import BadInput
from bidsapp.imaging.transforms import (
    apply,
    compose,
    decompose,
    invert,
    nearest_rigid,
    read_itk,
    translation,
    write_itk,
)

angles = st.tuples(*[st.floats(-60, 60)] * 3)
shifts = st.tuples(*[st.floats(-300, 300)] * 3)
stretches = st.tuples(*[st.floats(0.8, 1.2)] * 3)


@st.composite
def affines(draw):
    return compose(np.diag([*draw(stretches), 1]), pose(draw(angles), draw(shifts)))


@settings(max_examples=30, deadline=None)
@given(matrix=affines())
def test_itk_file_keeps_the_matrix(matrix, tmp_path_factory):
    """What is written is read back: by us, and by nitransforms as fixed to moving in RAS."""
    path = write_itk(matrix, tmp_path_factory.mktemp("xfm") / "x.txt")
    np.testing.assert_allclose(read_itk(path), matrix, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(
        Affine.from_filename(path, fmt="itk").matrix, matrix, rtol=1e-5, atol=1e-5
    )


def test_itk_file_is_in_lps(tmp_path):
    """The numbers in the file are diag(-1,-1,1,1) M diag(-1,-1,1,1), as ANTs and ITK want them."""
    matrix = compose(np.diag([1.1, 0.9, 1.05, 1]), pose((15, -8, 5), (10, -20, 30)))
    lines = write_itk(matrix, tmp_path / "x.txt").read_text().splitlines()
    fields = dict(line.split(": ", 1) for line in lines if ": " in line)
    parameters = np.array(fields["Parameters"].split(), float)
    centre = np.array(fields["FixedParameters"].split(), float)
    flip = np.diag([-1.0, -1, 1, 1])
    expected = flip @ matrix @ flip
    assert "Affine" in fields["Transform"]
    np.testing.assert_array_equal(centre, 0)
    np.testing.assert_allclose(parameters[:9].reshape(3, 3), expected[:3, :3], atol=1e-5)
    np.testing.assert_allclose(parameters[9:], expected[:3, 3], atol=1e-4)


@given(first=affines(), second=affines())
def test_compose_applies_the_first_matrix_first(first, second):
    """compose(a, b) takes a point through a, then b; inverting turns the order round."""
    point = [3.0, -40.0, 55.0]
    both = compose(first, second)
    np.testing.assert_allclose(apply(both, point), apply(second, apply(first, point)), atol=1e-6)
    np.testing.assert_allclose(invert(both), compose(invert(second), invert(first)), atol=1e-6)


@given(rotation=angles, shift=shifts, scales=stretches)
def test_decompose_finds_what_was_put_together(rotation, shift, scales):
    """Rotation, scales, shears, determinant and the displacement of the centre are recovered."""
    turned = Rotation.from_euler("xyz", rotation, degrees=True)
    shear = np.array([[1, 0.02, -0.01], [0, 1, 0.03], [0, 0, 1]])
    matrix = np.eye(4)
    matrix[:3, :3] = turned.as_matrix() @ np.diag(scales) @ shear
    matrix = compose(translation([-10, 20, 30]), matrix, translation([10, -20, -30]))
    found = decompose(compose(matrix, translation(shift)), [10, -20, -30])
    assert found.rotation_degrees == pytest.approx(np.degrees(turned.magnitude()), abs=1e-5)
    assert found.determinant == pytest.approx(np.prod(scales))
    np.testing.assert_allclose(found.scales, scales)
    np.testing.assert_allclose(found.shears, [0.02, -0.01, 0.03], atol=1e-9)
    np.testing.assert_allclose(found.translation, shift, atol=1e-6)


def test_mirror_image_has_a_negative_determinant():
    """A flip is not taken for a rotation."""
    found = decompose(np.diag([-1.0, 1, 1, 1]))
    assert found.determinant == -1
    assert found.rotation_degrees == 0
    np.testing.assert_array_equal(found.scales, [-1, 1, 1])


@given(rotation=angles, shift=shifts)
def test_nearest_rigid_keeps_a_rigid_matrix(rotation, shift):
    """A rigid matrix is its own nearest; an isotropic scale about the centre is taken off."""
    rigid = pose(rotation, shift)
    centre = np.array([5.0, -20.0, 10.0])
    scaled = compose(translation(-centre), np.diag([1.1, 1.1, 1.1, 1]), translation(centre), rigid)
    np.testing.assert_allclose(nearest_rigid(rigid, centre), rigid, atol=1e-8)
    np.testing.assert_allclose(nearest_rigid(scaled, centre), rigid, atol=1e-8)


@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        (np.eye(3), r"4x4 matrix, not one of shape \(3, 3\)"),
        (np.full((4, 4), np.nan), "finite"),
        (np.ones((4, 4)), "ends with the row 0 0 0 1"),
        (np.diag([1, 1, 0, 1]), "determinant is zero"),
    ],
)
def test_a_matrix_that_is_not_a_transform_is_refused(matrix, message, tmp_path):
    """Nothing else than an invertible affine matrix is inverted, taken apart or written."""
    for use in (invert, decompose, lambda m: write_itk(m, tmp_path / "x.txt")):
        with pytest.raises(BadInput, match=message):
            use(matrix)


@pytest.mark.parametrize("content", [None, "", "not a transform\n", "#Insight Transform File V1.0"])
def test_a_file_without_a_transform_is_named(content, tmp_path):
    """A missing, empty or foreign file is refused by its name."""
    path = tmp_path / "broken_xfm.txt"
    if content is not None:
        path.write_text(content)
    with pytest.raises(BadInput, match=r"broken_xfm\.txt: not one affine ITK transform"):
        read_itk(path)
