"""Style of all figures, applied when a figure is created and when it is rendered."""

from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec

import matplotlib as mpl
from cycler import cycler
from matplotlib.figure import Figure

INK, SOFT, GRID = "#1b2430", "#55606e", "#e3e7ec"
DATA, FIT, ACCENT, EDGE = "#0b57a4", "#c8501e", "#f2a900", "#ff4f2e"
RESPONSE_COLORS = {
    "CR": "#0b3c6f",
    "PR": "#5aa5d8",
    "SD": "#a3abb5",
    "NE": "#b9a36b",
    "PD": "#c8501e",
}
"""Colours of response categories: blue to orange by lightness, for any kind of colour vision."""
CYCLE = ["#0072b2", "#c8501e", "#009e73", "#8f5aa8", "#b58900", "#4d4d4d"]

STYLE: Any = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans", "Verdana", "Geneva"],
    "font.size": 8,
    "text.parse_math": False,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.labelsize": 8,
    "axes.titlesize": 8.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.edgecolor": SOFT,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.prop_cycle": cycler(color=CYCLE),
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "xtick.labelsize": 7.5,
    "ytick.labelsize": 7.5,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "legend.frameon": False,
    "legend.fontsize": 7.5,
    "lines.linewidth": 1.3,
    "lines.markersize": 3.5,
    "svg.fonttype": "none",
    "svg.hashsalt": "metperf",
}

P = ParamSpec("P")


def apply_style(plot: Callable[P, Figure]) -> Callable[P, Figure]:
    """Apply the common style to a plotting function, independent of the user's settings.

    Parameters
    ----------
    plot : callable
        Returns a Figure.

    Returns
    -------
    plot : callable

    Examples
    --------
    >>> @apply_style
    ... def empty() -> Figure:
    ...     return Figure()
    >>> type(empty()).__name__
    'Figure'
    """

    @wraps(plot)
    def plot_in_style(*args: P.args, **kwargs: P.kwargs) -> Figure:
        with mpl.rc_context(STYLE):
            return plot(*args, **kwargs)

    return plot_in_style
