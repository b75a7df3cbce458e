"""Arterial input: population functions, and plasma from blood."""

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import gammaln

from bidsapp.errors import FitError
from bidsapp.models.solver.base import Array


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
    # Table 1 of the paper: A_n in mM min, T_n and s_n in min; then a in mM, b and s in 1/min, u in
    # min.
    area, centre = np.array([0.809, 0.330]), np.array([0.17046, 0.365])
    width = np.array([0.0563, 0.132])
    waves = (
        area / (width * np.sqrt(2 * np.pi)) * np.exp(-(((t[..., None] - centre) / width) ** 2) / 2)
    )
    after = np.maximum(t, 0)
    # Before the arrival the denominator would overflow.
    washout = 1.050 * np.exp(-0.1685 * after) / (1 + np.exp(-38.078 * (after - 0.483)))
    return np.where(t >= 0, waves.sum(axis=-1) + washout, 0.0)


def georgiou2019(time: ArrayLike, arrival: float = 0.0) -> Array:
    """Return the population-averaged arterial blood concentration of Georgiou et al.

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
    ``sum_i A_i exp(-m_i t) * sum_n g(t - (n - 1) T; n (a + 1), b)``: the exchange with the tissues
    times the sum of the passes n = 1, 2, ... of the bolus. Each pass is a gamma density g of that
    shape and of scale b, and begins one recirculation time T after the previous one.

    The constants are those of the curve in the paper's supplement. Rounded, they are those of its
    Table 3, which reproduce that curve only to within 2 %.

    References
    ----------
    Georgiou et al., Magn Reson Med 2019, doi:10.1002/mrm.27524, after
    Horsfield et al., Phys Med Biol 2009, doi:10.1088/0031-9155/54/9/023.

    Examples
    --------
    >>> import numpy as np
    >>> georgiou2019(np.array([0.0, 0.125, 1.0])).round(3)
    array([0.   , 8.645, 1.277])
    """
    t = np.asarray(time, float) - arrival
    after = np.maximum(t, 0)
    # a + 1, then b and T in min.
    shape, scale, period = 6.26700, 0.0320788, 0.128556
    # The gamma densities as logarithms: for late passes both factors would overflow.
    # Only the passes that have begun by the last time.
    passes = np.arange(1, int(after.max(initial=0) / period) + 2)
    since = np.maximum(after[..., None] - (passes - 1) * period, 0)
    order = passes * shape
    with np.errstate(divide="ignore"):
        logarithm = (order - 1) * np.log(since / scale) - since / scale - gammaln(order)
    bolus = np.exp(logarithm).sum(axis=-1) / scale
    amount, rate = np.array([0.374336, 0.331180, 10.0614]), np.array([0.112708, 1.17474, 16.0201])
    result: Array = (amount * np.exp(-rate * after[..., None])).sum(axis=-1) * bolus
    return result


POPULATION: dict[str, Callable[[ArrayLike, float], Array]] = {
    "parker2006": parker2006,
    "georgiou2019": georgiou2019,
}
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
