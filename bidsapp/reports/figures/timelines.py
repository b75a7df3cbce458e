"""Parameters of the lesions of a participant over time."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bidsapp.models.parameters import DISPLAY
from bidsapp.reports.figures.layout import WIDTH, Array
from bidsapp.reports.page.style import CYCLE, SOFT, apply_style

_COLUMNS = 4
"""Most panels in a row."""
_MARKERS = "osD^vP"
_STYLES = ("-", "--", ":")
_SHIFT = 0.008
"""Distance between the points of two lesions of one session, relative to the axis."""


@dataclass(frozen=True)
class LesionTimeline:
    """One parameter of one lesion in each session, as stored; NaN if missing.

    ``low`` and ``high`` are the quartiles of its voxels, ``error`` is the standard error of the
    mean.
    """

    mean: Array
    low: Array
    high: Array
    error: Array


@dataclass(frozen=True)
class TimeAxis:
    """Places of the sessions: days since treatment, or ranks if a day is not known.

    ``names`` are those of the sessions; ``dated`` states whether the places are days.
    """

    places: Array
    names: Sequence[str]
    dated: bool

    @property
    def label(self) -> str:
        """The label of the axis."""
        return "days since treatment" if self.dated else "session"


@apply_style
def lesion_timeline(
    series: Sequence[Sequence[LesionTimeline | None]],
    lesions: Sequence[str],
    parameters: Sequence[str],
    axis: TimeAxis,
) -> Figure:
    """Plot the parameters over time, a panel for each, with a line for each lesion.

    Parameters
    ----------
    series : sequence of sequence of LesionTimeline or None
        Lesions by parameters.
    lesions : sequence of str
    parameters : sequence of str
        Keys of `DISPLAY`.
    axis : TimeAxis

    Returns
    -------
    figure : matplotlib.figure.Figure

    Examples
    --------
    >>> values = LesionTimeline(*np.array([[0.1, 0.2], [0.0, 0.1], [0.2, 0.3], [0.01, 0.01]]))
    >>> axis = TimeAxis(np.array([-5.0, 30.0]), ["baseline", "1month"], dated=True)
    >>> panel = lesion_timeline([[values]], ["Lesion 1"], ["vp"], axis).axes[0]
    >>> panel.get_title("left"), panel.lines[0].get_xdata()
    ('vp (%)', array([-5., 30.]))
    """
    rows = -(-len(parameters) // _COLUMNS)
    columns = -(-len(parameters) // rows)
    figure = Figure(figsize=(WIDTH, 1.9 * rows + 0.5), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False, sharex=True).ravel()
    span = float(np.ptp(axis.places)) or 1.0
    for index, (axes, name) in enumerate(zip(panels, parameters, strict=False)):
        for number, own in enumerate(series):
            shift = (number - (len(series) - 1) / 2) * _SHIFT * span
            values = own[index]
            if values is not None and np.isfinite(values.mean).any():
                _draw_series(axes, axis.places + shift, values, DISPLAY[name].scale, number)
        axes.set_title(DISPLAY[name].title)
        _set_limits(axes)
        _set_days(axes, axis, span)
        axes.tick_params(labelbottom=index + columns >= len(parameters))
    for axes in panels[len(parameters) :]:
        axes.set_axis_off()
    figure.supxlabel(axis.label, fontsize=7.5)
    if len(lesions) > 1:
        lines = [_line_of(number) for number in range(len(lesions))]
        handles = [panels[0].plot([], [], **line)[0] for line in lines]
        figure.legend(handles, lesions, loc="outside upper right", ncols=min(len(lesions), 8))
    return figure


def _line_of(number: int) -> dict[str, Any]:
    """Return colour, marker and style of a lesion; they repeat after all combinations."""
    count = len(CYCLE)
    return {
        "color": CYCLE[number % count],
        "marker": _MARKERS[number % count],
        "ls": _STYLES[number // count % len(_STYLES)],
    }


def _set_days(axes: Axes, axis: TimeAxis, span: float) -> None:
    """Mark the sessions on the axis, and the treatment."""
    axes.set_xlim(axis.places.min() - 0.05 * span, axis.places.max() + 0.05 * span)
    if not axis.dated:
        axes.set_xticks(axis.places, axis.names, rotation=30, ha="right")
        return
    axes.set_xticks(axis.places, minor=True)
    axes.tick_params(axis="x", which="minor", length=5, width=1, labelbottom=False)
    if axis.places.min() < 0 < axis.places.max():
        axes.axvline(0, color=SOFT, lw=0.8, ls=(0, (4, 3)))


def _set_limits(axes: Axes) -> None:
    """Set limits that include zero and all data of a panel."""
    found = np.array([axes.dataLim.y0, axes.dataLim.y1])
    known = found[np.isfinite(found)]
    low, high = min([0.0, *known]), max([0.0, *known])
    axes.set_ylim(1.08 * low, 1.08 * high or (0.0 if low else 1.0))


def _draw_series(
    axes: Axes, places: Array, values: LesionTimeline, scale: float, number: int
) -> None:
    """Draw means, connected across missing sessions, standard errors and interquartile ranges."""
    found = np.isfinite(values.mean)
    line = _line_of(number)
    axes.plot(places[found], values.mean[found] * scale, **line, lw=1.1, clip_on=False)
    axes.vlines(
        places, values.low * scale, values.high * scale, color=line["color"], alpha=0.25, lw=4
    )
    known = found & np.isfinite(values.error)
    axes.errorbar(
        places[known],
        values.mean[known] * scale,
        yerr=values.error[known] * scale,
        fmt="none",
        color=line["color"],
        elinewidth=1,
        capsize=2.5,
    )
