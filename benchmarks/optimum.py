"""Whether fits find the global minimum: their cost relative to the best of twenty scipy fits.

The reference is bounded least squares from twenty random points inside the same bounds. Both costs
are residual sums of squares: metperf's as reported by the fit (a test compares it with `predict`,
which is undefined if D* is withheld), and the reference's from `predict`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.optimize import least_squares

from benchmarks import plots, workload
from benchmarks.loops import convolution
from benchmarks.report import Section
from benchmarks.settings import Settings
from benchmarks.workload import Array, Workload
from bidsapp.models import MODELS, fit
from bidsapp.reports.page.style import apply_style

LEVELS = (5.0, 10.0, 20.0, 50.0)
VOXELS, STARTS = 200, 20
SEED = workload.SEED + 100
LIMIT = 1.0001
TOLERANCE = 1e-12

TEXT = f"""The reference is the best of {STARTS} random starts of scipy's `least_squares` per
voxel, with the same bounds (rates within those of the model, non-negative amplitudes) and the same
cost. "found" is the proportion of voxels with a cost of at most {LIMIT} times that of the
reference; "reference missed" is the proportion in which the cost of the reference is above {LIMIT}
times metperf's."""


@dataclass(frozen=True)
class Problem:
    """A model for scipy: its curve for parameters of the order of one, with bounds and starts.

    ``data(level, voxels, seed)`` returns the signals; ``values(parameters (V, P))`` converts
    scipy's parameters of the normalised signals to those of the model, up to the normalisation.
    """

    model: str
    data: Callable[[float, int, int], Workload]
    curve: Callable[[Array, dict[str, Any]], Array]
    lower: Array
    upper: Array
    start: Callable[[np.random.Generator], Array]
    values: Callable[[Array, Array], dict[str, Array]]


def _range(model: str, parameter: str) -> tuple[float, float]:
    limits = MODELS[model].parameter(parameter)
    return limits.lower, limits.upper


def _log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def tofts_problem() -> Problem:
    """Extended Tofts in Ktrans, kep and vp."""
    low, high = _range("extended-tofts", "kep")

    def curve(p: Array, design: dict[str, Any]) -> Array:
        plasma = design["plasma"]
        return p[0] * convolution(p[1], design["time"], plasma) + p[2] * plasma

    def start(rng: np.random.Generator) -> Array:
        return np.array([rng.uniform(0, 1), _log_uniform(rng, max(low, 1e-3), high), rng.random()])

    return Problem(
        "extended-tofts",
        lambda level, voxels, seed: workload.dce(voxels, seed, level),
        curve,
        np.array([0, low, 0]),
        np.array([np.inf, high, np.inf]),
        start,
        lambda p, top: {"Ktrans": p[:, 0] * top, "kep": p[:, 1], "vp": p[:, 2] * top},
    )


def biexponential_problem() -> Problem:
    """Bi-exponential decay in two amplitudes, Dstar and D in units of 1e-3 mm2/s."""
    fast, slow = (np.array(_range("ivim-biexponential", k)) * 1e3 for k in ("Dstar", "D"))

    def curve(p: Array, design: dict[str, Any]) -> Array:
        b = design["bvalues"] * 1e-3
        return p[0] * np.exp(-b * p[2]) + p[1] * np.exp(-b * p[3])

    def start(rng: np.random.Generator) -> Array:
        rates = _log_uniform(rng, *fast), _log_uniform(rng, *slow)
        return np.array([*rng.uniform(0, 1, 2), *rates])

    def values(p: Array, top: Array) -> dict[str, Array]:
        s0 = p[:, 0] + p[:, 1]
        rates = {"Dstar": p[:, 2] * 1e-3, "D": p[:, 3] * 1e-3}
        return {"S0": s0 * top, "f": p[:, 0] / s0, **rates}

    return Problem(
        "ivim-biexponential",
        lambda level, voxels, seed: workload.ivim(workload.B16, voxels, seed, level),
        curve,
        np.array([0, 0, fast[0], slow[0]]),
        np.array([np.inf, np.inf, fast[1], slow[1]]),
        start,
        values,
    )


PROBLEMS = {"extended-tofts": tofts_problem, "ivim-biexponential": biexponential_problem}


