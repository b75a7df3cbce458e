"""Recentring of images for a registration engine that rotates about the origin."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bidsapp.errors import BadInput
from bidsapp.imaging.masks import grow
from bidsapp.imaging.transforms import Matrix, compose, translation


def recentre(affine: ArrayLike, centre: ArrayLike) -> Matrix:
    """Return an image's affine with a point of space moved to the origin.

    Parameters
    ----------
    affine : (4, 4) array
        Of the fixed or the moving image; use the same centre for both.
    centre : (3,) array, mm
        The centroid of the fixed brain. An engine whose rotations and scales act about the origin
        fails when the head is far from it.

    Returns
    -------
    (4, 4) array

    Examples
    --------
    >>> recentre(np.eye(4), [10, 0, 0])[:3, 3].tolist()
    [-10.0, 0.0, 0.0]
    """
    return compose(affine, translation(-np.asarray(centre, float)))


def restore_centre(matrix: ArrayLike, centre: ArrayLike) -> Matrix:
    """Return the matrix between the original images from that between the recentred ones.

    Parameters
    ----------
    matrix : (4, 4) array
        Recentred fixed points to recentred moving points, RAS mm.
    centre : (3,) array, mm
        On which both were recentred.

    Returns
    -------
    (4, 4) array

    Examples
    --------
    >>> restore_centre(np.diag([2, 2, 2, 1]), [10, 0, 0])[:3, 3].tolist()
    [-10.0, 0.0, 0.0]
    """
    # To the origin, through the matrix, and back.
    middle = np.asarray(centre, float)
    return compose(translation(-middle), matrix, translation(middle))


def mask_fixed(
    data: NDArray[np.floating], mask: NDArray[Any], affine: ArrayLike, margin: float
) -> NDArray[np.float32]:
    """Return the fixed image with zero outside the brain and a margin around it.

    Parameters
    ----------
    data, mask : (X, Y, Z) array
    affine : (4, 4) array
        Their voxels to RAS mm.
    margin : float, mm

    Returns
    -------
    (X, Y, Z) array

    Raises
    ------
    BadInput
        If image and mask are not on one grid.

    Examples
    --------
    >>> mask_fixed(np.ones((4, 1, 1)), np.eye(4, 1)[:, :, None], np.eye(4), 1.0).ravel().tolist()
    [1.0, 1.0, 0.0, 0.0]
    """
    if data.shape != mask.shape:
        raise BadInput(
            f"the fixed image {data.shape} and its mask {mask.shape} are on "
            "different grids; resample the mask"
        )
    kept = np.where(grow(mask, affine, margin), np.nan_to_num(data), 0)
    return kept.astype(np.float32)
