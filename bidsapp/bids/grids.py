"""Comparison of the voxel grids of two images, and lossless reorientation."""

from itertools import product
from pathlib import Path
from typing import TypeVar

import nibabel as nib
import numpy as np
from nibabel.affines import apply_affine
from nibabel.orientations import apply_orientation, inv_ornt_aff, io_orientation
from numpy.typing import NDArray

from bidsapp.bids.images import open_image

_NEAR = 0.1
"""Largest distance between voxels of the same grid, as a fraction of the voxel size."""
_ROUNDING = 1e-5
"""The same for affines that differ only by rounding errors."""

Affine = NDArray[np.float64]
Number = TypeVar("Number", bound=np.generic)


def grid_difference(image: Path, other: Path) -> str:
    """Return how the grid of an image differs from another one; empty if voxels coincide.

    Parameters
    ----------
    image, other
        Images accepted by `bidsapp.bids.images.check_image`. The axes of `image` may have another
        order and direction.

    Returns
    -------
    str
        The difference, as a part of an error message.
    """
    mine, its = open_image(image), open_image(other)
    shape, affine, _ = _reoriented_grid(mine, its.affine)
    wanted = its.shape[:3]
    if shape != wanted:
        return f"{mine.shape[:3]} voxels, not {wanted}"
    apart = _largest_distance(affine, its.affine, wanted)
    if apart <= _NEAR:
        return ""
    corners = np.array(list(product(*[(0, n - 1) for n in wanted])))
    distance = apply_affine(affine, corners) - apply_affine(its.affine, corners)
    mm = np.linalg.norm(distance, axis=1).max()
    return f"they differ by up to {mm:.3g} mm ({apart:.3g} voxels)"


def is_same_grid(image: Path, other: Path) -> bool:
    """Return whether two images have the same voxels in the same order, but for rounding errors."""
    mine, its = open_image(image), open_image(other)
    shape = its.shape[:3]
    return bool(
        mine.shape[:3] == shape
        and _largest_distance(mine.affine, its.affine, shape) <= _ROUNDING * max(shape)
    )


def has_other_axes(image: Path, other: Path) -> bool:
    """Return whether the axes of two images have another order or direction."""
    ornt = _reoriented_grid(open_image(image), open_image(other).affine)[2]
    return not np.array_equal(ornt, [[0, 1], [1, 1], [2, 1]])


def reorient(data: NDArray[Number], image: Path, other: Path) -> NDArray[Number]:
    """Return data on the grid of `image` in the order of the axes of `other`.

    Parameters
    ----------
    data : (X, Y, Z) array
    image, other
        See `grid_difference`.
    """
    ornt = _reoriented_grid(open_image(image), open_image(other).affine)[2]
    turned: NDArray[Number] = apply_orientation(data, ornt)
    return turned


def _reoriented_grid(
    image: nib.Nifti1Image, target: Affine
) -> tuple[tuple[int, ...], Affine, NDArray[np.float64]]:
    """Return shape and affine of an image with its axes as in `target`, and the reorientation."""
    shape = image.shape[:3]
    ornt = io_orientation(np.linalg.inv(target) @ image.affine)
    if np.isnan(ornt).any():
        return shape, image.affine, np.array([[0, 1], [1, 1], [2, 1]], float)
    turned = [0, 0, 0]
    for axis, (to, _) in enumerate(ornt):
        turned[int(to)] = shape[axis]
    return tuple(turned), image.affine @ inv_ornt_aff(ornt, shape), ornt


def _largest_distance(one: Affine, other: Affine, shape: tuple[int, ...]) -> float:
    """Return the largest distance of the corner voxels of two grids, in voxels of `other`."""
    corners = np.array(list(product(*[(0, n - 1) for n in shape])), float)
    found = apply_affine(np.linalg.inv(other) @ one, corners)
    return float(np.linalg.norm(found - corners, axis=1).max())
