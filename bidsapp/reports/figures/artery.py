"""Plots of the arterial input: its voxels and its time course."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from bidsapp.reports.figures.images import Panel, draw_empty, draw_panel, image_axes
from bidsapp.reports.figures.layout import WIDTH, Array, add_legend, mark_unavailable
from bidsapp.reports.page.style import DATA, EDGE, FIT, SOFT, apply_style


@dataclass(frozen=True)
class ArterialCurves:
    """The arterial input of a session, and its voxels.

    ``time`` (N,) in s; ``blood`` and ``plasma`` (N,) in mM; ``arrival`` in s, or None if not found;
    ``voxels`` (V, N), the blood concentration in each voxel that was averaged; ``whole`` is the
    slice with most of these voxels, ``detail`` its part around them.
    """

    time: Array
    blood: Array
    plasma: Array
    arrival: float | None
    voxels: Array = field(default_factory=lambda: np.empty((0, 0)))
    whole: Panel | None = None
    detail: Panel | None = None


@apply_style
def arterial_input(inputs: Sequence[ArterialCurves | None], labels: Sequence[str]) -> Figure:
    """Show the voxels and the time course of the arterial input, one column per session.

    Parameters
    ----------
    inputs : sequence of ArterialInput or None
    labels : sequence of str

    Returns
    -------
    figure : matplotlib.figure.Figure
        Without images if no session has any.

    Examples
    --------
    >>> curve = ArterialCurves(np.arange(3.0), np.zeros(3), np.zeros(3), 1.0)
    >>> arterial_input([curve], ["baseline"]).axes[0].get_ylabel()
    'concentration (mM)'
    """
    pictured = any(found is not None and found.detail is not None for found in inputs)
    figure = Figure(figsize=(WIDTH, 4.5 if pictured else 2.6), layout="constrained")
    parts = figure.subfigures(
        1 + pictured, 1, height_ratios=[1, 1.35][-1 - pictured :], squeeze=False
    )
    row = parts[-1, 0].subplots(1, len(inputs), sharex=True, sharey=True, squeeze=False)[0]
    row[0].set_ylabel("concentration (mM)")
    for axes, found, label in zip(row, inputs, labels, strict=True):
        axes.set_xlabel("time (min)")
        if found is None:
            mark_unavailable(axes)
        else:
            _draw_curves(axes, found)
        if not pictured:
            axes.set_title(label)
    row[0].set_ylim(*_limits(inputs))
    if pictured:
        grid = parts[0, 0].subplots(1, 2 * len(inputs), squeeze=False)[0]
        for n, (found, label) in enumerate(zip(inputs, labels, strict=True)):
            _draw_images(grid[2 * n : 2 * n + 2], found)
            grid[2 * n].set_title(label)
            if found is not None and found.detail is not None:
                grid[2 * n + 1].set_title(_count_shown_voxels(found), fontweight="normal")
    return add_legend(figure)


def _count_shown_voxels(found: ArterialCurves) -> str:
    """Return how many of the voxels are in the detail, in words."""
    shown = (
        0 if found.detail is None or found.detail.outline is None else found.detail.outline.sum()
    )
    return f"{shown} of {len(found.voxels)} voxels"


def _limits(inputs: Sequence[ArterialCurves | None]) -> tuple[float, float]:
    """Return axis limits that include the mean curves; single voxels may exceed them."""
    found = [f for f in inputs if f is not None]
    low = min((float(np.nanmin(f.blood, initial=0)) for f in found), default=0)
    high = max((float(np.nanmax(f.plasma, initial=0)) for f in found), default=0) or 1.0
    return low - 0.05 * high, 1.08 * high


def _draw_curves(axes: Axes, found: ArterialCurves) -> None:
    """Draw voxels (thin lines), their mean (thick), the plasma and the bolus arrival."""
    minutes = found.time / 60
    for n, course in enumerate(found.voxels):
        name = "voxels of the artery" if n == 0 else None
        axes.plot(minutes, course, color=DATA, lw=0.6, alpha=0.5, label=name)
    axes.plot(minutes, found.plasma, color=FIT, lw=1.1, ls="--", label="plasma")
    axes.plot(minutes, found.blood, color=DATA, lw=1.7, label="whole blood")
    if found.arrival is not None:
        axes.axvline(found.arrival / 60, color=SOFT, lw=0.9, ls=":", label="bolus arrival")


def _draw_images(pair: Sequence[Axes], found: ArterialCurves | None) -> None:
    """Show the slice, and the detail with the voxels that were averaged."""
    panels = (found.whole, found.detail) if found else (None, None)
    for axes, panel in zip(pair, panels, strict=True):
        if panel is None:
            draw_empty(axes)
            continue
        image_axes(axes)
        axes.set_anchor("N")
        draw_panel(axes, replace(panel, outline=None))
        if panel.outline is not None:
            for row, column in np.argwhere(panel.outline) - 0.5:
                axes.add_patch(Rectangle((column, row), 1, 1, fill=False, ec=EDGE, lw=1))
