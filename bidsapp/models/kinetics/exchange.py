"""Two-compartment exchange and uptake models: plasma flow, permeability and volumes."""

import numpy as np

from bidsapp.models.kinetics.convolution import delayed_curves
from bidsapp.models.kinetics.tofts import uptake_curves, used_frames
from bidsapp.models.parameters import FP, PS, VE, VP, Parameter
from bidsapp.models.solver.base import Array, Estimate, Model, Prepared, Status, Values, at_limits
from bidsapp.models.solver.matrices2x2 import propagate_error
from bidsapp.models.solver.varpro import Solution, Solver

# The ranges overlap, as either rate may lie between 0.5 and 10 per minute. The order in which the
# fit returns them does not matter: `from_response` is symmetric in the two exponentials.
_SLOW = Parameter("slow rate", "1/min", 0.0, 10.0, "slower rate of the tissue's response")
_FAST = Parameter("fast rate", "1/min", 0.5, 120.0, "faster rate of the tissue's response")
_GRID = [24, 20]
_NAMES = ("Fp", "PS", "ve", "vp")
_RESPONSE = ("a1", "a2", "k1", "k2")
"""The tissue's response ``a1 exp(-k1 t) + a2 exp(-k2 t)`` (k1 is 0 in the uptake model)."""


def _prepare(
    *, time: Array, plasma: Array, delay: float = 0.0, weights: Array | None = None
) -> Prepared:
    """Prepare the fit of the two exponentials of the tissue's response."""
    rates = (_SLOW, _FAST)
    solver = Solver([uptake_curves(time, plasma, delay, r) for r in rates], _GRID, weights)

    def estimate(signal: Array) -> Estimate:
        return _to_physiology(solver.solve(signal))

    return Prepared(estimate, used_frames(time, weights))


def _to_physiology(found: Solution) -> Estimate:
    """Return flow, exchange and volumes; not identifiable where one exponential is enough."""
    # Where one exponential suffices the four parameters are not determined. These voxels are
    # computed with harmless numbers in place of theirs, and set to NaN below.
    both = (found.amplitudes > 0).all(axis=0) & (found.rates[0] > 0)
    both &= np.abs(found.rates[1] - found.rates[0]) > 1e-6 * found.rates[1]
    response = np.concatenate([found.amplitudes, found.rates])
    safe = np.where(both, response, np.array([[1.0], [1.0], [0.5], [5.0]]))
    values = from_response(safe)
    gradient = _gradient(safe)
    covariance = found.covariance
    known = both & (values[2] <= VE.upper) & (values[3] <= VP.upper)
    error = [propagate_error(gradient[i], covariance) for i in range(4)]
    # A slower rate of zero, which is also a limit, is not identifiable in any case.
    edge = at_limits(found.rates[1], _FAST) | at_limits(found.rates[0], _SLOW)
    status = np.where(edge, Status.AT_BOUND, Status.OK)
    status = np.where(known, status, Status.NOT_IDENTIFIABLE)
    return Estimate(
        {k: np.where(known, v, np.nan) for k, v in zip(_NAMES, values, strict=True)},
        {k: np.where(known, v, np.nan) for k, v in zip(_NAMES, error, strict=True)},
        status.astype(np.int8),
        found.cost,
        dict(zip(_RESPONSE, response, strict=True)),
    )


def from_response(response: Array) -> Array:
    """Return Fp, PS, ve and vp (4, V) from amplitudes a1, a2 and rates k1, k2 (4, V).

    Notes
    -----
    The tissue's response is ``a1 exp(-k1 t) + a2 exp(-k2 t)``. At zero it is Fp and falls at
    ``Fp^2 / vp``, its integral is ``ve + vp``, and ``k1 k2 = Fp PS / (vp ve)``. For amplitudes
    that are not negative all four are physical.

    Examples
    --------
    >>> import numpy as np
    >>> from_response(np.array([[0.1], [0.4], [0.2], [8.0]]))[0].item()
    0.5
    """
    a1, a2, k1, k2 = response
    flow = a1 + a2
    vp = flow**2 / (a1 * k1 + a2 * k2)
    ve = a1 / k1 + a2 / k2 - vp
    return np.stack([flow, k1 * k2 * vp * ve / flow, ve, vp])


def _gradient(response: Array) -> Array:
    """Return the derivatives (4, 4, V) of Fp, PS, ve, vp by the response, by complex steps."""
    # Complex steps: Im f(x + ih) / h is the derivative to rounding error, without a difference.
    step = 1e-30
    columns = []
    for i in range(4):
        shifted = response.astype(complex)
        shifted[i] += 1j * step
        columns.append(from_response(shifted).imag / step)
    return np.stack(columns, axis=1)


def to_response(flow: Array, exchange: Array, ve: Array, vp: Array) -> tuple[Array, ...]:
    """Return amplitudes a1, a2 and rates k1 <= k2 of the tissue's response, (...) each.

    Notes
    -----
    The inverse of `from_response`: the rates are the eigenvalues of the two mass balances (their
    sum is ``(Fp + PS) / vp + PS / ve``, their product ``Fp PS / (vp ve)``), and the amplitudes
    have the sum Fp and the initial slope ``-Fp^2 / vp``.
    """
    out = flow / vp
    back = np.where(ve > 0, exchange / np.where(ve > 0, ve, 1.0), 0.0)
    total = out + exchange / vp + back
    root = np.sqrt(np.maximum(total**2 - 4 * back * out, 0))
    fast, slow = (total + root) / 2, (total - root) / 2
    # With a2 = share Fp and k2 - k1 = root, the initial slope demands (1 - share) k1 + share k2 =
    # Fp / vp.
    share = np.where(root > 0, (out - slow) / np.where(root > 0, root, 1.0), 1.0)
    return flow * (1 - share), flow * share, slow, fast


