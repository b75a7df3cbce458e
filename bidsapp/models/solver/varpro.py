"""The solver of all models: separable least squares (variable projection), many voxels at once.

A model is linear in one or two amplitudes and non-linear in the rates of their columns. For given
rates the best amplitudes have a closed form, so only the rates are searched: first on a grid
(`start_search`), which finds the basin of the global minimum, then by Newton steps on the projected
cost until no further gain is expected, all in the few dimensions that the columns span
(`reduced_space`).

Notes
-----
The comments below refer to these equations. A column is c_i(x_i) with its slope d_i and curvature
e_i along x_i, an axis of its rate; z is the signal, a the amplitudes, r = z - C a the residual.

1. Projected cost: ``F(x) = min over a >= 0 of |z - C(x) a|^2 / 2``; ``G a = C'z`` with ``G = C'C``.
2. Its gradient: ``F_i = -a_i d_i'r``; the change of the amplitudes drops out, as C'r = 0.
3. Its Hessian: ``B - H' inv(G) H`` with ``B_ij = a_i a_j d_i'd_j - [i = j] a_i e_i'r`` and
   ``H_ij = a_j c_i'd_j - [i = j] d_i'r``: the Schur complement of G in the Hessian of (a, x).
4. The same without the terms in r: Kaufman's approximation, never indefinite.
5. Step: ``(F'' + m diag F'') s = -F'`` with a damping m that is zero unless a step has failed.

References
----------
Golub and Pereyra, SIAM J Numer Anal 1973, doi:10.1137/0710036 (variable projection: 1 and 2).
Golub and Pereyra, Inverse Problems 2003, doi:10.1088/0266-5611/19/2/201 (review).
Kaufman, BIT 1975, doi:10.1007/BF01932995 (4).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bidsapp.models.solver.base import Array
from bidsapp.models.solver.matrices2x2 import (
    Symmetric,
    dot,
    inverse_normal_matrix,
    invert_symmetric,
    nonnegative_amplitudes,
    schur_complement,
)
from bidsapp.models.solver.reduced_space import (
    Axis,
    Column,
    Family,
    FamilyTable,
    Scratch,
    reduce_columns,
)
from bidsapp.models.solver.start_search import RatePairs, best_second_rate, find_other_minimum

_MAX_STEPS = 30
_GAIN = 1e-8  # a step that promises less than this part of the cost is not taken
_EXACT = 1e-17  # cost that counts as zero, of a signal of norm one
_LONGEST_STEP = 1.0  # in x: a factor of e in the rate; the quadratic model holds no farther
_RIVAL = 1.2  # another minimum is tried if its cost on the grid is below this times the present one
_DAMPING = 0.1  # the first one after a step that failed; ten times as much after each further one
_GIVE_UP = 1e4  # damping at which the steps of a voxel end


@dataclass(frozen=True)
class Solution:
    """What `Solver.solve` finds for V voxels.

    Attributes
    ----------
    amplitudes : (2, V) array
        Never negative; the first is zero if the model has only one column.
    rates : (2, V) array
        NaN for a column without a rate.
    cost : (V,) array
        Weighted residual sum of squares.
    covariance : (4, 4, V) array
        Of the amplitudes, then of the rates, scaled by the residuals; NaN for amplitudes and rates
        that the model lacks, and throughout if there are no more samples than parameters.
    """

    amplitudes: Array
    rates: Array
    cost: Array
    covariance: Array


class Solver:
    """Solver of one separable problem for any number of voxels; its tables are computed once.

    Parameters
    ----------
    columns
        One or two: families of curves, each with its own rate, or curves (N,).
    grid
        Number of rates on the starting grid, one per column (1 for a curve).
    weights : (N,) array, optional
        Of the squared residuals.

    Notes
    -----
    Minimises ``sum w (y - a1 c1(r1) - a2 c2(r2))^2`` over ``a >= 0`` and each rate within its
    bounds.

    References
    ----------
    Golub and Pereyra, Inverse Problems 2003, doi:10.1088/0266-5611/19/2/201.

    Examples
    --------
    >>> import numpy as np
    >>> from bidsapp.models.solver.reduced_space import Axis
    >>> t = np.linspace(0, 2, 9)
    >>> decay = Family(lambda r: np.exp(-r[:, None] * t), Axis(0.1, 5.0, 0.1))
    >>> found = Solver([decay], [20]).solve(3 * np.exp(-1.7 * t)[None])
    >>> found.amplitudes[1].round(6).item(), found.rates[1].round(6).item()
    (3.0, 1.7)
    """

    def __init__(
        self, columns: Sequence[Column], grid: Sequence[int], weights: Array | None = None
    ) -> None:
        # The square root of the weights goes into columns and signals; what follows is unweighted.
        # A single column is the second of two, of which the first is zero: one code for both.
        samples = _count_samples(columns[0])
        self._root = np.ones(samples) if weights is None else np.sqrt(weights)
        both = columns if len(columns) == 2 else [np.zeros(samples), *columns]
        self._vectors, self._columns = reduce_columns(both, self._root)
        self._movable = np.array([isinstance(c, FamilyTable) for c in self._columns])
        counts = grid if len(grid) == 2 else [1, *grid]
        self._nodes = [
            c.axis.grid(n) if isinstance(c, FamilyTable) else np.zeros(1)
            for c, n in zip(self._columns, counts, strict=True)
        ]
        first, self._second = (
            c.at(x)[0].copy() for c, x in zip(self._columns, self._nodes, strict=True)
        )
        self._rate_pairs = RatePairs(first, self._second)
        self._residuals, self._gathered = Scratch(), Scratch()
        samples_used = int((self._root > 0).sum())
        self._spare = samples_used - len(columns)

    def solve(self, signal: Array, known: Array | None = None) -> Solution:
        """Return the least-squares solution of each voxel.

        Parameters
        ----------
        signal : (V, N) array
            Finite numbers.
        known : (V,) array, optional
            Rates of the first column, which are then not searched.

        Returns
        -------
        Solution
        """
        # Split the signal into its part in the span of the columns and the rest, which no choice of
        # amplitudes and rates changes; the cost is the sum of both. Signals of norm one make the
        # tolerances above relative.
        weighted = (signal * self._root).T
        reduced = self._vectors.T @ weighted
        rest = weighted - self._vectors @ reduced
        size = np.sqrt(np.einsum("kv,kv->v", reduced, reduced))
        size[size == 0] = 1.0
        unit = reduced / size
        outside = np.einsum("nv,nv->v", rest, rest) / size**2
        # The grid does not miss a minimum whose basin is wider than its mesh. Newton's steps end in
        # the basin of the best node, which need not be that of the global minimum where a second
        # one is nearly as deep.
        # A first rate that is given is fixed: only the second one, if there is one, is searched.
        movable = self._movable & [known is None, True]
        x = self._start_rates(unit, known)
        state = self._evaluate(unit, outside, x)
        if movable.any():
            self._refine(unit, outside, x, state, movable)
            self._try_other_minimum(unit, outside, x, state, movable)
        return self._unscaled_solution(x, state, size, movable)

    def _start_rates(self, unit: Array, known: Array | None) -> Array:
        """Return x (2, V) at the best pair of the grid."""
        first, second = self._nodes
        if self._movable[0] and known is None:
            i, j = self._rate_pairs.best(unit)
            return np.stack([first[i], second[j]])
        x = np.zeros(unit.shape[1]) if known is None else self._axis(0).from_rate(known)
        return np.stack(
            [x, second[best_second_rate(unit, self._columns[0].at(x)[0], self._second)]]
        )

    def _try_other_minimum(
        self, unit: Array, outside: Array, x: Array, state: Array, movable: NDArray[np.bool_]
    ) -> None:
        """Descend again where another minimum of the second rate may be lower; keep the better."""
        # What the grid explains in the reduced space, of a signal of norm one, leaves 1 - explained
        # of it. Only voxels where that comes near the cost reached are descended again: few.
        nodes = self._nodes[1]
        place = (x[1] - nodes[0]) / (nodes[-1] - nodes[0]) * (len(nodes) - 1)
        column, slope, _ = self._columns[0].at(x[0])
        node, explained = find_other_minimum(
            unit, column, slope if movable[0] else None, self._second, place
        )
        rival = np.flatnonzero(1 + outside - explained < _RIVAL * state[2])
        if not len(rival):
            return
        unit, outside = unit[:, rival], outside[rival]
        there = np.stack([x[0, rival], nodes[node[rival]]])
        found = self._evaluate(unit, outside, there)
        self._refine(unit, outside, there, found, movable)
        lower = found[2] < state[2, rival]
        x[:, rival[lower]], state[:, rival[lower]] = there[:, lower], found[:, lower]

    def _axis(self, column: int) -> Axis:
        table = self._columns[column]
        if not isinstance(table, FamilyTable):
            raise TypeError(f"column {column} has no rate")
        return table.axis

    def _refine(
        self, unit: Array, outside: Array, x: Array, state: Array, movable: NDArray[np.bool_]
    ) -> None:
        """Take damped Newton steps, in place, until the next one would gain nothing."""
        lower, upper = (np.array([n[i] for n in self._nodes])[:, None] for i in (0, -1))
        damping = np.zeros(unit.shape[1])
        active = np.arange(unit.shape[1])
        for _ in range(_MAX_STEPS):
            # Voxels leave when they have converged, so that late rounds work on few.
            here, now = x[:, active], state[:, active]
            step, gain = _newton_step(now, here, damping[active], (lower, upper), movable)
            going = (gain > _GAIN * (now[2] + _EXACT)) & (damping[active] < _GIVE_UP)
            active = active[going]
            if not len(active):
                return
            # A trial is kept where it does not raise the cost. The damping follows Levenberg and
            # Marquardt: ten times as much after a failure, a tenth after a success, then none,
            # as undamped Newton steps converge quadratically.
            trial = np.clip(here[:, going] + step[:, going], lower, upper)
            some = self._gathered.array(len(unit), len(active))
            np.take(unit, active, axis=1, mode="clip", out=some)
            there = self._evaluate(some, outside[active], trial)
            better = there[2] <= now[2, going]
            x[:, active[better]], state[:, active[better]] = trial[:, better], there[:, better]
            d = damping[active]
            eased = np.where(d > _DAMPING / 2, d / 10, 0.0)
            damping[active] = np.where(better, eased, np.maximum(d * 10, _DAMPING))

    def _evaluate(self, unit: Array, outside: Array, x: Array) -> Array:
        """Return amplitudes (2), cost, gradient (2) and curvature (3) of the projected cost."""
        (c1, d1, e1), (c2, d2, e2) = (c.at(y) for c, y in zip(self._columns, x, strict=True))
        # Equation 1: the amplitudes; `inverse` is zero for an amplitude that is held at zero, so
        # that (3) and (4) leave it out.
        gram = (dot(c1, c1), dot(c1, c2), dot(c2, c2))
        a1, a2, inverse = nonnegative_amplitudes(gram, dot(c1, unit), dot(c2, unit))
        residual, part = self._residuals.array(2, *unit.shape)
        np.multiply(c1, a1, out=residual)
        np.multiply(c2, a2, out=part)
        residual += part
        np.subtract(unit, residual, out=residual)
        # Equation 3, with H split into `toward` - diag(fall) and B into `gauss` - diag(bend):
        # the second parts are those in the residual, which (4) leaves out.
        fall = (dot(d1, residual), dot(d2, residual))
        toward = (
            (a1 * dot(c1, d1), a1 * dot(c2, d1)),
            (a2 * dot(c1, d2), a2 * dot(c2, d2)),
        )
        gauss = (a1 * a1 * dot(d1, d1), a1 * a2 * dot(d1, d2), a2 * a2 * dot(d2, d2))
        bend = (a1 * dot(e1, residual), a2 * dot(e2, residual))
        curvature = _projected_curvature(gauss, toward, inverse, fall, bend)
        cost = dot(residual, residual) + outside
        # Equation 2. An amplitude of zero gives no gradient, and its rate stays where it is.
        return np.stack([a1, a2, cost, -a1 * fall[0], -a2 * fall[1], *curvature])

    def _unscaled_solution(
        self, x: Array, state: Array, size: Array, movable: NDArray[np.bool_]
    ) -> Solution:
        """Return amplitudes, rates, cost and covariance in the signal's own scale."""
        # Jacobian of the signal in amplitudes and rates: c_i, and a_i dc_i/dr. The spline gives the
        # slope along x = ln(1 + r / scale), and dx/dr = 1 / (r + scale).
        amplitudes = state[:2] * size
        rates = np.full_like(x, np.nan)
        columns = [c.at(y) for c, y in zip(self._columns, x, strict=True)]
        jacobian = [value for value, _, _ in columns]
        for i, (_, slope, _) in enumerate(columns):
            if self._movable[i]:
                rates[i] = self._axis(i).to_rate(x[i])
                slope = slope * (amplitudes[i] / (rates[i] + self._axis(i).scale))
            jacobian.append(slope * movable[i])
        # Covariance s^2 inv(J'J), with s^2 the cost over the samples in use less the amplitudes and
        # the searched rates.
        cost = state[2] * size**2
        freedom = self._spare - int(movable.sum())
        variance = cost / freedom if freedom > 0 else np.full_like(cost, np.nan)
        return Solution(amplitudes, rates, cost, inverse_normal_matrix(jacobian) * variance)


