"""The restricted likelihood of lesions within patients, in closed form per lesion and patient."""

from dataclasses import dataclass
from functools import cached_property
from itertools import product
from math import nan
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import linalg, optimize, stats

from bidsapp.study.statistics.values import CONFIDENCE, FloatArray

_STEP = 1e-3
"""Step of the numerical derivatives with respect to ratios of standard deviations."""

_GONE = 1e-3
"""Ratio to the residual standard deviation below which a standard deviation is set to zero."""

_GRID = (0.1, 0.3, 1.0, 3.0)
"""Starting ratios of the standard deviations of the random effects to that of the residual."""

_TRIANGLE = {count: np.tril_indices(count) for count in (0, 1, 2)}
"""Rows and columns of the lower triangle of a factor, by the number of random coefficients."""


@dataclass(frozen=True)
class Contrast:
    """A weighted sum of fixed effects: 95 % interval, t, degrees of freedom, p value."""

    estimate: float = nan
    standard_error: float = nan
    low: float = nan
    high: float = nan
    statistic: float = nan
    df: float = nan
    pvalue: float = nan


@dataclass(frozen=True)
class Problem:
    """Sufficient statistics of the likelihood: products of the columns [X, y] and Z by lesion.

    X holds the fixed effects; Z the columns with a random coefficient, a constant and optionally
    time. The likelihood needs [X, y]^T [X, y], and Z^T [X, y] and Z^T Z of every lesion, so that
    one evaluation costs no more than a few sums over lesions.
    """

    square: FloatArray  # (K + 1, K + 1): products of the columns [X, y] over all values
    cross: FloatArray  # (Q, K + 1, L): Z^T [X, y] of each lesion
    gram: FloatArray  # (Q, Q, L): Z^T Z of each lesion
    patients: NDArray[np.intp]  # (L,): patient of each lesion, sorted
    firsts: NDArray[np.intp]  # (P,): the first lesion of each patient

    @property
    def is_nested(self) -> bool:
        """Whether a patient has more than one lesion."""
        return len(self.patients) > len(self.firsts)

    @property
    def n_values(self) -> int:
        """Number of values: the first column of Z is one."""
        return round(float(self.gram[0, 0].sum()))

    @property
    def df(self) -> int:
        """Residual degrees of freedom, N - K."""
        return self.n_values - len(self.square) + 1


