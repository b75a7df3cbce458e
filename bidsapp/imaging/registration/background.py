"""Constant background of skull-stripped images: recognised, and treated as missing data."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from bidsapp.imaging.masks import grow
from bidsapp.imaging.registration.sampling import Image, blur

BORDER_SHARE = 0.2
"""Smallest fraction of the outermost voxels that have the value of a constant background."""
TOLERANCE = 0.02
"""Largest difference from the value of the background, in standard deviations of the image: the
blur of a resampled edge does not end at exactly that value."""
REACH = 5.0
"""mm; standard deviation of the Gaussian that extends the intensities into the background."""
SHELL = (3.0, 8.0)
"""mm; distances from the brain mask within which an image that is not stripped shows the skull."""
SHELL_SHARE = 0.7
"""Smallest fraction of this shell in the background of a skull-stripped image."""
HEAD_VOLUME = 1.3
"""Largest volume of a stripped image in unknown pose, in brain volumes; heads have 2 or 3."""


def constant_background(image: Image) -> Image | None:
    """Return the voxels around the head that have been set to one value.

    Parameters
    ----------
    image : Image

    Returns
    -------
    Image, or None
        1 in all voxels that have the most frequent value of the border of the field of view and
        are connected to the border, and in their neighbours, which are partly background; else 0.
        None if less than `BORDER_SHARE` of the border has exactly that value, as in noise.

    Examples
    --------
    >>> head = np.zeros((9, 9, 9), np.float32); head[2:7, 2:7, 2:7] = 3; head[4, 4, 4] = 0
    >>> found = constant_background(Image(head, np.eye(4))).data
    >>> found[4].astype(int)[4].tolist()
    [1, 1, 1, 0, 0, 0, 1, 1, 1]
    """
    data = image.data
    border = np.ones(data.shape, bool)
    border[1:-1, 1:-1, 1:-1] = False
    values, counts = np.unique(data[border], return_counts=True)
    if counts.max() < BORDER_SHARE * counts.sum():
        return None
    parts, number = ndimage.label(np.abs(data - values[counts.argmax()]) <= TOLERANCE)
    # Dark structures within the head, such as ventricles, are not connected to the border.
    outer = np.zeros(number + 1, bool)
    outer[parts[border]] = True
    outer[0] = False
    grown = ndimage.maximum_filter(outer[parts].astype(np.uint8), 3)
    return Image(grown.astype(np.float32), image.affine)


def extend(image: Image, background: Image) -> Image:
    """Return an image with a smooth continuation of the head in place of its background.

    Parameters
    ----------
    image : Image
    background : Image
        1 where the image is replaced.

    Returns
    -------
    Image
        Unchanged outside the background; in it, the mean of the surrounding head, weighted by a
        Gaussian, and far from the head the mean of all of it.

    Notes
    -----
    The edge of a stripped brain is the strongest edge of the image. Blurring to the coarse
    resolutions of the search spreads it over most blocks, and from bright brain to dark skull or
    background its sign is the same for any contrast of tissues: the local correlation is then
    positive at the true pose also of images of inverted contrast.
    """
    kept = 1 - background.data
    mean = np.float32(image.data[kept > 0].mean(dtype=float))
    # Sums over blocks of half the reach: the continuation needs no finer grid.
    steps = np.maximum(1, (REACH / 2 / image.zooms).astype(int))
    grid = image.affine @ np.diag([*steps, 1.0])
    # A small constant in the denominator: far from the head the sum of the weights is zero.
    weight = blur(Image(_block_sums(kept, steps), grid), REACH).data
    weight += np.float32(1e-3 * steps.prod())
    total = blur(Image(_block_sums((image.data - mean) * kept, steps), grid), REACH).data
    near = mean + ndimage.affine_transform(
        total / weight, 1 / steps, (1 / steps - 1) / 2, image.data.shape, order=1, mode="nearest"
    )
    return replace(image, data=np.where(background.data > 0, near, image.data))


def _block_sums(data: NDArray[np.float32], steps: NDArray[np.int_]) -> NDArray[np.float32]:
    """Return the sums of blocks of a given number of voxels along each axis."""
    for axis, step in enumerate(steps):
        data = np.add.reduceat(data, np.arange(0, data.shape[axis], step), axis=axis)
    return data


def surrounds_brain(background: Image, brain: Image) -> bool:
    """Return whether background surrounds the brain, where an image shows the skull.

    Parameters
    ----------
    background : Image
        1 in the constant background of an image.
    brain : Image
        The brain mask on the same grid.

    Returns
    -------
    bool

    Examples
    --------
    >>> inside = np.zeros((40, 40, 40), bool); inside[12:28, 12:28, 12:28] = True
    >>> brain, space = Image(inside, np.eye(4)), np.eye(4)
    >>> surrounds_brain(Image(~inside, space), brain)
    True
    >>> surrounds_brain(Image(~grow(inside, space, 9), space), brain)
    False
    """
    inside = brain.data * (1 - background.data)
    if not inside.any():
        return True
    near, far = (grow(inside, brain.affine, distance) for distance in SHELL)
    shell = background.data[far & ~near]
    return shell.size > 0 and float(shell.mean()) >= SHELL_SHARE


def leaves_brain_only(background: Image, brain: Image) -> bool:
    """Return whether the volume outside the background is that of a brain, not of a head.

    Parameters
    ----------
    background : Image
        1 in the constant background of an image.
    brain : Image
        A brain mask, on any grid.

    Returns
    -------
    bool

    Examples
    --------
    >>> brain = Image(np.ones((10, 10, 10)), np.eye(4))
    >>> image = np.ones((10, 10, 10)); image[:5] = 0
    >>> [leaves_brain_only(Image(image, np.eye(4) * zoom), brain) for zoom in (1, 2)]
    [True, False]
    """
    volumes = [
        float(inside.sum()) * abs(float(np.linalg.det(affine[:3, :3])))
        for inside, affine in (
            (1 - background.data, background.affine),
            (brain.data > 0, brain.affine),
        )
    ]
    return volumes[0] <= HEAD_VOLUME * volumes[1]
