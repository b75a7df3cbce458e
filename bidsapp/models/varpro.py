"""The one solver: separable least squares (variable projection) for many voxels at once.

A model is linear in its amplitudes and non-linear in its rates. For given rates the best
amplitudes have a closed form, so only the rates are searched: first on a grid, for all voxels
in one matrix product, which finds the global minimum; then by Levenberg-Marquardt steps on the
projected residual until it no longer falls.

References
----------
Golub and Pereyra, Inverse Problems 2003, doi:10.1088/0266-5611/19/2/201 (variable projection);
Kaufman, BIT 1975, doi:10.1007/BF01932995 (the simplified Jacobian).
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bidsapp.models.base import Array

_MAX_STEPS = 40
_TOLERANCE = 1e-9


@dataclass(frozen=True)
class Separable:
    """A separable problem with A amplitudes (one or two, never negative) and R rates.

    Attributes
    ----------
    basis
        ``basis(rates (..., R)) -> (..., N, A)``.
    jacobian
        ``jacobian(rates (..., R)) -> (..., N, A, R)``, the derivative of the basis.
    grid
        Rates to start from, (G, R), spanning the bounds.
    lower, upper
        Bounds of the rates, (R,).
    """

    basis: Callable[[Array], Array]
    jacobian: Callable[[Array], Array]
    grid: Array
    lower: Array
    upper: Array


@dataclass(frozen=True)
class Solution:
    """Amplitudes (V, A), rates (V, R), residual sum of squares (V,), covariance (V, A+R, A+R)."""

    amplitudes: Array
    rates: Array
    cost: Array
    covariance: Array


def solve(problem: Separable, signal: Array) -> Solution:
    """Return the least-squares solution with amplitudes >= 0 and rates within their bounds.

    Parameters
    ----------
    problem
        The basis, its derivative, the grid and the bounds.
    signal : (V, N) array
        Finite numbers.

    Returns
    -------
    Solution
        Rates and rows of the covariance that the data say nothing about are NaN.

    Notes
    -----
    Minimises ``|y - B(r) a|^2`` over ``a >= 0`` and ``lower <= r <= upper``. The covariance is
    ``s^2 inv(J'J)`` with ``s^2 = cost / (N - A - R)``.

    References
    ----------
    Golub and Pereyra 2003, doi:10.1088/0266-5611/19/2/201.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.linspace(0, 2, 9)
    >>> problem = Separable(
    ...     basis=lambda r: np.exp(-r * x)[..., None],
    ...     jacobian=lambda r: (-x * np.exp(-r * x))[..., None, None],
    ...     grid=np.linspace(0.1, 5, 20)[:, None], lower=np.array([0.1]), upper=np.array([5.0]),
    ... )
    >>> found = solve(problem, 3 * np.exp(-1.7 * x)[None])
    >>> found.amplitudes.round(6).item(), found.rates.round(6).item()
    (3.0, 1.7)
    """
    rates = problem.grid[_best_on_grid(problem, signal)]
    if rates.shape[1]:
        rates = _refine(problem, signal, rates)
    basis = problem.basis(rates)
    amplitudes, cost = _project(basis, signal)
    covariance = _covariance(problem, rates, basis, amplitudes, cost)
    return Solution(amplitudes, rates, cost, covariance)


def nonnegative_amplitudes(gram: Array, moment: Array) -> tuple[Array, Array]:
    """Return the amplitudes >= 0 that minimise ``a'Ga - 2 a'm``, and how much they explain.

    Parameters
    ----------
    gram : (..., A, A) array
        ``B'B``, with A one or two.
    moment : (..., A) array
        ``B'y``.

    Returns
    -------
    amplitudes : (..., A) array
    explained : (...) array
        The fall of the sum of squares, ``a'm``.

    Examples
    --------
    >>> import numpy as np
    >>> nonnegative_amplitudes(np.eye(2), np.array([2.0, -1.0]))[0]
    array([2., 0.])
    """
    diagonal = np.einsum("...ii->...i", gram)
    single = np.maximum(moment, 0) / np.where(diagonal > 0, diagonal, np.inf)
    gain = single * moment
    if moment.shape[-1] == 1:
        return single, gain[..., 0]
    alone = np.where(gain[..., :1] >= gain[..., 1:], [1.0, 0.0], [0.0, 1.0])
    both, inside = _pair(gram, moment)
    amplitudes = np.where(inside[..., None], both, single * alone)
    return amplitudes, np.sum(amplitudes * moment, axis=-1)


def _pair(gram: Array, moment: Array) -> tuple[Array, NDArray[np.bool_]]:
    """Solve 2 x 2 systems; say where both amplitudes are non-negative and well determined."""
    a, b, d = gram[..., 0, 0], gram[..., 0, 1], gram[..., 1, 1]
    determinant = a * d - b * b
    well_posed = determinant > 1e-12 * a * d
    safe = np.where(well_posed, determinant, 1.0)
    first = (d * moment[..., 0] - b * moment[..., 1]) / safe
    second = (a * moment[..., 1] - b * moment[..., 0]) / safe
    return np.stack([first, second], axis=-1), well_posed & (first >= 0) & (second >= 0)


def _best_on_grid(problem: Separable, signal: Array) -> NDArray[np.intp]:
    """Return for each voxel the grid point that explains most: the global minimum's basin."""
    basis = problem.basis(problem.grid)
    points, samples, amplitudes = basis.shape
    columns = basis.transpose(1, 0, 2).reshape(samples, points * amplitudes)
    moment = (signal @ columns).reshape(len(signal), points, amplitudes)
    gram = np.einsum("gna,gnb->gab", basis, basis)
    best: NDArray[np.intp] = np.argmax(nonnegative_amplitudes(gram, moment)[1], axis=1)
    return best


def _project(basis: Array, signal: Array) -> tuple[Array, Array]:
    """Return the best amplitudes (V, A) for each voxel's basis (V, N, A), and the cost (V,)."""
    transposed = basis.swapaxes(-1, -2)
    moment = (transposed @ signal[..., None])[..., 0]
    amplitudes, _ = nonnegative_amplitudes(transposed @ basis, moment)
    residual = signal - (basis @ amplitudes[..., None])[..., 0]
    return amplitudes, np.einsum("vn,vn->v", residual, residual)


def _refine(problem: Separable, signal: Array, start: Array) -> Array:
    """Run Levenberg-Marquardt on the rates of every voxel until its cost no longer falls."""
    rates = start.copy()
    damping = np.full(len(signal), 1e-3)
    amplitudes, cost = _project(problem.basis(rates), signal)
    active = np.arange(len(signal))
    for _ in range(_MAX_STEPS):
        step = _step(problem, signal[active], rates[active], amplitudes[active], damping[active])
        trial = np.clip(rates[active] + step, problem.lower, problem.upper)
        new_amplitudes, new_cost = _project(problem.basis(trial), signal[active])
        better = new_cost <= cost[active]
        fall = cost[active] - new_cost
        accepted = active[better]
        rates[accepted], amplitudes[accepted] = trial[better], new_amplitudes[better]
        cost[accepted] = new_cost[better]
        damping[active] = np.where(better, damping[active] / 8, damping[active] * 8)
        still = np.where(better, fall > _TOLERANCE * new_cost, damping[active] < 1e6)
        active = active[still]
        if not len(active):
            break
    return rates


def _step(
    problem: Separable, signal: Array, rates: Array, amplitudes: Array, damping: Array
) -> Array:
    """Return one damped Gauss-Newton step of the projected residual (Kaufman's Jacobian)."""
    basis = problem.basis(rates)
    slope = np.einsum("vnar,va->vnr", problem.jacobian(rates), amplitudes)
    used = basis * (amplitudes[:, None, :] > 0)
    residual = signal - (basis @ amplitudes[..., None])[..., 0]
    projected = slope - used @ _least_squares(used, slope)
    gradient = (projected.swapaxes(-1, -2) @ residual[..., None])[..., 0]
    free = ~(
        ((rates <= problem.lower) & (gradient < 0)) | ((rates >= problem.upper) & (gradient > 0))
    )
    projected = projected * free[:, None, :]
    curvature = projected.swapaxes(-1, -2) @ projected
    diagonal = np.einsum("vrr->vr", curvature)
    scaled = (
        curvature
        + np.eye(rates.shape[1])
        * (damping[:, None] * diagonal + (diagonal <= 0) + 1e-300)[:, None, :]
    )
    return np.linalg.solve(scaled, (gradient * free)[..., None])[..., 0]


def _least_squares(basis: Array, target: Array) -> Array:
    """Return the coefficients (V, A, R) of targets (V, N, R) on bases (V, N, A)."""
    transposed = basis.swapaxes(-1, -2)
    gram = transposed @ basis
    ridge = 1e-12 * np.einsum("vaa->v", gram)[:, None, None] + 1e-300
    regular = gram + ridge * np.eye(gram.shape[-1])
    return np.linalg.solve(regular, transposed @ target)


def _covariance(
    problem: Separable, rates: Array, basis: Array, amplitudes: Array, cost: Array
) -> Array:
    """Return ``s^2 inv(J'J)``; rows of rates whose amplitudes are all zero are NaN."""
    slope = np.einsum("vnar,va->vnr", problem.jacobian(rates), amplitudes)
    jacobian = np.concatenate([basis, slope], axis=2)
    scale = np.sqrt(np.einsum("vnp,vnp->vp", jacobian, jacobian))
    known = scale > 0
    unit = jacobian / np.where(known, scale, 1.0)[:, None, :]
    information = unit.swapaxes(-1, -2) @ unit + np.eye(scale.shape[1]) * ~known[:, None, :]
    singular = np.linalg.det(information) <= 1e-12
    information[singular] = np.eye(scale.shape[1])
    freedom = max(basis.shape[1] - scale.shape[1], 1)
    variance = np.where(singular, np.nan, cost / freedom)
    divisor = np.where(known, scale, np.nan)
    covariance = np.linalg.inv(information) * variance[:, None, None]
    result: Array = covariance / (divisor[:, :, None] * divisor[:, None, :])
    return result
