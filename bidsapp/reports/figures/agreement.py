"""Figures beyond the study's: effects, limits of agreement, ROC curves. Frames -> Figure."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bidsapp.reports.figures.courses import MANY, spaced
from bidsapp.reports.page.style import CYCLE, INK, SOFT, styled


@styled
def effects(paired: pd.DataFrame) -> Figure:
    """Plot the size of every change with its interval, in standard deviations of the change.

    Parameters
    ----------
    paired : pandas.DataFrame
        ``parameter timepoint_a timepoint_b cohens_dz dz_low dz_high p_holm``.

    Returns
    -------
    figure : matplotlib.figure.Figure

    Examples
    --------
    >>> rows = [["vp", "baseline", "1month", -1.0, -1.5, -0.5, 0.01]]
    >>> names = ["parameter", "timepoint_a", "timepoint_b", "cohens_dz", "dz_low", "dz_high"]
    >>> figure = effects(pd.DataFrame(rows, columns=[*names, "p_holm"]))
    >>> figure.axes[0].get_title("left")
    'baseline – 1 month'
    """
    spans = list(paired[["timepoint_a", "timepoint_b"]].drop_duplicates().itertuples(index=False))
    names = list(dict.fromkeys(paired["parameter"]))
    figure = Figure(figsize=(2.6 * len(spans), 0.9 + 0.26 * len(names)), layout="constrained")
    panels = figure.subplots(1, len(spans), squeeze=False, sharex=True, sharey=True)[0]
    for axes, (before, after) in zip(panels, spans, strict=True):
        rows = paired[(paired["timepoint_a"] == before) & (paired["timepoint_b"] == after)]
        _draw_effects(axes, rows.set_index("parameter").loc[names])
        axes.set_title(f"{spaced(before)} – {spaced(after)}")
    panels[0].set_yticks(range(len(names)), names)
    panels[0].set_ylim(len(names) - 0.5, -0.5)
    figure.supxlabel("Cohen's dz, 95 % interval (filled: p < 0.05 after Holm)", fontsize=8)
    return figure


def _draw_effects(axes: Axes, rows: pd.DataFrame) -> None:
    """Draw a dot and a line per parameter; filled where the change outlives the correction."""
    axes.axvline(0, color=SOFT, lw=0.8)
    axes.grid(axis="y", visible=False)
    for place, row in enumerate(rows.to_dict("records")):
        if not np.isfinite(row["cohens_dz"]):
            axes.text(0, place, " no test", va="center", fontsize=7, color=SOFT)
            continue
        found = row["p_holm"] < 0.05
        color = CYCLE[1] if found else CYCLE[0]
        axes.plot([row["dz_low"], row["dz_high"]], [place, place], "-", color=color, lw=1.4)
        face = color if found else "white"
        axes.plot(row["cohens_dz"], place, "o", color=color, markerfacecolor=face, markersize=5)


@styled
def limits_of_agreement(
    x: pd.DataFrame, y: pd.DataFrame, limits: pd.DataFrame, names: tuple[str, str]
) -> Figure:
    """Plot differences of two standardised measures against their mean (Bland and Altman).

    Parameters
    ----------
    x, y : pandas.DataFrame
        A row per lesion, a column per time point, in standard deviations.
    limits : pandas.DataFrame
        ``timepoint bias lower_limit upper_limit``, of y minus x.
    names : (str, str)
        Of x and y.

    Returns
    -------
    figure : matplotlib.figure.Figure

    Examples
    --------
    >>> values = pd.DataFrame({"before": [-1.0, 0.0, 1.0]})
    >>> row = {"timepoint": "before", "bias": 0.0, "lower_limit": -1.0, "upper_limit": 1.0}
    >>> figure = limits_of_agreement(values, values, pd.DataFrame([row]), ("vp", "f"))
    >>> figure.axes[0].get_ylabel()
    'f − vp (SD)'
    """
    count = len(x.columns)
    figure = Figure(figsize=(2.5 * count, 2.6), layout="constrained")
    panels = figure.subplots(1, count, squeeze=False, sharex=True, sharey=True)[0]
    table = limits.set_index("timepoint")
    for axes, name in zip(panels, x.columns, strict=True):
        dots: Any = {"markersize": 4.5, "alpha": 0.75, "markeredgewidth": 0}
        mean, difference = (x[name] + y[name]) / 2, y[name] - x[name]
        axes.plot(mean, difference, "o", color=CYCLE[0], rasterized=len(x) > MANY, **dots)
        for column, style in (("bias", "-"), ("lower_limit", "--"), ("upper_limit", "--")):
            height = float(table[column][name])
            if np.isfinite(height):
                axes.axhline(height, ls=style, color=CYCLE[1], lw=1.2)
        axes.set_title(spaced(str(name)))
        axes.set_xlabel("mean of both (SD)")
    panels[0].set_ylabel(f"{names[1]} − {names[0]} (SD)")
    return figure


@styled
def roc_curves(curves: pd.DataFrame, areas: pd.DataFrame) -> Figure:
    """Plot how well an early change singles out responders, a panel per parameter.

    Parameters
    ----------
    curves : pandas.DataFrame
        ``parameter timepoint_b false_positive true_positive``.
    areas : pandas.DataFrame
        ``parameter timepoint_b auc ci_low ci_high``.

    Returns
    -------
    figure : matplotlib.figure.Figure

    Examples
    --------
    >>> area = {"parameter": "vp", "timepoint_b": "1week", "auc": 1, "ci_low": 1, "ci_high": 1}
    >>> points = {"parameter": "vp", "timepoint_b": "1week", "false_positive": [0.0, 1.0],
    ...           "true_positive": [1.0, 1.0]}
    >>> figure = roc_curves(pd.DataFrame(points), pd.DataFrame([area]))
    >>> figure.axes[0].get_title("left")
    'vp'
    """
    names = list(dict.fromkeys(areas["parameter"]))
    figure = Figure(figsize=(2.0 * len(names), 2.35), layout="constrained")
    panels = figure.subplots(1, len(names), squeeze=False, sharex=True, sharey=True)[0]
    for axes, name in zip(panels, names, strict=True):
        axes.plot([0, 1], [0, 1], "-", color=SOFT, lw=0.7)
        rows = areas[areas["parameter"] == name].to_dict("records")
        for index, row in enumerate(rows):
            _draw_curve(axes, curves, row, index)
        axes.set_title(name)
        axes.set_aspect("equal")
        axes.set_xlim(-0.02, 1.02)
        axes.set_ylim(-0.02, 1.02)
        axes.set_xticks([0, 0.5, 1])
        axes.set_yticks([0, 0.5, 1])
    panels[0].set_ylabel("responders")
    figure.supxlabel("others called responders", fontsize=8)
    return figure


def _draw_curve(axes: Axes, curves: pd.DataFrame, row: dict[Any, Any], index: int) -> None:
    """Draw one curve with its area in words."""
    color = CYCLE[index % len(CYCLE)]
    here = (curves["parameter"] == row["parameter"]) & (curves["timepoint_b"] == row["timepoint_b"])
    points = curves.loc[here, ["false_positive", "true_positive"]].to_numpy(np.float64)
    if len(points):
        points = np.vstack([[0.0, 0.0], points])
        style = ["-", "--", ":"][index % 3]
        axes.plot(points[:, 0], points[:, 1], style, color=color, lw=1.4)
    text = f"{spaced(row['timepoint_b'])}: " + (
        f"{row['auc']:.2f}" if np.isfinite(row["auc"]) else "no test"
    )
    axes.text(0.98, 0.05 + 0.1 * index, text, ha="right", fontsize=7, color=color or INK)
