"""The voxels of the head in a series, and their signal on a logarithmic scale."""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_HEAD = 0.25
"""Signal of a voxel of the head relative to the bright ones, at least."""
_SAMPLE = 20_000
"""Voxels that are looked at: enough for medians to 1 %."""
_FLOOR = 1e-3
"""Lowest signal, relative to the bright voxels of a volume, that is distinguished from zero."""


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

    Examples
    --------
    >>> data = np.ones((4, 4, 4, 2), np.float32)
    >>> data[:2] = 100
    >>> log_signals(data, np.array([0])).shape
    (32, 2)
    """
    bright = np.nanpercentile(data[::2, ::2], 99, axis=(0, 1, 2)).clip(1e-30)
    level = np.nanmedian(data[..., reference] / bright[reference], axis=-1)
    inside = level > _HEAD * np.nanpercentile(level, 99)
    voxels = data[inside & np.isfinite(data).all(axis=-1)].astype(float)
    if len(voxels) > _SAMPLE:
        voxels = voxels[np.random.default_rng(0).choice(len(voxels), _SAMPLE, replace=False)]
    logarithms: Array = np.log(np.maximum(voxels, _FLOOR * bright))
    return logarithms
