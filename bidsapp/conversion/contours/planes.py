"""From closed planar contours in space to slabs: the planes, their spacing, and what is missing."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bidsapp.conversion.contours.drawing import Contours, Points, Slab
from bidsapp.conversion.contours.overlap import unite_overlapping
from bidsapp.errors import BadInput

_FLAT = 0.1
"""Largest distance of the points of a contour from its plane, and of contours of one plane, mm."""
_SKIPPED = (1.5, 2.5)
"""Distance of two planes, relative to the usual one, from which one plane is missing between them,
and from which they belong to separate parts of the region."""
_USUAL = 3
"""Number of planes from which their median distance is that at which a region was drawn."""


def find_normal(polygons: Sequence[Points]) -> NDArray[np.float64] | None:
    """Return the common normal of the planes of contours, or None if there is none.

    Parameters
    ----------
    polygons : sequence of (N, 3) array, mm
        The largest contour determines the normal.

    Returns
    -------
    (3,) array or None
        A unit vector whose largest component is positive.

    Examples
    --------
    >>> square = np.array([[0.0, 0, 5], [2, 0, 5], [2, 2, 5], [0, 2, 5]])
    >>> find_normal([square]).tolist()
    [0.0, 0.0, 1.0]
    """
    # Twice the area vector of a closed polygon: half the sum of the cross products of its edges.
    areas = [np.cross(p - p[0], np.roll(p - p[0], -1, axis=0)).sum(axis=0) for p in polygons]
    largest = max(areas, key=np.linalg.norm, default=np.zeros(3))
    length = np.linalg.norm(largest)
    if length < 1e-6:
        return None
    normal: NDArray[np.float64] = largest / length
    normal *= np.sign(normal[np.argmax(np.abs(normal))])
    return normal


def plane_positions(polygons: Sequence[Points], normal: ArrayLike) -> NDArray[np.float64]:
    """Return the positions of planes along their normal, each once, ascending, mm.

    Parameters
    ----------
    polygons : sequence of (N, 3) array, mm
    normal : (3,) array
    """
    found = np.sort([float(np.mean(p @ np.asarray(normal))) for p in polygons])
    starts = np.flatnonzero(np.diff(found, prepend=-np.inf) > _FLAT)
    return np.asarray([group.mean() for group in np.split(found, starts[1:])])


def usual_distance(positions: ArrayLike) -> float:
    """Return the distance at which planes were drawn, in mm; NaN if they are too few to show it.

    Examples
    --------
    >>> usual_distance([0.0, 1.0, 2.0, 4.0])
    1.0
    """
    planes = np.asarray(positions, float)
    return float(np.median(np.diff(planes))) if len(planes) >= _USUAL else float("nan")


def build_contours(
    polygons: Sequence[Points], distance: float = float("nan"), *, exclusive: bool = False
) -> tuple[Contours, tuple[str, ...]]:
    """Return the region that closed planar contours enclose.

    Parameters
    ----------
    polygons : sequence of (N, 3) array, mm
        Contours in RAS; each lies in one of several parallel planes of any orientation.
    distance : float, mm
        Distance of the planes where the region has too few to show it: that of other regions, or of
        the slices of the image.
    exclusive : bool
        Whether contours of a plane exclude each other also where they overlap partly; otherwise
        such contours are united.

    Returns
    -------
    contours : Contours
        Each plane stands for a slab that reaches half-way to the next plane, and half the usual
        distance beyond the first and the last one. One missing plane is filled by its neighbours;
        a wider gap stays open. A single plane of unknown distance has no thickness.
    warnings : tuple of str

    Raises
    ------
    BadInput
        If contours are not planar, enclose no area, or their planes are not parallel.

    Examples
    --------
    >>> square = np.array([[0.0, 0, 0], [2, 0, 0], [2, 2, 0], [0, 2, 0]])
    >>> contours, _ = build_contours([square, square + [0, 0, 1.5], square + [0, 0, 3]])
    >>> [(slab.low, slab.high) for slab in contours.slabs]
    [(-0.75, 0.75), (0.75, 2.25), (2.25, 3.75)]
    """
    normal = find_normal(polygons)
    if normal is None:
        raise BadInput("its contours enclose no area")
    _check_flat(polygons, normal)
    axes = _axes(normal)
    kept, warnings = _without_repeats(polygons)
    positions = plane_positions(kept, normal)
    own = usual_distance(positions)
    apart = own if np.isfinite(own) else distance
    if not np.isfinite(apart) and len(positions) > 1:
        apart = float(np.diff(positions).min())
    if not np.isfinite(apart):
        apart = 0.0  # one plane: the slices of the image may show the distance
    faces, gaps = _faces(positions, apart)
    members: list[list[Points]] = [[] for _ in positions]
    for polygon in kept:
        index = int(np.argmin(np.abs(positions - float(np.mean(polygon @ normal)))))
        members[index].append(polygon @ axes[:2].T)
    areas, united = _areas(members, exclusive=exclusive)
    slabs = tuple(
        Slab(float(z), low, high, inside)
        for z, (low, high), inside in zip(positions, faces, areas, strict=True)
    )
    return Contours(axes, slabs), (*warnings, *united, *gaps)


def thicken(contours: Contours, distance: float) -> Contours:
    """Return contours in one plane with the thickness of a slice, mm."""
    (slab,) = contours.slabs
    low, high = slab.position - distance / 2, slab.position + distance / 2
    return Contours(contours.axes, (Slab(slab.position, low, high, slab.areas),))


def _check_flat(polygons: Sequence[Points], normal: NDArray[np.float64]) -> None:
    """Refuse contours that do not lie in planes with this normal."""
    worst = max(float(np.ptp(polygon @ normal)) for polygon in polygons)
    if worst > 2 * _FLAT:
        raise BadInput(
            f"its contours do not lie in parallel planes (one extends {worst:.2g} mm along the "
            "normal of the others); export them in one orientation, or as a mask"
        )


def _axes(normal: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return two directions in a plane, and its normal, as rows."""
    least = np.eye(3)[np.argmin(np.abs(normal))]
    first = np.cross(normal, least)
    first /= np.linalg.norm(first)
    return np.stack([first, np.cross(normal, first), normal])


