"""Motion parameters: their axes, units and the framewise displacement."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from bidsapp.errors import BadInput
from bidsapp.imaging.motion.parameters import (
    framewise_displacement,
    read_volreg,
    rigid_parameters,
)


def test_one_degree_at_50_mm():
    """Power's displacement: translations add up, a rotation counts as an arc of 50 mm."""
    motion = np.zeros((4, 6))
    motion[1:, 0] = 1
    motion[2:, 1] = -2
    motion[3:, 5] = np.radians(1)
    expected = [np.nan, 1, 2, 50 * np.pi / 180]
    np.testing.assert_allclose(framewise_displacement(motion), expected)


@given(offset=st.lists(st.floats(-5, 5), min_size=6, max_size=6), n=st.integers(0, 5))
def test_staying_somewhere_is_not_moving(offset, n):
    """A constant offset from the reference is no motion; the first volume has none to report."""
    found = framewise_displacement(np.tile(offset, (n, 1)))
    assert len(found) == n
    np.testing.assert_array_equal(found[1:], 0)
    assert np.isnan(found[:1]).all()


@pytest.mark.parametrize("content", ["1 2 3\n", "a b c d e f\n", "1 2 3 4 5 nan\n"])
def test_a_broken_file_is_named(content, tmp_path):
    """Fewer columns, words or NaN are refused by the file's name."""
    path = tmp_path / "motion.1D"
    path.write_text(content)
    with pytest.raises(BadInput, match=r"motion\.1D: .*motion parameters"):
        read_volreg(path)


def test_a_table_of_the_wrong_width_is_refused():
    """Framewise displacement needs all six parameters."""
    with pytest.raises(BadInput, match=r"six parameters per volume, not .* \(3, 5\)"):
        framewise_displacement(np.zeros((3, 5)))


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_eddy_currents_are_not_taken_for_rotation(axis):
    """Shear and stretch along the phase encoding, on top of a rotation, leave its angles alone."""
    phase = np.eye(3)[axis]
    turned = np.eye(4)
    turned[:3, :3] = Rotation.from_euler("xyz", [0.02, -0.01, 0.03]).as_matrix()
    bent = turned.copy()
    bent[:3, :3] += np.outer(phase, [0.03, 0.02, -0.03])
    rigid, eddy = rigid_parameters([turned, bent], np.zeros(3), phase)
    np.testing.assert_allclose(rigid[3:], [0.02, -0.01, 0.03], atol=1e-12)
    np.testing.assert_allclose(eddy, rigid, atol=1e-12)
    nearest = rigid_parameters([bent], np.zeros(3))[0]
    assert np.abs(nearest - rigid)[3:].max() > 0.008
