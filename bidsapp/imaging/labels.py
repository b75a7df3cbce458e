"""Labels on other grids: how much of a voxel each label fills, and which label fills most of it."""

from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from bidsapp.errors import BadInput
from bidsapp.imaging.resample import ImageData
from bidsapp.imaging.transforms import Matrix, apply, invert
from bidsapp.imaging.warps import Mapping, Warp, map_centres, voxel_mapping

Box = tuple[slice, ...]

_PER_VOXEL = 4
"""Smallest number of samples along each axis of a target voxel."""
_PER_SOURCE_VOXEL = 4
"""Smallest number of samples per voxel of the labels."""
_AT_ONCE = 100_000
"""Number of samples looked up at once, few enough for the cache."""


def label_fractions(
    labels: NDArray[Any],
    affine: ArrayLike,
    mapping: ArrayLike | Warp,
    shape: Sequence[int],
    target_affine: ArrayLike,
    wanted: Sequence[int],
) -> ImageData:
    r"""Return the fraction of each voxel of another grid that lies inside each label.

    Parameters
    ----------
    labels : (X, Y, Z) array of int
    affine : (4, 4) array
        Its voxels to RAS mm.
    mapping : (4, 4) array or Warp
        Points of the target to points of the labels, RAS mm.
    shape : three ints
        Of the target grid.
    target_affine : (4, 4) array
        Its voxels to RAS mm.
    wanted : sequence of L ints
        Labels.

    Returns
    -------
    shape + (L,) array
        0 to 1, together at most 1.

    Raises
    ------
    BadInput
        If the labels are not 3D, or a matrix is not affine.

    Notes
    -----
    The weight of label :math:`n` in voxel :math:`v` is the share of the voxel's volume

    .. math:: w_n(v) = \frac{1}{|v|} \int_v [L(x) = n]\, dx

    by the midpoint rule, with at least four samples along each axis of a voxel, of the target and
    of the labels. Each sample has the label of the nearest voxel, and none outside the field of
    view. A lesion thus keeps its volume, whatever the size of the voxels.

    Examples
    --------
    >>> labels = np.array([1, 1, 1, 0, 2, 2]).reshape(6, 1, 1)
    >>> coarse = np.array([[2, 0, 0, 0.5], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    >>> found = label_fractions(labels, np.eye(4), np.eye(4), (3, 1, 1), coarse, [1, 2])
    >>> found[:, 0, 0].tolist()
    [[1.0, 0.0], [0.5, 0.0], [0.0, 1.0]]
    """
    _check(labels)
    to_voxel = voxel_mapping(affine, mapping, target_affine)
    where = map_centres(to_voxel, shape) if isinstance(to_voxel, Warp) else to_voxel
    result = np.zeros((*shape, len(wanted)), np.float32)
    for i, label in enumerate(wanted):
        box, share = _share(labels == label, to_voxel, where, tuple(shape))
        result[..., i][box] = share
    return result


def resample_labels(
    labels: NDArray[Any],
    affine: ArrayLike,
    mapping: ArrayLike | Warp,
    shape: Sequence[int],
    target_affine: ArrayLike,
) -> NDArray[Any]:
    """Resample labels to another grid: each voxel gets the label that fills most of it.

    Parameters
    ----------
    labels : (X, Y, Z) array of int
    affine : (4, 4) array
        Its voxels to RAS mm.
    mapping : (4, 4) array or Warp
        Points of the target to points of the labels, RAS mm.
    shape : three ints
        Of the target grid.
    target_affine : (4, 4) array
        Its voxels to RAS mm.

    Returns
    -------
    array of that shape, of the labels' type
        0 where the background fills at least as much as any label.

    Raises
    ------
    BadInput
        If the labels are not 3D, or a matrix is not affine.

    See Also
    --------
    label_fractions : the fractions that are compared.

    Examples
    --------
    >>> labels = np.array([0, 1, 2], np.uint8).reshape(3, 1, 1)
    >>> resample_labels(labels, np.eye(4), np.eye(4), (5, 1, 1), np.diag([0.7, 1, 1, 1])).ravel()
    array([0, 1, 1, 2, 0], dtype=uint8)
    """
    _check(labels)
    to_voxel = voxel_mapping(affine, mapping, target_affine)
    where = map_centres(to_voxel, shape) if isinstance(to_voxel, Warp) else to_voxel
    result, most = np.zeros(shape, labels.dtype), np.zeros(shape, np.float32)
    left = np.ones(shape, np.float32)
    for label in np.unique(labels[labels != 0]):
        box, share = _share(labels == label, to_voxel, where, tuple(shape))
        more = share > most[box]
        result[box][more] = label
        most[box][more] = share[more]
        left[box] -= share
    # The background competes with the labels: its share is what they leave.
    result[left >= most] = 0
    return result