def _without_repeats(polygons: Sequence[Points]) -> tuple[list[Points], list[str]]:
    """Return contours without those stored twice, which would cancel each other."""
    different = {_edges(polygon): polygon for polygon in reversed(polygons)}
    repeats = len(polygons) - len(different)
    text = f"{repeats} of its contours are stored twice: used once"
    return list(different.values())[::-1], [text] if repeats else []


def _edges(polygon: Points) -> bytes:
    """Return what a closed contour is apart from its first point and its direction: its edges."""
    points = np.round(polygon, 3) + 0.0  # no negative zero
    edges = np.stack([points, np.roll(points, -1, axis=0)], axis=1)
    edges = edges[(edges[:, 0] != edges[:, 1]).any(axis=1)]
    return b"".join(sorted(b"".join(sorted(point.tobytes() for point in edge)) for edge in edges))


def _areas(
    members: Sequence[Sequence[Points]], *, exclusive: bool
) -> tuple[list[tuple[tuple[Points, ...], ...]], list[str]]:
    """Return the areas of each plane, and a warning if contours that overlap are united."""
    if exclusive:
        return [tuple((polygon,) for polygon in inside) for inside in members], []
    found = [unite_overlapping(inside) for inside in members]
    overlaps = [area for _, area in found if area > 0]
    text = (
        f"contours overlap in {len(overlaps)} of its planes (by {sum(overlaps):.3g} mm2 in all) "
        "without one lying within the other: united"
    )
    return [areas for areas, _ in found], [text] if overlaps else []


def _faces(
    positions: NDArray[np.float64], apart: float
) -> tuple[list[tuple[float, float]], list[str]]:
    """Return both faces of the slab of each plane, and a warning for each gap between planes."""
    low, high = positions - apart / 2, positions + apart / 2
    warnings = []
    for index, (here, there) in enumerate(pairwise(positions)):
        gap = there - here
        if gap < _SKIPPED[1] * apart:
            low[index + 1] = high[index] = (here + there) / 2
        if gap >= _SKIPPED[1] * apart:
            warnings.append(
                f"a gap of {gap:.3g} mm between planes {apart:.3g} mm apart: taken for separate "
                "parts, and left open"
            )
        elif gap > _SKIPPED[0] * apart:
            warnings.append(
                f"a plane is missing between two that are {gap:.3g} mm apart (others: {apart:.3g} "
                "mm): filled by its neighbours"
            )
    return [(float(a), float(b)) for a, b in zip(low, high, strict=True)], warnings
