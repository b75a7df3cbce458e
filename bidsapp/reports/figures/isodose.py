"""Isodose lines on slices of the anatomy."""

from collections.abc import Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D

from bidsapp.reports.figures.images import Panel, draw_panel, image_axes
from bidsapp.reports.figures.layout import WIDTH, Array
from bidsapp.reports.page.style import ACCENT, apply_style

_ACROSS = 4
"""Largest number of panels in a row."""


@apply_style
def isodose_lines(
    panels: Sequence[Panel], doses: Sequence[Array], names: Sequence[str], levels: Sequence[float]
) -> Figure:
    """Draw isodose lines on slices, with the outlines of the lesions.

    Parameters
    ----------
    panels : sequence of Panel
    doses : sequence of (M, N) array, Gy
        On the pixels of the panels; NaN where it is not known.
    names : sequence of str
        Title of each panel.
    levels : sequence of float
        Doses in ascending order, Gy.

    Returns
    -------
    figure : matplotlib.figure.Figure

    Examples
    --------
    >>> panel, dose = Panel(np.eye(4), (1, 1), (0, 1)), np.outer(range(4), range(4)) * 3.0
    >>> isodose_lines([panel], [dose], ["Lesion 1"], [12, 20]).axes[0].get_title(loc="left")
    'Lesion 1'
    """
    across = min(len(panels), _ACROSS)
    down = -(-len(panels) // across)
    size = min(WIDTH / across, WIDTH / 2)
    figure = Figure(
        figsize=(size * across, size * down + 0.5),
        layout=ConstrainedLayoutEngine(w_pad=0.02, h_pad=0.02, wspace=0.01, hspace=0.01),
    )
    colours = colormaps["cool"](np.linspace(0, 1, len(levels)))
    grid = figure.subplots(down, across, squeeze=False).ravel()
    for axes, panel, values, name in zip(grid, panels, doses, names, strict=False):
        image_axes(axes)
        draw_panel(axes, panel)
        dose = np.ma.masked_invalid(values)
        for level, colour in zip(levels, colours, strict=True):
            if dose.count() and dose.min() < level <= dose.max():
                axes.contour(dose, [level], colors=[colour], linewidths=1.0)
        axes.set_title(name)
    for axes in grid[len(panels) :]:
        axes.set_visible(False)
    lines = [Line2D([], [], color=ACCENT, lw=1), *(Line2D([], [], color=c) for c in colours)]
    labels = ["lesion", *(f"{level:g} Gy" for level in levels)]
    figure.legend(lines, labels, loc="outside lower center", ncols=len(labels), frameon=False)
    return figure