def bounding_box(inside: NDArray[Any]) -> Box:
    """Return the smallest box that contains a region.

    Parameters
    ----------
    inside : (X, Y, Z) array

    Returns
    -------
    three slices

    Raises
    ------
    BadInput
        If the region is empty.

    Examples
    --------
    >>> [s.start for s in bounding_box(np.eye(4)[:, :, None] * [0, 1])]
    [0, 0, 1]
    """
    found = ndimage.find_objects(np.asarray(inside, bool).astype(np.uint8))
    if not found:
        raise BadInput("the region is empty: it has no bounding box")
    box: Box = found[0]
    return box


def _check(labels: NDArray[Any]) -> None:
    if labels.ndim != 3:
        raise BadInput(f"a label image is 3D, not of shape {labels.shape}")


def _share(
    inside: NDArray[np.bool_], to_voxel: Mapping, where: NDArray[Any], shape: tuple[int, ...]
) -> tuple[Box, ImageData]:
    """Return the part of the target grid that a region reaches, and the region's share in it.

    Only voxels that the region's surface may cross are sampled; the others are in or out.
    """
    # No point of a target voxel is farther from its centre than half the sum of the steps, in
    # voxels of the labels. Hence a voxel is wholly inside where the region eroded by that distance
    # is, and outside where the dilated one is not.
    steps = _steps(where)
    reach = np.floor(np.abs(steps).sum(axis=1) / 2).astype(int) + 1
    region, start = _cut_out(inside, 2 * reach + 1)
    box = target_box(where, region.shape, start, shape)
    size = tuple(s.stop - s.start for s in box)
    if 0 in (*size, *region.shape):
        return box, np.zeros(size, np.float32)
    here = _crop_mapping(where, start, box)
    window = tuple(2 * reach + 1)
    wholly = _lookup_centres(ndimage.minimum_filter(region, window), here, size)
    partly = _lookup_centres(ndimage.maximum_filter(region, window), here, size) & ~wholly
    share = wholly.astype(np.float32)
    voxels = np.argwhere(partly) + [s.start for s in box]
    share[partly] = _sample_share(region, start, to_voxel, voxels, steps)
    return box, share


def _steps(where: NDArray[Any]) -> NDArray[np.float64]:
    """Return the largest steps, (3, 3), in voxels of the labels, along each axis of the target."""
    if where.ndim == 2:
        return np.asarray(where[:3, :3], float)
    steps = np.zeros((3, 3))
    for i in range(3):
        if where.shape[1 + i] > 1:
            steps[:, i] = np.abs(np.diff(where, axis=1 + i)).max(axis=(1, 2, 3))
    return steps


def target_box(
    where: NDArray[Any], source: Sequence[int], start: NDArray[np.int_], shape: Sequence[int]
) -> Box:
    """Return the part of the target grid whose voxel centres may lie in a part of the labels."""
    if where.ndim == 2:
        here = where.copy()
        here[:3, 3] -= start
        return _reached_box(source, here, shape)
    low = start[:, None, None, None] - 0.5
    near = (where >= low) & (where <= low + np.reshape(source, (3, 1, 1, 1)))
    inside = near.all(axis=0)
    return bounding_box(inside) if inside.any() else (slice(0, 0),) * 3


