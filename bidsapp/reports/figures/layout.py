"""Layout shared by the figures: width, legend, and panels without data."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from bidsapp.reports.page.style import SOFT

Array = NDArray[np.float64]

WIDTH = 10.0
"""Width of the figures of a participant, inches."""

MANY_LESIONS = 200
"""Points of more lesions than this are rasterised, to keep SVG files small."""


def add_legend(figure: Figure) -> Figure:
    """Add one legend above the panels, from the first panel with labelled lines."""
    for axes in figure.axes:
        handles, labels = axes.get_legend_handles_labels()
        if handles:
            figure.legend(handles, labels, loc="outside upper right", ncols=len(labels))
            break
    return figure


def mark_unavailable(axes: Axes) -> None:
    """Write in the middle of a panel that there are no data."""
    axes.text(0.5, 0.5, "not available", transform=axes.transAxes, ha="center", color=SOFT)
