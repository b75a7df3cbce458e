"""Geometry of the head outside the brain: skin, air spaces, eyes, arteries and venous sinuses.

All points are in the space of the ICBM152 template (RAS, mm); sizes are typical of adults.
"""

from collections.abc import Callable, Iterable
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float32]

Point = tuple[float, float, float]
Ellipsoid = tuple[Point, Point]
"""Centre and radii; mirrored to the other side if the centre is off the midline."""
Tube = tuple[float, tuple[Point, ...]]
"""Radius and points of the centre line, mirrored likewise."""

Depth = Callable[[Values], Values]
"""Depth of points (3, N) below the surface of a shape, mm."""
_Bounds = tuple[Values, Values]

SCALP = 13.5
"""Distance in mm from the hull of the brain to the skin."""
FACE: Ellipsoid = ((0, 38, -52), (58, 50, 66))
NECK: Ellipsoid = ((0, -28, -100), (58, 64, 90))
NOSE: Ellipsoid = ((0, 78, -54), (15, 18, 24))

EYES: tuple[Ellipsoid, ...] = (((32, 57, -34), (12, 12, 12)),)
AIR: tuple[Ellipsoid, ...] = (
    ((6, 52, -56), (5, 28, 18)),  # nasal cavity
    ((31, 46, -62), (11, 15, 14)),  # maxillary sinus
    ((0, 23, -36), (11, 10, 8)),  # sphenoid sinus
    ((9, 80, -14), (9, 4, 8)),  # frontal sinus
    ((0, 4, -88), (13, 8, 26)),  # pharynx
    ((55, -32, -50), (7, 9, 11)),  # mastoid
)
CAROTID: Tube = (
    3.0,
    (
        (29, -8, -140),
        (30, -11, -72),
        (32, -16, -56),
        (32, -17, -49),
        (13, -17, -49),  # the petrous part runs medially, across sagittal slices
        (11, -12, -42),
        (9, -6, -32),
        (10, 6, -26),
        (11, 8, -20),
        (12, 2, -15),
    ),
)
ARTERIES: tuple[Tube, ...] = (
    CAROTID,
    (1.5, ((12, 2, -15), (18, 2, -15), (26, 5, -13), (37, 4, -9), (42, -6, 0), (44, -20, 10))),
    (1.1, ((12, 2, -15), (3, 14, -8), (2, 32, 2), (2, 38, 12), (2, 28, 26), (2, 5, 32))),
    (1.6, ((0, -18, -50), (0, -11, -38), (0, -9, -28), (0, -14, -16))),
    (1.2, ((0, -14, -16), (10, -22, -12), (20, -38, -6), (12, -66, 0))),
    (1.7, ((0, -18, -50), (8, -24, -62), (16, -32, -80), (16, -30, -140))),
)
VEINS: tuple[Tube, ...] = (
    (3.5, ((0, -104, -2), (22, -99, -18), (48, -82, -30), (60, -56, -34), (46, -40, -50))),
    (3.5, ((46, -40, -50), (38, -28, -62), (34, -18, -90), (34, -14, -140))),
)


def skin_distance(points: Values, hull: Values) -> Values:
    """Return the approximate signed distance to the skin, positive outside.

    Parameters
    ----------
    points : (3, ...) array, mm
    hull : (...) array, mm
        Signed distance of the points to the hull of the brain.

    Returns
    -------
    (...) array, mm

    Examples
    --------
    >>> import numpy as np
    >>> skin_distance(np.array([0, 0, 200.0]), np.array(90.0)) > 0
    np.True_
    """
    shape = _smooth_union(hull - SCALP, ellipsoid_distance(points, FACE), 12)
    shape = _smooth_union(shape, ellipsoid_distance(points, NECK), 16)
    return _smooth_union(shape, ellipsoid_distance(points, NOSE), 8)


def ellipsoid_distance(points: Values, ellipsoid: Ellipsoid) -> Values:
    """Return the first-order signed distance to an ellipsoid, mm, positive outside.

    Examples
    --------
    >>> import numpy as np
    >>> float(ellipsoid_distance(np.array([3.0, 0, 0]), ((0, 0, 0), (2, 2, 2))))
    1.0
    """
    column = (3, *[1] * (points.ndim - 1))
    centre, radii = (np.array(part, np.float32).reshape(column) for part in ellipsoid)
    scaled = (_mirror_points(points, float(centre.flat[0])) - centre) / radii
    radius = np.sqrt((scaled**2).sum(axis=0))
    slope = np.sqrt(((scaled / radii) ** 2).sum(axis=0))
    result: Values = radius * (radius - 1) / np.maximum(slope, 1e-6)
    return result


def _mirror_points(points: Values, side: float) -> Values:
    """Mirror all points to the right side, for paired shapes."""
    return np.concatenate([np.abs(points[:1]), points[1:]]) if side else points


def _smooth_union(a: Values, b: Values, width: float) -> Values:
    blend = np.maximum(width - np.abs(a - b), 0) / width
    result: Values = np.minimum(a, b) - blend**2 * width / 4
    return result


def ellipsoids(points: Values, shapes: Iterable[Ellipsoid]) -> Values:
    """Return the coverage of points (3, N) by ellipsoids, 0 to 1, with soft edges of 1 mm."""
    return _coverage(points, [(_box_of_ellipsoid(s), _ellipsoid_depth(s)) for s in shapes])


def tubes(points: Values, shapes: Iterable[Tube]) -> Values:
    """Return the coverage of points (3, N) by tubes, 0 to 1, with soft edges of 1 mm."""
    parts = []
    for radius, line in shapes:
        for start, end in pairwise(line):
            ends = np.array([start, end], np.float32)
            box = (ends.min(axis=0) - radius - 1, ends.max(axis=0) + radius + 1)
            parts.append((box, _segment_depth(ends, radius)))
    return _coverage(points, parts)


def _box_of_ellipsoid(shape: Ellipsoid) -> _Bounds:
    centre, radii = (np.array(part, np.float32) for part in shape)
    return centre - radii - 1, centre + radii + 1


def _coverage(points: Values, parts: list[tuple[_Bounds, Depth]]) -> Values:
    result = np.zeros(points.shape[1], np.float32)
    lows, highs = (np.stack(ends) for ends in zip(*(box for box, _ in parts), strict=True))
    folded = _mirror_points(points, 1)
    index = _inside(folded, lows.min(axis=0), highs.max(axis=0))
    folded = folded[:, index]
    for (low, high), depth in parts:
        near = _inside(folded, low, high)
        cover = np.clip(depth(folded[:, near]) + 0.5, 0, 1)
        result[index[near]] = np.maximum(result[index[near]], cover)
    return result


def _inside(points: Values, low: Values, high: Values) -> NDArray[np.intp]:
    """Return the indices of points inside a box."""
    within = np.ones(points.shape[1], bool)
    for values, start, end in zip(points, low, high, strict=True):
        within &= (values >= start) & (values <= end)
    return within.nonzero()[0]


def _ellipsoid_depth(shape: Ellipsoid) -> Depth:
    return lambda points: -ellipsoid_distance(points, shape)


def _segment_depth(ends: Values, radius: float) -> Depth:
    along = ends[1] - ends[0]

    def depth(points: Values) -> Values:
        offset = points - ends[0][:, None]
        share = np.clip(along @ offset / (along @ along), 0, 1)
        result: Values = radius - np.linalg.norm(offset - along[:, None] * share, axis=0)
        return result

    return depth