def _predict(
    values: Values, *, time: Array, plasma: Array, delay: float = 0.0, **_: object
) -> Array:
    a1, a2, k1, k2 = _response({k: np.asarray(v, float) for k, v in values.items()})
    slow, fast = (delayed_curves(time, plasma, k, delay)[1] for k in (k1, k2))
    result: Array = a1[..., None] * slow + a2[..., None] * fast
    return result


def _response(values: Values) -> tuple[Array, ...]:
    """Return a1, a2, k1 and k2 of the response: as fitted, or from flow, exchange and volumes."""
    if "a1" in values:
        return tuple(values[k] for k in _RESPONSE)
    return to_response(*(values[k] for k in _NAMES))


def _prepare_uptake(
    *, time: Array, plasma: Array, delay: float = 0.0, weights: Array | None = None
) -> Prepared:
    """Prepare the exchange model without return of the agent: the slower rate is zero."""
    retained = delayed_curves(time, plasma, 0.0, delay)[1]
    solver = Solver([retained, uptake_curves(time, plasma, delay, _FAST)], [1, 48], weights)

    def estimate(signal: Array) -> Estimate:
        return _uptake_to_physiology(solver.solve(signal))

    return Prepared(estimate, used_frames(time, weights))


def _uptake_to_physiology(found: Solution) -> Estimate:
    """Return flow, uptake and plasma volume; not identifiable if no agent leaves with the blood."""
    # Response ``a1 + a2 exp(-k2 t)``: Fp = a1 + a2, the share a1 / Fp is extracted, so
    # PS = Fp a1 / a2, and k2 = (Fp + PS) / vp = Fp^2 / (a2 vp). Derivatives by a1, a2 and k2.
    kept, rate = found.amplitudes[0], found.rates[1]
    passing = found.amplitudes[1] > 0
    through = np.where(passing, found.amplitudes[1], 1.0)
    flow = kept + through
    exchange, vp = flow * kept / through, flow**2 / (through * rate)
    toward = {
        "Fp": (np.ones_like(kept), np.ones_like(kept), np.zeros_like(kept)),
        "PS": (1 + 2 * kept / through, -np.square(kept / through), np.zeros_like(kept)),
        "vp": (2 * vp / flow, 2 * vp / flow - vp / through, -vp / rate),
    }
    covariance = found.covariance[np.ix_([0, 1, 3], [0, 1, 3])]
    known = passing & (vp <= VP.upper)
    values = {"Fp": flow, "PS": exchange, "vp": vp}
    edge = at_limits(rate, _FAST) | (kept <= 0)
    status = np.where(known, np.where(edge, Status.AT_BOUND, Status.OK), Status.NOT_IDENTIFIABLE)
    error = {k: propagate_error(np.stack(g), covariance) for k, g in toward.items()}
    return Estimate(
        {k: np.where(known, v, np.nan) for k, v in values.items()},
        {k: np.where(known, v, np.nan) for k, v in error.items()},
        status.astype(np.int8),
        found.cost,
        {"a1": kept, "a2": found.amplitudes[1], "k2": rate},
    )


def _predict_uptake(
    values: Values, *, time: Array, plasma: Array, delay: float = 0.0, **_: object
) -> Array:
    kept, passed, rate = _uptake_response({k: np.asarray(v, float) for k, v in values.items()})
    retained = delayed_curves(time, plasma, 0.0, delay)[1]
    passing = delayed_curves(time, plasma, rate, delay)[1]
    result: Array = kept[..., None] * retained + passed[..., None] * passing
    return result


def _uptake_response(values: Values) -> tuple[Array, Array, Array]:
    """Return a1, a2 and k2 of the response: as fitted, or from flow, uptake and plasma volume."""
    if "a1" in values:
        return values["a1"], values["a2"], values["k2"]
    flow, exchange, vp = (values[k] for k in ("Fp", "PS", "vp"))
    kept = flow * exchange / (flow + exchange)
    return kept, flow - kept, (flow + exchange) / vp


TWO_COMPARTMENT_EXCHANGE = Model(
    name="two-compartment-exchange",
    label="2cxm",
    title="two-compartment exchange",
    parameters=(FP, PS, VE, VP),
    free=4,
    design=("time", "plasma"),
    options=("delay", "weights"),
    numbers=("delay",),
    prepare=_prepare,
    predict=_predict,
    formula="vp dcp/dt = Fp (ca - cp) - PS (cp - ce), ve dce/dt = PS (cp - ce), C = vp cp + ve ce",
    doi="10.1002/nbm.2940",
    fitted=_RESPONSE,
)
TWO_COMPARTMENT_UPTAKE = Model(
    name="two-compartment-uptake",
    label="2cum",
    title="two-compartment uptake",
    parameters=(FP, PS, VP),
    free=3,
    design=("time", "plasma"),
    options=("delay", "weights"),
    numbers=("delay",),
    prepare=_prepare_uptake,
    predict=_predict_uptake,
    formula="vp dcp/dt = Fp (ca - cp) - PS cp, C = vp cp + PS int_0^t cp(u) du",
    doi="10.1002/nbm.2940",
    fitted=("a1", "a2", "k2"),
)
MODELS = (TWO_COMPARTMENT_EXCHANGE, TWO_COMPARTMENT_UPTAKE)
