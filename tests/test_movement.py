"""Registration in words: directions are the patient's, and images are placed by their headers."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from bidsapp.imaging.transforms import invert, write_itk
from bidsapp.reports.participant.movement import describe_transform, resample_panel
from bidsapp.reports.participant.records import Volume

CENTRE = np.array([5.0, -20.0, 30.0])


def words(tmp_path, shift=(0, 0, 0), turn=(0, 0, 0), scale=(1, 1, 1)) -> str:
    """Words for a moving image that is turned about the centre, scaled and then shifted."""
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_rotvec(turn, degrees=True).as_matrix() @ np.diag(scale)
    matrix[:3, 3] = CENTRE + shift - matrix[:3, :3] @ CENTRE
    path = write_itk(invert(matrix), tmp_path / "x.txt")
    return describe_transform(path, CENTRE + np.array(shift, float))


@pytest.mark.parametrize(
    ("axis", "positive", "negative"),
    [(0, "right", "left"), (1, "forward", "back"), (2, "up", "down")],
)
def test_shifts_have_directions(tmp_path, axis, positive, negative):
    """RAS: x to the right, y forward, z up; what moves is the moving image."""
    shift = np.zeros(3)
    shift[axis] = 3.21
    assert words(tmp_path, shift) == f"moved 3.2 mm {positive}"
    assert words(tmp_path, -shift) == f"moved 3.2 mm {negative}"


@pytest.mark.parametrize(
    ("axis", "positive", "negative", "point", "towards"),
    [
        (0, "nose up", "nose down", (0, 1, 0), (0, 0, 1)),
        (1, "tilted right", "tilted left", (0, 0, 1), (1, 0, 0)),
        (2, "turned left", "turned right", (0, 1, 0), (-1, 0, 0)),
    ],
)
def test_turns_have_directions(tmp_path, axis, positive, negative, point, towards):
    """The nose goes up, the top of the head to the right, the nose to the left."""
    turn = np.zeros(3)
    turn[axis] = 4.0
    moved = Rotation.from_rotvec(turn, degrees=True).apply(point)
    assert moved @ towards > 0
    assert words(tmp_path, turn=turn) == f"4.0° {positive}"
    assert words(tmp_path, turn=-turn) == f"4.0° {negative}"


def test_scales_are_stated_and_no_movement_is_not_moved(tmp_path):
    """What cannot be seen is not described."""
    assert words(tmp_path, scale=(1.02, 1, 0.99)) == "scaled by 1.020 × 1.000 × 0.990"
    assert words(tmp_path, (0.01, 0, 0), (0.01, 0, 0), (1.0001, 1, 1)) == "not moved"


def test_an_image_is_cut_where_its_header_puts_it():
    """A point that is bright in an oblique image of other voxels is bright there on the grid."""
    fixed = Volume(np.zeros((20, 22, 24)), np.diag([1.0, 1, 1, 1]))
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("x", 20, degrees=True).as_matrix() * 2
    affine[:3, 3] = [1, 2, -3]
    data = np.zeros((9, 10, 11))
    data[4, 5, 6] = 1
    where = affine[:3, :3] @ [4, 5, 6] + affine[:3, 3]
    cut = (2, round(where[2]))
    plane = resample_panel(Volume(data, affine), fixed, cut, (0, 1)).background
    row, column = np.unravel_index(plane.argmax(), plane.shape)
    assert (19 - column, 21 - row) == (round(where[0]), round(where[1]))
