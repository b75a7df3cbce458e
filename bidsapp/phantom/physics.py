"""Properties of the tissues, and their signals."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import optimize

from bidsapp.models import MODELS
from bidsapp.models.contrast.aif import parker2006, plasma_from_blood
from bidsapp.models.contrast.spgr import contrast_r1, spgr_signal

Array = NDArray[np.float64]

DSTAR = 10e-3
"""Pseudo-diffusivity of the blood in the capillaries, mm2/s."""
HAEMATOCRIT = 0.42
RELAXIVITY = 4.5
"""Relaxivity of gadobutrol in blood plasma at 3 T, 1/s/mM."""
AGENT = "gadobutrol"
BVALUES = (0, 200, 400, 600, 800, 1000)
VENOUS_DELAY = 0.1
"""Delay of the venous sinuses relative to the arteries, min."""


@dataclass(frozen=True)
class Tissue:
    """Homogeneous properties of a tissue at 3 T.

    Attributes
    ----------
    density : float
        Proton density relative to water.
    t1, t2 : float, s
    diffusivity : tuple of three floats, mm2/s
        Diffusivity of tissue water along the x, y and z axes of the head.
    f : float
        Perfusion fraction.
    Ktrans : float, 1/min
    ve, vp : float
        Fractions.
    blood : str
        ``artery`` or ``vein`` for a vessel, with the concentration of whole blood.
    epi : float
        Fraction of the signal that remains in spin-echo EPI after fat suppression or flow void.
    """

    density: float
    t1: float
    t2: float
    diffusivity: tuple[float, float, float]
    f: float = 0.0
    Ktrans: float = 0.0
    ve: float = 0.2
    vp: float = 0.0
    blood: str = ""
    epi: float = 1.0

    @property
    def mean_diffusivity(self) -> float:
        """Mean over the three axes, mm2/s."""
        return sum(self.diffusivity) / 3


def _isotropic(diffusivity: float) -> tuple[float, float, float]:
    return (diffusivity,) * 3


def _white(axis: int) -> Tissue:
    along, across = 1.45e-3, 0.40e-3
    x, y, z = (along if i == axis else across for i in range(3))
    return Tissue(0.70, 0.84, 0.070, (x, y, z), f=0.035, vp=0.012)


TISSUES: dict[str, Tissue] = {
    "white_x": _white(0),
    "white_y": _white(1),
    "white_z": _white(2),
    "grey": Tissue(0.82, 1.60, 0.095, _isotropic(0.78e-3), f=0.06, vp=0.03),
    "csf": Tissue(1.0, 4.0, 1.0, _isotropic(3.0e-3)),
    "meninges": Tissue(0.7, 1.3, 0.05, _isotropic(1.0e-3), f=0.1, Ktrans=0.12, ve=0.25, vp=0.05),
    "bone": Tissue(0.06, 0.8, 0.02, _isotropic(0.3e-3)),
    "marrow": Tissue(0.5, 0.45, 0.05, _isotropic(0.3e-3), vp=0.02, Ktrans=0.02, epi=0.1),
    "fat": Tissue(0.9, 0.37, 0.07, _isotropic(0.1e-3), epi=0.06),
    "muscle": Tissue(0.75, 1.42, 0.035, _isotropic(1.5e-3), Ktrans=0.03, ve=0.12, vp=0.02),
    "artery": Tissue(0.85, 1.65, 0.15, _isotropic(2.0e-3), blood="artery", epi=0.1),
    "vein": Tissue(0.85, 1.65, 0.06, _isotropic(2.0e-3), blood="vein", epi=0.3),
}
"""Relaxation after Stanisz et al., Magn Reson Med 2005, doi:10.1002/mrm.20605 and Lu et al.,
J Magn Reson Imaging 2005, doi:10.1002/jmri.20356; other properties are typical values."""


def lesion_tissues(
    *,
    Ktrans: float,
    ve: float,
    vp: float,
    adc: float,
    f: float,
    t1: float,
    haemorrhagic: bool = False,
) -> dict[str, Tissue]:
    """Return rim, core and oedema of a lesion.

    Parameters
    ----------
    Ktrans : float, 1/min
    ve, vp : float
        Fractions.
    adc : float, mm2/s
        Mono-exponential, over all b-values.
    f : float
    t1 : float, s
    haemorrhagic : bool
        Whether T1 and T2 are shortened by methaemoglobin and haemosiderin.

    Returns
    -------
    dict of Tissue
    """
    t2 = 0.045 if haemorrhagic else 0.105
    diffusivity = _isotropic(diffusivity_of_adc(adc, f))
    rim = Tissue(0.85, 0.8 if haemorrhagic else t1, t2, diffusivity, f, Ktrans, ve, vp)
    return {
        "rim": rim,
        "core": Tissue(0.93, 2.4, 0.04 if haemorrhagic else 0.22, _isotropic(1.9e-3)),
        "oedema": Tissue(0.85, 1.45, 0.14, _isotropic(1.45e-3), f=0.02, vp=0.01),
    }


def attenuation(bvalues: ArrayLike, f: ArrayLike, d: ArrayLike, dstar: float = DSTAR) -> Array:
    """Return the bi-exponential attenuation ``f exp(-b D*) + (1 - f) exp(-b D)``.

    Parameters
    ----------
    bvalues : (N,) array, s/mm2
    f, d : (...) array
    dstar : float, mm2/s

    Returns
    -------
    (..., N) array

    Examples
    --------
    >>> attenuation([0, 1000], 0.0, 1e-3).round(4)
    array([1.    , 0.3679])
    """
    b, share = np.asarray(bvalues, float), np.asarray(f, float)[..., None]
    tissue = np.exp(-b * np.asarray(d, float)[..., None])
    result: Array = share * np.exp(-b * dstar) + (1 - share) * tissue
    return result


def adc_of(diffusivity: Sequence[float], f: float, bvalues: Sequence[float] = BVALUES) -> float:
    """Return the ADC of the trace signal: the least-squares slope of its logarithm against b.

    Parameters
    ----------
    diffusivity : three floats, mm2/s
        Along the gradient directions.
    f : float
    bvalues : sequence of float, s/mm2

    Returns
    -------
    float, mm2/s

    Examples
    --------
    >>> round(adc_of([1e-3, 1e-3, 1e-3], 0.0) * 1e3, 9)
    1.0
    """
    trace = np.log(attenuation(bvalues, f, np.asarray(diffusivity))).mean(axis=0)
    return float(-np.polyfit(np.asarray(bvalues, float), trace, 1)[0])


def diffusivity_of_adc(adc: float, f: float) -> float:
    """Return the diffusivity D for which a tissue with perfusion fraction f has a given ADC.

    Examples
    --------
    >>> d = diffusivity_of_adc(1.1e-3, 0.1)
    >>> round(adc_of([d, d, d], 0.1) * 1e3, 9)
    1.1
    """

    def excess(diffusivity: float) -> float:
        return adc_of([diffusivity] * 3, f) - adc

    return float(optimize.brentq(excess, 0.0, 8e-3, xtol=1e-15))


def spin_echo_epi(tissue: Tissue, repetition_time: float, echo_time: float) -> float:
    """Return the signal of spin-echo EPI without diffusion weighting, T2-weighted."""
    saturation = 1 - np.exp(-repetition_time / tissue.t1)
    return float(tissue.epi * tissue.density * saturation * np.exp(-echo_time / tissue.t2))


def diffusion_weighted(tissue: Tissue, bvalue: float, direction: ArrayLike) -> float:
    """Return the attenuation along a gradient direction (unit vector in head coordinates)."""
    along = float(np.square(direction) @ np.array(tissue.diffusivity))
    return float(attenuation([bvalue], tissue.f, along)[0])


def arterial_blood(time: ArrayLike, arrival: float, scale: float) -> Array:
    """Return the concentration in arterial blood, mM: Parker's population function, scaled.

    Parameters
    ----------
    time : (N,) array, min
    arrival : float, min
    scale : float

    Returns
    -------
    (N,) array, mM
    """
    return scale * parker2006(time, arrival)


def concentrations(tissues: Sequence[Tissue], time: ArrayLike, blood: ArrayLike) -> Array:
    """Return the concentration of contrast agent in every tissue.

    Parameters
    ----------
    tissues : sequence of Tissue
    time : (N,) array, min
        Fine enough for linear interpolation of the blood concentration.
    blood : (N,) array, mM
        Whole arterial blood.

    Returns
    -------
    (tissues, N) array, mM
    """
    minutes, artery = np.asarray(time, float), np.asarray(blood, float)
    vein = np.interp(minutes - VENOUS_DELAY, minutes, artery)
    values = {n: np.array([getattr(t, n) for t in tissues]) for n in ("Ktrans", "ve", "vp")}
    model = MODELS["extended-tofts"]
    tissue = model.predict(values, time=minutes, plasma=plasma_from_blood(artery, HAEMATOCRIT))
    vessel = {"artery": artery, "vein": vein}
    return np.array([vessel.get(t.blood, c) for t, c in zip(tissues, tissue, strict=True)])


def spoiled_gradient_echo(
    tissues: Sequence[Tissue], concentration: ArrayLike, repetition_time: float, flip_angle: float
) -> Array:
    """Return the signal of a spoiled gradient echo with contrast agent.

    Parameters
    ----------
    tissues : sequence of Tissue
    concentration : (tissues, N) array, mM
    repetition_time : float, s
    flip_angle : float, rad

    Returns
    -------
    (tissues, N) array
    """
    t1 = np.array([t.t1 for t in tissues])[:, None]
    density = np.array([t.density for t in tissues])[:, None]
    r1 = contrast_r1(concentration, t1, RELAXIVITY)
    return spgr_signal(r1, repetition_time, flip_angle, density)
