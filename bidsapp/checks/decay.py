"""Whether the signal of a head falls smoothly with b, from the level that a brain has at b = 0.

Shells are compared here with each other; the volumes within a shell are compared in ``diffusion``.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from bidsapp.checks.finding import Finding
from bidsapp.checks.head import FEWEST, Array, sample_voxels

_RATES = (5e-3, 20e-3, 80e-3)
"""Pseudo-diffusion coefficients that together represent any perfusion of the brain, mm2/s."""
_FRACTION, _FRACTION_SD = 0.02, (0.025, 0.025, 0.035)
"""Mean and SD of the perfusion fraction at each of these rates: 0.06 and 0.05 in total."""
_CURVATURE = (0.06e-6, 0.05e-6)
"""Mean and SD of the coefficient of b squared, from kurtosis and mixed tissues, mm4/s2."""
_LEVEL, _DIFFUSIVITY = 100.0, 1e-3
"""SD of the logarithm of the signal at b = 0, and of the diffusivity (mm2/s): free."""
_ERROR = (0.01, 0.02)
"""SD of the mean logarithm of a shell from directions and drift: at b = 0, and per 1000 s/mm2."""
_FEWEST_SHELLS = 4
_DEVIATION = 2.0
"""Deviation of a shell from the others that is reported, in SD; up to 1.4 in sound slabs."""
_RELEVANT, _RELEVANT_B_ZERO = 0.04, 0.09
"""Logarithm of a ratio of signals below which a deviation is not reported.

At b = 0 brains differ by more: 0.09 is a median perfusion fraction of -0.03 or 0.15."""
_OFFSET = 0.15
"""Signal of air, relative to that of the head at the highest b, that changes f by about 10 %."""
_DARK = 0.05
"""Share of the voxels, the darkest ones, that are air in any image of a head."""
_STEADY = (0.25, 0.2)
"""Variation of a constant: SD over the mean (0.5 in noise), and change from low to high b."""
_WEIGHTED = 300.0
"""b-value from which tissue has lost clearly more signal than `_STEADY`, s/mm2."""


def steady_background(data: NDArray[np.float32], bvalues: Array) -> Finding | None:
    """Return a finding if a constant appears to have been added to the whole image.

    It shows in the darkest voxels: they hardly vary, and do not decay with b as tissue does.

    Parameters
    ----------
    data : (X, Y, Z, N) array
        The series as acquired.
    bvalues : (N,) array, s/mm2

    Returns
    -------
    Finding or None
        None as well if everything outside the head is zero, as after skull stripping.
    """
    voxels = sample_voxels(data)
    mean = voxels.mean(axis=1)
    present = mean > 0
    if np.count_nonzero(present) < FEWEST / _DARK or bvalues.max() < _WEIGHTED:
        return None
    dark = voxels[present & (mean <= np.quantile(mean[present], _DARK))]
    bright = voxels[mean > np.median(mean[mean > mean.mean()])]
    weighted = bvalues >= 0.9 * bvalues.max()
    first, last = (float(dark[:, part].mean()) for part in (bvalues == bvalues.min(), weighted))
    share = last / float(np.median(bright[:, weighted]))
    variation, change = float(dark.std()) / max(first, 1e-30), abs(last - first)
    if share < _OFFSET or variation > _STEADY[0] or change > _STEADY[1] * first:
        return None
    return Finding(
        f"the air around the head has a steady signal of {last:.3g}, {100 * share:.0f} % of that "
        f"of the head at b = {bvalues.max():g} s/mm2: f and D are wrong if a constant was added to "
        "the image (also by the sum of squares of many coils); export the image without it"
    )


def unsmooth_decay(bvalues: Array, course: Array) -> Iterator[Finding]:
    """Yield the shell that deviates most from the smooth curve through the others.

    Parameters
    ----------
    bvalues : (S,) array, s/mm2
        Shells in ascending order.
    course : (S,) array
        Median logarithm of the signal of brain tissue in each shell.

    Yields
    ------
    Finding
        At most one, since a wrong shell shifts the curve for the others as well.

    Examples
    --------
    >>> b = np.array([0, 200, 400, 600, 800, 1000.0])
    >>> course = np.log(0.06 * np.exp(-b * 10e-3) + 0.94 * np.exp(-b * 0.75e-3))
    >>> list(unsmooth_decay(b, course))
    []
    >>> [found] = unsmooth_decay(b, course + np.where(b == 600, np.log(1.2), 0))
    >>> found.text.split(",")[0]
    'the signal at b = 600 s/mm2 is 20 % above the curve through the other b-values of the brain'
    """
    if len(bvalues) < _FEWEST_SHELLS:
        return
    deviations, errors = shell_deviations(bvalues, course)
    worst = int(np.argmax(np.abs(deviations) / errors))
    deviation, error = float(deviations[worst]), float(errors[worst])
    relevant = _RELEVANT if worst else _RELEVANT_B_ZERO
    if abs(deviation) < max(_DEVIATION * error, relevant):
        return
    percent = 100 * np.expm1(deviation)
    text = (
        f"the signal at b = {bvalues[worst]:g} s/mm2 is {abs(percent):.0f} % "
        f"{'above' if percent > 0 else 'below'} the curve through the other b-values of the brain, "
        f"which is known to {100 * error:.0f} %, "
    )
    if worst == 0:
        fraction = -np.expm1(-len(_RATES) * _FRACTION - deviation)
        text += f"as if the perfusion fraction were {100 * fraction:.0f} % in most of it: "
        text += (
            "was this image scaled differently (gain, scale factor), or acquired in another scan?"
        )
    else:
        slope = (course[0] - course[-1]) / (bvalues[-1] - bvalues[0])
        apparent = max(bvalues[worst] - deviation / slope, 0.0)
        text += (
            f"as if b were about {apparent:.0f} or these images were scaled differently: compare "
        )
        text += "the b-value with the protocol, and the scale factors of the images"
    yield Finding(text)


def shell_deviations(bvalues: Array, course: Array) -> tuple[Array, Array]:
    """Return the deviation of each shell from its prediction by the others, and the SD of that.

    Parameters
    ----------
    bvalues : (S,) array, s/mm2
    course : (S,) array
        Logarithm of the signal.

    Returns
    -------
    deviations, errors : (S,) arrays

    Notes
    -----
    Linear regression with a normal prior of its coefficients, left out one by one in closed form
    (Rasmussen and Williams, Gaussian Processes for Machine Learning, 2006, equation 5.12). The
    logarithm of the signal is a line with a curvature and a few perfusion terms, to first order.
    """
    perfusion = [np.exp(-bvalues * rate) for rate in _RATES]
    terms = [(_LEVEL, np.ones_like(bvalues)), (_DIFFUSIVITY, bvalues), (_CURVATURE[1], bvalues**2)]
    terms += zip(_FRACTION_SD, perfusion, strict=True)
    expected = _CURVATURE[0] * bvalues**2 + _FRACTION * np.sum(perfusion, axis=0)
    noise = _ERROR[0] + _ERROR[1] * bvalues / 1000
    covariance = np.diag(noise**2) + sum(sd**2 * np.outer(term, term) for sd, term in terms)
    precision = np.linalg.inv(covariance)
    variance = 1 / np.diag(precision)
    deviations: Array = variance * (precision @ (course - expected))
    errors: Array = np.sqrt(variance)
    return deviations, errors
