"""The restricted likelihood of lesions within patients, in closed form per patient."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

from bidsapp.study.statistics.values import FloatArray

_STEP = 1e-3
"""Step of the numerical derivatives with respect to the logarithm of a variance."""


@dataclass(frozen=True)
class Problem:
    """Sufficient statistics of the likelihood: sums of the columns [X, y] by lesion.

    X holds an indicator of each occasion. All that the likelihood needs is X^T X, X^T y, y^T y and
    the sums by lesion, so that one evaluation costs no more than a few sums over lesions.
    """

    square: FloatArray  # (T + 1, T + 1): products of the columns over all values
    sums: FloatArray  # (L, T + 1): sums of the columns in each lesion
    counts: FloatArray  # (L,): number of values of each lesion
    patients: NDArray[np.intp]  # (L,): patient of each lesion, sorted
    firsts: NDArray[np.intp]  # (P,): the first lesion of each patient

    @property
    def is_nested(self) -> bool:
        """Whether a patient has more than one lesion."""
        return bool(len(self.patients) > self.patients.max() + 1)


def number_lesions(who: NDArray[np.int64], which: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return a number for each value that identifies patient and lesion, sorted by patient."""
    _, patient = np.unique(who, return_inverse=True)
    _, lesion = np.unique(which, return_inverse=True)
    return patient * (int(lesion.max()) + 1) + lesion


def sum_by_lesion(
    y: FloatArray,
    when: NDArray[np.int64],
    who: NDArray[np.int64],
    which: NDArray[np.int64],
    size: int,
) -> Problem:
    """Return the sufficient statistics of the columns [X, y] by lesion."""
    columns = np.column_stack([np.eye(size)[when], y])
    # Lesions are numbered in the order of patients, so that those of a patient are adjacent:
    # `reduceat` in `whiten` needs this.
    _, first, lesion = np.unique(number_lesions(who, which), return_index=True, return_inverse=True)
    _, patient = np.unique(who, return_inverse=True)
    sums = np.column_stack([np.bincount(lesion, column) for column in columns.T]).astype(float)
    return Problem(
        square=columns.T @ columns,
        sums=sums,
        counts=np.bincount(lesion).astype(np.float64),
        patients=patient[first],
        firsts=np.flatnonzero(np.diff(patient[first], prepend=-1)),
    )


def whiten(
    problem: Problem, residual: float, lesion: float, patient: float
) -> tuple[FloatArray, float]:
    """Return [X, y]^T V^-1 [X, y] and log det V.

    V of a patient is residual I + lesion (blocks of ones) + patient (ones): two nested rank-one
    terms, each inverted in closed form (Sherman and Morrison; Woodbury).
    """
    # Lesions first: (I + g 1 1^T)^-1 = I - g / (1 + n g) 1 1^T, det = 1 + n g, with n values in the
    # lesion and g = lesion / residual.
    gain = lesion / residual
    shrunk = 1 / (1 + problem.counts * gain)
    shared = problem.sums * np.sqrt(gain * shrunk)[:, None]
    product = problem.square - shared.T @ shared
    logdet = float(-np.log(shrunk).sum()) + problem.square[:-1, :-1].sum() * np.log(residual)
    if patient > 0:
        # Then patients, within the lesions already whitened: 1^T W 1 = sum of n / (1 + n g), W the
        # inverse of the step before, takes the place of n.
        gain = patient / residual
        weight = np.bincount(problem.patients, problem.counts * shrunk)
        total = np.add.reduceat(problem.sums * shrunk[:, None], problem.firsts)
        shared = total * np.sqrt(gain / (1 + gain * weight))[:, None]
        product = product - shared.T @ shared
        logdet += float(np.log1p(gain * weight).sum())
    return product / residual, float(logdet)


