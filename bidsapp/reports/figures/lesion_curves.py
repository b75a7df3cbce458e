"""Mean signal and concentration curves of lesions, with the fitted model."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from bidsapp.reports.figures.layout import WIDTH, Array, add_legend, mark_unavailable
from bidsapp.reports.page.style import DATA, FIT, INK, SOFT, apply_style


@dataclass(frozen=True)
class Curve:
    """Measured values and those of the fitted model at the same abscissae.

    ``other`` contains abscissae and values of another model.
    """

    x: Array
    observed: Array
    fitted: Array | None = None
    other: tuple[Array, Array] | None = None


@apply_style
def concentration_curves(
    curves: Sequence[Sequence[Curve | None]],
    row_labels: Sequence[str],
    column_labels: Sequence[str],
) -> Figure:
    """Plot lesion-mean concentration over time with the fitted model, lesions by sessions.

    Parameters
    ----------
    curves : sequence of sequence of Curve or None
        x in s, concentration in mM.
    row_labels, column_labels : sequence of str
        Lesions and sessions.

    Returns
    -------
    figure : matplotlib.figure.Figure

    Examples
    --------
    >>> curve = Curve(np.arange(3.0), np.ones(3), np.ones(3))
    >>> concentration_curves([[curve]], ["1"], ["baseline"]).axes[0].get_xlabel()
    'time (min)'
    """
    figure, grid = _curve_grid(curves, row_labels, column_labels, "C (mM)", "time (min)")
    for row, panels in zip(grid, curves, strict=True):
        for axes, curve in zip(row, panels, strict=True):
            if curve is not None:
                axes.plot(
                    curve.x / 60, curve.observed, ".", color=DATA, alpha=0.75, label="measured"
                )
                if curve.fitted is not None:
                    axes.plot(curve.x / 60, curve.fitted, color=FIT, label="fit")
                    rest = curve.observed - curve.fitted
                    axes.plot(curve.x / 60, rest, color=SOFT, lw=0.7, label="residual")
    return add_legend(figure)


@apply_style
def diffusion_decay(
    curves: Sequence[Sequence[Curve | None]],
    row_labels: Sequence[str],
    column_labels: Sequence[str],
) -> Figure:
    """Plot lesion-mean diffusion signal over b with the fitted model, lesions by sessions.

    Parameters
    ----------
    curves : sequence of sequence of Curve or None
        x in s/mm2, at least two; signals in any unit, shown relative to the measured one at the
        lowest b. The asymptote meets b = 0 at 1 - f.
    row_labels, column_labels : sequence of str
        Lesions and sessions.

    Returns
    -------
    figure : matplotlib.figure.Figure

    Examples
    --------
    >>> curve = Curve(np.array([0.0, 1000]), np.array([10, 4.0]), np.array([9, 4.0]))
    >>> diffusion_decay([[curve]], ["1"], ["baseline"]).axes[0].get_yscale()
    'log'
    """
    figure, grid = _curve_grid(curves, row_labels, column_labels, "S(b) / S(0)", "b (s/mm²)")
    for row, panels in zip(grid, curves, strict=True):
        for axes, curve in zip(row, panels, strict=True):
            if curve is not None:
                first = curve.observed[np.argmin(curve.x)]
                axes.plot(curve.x, curve.observed / first, "o", color=DATA, label="measured")
                if curve.fitted is not None:
                    axes.plot(curve.x, curve.fitted / first, color=FIT, label="fit")
                    axes.plot(
                        *_asymptote(curve.x, curve.fitted / first),
                        "--",
                        color=FIT,
                        lw=0.8,
                        label="asymptote",
                    )
                if curve.other is not None:
                    b, signal = curve.other
                    axes.plot(b, signal / first, ":", color=INK, lw=1.1, label="bi-exponential")
                axes.set_yscale("log")
                axes.yaxis.set_major_formatter("{x:.1f}")
                axes.yaxis.set_minor_formatter("{x:.1f}")
    return add_legend(figure)


def _asymptote(b: Array, fitted: Array) -> tuple[list[float], list[float]]:
    """Return the straight line of ln S from b = 0 through the fit at the two highest b."""
    low, high = np.argsort(b)[-2:]
    slope = np.log(fitted[high] / fitted[low]) / (b[high] - b[low])
    return [0.0, float(b[high])], [
        float(fitted[high] * np.exp(-slope * b[high])),
        float(fitted[high]),
    ]


def _curve_grid(
    curves: Sequence[Sequence[Curve | None]],
    row_labels: Sequence[str],
    column_labels: Sequence[str],
    ylabel: str,
    xlabel: str,
) -> tuple[Figure, NDArray[np.object_]]:
    """Create panels of lesions by sessions with shared axes and labels at the border."""
    rows, columns = len(row_labels), len(column_labels)
    figure = Figure(figsize=(WIDTH, 1.45 * rows + 0.7), layout="constrained")
    grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    for r, panels in enumerate(curves):
        for c, curve in enumerate(panels):
            if curve is None:
                mark_unavailable(grid[r, c])
        grid[r, 0].set_ylabel(f"{row_labels[r]}\n{ylabel}")
    for c, label in enumerate(column_labels):
        grid[0, c].set_title(label)
        grid[-1, c].set_xlabel(xlabel)
    return figure, grid