def _count_samples(column: Column) -> int:
    if isinstance(column, Family):
        return int(column.curve(np.array([column.axis.upper])).shape[1])
    return len(column)


def _projected_curvature(
    gauss: Symmetric,
    toward: tuple[tuple[Array, Array], ...],
    inverse: Symmetric,
    fall: tuple[Array, Array],
    bend: tuple[Array, Array],
) -> Symmetric:
    """Return the Hessian of the projected cost; its Gauss-Newton part where it is not positive."""
    # Equation 3 far from the minimum may be indefinite, and its step would climb: equation 4 there.
    (t00, t10), (t01, t11) = toward
    exact = schur_complement(
        (gauss[0] - bend[0], gauss[1], gauss[2] - bend[1]),
        ((t00 - fall[0], t10), (t01, t11 - fall[1])),
        inverse,
    )
    safe = schur_complement(gauss, toward, inverse)
    a, b, d = exact
    positive = (a >= 0) & (d >= 0) & (a * d >= b * b)
    first, mixed, second = (np.where(positive, x, y) for x, y in zip(exact, safe, strict=True))
    return first, mixed, second


def _newton_step(
    state: Array,
    x: Array,
    damping: Array,
    bounds: tuple[Array, Array],
    movable: NDArray[np.bool_],
) -> tuple[Array, Array]:
    """Return the step (2, V) in x, zero where it leaves the bounds, and the expected gain (V,)."""
    # Equation 5. A rate at its bound whose gradient points outward is held there (active set): its
    # row and column become those of the identity.
    gradient, (a, b, d) = state[3:5], state[5:8]
    outward = ((x <= bounds[0]) & (gradient > 0)) | ((x >= bounds[1]) & (gradient < 0))
    free = movable[:, None] & ~outward & (np.stack([a, d]) > 0)
    more = 1 + damping
    matrix = (
        np.where(free[0], a * more, 1.0),
        np.where(free.all(axis=0), b, 0.0),
        np.where(free[1], d * more, 1.0),
    )
    # Where the two rates cannot be distinguished, the matrix is singular: step along each alone.
    # The gain is that of the quadratic model without damping.
    (i00, i01, i11), posed = invert_symmetric(matrix)
    g0, g1 = gradient * free
    i00, i11 = np.where(posed, i00, 1 / matrix[0]), np.where(posed, i11, 1 / matrix[2])
    step = -np.stack([i00 * g0 + i01 * g1, i01 * g0 + i11 * g1])
    return np.clip(step, -_LONGEST_STEP, _LONGEST_STEP), -dot(step, gradient * free) / 2
