"""Plotting functions: arrays -> Figure. They know no file, and keep no state."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from bidsapp.models.parameters import DISPLAY
from bidsapp.reports.page.style import DATA, FIT, GRID, INK, SOFT, styled

Array = NDArray[np.float64]

WIDTH = 10.0
"""Width of every figure, inches."""


@dataclass(frozen=True)
class Curve:
    """What was measured and what the model makes of it, at the same abscissae.

    ``other`` is the course of another model, at abscissae of its own.
    """

    x: Array
    observed: Array
    fitted: Array | None = None
    other: tuple[Array, Array] | None = None


@styled
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
    return with_legend(figure)


@styled
def diffusion_decay(
    curves: Sequence[Sequence[Curve | None]],
    row_labels: Sequence[str],
    column_labels: Sequence[str],
) -> Figure:
    """Plot lesion-mean diffusion signal over b with the fitted model, lesions by sessions.

    Parameters
    ----------
    curves : sequence of sequence of Curve or None
        x in s/mm2, two at least; signals in any unit, shown relative to the measured one at the
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
    return with_legend(figure)


def _asymptote(b: Array, fitted: Array) -> tuple[list[float], list[float]]:
    """Return the straight line in ln S through the fit at the two highest b, from b = 0."""
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
    """Lay out lesions by sessions with shared axes, labelled at the border."""
    rows, columns = len(row_labels), len(column_labels)
    figure = Figure(figsize=(WIDTH, 1.45 * rows + 0.7), layout="constrained")
    grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    for r, panels in enumerate(curves):
        for c, curve in enumerate(panels):
            if curve is None:
                grid[r, c].text(
                    0.5,
                    0.5,
                    "not available",
                    transform=grid[r, c].transAxes,
                    ha="center",
                    color=SOFT,
                )
        grid[r, 0].set_ylabel(f"{row_labels[r]}\n{ylabel}")
    for c, label in enumerate(column_labels):
        grid[0, c].set_title(label)
        grid[-1, c].set_xlabel(xlabel)
    return figure, grid


def with_legend(figure: Figure) -> Figure:
    """Add one legend above the panels, made from the first that has lines."""
    for axes in figure.axes:
        handles, labels = axes.get_legend_handles_labels()
        if handles:
            figure.legend(handles, labels, loc="outside upper right", ncols=len(labels))
            break
    return figure


@dataclass(frozen=True)
class Motion:
    """Rigid motion: (N, 3) translations in mm, (N, 3) rotations in rad, (N,) displacement in mm.

    `outliers` (N,) are volumes not to be believed.
    """

    translations: Array
    rotations: Array
    displacement: Array
    outliers: NDArray[np.bool_] | None = None


@styled
def motion_traces(traces: Sequence[Motion | None], labels: Sequence[str], limit: float) -> Figure:
    """Plot translations, rotations and framewise displacement, a column per session.

    Parameters
    ----------
    traces : sequence of Motion or None
    labels : sequence of str
    limit : float
        Framewise displacement that draws a warning, mm.

    Returns
    -------
    figure : matplotlib.figure.Figure

    Examples
    --------
    >>> still = Motion(np.zeros((4, 3)), np.zeros((4, 3)), np.zeros(4))
    >>> [axes.get_ylabel() for axes in motion_traces([still], ["baseline"], 1.0).axes]
    ['displacement (mm)', 'translation (mm)', 'rotation (°)']
    """
    figure = Figure(figsize=(WIDTH, 4.6), layout="constrained")
    grid = figure.subplots(3, len(traces), sharex="col", sharey="row", squeeze=False)
    for axes, unit in zip(
        grid[:, 0], ("displacement (mm)", "translation (mm)", "rotation (°)"), strict=True
    ):
        axes.set_ylabel(unit)
    for column, trace, label in zip(grid.T, traces, labels, strict=True):
        column[0].set_title(label)
        column[-1].set_xlabel("volume")
        if trace is None:
            _empty_column(column)
            continue
        volumes = np.arange(1, len(trace.displacement) + 1)
        column[0].fill_between(volumes, trace.displacement, color=GRID, step="mid")
        column[0].step(volumes, trace.displacement, where="mid", color=INK, lw=0.8)
        column[0].axhline(limit, color=FIT, lw=0.8, ls="--")
        if trace.outliers is not None:
            for axes in column:
                for volume in volumes[trace.outliers]:
                    axes.axvline(volume, color=FIT, alpha=0.25, lw=2, zorder=0)
        for axis, name in enumerate(("x (left-right)", "y (back-front)", "z (foot-head)")):
            column[1].plot(volumes, trace.translations[:, axis], label=name, lw=1)
            column[2].plot(volumes, np.degrees(trace.rotations[:, axis]), lw=1)
    return with_legend(figure)


