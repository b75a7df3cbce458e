"""Kinetic models with the arrival delay between artery and tissue as a further parameter."""

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np

from bidsapp.models.parameters import DELAY
from bidsapp.models.solver.base import (
    Array,
    Estimate,
    Model,
    Prepared,
    Status,
    Values,
    check_interval,
)

_COARSE = 0.04  # min, between the delays of the first round
_HALVINGS = 4


def with_delay(model: Model) -> Model:
    """Return the model with its delay fitted, over ``delay_range`` (low, high) in min.

    Notes
    -----
    The model is fitted for each delay of a grid, to curves that arrive later by exactly that delay;
    the best delay is refined by halving the step four times, to 0.0025 min. The standard errors of
    the other parameters hold for a known delay; that of the delay follows from the curvature of the
    cost.
    """

    def prepare(*, delay_range: tuple[float, float] | None = None, **design: Any) -> Prepared:
        given = (DELAY.lower, DELAY.upper) if delay_range is None else delay_range
        low, high = check_interval("delay_range", given, "min")
        # The ladder: all delays of the finest step. Each is prepared when it is first tried, and
        # kept for all voxels and chunks.
        at = lru_cache(maxsize=None)(lambda delay: model.prepare(delay=delay, **design))
        steps = int(np.ceil((high - low) / _COARSE)) * 2**_HALVINGS
        ladder = np.linspace(low, high, steps + 1)
        used = at(0.0).used
        freedom = int(used.sum()) - model.free - 1

        def estimate(signal: Array) -> Estimate:
            return _search_delay(lambda i, y: at(ladder[i]).estimate(y), ladder, freedom, signal)

        return Prepared(estimate, used)

    def predict(values: Values, *, delay_range: object = None, **design: Any) -> Array:
        return _predict_by_delay(model, values, design)

    return replace(
        model,
        name=f"{model.name}-delay",
        label=f"{model.label}delay",
        title=f"{model.title} with arrival delay",
        parameters=(*model.parameters, DELAY),
        free=model.free + 1,
        options=("delay_range", *(o for o in model.options if o != "delay")),
        numbers=tuple(n for n in model.numbers if n != "delay"),
        prepare=prepare,
        predict=predict,
        formula=f"{model.formula}, Cp delayed",
    )


def _search_delay(
    solve: Callable[[int, Array], Estimate], ladder: Array, freedom: int, signal: Array
) -> Estimate:
    """Return the estimate at the rung of the delay ladder with the least cost, voxel by voxel."""
    # The cost as a function of the delay has kinks where the bolus meets a frame, and may have
    # several minima: every coarse delay is tried, and no derivative is taken. Costs (V, rungs) are
    # infinite where they have not been computed.
    last = len(ladder) - 1
    stride = 2**_HALVINGS
    costs = np.full((len(signal), len(ladder)), np.inf)
    for rung in range(0, last + 1, stride):
        costs[:, rung] = solve(rung, signal).cost
    best = costs.argmin(axis=1)
    while stride > 1:
        stride //= 2
        for side in (-stride, stride):
            _fill_costs(costs, np.clip(best + side, 0, last), solve, signal)
        best = costs.argmin(axis=1)
    found = _estimate_at_best(best, solve, signal)
    found.values["delay"] = ladder[best]
    found.stderr["delay"] = _curvature_error(costs, best, ladder[1] - ladder[0], freedom)
    edge = ((best == 0) | (best == last)) & (found.status == Status.OK)
    found.status[edge] = Status.AT_BOUND
    return found


def _fill_costs(
    costs: Array, rungs: Array, solve: Callable[[int, Array], Estimate], signal: Array
) -> None:
    """Compute the cost at one rung for each voxel where it has not been computed."""
    voxels = np.arange(len(signal))
    needed = ~np.isfinite(costs[voxels, rungs])
    for rung in np.unique(rungs[needed]):
        members = needed & (rungs == rung)
        costs[members, rung] = solve(int(rung), signal[members]).cost


def _estimate_at_best(
    best: Array, solve: Callable[[int, Array], Estimate], signal: Array
) -> Estimate:
    """Return the estimates at each voxel's rung."""
    parts = [(np.flatnonzero(best == rung), int(rung)) for rung in np.unique(best)]
    found = [solve(rung, signal[members]) for members, rung in parts]
    # The parts are sorted by delay; this order puts the voxels back in their places.
    order = np.argsort(np.concatenate([members for members, _ in parts]))

    def join(arrays: list[Any]) -> Any:
        return np.concatenate(arrays)[order]

    names = list(found[0].values)
    return Estimate(
        {k: join([f.values[k] for f in found]) for k in names},
        {k: join([f.stderr[k] for f in found]) for k in names},
        join([f.status for f in found]),
        join([f.cost for f in found]),
        {k: join([f.fitted[k] for f in found]) for k in found[0].fitted},
    )


def _curvature_error(costs: Array, best: Array, step: float, freedom: int) -> Array:
    """Return the delay's standard error from the costs next to the best; NaN at the ends."""
    # Second difference of the cost; the variance of a least-squares estimate is 2 s^2 / cost''.
    voxels, last = np.arange(len(best)), costs.shape[1] - 1
    inner = (best > 0) & (best < last)
    middle = np.where(inner, best, 1)
    below, at, above = (costs[voxels, middle + i] for i in (-1, 0, 1))
    known = inner & np.isfinite(below) & np.isfinite(above)
    bend = (np.where(known, below, 0) - 2 * at + np.where(known, above, 0)) / step**2
    known &= bend > 0
    variance = 2 * at / max(freedom, 1) / np.where(known, bend, 1.0)
    return np.where(known, np.sqrt(variance), np.nan)


def _predict_by_delay(model: Model, values: Values, design: dict[str, Any]) -> Array:
    """Return curves (..., N), each delayed as its voxel requires."""
    delay = np.asarray(values["delay"], float)
    flat = {k: np.broadcast_to(v, delay.shape).ravel() for k, v in values.items() if k != "delay"}
    curves = {k: v.reshape(-1, v.shape[-1]) for k, v in design.items() if np.ndim(v) > 1}
    result = np.full((delay.size, np.shape(design["time"])[-1]), np.nan)
    for one in np.unique(delay[np.isfinite(delay)]):
        members = delay.ravel() == one
        part = {k: v[members] for k, v in flat.items()}
        own = {k: v[members] for k, v in curves.items()}
        result[members] = model.predict(part, delay=float(one), **design | own)
    return result.reshape(*delay.shape, result.shape[1])