def solve_means(product: FloatArray) -> tuple[FloatArray, float, float]:
    """Return the Cholesky factor of X^T V^-1 X, its log determinant, and r^T V^-1 r.

    With L L^T = X^T V^-1 X the generalised least-squares residual r has
    r^T V^-1 r = y^T V^-1 y - |L^-1 X^T V^-1 y|^2, without forming r.
    """
    factor = linalg.cholesky(product[:-1, :-1], lower=True)
    explained = linalg.solve_triangular(factor, product[:-1, -1], lower=True)
    rest = float(product[-1, -1] - explained @ explained)
    return factor, float(2 * np.log(np.diag(factor)).sum()), rest


def criterion(problem: Problem, variances: FloatArray) -> float:
    """Return minus twice the restricted log likelihood at (residual, lesion, patient) variances.

    log det V + log det X^T V^-1 X + r^T V^-1 r + (N - T) log 2 pi (Laird and Ware 1982).
    """
    product, logdet = whiten(problem, *variances)
    _, logdet_means, rest = solve_means(product)
    df = problem.counts.sum() - len(product) + 1
    return logdet + logdet_means + rest + float(df * np.log(2 * np.pi))


def profile(ratios: FloatArray, problem: Problem) -> float:
    """Return the criterion at the optimal residual variance, up to a constant.

    For given ratios the optimum is r^T V^-1 r / (N - T). Profiling it out leaves a search in two
    bounded dimensions, in which the criterion is smooth and Nelder-Mead is reliable.
    """
    product, logdet = whiten(problem, 1.0, *np.square(ratios))
    _, logdet_means, rest = solve_means(product)
    df = float(problem.counts.sum()) - len(product) + 1
    return float(df * np.log(max(rest, np.finfo(float).tiny)) + logdet + logdet_means)


def rescale(problem: Problem, scale: float) -> Problem:
    """Return the sums in the unit of the values, without the shift, which cancels in contrasts."""
    # Of the columns [X, y] only y has a unit.
    unit = np.append(np.ones(len(problem.square) - 1), scale)
    return Problem(
        problem.square * np.outer(unit, unit),
        problem.sums * unit,
        problem.counts,
        problem.patients,
        problem.firsts,
    )


def satterthwaite_df(problem: Problem, variances: FloatArray, along: FloatArray) -> float:
    """Return Satterthwaite's degrees of freedom of a contrast c.

    df = 2 v^2 / (g^T A g), with v = c^T (X^T V^-1 X)^-1 c, its gradient g, and the covariance A of
    the variance estimates: the inverse of half the Hessian of the criterion (Kuznetsova et
    al. 2017). Logarithms of the variances make the finite differences independent of the unit.
    """
    active = np.flatnonzero(variances > 0)
    centre = np.log(variances[active])

    def at(logs: FloatArray) -> FloatArray:
        full = np.zeros(3)
        full[active] = np.exp(logs)
        return full

    def variance(logs: FloatArray) -> float:
        factor, _, _ = solve_means(whiten(problem, *at(logs))[0])
        half = linalg.solve_triangular(factor, along, lower=True)
        return float(half @ half)

    steps = np.eye(len(active)) * _STEP
    slope = np.array([variance(centre + s) - variance(centre - s) for s in steps]) / (2 * _STEP)
    # Second differences from the four corners at +-h along both directions; for one and the same
    # direction two of them are at the centre and two at +-2 h.
    curvature = np.empty((len(active), len(active)))
    for i, a in enumerate(steps):
        for j, b in enumerate(steps):
            corners = [(a + b, 1), (a - b, -1), (b - a, -1), (-a - b, 1)]
            total = sum(sign * criterion(problem, at(centre + to)) for to, sign in corners)
            curvature[i, j] = total / (4 * _STEP**2)
    # Directions that the data do not determine have curvature near zero and would make A infinite.
    known, directions = np.linalg.eigh(curvature / 2)
    sure = known > 1e-6 * known.max()
    spread = np.sum((directions.T @ slope)[sure] ** 2 / known[sure])
    # No contrast has more degrees of freedom than the residual, N - T.
    limit = float(problem.counts.sum()) - len(along)
    if spread <= 0:
        return limit
    return min(limit, float(2 * variance(centre) ** 2 / spread))
