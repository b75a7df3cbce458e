"""Forest plot of effect sizes with their confidence intervals."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bidsapp.reports.page.numbers import timepoint_label
from bidsapp.reports.page.style import CYCLE, SOFT, apply_style


@apply_style
def effects(paired: pd.DataFrame) -> Figure:
    """Plot the effect size (Cohen's dz) of every change with its confidence interval.

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
        axes.set_title(f"{timepoint_label(before)} – {timepoint_label(after)}")
    panels[0].set_yticks(range(len(names)), names)
    panels[0].set_ylim(len(names) - 0.5, -0.5)
    figure.supxlabel("Cohen's dz, 95 % interval (filled: p < 0.05 after Holm)", fontsize=8)
    return figure


def _draw_effects(axes: Axes, rows: pd.DataFrame) -> None:
    """Draw effect and interval of each parameter; filled if significant after correction."""
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
