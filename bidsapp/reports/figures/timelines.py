"""Parameters of each lesion of a participant over the sessions."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from bidsapp.models.parameters import DISPLAY
from bidsapp.reports.figures.layout import WIDTH, Array
from bidsapp.reports.page.style import DATA, INK, apply_style


@dataclass(frozen=True)
class LesionTimeline:
    """One parameter of one lesion in each session, as stored; NaN if missing.

    ``low`` and ``high`` are the quartiles of its voxels, ``error`` is the standard error of the
    mean.
    """

    mean: Array
    low: Array
    high: Array
    error: Array


@apply_style
def lesion_timeline(
    series: Sequence[Sequence[LesionTimeline | None]],
    row_labels: Sequence[str],
    parameters: Sequence[str],
    ticks: Sequence[str],
    xlabel: str,
) -> Figure:
    """Plot each parameter of each lesion over the sessions, with one scale per parameter.

    Parameters
    ----------
    series : sequence of sequence of Series or None
        Lesions by parameters.
    row_labels : sequence of str
        Lesions.
    parameters : sequence of str
        Keys of `DISPLAY`.
    ticks : sequence of str
        Labels of the sessions on the axis.
    xlabel : str

    Returns
    -------
    figure : matplotlib.figure.Figure

    Examples
    --------
    >>> values = LesionTimeline(*np.array([[0.1, 0.2], [0.0, 0.1], [0.2, 0.3], [0.01, 0.01]]))
    >>> lesion_timeline([[values]], ["1"], ["f"], ["-5", "7"], "days").axes[0].get_title("left")
    'f (fraction)'
    """
    figure = Figure(figsize=(WIDTH, 1.25 * len(row_labels) + 0.6), layout="constrained")
    shape = len(row_labels), len(parameters)
    grid = figure.subplots(*shape, sharex=True, sharey="col", squeeze=False)
    positions = np.arange(len(ticks))
    for row, lesion, label in zip(grid, series, row_labels, strict=True):
        row[0].set_ylabel(label, rotation=0, ha="right", va="center", fontweight="bold")
        for axes, name, values in zip(row, parameters, lesion, strict=True):
            if values is not None and np.isfinite(values.mean).any():
                _draw_series(axes, positions, values, DISPLAY[name].scale)
    for axes, column, name in zip(grid[0], grid.T, parameters, strict=True):
        axes.set_title(DISPLAY[name].title, fontsize=7.5)
        axes.set_ylim(*_limits(column))
        axes.set_xlim(-0.35, len(ticks) - 0.65)
        axes.set_xticks(positions, ticks)
    for axes in grid[-1]:
        axes.tick_params(axis="x", labelsize=6.5)
    figure.supxlabel(xlabel, fontsize=7.5)
    return figure


def _limits(column: NDArray[np.object_]) -> tuple[float, float]:
    """Return axis limits that include zero and all data of a column."""
    lowest = [float(axes.dataLim.y0) for axes in column if np.isfinite(axes.dataLim.y0)]
    highest = [float(axes.dataLim.y1) for axes in column if np.isfinite(axes.dataLim.y1)]
    low, high = min([0.0, *lowest]), max([0.0, *highest])
    return 1.08 * low, 1.08 * high or (0.0 if low else 1.0)


def _draw_series(
    axes: Axes, positions: NDArray[np.int64], values: LesionTimeline, scale: float
) -> None:
    """Draw means, connected across missing sessions, standard errors and interquartile ranges."""
    found = np.isfinite(values.mean)
    axes.vlines(positions, values.low * scale, values.high * scale, color=DATA, alpha=0.25, lw=5)
    known = found & np.isfinite(values.error)
    axes.errorbar(
        positions[known],
        values.mean[known] * scale,
        yerr=values.error[known] * scale,
        fmt="none",
        color=INK,
        elinewidth=1,
        capsize=2.5,
    )
    axes.plot(positions[found], values.mean[found] * scale, "o-", color=DATA, lw=1.1, clip_on=False)