@dataclass(frozen=True)
class Structure:
    """Number of random coefficients: 1 for an intercept, 2 for intercept and slope, 0 for none."""

    lesion: int
    patient: int

    def factors(self, ratios: FloatArray, width: int) -> tuple[FloatArray, FloatArray]:
        """Return the Cholesky factors (Q, Q) of both covariances, in units of the residual SD."""
        parts = np.split(ratios, [self.lesion * (self.lesion + 1) // 2])
        made = []
        for count, values in zip((self.lesion, self.patient), parts, strict=True):
            factor = np.zeros((width, width))
            factor[_TRIANGLE[count]] = values
            made.append(factor)
        return made[0], made[1]

    @property
    def diagonal(self) -> NDArray[np.bool_]:
        """Which parameters are on the diagonal of a factor: the others may be negative."""
        marks = [np.equal(*_TRIANGLE[count]) for count in (self.lesion, self.patient)]
        return np.concatenate(marks)

    def embed(self, ratios: FloatArray, smaller: "Structure") -> FloatArray:
        """Return the parameters of a smaller structure as parameters of this one."""
        width = max(self.lesion, self.patient, 1)
        factors = smaller.factors(ratios, width)
        counts = (self.lesion, self.patient)
        return np.concatenate([f[_TRIANGLE[n]] for f, n in zip(factors, counts, strict=True)])


def number_lesions(who: NDArray[Any], which: NDArray[Any]) -> NDArray[np.int64]:
    """Return a number for each value that identifies patient and lesion, sorted by patient."""
    _, patient = np.unique(who, return_inverse=True)
    _, lesion = np.unique(which, return_inverse=True)
    return patient * (int(lesion.max()) + 1) + lesion


def sum_by_lesion(
    columns: FloatArray, random: FloatArray, who: NDArray[Any], which: NDArray[Any]
) -> Problem:
    """Return the sufficient statistics of columns [X, y] (N, K + 1) and Z (N, Q) by lesion."""
    # Lesions are numbered in the order of patients, so that those of a patient are adjacent:
    # `reduceat` in `whiten` needs this.
    _, first, lesion = np.unique(number_lesions(who, which), return_index=True, return_inverse=True)
    _, patient = np.unique(who, return_inverse=True)

    def by_lesion(right: FloatArray) -> FloatArray:
        sums = [[np.bincount(lesion, a * b) for b in right.T] for a in random.T]
        return np.array(sums, dtype=np.float64)

    return Problem(
        square=columns.T @ columns,
        cross=by_lesion(columns),
        gram=by_lesion(random),
        patients=patient[first],
        firsts=np.flatnonzero(np.diff(patient[first], prepend=-1)),
    )


def whiten(problem: Problem, lesion: FloatArray, patient: FloatArray) -> tuple[FloatArray, float]:
    """Return [X, y]^T V^-1 [X, y] and log det V, for a residual variance of 1.

    V of a patient is I + Z_l A A^T Z_l^T of each lesion + Z_p B B^T Z_p^T: two nested terms of rank
    Q, each inverted by Woodbury's identity.
    """
    gram, cross, square, logdet = _absorb(problem.gram, problem.cross, lesion)
    total = problem.square - square
    if patient.any():
        # Within the lesions already whitened, Z^T W Z and Z^T W [X, y] of a patient are sums over
        # its lesions, W the inverse of the step before.
        gram, cross = (np.add.reduceat(part, problem.firsts, axis=2) for part in (gram, cross))
        _, _, square, more = _absorb(gram, cross, patient)
        total, logdet = total - square, logdet + more
    return total, logdet


def _absorb(
    gram: FloatArray, cross: FloatArray, factor: FloatArray
) -> tuple[FloatArray, FloatArray, FloatArray, float]:
    """Add a random term to V; return gram and cross products after it, and what they lose.

    With Z^T W Z = G and the factor F: (W^-1 + Z F F^T Z^T)^-1 = W - W Z F (I + F^T G F)^-1 F^T Z^T
    W, and the determinant grows by det(I + F^T G F).
    """
    half = np.einsum("ki,kjl->ijl", factor, gram)
    root = _cholesky(np.eye(len(factor))[:, :, None] + np.einsum("ikl,kj->ijl", half, factor))
    lost_gram = _substitute(root, half)
    lost_cross = _substitute(root, np.einsum("ki,kjl->ijl", factor, cross))
    logdet = 2 * float(np.log(np.diagonal(root)).sum())
    return (
        gram - np.einsum("kil,kjl->ijl", lost_gram, lost_gram),
        cross - np.einsum("kil,kjl->ijl", lost_gram, lost_cross),
        np.tensordot(lost_cross, lost_cross, axes=([0, 2], [0, 2])),
        logdet,
    )


def _cholesky(matrices: FloatArray) -> FloatArray:
    """Return the lower Cholesky factors of matrices (Q, Q, L), of all lesions at once."""
    root = np.zeros_like(matrices)
    for i in range(len(matrices)):
        for j in range(i + 1):
            rest = matrices[i, j] - (root[i, :j] * root[j, :j]).sum(axis=0)
            root[i, j] = np.sqrt(rest) if i == j else rest / root[j, j]
    return root


def _substitute(root: FloatArray, right: FloatArray) -> FloatArray:
    """Solve lower triangular systems (Q, Q, L) for right sides (Q, K, L), of all at once."""
    found = np.empty_like(right)
    for i in range(len(root)):
        done = (root[i, :i, None] * found[:i]).sum(axis=0)
        found[i] = (right[i] - done) / root[i, i]
    return found


def solve_means(product: FloatArray) -> tuple[FloatArray, float, float]:
    """Return the Cholesky factor of X^T V^-1 X, its log determinant, and r^T V^-1 r.

    With L L^T = X^T V^-1 X the generalised least-squares residual r has
    r^T V^-1 r = y^T V^-1 y - |L^-1 X^T V^-1 y|^2, without forming r.
    """
    factor = linalg.cholesky(product[:-1, :-1], lower=True)
    explained = linalg.solve_triangular(factor, product[:-1, -1], lower=True)
    rest = float(product[-1, -1] - explained @ explained)
    return factor, float(2 * np.log(np.diag(factor)).sum()), rest


@dataclass(frozen=True)
class Fit:
    """Estimates of the variances of a problem by restricted maximum likelihood.

    Attributes
    ----------
    problem : Problem
    structure : Structure
    ratios : (M,) float64 ndarray
        Cholesky factors of the covariances of lesions and of patients, relative to the residual SD.
    residual : float
        Residual variance.
    """

    problem: Problem
    structure: Structure
    ratios: FloatArray
    residual: float

    @property
    def criterion(self) -> float:
        """Minus twice the restricted log likelihood."""
        return self.criterion_at(np.append(self.ratios, np.log(self.residual)))

    @property
    def covariances(self) -> tuple[FloatArray, FloatArray]:
        """Covariance (Q, Q) of the random coefficients of lesions, and of patients."""
        width = self.problem.gram.shape[0]
        lesion, patient = self.structure.factors(self.ratios, width)
        return self.residual * lesion @ lesion.T, self.residual * patient @ patient.T

    @cached_property
    def means(self) -> tuple[FloatArray, FloatArray]:
        """The fixed effects, (X^T V^-1 X)^-1 X^T V^-1 y, and their covariance."""
        product, _ = self._whiten(self.ratios)
        factor, _, _ = solve_means(product)
        inverse = linalg.cho_solve((factor, True), np.eye(len(factor)))
        return linalg.cho_solve((factor, True), product[:-1, -1]), inverse * self.residual

    def _whiten(self, ratios: FloatArray) -> tuple[FloatArray, float]:
        width = self.problem.gram.shape[0]
        return whiten(self.problem, *self.structure.factors(ratios, width))

    def criterion_at(self, at: FloatArray) -> float:
        """Return the criterion at given ratios, followed by the logarithm of the residual variance.

        log det V + log det X^T V^-1 X + r^T V^-1 r + (N - K) log 2 pi (Laird and Ware 1982).
        """
        product, logdet = self._whiten(at[:-1])
        _, logdet_means, rest = solve_means(product)
        scale = self.problem.df * (at[-1] + np.log(2 * np.pi))
        return float(logdet + logdet_means + rest / np.exp(at[-1]) + scale)

    def covariance_at(self, at: FloatArray) -> FloatArray:
        """Return the covariance of the fixed effects, (X^T V^-1 X)^-1."""
        factor, _, _ = solve_means(self._whiten(at[:-1])[0])
        return linalg.cho_solve((factor, True), np.eye(len(factor))) * float(np.exp(at[-1]))

    @cached_property
    def _variation(self) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Derivatives (M, K, K) of the covariance, and spectrum of the variances' information.

        The information is half the Hessian of the criterion. Parameters on the boundary, zero on a
        diagonal, are left out.
        """
        centre = np.append(self.ratios, np.log(self.residual))
        active = np.append(~self.structure.diagonal | (self.ratios != 0), True)
        steps = np.eye(centre.size)[active] * _STEP
        slopes = [self.covariance_at(centre + s) - self.covariance_at(centre - s) for s in steps]
        known, directions = np.linalg.eigh(_curvature(self, centre, steps) / 2)
        return np.array(slopes) / (2 * _STEP), known, directions

    def satterthwaite_df(self, along: FloatArray) -> float:
        """Return Satterthwaite's degrees of freedom of a contrast c.

        df = 2 v^2 / (g^T A g), with v = c^T (X^T V^-1 X)^-1 c, its gradient g, and the covariance A
        of the variance estimates, the inverse of their information (Kuznetsova et al. 2017).
        """
        slopes, known, directions = self._variation
        gradient = slopes @ along @ along
        # Directions that the data do not determine have information near zero and would make A
        # infinite.
        sure = known > 1e-6 * known.max()
        spread = float(np.sum((directions.T @ gradient)[sure] ** 2 / known[sure]))
        # No contrast has more degrees of freedom than the residual, N - K.
        if spread <= 0:
            return float(self.problem.df)
        variance = float(along @ self.means[1] @ along)
        return min(float(self.problem.df), 2 * variance**2 / spread)

    def contrast(self, along: FloatArray, value: float, scale: float) -> Contrast:
        """Test a weighted sum of fixed effects against zero.

        Parameters
        ----------
        along : (K,) float64 ndarray
            Weights of the columns X of the problem.
        value : float
            The weighted sum, in the unit of the user.
        scale : float
            That unit in the unit of the problem.
        """
        error = float(np.sqrt(along @ self.means[1] @ along)) * scale
        df = self.satterthwaite_df(along)
        half = float(stats.t.ppf(0.5 + CONFIDENCE / 2, df)) * error
        return Contrast(
            estimate=value,
            standard_error=error,
            low=value - half,
            high=value + half,
            statistic=value / error,
            df=df,
            pvalue=float(2 * stats.t.sf(abs(value / error), df)),
        )


def profile(ratios: FloatArray, problem: Problem, structure: Structure) -> float:
    """Return the criterion at the optimal residual variance, up to a constant.

    For given ratios the optimum is r^T V^-1 r / (N - K).
    """
    factors = structure.factors(ratios, problem.gram.shape[0])
    total, logdet = whiten(problem, *factors)
    _, logdet_means, rest = solve_means(total)
    return float(problem.df * np.log(max(rest, np.finfo(float).tiny)) + logdet + logdet_means)


def estimate(problem: Problem, structure: Structure, smaller: Fit | None = None) -> Fit:
    """Estimate the variances.

    Parameters
    ----------
    problem : Problem
        Of values and times with an SD near 1, because starts and tolerances are absolute.
    structure : Structure
    smaller : Fit or None
        Of a structure within this one: the search starts there, so that the result is no worse.

    Notes
    -----
    A ratio has the same likelihood with either sign. It is therefore not bounded, and a search
    cannot end at zero unless the optimum is there.
    """
    free = structure.diagonal
    base = np.zeros(free.size)
    if smaller is not None:
        base = structure.embed(smaller.ratios, smaller.structure)
        free = free & (np.abs(base) < _GONE)
    starts = []
    for values in product(_GRID, repeat=int(free.sum())):
        start = base.copy()
        start[free] = values
        starts.append(start)
    best = min(starts, key=lambda start: profile(start, problem, structure))
    found = optimize.minimize(
        profile,
        best,
        args=(problem, structure),
        method="L-BFGS-B",
        jac="2-point",
        options={"ftol": 1e-15, "gtol": 1e-7, "maxiter": 500},
    )
    ratios = np.where(structure.diagonal & (np.abs(found.x) < _GONE), 0.0, found.x)
    return with_ratios(problem, structure, ratios)


def with_ratios(problem: Problem, structure: Structure, ratios: FloatArray) -> Fit:
    """Return the fit of given ratios, with the residual variance r^T V^-1 r / (N - K)."""
    factors = structure.factors(ratios, problem.gram.shape[0])
    _, _, rest = solve_means(whiten(problem, *factors)[0])
    return Fit(problem, structure, ratios, rest / problem.df)


def _curvature(fit: Fit, centre: FloatArray, steps: FloatArray) -> FloatArray:
    """Return the Hessian of the criterion, from the four corners at +-h along two directions.

    For one and the same direction two of them are at the centre and two at +-2 h.
    """
    found = np.empty((len(steps), len(steps)))
    for i, j in zip(*np.tril_indices(len(steps)), strict=True):
        a, b = steps[i], steps[j]
        corners = [(a + b, 1), (a - b, -1), (b - a, -1), (-a - b, 1)]
        total = sum(sign * fit.criterion_at(centre + to) for to, sign in corners)
        found[i, j] = found[j, i] = total / (4 * _STEP**2)
    return found
