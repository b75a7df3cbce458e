"""What goes on around any registration engine: what it is given, and what is believed of it."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bidsapp.errors import BadInput, RegistrationError
from bidsapp.imaging.masks import grow
from bidsapp.imaging.resample import voxel_matrix
from bidsapp.imaging.transforms import Matrix, Vector, apply, compose, decompose, translation

DETERMINANT = (0.8, 1.25)
"""Ratio of volumes that is believed: the scale of two scanners' gradients, not of two heads."""
ROTATION_DEGREES = 30.0
"""Largest rotation that is believed."""
OVERLAP = 0.6
"""Smallest share of the brain in the moving field of view that is believed."""
_SAMPLE = 20_000


@dataclass(frozen=True)
class Quality:
    """What is known of a registration.

    Attributes
    ----------
    determinant : float
        Ratio of volumes, moving to fixed.
    rotation_degrees : float
        Angle of the rotation.
    translation_mm : float
        Displacement of the fixed brain's centroid.
    overlap : float
        Share of the fixed brain inside the moving field of view, relative to the largest share
        that a field of view of this size can hold: 1 for a slab that lies inside the brain.
    """

    determinant: float
    rotation_degrees: float
    translation_mm: float
    overlap: float

    def as_dict(self) -> dict[str, Any]:
        """Return the numbers by name."""
        return asdict(self)


def centroid(mask: NDArray[Any], affine: ArrayLike) -> Vector:
    """Return the centre of a mask.

    Parameters
    ----------
    mask : (X, Y, Z) array
    affine : (4, 4) array
        Its voxels to RAS mm.

    Returns
    -------
    (3,) array, mm

    Raises
    ------
    BadInput
        If the mask is empty.

    Examples
    --------
    >>> centroid(np.ones((3, 3, 3)), np.diag([2, 2, 2, 1])).tolist()
    [2.0, 2.0, 2.0]
    """
    voxels = np.argwhere(np.asarray(mask) > 0)
    if not len(voxels):
        raise BadInput("the brain mask of the fixed image is empty")
    return apply(np.asarray(affine, float), voxels.mean(axis=0))


