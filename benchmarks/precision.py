"""Precision of the estimates, compared with the Cramer-Rao bound and their standard errors.

Gaussian noise is added to the signal of the model, many times at each operating point. The
Cramer-Rao bound is calculated from the numerical Jacobian of `predict`.
"""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from scipy.stats import t as student

from benchmarks import plots, workload
from benchmarks.report import Section
from benchmarks.settings import Settings
from benchmarks.workload import Array
from bidsapp.models import MODELS, Fit, Status, fit
from bidsapp.reports.page.style import apply_style

LEVELS = (10.0, 20.0, 40.0, 80.0)
REPEATS = 2000
SEED = workload.SEED + 200
STEP = 1e-5
INTERVAL = 0.95

Point = dict[str, float]


def _points(**values: tuple[float, ...]) -> tuple[Point, ...]:
    """Return one operating point for each position in the tuples."""
    return tuple(
        dict(zip(values, point, strict=True)) for point in zip(*values.values(), strict=True)
    )


_FULL = (1000.0, 1000.0, 1000.0)
_RELAXATION = _points(T1=(0.8, 1.4, 2.5), M0=_FULL)
POINTS: dict[str, tuple[Point, ...]] = {
    "adc": _points(ADC=(0.6e-3, 1e-3, 2e-3), S0=_FULL),
    "ivim-biexponential": _points(
        f=(0.05, 0.15, 0.25), D=(0.8e-3, 0.8e-3, 1.5e-3), Dstar=(20e-3, 20e-3, 40e-3), S0=_FULL
    ),
    "extended-tofts": _points(Ktrans=(0.02, 0.1, 0.25), ve=(0.1, 0.25, 0.4), vp=(0.01, 0.03, 0.08)),
    "tofts": _points(Ktrans=(0.02, 0.1, 0.25), ve=(0.1, 0.25, 0.4)),
    "patlak": _points(Ktrans=(0.005, 0.02, 0.05), vp=(0.01, 0.03, 0.08)),
    "two-compartment-exchange": _points(
        Fp=(0.2, 0.5, 1.0), PS=(0.05, 0.1, 0.3), ve=(0.15, 0.25, 0.4), vp=(0.05, 0.08, 0.1)
    ),
    "two-compartment-uptake": _points(
        Fp=(0.2, 0.5, 1.0), PS=(0.02, 0.05, 0.1), vp=(0.05, 0.08, 0.1)
    ),
    "vfa-t1": _RELAXATION,
    "vfa-t1-linear": _RELAXATION,
}
"""Operating points of the free parameters; the others follow from them."""

TEXT = f"""Gaussian noise; the level is the maximum of the noise-free signal divided by the SD of
the noise. RMSE/bound is 1 for the best unbiased estimate; values below 1 are due to bias or to the
bounds of the fit. z is (estimate - truth) / standard error. Since the standard error is estimated
from the residuals, z has Student's t distribution with nu = samples - parameters, with an SD of
sqrt(nu / (nu - 2)); "z SD" is divided by this and should be 1. "coverage" is the proportion of
{INTERVAL:.0%} intervals that contain the truth; with few samples it is more informative than the
SD of z. "not ok" is the proportion of voxels at a bound, not identifiable or unusable; z and
coverage refer to the other voxels. All numbers are medians over the operating points, the last
four also over the levels; the file contains the individual values."""


def run(settings: Settings) -> Section:
    """Measure every model at every operating point and level of noise."""
    table = pd.DataFrame(
        row
        for name in POINTS
        if settings.wants(name)
        for number, point in enumerate(POINTS[name], 1)
        for level in LEVELS
        for row in measure_precision(name, number, point, level, settings.count(REPEATS, least=20))
    )
    return Section(
        "Precision",
        TEXT,
        {"precision": summary(table)},
        {
            "precision_rmse": panels(table, "rmse_over_bound", "RMSE / Cramer-Rao bound"),
            "precision_z": panels(table, "z_sd", "SD of z"),
        },
        {"precision_all": table},
    )


def design_of(model: str) -> dict[str, Any]:
    """Return the acquisition for a model."""
    frames, plasma, at_frame = workload.plasma_curve()
    known = {
        "bvalues": workload.B16,
        "time": frames / 60,
        "plasma": plasma[at_frame],
        "flip_angles": workload.FLIP_ANGLES,
        "repetition_time": workload.REPETITION_TIME,
    }
    return {name: known[name] for name in MODELS[model].design}


