"""Veins that pass a lesion at a short distance from its edge."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree

from bidsapp.phantom.template import FloatVolume

RADIUS = (1.5, 2.5)
"""Range of the radius of a vein, mm."""
GAP = (1.0, 3.0)
"""Range of the distance between the edges of the vein and the lesion, mm."""
MOST = 2
"""Maximum number of veins at a lesion."""
ARC = 50.0
"""Half of the angle over which a vein follows the lesion; its ends are straight, degrees."""
END = 12.0
"""Length of either end, mm."""
_STEP = 0.25

Points = NDArray[np.float64]


@dataclass(frozen=True)
class Vein:
    """A vein beside a lesion.

    Attributes
    ----------
    towards, along : (3,) array
        Unit vectors from the centre of the lesion to the vein, and along the vein.
    radius, gap : float, mm
    """

    towards: Points
    along: Points
    radius: float
    gap: float


def draw_veins(rng: np.random.Generator) -> tuple[Vein, ...]:
    """Return one or two random veins on different sides of a lesion."""
    turn = np.linalg.qr(rng.standard_normal((3, 3)))[0].T
    sides = ((turn[0], turn[1]), (-turn[0], turn[2]))[: int(rng.integers(1, MOST + 1))]
    return tuple(Vein(*s, float(rng.uniform(*RADIUS)), float(rng.uniform(*GAP))) for s in sides)


def vein_cover(
    vein: Vein, lesion: FloatVolume, centre: NDArray[np.int64], free: FloatVolume
) -> FloatVolume:
    """Return the coverage by a vein.

    Parameters
    ----------
    vein : Vein
    lesion : (I, J, K) array
        Coverage by the lesion, in voxels of 1 mm.
    centre : (3,) array of int
        Voxel in the lesion.
    free : (I, J, K) array
        Maximum coverage.

    Returns
    -------
    (I, J, K) array
        Zero where the lesion is; a growing lesion therefore displaces the vein.
    """
    inside = lesion >= 0.5
    inside[tuple(centre)] = True
    outside = ndimage.distance_transform_edt(~inside).astype(np.float32)
    line = _centre_line(vein, outside, centre.astype(float))
    voxels = np.argwhere(free > 0)
    depth = vein.radius - cKDTree(line).query(voxels, distance_upper_bound=vein.radius + 1)[0]
    cover = np.zeros_like(free)
    cover[tuple(voxels.T)] = np.clip(depth + 0.5, 0, 1)
    return np.minimum(cover, free)


def _centre_line(vein: Vein, outside: FloatVolume, centre: Points) -> Points:
    """Return dense points of the centre line (N, 3), in voxels."""
    angles = np.deg2rad(np.linspace(-ARC, ARC, 41))
    rays = np.outer(np.cos(angles), vein.towards) + np.outer(np.sin(angles), vein.along)
    reach = np.arange(0, np.linalg.norm(outside.shape), _STEP)
    places = centre[:, None, None] + rays.T[:, :, None] * reach
    # The distance of a voxel outside is measured to a voxel inside, half a voxel below the edge.
    away = ndimage.map_coordinates(outside, places, order=1, mode="nearest") - 0.5
    far = away >= vein.gap + vein.radius
    first = np.where(far.any(axis=1), far.argmax(axis=1), len(reach) - 1)
    arc = centre + rays * reach[first][:, None]
    arc = ndimage.gaussian_filter1d(arc, 2, axis=0, mode="nearest")
    ends = [arc[0] - vein.along * END, *arc, arc[-1] + vein.along * END]
    return _densify(np.array(ends))


def _densify(points: Points) -> Points:
    """Return points of a polygonal line at short intervals."""
    length = np.r_[0, np.linalg.norm(np.diff(points, axis=0), axis=1).cumsum()]
    at = np.arange(0, length[-1], _STEP)
    return np.stack([np.interp(at, length, column) for column in points.T], axis=1)