def _empty_column(column: NDArray[np.object_]) -> None:
    """Say in the middle of a column that there is nothing to show."""
    column[1].text(
        0.5, 0.5, "not available", transform=column[1].transAxes, ha="center", color=SOFT
    )


@dataclass(frozen=True)
class Series:
    """One parameter of one lesion over the sessions, as stored; NaN where missing.

    ``low`` to ``high`` is the middle half of its voxels, ``error`` the standard error of the mean.
    """

    mean: Array
    low: Array
    high: Array
    error: Array


@styled
def lesion_timeline(
    series: Sequence[Sequence[Series | None]],
    row_labels: Sequence[str],
    parameters: Sequence[str],
    ticks: Sequence[str],
    xlabel: str,
) -> Figure:
    """Plot each parameter of each lesion over the sessions; a column shares its scale.

    Parameters
    ----------
    series : sequence of sequence of Series or None
        Lesions by parameters.
    row_labels : sequence of str
        Lesions.
    parameters : sequence of str
        Keys of `DISPLAY`.
    ticks : sequence of str
        What to call each session on the axis.
    xlabel : str

    Returns
    -------
    figure : matplotlib.figure.Figure

    Examples
    --------
    >>> values = Series(*np.array([[0.1, 0.2], [0.0, 0.1], [0.2, 0.3], [0.01, 0.01]]))
    >>> lesion_timeline([[values]], ["1"], ["f"], ["-5", "7"], "days").axes[0].get_title("left")
    'f (fraction)'
    """
    figure = Figure(figsize=(WIDTH, 1.25 * len(row_labels) + 0.6), layout="constrained")
    shape = len(row_labels), len(parameters)
    grid = figure.subplots(*shape, sharex=True, sharey="col", squeeze=False)
    positions = np.arange(len(ticks))
    for row, lesion, label in zip(grid, series, row_labels, strict=True):
        row[0].set_ylabel(label, rotation=0, ha="right", va="center", fontweight="bold")
        for axes, name, values in zip(row, parameters, lesion, strict=True):
            if values is not None and np.isfinite(values.mean).any():
                _draw_series(axes, positions, values, DISPLAY[name].scale)
    for axes, column, name in zip(grid[0], grid.T, parameters, strict=True):
        axes.set_title(DISPLAY[name].title, fontsize=7.5)
        axes.set_ylim(0, _top(column))
        axes.set_xlim(-0.35, len(ticks) - 0.65)
        axes.set_xticks(positions, ticks)
    for axes in grid[-1]:
        axes.tick_params(axis="x", labelsize=6.5)
    figure.supxlabel(xlabel, fontsize=7.5)
    return figure


def _top(column: NDArray[np.object_]) -> float:
    """Return the upper limit that holds all that was drawn in a column."""
    highest = [float(axes.dataLim.y1) for axes in column if np.isfinite(axes.dataLim.y1)]
    return 1.08 * max(highest, default=0.0) or 1.0


def _draw_series(axes: Axes, positions: NDArray[np.int64], values: Series, scale: float) -> None:
    """Draw the means, joined over missing sessions, their errors and the voxels' middle half."""
    found = np.isfinite(values.mean)
    axes.vlines(positions, values.low * scale, values.high * scale, color=DATA, alpha=0.25, lw=5)
    known = found & np.isfinite(values.error)
    axes.errorbar(
        positions[known],
        values.mean[known] * scale,
        yerr=values.error[known] * scale,
        fmt="none",
        color=INK,
        elinewidth=1,
        capsize=2.5,
    )
    axes.plot(positions[found], values.mean[found] * scale, "o-", color=DATA, lw=1.1, clip_on=False)
