"""Checks of a T1 map of the head for plausibility, and of the fit to several flip angles."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from bidsapp.models.contrast.enhancement import Spgr
from bidsapp.models.contrast.spgr import spgr_signal
from bidsapp.models.solver.base import Array

_WHITE_MATTER = (0.6, 1.4)
"""Plausible lower quartile of T1 in the core of the head, which is mostly white matter, s."""
_WHITE_MATTER_AT = {1.5: (0.45, 0.95), 3.0: (0.7, 1.3)}
"""The same by field strength in T, where it is known: 0.84 to 0.98 in sound maps at 3 T."""
_DEPTH = 20.0
"""Distance of the core from the surface, mm, so that fat and muscle do not count."""
_FEWEST = 200
"""Number of voxels that the checks need."""
_DEVIATION = 0.025
"""Largest plausible deviation of an image from the fit, relative to the mean signal."""
_SMOOTH = 12.0
"""Standard deviation of the filter that takes the sensitivity of coils out of an image, mm."""
_WEIGHTING = 0.7
"""Relative change of the signal with T1 from which its contrast is mostly that of T1."""
_UNIFORM = 0.02
"""Scatter of the signal that a map predicts, relative, below which it shows no tissue."""
_RELATED = 0.2
"""Lowest plausible correlation of an image and what a T1 map predicts: 0.71 or more in sound maps,
0.53 with much noise; 0.35 after a displacement by 6 mm, 0.1 to 0.2 by 12 mm, 0.1 if mirrored."""
_ENHANCED = -0.5
"""Logarithm of the lesion's signal relative to that of its T1: -0.05 to 0.1 if that is right."""
_FEWEST_LESION = 8
"""Voxels of a lesion whose T1 is checked, at least."""
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


def check_t1_level(
    t1: ArrayLike,
    zooms: ArrayLike,
    inside: ArrayLike | None = None,
    field_strength: float | None = None,
) -> list[str]:
    """Describe an implausible T1 of the brain.

    Parameters
    ----------
    t1 : (X, Y, Z) array, s
        Not finite or zero where there is no value.
    zooms : (3,) array, mm
    inside : (X, Y, Z) array of bool, optional
        The head; without it, the map is only checked if its background has no values.
    field_strength : float, T, optional
        Without it, what is plausible at any of the usual ones is accepted.

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
    place = "1.5 to 3 T"
    for field, limits in _WHITE_MATTER_AT.items():
        if field_strength and abs(field_strength - field) <= 0.1 * field:
            (low, high), place = limits, f"{field:g} T"
    if low <= quartile <= high:
        return []
    return [
        f"its lower quartile inside the head is {quartile:.2f} s, but white matter has {low:g} to "
        f"{high:g} s at {place}: check flip angles, TR and B1, or give --t1-tissue"
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


def check_t1_contrast(
    t1: ArrayLike, signal: ArrayLike, zooms: ArrayLike, spgr: Spgr, lesions: ArrayLike | None = None
) -> list[str]:
    """Describe how a T1 map contradicts the contrast of the images to which it is applied.

    Parameters
    ----------
    t1 : (X, Y, Z) array, s
        Not finite or zero where there is no value.
    signal : (X, Y, Z) array
        Mean of the dynamic series before the contrast agent.
    zooms : (3,) array, mm
    spgr
        The acquisition of the series.
    lesions : (X, Y, Z) array of int, optional
        Numbers of the lesions.

    Returns
    -------
    list of str
        Empty if all is plausible, or if the signal hardly depends on T1.

    Notes
    -----
    The logarithms of the signal and of what T1 predicts are compared in the core of the head, less
    a smooth part from the sensitivity of the coils. The signal of a lesion relative to that
    prediction does not differ from that of the brain, unless its T1 was shortened by contrast
    agent when it was measured. Proton density also changes the signal, by less.
    """
    values, image = np.asarray(t1, float), np.asarray(signal, float)
    known = np.isfinite(values) & (values > 0) & np.isfinite(image) & (image > 0)
    level = np.median(image[known]) if known.any() else 0.0
    core = head_core(image > 0.5 * level, zooms) & known
    if core.sum() < _FEWEST or not _is_weighted(values[core], spgr.at(core)):
        return []
    predicted = np.zeros(values.shape)
    angles = spgr.at(known).flip_angle
    predicted[known] = np.log(spgr_signal(1 / values[known], spgr.repetition_time, angles))
    seen = np.log(np.where(known, image, 1.0))
    shown, expected = (_take_out_smooth(x, core, zooms)[core] for x in (seen, predicted))
    if expected.std() < _UNIFORM:
        return ["it has the same T1 everywhere: is it a placeholder or a mask? Give --t1-tissue"]
    related = float(np.corrcoef(shown, expected)[0, 1])
    if related < _RELATED:
        reason = "does it hold R1 in 1/s" if related < -_RELATED else "is it mirrored or displaced"
        return [
            f"its contrast is not that of the images before the contrast agent (correlation of the "
            f"signal with that of its T1 {related:.2f}, expected above {_RELATED:g}): {reason}, or "
            "is it that of another examination? Give --t1-tissue"
        ]
    usual = float(np.median((seen - predicted)[core]))
    return list(_enhanced_lesions(seen - predicted - usual, known, lesions))


def _is_weighted(t1: Array, spgr: Spgr) -> bool:
    """Return whether the signal depends mostly on T1."""
    typical, step = float(np.median(t1)), 0.01
    angle = float(np.nanmean(spgr.flip_angle))
    signals = [spgr_signal(1 / (typical * f), spgr.repetition_time, angle) for f in (1, 1 + step)]
    return bool(np.log(signals[0] / signals[1]) / np.log1p(step) > _WEIGHTING)


def _take_out_smooth(values: Array, inside: NDArray[np.bool_], zooms: ArrayLike) -> Array:
    """Return values less their weighted mean within some distance."""
    width = _SMOOTH / np.asarray(zooms, float)
    weight = ndimage.gaussian_filter(inside.astype(float), width)
    total = ndimage.gaussian_filter(np.where(inside, values, 0.0), width)
    result: Array = values - total / np.where(inside, weight, 1.0)
    return result


def _enhanced_lesions(
    excess: Array, known: NDArray[np.bool_], lesions: ArrayLike | None
) -> Iterator[str]:
    """Yield each lesion that is much darker than its T1 says."""
    labels = np.zeros(known.shape, int) if lesions is None else np.asarray(lesions, int)
    for number in np.unique(labels[labels > 0]):
        voxels = excess[(labels == number) & known]
        if len(voxels) >= _FEWEST_LESION and (median := float(np.median(voxels))) < _ENHANCED:
            yield (
                f"lesion {number} has {-100 * np.expm1(median):.0f} % less signal before the "
                "contrast agent than its T1 gives, relative to the brain: was T1 measured after "
                "the contrast agent? Give --t1-tissue"
            )
