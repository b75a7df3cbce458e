"""Lesion labels, their volumes, and the time course of a series in each lesion."""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from bidsapp.errors import BadInput
from bidsapp.imaging.transforms import apply

Array = NDArray[np.float64]

LARGEST_LABEL = 2**24
"""Largest number up to which images in single precision hold all labels; identifiers of some
atlases exceed it, and neighbouring ones would become one."""


def as_labels(values: ArrayLike, name: str) -> NDArray[np.int32]:
    """Return whole-number labels of an ROI image.

    Parameters
    ----------
    values : (...) array
        Whole numbers; or a single other value, as in a mask with a scale slope, which becomes 1.
    name
        Name of the image, for error messages.

    Returns
    -------
    (...) array of int

    Raises
    ------
    BadInput
        If there are several values that are not whole numbers, or negative ones, or numbers above
        `LARGEST_LABEL`.

    Examples
    --------
    >>> as_labels([0.0, 1.686, 1.686], "mask").tolist()
    [0, 1, 1]
    """
    given = np.asarray(values)
    marked = np.asarray(given != 0)  # few voxels; those without a value are among them
    array = np.nan_to_num(given[marked].astype(float))
    labels = np.rint(array)
    if not np.allclose(labels, array, atol=1e-3):
        found = np.unique(array[array != 0])
        # Not whole numbers: one value other than zero is that of a mask with a scale slope; with
        # several, it is unknown which label each one means.
        if len(found) > 1:
            raise BadInput(
                f"{name}: labels must be whole numbers; it holds {found[:5].tolist()} ..."
            )
        labels = (array != 0).astype(float)
    if (labels < 0).any():
        raise BadInput(f"{name}: labels must not be negative; it holds {labels.min():g}")
    if labels.size and labels.max() > LARGEST_LABEL:
        raise BadInput(
            f"{name}: labels must not exceed {LARGEST_LABEL}; it holds {labels.max():.0f}: number "
            "its regions anew"
        )
    whole: NDArray[np.int32] = np.zeros(given.shape, np.int32)
    whole[marked] = labels
    return whole


def voxel_ml(affine: ArrayLike) -> float:
    """Return the volume of a voxel.

    Parameters
    ----------
    affine : (4, 4) array, mm

    Returns
    -------
    float, ml

    Examples
    --------
    >>> round(voxel_ml(np.diag([2, 2, 8, 1])), 6)
    0.032
    """
    return abs(float(np.linalg.det(np.asarray(affine, float)[:3, :3]))) / 1000


def volume_ml(labels: ArrayLike, lesion: int, affine: ArrayLike) -> float:
    """Return a lesion's volume from its voxels.

    Parameters
    ----------
    labels : (X, Y, Z) array of int
    lesion
        The label.
    affine : (4, 4) array, mm

    Returns
    -------
    float, ml

    Examples
    --------
    >>> volume_ml(np.ones((10, 10, 10)), 1, np.eye(4))
    1.0
    """
    return int(np.count_nonzero(np.asarray(labels) == lesion)) * voxel_ml(affine)


def lesion_series(
    series: ArrayLike,
    series_affine: ArrayLike,
    labels: NDArray[np.int32],
    labels_affine: ArrayLike,
    to_series: ArrayLike | Callable[[Array], Array],
    lesions: Iterable[int],
) -> dict[int, Array]:
    """Return the mean time or b-value course of each lesion, sampled at the lesion's voxels.

    Parameters
    ----------
    series : (X, Y, Z, N) array
    series_affine : (4, 4) array, mm
    labels : (I, J, K) array of int
        On any grid.
    labels_affine : (4, 4) array, mm
    to_series : (4, 4) array, or function of (N, 3) arrays, mm
        From points of the labels' space to points of the series' space.
    lesions
        Labels to sample.

    Returns
    -------
    dict of (N,) arrays
        Linear interpolation; voxels where the course is not finite are left out. NaN where
        nothing is left.

    Examples
    --------
    >>> grid = np.eye(4)
    >>> course = np.ones((4, 4, 4, 2)) * [1.0, 2.0]
    >>> labels = np.zeros((4, 4, 4), np.int32); labels[1, 1, 1] = 7
    >>> lesion_series(course, grid, labels, grid, grid, [7])
    {7: array([1., 2.])}
    """
    data = np.asarray(series)
    there, back = np.asarray(labels_affine, float), np.linalg.inv(np.asarray(series_affine, float))

    def to_voxels(voxels: NDArray[np.intp]) -> Array:
        # From voxels of the labels to their space, to the space of the series, to voxels of the
        # series.
        points = apply(there, voxels)
        reached = to_series(points) if callable(to_series) else apply(np.asarray(to_series), points)
        return apply(back, reached).T

    return {n: _mean_course(data, to_voxels(np.argwhere(labels == n))) for n in lesions}


def weighted_course(series: ArrayLike, weights: ArrayLike) -> Array:
    """Return the mean time or b-value course of a lesion that may fill only part of a voxel.

    Parameters
    ----------
    series : (..., N) array
    weights : (...) array
        Fraction of each voxel inside the lesion.

    Returns
    -------
    (N,) array
        Voxels where the course is not finite are left out; NaN where nothing is left.

    Examples
    --------
    >>> weighted_course([[1.0, 2.0], [4.0, 8.0], [9.0, 9.0]], [1.0, 0.5, 0.0])
    array([2., 4.])
    """
    share = np.asarray(weights, float)
    courses, share = np.asarray(np.asarray(series)[share > 0], float), share[share > 0]
    complete = np.isfinite(courses).all(axis=-1)
    if not complete.any():
        return np.full(courses.shape[-1], np.nan)
    mean: Array = share[complete] @ courses[complete] / share[complete].sum()
    return mean


def _mean_course(data: NDArray[Any], points: Array) -> Array:
    """Return the mean course at points (3, N), in voxels of the series, by interpolation."""
    # Only the part of the series around the lesion is read, with the neighbours that the
    # interpolation needs.
    low = np.maximum(np.floor(points.min(axis=1, initial=0)).astype(int) - 1, 0)
    high = np.ceil(points.max(axis=1, initial=0)).astype(int) + 2
    block = data[tuple(slice(a, max(b, a)) for a, b in zip(low, high, strict=True))]
    if not points.size or 0 in block.shape:
        return np.full(data.shape[-1], np.nan)
    local = points - low[:, None]
    sampled = np.stack(
        [
            # NaN outside the series: the course of such a point is incomplete.
            ndimage.map_coordinates(block[..., i].astype(float), local, order=1, cval=np.nan)
            for i in range(block.shape[-1])
        ],
        axis=-1,
    )
    complete = sampled[np.isfinite(sampled).all(axis=-1)]
    return complete.mean(axis=0) if len(complete) else np.full(data.shape[-1], np.nan)
