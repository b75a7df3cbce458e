"""The study's two figures: lesions over time, and a regression at each time point."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bidsapp.reports.page.numbers import number, pvalue
from bidsapp.reports.page.style import CYCLE, INK, SOFT, styled
from bidsapp.study.statistics import regression, regression_band
from bidsapp.study.statistics.values import FloatArray

SIGNIFICANCE: Sequence[tuple[float, str]] = ((0.001, "***"), (0.01, "**"), (0.05, "*"))
"""A p value below the number earns the mark."""

MANY = 200
"""More lesions than this are drawn as pixels, or a browser could not hold them."""


@dataclass(frozen=True)
class Course:
    """One parameter over time.

    Attributes
    ----------
    label : str
        Name and unit, for the axis.
    values : pandas.DataFrame
        A row per lesion, a column per time point; NaN where there is no value.
    pvalues : mapping of (str, str) to float
        p value of each pair of time points.
    """

    label: str
    values: pd.DataFrame
    pvalues: Mapping[tuple[str, str], float]


def significance(pvalue: float) -> str:
    """Give the mark of a p value, as figures print it.

    Parameters
    ----------
    pvalue : float
        NaN for no test.

    Returns
    -------
    mark : {"***", "**", "*", ""}
        Below 0.001, 0.01, 0.05, or none.

    Examples
    --------
    >>> [significance(p) for p in (0.0002, 0.002, 0.03, 0.05, float("nan"))]
    ['***', '**', '*', '', '']
    """
    return next((mark for limit, mark in SIGNIFICANCE if pvalue < limit), "")


@styled
def time_courses(courses: Sequence[Course]) -> Figure:
    """Plot mean and SD over time before the course of every lesion (the study's Figure 2).

    Parameters
    ----------
    courses : sequence of Course
        One panel each.

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
    figure = Figure(figsize=(3.5 * len(courses), 3.1), layout="constrained")
    panels = figure.subplots(1, len(courses), squeeze=False)[0]
    for index, (axes, course) in enumerate(zip(panels, courses, strict=True)):
        _draw_course(axes, course, CYCLE[index])
        axes.set_title("ABCDEFGH"[index])
    return figure


def _draw_course(axes: Axes, course: Course, color: str) -> None:
    """Draw lesions in grey, mean and SD in colour, and the marks of what differs."""
    values = course.values.to_numpy(np.float64)
    names = list(course.values.columns)
    place = np.arange(len(names), dtype=np.float64)
    grey: Any = {"color": SOFT, "alpha": 0.28, "lw": 0.7, "marker": ".", "markersize": 3}
    x, y = _joined(place, values)
    axes.plot(x, y, "-", rasterized=len(values) > MANY, **grey)
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
        place, [f"{spaced(name)}\nn = {n}" for name, n in zip(names, counts, strict=True)]
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


def _joined(place: FloatArray, values: FloatArray) -> tuple[FloatArray, FloatArray]:
    """One line through all lesions, lifted between them: thousands draw as fast as one."""
    lifted = np.column_stack([values, np.full(len(values), np.nan)])
    return np.tile(np.append(place, np.nan), len(values)), lifted.ravel()


def _draw_marks(
    axes: Axes,
    names: Sequence[str],
    pvalues: Mapping[tuple[str, str], float],
    start: float,
    span: float,
) -> float:
    """Draw a bracket over each pair that differs, short ones below; return the top."""
    level = start + 0.06 * span
    for first, last in sorted(combinations(range(len(names)), 2), key=lambda p: p[1] - p[0]):
        mark = significance(pvalues.get((names[first], names[last]), float("nan")))
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


def spaced(name: str) -> str:
    """Part a number from its unit: ``1week`` reads ``1 week``.

    Parameters
    ----------
    name : str

    Returns
    -------
    name : str

    Examples
    --------
    >>> spaced("1week"), spaced("baseline")
    ('1 week', 'baseline')
    """
    digits = len(name) - len(name.lstrip("0123456789"))
    return f"{name[:digits]} {name[digits:]}" if 0 < digits < len(name) else name


@styled
def regressions(x: pd.DataFrame, y: pd.DataFrame, x_label: str, y_label: str) -> Figure:
    """Plot one parameter against another at every time point (the study's Figure 3).

    Parameters
    ----------
    x, y : pandas.DataFrame
        A row per lesion, a column per time point, the same in both; NaN where there is no value.
    x_label, y_label : str
        Names and units.

    Returns
    -------
    figure : matplotlib.figure.Figure

    Examples
    --------
    >>> values = pd.DataFrame({"before": [1.0, 2.0, 3.0], "after": [1.0, 3.0, 2.0]})
    >>> figure = regressions(values, values, "vp (%)", "f")
    >>> [axes.get_title("left") for axes in figure.axes]
    ['before', 'after']
    """
    count = len(x.columns)
    figure = Figure(figsize=(2.5 * count, 2.7), layout="constrained")
    panels = figure.subplots(1, count, squeeze=False, sharex=True, sharey=True)[0]
    for index, (axes, name) in enumerate(zip(panels, x.columns, strict=True)):
        _draw_regression(axes, x[name].to_numpy(np.float64), y[name].to_numpy(np.float64))
        axes.set_title(spaced(str(name)))
        axes.set_xlabel(x_label)
        if index == 0:
            axes.set_ylabel(y_label)
    _start_at_zero(panels[0], x, y)
    return figure


def _draw_regression(axes: Axes, x: FloatArray, y: FloatArray) -> None:
    """Draw points, line, 95 % band and what r says."""
    dots: Any = {"markersize": 4.5, "color": CYCLE[0], "alpha": 0.75, "markeredgewidth": 0}
    axes.plot(x, y, "o", rasterized=len(x) > MANY, **dots)
    line = regression(x, y)
    if line.note:
        axes.text(0.04, 0.96, line.note, transform=axes.transAxes, va="top", color=SOFT, wrap=True)
        return
    pair = np.isfinite(x) & np.isfinite(y)
    at = np.linspace(x[pair].min(), x[pair].max(), 60)
    low, high = regression_band(x, y, at)
    axes.fill_between(at, low, high, color=CYCLE[1], alpha=0.15, lw=0)
    axes.plot(at, line.intercept + line.slope * at, "-", color=CYCLE[1], lw=1.6)
    text = f"r = {number(line.r, 2)}, p = {pvalue(line.pvalue)}, n = {line.n}".replace("= <", "<")
    axes.text(0.97, 0.04, text, transform=axes.transAxes, ha="right", color=INK, fontsize=7.5)


def _start_at_zero(axes: Axes, x: pd.DataFrame, y: pd.DataFrame) -> None:
    """Let axes of values that are never negative start at zero."""
    if np.nanmin(x.to_numpy(), initial=0) >= 0:
        axes.set_xlim(left=0)
    if np.nanmin(y.to_numpy(), initial=0) >= 0:
        axes.set_ylim(bottom=0)
