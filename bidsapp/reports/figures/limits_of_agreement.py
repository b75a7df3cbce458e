"""Bland-Altman plots of two standardised parameters."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from bidsapp.reports.figures.layout import MANY_LESIONS
from bidsapp.reports.page.numbers import timepoint_label
from bidsapp.reports.page.style import CYCLE, apply_style


@apply_style
def bland_altman_plot(
    x: pd.DataFrame, y: pd.DataFrame, limits: pd.DataFrame, names: tuple[str, str]
) -> Figure:
    """Plot differences of two standardised parameters over their mean (Bland and Altman).

    Parameters
    ----------
    x, y : pandas.DataFrame
        A row per lesion, a column per time point, in standard deviations.
    limits : pandas.DataFrame
        ``timepoint bias lower_limit upper_limit``, of y minus x.
    names : (str, str)
        Names of x and y.

    Returns
    -------
    figure : matplotlib.figure.Figure

    Examples
    --------
    >>> values = pd.DataFrame({"before": [-1.0, 0.0, 1.0]})
    >>> row = {"timepoint": "before", "bias": 0.0, "lower_limit": -1.0, "upper_limit": 1.0}
    >>> figure = bland_altman_plot(values, values, pd.DataFrame([row]), ("vp", "f"))
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
        axes.plot(mean, difference, "o", color=CYCLE[0], rasterized=len(x) > MANY_LESIONS, **dots)
        for column, style in (("bias", "-"), ("lower_limit", "--"), ("upper_limit", "--")):
            height = float(table[column][name])
            if np.isfinite(height):
                axes.axhline(height, ls=style, color=CYCLE[1], lw=1.2)
        axes.set_title(timepoint_label(str(name)))
        axes.set_xlabel("mean of both (SD)")
    panels[0].set_ylabel(f"{names[1]} − {names[0]} (SD)")
    return figure
