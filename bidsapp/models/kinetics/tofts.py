"""Pharmacokinetics of a contrast agent: Tofts, extended Tofts, Patlak."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from bidsapp.models.kinetics.convolution import delayed_curves
from bidsapp.models.parameters import KEP, KTRANS, VE, VP, Parameter
from bidsapp.models.solver.base import (
    Array,
    Bounds,
    Estimate,
    Model,
    Prepared,
    Status,
    Values,
    apply_bounds,
    at_limits,
)
from bidsapp.models.solver.matrices2x2 import propagate_error
from bidsapp.models.solver.reduced_space import Axis, Column, Family
from bidsapp.models.solver.varpro import Solution, Solver

# 1/min; the axis on which a rate is searched is linear below and logarithmic above (`Axis`).
_SCALE = 0.05
_GRID = 48


def uptake_curves(time: Array, plasma: Array, delay: float, rate: Parameter) -> Family:
    """Return concentration curves of tissue from which the agent returns at a rate."""
    return Family(
        lambda rates: delayed_curves(time, plasma, rates, delay)[1],
        Axis(rate.lower, rate.upper, _SCALE),
    )


def used_frames(time: Array, weights: Array | None) -> NDArray[np.bool_]:
    """Return which frames have a weight above zero."""
    return np.ones(len(time), bool) if weights is None else weights > 0


def _prepare_tofts(*, with_plasma: bool) -> Callable[..., Prepared]:
    """Return the preparation of the Tofts model, with or without agent in the plasma."""

    def prepare(
        *,
        time: Array,
        plasma: Array,
        delay: float = 0.0,
        bounds: Bounds | None = None,
        weights: Array | None = None,
    ) -> Prepared:
        name = "extended-tofts" if with_plasma else "tofts"
        (rate,) = apply_bounds(name, (KEP,), bounds)
        columns: list[Column] = [uptake_curves(time, plasma, delay, rate)]
        if with_plasma:
            columns.insert(0, delayed_curves(time, plasma, 0.0, delay)[0])
        # The plasma curve, if there is one, is the first column and has no rate.
        solver = Solver(columns, [1, _GRID][-len(columns) :], weights)

        def estimate(signal: Array) -> Estimate:
            return _to_physiology(solver.solve(signal), rate, with_plasma=with_plasma)

        return Prepared(estimate, used_frames(time, weights))

    return prepare


def _to_physiology(found: Solution, limit: Parameter, *, with_plasma: bool) -> Estimate:
    """Return Ktrans, ve, kep and perhaps vp with their standard errors.

    A ve above 1 is not identifiable: the curve shows no return of the agent.
    """
    # ve = Ktrans / kep; its error by the derivatives 1 / kep and -Ktrans / kep^2, from rows and
    # columns 1 (amplitude of the second column) and 3 (its rate) of the covariance.
    ktrans, rate = found.amplitudes[1], found.rates[1]
    covariance = found.covariance
    exchanging = (ktrans > 0) & (rate > 0)
    safe = np.where(exchanging, rate, 1.0)
    ve = np.where(exchanging, ktrans / safe, np.nan)
    within = ve <= VE.upper
    toward = np.stack([1 / safe, -ktrans / safe**2])
    ve_error = propagate_error(toward, covariance[1::2, 1::2])
    values = {
        "Ktrans": ktrans,
        "ve": np.where(within, ve, np.nan),
        "kep": np.where(ktrans > 0, rate, np.nan),
    }
    stderr = {
        "Ktrans": np.sqrt(covariance[1, 1]),
        "ve": np.where(within, ve_error, np.nan),
        "kep": np.where(ktrans > 0, np.sqrt(covariance[3, 3]), np.nan),
    }
    bound = at_limits(rate, limit) | (ktrans <= 0)
    if with_plasma:
        values["vp"], stderr["vp"] = found.amplitudes[0], np.sqrt(covariance[0, 0])
        bound |= _vp_out_of_range(values["vp"])
    status = np.where(within, np.where(bound, Status.AT_BOUND, Status.OK), Status.NOT_IDENTIFIABLE)
    return Estimate(values, stderr, status.astype(np.int8), found.cost)


def _vp_out_of_range(vp: Array) -> NDArray[np.bool_]:
    return (vp <= 0) | (vp > VP.upper)


def _prepare_patlak(
    *, time: Array, plasma: Array, delay: float = 0.0, weights: Array | None = None
) -> Prepared:
    """Prepare the fit of vp and Ktrans without return to the plasma."""
    # Two columns without a rate, the plasma curve (amplitude vp) and its integral (amplitude
    # Ktrans): a linear problem, which the solver solves in one step.
    solver = Solver(delayed_curves(time, plasma, 0.0, delay), [1, 1], weights)

    def estimate(signal: Array) -> Estimate:
        found = solver.solve(signal)
        error = np.sqrt(np.einsum("iiv->iv", found.covariance))
        vp, ktrans = found.amplitudes
        status = np.where(_vp_out_of_range(vp) | (ktrans <= 0), Status.AT_BOUND, Status.OK)
        return Estimate(
            {"Ktrans": ktrans, "vp": vp},
            {"Ktrans": error[1], "vp": error[0]},
            status.astype(np.int8),
            found.cost,
        )

    return Prepared(estimate, used_frames(time, weights))


def _return_rate(values: Values) -> Array:
    """Return kep, from ve where kep is not given; 0 where there is no exchange."""
    if "kep" in values:
        return np.nan_to_num(values["kep"])
    ktrans, ve = np.broadcast_arrays(values["Ktrans"], values["ve"])
    return np.where(ve > 0, ktrans / np.where(ve > 0, ve, 1.0), 0.0)


def _predictor(*, with_plasma: bool, with_return: bool) -> Callable[..., Array]:
    """Return the forward model with or without a plasma term and return to the plasma."""

    def predict(
        values: Values, *, time: Array, plasma: Array, delay: float = 0.0, **_: object
    ) -> Array:
        # Without return the curve is the plain integral, that of a rate of zero.
        arrays = {k: np.asarray(v, float) for k, v in values.items()}
        rate = _return_rate(arrays) if with_return else np.zeros_like(arrays["Ktrans"])
        blood, tissue = delayed_curves(time, plasma, rate, delay)
        taken_up = arrays["Ktrans"][..., None] * tissue
        return taken_up + arrays["vp"][..., None] * blood if with_plasma else taken_up

    return predict


TOFTS = Model(
    name="tofts",
    label="tofts",
    title="Tofts",
    parameters=(KTRANS, VE, KEP),
    free=2,
    design=("time", "plasma"),
    options=("delay", "bounds", "weights"),
    numbers=("delay",),
    prepare=_prepare_tofts(with_plasma=False),
    predict=_predictor(with_plasma=False, with_return=True),
    formula="C(t) = Ktrans int_0^t Cp(u) exp(-kep (t - u)) du",
    doi="10.1002/mrm.1910170208",
)
EXTENDED_TOFTS = Model(
    name="extended-tofts",
    label="etofts",
    title="extended Tofts (Tofts-Kety)",
    parameters=(KTRANS, VE, VP, KEP),
    free=3,
    design=("time", "plasma"),
    options=("delay", "bounds", "weights"),
    numbers=("delay",),
    prepare=_prepare_tofts(with_plasma=True),
    predict=_predictor(with_plasma=True, with_return=True),
    formula="C(t) = vp Cp(t) + Ktrans int_0^t Cp(u) exp(-kep (t - u)) du",
    doi="10.1002/(SICI)1522-2586(199909)10:3<223::AID-JMRI2>3.0.CO;2-S",
)
PATLAK = Model(
    name="patlak",
    label="patlak",
    title="Patlak",
    parameters=(KTRANS, VP),
    free=2,
    design=("time", "plasma"),
    options=("delay", "weights"),
    numbers=("delay",),
    prepare=_prepare_patlak,
    predict=_predictor(with_plasma=True, with_return=False),
    formula="C(t) = vp Cp(t) + Ktrans int_0^t Cp(u) du",
    doi="10.1038/jcbfm.1983.1",
    linear=True,
)
MODELS = (EXTENDED_TOFTS, TOFTS, PATLAK)
