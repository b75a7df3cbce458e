"""How much the noise floor of a magnitude image shifts D, and what knowing of it is worth."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from benchmarks import plots, workload
from benchmarks.report import Section
from benchmarks.settings import Settings
from bidsapp.models import MODELS, fit
from bidsapp.reports.page.style import apply_style

PARAMETER = {"adc": "ADC", "ivim-asymptotic": "D", "ivim-biexponential": "D"}
LEVELS = (10.0, 20.0, 40.0)
TRUE_D = (0.5e-3, 0.8e-3, 1.1e-3, 1.4e-3, 1.7e-3, 2.0e-3, 2.5e-3)
F, DSTAR, S0 = 0.1, 20e-3, 1000.0
REPEATS = 2000
SEED = workload.SEED + 300
STYLES = {"gaussian": "o-", "rician": "s--"}

TEXT = f"""Rician noise with SNR = S0 / sigma; 16 b-values up to 1000 s/mm2, f = {F:g} and D* =
{DSTAR:g} mm2/s (for the ADC, the signal is mono-exponential). Each fit assumes either Gaussian
noise, or Rician noise with the true sigma. The table gives the largest median bias of D over all
true values of D, in %."""


def run(settings: Settings) -> Section:
    """Measure the bias of D for every model, level and assumption on the noise."""
    table = pd.DataFrame(
        measure_bias(model, level, d, noise, settings)
        for model in PARAMETER
        if settings.wants(model)
        for noise in settings.noise
        for level in LEVELS
        for d in TRUE_D
    )
    return Section(
        "Rician bias of D",
        TEXT,
        {"bias": summary(table)},
        {"bias": panels(table)},
        {"bias_all": table},
    )


def measure_bias(
    model: str, level: float, d: float, noise: str, settings: Settings
) -> dict[str, Any]:
    """Fit many noisy copies of one signal."""
    b, sigma = workload.B16, S0 / level
    clean = S0 * np.exp(-b * d)
    if "f" in {p.name for p in MODELS[model].parameters}:
        clean = (1 - F) * clean + F * S0 * np.exp(-b * DSTAR)
    copies = np.tile(clean, (settings.count(REPEATS, least=20), 1))
    rng = np.random.default_rng([SEED, round(level), round(d * 1e7)])
    signal = workload.rician(copies, sigma, rng)
    found = fit(model, signal, bvalues=b, **settings.noise_options(noise, sigma))
    relative = 100 * (found.values[PARAMETER[model]] / d - 1)
    known = relative[np.isfinite(relative)]
    return {
        "model": model,
        "noise": noise,
        "snr": level,
        "D": d,
        "bias_percent": np.mean(known),
        "median_bias_percent": np.median(known),
        "sd_percent": np.std(known),
        "missing": 1 - len(known) / len(relative),
    }


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """Return the largest median bias of each model and assumption, one column per level."""
    groups = table.groupby(["model", "noise", "snr"], sort=False)["median_bias_percent"]
    worst = groups.agg(lambda bias: max(bias, key=abs)).unstack()
    return worst.rename(columns=lambda level: f"SNR {level:g}").reset_index()


@apply_style
def panels(table: pd.DataFrame) -> Figure:
    """Plot the median bias over the true D, one panel per level, one colour per model."""
    figure, axes = plots.grid(1, len(LEVELS), 2.3, 2.2, sharey=True)
    colour = plots.colours(list(table["model"].unique()))
    for panel, level in zip(axes[0], LEVELS, strict=True):
        rows = table[table["snr"] == level]
        for (model, noise), line in rows.groupby(["model", "noise"], sort=False):
            panel.plot(line["D"] * 1e3, line["median_bias_percent"], STYLES[noise],
                       color=colour[model], label=f"{model}, {noise}")  # fmt: skip
        panel.axhline(0, **plots.LINE)
        panel.set_title(f"SNR {level:g}")
        panel.set_xlabel("true D, 1e-3 mm2/s")
    axes[0, 0].set_ylabel("median bias of D, %")
    plots.legend_below(figure, axes[0, 0], 3)
    return figure
