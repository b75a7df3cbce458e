"""Checks of a T1 map of the head for plausibility, and of the fit to several flip angles."""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from bidsapp.models.contrast.spgr import spgr_signal
from bidsapp.models.solver.base import Array

_WHITE_MATTER = (0.6, 1.4)
"""Plausible lower quartile of T1 in the core of the head, which is mostly white matter, s."""
_DEPTH = 20.0
"""Distance of the core from the surface, mm, so that fat and muscle do not count."""
_FEWEST = 200
"""Number of voxels that the checks need."""
_DEVIATION = 0.025
"""Largest plausible deviation of an image from the fit, relative to the mean signal."""
_BACKGROUND = 0.2
"""Smallest share of voxels without a value in a map whose background is masked."""


def head_core(inside: ArrayLike, zooms: ArrayLike) -> NDArray[np.bool_]:
    """Return the voxels deep inside the largest object of a mask.

    Parameters
    ----------
    inside : (X, Y, Z) array of bool
    zooms : (3,) array, mm

    Returns
    -------
    (X, Y, Z) array of bool
    """
    filled = ndimage.binary_fill_holes(ndimage.binary_opening(np.asarray(inside, bool)))
    padded = np.pad(filled, 1)
    depth = ndimage.distance_transform_edt(padded, sampling=np.asarray(zooms, float))
    core: NDArray[np.bool_] = depth[1:-1, 1:-1, 1:-1] > min(_DEPTH, 0.4 * float(depth.max()))
    return core


def check_t1_level(t1: ArrayLike, zooms: ArrayLike, inside: ArrayLike | None = None) -> list[str]:
    """Describe an implausible T1 of the brain.

    Parameters
    ----------
    t1 : (X, Y, Z) array, s
        Not finite or zero where there is no value.
    zooms : (3,) array, mm
    inside : (X, Y, Z) array of bool, optional
        The head; without it, the map is only checked if its background has no values.

    Returns
    -------
    list of str
        Empty if all is plausible.
    """
    values = np.asarray(t1, float)
    known = np.isfinite(values) & (values > 0)
    if inside is None:
        if known.mean() > 1 - _BACKGROUND:
            return []
        inside = known
    core = values[head_core(inside, zooms) & known]
    if len(core) < _FEWEST:
        return []
    quartile = float(np.quantile(core, 0.25))
    low, high = _WHITE_MATTER
    if low <= quartile <= high:
        return []
    return [
        f"its lower quartile inside the head is {quartile:.2f} s, but white matter has {low:g} to "
        f"{high:g} s at 1.5 to 3 T: check flip angles, TR and B1, or give --t1-tissue"
    ]


def check_flip_angles(
    signal: ArrayLike,
    flip_angles: ArrayLike,
    repetition_time: float,
    t1: ArrayLike,
    m0: ArrayLike,
) -> list[str]:
    """Describe an image at one flip angle that no T1 explains together with the others.

    Parameters
    ----------
    signal : (V, N) array
        Voxels of the core of the head.
    flip_angles : (N,) or (V, N) array, rad
    repetition_time : float, s
    t1, m0 : (V,) array
        The fit.

    Returns
    -------
    list of str
        Empty if noise explains the residuals: their medians over the voxels are small.
    """
    measured, rates = np.asarray(signal, float), 1 / np.asarray(t1, float)[:, None]
    amplitudes = np.asarray(m0, float)[:, None]
    fitted = spgr_signal(rates, repetition_time, np.asarray(flip_angles, float), amplitudes)
    residual = (measured - fitted) / measured.mean(axis=1, keepdims=True)
    usable = np.isfinite(residual).all(axis=1)
    if usable.sum() < _FEWEST:
        return []
    deviation: Array = np.median(residual[usable], axis=0)
    if np.abs(deviation).max() <= _DEVIATION:
        return []
    listed = ", ".join(f"{100 * value:+.0f} %" for value in deviation)
    return [
        f"the images at the flip angles do not fit one T1 (median deviations {listed} of the mean "
        "signal): check that FlipAngle and RepetitionTimeExcitation are right and that all images "
        "have the same scale and receiver gain, or give --t1-tissue"
    ]
