"""Linear mixed model of lesions within patients, by restricted maximum likelihood (REML)."""

from dataclasses import dataclass, field, replace
from math import nan
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import linalg, optimize, stats

from bidsapp.errors import BadInput
from bidsapp.study.statistics.values import CONFIDENCE, MIN_N, FloatArray, as_vector, is_constant

_GRID = (0.0, 0.3, 1.0, 3.0)
"""Starting ratios of the standard deviations of the random effects to that of the residual."""

_GONE = 1e-6
"""Ratio to the residual variance below which a variance is set to zero."""

_STEP = 1e-3
"""Step of the numerical derivatives with respect to the logarithm of a variance."""


@dataclass(frozen=True)
class Contrast:
    """A weighted sum of the means of occasions: 95 % interval, t, degrees of freedom, p value."""

    estimate: float = nan
    standard_error: float = nan
    low: float = nan
    high: float = nan
    statistic: float = nan
    df: float = nan
    pvalue: float = nan


@dataclass(frozen=True)
class MixedModel:
    """The result of `mixed_model`; if no model was fitted, ``note`` gives the reason.

    Attributes
    ----------
    means : (T,) float64 ndarray
        Estimated mean of each occasion.
    covariance : (T, T) float64 ndarray
        Of these means.
    sd_patient, sd_lesion, sd_residual : float
        Standard deviations between patients, between lesions within a patient, and of the
        residual. 0 if estimated at the boundary; ``sd_patient`` is NaN if no patient has two
        lesions.
    criterion : float
        Minus twice the restricted log likelihood.
    n_values, n_lesions, n_patients, n_missing : int
        Numbers of values, lesions and patients in the model, and of missing values.
    """

    means: FloatArray
    covariance: FloatArray
    sd_patient: float = nan
    sd_lesion: float = nan
    sd_residual: float = nan
    criterion: float = nan
    n_values: int = 0
    n_lesions: int = 0
    n_patients: int = 0
    n_missing: int = 0
    note: str = ""
    _problem: "_Problem | None" = field(default=None, repr=False, compare=False)

    @property
    def icc_patient(self) -> float:
        """Fraction of the variance shared by two lesions of one patient."""
        return self._share(self.sd_patient)

    @property
    def icc_lesion(self) -> float:
        """Fraction of the variance shared by two occasions of one lesion."""
        return self._share(self.sd_lesion, self.sd_patient)

    def _share(self, *deviations: float) -> float:
        every = np.nansum(np.square([self.sd_patient, self.sd_lesion, self.sd_residual]))
        common = np.square([d for d in deviations if not np.isnan(d)])
        return float(np.sum(common) / every) if every > 0 and common.size else nan

    def contrast(self, weights: ArrayLike) -> Contrast:
        """Test a weighted sum of the means of the occasions against zero.

        Parameters
        ----------
        weights : (T,) array_like
            For example -1 for the earlier and 1 for the later occasion.

        Returns
        -------
        contrast : Contrast
            NaN if there is no model.
        """
        along = as_vector(weights, "weights")
        if along.size != self.means.size:
            raise BadInput(f"{along.size} weights for {self.means.size} occasions: give one each.")
        if self._problem is None:
            return Contrast()
        variances = np.square(np.nan_to_num([self.sd_residual, self.sd_lesion, self.sd_patient]))
        estimate = float(along @ self.means)
        error = float(np.sqrt(along @ self.covariance @ along))
        df = _satterthwaite(self._problem, variances, along)
        half = float(stats.t.ppf(0.5 + CONFIDENCE / 2, df)) * error
        return Contrast(
            estimate=estimate,
            standard_error=error,
            low=estimate - half,
            high=estimate + half,
            statistic=estimate / error,
            df=df,
            pvalue=float(2 * stats.t.sf(abs(estimate / error), df)),
        )


@dataclass(frozen=True)
class _Problem:
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
    def nested(self) -> bool:
        """Whether a patient has more than one lesion."""
        return bool(len(self.patients) > self.patients.max() + 1)


