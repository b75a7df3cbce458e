"""Parameter maps fused with the anatomy: a row for each parameter, a column for each visit."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Colormap, ListedColormap, Normalize
from matplotlib.figure import Figure

from bidsapp.models.parameters import Display
from bidsapp.reports.figures.images import (
    Panel,
    draw_empty,
    draw_outline,
    draw_panel,
    image_axes,
)
from bidsapp.reports.figures.layout import WIDTH, Array
from bidsapp.reports.page.style import apply_style

OPACITY = 0.75
"""Of a map on the anatomy."""

_GREY = 0.25
"""Anatomy below the colour bar, and the share of its brightness below a map."""

_LEFT, _BAR, _GAP, _TOP, _TITLE = 0.62, 0.95, 0.04, 0.24, 0.26
_LARGEST = 2.0
_SIDE_BY_SIDE = 4
"""Largest number of columns of blocks that stand side by side."""

PERCENTILES = (2.0, 98.0)
"""Of the values of a lesion in all visits: the limits of its own colour scale."""

_FEWEST = 10
"""Values that percentiles need."""


@dataclass(frozen=True)
class MapRow:
    """One row: its label, a panel for each column, and how the values are shown.

    Without a ``display`` the row shows the anatomy; ``scale`` names the origin of the limits.
    """

    label: str
    panels: Sequence[Panel | None]
    display: Display | None = None
    scale: str = ""


@dataclass(frozen=True)
class MapBlock:
    """Rows below a common title."""

    title: str
    rows: Sequence[MapRow]


def adapt_limits(display: Display, values: Array) -> Display | None:
    """Return a display whose colour scale spans percentiles of some values, rounded outwards.

    Parameters
    ----------
    display : Display
    values : (N,) array
        As stored; NaN where there is none.

    Returns
    -------
    display : Display or None
        None if there are too few values, or if they are all the same.

    Examples
    --------
    >>> from bidsapp.models.parameters import DISPLAY
    >>> adapt_limits(DISPLAY["vp"], np.linspace(0.011, 0.032, 100)).limits
    (1.1, 3.2)
    """
    known = values[np.isfinite(values)] * display.scale
    if known.size < _FEWEST:
        return None
    low, high = (float(x) for x in np.percentile(known, PERCENTILES))
    if not high - low > 1e-6 * max(abs(low), abs(high)):
        return None
    if display.limits[0] == -display.limits[1]:  # a scale that diverges from zero remains so
        low, high = -max(abs(low), abs(high)), max(abs(low), abs(high))
    step = 10.0 ** np.floor(np.log10((high - low) / 10))
    ends = np.floor(low / step) * step, np.ceil(high / step) * step
    digits = max(0, -int(np.floor(np.log10(step))))
    return replace(display, limits=(round(float(ends[0]), digits), round(float(ends[1]), digits)))


def fuse(panel: Panel, display: Display) -> Array:
    """Return a slice of the anatomy with its map blended over it, as (M, N, 3) colours.

    Parameters
    ----------
    panel : Panel
        Where its values are missing, the darkened anatomy is shown.
    display : Display

    Examples
    --------
    >>> from bidsapp.models.parameters import DISPLAY
    >>> panel = Panel(np.eye(2), (1, 1), (0, 1), values=np.array([[np.nan, 0.2], [0.1, 0]]))
    >>> fuse(panel, DISPLAY["f"])[0, 0]
    array([0.5, 0.5, 0.5])
    """
    low, high = panel.window
    grey = np.clip((panel.background - low) / (high - low), 0, 1)[..., None] * (2 * _GREY)
    anatomy: Array = np.repeat(grey, 3, axis=2)
    if panel.values is None:
        return anatomy
    values = panel.values * display.scale
    known = np.where(np.isfinite(values), values, 0.0)
    colours = colormaps[display.colormap](Normalize(*display.limits)(known))
    blended = OPACITY * colours[..., :3] + (1 - OPACITY) * anatomy
    return np.where(np.isfinite(values)[..., None], blended, anatomy)


def _blended(name: str) -> Colormap:
    """Return a colour map as it appears over anatomy of medium grey."""
    colours = colormaps[name](np.linspace(0, 1, 256))
    colours[:, :3] = OPACITY * colours[:, :3] + (1 - OPACITY) * _GREY
    return ListedColormap(colours)


@apply_style
def map_grid(blocks: Sequence[MapBlock], columns: Sequence[str]) -> Figure:
    """Show blocks of rows of panels, each row of a parameter with its colour bar.

    Parameters
    ----------
    blocks : sequence of MapBlock
        Side by side if there are few columns, otherwise below each other.
    columns : sequence of str
        Titles of the columns, the same in all blocks.

    Returns
    -------
    figure : matplotlib.figure.Figure

    Examples
    --------
    >>> from bidsapp.models.parameters import DISPLAY
    >>> panel = Panel(np.eye(4), (1, 1), (0, 1), values=np.eye(4))
    >>> block = MapBlock("", [MapRow("f", [panel, None], DISPLAY["f"])])
    >>> map_grid([block], ["baseline", "1week"]).axes[-1].get_ylabel()
    'f (%)'
    """
    beside = len(blocks) > 1 and len(columns) <= _SIDE_BY_SIDE
    across = len(blocks) if beside else 1
    width = (WIDTH - _LEFT) / across
    size = min(_LARGEST, (width - _BAR) / len(columns) - _GAP)
    heights = [
        _TITLE * bool(block.title) + _TOP + len(block.rows) * (size + _GAP) for block in blocks
    ]
    figure = Figure(figsize=(WIDTH, max(heights) if beside else sum(heights)))
    top = 0.0
    for number, (block, height) in enumerate(zip(blocks, heights, strict=True)):
        left = _LEFT + number * width if beside else _LEFT
        _draw_block(figure, block, columns, (left, top, size), labels=not (beside and number))
        top += 0 if beside else height
    return figure


def _draw_block(
    figure: Figure,
    block: MapBlock,
    columns: Sequence[str],
    place: tuple[float, float, float],
    *,
    labels: bool,
) -> None:
    """Draw the rows of a block; the place is the left and upper edge and the size of a panel."""
    left, top, size = place
    if block.title:
        _write(figure, left, top + 0.14, block.title, weight="bold", fontsize=8.5)
        top += _TITLE
    for number, name in enumerate(columns):
        _write(figure, left + number * (size + _GAP), top + 0.12, name)
    top += _TOP
    for row in block.rows:
        for number, panel in enumerate(row.panels):
            axes = _place(figure, left + number * (size + _GAP), top, size, size)
            _draw_cell(axes, panel, row.display)
            if number == 0 and labels:
                axes.set_ylabel(row.label, fontweight="bold")
        if row.display is not None:
            edge = left + len(row.panels) * (size + _GAP) + 0.04
            bar = _place(figure, edge, top + 0.06 * size, 0.09, 0.88 * size)
            _draw_bar(figure, bar, row)
        top += size + _GAP


def _write(figure: Figure, left: float, top: float, text: str, **style: Any) -> None:
    width, height = figure.get_size_inches()
    figure.text(left / width, 1 - top / height, text, va="center", **style)


def _place(figure: Figure, left: float, top: float, width: float, height: float) -> Axes:
    """Return axes whose edges are given in inches from the upper left corner."""
    total = figure.get_size_inches()
    box = (left / total[0], 1 - (top + height) / total[1], width / total[0], height / total[1])
    return figure.add_axes(box)


def _draw_cell(axes: Axes, panel: Panel | None, display: Display | None) -> None:
    """Draw a panel: anatomy, or a map on it; the outline is white or black on a map."""
    if panel is None:
        draw_empty(axes)
        return
    image_axes(axes)
    if display is None:
        draw_panel(axes, panel)
        return
    aspect = panel.spacing[0] / panel.spacing[1]
    axes.imshow(fuse(panel, display), aspect=aspect, interpolation="nearest")
    diverging = display.limits[0] == -display.limits[1]  # light in the middle of the scale
    draw_outline(axes, panel.outline, "black" if diverging else "white")


def _draw_bar(figure: Figure, axes: Axes, row: MapRow) -> None:
    """Draw the colour bar of a row, with arrows where values may lie beyond its limits."""
    assert row.display is not None
    low, high = row.display.limits
    scale = ScalarMappable(Normalize(low, high), _blended(row.display.colormap))
    extend = "both" if low != 0 else "max"
    bar = figure.colorbar(scale, cax=axes, extend=extend, extendfrac=0.06)
    bar.outline.set_visible(False)
    bar.set_ticks([low, (low + high) / 2, high])
    bar.ax.tick_params(labelsize=6.5, length=2)
    label = "\n".join(filter(None, (row.display.title, row.scale)))
    bar.set_label(label, fontsize=7)