def run(settings: Settings) -> Section:
    """Compare the costs voxel by voxel at every level of noise."""
    voxels = pd.concat(
        compare(problem(), level, settings.count(VOXELS))
        for name, problem in PROBLEMS.items()
        if settings.wants(name)
        for level in LEVELS
    )
    misses = voxels[voxels["ratio"] > LIMIT]
    return Section(
        "Global minimum",
        TEXT,
        {"optimum": summary(voxels)},
        {"optimum": figure_of(voxels)},
        {"optimum_misses": misses.dropna(axis=1, how="all"), "optimum_voxels": voxels},
    )


def compare(problem: Problem, level: float, voxels: int) -> pd.DataFrame:
    """Return one row per voxel: both costs, their ratio, and the parameters of each."""
    data = problem.data(level, voxels, SEED)
    found = fit(problem.model, data.signal, **data.design)
    theirs = reference(problem, data)
    ours_cost = found.rmse**2 * data.signal.shape[1]
    best_cost = cost(problem.model, theirs, data)
    return pd.DataFrame(
        {
            "model": problem.model,
            "level": level,
            "voxel": np.arange(voxels),
            "ratio": ours_cost / best_cost,
            "cost": ours_cost,
            "best": best_cost,
            "status": found.status,
            **{f"true_{k}": v for k, v in data.truth.items()},
            **{f"ours_{k}": v for k, v in found.values.items()},
            **{f"best_{k}": v for k, v in theirs.items()},
        }
    )


def cost(model: str, values: dict[str, Array], data: Workload) -> Array:
    """Return the residual sum of squares of each voxel."""
    predicted = MODELS[model].predict(values, **data.design)
    result: Array = np.sum((data.signal - predicted) ** 2, axis=-1)
    return result


def reference(problem: Problem, data: Workload) -> dict[str, Array]:
    """Return the best of all starts for each voxel."""
    rng = np.random.default_rng(SEED)
    top = data.signal.max(axis=1)
    best = [_best(problem, voxel, data.design, rng) for voxel in data.signal / top[:, None]]
    return problem.values(np.array(best), top)


def _best(
    problem: Problem, voxel: Array, design: dict[str, Any], rng: np.random.Generator
) -> Array:
    """Return the parameters of the start with the lowest final cost."""
    ends = [
        least_squares(
            lambda p: problem.curve(p, design) - voxel,
            problem.start(rng),
            bounds=(problem.lower, problem.upper),
            xtol=TOLERANCE, ftol=TOLERANCE, gtol=TOLERANCE,
        )
        for _ in range(STARTS)
    ]  # fmt: skip
    result: Array = min(ends, key=lambda end: end.cost).x
    return result


def summary(voxels: pd.DataFrame) -> pd.DataFrame:
    """Return the proportions for each model and level."""
    rows = [
        {
            "model": model,
            "CNR or SNR": level,
            "voxels": len(ratio),
            "found": float(np.mean(ratio <= LIMIT)),
            "largest ratio": ratio.max(),
            "reference missed": float(np.mean(1 / ratio > LIMIT)),
        }
        for (model, level), ratio in voxels.groupby(["model", "level"])["ratio"]
    ]
    return pd.DataFrame(rows)


@apply_style
def figure_of(voxels: pd.DataFrame) -> Figure:
    """Plot the cumulative proportion of voxels over the excess cost."""
    models = list(voxels["model"].unique())
    figure, axes = plots.flat(len(models), 2, width=3.3, height=2.5)
    for panel, model in zip(axes, models, strict=True):
        _draw(panel, voxels[voxels["model"] == model])
        panel.set_title(model)
    axes[0].set_ylabel("proportion of voxels")
    axes[-1].legend(title="CNR or SNR", loc="lower right")
    return figure


def _draw(axes: Axes, voxels: pd.DataFrame) -> None:
    for level, colour in plots.colours(list(voxels["level"].unique())).items():
        excess = np.sort(voxels.loc[voxels["level"] == level, "ratio"] - 1)
        share = np.arange(1, len(excess) + 1) / len(excess)
        axes.step(np.maximum(excess, 1e-12), share, where="post", color=colour, label=f"{level:g}")
    plots.logarithmic(axes, "x")
    axes.axvline(LIMIT - 1, **plots.LINE)
    axes.set(xlim=(1e-12, 10), ylim=(0, 1.02), xlabel="cost / best of 20 starts - 1")
