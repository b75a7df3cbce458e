"""Contours of one plane that overlap although neither lies within the other."""

from collections.abc import Sequence
from itertools import combinations

import numpy as np
from matplotlib.path import Path as Polygon
from numpy.typing import NDArray

from bidsapp.conversion.contours.drawing import Points

_SAMPLES = 64
"""Number of samples along each axis of the box round a contour."""
_OUTSIDE = 0.1
"""Largest part of a contour outside another one that it lies within: lines are not exact."""


def unite_overlapping(
    polygons: Sequence[Points],
) -> tuple[tuple[tuple[Points, ...], ...], float]:
    """Return contours in groups whose members overlap partly, and the area of these overlaps.

    Parameters
    ----------
    polygons : sequence of (N, 2) array, mm
        Closed contours of one plane. Contours that are nested or disjoint are groups of their own.

    Returns
    -------
    groups : tuple of tuple of array
    area : float, mm2

    Examples
    --------
    >>> square = np.array([[0.0, 0], [4, 0], [4, 4], [0, 4]])
    >>> groups, area = unite_overlapping([square, square / 2 + 1, square + [3, 0]])
    >>> [len(group) for group in groups], round(area, 1)
    ([2, 1], 4.0)
    """
    group = list(range(len(polygons)))
    total = 0.0
    for i, j in combinations(range(len(polygons)), 2):
        if area := _partial_overlap(polygons[i], polygons[j]):
            total += area
            group = [group[i] if one == group[j] else one for one in group]
    members: dict[int, list[Points]] = {}
    for one, polygon in zip(group, polygons, strict=True):
        members.setdefault(one, []).append(polygon)
    return tuple(map(tuple, members.values())), total


def _partial_overlap(one: Points, other: Points) -> float:
    """Return the area that two contours share if neither lies within the other, else 0."""
    if (one.max(0) <= other.min(0)).any() or (other.max(0) <= one.min(0)).any():
        return 0.0
    (size, shared, alone), (other_size, _, other_alone) = _areas(one, other), _areas(other, one)
    if size > other_size:
        size, alone, other_alone = other_size, other_alone, alone
    nested = alone <= _OUTSIDE * min(size, other_alone)
    return 0.0 if nested else shared


def _areas(polygon: Points, other: Points) -> tuple[float, float, float]:
    """Return the area of a contour, and its parts inside and outside another one, by samples."""
    low, high = polygon.min(axis=0), polygon.max(axis=0)
    steps = (np.arange(_SAMPLES) + 0.5) / _SAMPLES
    points = np.stack(np.meshgrid(steps, steps), axis=-1).reshape(-1, 2) * (high - low) + low
    inside: NDArray[np.bool_] = Polygon(polygon).contains_points(points)
    shared = int(np.count_nonzero(Polygon(other).contains_points(points[inside])))
    cell, count = float(np.prod(high - low)) / len(points), int(np.count_nonzero(inside))
    return count * cell, shared * cell, (count - shared) * cell
