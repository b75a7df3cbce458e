"""Interpolation of images with gradients, and blurring to a given resolution."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from nibabel.affines import voxel_sizes
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from bidsapp.errors import BadInput
from bidsapp.imaging.transforms import Matrix, apply, invert, translation

Values = NDArray[np.float32]
Points = NDArray[np.float64]

_FWHM = float(np.sqrt(8 * np.log(2)))
_BOX = float(np.sqrt(12))
"""A box of width w, such as a voxel, has the standard deviation w / sqrt(12)."""


@dataclass(frozen=True)
class Image:
    """Intensities on a grid.

    Attributes
    ----------
    data : (X, Y, Z) array of float32
    affine : (4, 4) array
        Voxels to RAS mm.
    """

    data: Values
    affine: Matrix

    @property
    def zooms(self) -> NDArray[np.float64]:
        """Sizes of a voxel along its axes, mm."""
        return np.asarray(voxel_sizes(self.affine), float)

    @cached_property
    def to_voxels(self) -> Matrix:
        """Matrix from RAS mm to voxels."""
        return invert(self.affine)


@dataclass(frozen=True)
class Reading:
    """An image at points: values (N,), gradient (3, N) per voxel, points in the field of view."""

    values: Values
    slopes: Values
    inside: NDArray[np.bool_]


def as_image(data: NDArray[Any], affine: ArrayLike, name: str = "image") -> Image:
    """Return an image ready for registration: finite, of unit standard deviation, without spikes.

    Parameters
    ----------
    data : (X, Y, Z) or (X, Y, Z, 1) array
        Missing values become zero.
    affine : (4, 4) array
        Voxels to RAS mm.
    name : str
        Its name in error messages.

    Returns
    -------
    Image
        Its unit does not matter. Values beyond the 0.5th and 99.5th percentile are clipped at one
        interpercentile range outside them.

    Raises
    ------
    BadInput
        If it is not 3D with two voxels along each axis, or has one value only.

    Examples
    --------
    >>> as_image(np.arange(8).reshape(2, 2, 2), np.eye(4)).zooms.tolist()
    [1.0, 1.0, 1.0]
    """
    values = np.nan_to_num(np.asarray(data, float), posinf=0, neginf=0)
    values = values[..., 0] if values.ndim == 4 and values.shape[3] == 1 else values
    if values.ndim != 3 or min(values.shape) < 2:
        raise BadInput(
            f"the {name} has the shape {values.shape}; an image to register is 3D, at least two "
            "voxels along each axis: take one volume of a series, or its mean"
        )
    # Correlation is quadratic in the values: a few very bright voxels, such as vessels, would
    # outweigh all others in their block.
    low, high = np.percentile(values[_sparse_slices(values)], [0.5, 99.5])
    values = np.clip(values, low - (high - low), high + (high - low)) if high > low else values
    scale = float(values.std())
    if not scale > 0:
        raise BadInput(f"the {name} is constant: there is nothing to register; check the file")
    return Image((values / scale).astype(np.float32), np.asarray(affine, float))


def _sparse_slices(values: NDArray[np.float64]) -> tuple[slice, ...]:
    """Return slices of about 200,000 voxels, enough for percentiles."""
    step = max(1, round((values.size / 200_000) ** (1 / 3)))
    return (slice(None, None, step),) * 3


def interpolate(image: Image, voxels: Points) -> Reading:
    """Interpolate an image linearly at points.

    Parameters
    ----------
    image : Image
    voxels : (3, N) array
        Coordinates in voxels.

    Returns
    -------
    Reading

    Examples
    --------
    >>> ramp = Image(np.arange(8, dtype=np.float32).reshape(2, 2, 2), np.eye(4))
    >>> found = interpolate(ramp, np.array([[0.5], [0.0], [0.5]]))
    >>> found.values.tolist(), found.slopes.ravel().tolist()
    ([2.5], [4.0, 2.0, 1.0])
    """
    shape = np.array(image.data.shape)
    top = (shape - 1).astype(float)[:, None]
    inside = np.asarray(((voxels >= 0) & (voxels <= top)).all(axis=0))
    held = np.clip(voxels, 0, top)
    low = np.minimum(held.astype(np.int32), (shape - 2)[:, None].astype(np.int32))
    # Trilinear interpolation written out: one pass over the eight corners gives both the value and
    # its exact gradient, which map_coordinates cannot; the optimiser needs them to agree.
    x, y, z = (held - low).astype(np.float32)
    step = (int(shape[1] * shape[2]), int(shape[2]), 1)
    first = low[0] * step[0] + low[1] * step[1] + low[2]
    flat = image.data.ravel()
    # Along z: four lines; along y: two planes; along x: the value.
    near = [flat.take(first + a + b) for a in (0, step[0]) for b in (0, step[1])]
    along = [flat.take(first + a + b + 1) for a in (0, step[0]) for b in (0, step[1])]
    rise = [b - a for a, b in zip(near, along, strict=True)]
    lines = [a + z * d for a, d in zip(near, rise, strict=True)]
    ahead = [lines[1] - lines[0], lines[3] - lines[2]]
    planes = [lines[0] + y * ahead[0], lines[2] + y * ahead[1]]
    forward = planes[1] - planes[0]
    # The y gradient interpolates in x, and the z gradient in y and x.
    right = ahead[0] + x * (ahead[1] - ahead[0])
    left, other = rise[0] + y * (rise[1] - rise[0]), rise[2] + y * (rise[3] - rise[2])
    slopes = np.stack([forward, right, left + x * (other - left)])
    return Reading(planes[0] + x * forward, slopes, inside)


def blur(image: Image, sigma: ArrayLike) -> Image:
    """Return an image blurred by a Gaussian.

    Parameters
    ----------
    image : Image
    sigma : float or (3,) array, mm
        Standard deviation, along the image's own axes.

    Returns
    -------
    Image
    """
    widths = np.broadcast_to(np.asarray(sigma, float), 3) / image.zooms
    if (widths < 0.2).all():
        return image
    data = ndimage.gaussian_filter(image.data, widths, mode="nearest", truncate=3.0)
    return Image(np.asarray(data, np.float32), image.affine)


def at_resolution(image: Image, width: float) -> Image:
    """Return an image blurred and subsampled to a resolution; a coarser axis is left unchanged.

    Parameters
    ----------
    image : Image
    width : float, mm
        Full width at half maximum of the point spread function, voxel size included.

    Returns
    -------
    Image
        Its voxels are a third to two thirds of the width, or coarser.

    Examples
    --------
    >>> fine = as_image(np.random.default_rng(0).random((60, 60, 10)), np.diag([1, 1, 6, 1]))
    >>> at_resolution(fine, 6.0).zooms.tolist()
    [3.0, 3.0, 6.0]
    """
    # Variances add: the blur of the voxel itself is subtracted from that of the target width.
    own = image.zooms / _BOX
    extra = np.sqrt(np.maximum((width / _FWHM) ** 2 - own**2, 0))
    return subsample(blur(image, extra), width / 2)


def subsample(image: Image, spacing: float) -> Image:
    """Return every n-th voxel along each axis, for voxels of about a given size.

    Parameters
    ----------
    image : Image
    spacing : float, mm

    Returns
    -------
    Image
    """
    steps = np.maximum(1, np.rint(spacing / image.zooms)).astype(int)
    steps = np.minimum(steps, np.maximum(1, np.array(image.data.shape) - 1))
    data = image.data[:: steps[0], :: steps[1], :: steps[2]]
    return Image(np.ascontiguousarray(data), image.affine @ np.diag([*steps, 1.0]))


def blur_to_voxels_of(image: Image, other: Image, matrix: Matrix) -> Image:
    """Return an image blurred to the voxel size of another, coarser image.

    Parameters
    ----------
    image : Image
    other : Image
    matrix : (4, 4) array
        Points of the image to points of the other, RAS mm; it relates their axes.

    Returns
    -------
    Image
        On its own grid.
    """
    # The other voxel is a box whose edges are oblique to this grid: along each axis of this grid
    # its variance is the sum of the squared projections of the edges, over 12.
    axes = np.linalg.inv(matrix[:3, :3]) @ other.affine[:3, :3]
    own = image.affine[:3, :3] / image.zooms
    boxes = (own.T @ axes) / _BOX
    variance = (boxes**2).sum(axis=1) - (image.zooms / _BOX) ** 2
    return blur(image, np.sqrt(np.maximum(variance, 0)))


def crop(image: Image, points: Points, margin: float) -> Image:
    """Return the part of an image around points.

    Parameters
    ----------
    image : Image
    points : (N, 3) array, mm
    margin : float, mm

    Returns
    -------
    Image
    """
    voxels = apply(image.to_voxels, points)
    shape, reach = np.array(image.data.shape), margin / image.zooms
    low = np.clip(np.floor(voxels.min(axis=0) - reach), 0, shape - 2).astype(int)
    high = np.clip(np.ceil(voxels.max(axis=0) + reach) + 1, low + 2, shape).astype(int)
    box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    return Image(np.ascontiguousarray(image.data[box]), image.affine @ translation(low))
