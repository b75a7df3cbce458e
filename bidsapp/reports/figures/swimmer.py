"""Swimmer plot: the follow-up of every patient, its visits and their responses."""

from collections.abc import Collection

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from bidsapp.reports.figures.layout import Array
from bidsapp.reports.figures.links import link_labels
from bidsapp.reports.page.style import INK, RESPONSE_COLORS, SOFT, apply_style

_MARKERS = {"CR": "*", "PR": "o", "SD": "s", "PD": "v", "NE": "x"}
"""Symbol of the response at a visit."""
_MOST_NAMED = 60
"""Patients up to which each is named on the axis."""
_WIDTH, _TALLEST = 6.6, 8.0
"""Width of the figure and its largest height, inches."""


@apply_style
def swimmer(visits: pd.DataFrame, pages: Collection[str] = ()) -> Figure:
    """Plot a bar per patient over time, coloured by the last response, with a symbol at each visit.

    Parameters
    ----------
    visits : pandas.DataFrame
        ``participant_id days response``, a row per visit in chronological order; the response at
        the baseline is ``n/a``.
    pages : collection of str
        Participants with a page, to which their labels lead.

    Returns
    -------
    figure : matplotlib.figure.Figure
        The longest follow-up at the top. An arrow marks a follow-up without progression. Of more
        than 60 patients, bars without symbols.

    Examples
    --------
    >>> rows = [["sub-01", -5.0, "n/a"], ["sub-01", 30.0, "PR"], ["sub-01", 90.0, "PD"]]
    >>> figure = swimmer(pd.DataFrame(rows, columns=["participant_id", "days", "response"]))
    >>> [label.get_text() for label in figure.axes[0].get_yticklabels()]
    ['sub-01']
    """
    dated = visits[np.isfinite(visits["days"].to_numpy(np.float64))]
    ends = _ends(dated)
    place = pd.Series(np.arange(len(ends), dtype=np.float64), index=ends.index)
    dated = dated.assign(y=dated["participant_id"].map(place))
    few = len(ends) <= _MOST_NAMED
    height = min(_TALLEST, 1.1 + 0.16 * len(ends))
    figure = Figure(figsize=(_WIDTH, height), layout="constrained")
    axes = figure.subplots()
    _draw_bars(axes, dated, few)
    if few:
        _draw_visits(axes, dated)
        _draw_arrows(axes, dated, ends)
    axes.axvline(0, color=INK, lw=0.8)
    axes.set_xlabel("days since treatment")
    axes.set_ylim(-0.8, len(ends) - 0.2)
    axes.grid(axis="y", visible=False)
    if few:
        axes.set_yticks(place.to_numpy(), list(ends.index), fontsize=6.5)
        link_labels(axes.get_yticklabels(), pages)
    else:
        axes.set_yticks([])
        axes.set_ylabel(f"{len(ends)} patients")
    _add_legend(figure, set(dated["response"]), few)
    return figure


def _ends(visits: pd.DataFrame) -> pd.Series:
    """Return the last day of each patient in ascending order, then by the first progression."""
    last = visits.groupby("participant_id")["days"].max()
    progressed = visits[visits["response"] == "PD"].groupby("participant_id")["days"].min()
    order = pd.DataFrame({"last": last, "progressed": progressed.reindex(last.index)})
    return order.sort_values(["last", "progressed"], kind="stable")["last"]


def _draw_bars(axes: Axes, visits: pd.DataFrame, few: bool) -> None:
    """Draw the time between two visits in the colour of the response at the earlier one."""
    half, alpha = (0.32, 0.4) if few else (0.5, 0.9)
    following = visits.groupby("participant_id")["days"].shift(-1)
    spans = visits.assign(end=following)[following.notna()]
    for name, color in {"n/a": "#e3e7ec", **RESPONSE_COLORS}.items():
        own = spans[spans["response"] == name]
        start, end, y = (own[c].to_numpy(np.float64) for c in ("days", "end", "y"))
        corners = np.stack(
            [
                np.column_stack([start, end, end, start]),
                np.column_stack([y - half, y - half, y + half, y + half]),
            ],
            axis=-1,
        )
        axes.add_collection(
            PolyCollection(
                list(corners), facecolors=color, alpha=alpha, lw=0, aa=few, rasterized=not few
            )
        )
    axes.autoscale_view(scaley=False)


def _draw_visits(axes: Axes, visits: pd.DataFrame) -> None:
    """Draw a symbol of the response at each visit."""
    for name, marker in _MARKERS.items():
        own = visits[visits["response"] == name]
        size = 8.5 if marker == "*" else 5.5
        edge = RESPONSE_COLORS[name] if marker == "x" else "white"
        axes.plot(
            own["days"],
            own["y"],
            marker,
            color=RESPONSE_COLORS[name],
            markersize=size,
            markeredgecolor=edge,
            markeredgewidth=0.9 if marker == "x" else 0.4,
        )


def _draw_arrows(axes: Axes, visits: pd.DataFrame, ends: pd.Series) -> None:
    """Draw an arrow at the end of each follow-up that was assessed, without progression."""
    progressed = set(visits.loc[visits["response"] == "PD", "participant_id"])
    assessed = set(visits.loc[visits["response"].isin(["CR", "PR", "SD"]), "participant_id"])
    free = [name in assessed - progressed for name in ends.index]
    x = ends.to_numpy(np.float64)[free]
    y: Array = np.arange(len(ends), dtype=np.float64)[free]
    shift = 0.02 * float(np.ptp(visits["days"])) if len(visits) else 0.0
    axes.plot(x + shift, y, ">", color=SOFT, ms=4)


def _add_legend(figure: Figure, used: set[str], few: bool) -> None:
    """Add the responses that occur, with their symbols, and the arrow."""
    handles = [
        Line2D([], [], color=RESPONSE_COLORS[name], marker=marker, ls="", ms=6, label=name)
        for name, marker in {name: m if few else "s" for name, m in _MARKERS.items()}.items()
        if name in used
    ]
    if few:
        handles.append(Line2D([], [], color=SOFT, marker=">", ls="", ms=4, label="no progression"))
    figure.legend(handles=handles, loc="outside upper right", ncols=len(handles) or 1)
