"""Slices of images as panels of figures, and figures of images after registration."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.patches import Rectangle
from numpy.typing import NDArray
from scipy import ndimage

from bidsapp.reports.figures.layout import WIDTH, Array
from bidsapp.reports.page.style import ACCENT, EDGE, SOFT, apply_style

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Panel:
    """One slice for display: 2-D arrays with rows from top to bottom.

    ``spacing`` is the size of a (row, column) in mm; ``window`` the grey-scale limits of
    ``background``; ``values`` (as stored, NaN where the fit failed) are overlaid; ``box`` is (row,
    column, rows, columns) of a detail.
    """

    background: Array
    spacing: tuple[float, float]
    window: tuple[float, float]
    outline: Mask | None = None
    values: Array | None = None
    box: tuple[int, int, int, int] | None = None


def image_axes(axes: Axes) -> None:
    """Remove ticks, grid and frame of an image panel."""
    axes.set_xticks([])
    axes.set_yticks([])
    axes.grid(False)
    axes.set_facecolor("black")
    for spine in axes.spines.values():
        spine.set_visible(False)


def draw_empty(axes: Axes, text: str = "not available") -> None:
    """Mark an image panel as empty, with a text."""
    axes.set_xticks([])
    axes.set_yticks([])
    axes.grid(False)
    axes.set_facecolor("#f5f7f9")
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.text(
        0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", color=SOFT, fontsize=7
    )


def draw_outline(axes: Axes, mask: Mask | None, color: str, width: float = 0.9) -> None:
    """Draw the outline of a mask if there is one in this slice."""
    if mask is not None and mask.any() and not mask.all():
        axes.contour(mask.astype(float), [0.5], colors=[color], linewidths=width)


def draw_panel(axes: Axes, panel: Panel) -> None:
    """Show a slice of the anatomy, the outline of the lesion and the frame of the detail."""
    low, high = panel.window
    aspect = panel.spacing[0] / panel.spacing[1]
    axes.imshow(panel.background, cmap="gray", vmin=low, vmax=high, aspect=aspect)
    draw_outline(axes, panel.outline, ACCENT)
    if panel.box is not None:
        row, column, rows, columns = panel.box
        axes.add_patch(Rectangle((column, row), columns, rows, fill=False, ec=ACCENT, lw=0.8))


def _edges(panel: Panel, width: float = 1.5) -> np.ma.MaskedArray:
    """Return the Laplacian of a slice, zero at edges, masked to strong edges in the outline."""
    sigma = [width / size for size in panel.spacing]
    strength = ndimage.gaussian_gradient_magnitude(panel.background, sigma)
    bend = ndimage.gaussian_laplace(panel.background, sigma)
    inside = np.ones(bend.shape, bool) if panel.outline is None else panel.outline
    weak = strength < 0.3 * np.percentile(strength[inside], 98) if inside.any() else ~inside
    return np.ma.masked_where(weak | ~inside, bend)


@apply_style
def slice_strip(panels: Sequence[Panel]) -> Figure:
    """Show slices side by side, without labels.

    Parameters
    ----------
    panels : sequence of Panel

    Returns
    -------
    figure : matplotlib.figure.Figure
        Figures of panels of the same size have the same size.

    Examples
    --------
    >>> len(slice_strip([Panel(np.eye(4), (1, 1), (0, 1))]).axes)
    1
    """
    shapes = [np.multiply(p.background.shape, p.spacing) for p in panels]
    ratios = [float(width / height) for height, width in shapes]
    figure = Figure(figsize=(WIDTH, WIDTH / sum(ratios)), facecolor="black")
    grid = figure.subplots(1, len(panels), squeeze=False, width_ratios=ratios)[0]
    figure.subplots_adjust(left=0, right=1, bottom=0, top=1, wspace=0, hspace=0)
    for axes, panel in zip(grid, panels, strict=True):
        image_axes(axes)
        draw_panel(axes, replace(panel, outline=None))
    return figure


@apply_style
def registration_overlay(rows: Sequence[Sequence[Panel]], names: Sequence[str]) -> Figure:
    """Show images slice by slice, with the edges of the first image drawn on all.

    Parameters
    ----------
    rows : sequence of sequence of Panel
        The fixed image, then the images registered to it: the same slices of each, on one grid.
        Edges are detected inside the outline (the brain) of the fixed image.
    names : sequence of str
        Names of the images.

    Returns
    -------
    figure : matplotlib.figure.Figure

    Examples
    --------
    >>> image = Panel(np.pad(np.ones((8, 8)), 4), (1, 1), (0, 1))
    >>> [a.get_ylabel() for a in registration_overlay([[image], [image]], ["T1w", "b0"]).axes]
    ['T1w', 'b0']
    """
    fixed = rows[0]
    edges = [_edges(p) for p in fixed]
    shapes = [np.multiply(p.background.shape, p.spacing) for p in fixed]
    ratios = [float(width / height) for height, width in shapes]
    height = len(rows) * (WIDTH / sum(ratios)) + 0.1
    figure = Figure(
        figsize=(WIDTH, height),
        layout=ConstrainedLayoutEngine(w_pad=0.01, h_pad=0.01, wspace=0.0, hspace=0.0),
    )
    grid = figure.subplots(len(rows), len(fixed), squeeze=False, width_ratios=ratios)
    for line, panels, name in zip(grid, rows, names, strict=True):
        for axes, panel, reference, bend in zip(line, panels, fixed, edges, strict=True):
            image_axes(axes)
            draw_panel(axes, replace(panel, outline=None))
            draw_outline(axes, reference.outline, EDGE, 0.6)
            if bend.count() and bend.min() < 0 < bend.max():
                axes.contour(bend, [0], colors=[EDGE], linewidths=0.6)
        line[0].set_ylabel(name)
    return figure
