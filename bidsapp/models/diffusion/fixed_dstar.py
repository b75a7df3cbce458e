"""Intravoxel incoherent motion (IVIM) with the pseudo-diffusion coefficient D* held at a value."""

from collections.abc import Iterator

import numpy as np

from bidsapp.errors import FitError
from bidsapp.models.diffusion import noise
from bidsapp.models.diffusion.decay import B_ZERO, decay_curves, in_range, noise_needs
from bidsapp.models.parameters import DSTAR, S0, D, F, Parameter
from bidsapp.models.solver.base import (
    Array,
    Bounds,
    Estimate,
    Model,
    Need,
    Prepared,
    Status,
    Values,
    apply_bounds,
    at_limits,
)
from bidsapp.models.solver.matrices2x2 import propagate_error
from bidsapp.models.solver.varpro import Solution, Solver

_GRID = 48


def _prepare(
    *,
    bvalues: Array,
    dstar: float,
    b_max: float = np.inf,
    bounds: Bounds | None = None,
    weights: Array | None = None,
) -> Prepared:
    """Prepare the fit of S0, f and D; only D is searched."""
    used = in_range(bvalues, 0, b_max, weights)
    (rate,) = apply_bounds("ivim-fixed-dstar", (D,), bounds)
    _check_dstar(dstar, rate)
    b = bvalues[used]
    if len(np.unique(b)) < 3 or b.min() >= B_ZERO:
        raise FitError(
            f"ivim-fixed-dstar needs b = 0 and two further b-values, got {b.tolist()} s/mm2"
        )
    part = None if weights is None else weights[used]
    # The blood is the first column, a curve without a rate; the tissue is the second.
    solver = Solver([np.exp(-b * dstar), decay_curves(b, rate)], [1, _GRID], part)

    def estimate(signal: Array) -> Estimate:
        return _to_fractions(solver.solve(signal[:, used]), rate)

    return Prepared(estimate, used)


def _check_dstar(dstar: float, rate: Parameter) -> None:
    """Raise an error for a D* that could be confused with D, or is beyond its range."""
    if not rate.upper < dstar <= DSTAR.upper:
        raise FitError(
            f"dstar of ivim-fixed-dstar must be above the largest D that is searched "
            f"({rate.upper:g} mm2/s) and at most {DSTAR.upper:g} mm2/s, got {dstar:g}"
        )


def _to_fractions(found: Solution, rate: Parameter) -> Estimate:
    """Return f, D and S0 with their standard errors and status."""
    # f = a1 / (a1 + a2): derivatives a2 / (a1 + a2)^2 and -a1 / (a1 + a2)^2; S0 = a1 + a2.
    blood, tissue = found.amplitudes
    total = blood + tissue
    usable = total > 0
    safe = np.where(usable, total, 1.0)
    error = found.covariance
    values = {"f": blood / safe, "D": np.where(tissue > 0, found.rates[1], np.nan), "S0": total}
    with np.errstate(invalid="ignore"):
        stderr = {
            "f": propagate_error(np.stack([tissue, -blood]) / safe**2, error[:2, :2]),
            "D": np.sqrt(error[3, 3]),
            "S0": propagate_error(np.ones_like(found.amplitudes), error[:2, :2]),
        }
    for name in values:
        values[name][~usable] = np.nan
        stderr[name][~np.isfinite(values[name])] = np.nan
    edge = at_limits(found.rates[1], rate)
    status = np.where(tissue > 0, Status.OK, Status.NOT_IDENTIFIABLE)
    status[(edge | (values["f"] <= F.lower)) & (status == Status.OK)] = Status.AT_BOUND
    status[~usable] = Status.BAD_INPUT
    return Estimate(values, stderr, status.astype(np.int8), found.cost)


def _needs(
    *, bvalues: Array, b_max: float = np.inf, noise: str = "gaussian", **_: object
) -> Iterator[Need]:
    within = bvalues[bvalues <= b_max]
    yield Need("b = 0", bool((within < B_ZERO).any()))
    yield Need("two further b-values", len(within[within >= B_ZERO]) >= 2)
    yield from noise_needs(bvalues, noise)


def _predict(
    values: Values, *, bvalues: Array, dstar: float, b_max: float = np.inf, **_: object
) -> Array:
    """Return the signal (..., N); where there is no tissue, D is NaN and does not count."""
    s0, f = values["S0"][..., None], values["f"][..., None]
    d = np.nan_to_num(values["D"])[..., None]
    signal = s0 * (f * np.exp(-bvalues * dstar) + (1 - f) * np.exp(-bvalues * d))
    return np.where(in_range(bvalues, 0, b_max), signal, np.nan)


FIXED_DSTAR = Model(
    name="ivim-fixed-dstar",
    label="fixeddstar",
    title="IVIM, fit with D* held constant",
    parameters=(F, D, S0),
    free=3,
    design=("bvalues", "dstar"),
    options=("b_max", "bounds", "weights", *noise.OPTIONS),
    prepare=noise.with_noise_floor(_prepare, _prepare, _predict),
    predict=_predict,
    formula="S(b) = S0 (f exp(-b dstar) + (1 - f) exp(-b D))",
    doi="10.1148/radiology.168.2.3393671",
    learn=noise.learn_noise,
    numbers=("dstar",),
    requires=_needs,
)
MODELS = (FIXED_DSTAR,)
