"""Values of single lesions and the fitted mean over days since treatment."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bidsapp.reports.figures.layout import MANY_LESIONS
from bidsapp.reports.page.style import CYCLE, INK, SOFT, apply_style

_COLUMNS = 3
"""Panels in a row."""


@dataclass(frozen=True)
class Trend:
    """One parameter over days.

    Attributes
    ----------
    label : str
        Name and unit, for the axis.
    values : pandas.DataFrame
        ``participant_id lesion days value group``, a row per value.
    curves : pandas.DataFrame
        ``group days mean ci_low ci_high``: the fitted mean; may be empty.
    """

    label: str
    values: pd.DataFrame
    curves: pd.DataFrame


@apply_style
def trends(courses: Sequence[Trend], covariate: str = "") -> Figure:
    """Plot lesions as thin lines and the fitted mean with its interval, over days.

    Parameters
    ----------
    courses : sequence of Trend
        One panel each.
    covariate : str
        Name of the groups, for the legend.

    Returns
    -------
    figure : matplotlib.figure.Figure

    Examples
    --------
    >>> values = pd.DataFrame({"participant_id": "sub-01", "lesion": 1, "days": [-3.0, 30.0],
    ...                        "value": [4.0, 2.0], "group": ""})
    >>> curves = pd.DataFrame({"group": "", "days": [-3.0, 0.0, 30.0], "mean": [4.0, 4.0, 2.0],
    ...                        "ci_low": [3.0, 3.0, 1.0], "ci_high": [5.0, 5.0, 3.0]})
    >>> trends([Trend("vp (%)", values, curves)]).axes[0].get_xlabel()
    'days since treatment'
    """
    rows = -(-len(courses) // _COLUMNS)
    columns = min(len(courses), _COLUMNS)
    figure = Figure(figsize=(3.0 * columns + 0.4, 2.5 * rows), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    names = sorted({group for c in courses for group in c.values["group"]} - {""})
    colours = dict(zip(names, np.resize(CYCLE, len(names)), strict=True))
    for index, (axes, course) in enumerate(zip(panels, courses, strict=False)):
        _draw(axes, course, colours)
        axes.set_title("ABCDEFGHIJKL"[index % 12])
        if index + columns >= len(courses):
            axes.set_xlabel("days since treatment")
    for axes in panels[len(courses) :]:
        axes.set_axis_off()
    if names:
        lines, texts = panels[0].get_legend_handles_labels()
        figure.legend(lines, texts, loc="outside upper right", ncols=len(names), title=covariate)
    return figure


def _draw(axes: Axes, course: Trend, colours: Mapping[str, str]) -> None:
    """Draw one panel."""
    groups = list(colours) or [""]
    for group in groups:
        colour = colours.get(group, CYCLE[0])
        part = course.values[course.values["group"] == group]
        x, y = _polyline(part)
        alpha = float(np.clip(30 / (len(part) or 1), 0.05, 0.6))
        thin: Any = {"lw": 0.6, "alpha": alpha, "marker": ".", "markersize": 2.5, "mew": 0}
        axes.plot(
            x,
            y,
            "-",
            color=colour if colours else SOFT,
            rasterized=len(part) > MANY_LESIONS,
            **thin,
        )
        curve = course.curves[course.curves["group"] == group]
        if len(curve):
            axes.fill_between(
                curve["days"], curve["ci_low"], curve["ci_high"], color=colour, alpha=0.22, lw=0
            )
            axes.plot(curve["days"], curve["mean"], color=colour, lw=2, label=group or None)
    axes.axvline(0, color=INK, lw=0.7, ls=(0, (4, 3)))
    axes.set_ylabel(course.label)
    axes.margins(x=0.02)
    values = course.values["value"]
    # From zero, where the values come near to it.
    if 0 <= values.min() < values.max() / 3:
        axes.set_ylim(bottom=0)


def _polyline(values: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Return one line through all lesions, with NaN between them: much faster than many lines."""
    x: list[float] = []
    y: list[float] = []
    for _, lesion in (
        values.dropna(subset="value").sort_values("days").groupby(["participant_id", "lesion"])
    ):
        x += [*lesion["days"], np.nan]
        y += [*lesion["value"], np.nan]
    return np.array(x), np.array(y)
