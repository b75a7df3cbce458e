"""The errors of a reader who draws lesions: outer edges that are displaced smoothly."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree

from bidsapp.phantom.anatomy import Anatomy, TissuePart, gaussian_field
from bidsapp.phantom.lesions import SimulatedLesion
from bidsapp.phantom.template import FloatVolume

CORRELATION = 8.0
"""Distance at which the correlation of the displacement has decreased to 1/e, mm."""
OFFSET = 0.5
"""Standard deviation of the reader's offset, relative to that of the displacement."""
DEEPEST = 0.4
"""Greatest displacement inwards, relative to the depth of the lesion, so that none vanishes."""
_NEAR = 1.5
"""Distance from an edge, mm, up to which the edge is taken as a plane."""


@dataclass(frozen=True)
class Reader:
    """How a reader draws in one session.

    Attributes
    ----------
    spread : float, mm
        Standard deviation of the displacement along an edge.
    offset : float, mm
        Displacement of all edges outwards.
    """

    spread: float
    offset: float


def draw_reader(spread: float, rng: np.random.Generator) -> Reader:
    """Return a reader with a random offset."""
    return Reader(spread, float(rng.normal(0, OFFSET * spread)))


def redraw_lesions(
    anatomy: Anatomy,
    lesions: Mapping[int, SimulatedLesion],
    reader: Reader,
    rng: np.random.Generator,
) -> dict[int, SimulatedLesion]:
    """Return the lesions as a reader sees them, with displaced outer edges.

    Parameters
    ----------
    anatomy : Anatomy
    lesions : mapping of int to SimulatedLesion
    reader : Reader
    rng : Generator

    Returns
    -------
    dict of int to SimulatedLesion
        With another `rim` and `core`; the core ends where the lesion does, and no lesion extends
        into another one. Volumes and other parts are the true ones.
    """
    taken = np.zeros(int(np.prod(anatomy.shape)), np.float32)
    for lesion in lesions.values():
        for part in (lesion.rim, lesion.core):
            taken[part.index] += part.fraction
    taken = taken.reshape(anatomy.shape)
    return {n: _redraw(anatomy, lesion, reader, taken, rng) for n, lesion in lesions.items()}


def _redraw(
    anatomy: Anatomy,
    lesion: SimulatedLesion,
    reader: Reader,
    taken: FloatVolume,
    rng: np.random.Generator,
) -> SimulatedLesion:
    margin = int(np.ceil(4 * reader.spread + abs(reader.offset))) + 2
    index = np.concatenate([lesion.rim.index, lesion.core.index])
    voxels = np.array(np.unravel_index(index, anatomy.shape))
    low = np.maximum(voxels.min(axis=1) - margin, 0)
    high = np.minimum(voxels.max(axis=1) + margin + 1, anatomy.shape)
    box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    core, whole = (np.zeros(high - low, np.float32) for _ in range(2))
    for part, volumes in ((lesion.rim, (whole,)), (lesion.core, (whole, core))):
        places = tuple(np.array(np.unravel_index(part.index, anatomy.shape)) - low[:, None])
        for volume in volumes:
            volume[places] += part.fraction
    field = reader.spread * gaussian_field(whole.shape, CORRELATION, rng) + reader.offset
    drawn = displace_edge(whole, field) * np.clip(1 - (taken[box] - whole), 0, 1)
    kept = np.minimum(core, drawn)
    return replace(
        lesion,
        rim=_as_part(drawn - kept, low, anatomy.shape),
        core=_as_part(kept, low, anatomy.shape),
    )


def displace_edge(cover: FloatVolume, displacement: FloatVolume) -> FloatVolume:
    """Return the coverage by a shape whose edge is displaced outwards by a smooth field.

    Parameters
    ----------
    cover : (I, J, K) array
        Coverage by the shape, in voxels of 1 mm.
    displacement : (I, J, K) array, mm
        Negative inwards, where it is limited to `DEEPEST` of the depth of the shape.

    Returns
    -------
    (I, J, K) array

    Examples
    --------
    >>> import numpy as np
    >>> line = np.zeros((9, 1, 1), np.float32)
    >>> line[3:6] = 1
    >>> displace_edge(line, np.full(line.shape, 1.0, np.float32)).ravel().tolist()
    [0.0, 0.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.0, 0.0]
    """
    distance = edge_distance(cover)
    limited = np.maximum(displacement, DEEPEST * float(distance.min()))
    result: FloatVolume = np.clip(limited - distance + 0.5, 0, 1).astype(np.float32)
    return result


def edge_distance(cover: FloatVolume) -> FloatVolume:
    """Return the signed distance to the edge of a shape in mm, negative inside.

    The edge is at half coverage, interpolated linearly between the centres of voxels of 1 mm. Near
    it, the distance is that to the tangent plane at the nearest of the interpolated points.
    """
    level = min(0.5, float(cover.max()) / 2)
    edge = _edge_points(cover, level)
    slope = np.stack(
        [ndimage.gaussian_filter(cover, 1, order=np.eye(3, dtype=int)[axis]) for axis in range(3)]
    )
    normal = -np.stack([ndimage.map_coordinates(s, edge.T, order=1) for s in slope], axis=1)
    normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-9)
    voxels = np.argwhere(np.ones(cover.shape, bool))
    away, nearest = cKDTree(edge).query(voxels)
    plane = ((voxels - edge[nearest]) * normal[nearest]).sum(axis=1)
    sign = np.where(cover.ravel() > level, -1, 1)
    signed = np.where(away < _NEAR, plane, sign * away)
    return signed.reshape(cover.shape).astype(np.float32)


def _edge_points(cover: FloatVolume, level: float) -> NDArray[np.float64]:
    """Return the points (N, 3) at which lines between neighbouring voxels cross a level."""
    points = []
    for axis in range(3):
        length = cover.shape[axis]
        one, other = (np.take(cover, range(*ends), axis) for ends in ((length - 1,), (1, length)))
        crossing = (one > level) != (other > level)
        found = np.argwhere(crossing).astype(np.float64)
        found[:, axis] += (level - one[crossing]) / (other[crossing] - one[crossing])
        points.append(found)
    return np.concatenate(points)


def _as_part(cover: FloatVolume, low: NDArray[np.int64], shape: tuple[int, ...]) -> TissuePart:
    some = np.argwhere(cover > 0)
    index = np.ravel_multi_index(tuple((some + low).T), shape)
    return TissuePart(index.astype(np.int32), cover[tuple(some.T)])
