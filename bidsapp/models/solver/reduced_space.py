"""Columns of a separable model, tabulated once: curves over a rate, in a few dimensions.

A family of curves over one rate (decaying exponentials, convolutions with them) is so smooth that
a dozen orthonormal vectors span it to eight digits. Signals are projected onto these vectors once;
after that a curve is a short vector, interpolated by a cubic spline over the rate.
"""

import math
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import CubicSpline

from bidsapp.errors import FitError
from bidsapp.models.solver.base import Array

_NODES = 513  # of the spline; the error of a cubic one falls with the fourth power of the spacing
_RANK_TOLERANCE = 1e-8  # relative singular value below which a direction is left out


class Scratch(threading.local):
    """Memory that a thread reuses: allocating it anew would cost more than the arithmetic."""

    def __init__(self) -> None:
        self._flat = np.empty(0)

    def array(self, *shape: int) -> Array:
        """Return an array with arbitrary content, which is valid until the next call."""
        size = math.prod(shape)
        if size > len(self._flat):
            self._flat = np.empty(size)
        return self._flat[:size].reshape(shape)


@dataclass(frozen=True)
class Axis:
    """Axis of a rate r, ``x = ln(1 + r / scale)``: linear below the scale, logarithmic above.

    A rate of zero is the exact point x = 0.
    """

    lower: float
    upper: float
    scale: float

    def to_rate(self, x: Array) -> Array:
        """Return the rate at x."""
        return self.scale * np.expm1(x)

    def from_rate(self, rate: Array | float) -> Array:
        """Return x at a rate."""
        return np.log1p(np.asarray(rate) / self.scale)

    def grid(self, count: int) -> Array:
        """Return evenly spaced x from bound to bound."""
        return np.linspace(self.from_rate(self.lower), self.from_rate(self.upper), count)


@dataclass(frozen=True)
class Family:
    """Curves over one rate: ``curve(rates (G,)) -> (G, N)``."""

    curve: Callable[[Array], Array]
    axis: Axis

    def at_nodes(self) -> Array:
        """Return the curves (M, N) at evenly spaced points of the axis."""
        return self.curve(self.axis.to_rate(self.axis.grid(_NODES)))


Column = Family | Array
"""A column of a model: a family of curves, or one curve (N,) without a rate."""


class FamilyTable:
    """A family in the reduced space: vectors (K, V) and their derivatives at any x (V,)."""

    def __init__(self, axis: Axis, vectors: Array) -> None:
        x = axis.grid(len(vectors))
        self.axis = axis
        self._start, self._step = float(x[0]), float(x[1] - x[0])
        self._last = len(x) - 2
        powers = CubicSpline(x, vectors).c[::-1]  # (4, M - 1, K), constant term first
        self._rank = vectors.shape[1]
        self._scratch = Scratch()
        self._powers = np.ascontiguousarray(powers.transpose(0, 2, 1).reshape(-1, len(x) - 1))

    def at(self, x: Array) -> tuple[Array, Array, Array]:
        """Return vector, slope and curvature, (K, V) each, which are valid until the next call."""
        # Evenly spaced nodes make the interval a division, not a search. The coefficients of the
        # four powers, taken for each voxel, are overwritten by value, slope and curvature.
        place = (x - self._start) / self._step
        index = np.clip(place.astype(np.intp), 0, self._last)
        t = (place - index) * self._step
        space = self._scratch.array(5, self._rank, len(x))
        np.take(
            self._powers, index, axis=1, mode="clip", out=space[:4].reshape(4 * self._rank, len(x))
        )
        value, slope, square, cube, both = space
        # In place, ascending: c0 + t (c1 + t (c2 + t c3)), c1 + t (2 c2 + 3 t c3), 2 c2 + 6 t c3.
        cube *= t
        np.add(square, cube, out=both)
        both *= t
        both += slope
        both *= t
        value += both
        square *= 2
        cube *= 3
        square += cube
        np.multiply(square, t, out=both)
        slope += both
        square += cube
        return value, slope, square


class Constant:
    """A column without a rate."""

    def __init__(self, vector: Array) -> None:
        self._vector = vector[:, None]

    def at(self, x: Array) -> tuple[Array, Array, Array]:
        """Return the vector (K, V), and zeros for slope and curvature."""
        value = np.broadcast_to(self._vector, (len(self._vector), len(x)))
        nothing = np.broadcast_to(0.0, value.shape)
        return value, nothing, nothing


def reduce_columns(
    columns: Sequence[Column], weights: Array
) -> tuple[Array, list[FamilyTable | Constant]]:
    """Return orthonormal vectors (N, K) that span all columns, and the columns in that basis.

    Parameters
    ----------
    columns
        Families, or curves (N,).
    weights : (N,) array
        Of the samples; each curve is multiplied by them.

    Returns
    -------
    vectors : (N, K) array
    reduced
        One `FamilyTable` or `Constant` per column.

    Raises
    ------
    FitError
        If every curve is zero.

    Notes
    -----
    The vectors are the left singular vectors of all curves at the nodes, each of norm one, whose
    singular value is above 1e-8 of the largest.

    Examples
    --------
    >>> import numpy as np
    >>> b = np.linspace(0, 1000, 30)
    >>> family = Family(lambda r: np.exp(-r[:, None] * b), Axis(1e-5, 5e-3, 1e-4))
    >>> vectors, (table,) = reduce_columns([family], np.ones(30))
    >>> at = table.at(family.axis.from_rate(np.array([1e-3])))[0]
    >>> bool(np.abs(vectors @ at - np.exp(-1e-3 * b)[:, None]).max() < 1e-7)
    True
    """
    curves = [weights * (c.at_nodes() if isinstance(c, Family) else c[None]) for c in columns]
    if not any(y.any() for y in curves):
        raise FitError("every curve of the model is zero for this design, so nothing can be fitted")
    vectors = _span(np.concatenate(curves))
    reduced: list[FamilyTable | Constant] = [
        FamilyTable(c.axis, y @ vectors) if isinstance(c, Family) else Constant((y @ vectors)[0])
        for c, y in zip(columns, curves, strict=True)
    ]
    return vectors, reduced


def _span(curves: NDArray[np.float64]) -> Array:
    """Return orthonormal vectors (N, K) that span curves (M, N)."""
    # Each curve is scaled to norm one, so that those of fast rates, which are small, count as much.
    norm = np.linalg.norm(curves, axis=1, keepdims=True)
    unit = curves / np.where(norm > 0, norm, 1.0)
    _, values, rows = np.linalg.svd(unit, full_matrices=False)
    return np.ascontiguousarray(rows[values > _RANK_TOLERANCE * values[0]].T)
