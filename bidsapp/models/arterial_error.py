"""Errors of kinetic parameters that come from noise in the arterial input."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from bidsapp.models.fitting import fit
from bidsapp.models.solver.base import Array
from bidsapp.models.table import MODELS

_FEWEST = 3
"""Smallest number of frames whose standard deviation is an estimate of the noise."""


def arterial_noise(plasma: ArrayLike, baseline_frames: int) -> float:
    """Return the standard deviation of an arterial input before the contrast agent arrives.

    Parameters
    ----------
    plasma : (N,) array, mM
    baseline_frames
        Number of frames before the arrival.

    Returns
    -------
    float, mM
        NaN with fewer than three such frames.

    Examples
    --------
    >>> arterial_noise([0.0, 0.25, 0.5, 5.0], 3), arterial_noise([0.1, 5.0], 1)
    (0.25, nan)
    """
    before = np.asarray(plasma, float)[:baseline_frames]
    return float(np.std(before, ddof=1)) if len(before) >= _FEWEST else float("nan")


def arterial_effects(
    model: str, curve: ArrayLike, plasma: ArrayLike, noise: float, **settings: Any
) -> dict[str, Array]:
    r"""Return the effects on the parameters of an error in each frame of the arterial input.

    Parameters
    ----------
    model
        The model's name in the table.
    curve : (N,) array, mM
        Concentration in tissue.
    plasma : (N,) array, mM
    noise : float, mM
        Standard deviation of the error in each frame.
    **settings
        Further arguments of `bidsapp.models.fit`.

    Returns
    -------
    dict of (N,) array
        Change of each parameter by an error of one standard deviation in each frame; the errors
        are independent, so that the squares add up.

    Notes
    -----
    The prediction :math:`P(\theta; a)` is linear in the input :math:`a`. A fit of a curve :math:`C`
    with the input :math:`a + \delta` is, to first order, that of :math:`C - P(\theta; \delta)` with
    the input :math:`a`, so that all frames require a single design. A description of the shape of a
    curve is related to the input after its fit, and is related to each changed input instead.

    Examples
    --------
    >>> time, plasma = np.arange(6.0), np.array([0, 0, 3.0, 2, 1, 1])
    >>> found = arterial_effects("patlak", 0.1 * plasma, plasma, 0.1, time=time)
    >>> [round(float(x), 4) for x in found["vp"][1:3]]
    [0.0, -0.0031]
    """
    data, unit = np.asarray(curve, float), np.eye(np.size(plasma))
    if MODELS[model].is_descriptive:
        curves, inputs = np.broadcast_to(data, unit.shape), np.asarray(plasma, float) + noise * unit
        one = fit(model, data, plasma=plasma, **settings).values
        many = fit(model, curves, plasma=inputs, **settings).values
        return {name: many[name] - value for name, value in one.items()}
    settings["plasma"] = np.asarray(plasma, float)
    found = fit(model, data, **settings)
    errors = [found.predict(plasma=noise * row) for row in unit]
    again = fit(model, data - np.array(errors), **settings)
    return {name: again.values[name] - value for name, value in found.values.items()}
