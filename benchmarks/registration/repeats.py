"""Reproducibility of registration: repeated, with two threads, and with another seed."""

from dataclasses import replace

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from benchmarks import plots
from benchmarks.heads import KINDS
from benchmarks.registration import trials
from benchmarks.registration.trials import Trial
from benchmarks.report import Section
from benchmarks.settings import Settings
from bidsapp.imaging.transforms import apply
from bidsapp.reports.page.style import apply_style

PAIRS = 3
TEXT = """The largest distance in the brain between the results of two runs on the same pair, mm:
with the same seed, with two threads instead of one, and with another seed of the random starting
points."""


def run(settings: Settings) -> Section:
    """Register every pair four times."""
    seeds = range(settings.count(PAIRS, least=1))
    table = pd.DataFrame([_row(kind, seed, settings) for kind in KINDS for seed in seeds])
    return Section(
        "Registration: repeats",
        TEXT,
        {"registration_repeats": table},
        {"registration_repeats": bars(table)},
    )


def _row(kind: str, seed: int, settings: Settings) -> dict[str, object]:
    first = Trial(kind, seed, jobs=1)
    points = trials.case_of(first, settings.rough).brain_points
    # results are cached by the fields of a trial; a new string makes the second run distinct
    others = {
        "again_mm": replace(first, metric=trials.case_of(first, settings.rough).options["metric"]),
        "threads_mm": replace(first, jobs=2),
        "seed_mm": replace(first, start=1),
    }
    record, matrix = trials.run(first, settings)
    row: dict[str, object] = {"kind": kind, "pair": seed, "wall_s": record["wall_s"]}
    for name, trial in others.items():
        again, other = trials.run(trial, settings)
        apart = np.linalg.norm(apply(matrix, points) - apply(other, points), axis=1)
        row[name] = float(apart.max())
        if name == "threads_mm":
            row["wall_two_threads_s"] = again["wall_s"]
    return row


@apply_style
def bars(table: pd.DataFrame) -> Figure:
    """Plot the times of one and of two threads."""
    figure, axes = plots.grid(1, 1, 3.4, 2.2)
    place = np.arange(len(table))
    for shift, column, label in ((-0.2, "wall_s", "1"), (0.2, "wall_two_threads_s", "2")):
        axes[0, 0].bar(place + shift, table[column], 0.4, label=f"threads: {label}")
    names = table["kind"] + " " + table["pair"].astype(str)
    axes[0, 0].set_xticks(place, names, rotation=45)
    axes[0, 0].set_ylabel("seconds per pair")
    axes[0, 0].grid(visible=False, axis="x")
    plots.legend_below(figure, axes[0, 0], 2)
    return figure
