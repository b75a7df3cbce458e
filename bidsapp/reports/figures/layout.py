"""What figures share: their width, their legend, and panels without data."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from bidsapp.reports.page.style import SOFT

Array = NDArray[np.float64]

WIDTH = 10.0
"""Width of every figure, inches."""

MANY_LESIONS = 200
"""More lesions than this are drawn as pixels, or a browser could not hold them."""


def with_legend(figure: Figure) -> Figure:
    """Add one legend above the panels, made from the first that has lines."""
    for axes in figure.axes:
        handles, labels = axes.get_legend_handles_labels()
        if handles:
            figure.legend(handles, labels, loc="outside upper right", ncols=len(labels))
            break
    return figure


def mark_unavailable(axes: Axes) -> None:
    """Write in the middle of a panel that there are no data."""
    axes.text(0.5, 0.5, "not available", transform=axes.transAxes, ha="center", color=SOFT)