def _crop_mapping(where: NDArray[Any], start: NDArray[np.int_], box: Box) -> NDArray[Any]:
    """Return the mapping of a box of the target to voxels of a part of the labels."""
    if where.ndim > 2:
        return np.asarray(where[(slice(None), *box)] - start[:, None, None, None])
    here = where.copy()
    here[:3, 3] += here[:3, :3] @ [s.start for s in box] - start
    return here


def _cut_out(
    inside: NDArray[np.bool_], margin: NDArray[np.int_]
) -> tuple[NDArray[np.bool_], NDArray[np.int_]]:
    """Return a region's bounding box with an empty margin around it, and its first voxel."""
    if not inside.any():
        return np.zeros((0, 0, 0), bool), np.zeros(3, int)
    box = bounding_box(inside)
    start = np.array([s.start for s in box]) - margin
    return np.pad(inside[box], [(int(m), int(m)) for m in margin]), start


def _reached_box(source: Sequence[int], to_voxel: Matrix, shape: Sequence[int]) -> Box:
    """Return the part of a target grid whose voxel centres may lie in a source grid."""
    # The image of a box under an affine matrix lies within the box around the images of its
    # corners.
    corners = np.array(list(product(*[(-0.5, n - 0.5) for n in source])))
    reached = apply(invert(to_voxel), corners)
    low = np.clip(np.floor(reached.min(axis=0)), 0, shape).astype(int)
    high = np.clip(np.ceil(reached.max(axis=0)) + 1, low, shape).astype(int)
    return tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))


def _lookup_centres(
    region: NDArray[np.bool_], where: NDArray[Any], shape: tuple[int, ...]
) -> NDArray[np.bool_]:
    """Return the value of the nearest voxel at the centre of each target voxel."""
    options: Any = {"order": 0, "mode": "constant", "prefilter": False}
    if where.ndim > 2:
        return np.asarray(ndimage.map_coordinates(region.view(np.uint8), where, **options), bool)
    linear, offset = where[:3, :3], where[:3, 3]
    found = ndimage.affine_transform(region.view(np.uint8), linear, offset, shape, **options)
    return np.asarray(found, bool)


def _sample_share(
    region: NDArray[np.bool_],
    start: NDArray[np.int_],
    to_voxel: Mapping,
    voxels: NDArray[np.intp],
    steps: NDArray[np.float64],
) -> NDArray[np.float32]:
    """Return the region's share of some target voxels, from samples spread over each of them."""
    sizes = np.linalg.norm(steps, axis=0)
    counts = np.maximum(_PER_VOXEL, np.ceil(_PER_SOURCE_VOXEL * sizes)).astype(int)
    # Midpoints of n equal parts of a voxel, relative to its centre.
    places = [(np.arange(n) + 0.5) / n - 0.5 for n in counts]
    offsets = np.array(list(product(*places)))
    share = np.empty(len(voxels), np.float32)
    step = max(1, _AT_ONCE // len(offsets))
    for i in range(0, len(voxels), step):
        # A voxel reaches from -0.5 to 0.5 around its index: with 0.5 added, the floor is the
        # nearest one.
        points = sample_points(to_voxel, voxels[i : i + step], offsets) - start + 0.5
        nearest = np.moveaxis(np.floor(points).astype(np.int32), -1, 0)
        share[i : i + step] = region[tuple(nearest)].mean(axis=1)
    return share


def sample_points(
    to_voxel: Mapping, voxels: NDArray[np.intp], offsets: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the mapped positions of samples of voxels, (voxels, offsets, 3)."""
    if isinstance(to_voxel, Warp):
        return to_voxel(voxels[:, None] + offsets)
    return apply(to_voxel, voxels)[:, None] + offsets @ to_voxel[:3, :3].T
