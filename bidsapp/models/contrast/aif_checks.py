"""Checks of an arterial input for plausibility, by itself and compared with the tissue."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike

from bidsapp.errors import FitError
from bidsapp.models.contrast.arrival import find_arrival
from bidsapp.models.solver.base import Array

_LATE = 3 / 60
"""Largest plausible delay of the artery relative to the tissue, min."""
_LOWEST = 1.0
"""Lowest plausible peak of the blood's concentration in an artery, mM."""
_FEWEST_AFTER = 5
"""Smallest number of frames from the arrival on that shows a washout."""
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
    >>> time = np.arange(12) / 12
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
    # Without a clear rise in both curves there is no arrival, and the other checks are left out.
    try:
        begins, follows = find_arrival(blood, time), find_arrival(tissue, time)
    except FitError:
        return
    late = begins.time - follows.time
    if late > _LATE and begins.earliest > follows.latest:
        yield f"it arrives {late * 60:.0f} s after the tissue: a vein?"
    after = int((time >= begins.time).sum())
    if after < _FEWEST_AFTER:
        yield f"only {after} frames come after its arrival: too few to see a washout"
    flat = int((blood >= (1 - _FLAT) * peak).sum())
    if flat >= _FLAT_FRAMES:
        yield f"{flat} frames are as high as its peak: cut off at the end of the signal's range?"
    fallen = int((blood[time >= begins.time] < _DROP).sum())
    if fallen:
        yield f"{fallen} frames lie below its baseline: has the signal dropped out?"
