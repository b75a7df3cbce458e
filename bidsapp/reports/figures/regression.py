"""Regression of one parameter on another at each time point (the study's Figure 3)."""

from collections.abc import Collection
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bidsapp.reports.figures.layout import MANY_LESIONS
from bidsapp.reports.figures.links import link_points
from bidsapp.reports.page.numbers import format_number, format_pvalue, timepoint_label
from bidsapp.reports.page.style import CYCLE, INK, SOFT, apply_style
from bidsapp.study.statistics import regression, regression_band
from bidsapp.study.statistics.values import FloatArray


@apply_style
def regressions(
    x: pd.DataFrame, y: pd.DataFrame, x_label: str, y_label: str, pages: Collection[str] = ()
) -> Figure:
    """Plot one parameter over another at every time point, with the regression line.

    Parameters
    ----------
    x, y : pandas.DataFrame
        A row per lesion, by participant and number, a column per time point, the same in both; NaN
        where there is no value.
    x_label, y_label : str
        Names and units.
    pages : collection of str
        Participants with a page, to which the points of up to 120 lesions lead.

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
        points = x[name].to_numpy(np.float64), y[name].to_numpy(np.float64)
        _draw_regression(axes, *points)
        if pages:
            link_points(axes, *points, x.index, pages)
        axes.set_title(timepoint_label(str(name)))
        axes.set_xlabel(x_label)
        if index == 0:
            axes.set_ylabel(y_label)
    _start_at_zero(panels[0], x, y)
    return figure


def _draw_regression(axes: Axes, x: FloatArray, y: FloatArray) -> None:
    """Draw points, regression line and 95 % confidence band, and write r, p and n."""
    dots: Any = {"markersize": 4.5, "color": CYCLE[0], "alpha": 0.75, "markeredgewidth": 0}
    axes.plot(x, y, "o", rasterized=len(x) > MANY_LESIONS, **dots)
    line = regression(x, y)
    if line.note:
        axes.text(0.04, 0.96, line.note, transform=axes.transAxes, va="top", color=SOFT, wrap=True)
        return
    pair = np.isfinite(x) & np.isfinite(y)
    at = np.linspace(x[pair].min(), x[pair].max(), 60)
    low, high = regression_band(x, y, at)
    axes.fill_between(at, low, high, color=CYCLE[1], alpha=0.15, lw=0)
    axes.plot(at, line.intercept + line.slope * at, "-", color=CYCLE[1], lw=1.6)
    text = (
        f"r = {format_number(line.r, 2)}, p = {format_pvalue(line.pvalue)}, n = {line.n}".replace(
            "= <", "<"
        )
    )
    axes.text(0.97, 0.04, text, transform=axes.transAxes, ha="right", color=INK, fontsize=7.5)


def _start_at_zero(axes: Axes, x: pd.DataFrame, y: pd.DataFrame) -> None:
    """Let the axes start at zero if no value is negative."""
    if np.nanmin(x.to_numpy(), initial=0) >= 0:
        axes.set_xlim(left=0)
    if np.nanmin(y.to_numpy(), initial=0) >= 0:
        axes.set_ylim(bottom=0)
