"""The voxels of the head in a series, and their signal on a logarithmic scale."""

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
    bright = np.percentile(voxels, 99, axis=0).clip(1e-30)
    level = np.median(voxels[:, reference] / bright[reference], axis=-1)
    voxels = voxels[level > max(_HEAD * np.percentile(level, 99), 0)]
    logarithms: Array = np.log(np.maximum(voxels, _FLOOR * bright))
    return logarithms
