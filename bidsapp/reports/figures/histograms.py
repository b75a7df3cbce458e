"""Histograms of parameters over the voxels of lesions."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bidsapp.models.parameters import DISPLAY
from bidsapp.reports.figures.layout import WIDTH, Array, add_legend
from bidsapp.reports.page.style import CYCLE, apply_style

BINS = 24
"""Number of bins over the range of the maps; larger values count in the last bin."""

LEAST = 5
"""Smallest number of voxels for a histogram."""


@apply_style
def histograms(
    rows: Sequence[Sequence[Mapping[str, Array | None]]],
    row_labels: Sequence[str],
    parameters: Sequence[str],
) -> Figure:
    """Plot the proportion of voxels over each parameter, one line per session.

    Parameters
    ----------
    rows : sequence of sequence of mapping of str to array or None
        Lesions by parameters: name of the session -> values as stored.
    row_labels : sequence of str
    parameters : sequence of str
        Keys of `DISPLAY`.

    Returns
    -------
    figure : matplotlib.figure.Figure

    Examples
    --------
    >>> figure = histograms([[{"baseline": np.linspace(0, 0.1, 50)}]], ["Lesion 1"], ["f"])
    >>> figure.axes[0].get_title("left")
    'f (%)'
    """
    figure = Figure(figsize=(WIDTH, 1.25 * len(row_labels) + 0.7), layout="constrained")
    grid = figure.subplots(len(row_labels), len(parameters), squeeze=False, sharex="col")
    for line, lesion, label in zip(grid, rows, row_labels, strict=True):
        line[0].set_ylabel(label, rotation=0, ha="right", va="center", fontweight="bold")
        for axes, name, sessions in zip(line, parameters, lesion, strict=True):
            _draw(axes, name, sessions)
    for axes, name in zip(grid[0], parameters, strict=True):
        axes.set_title(DISPLAY[name].title, fontsize=7.5)
    return add_legend(figure)


def _draw(axes: Axes, name: str, sessions: Mapping[str, Array | None]) -> None:
    """Draw one lesion and parameter."""
    display = DISPLAY[name]
    edges = np.linspace(*display.limits, BINS + 1)
    for index, (session, values) in enumerate(sessions.items()):
        shown = np.empty(0) if values is None else values * display.scale
        enough = shown.size >= LEAST
        counts, _ = np.histogram(np.clip(shown, *display.limits), edges)
        heights = counts / shown.size if enough else np.full(BINS, np.nan)
        style = ["-", "--", "-.", ":"][index % 4]
        color = CYCLE[index % len(CYCLE)]
        axes.stairs(heights, edges, color=color, ls=style, lw=1.1, label=session)
    axes.set_yticks([])
    axes.set_xlim(*display.limits)
    axes.set_ylim(bottom=0)
