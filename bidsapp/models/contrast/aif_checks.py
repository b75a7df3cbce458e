"""Checks of an arterial input for plausibility, by itself and compared with the tissue."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike

from bidsapp.errors import FitError
from bidsapp.models.contrast.arrival import Arrival, find_arrival
from bidsapp.models.solver.base import Array

_LATE = 3 / 60
"""Largest plausible delay of the artery relative to the tissue, min."""
_EARLY = 7 / 60
"""Largest plausible lead of the artery over the tissue, min."""
_AREA = (0.75, 2.5)
"""Plausible area of a curve relative to that of an artery in the image, which is diluted."""
_LOWEST, _HIGHEST = 1.0, 25.0
"""Lowest and highest plausible peak of the blood's concentration in an artery, mM."""
_BLUNT, _LATER = 1.6, (50 / 60, 70 / 60)
"""Lowest plausible ratio of the peak to the mean level about one minute later, and when, min."""
_FEWEST_CLIPPED, _PILE, _NEXT = 5, 3.0, 3
"""Smallest number of largest values of a clipped image, also relative to the next lower values."""
_FEWEST_AFTER = 5
"""Smallest number of frames from the arrival on that shows a washout."""
_SHORTEST = 75.0
"""Time from the arrival to the last frame that determines ve, at least, s."""
_FLAT, _FLAT_FRAMES = 0.005, 3
"""Largest relative difference between frames at a clipped peak, and smallest number of them."""
_DROP = -0.05
"""Concentration after the arrival that noise does not explain, mM; a lost signal gives -0.13."""


def check_arterial_input(blood: ArrayLike, time: ArrayLike, tissue: ArrayLike) -> list[str]:
    """Describe what is implausible in a measured arterial input.

    Parameters
    ----------
    blood : (N,) array, mM
    time : (N,) array, min
    tissue : (N,) array
        Mean time course of the head, in any unit.

    Returns
    -------
    list of str
        Empty where all is plausible.

    Examples
    --------
    >>> time = np.r_[np.arange(11) / 12, 3]
    >>> sharp = np.array([0, 0, 0, 0, 6, 4, 2, 1.5, 1.4, 1.3, 1.2, 1.1])
    >>> tissue = np.array([0, 0, 0, 0, 1, 2, 3, 3.4, 3.6, 3.5, 3.4, 3.3])
    >>> check_arterial_input(sharp, time, tissue)
    []
    >>> check_arterial_input(sharp / 20, time, tissue)
    ['its peak is 0.3 mM, an artery has 1 mM or more: a vein, or half a voxel of tissue?']
    """
    curve, moments = np.asarray(blood, float), np.asarray(time, float)
    return list(_implausibilities(curve, moments, np.asarray(tissue, float)))


def _implausibilities(blood: Array, time: Array, tissue: Array) -> Iterator[str]:
    peak = float(blood.max())
    if peak < _LOWEST:
        yield (
            f"its peak is {peak:.2g} mM, an artery has {_LOWEST:g} mM or more: a vein, or half a "
            "voxel of tissue?"
        )
    if peak > _HIGHEST:
        yield (
            f"its peak is {peak:.3g} mM, an artery has {_HIGHEST:g} mM or less: check T1 of blood, "
            "relaxivity, flip angle and units"
        )
    # Without a clear rise in both curves there is no arrival, and the other checks are left out.
    try:
        begins, follows = find_arrival(blood, time), find_arrival(tissue, time)
    except FitError:
        return
    fallen = int((blood[time >= min(begins.time, follows.time)] < _DROP).sum())
    yield from _wrong_arrival(begins, follows, wrapped=fallen > 0)
    after = int((time >= begins.time).sum())
    if after < _FEWEST_AFTER:
        yield f"only {after} frames come after its arrival: too few to see a washout"
    elif (seen := 60 * float(time[-1] - begins.time)) < _SHORTEST:
        yield (
            f"the series ends {seen:.0f} s after its arrival: ve, and Ktrans of leaky lesions, are "
            f"not determined by less than about {_SHORTEST:g} s"
        )
    flat = int((blood >= (1 - _FLAT) * peak).sum())
    if flat >= _FLAT_FRAMES:
        yield f"{flat} frames are as high as its peak: cut off at the end of the signal's range?"
    elif (ratio := _peak_ratio(blood, time)) < _BLUNT:
        yield (
            f"its peak is only {ratio:.2g} times the level one minute later, in an artery "
            f"{_BLUNT:g} times or more: cut off at the end of the signal's range, or not an artery?"
        )
    if fallen:
        yield (
            f"{fallen} frame{'s lie' if fallen > 1 else ' lies'} below its baseline: has the "
            "signal dropped out, or do values above the range begin again at zero?"
        )


