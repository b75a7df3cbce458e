"""Common elements of the figures: grids of panels, and axes with plain numbers."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from bidsapp.reports.page.style import CYCLE, SOFT

LINE: dict[str, Any] = {"color": SOFT, "linewidth": 0.8, "linestyle": (0, (4, 3)), "zorder": 1}


def grid(
    rows: int, columns: int, width: float = 2.3, height: float = 1.9, **shared: Any
) -> tuple[Figure, np.ndarray]:
    """Return a figure of panels (rows, columns); sizes are of one panel in inches."""
    figure = Figure(figsize=(width * columns, height * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False, **shared)
    return figure, axes


def flat(panels: int, columns: int, **sizes: Any) -> tuple[Figure, list[Axes]]:
    """Return a figure with a number of panels, filled row by row."""
    rows = -(-panels // columns)
    figure, axes = grid(rows, min(columns, panels), **sizes)
    places = list(axes.ravel())
    for spare in places[panels:]:
        spare.set_visible(False)
    return figure, places[:panels]


def plain(value: float, _: int = 0) -> str:
    """Return a number in short form: 200, 5k, 3M, 1e-8."""
    for limit, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= limit:
            return f"{value / limit:g}{letter}"
    return f"{value:g}"


def logarithmic(axes: Axes, *which: str) -> None:
    """Make the axes ``x``, ``y`` logarithmic, with labelled ticks at powers of ten."""
    for name in which:
        axes.set(**{f"{name}scale": "log"})
        axis = getattr(axes, f"{name}axis")
        axis.set_major_locator(LogLocator(numticks=12))
        axis.set_major_formatter(FuncFormatter(plain))
        axis.set_minor_formatter(NullFormatter())


def levels(axes: Axes, values: list[float], label: str) -> None:
    """Make x a logarithmic axis with ticks at the levels of noise."""
    axes.set_xscale("log")
    axes.set_xticks(values, [f"{v:g}" for v in values])
    axes.xaxis.set_minor_locator(LogLocator(subs=()))
    axes.set_xlabel(label)


def colours(names: list[str]) -> dict[str, str]:
    """Assign a colour to every name."""
    return {name: CYCLE[i % len(CYCLE)] for i, name in enumerate(names)}


def legend_below(figure: Figure, axes: Axes, columns: int) -> None:
    """Add the legend of a panel to the whole figure."""
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=columns)
