"""The voxels of the head in a series, and their signal on a logarithmic scale."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_HEAD = 0.25
"""Signal of a voxel of the head relative to the bright ones, at least."""
FEWEST = 50
"""Voxels that a check needs."""
_SAMPLE = 60_000
"""Voxels of the image that are looked at: enough for medians of the head to 1 %."""
_FLOOR = 1e-3
"""Lowest signal, relative to the bright voxels of a volume, that is distinguished from zero."""


def sample_voxels(data: NDArray[np.float32]) -> Array:
    """Return voxels of a series that are finite in every volume: all, or a random sample (V, N)."""
    every = data.reshape(-1, data.shape[3])
    if len(every) > _SAMPLE:
        every = every[np.random.default_rng(0).choice(len(every), _SAMPLE, replace=False)]
    voxels: Array = every[np.isfinite(every).all(axis=1)].astype(float)
    return voxels


def log_signals(data: NDArray[np.float32], reference: NDArray[np.intp]) -> Array:
    """Return the logarithm of the signal of voxels of the head, the same ones at every call.

    Parameters
    ----------
    data : (X, Y, Z, N) array
        A series of images.
    reference : (K,) array of int
        Volumes in which the head is bright.

    Returns
    -------
    (V, N) array
        Without voxels that are not finite in every volume.

    Examples
    --------
    >>> data = np.ones((4, 4, 4, 2), np.float32)
    >>> data[:2] = 100
    >>> log_signals(data, np.array([0])).shape
    (32, 2)
    """
    voxels = sample_voxels(data)
    if not len(voxels):
        return voxels
    bright = _bright_level(voxels)
    level = np.median(voxels[:, reference] / bright[reference], axis=-1)
    return log_signals_of(voxels[level > _least_level(level)], bright)


def mask_head(
    data: NDArray[np.float32], reference: NDArray[np.intp]
) -> tuple[NDArray[np.bool_], Array]:
    """Return the voxels of the head, and the signal of the bright ones in each volume.

    Parameters
    ----------
    data : (X, Y, Z, N) array
        A series of images.
    reference : (K,) array of int
        Volumes in which the head is bright.

    Returns
    -------
    inside : (X, Y, Z) array of bool
        Voxels that are finite in every volume.
    bright : (N,) array
    """
    bright = _bright_level(sample_voxels(data))
    level = np.median(data[..., reference] / bright[reference], axis=-1)
    inside = np.asarray(np.isfinite(data).all(axis=-1))
    if inside.any():
        inside &= np.asarray(level > _least_level(level[inside]))
    return inside, bright


def log_signals_of(voxels: NDArray[np.floating[Any]], bright: Array) -> Array:
    """Return the logarithm of the signal of voxels (V, N), at least that of the darkest tissue."""
    logarithms: Array = np.log(np.maximum(voxels, _FLOOR * bright))
    return logarithms


def _bright_level(voxels: Array) -> Array:
    """Return the signal of the bright voxels of each volume, (N,)."""
    if not len(voxels):
        return np.ones(voxels.shape[1])
    level: Array = np.percentile(voxels, 99, axis=0).clip(1e-30)
    return level


def _least_level(level: Array) -> float:
    """Return the level of a voxel, relative to the bright ones, from which it is in the head."""
    return max(_HEAD * float(np.percentile(level, 99)), 0.0)
