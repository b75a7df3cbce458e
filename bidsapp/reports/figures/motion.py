"""Plots of motion within a series: translations, rotations, framewise displacement."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from bidsapp.reports.figures.layout import WIDTH, Array, add_legend, mark_unavailable
from bidsapp.reports.page.style import FIT, GRID, INK, apply_style


@dataclass(frozen=True)
class MotionTrace:
    """Rigid motion: (N, 3) translations in mm, (N, 3) rotations in rad, (N,) displacement in mm.

    `outliers` (N,) marks outlying volumes.
    """

    translations: Array
    rotations: Array
    displacement: Array
    outliers: NDArray[np.bool_] | None = None


@apply_style
def motion_traces(
    traces: Sequence[MotionTrace | None], labels: Sequence[str], limit: float
) -> Figure:
    """Plot translations, rotations and framewise displacement, a column per session.

    Parameters
    ----------
    traces : sequence of Motion or None
    labels : sequence of str
    limit : float
        Framewise displacement above which there is a warning, mm.

    Returns
    -------
    figure : matplotlib.figure.Figure

    Examples
    --------
    >>> still = MotionTrace(np.zeros((4, 3)), np.zeros((4, 3)), np.zeros(4))
    >>> [axes.get_ylabel() for axes in motion_traces([still], ["baseline"], 1.0).axes]
    ['displacement (mm)', 'translation (mm)', 'rotation (°)']
    """
    figure = Figure(figsize=(WIDTH, 4.6), layout="constrained")
    grid = figure.subplots(3, len(traces), sharex="col", sharey="row", squeeze=False)
    for axes, unit in zip(
        grid[:, 0], ("displacement (mm)", "translation (mm)", "rotation (°)"), strict=True
    ):
        axes.set_ylabel(unit)
    for column, trace, label in zip(grid.T, traces, labels, strict=True):
        column[0].set_title(label)
        column[-1].set_xlabel("volume")
        if trace is None:
            mark_unavailable(column[1])
            continue
        volumes = np.arange(1, len(trace.displacement) + 1)
        column[0].fill_between(volumes, trace.displacement, color=GRID, step="mid")
        column[0].step(volumes, trace.displacement, where="mid", color=INK, lw=0.8)
        column[0].axhline(limit, color=FIT, lw=0.8, ls="--")
        if trace.outliers is not None:
            for axes in column:
                for volume in volumes[trace.outliers]:
                    axes.axvline(volume, color=FIT, alpha=0.25, lw=2, zorder=0)
        for axis, name in enumerate(("x (left-right)", "y (back-front)", "z (foot-head)")):
            column[1].plot(volumes, trace.translations[:, axis], label=name, lw=1)
            column[2].plot(volumes, np.degrees(trace.rotations[:, axis]), lw=1)
    return add_legend(figure)
