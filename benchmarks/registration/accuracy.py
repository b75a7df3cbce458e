"""Registration of b0 and DCE to the T1w: errors for random offsets, plain and under stress."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks import plots
from benchmarks.heads import STRESSES
from benchmarks.registration.trials import WRONG, Trial, run_all, summary
from benchmarks.report import Section
from benchmarks.settings import Settings
from bidsapp.reports.page.style import DATA, EDGE, apply_style

KINDS = ("b0", "dce")
STARTS, STRESSED = 40, 12
GOALS = {"median": 0.5, "95 %": 1.0, "wrong": WRONG}
SHOWN, INSIDE = (0.03, 300.0), (0.035, 250.0)
"""Limits of the figure and of the plotted errors, mm."""

TEXT = f"""A b0 (1.2 x 1.2 x 5 mm, EPI distortion of up to 2.6 mm) with lpc, and a sagittal DCE
mean (1 x 1 x 8 mm) with lpa, are registered with 12 parameters to a post-contrast T1w of 1 mm;
each head has two lesions. Every pair has independent noise and a random offset: rotations of up to
15 degrees about each axis, shifts of up to 30 mm, scaling and shear of up to 3 %. Errors are mean
distances in the lesions between the registered and the actual position of points, including EPI
distortion; "floor" is the error of the affine transform that fits the whole brain best. A
registration is "wrong" if the error in the lesions exceeds {WRONG:g} mm, and "flagged" if the
verdict is doubtful or failed."""


def trials(settings: Settings) -> list[Trial]:
    """Return the trials: many plain pairs, and some under each stress."""
    counts = {"": settings.count(STARTS, least=1)}
    counts |= dict.fromkeys(STRESSES, settings.count(STRESSED, least=1))
    return [
        Trial(kind, seed, stress)
        for kind in KINDS
        for stress, count in counts.items()
        for seed in range(count)
    ]


def run(settings: Settings) -> Section:
    """Register all."""
    table = run_all(trials(settings), settings)
    return Section(
        "Registration: accuracy and robustness",
        TEXT,
        {"registration_accuracy": summary(table, ["kind", "stress"])},
        {"registration_accuracy": strips(table, "stress")},
        {"registration_accuracy_all": table},
    )


@apply_style
def strips(table: pd.DataFrame, by: str) -> Figure:
    """Plot the error of every trial, one panel per kind, one strip per value of a column."""
    kinds = list(table["kind"].unique())
    strip = list(table[by].unique())
    size = {"width": 1.6 + 0.42 * len(strip), "height": 3.0}
    figure, axes = plots.grid(1, len(kinds), **size, sharey=True)
    for panel, kind in zip(axes[0], kinds, strict=True):
        _draw(panel, table[table["kind"] == kind], by, strip)
        panel.set_title(kind)
    axes[0, 0].set_ylabel("error in the lesions, mm")
    plots.logarithmic(axes[0, 0], "y")
    axes[0, 0].set_ylim(*SHOWN)
    plots.legend_below(figure, axes[0, 0], 2)
    return figure


def _draw(panel: Axes, rows: pd.DataFrame, by: str, strip: list[str]) -> None:
    for level in GOALS.values():
        panel.axhline(level, **plots.LINE)
    place = rows[by].map(strip.index)
    spread = (rows.groupby(by).cumcount() * 0.618 % 1 - 0.5) * 0.55
    error = np.clip(rows["lesion"], *INSIDE)
    for flagged, colour, label in ((False, DATA, "not flagged"), (True, EDGE, "flagged")):
        these = rows["flagged"] == flagged
        x, y = (place + spread)[these], error[these]
        panel.plot(x, y, "o", color=colour, alpha=0.7, label=label)
    panel.set_xticks(range(len(strip)), [name or "plain" for name in strip])
    panel.tick_params("x", rotation=45)
    for text in panel.get_xticklabels():
        text.set(ha="right", rotation_mode="anchor")
    panel.grid(visible=False, axis="x")