def cramer_rao_bound(
    model: str, point: Point, design: dict[str, Any], sigma: float
) -> dict[str, float]:
    """Return the Cramer-Rao bound on the SD of every free parameter."""
    columns = []
    for name, value in point.items():
        ends = [
            MODELS[model].predict(_arrays(point | {name: value * (1 + sign * STEP)}), **design)
            for sign in (1, -1)
        ]
        columns.append((ends[0] - ends[1]) / (2 * STEP))  # by the relative change: well scaled
    jacobian = np.stack(columns, axis=-1)
    relative = sigma * np.sqrt(np.diag(np.linalg.inv(jacobian.T @ jacobian)))
    return {name: float(r * abs(point[name])) for name, r in zip(point, relative, strict=True)}


def _arrays(point: Point) -> dict[str, Array]:
    return {name: np.array(float(value)) for name, value in point.items()}


def measure_precision(
    model: str, number: int, point: Point, level: float, repeats: int
) -> list[dict[str, Any]]:
    """Fit many noisy copies of one signal; return one row per parameter."""
    design = design_of(model)
    clean = MODELS[model].predict(_arrays(point), **design)
    sigma = float(clean.max()) / level
    rng = np.random.default_rng([SEED, number, round(level)])
    noise = rng.standard_normal((repeats, len(clean)))
    found = fit(model, clean + sigma * noise, **design)
    best = cramer_rao_bound(model, point, design, sigma)
    common = {"model": model, "point": number, "level": level, "voxels": repeats}
    freedom = len(clean) - len(point)
    return [common | _row(found, name, point[name], best[name], freedom) for name in point]


def _row(found: Fit, name: str, truth: float, best: float, freedom: int) -> dict[str, Any]:
    """Return the precision of the estimates and standard errors of one parameter."""
    ok = found.status == Status.OK
    error = found.values[name] - truth
    known = error[np.isfinite(error)]
    z = (error / found.stderr[name])[ok]
    spread = float(np.std(z)) if len(z) > 1 else np.nan
    limit = student.ppf((1 + INTERVAL) / 2, freedom)
    return {
        "parameter": name,
        "truth": truth,
        "bound": best,
        "rmse_over_bound": np.sqrt(np.mean(known**2)) / best if len(known) else np.nan,
        "bias_over_bound": np.mean(known) / best if len(known) else np.nan,
        "z_sd_raw": spread,
        "z_sd": spread * np.sqrt((freedom - 2) / freedom) if freedom > 2 else np.nan,
        "coverage": float(np.mean(np.abs(z) <= limit)) if len(z) else np.nan,
        "not_ok": float(np.mean(~ok)),
        "missing": float(np.mean(~np.isfinite(error))),
    }


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """Return one row per parameter: RMSE/bound at each level, and medians of the other columns."""
    keys = ["model", "parameter"]
    groups = table.groupby([*keys, "level"], sort=False)["rmse_over_bound"].median()
    rmse = groups.unstack().rename(columns=lambda level: f"RMSE/bound at {level:g}")
    rest = table.groupby(keys, sort=False)[["bias_over_bound", "z_sd", "coverage", "not_ok"]]
    labels = {"bias_over_bound": "bias/bound", "z_sd": "z SD", "not_ok": "not ok"}
    return rest.median().rename(columns=labels).pipe(rmse.join).reset_index()


@apply_style
def panels(table: pd.DataFrame, column: str, label: str) -> Figure:
    """Plot a column over the level, one panel per model, one line per operating point."""
    models = list(table["model"].unique())
    figure, axes = plots.flat(len(models), 4, width=2.0, height=1.9)
    for panel, model in zip(axes, models, strict=True):
        rows = table[table["model"] == model]
        for parameter, colour in plots.colours(list(rows["parameter"].unique())).items():
            lines = rows[rows["parameter"] == parameter].pivot(
                index="level", columns="point", values=column
            )
            panel.plot(lines.index, lines, "-", color=colour, alpha=0.35, linewidth=0.8)
            panel.plot(lines.index, lines.median(axis=1), "o-", color=colour, label=parameter)
        panel.axhline(1, **plots.LINE)
        plots.levels(panel, list(LEVELS), "CNR or SNR")
        _limit(panel, rows[column])
        panel.set_title(model)
        panel.legend(fontsize=6, ncols=2, loc="best", handlelength=1)
    figure.supylabel(label, fontsize=8)
    return figure


def _limit(panel: Any, values: pd.Series) -> None:
    """Show at least 0.5 to 1.5, logarithmically if the values span more than a factor of ten."""
    low, high = np.nanmin(values), np.nanmax(values)
    if high > 10 * max(low, 0.1):
        plots.logarithmic(panel, "y")
        panel.set_ylim(min(low, 0.5) / 1.3, high * 1.3)
    else:
        panel.set_ylim(min(0.5, 0.95 * low), max(1.5, 1.05 * high))