def mixed_model(
    values: ArrayLike, occasions: ArrayLike, patients: ArrayLike, lesions: ArrayLike
) -> MixedModel:
    r"""Fit the mean of each occasion, with lesions within patients as random intercepts.

    Parameters
    ----------
    values : (N,) array_like
        Any unit; NaN for missing.
    occasions : (N,) array_like of int
        Index of the time point, from 0.
    patients, lesions : (N,) array_like
        Patient and lesion of each value; labels of lesions need be unique only within a patient.

    Returns
    -------
    model : MixedModel
        With NaN estimates and the reason in ``note`` if no model can be fitted.

    Raises
    ------
    BadInput
        If the arrays differ in length, or an occasion is negative.

    Notes
    -----
    .. math:: y_{plt} = \mu_t + b_p + c_{pl} + e_{plt}

    with independent normal :math:`b, c, e`. The restricted likelihood is maximised over
    the two variance ratios, with a closed form per patient and the residual variance profiled out;
    variances are not negative. Degrees of freedom follow Satterthwaite, with the observed
    information of the positive variances. All values are used, also of lesions without some
    occasions.

    References
    ----------
    Laird NM, Ware JH. Random-effects models for longitudinal data. Biometrics 1982;38:963-974.
    doi:10.2307/2529876

    Kuznetsova A, Brockhoff PB, Christensen RHB. lmerTest package: tests in linear mixed effects
    models. J Stat Softw 2017;82(13). doi:10.18637/jss.v082.i13

    Examples
    --------
    Three patients, the first with two lesions, before and after:

    >>> values = [4.0, 3.0, 5.0, 3.5, 7.0, 6.5, 2.0, 1.0]
    >>> model = mixed_model(values, [0, 1] * 4, [1, 1, 1, 1, 2, 2, 3, 3], [1, 1, 2, 2, 1, 1, 1, 1])
    >>> change = model.contrast([-1, 1])
    >>> print(f"{change.estimate:.2f}, t({change.df:.0f}) = {change.statistic:.2f}")
    -1.00, t(3) = -4.90
    """
    y, when = as_vector(values, "values"), np.asarray(occasions)
    who, which = np.asarray(patients), np.asarray(lesions)
    if not len(y) == len(when) == len(who) == len(which):
        raise BadInput(
            f"{len(y)} values, {len(when)} occasions, {len(who)} patients and {len(which)} "
            "lesions: give one of each for every value."
        )
    if when.size and when.min() < 0:
        raise BadInput(f"An occasion is {when.min()}: number them from 0.")
    size = int(when.max(initial=-1)) + 1
    kept = np.isfinite(y)
    lost = int(np.sum(~kept))
    y, when, who, which = y[kept], when[kept], who[kept], which[kept]
    note = _no_model_reason(y, when, who, which, size)
    if note:
        empty = np.full(size, nan)
        return MixedModel(empty, np.full((size, size), nan), n_missing=lost, note=note)
    # Standardised values make starts and tolerances independent of the unit.
    scale, shift = float(y.std()), float(y.mean())
    problem = _sums((y - shift) / scale, when, who, which, size)
    return replace(_fit(problem, scale, shift), n_missing=lost)


def _no_model_reason(
    y: FloatArray,
    when: NDArray[np.int64],
    who: NDArray[np.int64],
    which: NDArray[np.int64],
    size: int,
) -> str:
    """Return why no model can be fitted, or an empty text."""
    fewest = np.bincount(when, minlength=size).min(initial=y.size) if size else 0
    if fewest < MIN_N:
        return f"an occasion has {fewest} values, a model needs {MIN_N}: no model"
    _, number = np.unique(_lesion_numbers(who, which), return_inverse=True)
    within = y - (np.bincount(number, y) / np.bincount(number))[number]
    if y.size - number.max() - 1 < MIN_N:
        return "too few lesions have values on two occasions: no model"
    means = np.bincount(when, within, size) / np.bincount(when, minlength=size)
    if is_constant(y, np.abs(y)) or is_constant(within - means[when], np.abs(y)):
        return "every lesion changes by the same amount: no model"
    return ""


