"""Brain mask of a post-contrast T1w from a registered template, without trained weights."""

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import numpy as np
from nibabel.affines import voxel_sizes
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from bidsapp.errors import BadInput, RegistrationError
from bidsapp.imaging.resample import resample
from bidsapp.imaging.transforms import Matrix, Vector, apply, decompose, invert

Mask = NDArray[np.bool_]

VOLUME_ML = (900.0, 2200.0)
"""Plausible brain volumes, including the surrounding fluid."""
ROTATION_DEGREES = 45.0
"""Largest plausible tilt of a head relative to the template."""
CLOSING_MM = 6.0
"""Radius of the closing that includes the fluid of the sulci."""
_TEMPLATE = "datasets/data/mni_icbm152_{}_tal_nlin_sym_09a_converted.nii.gz"


def template_path(kind: Literal["t1", "wm"] = "t1") -> Path:
    """Return the path of the ICBM152 brain that ships with nilearn, without importing nilearn.

    Parameters
    ----------
    kind
        The T1w of the brain, or the probability of white matter.

    Raises
    ------
    BadInput
        If the file is missing.

    References
    ----------
    Fonov et al., NeuroImage 2011, doi:10.1016/j.neuroimage.2010.07.033.

    Examples
    --------
    >>> template_path().name
    'mni_icbm152_t1_tal_nlin_sym_09a_converted.nii.gz'
    """
    spec = find_spec("nilearn")
    folder = Path((spec and spec.origin) or "nilearn/__init__.py").parent
    path = folder / _TEMPLATE.format(kind)
    if not path.exists():
        raise BadInput(f"{path}: the ICBM152 template is missing; install nilearn 0.12 or later")
    return path


def template_brain(template: NDArray[Any], affine: ArrayLike) -> tuple[Mask, Matrix]:
    """Return the brain mask of a skull-stripped template, including the fluid of the sulci.

    Parameters
    ----------
    template : (X, Y, Z) array
    affine : (4, 4) array
        Its voxels to RAS mm.

    Returns
    -------
    mask : (x, y, z) array of bool
        Every second voxel, which is fine enough for a mask that is enlarged anyway.
    affine : (4, 4) array
        Its voxels to RAS mm.

    Examples
    --------
    >>> folded = np.ones((31, 31, 31)); folded[15, 15, 15:] = 0
    >>> mask, affine = template_brain(folded, np.eye(4))
    >>> mask.shape, bool(mask.all()), float(affine[0, 0])
    ((16, 16, 16), True, 2.0)
    """
    coarse = np.asarray(affine, float) @ np.diag([2.0, 2.0, 2.0, 1.0])
    width = int(np.ceil(CLOSING_MM / voxel_sizes(coarse).min())) + 1
    tissue = np.pad(np.asarray(template)[::2, ::2, ::2] > 0, width)
    # Closing: dilation, then erosion, which is the dilation of the complement. The padding holds
    # the whole dilation: what the border of the grid cut off would not be eroded again.
    closed = ~grow(~grow(tissue, coarse, CLOSING_MM), coarse, CLOSING_MM) | tissue
    inner = (slice(width, -width),) * 3
    return ndimage.binary_fill_holes(closed[inner]), coarse


def grow(mask: NDArray[Any], affine: ArrayLike, distance: float) -> Mask:
    """Return all voxels within a distance of a mask.

    Parameters
    ----------
    mask : (X, Y, Z) array
    affine : (4, 4) array
        Its voxels to RAS mm.
    distance : float, mm

    Returns
    -------
    (X, Y, Z) array of bool

    Examples
    --------
    >>> point = np.zeros((5, 1, 1), bool); point[2] = True
    >>> grow(point, np.diag([2, 1, 1, 1]), 2.5).ravel().tolist()
    [False, True, True, True, False]
    """
    inside = np.asarray(mask) > 0
    if distance <= 0 or not inside.any():
        return inside
    zooms = voxel_sizes(np.asarray(affine, float))
    # The distance transform takes time in proportion to the volume: it is computed around the mask
    # alone.
    box = _box_around(inside, np.ceil(distance / zooms).astype(int))
    far = ndimage.distance_transform_edt(~inside[box], sampling=zooms)
    grown = np.zeros_like(inside)
    grown[box] = far <= distance
    return grown


def _box_around(mask: Mask, reach: NDArray[np.int_]) -> tuple[slice, ...]:
    """Return the box that contains a mask and some voxels around it."""
    box = ndimage.find_objects(mask.astype(np.uint8))[0]
    return tuple(
        slice(max(0, s.start - int(r)), s.stop + int(r)) for s, r in zip(box, reach, strict=True)
    )


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


def brain_mask(
    template_mask: NDArray[Any],
    template_affine: ArrayLike,
    matrix: ArrayLike,
    shape: Sequence[int],
    affine: ArrayLike,
    *,
    margin: float = 3.0,
) -> Mask:
    """Return the template's brain mask on the grid of an image, slightly enlarged.

    Parameters
    ----------
    template_mask : (X, Y, Z) array
        The template's brain.
    template_affine : (4, 4) array
        Its voxels to RAS mm.
    matrix : (4, 4) array
        Points of the template to points of the image, RAS mm.
    shape : three ints
        Of the image.
    affine : (4, 4) array
        The image's voxels to RAS mm.
    margin : float, mm
        Distance by which the mask is enlarged, since no head is exactly that of the template.

    Returns
    -------
    array of that shape, of bool

    Raises
    ------
    RegistrationError
        If the volume or the tilt of the brain is implausible: the registration has failed.

    Examples
    --------
    >>> cube = np.ones((110, 110, 110), bool)
    >>> found = brain_mask(cube, np.eye(4), np.eye(4), (120, 120, 120), np.eye(4), margin=0)
    >>> int(found.sum()) == 110**3
    True
    """
    turned = decompose(matrix).rotation_degrees
    if turned > ROTATION_DEGREES:
        raise RegistrationError(
            f"no brain found: the registered template is rotated by {turned:.0f} degrees, more "
            f"than {ROTATION_DEGREES:g}; check the T1w and its header"
        )
    weight = resample(
        np.asarray(template_mask, np.float32),
        template_affine,
        invert(matrix),
        shape,
        affine,
        cval=0,
    )
    inside = weight >= 0.5
    # The limits are those of the brain itself, without the margin.
    volume = inside.sum() * abs(np.linalg.det(np.asarray(affine, float)[:3, :3])) / 1000
    if not VOLUME_ML[0] <= volume <= VOLUME_ML[1]:
        raise RegistrationError(
            f"no brain found: the registered template has {volume:.0f} ml of brain in the field of "
            f"view, not {VOLUME_ML[0]:g} to {VOLUME_ML[1]:g}; check the T1w and its header"
        )
    return grow(inside, affine, margin)