def recentre(affine: ArrayLike, centre: ArrayLike) -> Matrix:
    """Return an image's affine with a point of space moved to the origin.

    Parameters
    ----------
    affine : (4, 4) array
        Of the fixed or of the moving image; both get the same centre.
    centre : (3,) array, mm
        The centroid of the fixed brain. An engine whose rotations and scales act about the origin
        goes astray when the head is far from it.

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
    """Return the matrix between the images as they were, found between the recentred ones.

    Parameters
    ----------
    matrix : (4, 4) array
        Recentred fixed points to recentred moving points, RAS mm.
    centre : (3,) array, mm
        That both were recentred on.

    Returns
    -------
    (4, 4) array

    Examples
    --------
    >>> restore_centre(np.diag([2, 2, 2, 1]), [10, 0, 0])[:3, 3].tolist()
    [-10.0, 0.0, 0.0]
    """
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
        raise BadInput(f"the fixed image {data.shape} and its mask {mask.shape} differ in grid")
    kept = np.where(grow(mask, affine, margin), np.nan_to_num(data), 0)
    return kept.astype(np.float32)


def overlap(
    matrix: ArrayLike,
    mask: NDArray[Any],
    affine: ArrayLike,
    moving_shape: Sequence[int],
    moving_affine: ArrayLike,
) -> float:
    """Return how much of the fixed brain the moving field of view holds, of what it could hold.

    Parameters
    ----------
    matrix : (4, 4) array
        Fixed points to moving points, RAS mm.
    mask : (X, Y, Z) array
        The brain on the fixed grid.
    affine : (4, 4) array
        The fixed voxels to RAS mm.
    moving_shape : three ints
    moving_affine : (4, 4) array
        The moving voxels to RAS mm.

    Returns
    -------
    float
        0 to 1.

    Raises
    ------
    BadInput
        If the mask is empty.

    Examples
    --------
    >>> brain = np.ones((10, 10, 10))
    >>> slab = (10, 10, 2)
    >>> overlap(np.eye(4), brain, np.eye(4), slab, np.eye(4))
    1.0
    >>> overlap(translation([0, 0, 1]), brain, np.eye(4), slab, np.eye(4))
    0.5
    """
    voxels = np.argwhere(np.asarray(mask) > 0)
    if not len(voxels):
        raise BadInput("the brain mask of the fixed image is empty")
    voxels = voxels[:: max(1, len(voxels) // _SAMPLE)]
    found = apply(voxel_matrix(moving_affine, matrix, affine), voxels)
    size = np.array(moving_shape[:3])
    inside = ((found >= -0.5) & (found < size - 0.5)).all(axis=1).mean()
    possible = min(_largest_share(found[:, i], int(size[i])) for i in range(3))
    return float(min(inside / possible, 1.0))


def _largest_share(positions: Vector, length: float) -> float:
    """Return the largest share of positions that an interval of a length holds."""
    ordered = np.sort(positions)
    counts = np.searchsorted(ordered, ordered + length, side="left") - np.arange(len(ordered))
    return float(counts.max() / len(ordered))


def assess(
    matrix: ArrayLike,
    mask: NDArray[Any],
    affine: ArrayLike,
    moving_shape: Sequence[int],
    moving_affine: ArrayLike,
) -> Quality:
    """Return what a registration did, for the report and for `accept`.

    Parameters
    ----------
    matrix : (4, 4) array
        Fixed points to moving points, RAS mm.
    mask : (X, Y, Z) array
        The brain on the fixed grid.
    affine : (4, 4) array
        The fixed voxels to RAS mm.
    moving_shape : three ints
    moving_affine : (4, 4) array
        The moving voxels to RAS mm.

    Returns
    -------
    Quality

    Raises
    ------
    BadInput
        If the mask is empty or the matrix is not affine.

    Examples
    --------
    >>> brain = np.ones((10, 10, 10))
    >>> assess(translation([0, 3, 0]), brain, np.eye(4), (10, 20, 10), np.eye(4)).translation_mm
    3.0
    """
    parts = decompose(matrix, centroid(mask, affine))
    return Quality(
        determinant=parts.determinant,
        rotation_degrees=parts.rotation_degrees,
        translation_mm=float(np.linalg.norm(parts.translation)),
        overlap=overlap(matrix, mask, affine, moving_shape, moving_affine),
    )


def accept(quality: Quality, what: str) -> None:
    """Refuse a registration that cannot be right.

    Parameters
    ----------
    quality : Quality
    what : str
        The two images, for the message.

    Raises
    ------
    RegistrationError
        If volumes, rotation or overlap are beyond what is believed.

    Examples
    --------
    >>> accept(Quality(1.0, 5.0, 8.0, 0.95), "b0 on T1w")
    >>> accept(Quality(1.0, 80.0, 8.0, 0.95), "b0 on T1w")
    Traceback (most recent call last):
    bidsapp.errors.RegistrationError: b0 on T1w: the registration failed: rotation of 80 degrees ...
    """
    wrong = []
    if not DETERMINANT[0] <= quality.determinant <= DETERMINANT[1]:
        low, high = DETERMINANT
        wrong.append(f"ratio of volumes {quality.determinant:.3f} (believed: {low:g} to {high:g})")
    if quality.rotation_degrees > ROTATION_DEGREES:
        turned = f"{quality.rotation_degrees:.0f} degrees"
        wrong.append(f"rotation of {turned} (believed: up to {ROTATION_DEGREES:g})")
    if quality.overlap < OVERLAP:
        wrong.append(f"overlap of {quality.overlap:.0%} (believed: at least {OVERLAP:.0%})")
    if wrong:
        raise RegistrationError(
            f"{what}: the registration failed: {', '.join(wrong)}; look at both images, and check "
            "that their headers agree on where the head is"
        )
