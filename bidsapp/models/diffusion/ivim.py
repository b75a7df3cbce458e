"""Intravoxel incoherent motion (IVIM) by separable least squares: bi-exponential, segmented."""

from collections.abc import Iterator
from functools import partial

import numpy as np
from numpy.typing import NDArray

from bidsapp.errors import FitError
from bidsapp.models.diffusion import noise
from bidsapp.models.diffusion.adc import DecayLine, LogLine
from bidsapp.models.diffusion.decay import (
    B_ZERO,
    decay_curves,
    in_range,
    line_needs,
    mixture_needs,
    noise_needs,
)
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

_GRID = [24, 14]
# The tissue in which `can_identify_dstar` computes the Cramer-Rao bound. The noise has a standard
# deviation of 1, so that S0 is the signal-to-noise ratio.
_REFERENCE: Values = {k: np.array(v) for k, v in {"S0": 40.0, "f": 0.1, "D": 1e-3}.items()}
_REFERENCE_DSTAR = 0.02


def _prepare_biexponential(
    *,
    bvalues: Array,
    b_max: float = np.inf,
    bounds: Bounds | None = None,
    weights: Array | None = None,
) -> Prepared:
    """Prepare the fit of both exponentials at once."""
    used = in_range(bvalues, 0, b_max, weights)
    rates = apply_bounds("ivim-biexponential", (D, DSTAR), bounds)
    solver = _solver("ivim-biexponential", bvalues[used], rates, weights, used)
    seen = can_identify_dstar(bvalues[used])

    def estimate(signal: Array) -> Estimate:
        found = solver.solve(signal[:, used])
        return _to_mixture(found, rates, seen)

    return Prepared(estimate, used)


def _biexponential_needs(
    *, bvalues: Array, b_max: float = np.inf, noise: str = "gaussian", **_: object
) -> Iterator[Need]:
    yield from mixture_needs(bvalues, b_max)
    yield from noise_needs(bvalues, noise)


def _segmented_needs(
    *,
    bvalues: Array,
    b_min: float = 200.0,
    b_max: float = np.inf,
    noise: str = "gaussian",
    **_: object,
) -> Iterator[Need]:
    yield from mixture_needs(bvalues, b_max)
    yield from line_needs(bvalues, b_min, b_max)
    yield from noise_needs(bvalues, noise)


def _prepare_segmented(
    *,
    bvalues: Array,
    b_min: float = 200.0,
    b_max: float = np.inf,
    bounds: Bounds | None = None,
    weights: Array | None = None,
    line: type[LogLine] | type[DecayLine] = LogLine,
) -> Prepared:
    """Prepare D from a straight line through ln S at b >= b_min, then f and D* with D fixed."""
    used = in_range(bvalues, 0, b_max, weights)
    (fast,) = apply_bounds("ivim-segmented", (DSTAR,), bounds)
    rates = (D, fast)
    # b = 0 is never part of the line, whatever b_min: its signal includes the blood.
    first = line(bvalues, in_range(bvalues, max(b_min, B_ZERO), b_max, weights), weights)
    solver = _solver("ivim-segmented", bvalues[used], rates, weights, used)
    seen = can_identify_dstar(bvalues[used])

    def estimate(signal: Array) -> Estimate:
        with np.errstate(all="ignore"):
            straight = first.fit(signal)
        d, error = straight.coefficients[1], straight.errors[1]
        # A D outside its range cannot be kept for the second fit. Such voxels are fitted with a
        # usual D, so that the arrays stay whole, and lose all results but D itself.
        known = (d > D.lower) & (d < D.upper)
        found = solver.solve(signal[:, used], known=np.where(known, d, 1e-3))
        result = _to_mixture(found, rates, seen)
        result.values["D"], result.stderr["D"] = d, error
        for maps in (result.values, result.stderr):
            for name in ("f", "Dstar", "S0"):
                maps[name][~known] = np.nan
        lost = np.where(np.isfinite(d), Status.NOT_IDENTIFIABLE, Status.BAD_INPUT)
        result.status[~known] = lost[~known]
        return result

    return Prepared(estimate, used)


def _solver(
    model: str,
    bvalues: Array,
    rates: tuple[Parameter, ...],
    weights: Array | None,
    used: NDArray[np.bool_],
) -> Solver:
    if len(np.unique(bvalues)) < 4:
        raise FitError(f"{model} needs four b-values, got {bvalues.tolist()} s/mm2")
    part = None if weights is None else weights[used]
    return Solver([decay_curves(bvalues, r) for r in rates], _GRID, part)


