"""Resampling of images to other grids, in one interpolation."""

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from bidsapp.errors import BadInput
from bidsapp.imaging.transforms import Matrix, compose, invert
from bidsapp.imaging.warps import Warp, map_centres, voxel_mapping

ImageData = NDArray[np.float32]
Where = NDArray[Any]
"""A (4, 4) matrix from voxels of the target to those of an image, or (3, ...) their positions."""

_LEAST_WEIGHT = 0.5
"""Weight of valid voxels in the linear interpolation below which a voxel has no value."""


def resample(
    data: NDArray[Any],
    affine: ArrayLike,
    mapping: ArrayLike | Warp,
    shape: Sequence[int],
    target_affine: ArrayLike,
    *,
    order: int = 1,
    cval: float = np.nan,
) -> ImageData:
    """Resample an image to another grid; missing values stay missing.

    Parameters
    ----------
    data : (X, Y, Z) or (X, Y, Z, N) array
        NaN or infinite where there is no value.
    affine : (4, 4) array
        Its voxels to RAS mm.
    mapping : (4, 4) array or Warp
        Points of the target to points of the image, RAS mm.
    shape : three ints
        Of the target grid.
    target_affine : (4, 4) array
        Its voxels to RAS mm.
    order : int
        Of the spline: 1 is linear, 3 is cubic.
    cval : float
        Value where less than half of the weight of the linear interpolation falls on valid voxels
        inside the field of view.

    Returns
    -------
    shape or shape + (N,) array

    Raises
    ------
    BadInput
        If the image is neither 3D nor 4D, or a matrix is not affine.

    Notes
    -----
    Neither zero nor NaN leaks from missing voxels into their neighbours: linear interpolation is
    over the valid voxels alone; for other splines the nearest valid one fills a missing voxel. The
    image is not smoothed before it is resampled to a coarser grid.

    Examples
    --------
    >>> line = np.arange(4.0).reshape(4, 1, 1)
    >>> shift = np.array([[1, 0, 0, 0.5], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    >>> resample(line, np.eye(4), shift, (4, 1, 1), np.eye(4)).ravel().tolist()
    [0.5, 1.5, 2.5, 3.0]
    """
    if data.ndim not in (3, 4):
        raise BadInput(f"resampling takes a 3D or 4D image, not one of shape {data.shape}")
    volumes = [data] if data.ndim == 3 else list(np.moveaxis(data, 3, 0))
    grid = (affine, mapping, shape, target_affine)
    found = resample_each(volumes, *grid, order=order, cval=cval)
    return next(found) if data.ndim == 3 else np.stack(list(found), axis=-1)


def resample_each(
    volumes: Iterable[NDArray[Any]],
    affine: ArrayLike,
    mapping: ArrayLike | Warp,
    shape: Sequence[int],
    target_affine: ArrayLike,
    *,
    order: int = 1,
    cval: float = np.nan,
) -> Iterator[ImageData]:
    """Resample several 3D images of one grid, such as the maps of a fit, quicker than one by one.

    The parameters are those of `resample`.

    Examples
    --------
    >>> lines = [np.arange(3.0).reshape(3, 1, 1), np.ones((3, 1, 1))]
    >>> shift = np.array([[1, 0, 0, 0.5], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    >>> [x.ravel().tolist() for x in resample_each(lines, np.eye(4), shift, (2, 1, 1), np.eye(4))]
    [[0.5, 1.5], [1.0, 1.0]]
    """
    to_voxel = voxel_mapping(affine, mapping, target_affine)
    grid = tuple(shape)
    where = map_centres(to_voxel, grid) if isinstance(to_voxel, Warp) else to_voxel
    reached: _Reached | None = None
    for volume in volumes:
        values = np.asarray(volume, np.float32)
        valid = np.isfinite(values)
        # Where one image has values, so have most others: its positions are used for them, too.
        if reached is None or (valid & ~reached.valid).any():
            reached = _reach(valid, where, grid)
        yield _resample_volume(values, valid, reached, grid, order, cval)


def resample_series(
    series: NDArray[Any],
    affine: ArrayLike,
    matrices: ArrayLike,
    *,
    head: NDArray[np.bool_] | None = None,
    n_jobs: int = 1,
) -> ImageData:
    """Resample each volume of a series to the pose of the reference, in one interpolation.

    Parameters
    ----------
    series : (X, Y, Z, N) array
    affine : (4, 4) array
        Its voxels to RAS mm.
    matrices : (N, 4, 4) array
        Points of the reference to points of the volumes, mm.
    head : (X, Y, Z) array of bool, optional
        Where the interpolation is cubic, in the pose of the reference; by default everywhere.
        Elsewhere each voxel takes the value of the nearest one, which is quicker, and keeps the
        noise of air.
    n_jobs : int
        Threads.

    Returns
    -------
    (X, Y, Z, N) array
        NaN outside a volume's field of view.

    Notes
    -----
    The interpolation is cubic. Linear interpolation smooths a volume the more, the farther it has
    moved: with slices of 8 mm it lowers a lesion's Ktrans by up to 5 %, cubic splines by about 1 %.

    Examples
    --------
    >>> still = np.arange(8.0).reshape(2, 2, 1, 2)
    >>> bool(np.allclose(resample_series(still, np.eye(4), [np.eye(4)] * 2), still))
    True
    """
    data, shape = np.asarray(series), series.shape[:3]
    result = np.empty(data.shape, np.float32)
    inside = np.argwhere(np.ones(shape, bool) if head is None else head).T

    def work(n: int, matrix: Matrix) -> None:
        # A volume that has not moved keeps its values: no interpolation, no smoothing.
        if np.allclose(matrix, np.eye(4), atol=1e-9):
            result[..., n] = data[..., n]
            return
        volume = np.ascontiguousarray(data[..., n], np.float32)
        if np.isfinite(volume).all():
            to_voxel = compose(affine, matrix, invert(affine))
            result[..., n] = _resample_head(volume, to_voxel, inside)
        else:
            result[..., n] = resample(volume, affine, matrix, shape, affine, order=3)

    with ThreadPoolExecutor(n_jobs) as pool:
        list(pool.map(work, range(data.shape[3]), np.asarray(matrices, float)))
    return result


