"""Regions on a grid: the fraction of each voxel that lies inside contours or a mask."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from matplotlib.path import Path as Polygon
from numpy.typing import ArrayLike, NDArray

from bidsapp.conversion.contours.drawing import Contours, Points, VoxelMask
from bidsapp.errors import BadInput
from bidsapp.imaging.labels import bounding_box, label_fractions
from bidsapp.imaging.transforms import Matrix, apply, compose, invert

Box = tuple[slice, ...]

_SAMPLE = 0.25
"""Distance of samples within a voxel, mm."""
_FEWEST, _MOST = 3, 16
"""Least and largest number of samples along an axis of a voxel."""
_AT_ONCE = 2_000_000
"""Number of samples looked up at once."""
ON_GRID = 0.1
"""Largest distance of a mask from the voxels that it was drawn on, in voxels."""
_ON_SLICE = 0.05
"""Largest distance of contours from the slice that they were drawn on, mm: their coordinates may
be rounded to 0.1 mm."""


@dataclass(frozen=True, eq=False)
class Fractions:
    """The part of a grid that a region reaches.

    Attributes
    ----------
    box : three slices
        Part of the grid.
    values : (x, y, z) array
        Fraction of each voxel of the box inside the region, 0 to 1.
    """

    box: Box
    values: NDArray[np.float32]

    def on(self, shape: Sequence[int]) -> NDArray[np.float32]:
        """Return the fractions on the whole grid."""
        whole = np.zeros(tuple(shape), np.float32)
        whole[self.box] = self.values
        return whole

    @property
    def voxels(self) -> float:
        """Volume of the region in voxels of the grid."""
        return float(self.values.sum(dtype=float))


def rasterise(
    region: Contours | VoxelMask, shape: Sequence[int], affine: ArrayLike, matrix: ArrayLike
) -> Fractions:
    """Return the fraction of each voxel of a grid that lies inside a region.

    Parameters
    ----------
    region : Contours or VoxelMask
    shape : three ints
        Of the grid.
    affine : (4, 4) array
        Its voxels to RAS mm.
    matrix : (4, 4) array
        Points of the grid's space to points of the region's, RAS mm.

    Returns
    -------
    Fractions

    Raises
    ------
    BadInput
        If the region is empty, flat, or extends beyond the grid.

    Notes
    -----
    Contours: the fraction of samples, about 0.25 mm apart, that lie within an odd number of areas
    of their plane. A mask whose voxels are those of the grid is not resampled.

    Examples
    --------
    >>> mask = VoxelMask(np.ones((2, 2, 2), bool), np.eye(4))
    >>> rasterise(mask, (4, 4, 4), np.diag([2, 2, 2, 1]) - np.eye(4, k=3) * 2, np.eye(4)).voxels
    1.0
    """
    grid = np.asarray(affine, float)
    if isinstance(region, Contours):
        if region.is_flat:
            raise BadInput(
                "is drawn in one plane only, which is no slice of the image, so that the distance "
                "of the slices is not known"
            )
        found = _rasterise_contours(region, shape, grid, np.asarray(matrix, float))
    else:
        found = _rasterise_mask(region, shape, grid, np.asarray(matrix, float))
    if not found.values.any():
        raise BadInput("contains no point of the image")
    return found


def lies_on_grid(region: Contours | VoxelMask, shape: Sequence[int], affine: ArrayLike) -> bool:
    """Return whether a region was drawn on a grid: on its voxels, or on its slices.

    Parameters
    ----------
    region : Contours or VoxelMask
        Voxels may cover a part of the grid, and their axes have another order or direction.
    shape : three ints
    affine : (4, 4) array

    Examples
    --------
    >>> part = VoxelMask(np.ones((2, 2, 2), bool), np.diag([-1.0, 1, 1, 1]) + np.eye(4, k=3))
    >>> [lies_on_grid(part, (4, 4, 4), np.diag([s, s, s, 1])) for s in (1, 2)]
    [True, False]
    """
    grid = np.asarray(affine, float)
    if isinstance(region, VoxelMask):
        return _snapped(region, shape, grid) is not None
    # From plane to plane, one voxel coordinate changes, and is a whole number in each.
    axis, distance = slice_axis(region, grid)
    points = np.concatenate(
        [_in_space(region, slab.position, p) for slab in region.slabs for p in slab.polygons]
    )
    places = apply(invert(grid), points)[:, axis]
    inside = (places > -0.5).all() and (places < shape[axis] - 0.5).all()
    apart = np.abs(places - np.rint(places)).max() * distance
    return bool(inside and apart <= _ON_SLICE)


def slice_axis(region: Contours, affine: ArrayLike) -> tuple[int, float]:
    """Return the axis of a grid along the normal of contours, and the distance of slices, mm."""
    steps = np.abs(invert(np.asarray(affine, float))[:3, :3] @ region.axes[2])
    axis = int(np.argmax(steps))
    return axis, float(1 / steps[axis])


def _snapped(region: VoxelMask, shape: Sequence[int], grid: Matrix) -> Matrix | None:
    """Return the matrix from voxels of a mask to voxels of a grid, whole numbers, or None."""
    to_grid = compose(region.affine, invert(grid))
    whole = np.rint(to_grid)
    corners = np.array(list(product(*[(0, n - 1) for n in region.inside.shape])), float)
    apart = np.abs(apply(to_grid, corners) - apply(whole, corners)).max()
    one_to_one = np.array_equal(np.abs(whole[:3, :3]) @ np.ones(3), np.ones(3))
    return whole if apart <= ON_GRID and one_to_one and np.linalg.det(whole[:3, :3]) else None


def _rasterise_mask(
    region: VoxelMask, shape: Sequence[int], grid: Matrix, matrix: Matrix
) -> Fractions:
    """Return a mask on a grid: its own voxels where they coincide, else their fractions."""
    inside = np.argwhere(region.inside)
    if not len(inside):
        raise BadInput("is empty")
    same = np.allclose(matrix, np.eye(4))
    if same and (snapped := _snapped(region, shape, grid)) is not None:
        voxels = np.rint(apply(snapped, inside)).astype(int)
        _check_inside(voxels, shape)
        box = tuple(
            slice(int(a), int(b) + 1) for a, b in zip(voxels.min(0), voxels.max(0), strict=True)
        )
        values = np.zeros([s.stop - s.start for s in box], np.float32)
        values[tuple((voxels - [s.start for s in box]).T)] = 1
        return Fractions(box, values)
    reached = apply(compose(region.affine, invert(matrix), invert(grid)), inside)
    _check_inside(reached, shape)
    labels = region.inside.astype(np.uint8)
    share = label_fractions(labels, region.affine, matrix, shape, grid, [1])[..., 0]
    if not share.any():
        raise BadInput("contains no point of the image")
    box = bounding_box(share > 0)
    return Fractions(box, share[box])


def _rasterise_contours(
    region: Contours, shape: Sequence[int], grid: Matrix, matrix: Matrix
) -> Fractions:
    """Return contours on a grid, by samples within each voxel."""
    corners = np.concatenate(
        [
            _in_space(region, face, polygon)
            for slab in region.slabs
            for polygon in slab.polygons
            for face in (slab.low, slab.high)
        ]
    )
    reached = apply(compose(invert(matrix), invert(grid)), corners)
    _check_inside(reached, shape)
    low = np.maximum(np.floor(reached.min(axis=0)), 0).astype(int)
    high = np.minimum(np.ceil(reached.max(axis=0)) + 1, shape).astype(int)
    box = tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
    to_plane = np.eye(4)
    to_plane[:3] = region.axes @ compose(grid, matrix)[:3]
    steps = np.linalg.norm(grid[:3, :3], axis=0)
    counts = np.clip(np.ceil(steps / _SAMPLE), _FEWEST, _MOST).astype(int)
    offsets = np.array(list(product(*[(np.arange(n) + 0.5) / n - 0.5 for n in counts])))
    values = np.zeros(tuple(high - low), np.float32)
    voxels = np.argwhere(np.ones(values.shape, bool)) + low
    areas = [[[Polygon(p) for p in area] for area in slab.areas] for slab in region.slabs]
    step = max(1, _AT_ONCE // len(offsets))
    flat = values.reshape(-1)
    for i in range(0, len(voxels), step):
        some = voxels[i : i + step]
        points = apply(to_plane, (some[:, None] + offsets).reshape(-1, 3))
        inside = _contains(region, areas, points)
        flat[i : i + step] = inside.reshape(len(some), -1).mean(axis=1)
    return Fractions(box, values)


def _contains(
    region: Contours, areas: Sequence[Sequence[Sequence[Polygon]]], points: Points
) -> NDArray[np.bool_]:
    """Return which points (N, 3), along the axes of the planes, lie inside the contours."""
    inside = np.zeros(len(points), bool)
    for slab, plane in zip(region.slabs, areas, strict=True):
        here = np.flatnonzero((points[:, 2] >= slab.low) & (points[:, 2] < slab.high))
        flat = points[here, :2]
        for area in plane:
            within = np.zeros(len(here), bool)
            for contour in area:
                corners = np.asarray(contour.vertices)
                low, high = corners.min(axis=0), corners.max(axis=0)
                near = np.flatnonzero(((flat >= low) & (flat <= high)).all(axis=1))
                within[near] |= contour.contains_points(flat[near])
            inside[here] ^= within
    return inside


def _in_space(region: Contours, position: float, polygon: Points) -> Points:
    """Return a contour (N, 3), moved to a position along the normal, RAS mm."""
    moved: Points = np.column_stack([polygon, np.full(len(polygon), position)]) @ region.axes
    return moved


def _check_inside(places: NDArray[np.float64] | NDArray[np.int_], shape: Sequence[int]) -> None:
    """Refuse points, in voxels, that lie beyond the outer faces of a grid."""
    beyond = max(float(-places.min()), float((places - np.asarray(shape) + 1).max())) - 0.5
    if beyond > ON_GRID:
        raise BadInput(f"extends beyond the field of view of the image by {beyond:.1f} voxels")
