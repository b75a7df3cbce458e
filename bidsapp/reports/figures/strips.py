"""Strip plots: every lesion as a point at each time point, in the colour of its response."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bidsapp.reports.figures.layout import MANY_LESIONS
from bidsapp.reports.page.numbers import timepoint_label
from bidsapp.reports.page.style import INK, RESPONSE_COLORS, apply_style

_COLUMNS = 3
"""Largest number of panels in a row."""

_SPREAD = 0.5
"""Width of the points of a time point."""

_UNKNOWN = "#7a6f9b"
"""Colour of lesions without a response."""


@dataclass(frozen=True)
class Strip:
    """One parameter of all lesions.

    Attributes
    ----------
    label : str
        Name and unit, for the axis.
    points : pandas.DataFrame
        A row per lesion and time point: ``timepoint``, ``value``, ``response``, and ``url``, the
        page to which the point links, or an empty text.
    """

    label: str
    points: pd.DataFrame


@apply_style
def strip_plots(strips: Sequence[Strip], timepoints: Sequence[str]) -> Figure:
    """Plot the values of all lesions at each time point, with their medians.

    Parameters
    ----------
    strips : sequence of Strip
        One panel each.
    timepoints : sequence of str
        From left to right.

    Returns
    -------
    figure : matplotlib.figure.Figure
        Points with a ``url`` are links in an SVG file, in the order of the rows.

    Examples
    --------
    >>> points = pd.DataFrame({"timepoint": ["before", "after"], "value": [4.0, 2.0],
    ...                        "response": "PR", "url": ""})
    >>> strip_plots([Strip("vp (%)", points)], ["before", "after"]).axes[0].get_ylabel()
    'vp (%)'
    """
    columns = min(len(strips), _COLUMNS)
    rows = -(-len(strips) // _COLUMNS)
    figure = Figure(figsize=(3.1 * columns, 2.4 * rows + 0.3), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes, strip in zip(panels, strips, strict=False):
        _draw(axes, strip, timepoints)
    for axes in panels[len(strips) :]:
        axes.set_axis_off()
    found = {name for strip in strips for name in strip.points["response"]}
    colors = {**RESPONSE_COLORS, "n/a": _UNKNOWN}
    shown = [name for name in colors if name in found]
    marks = [panels[0].plot([], [], "o", color=colors[name])[0] for name in shown]
    figure.legend(marks, shown, loc="outside upper right", ncols=max(len(shown), 1))
    return figure


def _draw(axes: Axes, strip: Strip, timepoints: Sequence[str]) -> None:
    """Draw one panel."""
    known = strip.points.dropna(subset="value")
    place = {name: i for i, name in enumerate(timepoints)}
    colors: Mapping[str, str] = RESPONSE_COLORS
    # Points of a time point are spread by multiples of the golden ratio: evenly, for any number.
    order = known.groupby("timepoint").cumcount().to_numpy()
    x = known["timepoint"].map(place).to_numpy(float) + _SPREAD * ((order * 0.618034) % 1 - 0.5)
    many = len(known) > MANY_LESIONS
    drawn = axes.scatter(
        x,
        known["value"],
        s=6 if many else 30,
        c=[colors.get(name, _UNKNOWN) for name in known["response"]],
        alpha=0.4 if many else 0.85,
        linewidths=0,
        zorder=3,
        rasterized=many,
    )
    drawn.set_urls([url or None for url in known["url"]])
    for name, values in known.groupby("timepoint")["value"]:
        middle = float(np.median(values))
        at = place[str(name)]
        axes.plot([at - 0.35, at + 0.35], [middle, middle], "-", color=INK, lw=1.2, zorder=4)
    axes.set_xticks(range(len(timepoints)), [timepoint_label(name) for name in timepoints])
    axes.set_xlim(-0.6, len(timepoints) - 0.4)
    axes.set_ylabel(strip.label)
    axes.grid(axis="x", visible=False)
