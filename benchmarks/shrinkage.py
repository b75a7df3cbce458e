"""Errors of the Bayesian IVIM fit, of the other IVIM fits, and of a constant guess."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks import plots, workload
from benchmarks.report import Section
from benchmarks.settings import Settings
from benchmarks.workload import Workload
from bidsapp.models import fit
from bidsapp.reports.page.style import INK, SOFT, apply_style

MODELS = ("ivim-asymptotic", "ivim-segmented", "ivim-biexponential", "ivim-bayesian")
GUESS = "constant guess"
LEVELS = (20.0, 40.0)
BVALUES = (workload.B6, workload.B16)
PARAMETERS = {"f": (100, "%"), "D": (1e6, "1e-6 mm2/s"), "Dstar": (1e3, "1e-3 mm2/s")}
VOXELS = 5000
SEED = workload.SEED + 400
CUT = 3.0
"""Limit of the bars relative to the guess."""

TEXT = f"""Rician noise; f, D and D* are uniformly distributed, {VOXELS:,} voxels at full scale.
The constant guess is the median of the truth, which is the best estimate without data: an error
that is not smaller means that the data are not informative. Missing values count as infinite
errors; numbers in brackets are the median signed errors of the other values."""


def run(settings: Settings) -> Section:
    """Compare the errors of all models on all workloads."""
    names = [name for name in MODELS if settings.wants(name)]
    table = pd.DataFrame(
        row
        for bvalues in BVALUES
        for level in LEVELS
        for row in compare_fits(
            workload.ivim(bvalues, settings.count(VOXELS, least=50), SEED, level), level, names
        )
    )
    return Section(
        "IVIM: shrinkage",
        TEXT,
        {"shrinkage": summary(table)},
        {"shrinkage": panels(table)},
        {"shrinkage_all": table},
    )


def compare_fits(data: Workload, level: float, names: list[str]) -> Iterator[dict[str, Any]]:
    """Return one row per method and parameter."""
    guesses = {k: np.full_like(v, np.median(v)) for k, v in data.truth.items()}
    fits = {name: fit(name, data.signal, **data.design).values for name in names}
    for method, values in {GUESS: guesses, **fits}.items():
        for parameter, truth in data.truth.items():
            if parameter in values:  # an asymptotic fit has no Dstar
                error = values[parameter] - truth
                yield {
                    "workload": data.name,
                    "snr": level,
                    "method": method,
                    "parameter": parameter,
                    "median_error": np.median(np.where(np.isfinite(error), np.abs(error), np.inf)),
                    "bias": _median(error[np.isfinite(error)]),
                    "missing": float(np.mean(~np.isfinite(error))),
                }


def _median(values: np.ndarray) -> float:
    return float(np.median(values)) if len(values) else np.nan


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """Return one column per method: median absolute error, with the bias in brackets."""

    def cell(row: pd.Series) -> str:
        factor = PARAMETERS[row["parameter"]][0]
        return f"{factor * row['median_error']:.3g} ({round(factor * row['bias'], 6):+.2g})"

    keys = ["workload", "snr", "parameter"]
    cells = table.assign(text=table.apply(cell, axis=1), unit=table["parameter"].map(_unit))
    wide = cells.pivot_table("text", [*keys, "unit"], "method", "first", sort=False)
    return wide.reset_index().fillna("-")


def _unit(parameter: str) -> str:
    return PARAMETERS[parameter][1]


@apply_style
def panels(table: pd.DataFrame) -> Figure:
    """Plot the errors, one row per parameter, one column per workload and level."""
    columns = list(table.groupby(["workload", "snr"], sort=False).groups)
    figure, axes = plots.grid(len(PARAMETERS), len(columns), 1.75, 1.75, sharey="row", sharex=True)
    methods = list(table["method"].unique())
    for row, (parameter, (factor, unit)) in zip(axes, PARAMETERS.items(), strict=True):
        errors = table[table["parameter"] == parameter]
        guess = errors.loc[errors["method"] == GUESS, "median_error"].max()
        top = factor * min(CUT * guess, errors["median_error"].max())
        for panel, (name, level) in zip(row, columns, strict=True):
            chosen = (errors["workload"] == name) & (errors["snr"] == level)
            _draw(panel, errors[chosen].set_index("method").reindex(methods), factor, top)
        row[0].set_ylabel(f"{parameter}, {unit}")
    for panel, (name, level) in zip(axes[0], columns, strict=True):
        panel.set_title(f"{name}, SNR {level:g}")
    plots.legend_below(figure, axes[0, 0], 2)
    return figure


def _draw(panel: Axes, rows: pd.DataFrame, factor: float, top: float) -> None:
    """Draw bars for the median absolute error, truncated at the limit, and dots for the bias."""
    place = np.arange(len(rows))
    guess = rows["median_error"].iloc[0] * factor
    height = rows["median_error"].to_numpy() * factor
    shown = np.minimum(height, top)
    colour = [SOFT if m == GUESS else c for m, c in plots.colours(list(rows.index)).items()]
    panel.bar(place, shown, color=colour, width=0.75, label="median absolute error")
    for x, y, value in zip(place, shown, height, strict=True):
        if not np.isnan(value):
            panel.text(x, y, f"{value:.3g}", ha="center", va="bottom", fontsize=6)
    panel.plot(place, rows["bias"] * factor, "D", color=INK, markersize=3, label="median error")
    panel.axhline(0, **plots.LINE)
    panel.axhline(guess, **plots.LINE)
    panel.set_ylim(-0.6 * top, 1.12 * top)
    panel.set_xticks(place, rows.index, rotation=45, ha="right", rotation_mode="anchor")
    panel.grid(visible=False, axis="x")
