"""Response to treatment of many lesions or patients: waterfall and spider plots."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from bidsapp.reports.figures.layout import MANY_LESIONS, Array, mark_unavailable
from bidsapp.reports.figures.links import link_labels
from bidsapp.reports.page.numbers import format_number
from bidsapp.reports.page.style import INK, RESPONSE_COLORS, SOFT, apply_style

MOST_NAMED = 40
"""Bars up to which each is named on the axis."""
_PANEL = (4.6, 3.3)
"""Width and height of a panel, inches."""
_HIGHEST = 200.0
"""Largest change that is drawn, percent: larger ones are cut off and marked."""
_VISIBLE = 3.0
"""Distance of the smallest value from its bar from which it is marked, percent."""


@dataclass(frozen=True)
class Changes:
    """Changes since baseline of lesions or patients at their visits.

    Attributes
    ----------
    title, ylabel : str
    table : pandas.DataFrame
        ``name days change response``, a row per visit in chronological order, percent.
    limits : (float, float)
        Changes of a response and of a progression, percent.
    """

    title: str
    ylabel: str
    table: pd.DataFrame
    limits: tuple[float, float]

    def known(self) -> pd.DataFrame:
        """Return the rows with a change."""
        return self.table.dropna(subset=["change"])


@apply_style
def waterfall(panels: Sequence[Changes], pages: Collection[str] = ()) -> Figure:
    """Plot the change at the last visit as a bar for each lesion or patient, the largest first.

    A short line marks the smallest value of any visit, where it is below the bar and baseline.

    Parameters
    ----------
    panels : sequence of Changes
    pages : collection of str
        Participants with a page, to which the labels of up to 40 bars lead.

    Returns
    -------
    figure : matplotlib.figure.Figure

    Examples
    --------
    >>> rows = [["1", 30.0, -40.0, "PR"], ["1", 90.0, 20.0, "PD"], ["2", 30.0, -100.0, "CR"]]
    >>> table = pd.DataFrame(rows, columns=["name", "days", "change", "response"])
    >>> figure = waterfall([Changes("Lesions", "volume change (%)", table, (-58.5, 71.5))])
    >>> figure.axes[0].get_title("left")
    'Lesions'
    """
    figure = _draw(panels, _draw_bars)
    for axes in figure.axes:
        link_labels(axes.get_xticklabels(), pages)
    return figure


@apply_style
def spider(panels: Sequence[Changes]) -> Figure:
    """Plot the change of each lesion or patient over days, in the colour of its last response.

    Parameters
    ----------
    panels : sequence of Changes

    Returns
    -------
    figure : matplotlib.figure.Figure

    Examples
    --------
    >>> rows = [["1", -5.0, 0.0, "n/a"], ["1", 30.0, -40.0, "PR"], ["1", 90.0, 20.0, "PD"]]
    >>> table = pd.DataFrame(rows, columns=["name", "days", "change", "response"])
    >>> figure = spider([Changes("Lesions", "volume change (%)", table, (-58.5, 71.5))])
    >>> figure.axes[0].get_xlabel()
    'days since treatment'
    """
    return _draw(panels, _draw_lines)


def _draw(panels: Sequence[Changes], draw: Callable[[Axes, Changes], None]) -> Figure:
    """Draw each panel, with one legend of the responses."""
    width, height = _PANEL
    figure = Figure(figsize=(width * len(panels), height), layout="constrained")
    grid = figure.subplots(1, len(panels), squeeze=False)[0]
    for axes, panel in zip(grid, panels, strict=True):
        axes.set_title(panel.title)
        axes.set_ylabel(panel.ylabel)
        if panel.known().empty:
            mark_unavailable(axes)
            continue
        for limit in panel.limits:
            axes.axhline(limit, color=SOFT, lw=0.7, ls=(0, (4, 3)), zorder=1)
        axes.axhline(0, color=INK, lw=0.8, zorder=1)
        draw(axes, panel)
    used = {name for panel in panels for name in panel.known()["response"]}
    handles = [Patch(color=c, label=name) for name, c in RESPONSE_COLORS.items() if name in used]
    figure.legend(handles=handles, loc="outside upper right", ncols=len(handles) or 1)
    return figure


def _draw_bars(axes: Axes, panel: Changes) -> None:
    """Draw a bar per lesion or patient, and its smallest value where that is below the bar."""
    later = panel.known()
    later = later[later["response"] != "n/a"]
    bars = later.groupby("name", sort=False).agg(
        change=("change", "last"), best=("change", "min"), response=("response", "last")
    )
    bars = bars.sort_values("change", ascending=False, kind="stable")
    change, best = bars["change"].to_numpy(np.float64), bars["best"].to_numpy(np.float64)
    place = np.arange(len(bars), dtype=np.float64)
    half = 0.4 if len(bars) <= MOST_NAMED else 0.5
    for name, color in RESPONSE_COLORS.items():
        own = bars["response"].to_numpy() == name
        _fill_bars(axes, place[own], half, np.minimum(change[own], _HIGHEST), color)
    below = best < np.minimum(change, 0) - _VISIBLE
    axes.hlines(best[below], place[below] - half, place[below] + half, color=INK, lw=1.2)
    if len(bars) <= MOST_NAMED:
        _label_cut_bars(axes, place, change)
    axes.set_xlim(-0.8, len(bars) - 0.2)
    axes.set_ylim(-108, _top(change))
    axes.grid(axis="x", visible=False)
    if len(bars) <= MOST_NAMED:
        axes.set_xticks(place, list(bars.index), rotation=90, fontsize=6.5)
    else:
        axes.set_xlabel(f"{len(bars)} in order of change")
        axes.set_xticks([])


def _top(change: Array) -> float:
    """Return the upper limit of the axis: above the limits of progression and the data."""
    return max(85.0, min(_HIGHEST, float(np.max(change, initial=0.0))) * 1.1)


def _label_cut_bars(axes: Axes, place: Array, change: Array) -> None:
    """Write the change at the top of each bar that is cut off."""
    cut = change > _HIGHEST
    for x, value in zip(place[cut], change[cut], strict=True):
        text = format_number(float(value), 0, sign=True)
        axes.text(
            *(x, _HIGHEST - 4), text, rotation=90, ha="center", va="top", fontsize=6, color="white"
        )


def _fill_bars(axes: Axes, place: Array, half: float, top: Array, color: str) -> None:
    """Fill bars from zero as one collection, which is much faster than single patches."""
    corners = [(-half, 0.0), (half, 0.0), (half, 1.0), (-half, 1.0)]
    x = place[:, None] + np.array([dx for dx, _ in corners])
    y = top[:, None] * np.array([dy for _, dy in corners])
    many = len(place) > MANY_LESIONS
    axes.add_collection(
        PolyCollection(list(np.stack([x, y], axis=-1)), facecolors=color, lw=0, rasterized=many),
        autolim=False,
    )


def _draw_lines(axes: Axes, panel: Changes) -> None:
    """Draw a line per lesion or patient, and a symbol at its last visit."""
    table = panel.known()
    table = table[np.isfinite(table["days"].to_numpy(np.float64))]
    last = table.groupby("name", sort=False)["response"].transform("last")
    shown = table.assign(last=last, y=table["change"].clip(upper=_HIGHEST))
    # The best responses first, so that progression is on top.
    many = shown["name"].nunique() > MANY_LESIONS
    line: dict[str, Any] = {"lw": 0.5, "alpha": 0.2} if many else {"lw": 1.0, "alpha": 0.9}
    for name, color in RESPONSE_COLORS.items():
        own = shown[shown["last"] == name]
        axes.add_collection(LineCollection(_lines(own), colors=color, rasterized=many, **line))
        if many:
            continue
        ends = own.drop_duplicates("name", keep="last")
        axes.plot(ends["days"], ends["y"], "o", color=color, ms=3)
        cut = own[own["change"] > _HIGHEST]
        axes.plot(cut["days"], cut["y"], "^", color=color, ms=5)
    axes.axvline(0, color=SOFT, lw=0.7)
    axes.autoscale_view(scaley=False)
    axes.set_ylim(-108, _top(shown["change"].to_numpy(np.float64)))
    axes.set_xlabel("days since treatment")


def _lines(table: pd.DataFrame) -> list[Array]:
    """Return the line (N, 2) of each lesion or patient."""
    values = table[["days", "y"]].to_numpy(np.float64)
    starts = np.flatnonzero(table["name"].ne(table["name"].shift()).to_numpy())
    return list(np.split(values, starts[1:])) if len(values) else []
