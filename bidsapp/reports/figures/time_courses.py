"""Time courses of parameters: mean, SD and lesions (the study's Figure 2)."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from string import ascii_uppercase
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bidsapp.reports.figures.layout import MANY_LESIONS
from bidsapp.reports.figures.links import MOST_LINKED, link_points
from bidsapp.reports.page.numbers import significance_mark, timepoint_label
from bidsapp.reports.page.style import CYCLE, INK, SOFT, apply_style
from bidsapp.study.statistics.values import FloatArray

_COLUMNS = 5
"""Largest number of panels in a row."""


@dataclass(frozen=True)
class Course:
    """One parameter over time.

    Attributes
    ----------
    label : str
        Name and unit, for the axis.
    values : pandas.DataFrame
        A row per lesion, by participant and number, a column per time point; NaN where there is no
        value.
    pvalues : mapping of (str, str) to float
        p value of each pair of time points.
    """

    label: str
    values: pd.DataFrame
    pvalues: Mapping[tuple[str, str], float]


@apply_style
def time_courses(courses: Sequence[Course], pages: Collection[str] = ()) -> Figure:
    """Plot mean and SD over time, with the individual lesions in grey.

    Parameters
    ----------
    courses : sequence of Course
        One panel each.
    pages : collection of str
        Participants with a page, to which the points of up to 120 lesions lead.

    Returns
    -------
    figure : matplotlib.figure.Figure

    Examples
    --------
    >>> values = pd.DataFrame({"before": [4.0, 5.0, 6.0], "after": [1.0, 3.0, 2.0]})
    >>> figure = time_courses([Course("vp (%)", values, {("before", "after"): 0.03})])
    >>> figure.axes[0].get_ylabel()
    'vp (%)'
    """
    columns = min(len(courses), _COLUMNS)
    rows = -(-len(courses) // _COLUMNS)
    figure = Figure(figsize=(3.5 * columns, 3.1 * rows), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for index, (axes, course) in enumerate(zip(panels, courses, strict=False)):
        _draw_course(axes, course, CYCLE[index % len(CYCLE)])
        if pages:
            lesions = course.values.index.repeat(course.values.shape[1])
            place = np.tile(np.arange(course.values.shape[1], dtype=float), len(course.values))
            link_points(axes, place, course.values.to_numpy(float).ravel(), lesions, pages)
        axes.set_title(ascii_uppercase[index])
    for axes in panels[len(courses) :]:
        axes.set_axis_off()
    return figure


def _draw_course(axes: Axes, course: Course, color: str) -> None:
    """Draw lesions in grey, mean and SD in colour, and marks of significant changes."""
    values = course.values.to_numpy(np.float64)
    names = list(course.values.columns)
    place = np.arange(len(names), dtype=np.float64)
    few = len(values) <= MOST_LINKED
    grey: Any = {"color": SOFT, "alpha": 0.4 if few else 0.28, "lw": 0.7, "marker": "."}
    grey["markersize"] = 6 if few else 3
    x, y = _polyline(place, values)
    axes.plot(x, y, "-", rasterized=len(values) > MANY_LESIONS, **grey)
    frame = pd.DataFrame(values)
    mean, sd = frame.mean().to_numpy(), frame.std().fillna(0).to_numpy()
    axes.errorbar(
        place,
        mean,
        yerr=sd,
        color=color,
        marker="o",
        markersize=6,
        lw=2,
        elinewidth=1.2,
        capsize=4,
        zorder=5,
    )
    counts = frame.count().to_numpy()
    axes.set_xticks(
        place, [f"{timepoint_label(name)}\nn = {n}" for name, n in zip(names, counts, strict=True)]
    )
    axes.set_xlim(-0.35, len(names) - 0.65)
    axes.set_ylabel(course.label)
    axes.grid(axis="x", visible=False)
    if not np.isfinite(values).any():
        return
    low = min(0.0, np.nanmin(mean - sd))
    high = max(np.nanmax(values), np.nanmax(mean + sd))
    span = (high - low) or 1.0
    top = _draw_marks(axes, names, course.pvalues, high, span)
    axes.set_ylim(low - 0.03 * span if low < 0 else low, top)


def _polyline(place: FloatArray, values: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return one line through all lesions, with NaN between them: much faster than many lines."""
    lifted = np.column_stack([values, np.full(len(values), np.nan)])
    return np.tile(np.append(place, np.nan), len(values)), lifted.ravel()


def _draw_marks(
    axes: Axes,
    names: Sequence[str],
    pvalues: Mapping[tuple[str, str], float],
    start: float,
    span: float,
) -> float:
    """Draw a bracket over each significant pair, short ones first; return the upper limit."""
    level = start + 0.06 * span
    for first, last in sorted(combinations(range(len(names)), 2), key=lambda p: p[1] - p[0]):
        mark = significance_mark(pvalues.get((names[first], names[last]), float("nan")))
        if not mark:
            continue
        left, right, tick = first + 0.04, last - 0.04, 0.015 * span
        axes.plot(
            [left, left, right, right],
            [level - tick, level, level, level - tick],
            "-",
            color=INK,
            lw=0.8,
        )
        axes.text(
            (first + last) / 2,
            level,
            mark,
            ha="center",
            va="bottom",
            fontsize=9,
            color=INK,
        )
        level += 0.105 * span
    return level