def can_identify_dstar(bvalues: Array) -> bool:
    """Return whether D* is identifiable from these b-values.

    Notes
    -----
    It is if the Cramer-Rao bound of D* is below its value for f = 0.1, D = 1e-3 mm2/s and
    D* = 0.02 mm2/s at a signal-to-noise ratio of 40: otherwise a constant would be as accurate.

    References
    ----------
    Lemke et al., Magn Reson Imaging 2011, doi:10.1016/j.mri.2011.03.004 (choice of b-values).

    Examples
    --------
    >>> import numpy as np
    >>> can_identify_dstar(np.array([0, 200, 400, 600, 800, 1000.0]))
    False
    >>> can_identify_dstar(np.array([0, 10, 20, 40, 80, 120, 200, 400, 600, 800, 1000.0]))
    True
    """
    s0, f, d = (float(_REFERENCE[k]) for k in ("S0", "f", "D"))
    fast, slow = np.exp(-bvalues * _REFERENCE_DSTAR), np.exp(-bvalues * d)
    jacobian = np.stack(
        [f * fast + (1 - f) * slow, s0 * (fast - slow), -s0 * (1 - f) * bvalues * slow * d,
         -s0 * f * bvalues * fast * _REFERENCE_DSTAR]
    )  # fmt: skip
    # Derivatives of the signal by S0, f, ln D and ln D*, for noise of one: in the logarithm the
    # variance is relative, and its bound is 1.
    information = jacobian @ jacobian.T
    if np.linalg.cond(information) > 1e12:
        return False
    return bool(np.linalg.inv(information)[3, 3] < 1)


def _to_mixture(found: Solution, rates: tuple[Parameter, ...], seen: bool) -> Estimate:
    """Return f, D, D* and S0 of two exponentials, with standard errors and status.

    D* is not identifiable where there is no fast component, where its standard error exceeds it,
    or where the b-values do not determine it.
    """
    # f = a2 / (a1 + a2): derivatives -a2 / (a1 + a2)^2 and a1 / (a1 + a2)^2; S0 = a1 + a2.
    slow, fast = found.amplitudes
    total = slow + fast
    usable = total > 0
    safe = np.where(usable, total, 1.0)
    error = found.covariance
    with np.errstate(invalid="ignore"):
        scatter = np.sqrt(np.einsum("iiv->iv", error))
    f_error = propagate_error(np.stack([-fast, slow]) / safe**2, error[:2, :2])
    s0_error = propagate_error(np.ones_like(found.amplitudes), error[:2, :2])
    dstar = (fast > 0) & (scatter[3] < found.rates[1]) & seen
    fitted = {"D": found.rates[0], "Dstar": found.rates[1]}
    values = {
        "f": fast / safe,
        "D": np.where(slow > 0, fitted["D"], np.nan),
        "Dstar": np.where(dstar, fitted["Dstar"], np.nan),
        "S0": total,
    }
    stderr = {"f": f_error, "D": scatter[2], "Dstar": scatter[3], "S0": s0_error}
    for name in values:
        values[name][~usable] = np.nan
        stderr[name][~np.isfinite(values[name])] = np.nan
    # In ascending precedence: not identifiable, at a bound (only where identifiable), no signal at
    # all.
    status = np.where(dstar & (slow > 0), Status.OK, Status.NOT_IDENTIFIABLE)
    edge = (values["f"] <= F.lower) | (values["f"] >= F.upper)
    for rate, row in zip(found.rates, rates, strict=True):
        edge |= at_limits(rate, row)
    status[edge & (status == Status.OK)] = Status.AT_BOUND
    status[~usable] = Status.BAD_INPUT
    return Estimate(values, stderr, status.astype(np.int8), found.cost, fitted)


def predict_mixture(values: Values, *, bvalues: Array, b_max: float = np.inf, **_: object) -> Array:
    """Return the signal of both components (..., N); a D* that is NaN counts as very fast."""
    s0, f = values["S0"][..., None], values["f"][..., None]
    d = np.nan_to_num(values["D"])[..., None]
    dstar = np.asarray(values["Dstar"])[..., None]
    # A D* that is not known: the blood contributes at b = 0 alone, as in the asymptotic fit.
    gone = np.where(bvalues < B_ZERO, 1.0, 0.0)
    fast = np.where(np.isnan(dstar), gone, np.exp(-bvalues * np.nan_to_num(dstar)))
    signal = s0 * (f * fast + (1 - f) * np.exp(-bvalues * d))
    return np.where(in_range(bvalues, 0, b_max), signal, np.nan)


BIEXPONENTIAL = Model(
    name="ivim-biexponential",
    label="biexp",
    title="IVIM, bi-exponential fit",
    parameters=(F, D, DSTAR, S0),
    free=4,
    design=("bvalues",),
    options=("b_max", "bounds", "weights", *noise.OPTIONS),
    prepare=noise.with_noise_floor(_prepare_biexponential, _prepare_biexponential, predict_mixture),
    predict=predict_mixture,
    formula="S(b) = S0 (f exp(-b Dstar) + (1 - f) exp(-b D))",
    doi="10.1148/radiology.168.2.3393671",
    learn=noise.learn_noise,
    fitted=("D", "Dstar"),
    requires=_biexponential_needs,
)
SEGMENTED = Model(
    name="ivim-segmented",
    label="segmented",
    title="IVIM, segmented fit",
    parameters=(F, D, DSTAR, S0),
    free=4,
    design=("bvalues",),
    options=("b_min", "b_max", "bounds", "weights", *noise.OPTIONS),
    prepare=noise.with_noise_floor(
        _prepare_segmented, partial(_prepare_segmented, line=DecayLine), predict_mixture
    ),
    predict=predict_mixture,
    formula="D from ln S at b >= b_min; S(b) = S0 (f exp(-b Dstar) + (1 - f) exp(-b D)), D fixed",
    doi="10.1016/j.mri.2011.03.004",
    learn=noise.learn_noise,
    fitted=("D", "Dstar"),
    requires=_segmented_needs,
)
MODELS = (BIEXPONENTIAL, SEGMENTED)