def _lesion_numbers(who: NDArray[np.int64], which: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return a number for each value that identifies patient and lesion, sorted by patient."""
    _, patient = np.unique(who, return_inverse=True)
    _, lesion = np.unique(which, return_inverse=True)
    return patient * (int(lesion.max()) + 1) + lesion


def _sums(
    y: FloatArray,
    when: NDArray[np.int64],
    who: NDArray[np.int64],
    which: NDArray[np.int64],
    size: int,
) -> _Problem:
    """Return the sufficient statistics of the columns [X, y] by lesion."""
    columns = np.column_stack([np.eye(size)[when], y])
    _, first, lesion = np.unique(
        _lesion_numbers(who, which), return_index=True, return_inverse=True
    )
    _, patient = np.unique(who, return_inverse=True)
    sums = np.column_stack([np.bincount(lesion, column) for column in columns.T]).astype(float)
    return _Problem(
        square=columns.T @ columns,
        sums=sums,
        counts=np.bincount(lesion).astype(np.float64),
        patients=patient[first],
        firsts=np.flatnonzero(np.diff(patient[first], prepend=-1)),
    )


def _whiten(
    problem: _Problem, residual: float, lesion: float, patient: float
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


def _solve_means(product: FloatArray) -> tuple[FloatArray, float, float]:
    """Return the Cholesky factor of X^T V^-1 X, its log determinant, and r^T V^-1 r.

    With L L^T = X^T V^-1 X the generalised least-squares residual r has
    r^T V^-1 r = y^T V^-1 y - |L^-1 X^T V^-1 y|^2, without forming r.
    """
    factor = linalg.cholesky(product[:-1, :-1], lower=True)
    explained = linalg.solve_triangular(factor, product[:-1, -1], lower=True)
    rest = float(product[-1, -1] - explained @ explained)
    return factor, float(2 * np.log(np.diag(factor)).sum()), rest


def _criterion(problem: _Problem, variances: FloatArray) -> float:
    """Return minus twice the restricted log likelihood at (residual, lesion, patient) variances.

    log det V + log det X^T V^-1 X + r^T V^-1 r + (N - T) log 2 pi (Laird and Ware 1982).
    """
    product, logdet = _whiten(problem, *variances)
    _, logdet_means, rest = _solve_means(product)
    df = problem.counts.sum() - len(product) + 1
    return logdet + logdet_means + rest + float(df * np.log(2 * np.pi))


def _profile(ratios: FloatArray, problem: _Problem) -> float:
    """Return the criterion at the optimal residual variance, up to a constant.

    For given ratios the optimum is r^T V^-1 r / (N - T). Profiling it out leaves a search in two
    bounded dimensions, in which the criterion is smooth and Nelder-Mead is reliable.
    """
    product, logdet = _whiten(problem, 1.0, *np.square(ratios))
    _, logdet_means, rest = _solve_means(product)
    df = float(problem.counts.sum()) - len(product) + 1
    return float(df * np.log(max(rest, np.finfo(float).tiny)) + logdet + logdet_means)


def _fit(problem: _Problem, scale: float, shift: float) -> MixedModel:
    """Estimate the variances, then the means, in the unit of the values."""
    # The grid avoids the flat region around zero, where a descent would stop.
    second = _GRID if problem.nested else (0.0,)
    starts = [np.array([a, b]) for a in _GRID for b in second]
    best = min(starts, key=lambda start: _profile(start, problem))
    count = 2 if problem.nested else 1

    def cost(x: FloatArray) -> float:
        return _profile(np.append(x, np.zeros(2 - count)), problem)

    options: Any = {"xatol": 1e-7, "fatol": 1e-10, "maxiter": 2000}
    found = optimize.minimize(
        cost, best[:count], method="Nelder-Mead", bounds=[(0, None)] * count, options=options
    )
    ratios = np.square(np.append(found.x, np.zeros(2 - count)))
    # On the boundary: zero, so that Satterthwaite's method leaves this variance out.
    ratios[ratios < _GONE] = 0.0
    factor, _, rest = _solve_means(_whiten(problem, 1.0, *ratios)[0])
    df = problem.counts.sum() - len(factor)
    residual = rest / df
    product, _ = _whiten(problem, residual, *(ratios * residual))
    factor, _, _ = _solve_means(product)
    lesion, patient = np.sqrt(ratios * residual) * scale
    variances = np.array([residual, *(ratios * residual)])
    return MixedModel(
        means=linalg.cho_solve((factor, True), product[:-1, -1]) * scale + shift,
        covariance=linalg.cho_solve((factor, True), np.eye(len(factor))) * scale**2,
        sd_patient=float(patient) if problem.nested else nan,
        sd_lesion=float(lesion),
        sd_residual=float(np.sqrt(residual)) * scale,
        # Back to the unit of the values: each of the N - T contrasts scales by the same factor.
        criterion=float(_criterion(problem, variances) + float(df) * 2 * np.log(scale)),
        n_values=int(problem.counts.sum()),
        n_lesions=len(problem.counts),
        n_patients=int(problem.patients.max()) + 1,
        _problem=_rescale(problem, scale),
    )


def _rescale(problem: _Problem, scale: float) -> _Problem:
    """Return the sums in the unit of the values, without the shift, which cancels in contrasts."""
    unit = np.append(np.ones(len(problem.square) - 1), scale)
    return _Problem(
        problem.square * np.outer(unit, unit),
        problem.sums * unit,
        problem.counts,
        problem.patients,
        problem.firsts,
    )


def _satterthwaite(problem: _Problem, variances: FloatArray, along: FloatArray) -> float:
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
        factor, _, _ = _solve_means(_whiten(problem, *at(logs))[0])
        half = linalg.solve_triangular(factor, along, lower=True)
        return float(half @ half)

    steps = np.eye(len(active)) * _STEP
    slope = np.array([variance(centre + s) - variance(centre - s) for s in steps]) / (2 * _STEP)
    curvature = np.empty((len(active), len(active)))
    for i, a in enumerate(steps):
        for j, b in enumerate(steps):
            corners = [(a + b, 1), (a - b, -1), (b - a, -1), (-a - b, 1)]
            total = sum(sign * _criterion(problem, at(centre + to)) for to, sign in corners)
            curvature[i, j] = total / (4 * _STEP**2)
    # Directions that the data do not determine have curvature near zero and would make A infinite.
    known, directions = np.linalg.eigh(curvature / 2)
    sure = known > 1e-6 * known.max()
    spread = np.sum((directions.T @ slope)[sure] ** 2 / known[sure])
    limit = float(problem.counts.sum()) - len(along)
    if spread <= 0:
        return limit
    return min(limit, float(2 * variance(centre) ** 2 / spread))
