"""Images on other grids, in one interpolation."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from bidsapp.errors import BadInput
from bidsapp.imaging.transforms import Matrix, compose, invert

Image = NDArray[np.float32]


def voxel_matrix(affine: ArrayLike, matrix: ArrayLike, target_affine: ArrayLike) -> Matrix:
    """Return the matrix from voxels of the target grid to voxels of an image.

    Parameters
    ----------
    affine : (4, 4) array
        Voxels of the (moving) image to RAS mm.
    matrix : (4, 4) array
        Points of the target (fixed) to points of the image, RAS mm.
    target_affine : (4, 4) array
        Voxels of the target to RAS mm.

    Returns
    -------
    (4, 4) array

    Examples
    --------
    >>> voxel_matrix(np.diag([2, 2, 2, 1]), np.eye(4), np.eye(4)).diagonal().tolist()
    [0.5, 0.5, 0.5, 1.0]
    """
    return compose(target_affine, matrix, invert(affine))


def resample(
    data: NDArray[Any],
    affine: ArrayLike,
    matrix: ArrayLike,
    shape: Sequence[int],
    target_affine: ArrayLike,
    *,
    order: int = 1,
    cval: float = np.nan,
) -> Image:
    """Return an image on another grid; a value that is missing stays missing.

    Parameters
    ----------
    data : (X, Y, Z) or (X, Y, Z, N) array
        NaN, and infinite, where there is no value.
    affine : (4, 4) array
        Its voxels to RAS mm.
    matrix : (4, 4) array
        Points of the target to points of the image, RAS mm.
    shape : three ints
        Of the target grid.
    target_affine : (4, 4) array
        Its voxels to RAS mm.
    order : int
        Of the spline: 1 is linear, 3 is cubic.
    cval : float
        Where there is no value: less than half of the weight of the linear interpolation falls on
        valid voxels inside the field of view.

    Returns
    -------
    shape or shape + (N,) array

    Raises
    ------
    BadInput
        If the image is neither 3D nor 4D, or a matrix is not affine.

    Notes
    -----
    Missing voxels are filled with the nearest valid one before the interpolation, so that neither
    zero nor NaN leaks into their neighbours. There is no smoothing before going to a coarser grid.

    Examples
    --------
    >>> line = np.arange(4.0).reshape(4, 1, 1)
    >>> shift = np.array([[1, 0, 0, 0.5], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    >>> resample(line, np.eye(4), shift, (4, 1, 1), np.eye(4)).ravel().tolist()
    [0.5, 1.5, 2.5, 3.0]
    """
    if data.ndim not in (3, 4):
        raise BadInput(f"resampling takes a 3D or 4D image, not one of shape {data.shape}")
    to_voxel = voxel_matrix(affine, matrix, target_affine)
    grid = tuple(shape)
    if data.ndim == 3:
        return _resample_volume(data, to_voxel, grid, order, cval)
    result = np.empty((*grid, data.shape[3]), np.float32)
    for i in range(data.shape[3]):
        result[..., i] = _resample_volume(data[..., i], to_voxel, grid, order, cval)
    return result


def resample_labels(
    labels: NDArray[Any],
    affine: ArrayLike,
    matrix: ArrayLike,
    shape: Sequence[int],
    target_affine: ArrayLike,
) -> NDArray[Any]:
    """Return labels on another grid: that of the nearest voxel, 0 outside the field of view.

    Parameters
    ----------
    labels : (X, Y, Z) array
    affine : (4, 4) array
        Its voxels to RAS mm.
    matrix : (4, 4) array
        Points of the target to points of the image, RAS mm.
    shape : three ints
        Of the target grid.
    target_affine : (4, 4) array
        Its voxels to RAS mm.

    Returns
    -------
    array of that shape, of the labels' type

    Raises
    ------
    BadInput
        If the labels are not 3D, or a matrix is not affine.

    Examples
    --------
    >>> labels = np.array([0, 1, 2], np.uint8).reshape(3, 1, 1)
    >>> resample_labels(labels, np.eye(4), np.eye(4), (5, 1, 1), np.diag([0.7, 1, 1, 1])).ravel()
    array([0, 1, 1, 2, 0], dtype=uint8)
    """
    if labels.ndim != 3:
        raise BadInput(f"a label image is 3D, not of shape {labels.shape}")
    to_voxel = voxel_matrix(affine, matrix, target_affine)
    return _interpolate(labels, to_voxel, tuple(shape), order=0, mode="grid-constant")


def _resample_volume(
    data: NDArray[Any], to_voxel: Matrix, shape: tuple[int, ...], order: int, cval: float
) -> Image:
    """Interpolate the values and where they are valid."""
    values = np.asarray(data, np.float32)
    valid = np.isfinite(values)
    if not valid.any():
        return np.full(shape, cval, np.float32)
    weight = _interpolate(valid.astype(np.float32), to_voxel, shape, order=1, mode="grid-constant")
    filled = values if valid.all() else _nearest_valid(values, valid)
    result: Image = _interpolate(filled, to_voxel, shape, order=order, mode="nearest")
    result[weight < 0.5] = cval
    return result


def _nearest_valid(values: Image, valid: NDArray[np.bool_]) -> Image:
    """Fill the voxels without a value from the nearest one that has it."""
    indices = ndimage.distance_transform_edt(~valid, return_distances=False, return_indices=True)
    filled: Image = values[tuple(indices)]
    return filled


def _interpolate(
    data: NDArray[Any], to_voxel: Matrix, shape: tuple[int, ...], *, order: int, mode: str
) -> NDArray[Any]:
    """Return the values at the voxels of the target grid."""
    options: Any = {"order": order, "mode": mode}
    linear, offset = to_voxel[:3, :3], to_voxel[:3, 3]
    return np.asarray(ndimage.affine_transform(data, linear, offset, shape, **options))
