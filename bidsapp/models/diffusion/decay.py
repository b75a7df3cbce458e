"""Elements that the diffusion models share: b-values, exponential decays and requirements."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from bidsapp.errors import FitError
from bidsapp.models.parameters import Parameter
from bidsapp.models.solver.base import Array, Need
from bidsapp.models.solver.reduced_space import Axis, Family

B_ZERO = 5.0
"""A b-value below this, in s/mm2, counts as zero."""


NOISE_LEVEL_SHELLS = 5
"""Smallest number of b-values from which the noise level can be estimated."""

# mm2/s; the axis on which a rate is searched is linear below and logarithmic above (`Axis`).
_SCALE = {"D": 2e-4, "Dstar": 3e-3}


def decay_curves(bvalues: Array, rate: Parameter) -> Family:
    """Return the curves ``exp(-b rate)`` between the bounds of D or D*."""
    return Family(
        lambda rates: np.exp(-rates[..., None] * bvalues),
        Axis(rate.lower, rate.upper, _SCALE[rate.name]),
    )


def in_range(
    bvalues: Array, b_min: float, b_max: float, weights: Array | None = None
) -> NDArray[np.bool_]:
    """Return which b-values lie in a range, both ends included, and have a weight."""
    inside = (bvalues >= b_min) & (bvalues <= b_max)
    return inside if weights is None else inside & (weights > 0)


def require_zero(model: str, bvalues: Array, weights: Array | None = None) -> NDArray[np.bool_]:
    """Return which b-values are zero, and have a weight.

    Raises
    ------
    FitError
        If none is.
    """
    zero = in_range(bvalues, -B_ZERO, B_ZERO, weights) & (bvalues < B_ZERO)
    if not zero.any():
        raise FitError(
            f"{model} needs the signal at b = 0; the lowest b-value is {np.min(bvalues):g} s/mm2. "
            "Use ivim-biexponential, which needs none"
        )
    return zero


def line_needs(bvalues: Array, b_min: float, b_max: float) -> Iterator[Need]:
    """Yield the requirements of a straight line through the high b-values."""
    text = f"two b-values from {b_min:g} s/mm2"
    yield Need(text, bool(in_range(bvalues, b_min, b_max).sum() >= 2))


def mixture_needs(bvalues: Array, b_max: float) -> Iterator[Need]:
    """Yield the requirements of two exponentials, which have four parameters."""
    yield Need("four b-values", bool((bvalues <= b_max).sum() >= 4))


def noise_needs(bvalues: Array, noise: str) -> Iterator[Need]:
    """Yield the requirements of an estimate of the noise level, if the noise is Rician."""
    if noise == "rician":
        yield Need("five for the noise level", len(bvalues) >= NOISE_LEVEL_SHELLS)