def _wrong_arrival(begins: Arrival, follows: Arrival, *, wrapped: bool) -> Iterator[str]:
    """Yield that the artery does not arrive just before the tissue, as it must."""
    late = begins.time - follows.time
    if late > _LATE and begins.earliest > follows.latest:
        reason = (
            "is its peak lost" if wrapped else "a vein? Or do its times begin at another moment"
        )
        yield f"it arrives {late * 60:.0f} s after the tissue: {reason}?"
    if -late > _EARLY and begins.latest < follows.earliest:
        yield (
            f"it arrives {-late * 60:.0f} s before the tissue: do its times begin at another "
            "moment, or is it that of another examination?"
        )


def compare_with_artery(blood: ArrayLike, artery: ArrayLike) -> list[str]:
    """Describe how an arterial input contradicts an artery of the images.

    Parameters
    ----------
    blood : (N,) array, mM
        Arterial input from elsewhere, at the times of the frames.
    artery : (N,) array, mM
        Mean concentration in the blood of arterial voxels. Tissue in these voxels and inflow lower
        it; hardly anything raises it.

    Returns
    -------
    list of str
        Empty if the areas under the curves agree within these limits.

    Examples
    --------
    >>> artery = np.array([0, 0, 5, 2, 1.2, 1.1, 1.0])
    >>> compare_with_artery(1.4 * artery, artery)
    []
    >>> compare_with_artery(0.4 * artery, artery)[0].split(":")[0]
    'its area is 0.4 times that of the artery in the images'
    """
    ratio = float(np.asarray(blood, float).mean() / np.asarray(artery, float).mean())
    if _AREA[0] <= ratio <= _AREA[1]:
        return []
    return [
        f"its area is {ratio:.2g} times that of the artery in the images: check its units, whether "
        "it is that of this examination (dose), and whether it holds blood or plasma; --aif auto "
        "uses that artery instead"
    ]


def _peak_ratio(blood: Array, time: Array) -> float:
    """Return the peak relative to the mean level one minute later; infinite without such frames."""
    since = time - time[int(np.argmax(blood))]
    later = blood[(since >= _LATER[0]) & (since <= _LATER[1])]
    return float(blood.max() / later.mean()) if len(later) and later.mean() > 0 else np.inf


def check_clipping(series: ArrayLike, inside: ArrayLike) -> list[str]:
    """Describe how the signal of an artery is cut off at the largest value of an image.

    Parameters
    ----------
    series : (..., N) array
        The image as acquired, without interpolation.
    inside : (...) array of bool
        The arterial voxels.

    Returns
    -------
    list of str
        Empty unless the largest value of the image occurs much more often than the next lower ones,
        and in the artery.

    Examples
    --------
    >>> signal = np.tile([10, 11, 10, 60, 90, 50, 40], (4, 1)) + np.arange(4)[:, None]
    >>> check_clipping(signal, np.ones(4, bool))
    []
    >>> check_clipping(np.minimum(signal, 52), np.ones(4, bool))[0][:57]
    '4 of the 4 voxels reach 52, the largest value of the imag'
    """
    data = np.asarray(series)
    top = data[data > 0.5 * np.nanmax(data)]  # few values, to save time
    levels, counts = np.unique(top[np.isfinite(top)], return_counts=True)
    if not len(levels) or counts[-1] < _FEWEST_CLIPPED:
        return []
    if len(counts) > _NEXT and counts[-1] <= _PILE * counts[-1 - _NEXT : -1].mean():
        return []
    reached = data[np.asarray(inside, bool)] == levels[-1]
    voxels = int(reached.any(axis=-1).sum())
    if not voxels:
        return []
    frames = int(reached.any(axis=0).sum())
    return [
        f"{voxels} of the {len(reached)} voxels reach {levels[-1]:g}, the largest value of the "
        f"image, in {frames} frame{'s' if frames > 1 else ''}: the peak is cut off, so that Ktrans "
        "is wrong by an unknown amount; use images on another scale, or a population function "
        "(--aif parker2006)"
    ]
