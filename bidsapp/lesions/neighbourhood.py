"""Regions that lesions define: the ring of tissue around each of them, and its mirror image."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from bidsapp.imaging.labels import resample_labels
from bidsapp.imaging.transforms import compose, invert

Labels = NDArray[np.int32]

RING_MM = 5.0
"""Width of the ring around a lesion."""
_ROUNDING = 1e-4
"""Relative tolerance of distances: headers in single precision move whole shells of voxels that lie
at the width of the ring, such as neighbouring slices of 5 mm."""
LEAST_MIRRORED = 0.5
"""Share of a lesion below which its mirror image is reported as a part of it."""


def surrounding_rings(
    lesions: NDArray[Any], affine: ArrayLike, tissue: NDArray[Any], width: float = RING_MM
) -> Labels:
    """Return the ring of tissue around each lesion.

    Parameters
    ----------
    lesions : (X, Y, Z) array of int
        Labels of the lesions.
    affine : (4, 4) array
        Its voxels to RAS mm.
    tissue : (X, Y, Z) array
        Where a ring may be: the brain.
    width : float, mm
        Largest distance from the centre of a voxel of the ring to that of a voxel of its lesion.

    Returns
    -------
    (X, Y, Z) array of int
        Each voxel has the label of the nearest lesion; no voxel is in any lesion.

    Examples
    --------
    >>> lesions = np.zeros((7, 1, 1), int); lesions[1], lesions[5] = 1, 2
    >>> rings = surrounding_rings(lesions, np.eye(4), np.ones((7, 1, 1)), width=2.0)
    >>> rings.ravel().tolist()
    [1, 0, 1, 1, 2, 0, 2]
    """
    labels = np.asarray(lesions)
    rings = np.zeros(labels.shape, np.int32)
    if not labels.any():
        return rings
    zooms = np.linalg.norm(np.asarray(affine, float)[:3, :3], axis=0)
    distance, nearest = ndimage.distance_transform_edt(
        labels == 0, sampling=zooms, return_indices=True
    )
    there = (labels == 0) & (distance <= width * (1 + _ROUNDING)) & (np.asarray(tissue) > 0)
    rings[there] = labels[tuple(nearest[:, there])]
    return rings


def mirror_lesions(
    lesions: NDArray[Any],
    affine: ArrayLike,
    tissue: NDArray[Any],
    template_to_image: ArrayLike,
) -> Labels:
    r"""Return the lesions reflected at the mid-sagittal plane of the head.

    Parameters
    ----------
    lesions : (X, Y, Z) array of int
        Labels of the lesions.
    affine : (4, 4) array
        Its voxels to RAS mm.
    tissue : (X, Y, Z) array
        Where a mirror image may be: the brain.
    template_to_image : (4, 4) array
        Points of a template that is symmetric about x = 0 to points of the image, RAS mm.

    Returns
    -------
    (X, Y, Z) array of int
        Without voxels of any lesion.

    Notes
    -----
    The plane is that of the registered template, so that position and tilt of the head have no
    influence. With the matrix :math:`M` from template to image, a point of the image is reflected
    by :math:`M S M^{-1}`, where :math:`S` changes the sign of x.

    Examples
    --------
    >>> lesions = np.zeros((5, 1, 1), int); lesions[0] = 3
    >>> middle = np.eye(4); middle[0, 3] = 2.0
    >>> mirror_lesions(lesions, np.eye(4), np.ones((5, 1, 1)), middle).ravel().tolist()
    [0, 0, 0, 0, 3]
    """
    labels = np.asarray(lesions, np.int32)
    flip = np.diag([-1.0, 1.0, 1.0, 1.0])
    reflection = compose(invert(template_to_image), flip, template_to_image)
    found = resample_labels(labels, affine, reflection, labels.shape, affine)
    return np.where((labels == 0) & (np.asarray(tissue) > 0), found, 0).astype(np.int32)


def partial_images(lesions: NDArray[Any], mirrored: NDArray[Any]) -> list[str]:
    """Return a text for each lesion of which less than `LEAST_MIRRORED` has a mirror image.

    Parameters
    ----------
    lesions, mirrored : (X, Y, Z) array of int
        Labels of the lesions and of their mirror images.

    Returns
    -------
    list of str

    Examples
    --------
    >>> partial_images(np.array([1, 1, 1, 2, 2]), np.array([0, 0, 0, 1, 2]))
    ['the mirror image of lesion 1 has 33 % of its volume: the rest is lesion or outside the brain']
    """
    found = []
    for label in np.unique(lesions[lesions > 0]):
        share = np.count_nonzero(mirrored == label) / np.count_nonzero(lesions == label)
        if share < LEAST_MIRRORED:
            found.append(
                f"the mirror image of lesion {label} has {100 * share:.0f} % of its volume: the "
                "rest is lesion or outside the brain"
            )
    return found