def _resample_head(volume: ImageData, to_voxel: Matrix, head: NDArray[np.int64]) -> ImageData:
    """Interpolate the voxels (3, M) of the head by cubic splines, others by the nearest one."""
    linear, offset = to_voxel[:3, :3], to_voxel[:3, 3]
    options: Any = {"order": 0, "mode": "nearest"}
    result: ImageData = ndimage.affine_transform(volume, linear, offset, **options)
    where = linear @ head + offset[:, None]
    result[tuple(head)] = ndimage.map_coordinates(volume, where, order=3, mode="nearest")
    result[_weight_inside(to_voxel, volume.shape) < _LEAST_WEIGHT] = np.nan
    return result


def _weight_inside(to_voxel: Matrix, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Return the weight of voxels inside the field of view in the linear interpolation."""
    weight = np.ones(shape, np.float32)
    grid = np.ogrid[tuple(slice(n) for n in shape)]
    for axis, count in enumerate(shape):
        along = sum(to_voxel[axis, i] * grid[i] for i in range(3)) + to_voxel[axis, 3]
        weight *= np.clip(np.minimum(along + 1, count - along), 0, 1)
    return weight


@dataclass(frozen=True)
class _Reached:
    """The voxels of a target grid to which valid voxels contribute at least half.

    Attributes
    ----------
    valid : (X, Y, Z) array of bool
        The valid voxels of an image.
    voxels : (3, M) array of int
    points : (3, M) array
        Their positions in voxels of the image.
    weight : (M,) array
        Weight of valid voxels in the linear interpolation.
    """

    valid: NDArray[np.bool_]
    voxels: NDArray[np.intp]
    points: NDArray[Any]
    weight: NDArray[np.float32]

    def among(self, valid: NDArray[np.bool_]) -> "_Reached":
        """Return the voxels to which some of the valid voxels contribute at least half."""
        if np.array_equal(valid, self.valid):
            return self
        weight = _interpolate(valid.astype(np.float32), self.points)
        kept = weight >= _LEAST_WEIGHT
        return _Reached(valid, self.voxels[:, kept], self.points[:, kept], weight[kept])


def _reach(valid: NDArray[np.bool_], where: Where, shape: tuple[int, ...]) -> _Reached:
    source = valid.astype(np.float32)
    if where.ndim > 2:
        weight = _interpolate(source, where)
    else:
        linear, offset = where[:3, :3], where[:3, 3]
        options: Any = {"order": 1, "mode": "grid-constant"}
        weight = ndimage.affine_transform(source, linear, offset, shape, **options)
    inside = weight >= _LEAST_WEIGHT
    voxels = np.array(np.nonzero(inside))
    points = where[:, inside] if where.ndim > 2 else linear @ voxels + offset[:, None]
    return _Reached(valid, voxels, points, weight[inside])


def _resample_volume(
    values: ImageData,
    valid: NDArray[np.bool_],
    reached: _Reached,
    shape: tuple[int, ...],
    order: int,
    cval: float,
) -> ImageData:
    """Interpolate an image where its valid voxels reach."""
    result = np.full(shape, cval, np.float32)
    here = reached.among(valid)
    if order == 1 and not valid.all():
        # The mean over the valid corners by their weights. The nearest valid voxel would often be
        # one of several at the same distance, and which of them depends on the storage order.
        found = _interpolate(np.where(valid, values, np.float32(0)), here.points) / here.weight
    elif valid.any():
        filled = values if valid.all() else nearest_valid(values, valid)
        found = _interpolate(filled, here.points, order, "nearest")
    else:
        return result
    result[tuple(here.voxels)] = found
    return result


def _interpolate(
    data: NDArray[Any], points: NDArray[Any], order: int = 1, mode: str = "grid-constant"
) -> ImageData:
    """Return the values at points (3, ...) in voxels."""
    options: Any = {"order": order, "mode": mode}
    return np.asarray(ndimage.map_coordinates(data, points, **options), np.float32)


def nearest_valid(values: ImageData, valid: NDArray[np.bool_]) -> ImageData:
    """Fill the voxels without a value from the nearest one with a value."""
    indices = ndimage.distance_transform_edt(~valid, return_distances=False, return_indices=True)
    filled: ImageData = values[tuple(indices)]
    return filled
