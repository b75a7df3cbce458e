"""Arterial input: population functions, plasma from blood, arrival of the bolus."""

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from bidsapp.errors import FitError
from bidsapp.models.base import Array


def parker2006(time: ArrayLike, arrival: float = 0.0) -> Array:
    """Return the population-averaged arterial blood concentration of Parker et al.

    Parameters
    ----------
    time : (N,) array, min
    arrival : float, min
        When the bolus arrives; zero before.

    Returns
    -------
    (N,) array, mM
        In whole blood, for a dose of 0.1 mmol/kg.

    Notes
    -----
    ``sum_n A_n / (s_n sqrt(2 pi)) exp(-(t - T_n)^2 / (2 s_n^2))
    + a exp(-b t) / (1 + exp(-s (t - u)))``

    References
    ----------
    Parker et al., Magn Reson Med 2006, doi:10.1002/mrm.21066.

    Examples
    --------
    >>> import numpy as np
    >>> parker2006(np.array([0.0, 0.17046, 1.0])).round(3)
    array([0.08 , 6.069, 0.887])
    """
    t = np.asarray(time, float) - arrival
    area, centre = np.array([0.809, 0.330]), np.array([0.17046, 0.365])
    width = np.array([0.0563, 0.132])
    waves = (
        area / (width * np.sqrt(2 * np.pi)) * np.exp(-(((t[..., None] - centre) / width) ** 2) / 2)
    )
    after = np.maximum(t, 0)
    washout = 1.050 * np.exp(-0.1685 * after) / (1 + np.exp(-38.078 * (after - 0.483)))
    return np.where(t >= 0, waves.sum(axis=-1) + washout, 0.0)


POPULATION: dict[str, Callable[[ArrayLike, float], Array]] = {"parker2006": parker2006}
"""Named population functions: ``function(time min, arrival min) -> blood mM``."""


def plasma_from_blood(blood: ArrayLike, haematocrit: float) -> Array:
    """Return the plasma concentration, ``blood / (1 - haematocrit)``.

    Parameters
    ----------
    blood : (N,) array, mM
    haematocrit : float
        Fraction of the blood that is cells.

    Returns
    -------
    (N,) array, mM

    Raises
    ------
    FitError
        If the haematocrit is not a fraction below one.

    References
    ----------
    Tofts et al., J Magn Reson Imaging 1999,
    doi:10.1002/(SICI)1522-2586(199909)10:3<223::AID-JMRI2>3.0.CO;2-S.

    Examples
    --------
    >>> plasma_from_blood([0.58], 0.42)
    array([1.])
    """
    if not 0 <= haematocrit < 1:
        raise FitError(f"the haematocrit is a fraction from 0 to below 1, got {haematocrit:g}")
    result: Array = np.asarray(blood, float) / (1 - haematocrit)
    return result


def bolus_arrival(curve: ArrayLike) -> int:
    """Return how many frames at the start are free of contrast agent.

    Parameters
    ----------
    curve : (N,) array
        Signal or concentration of an artery, or of tissue that enhances.

    Returns
    -------
    int
        The frames before the arrival; the one just before the rise is left out if there are
        three or more, since the agent may arrive in the course of it.

    Raises
    ------
    FitError
        If the curve never rises, or rises from the first frame.

    Notes
    -----
    From the steepest step back to the last frame that lies below a tenth of the rise.

    References
    ----------
    Cheong, Koh and Hou, Phys Med Biol 2003, doi:10.1088/0031-9155/48/5/403.

    Examples
    --------
    >>> bolus_arrival([1, 1.1, 0.9, 1, 1, 4, 9, 6, 5])
    4
    """
    values = np.asarray(curve, float)
    if not np.isfinite(values).all():
        raise FitError("the bolus cannot be found: the curve holds values that are not finite")
    steepest = int(np.argmax(np.diff(values)))
    rest = np.median(values[: steepest + 1])
    top = np.max(values[steepest + 1 : steepest + 3])
    below = np.flatnonzero(values[: steepest + 1] <= rest + 0.1 * (top - rest))
    late = values[(steepest + 1) :].mean()
    if not len(below) or steepest < 1 or late <= rest:
        raise FitError(
            f"no frame before the bolus: of {len(values)} frames the curve rises most steeply "
            f"after the first {steepest + 1}, without a baseline before or a rise that lasts; "
            "give the frames with --baseline-frames"
        )
    frames = int(below[-1]) + 1
    return frames - 1 if frames >= 3 else frames
