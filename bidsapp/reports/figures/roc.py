"""ROC curves of early changes for the later response."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bidsapp.reports.page.numbers import timepoint_label
from bidsapp.reports.page.style import CYCLE, INK, SOFT, apply_style


@apply_style
def roc_curves(curves: pd.DataFrame, areas: pd.DataFrame) -> Figure:
    """Plot how well early changes predict the response, one panel per parameter.

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
    panels[0].set_ylabel("sensitivity")
    figure.supxlabel("1 − specificity", fontsize=8)
    return figure


def _draw_curve(axes: Axes, curves: pd.DataFrame, row: dict[Any, Any], index: int) -> None:
    """Draw one curve, and write the area under it."""
    color = CYCLE[index % len(CYCLE)]
    here = (curves["parameter"] == row["parameter"]) & (curves["timepoint_b"] == row["timepoint_b"])
    points = curves.loc[here, ["false_positive", "true_positive"]].to_numpy(np.float64)
    if len(points):
        points = np.vstack([[0.0, 0.0], points])
        style = ["-", "--", ":"][index % 3]
        axes.plot(points[:, 0], points[:, 1], style, color=color, lw=1.4)
    text = f"{timepoint_label(row['timepoint_b'])}: " + (
        f"{row['auc']:.2f}" if np.isfinite(row["auc"]) else "no test"
    )
    axes.text(0.98, 0.05 + 0.1 * index, text, ha="right", fontsize=7, color=color or INK)
