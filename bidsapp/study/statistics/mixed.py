"""Linear mixed model of lesions within patients, by restricted maximum likelihood (REML)."""

from dataclasses import dataclass, field, replace
from math import nan
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import linalg, optimize, stats

from bidsapp.errors import BadInput
from bidsapp.study.statistics.reml import (
    Problem,
    criterion,
    number_lesions,
    profile,
    rescale,
    satterthwaite_df,
    solve_means,
    sum_by_lesion,
    whiten,
)
from bidsapp.study.statistics.values import CONFIDENCE, MIN_N, FloatArray, as_vector, is_constant

_GRID = (0.0, 0.3, 1.0, 3.0)
"""Starting ratios of the standard deviations of the random effects to that of the residual."""

_GONE = 1e-6
"""Ratio to the residual variance below which a variance is set to zero."""


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
    _problem: "Problem | None" = field(default=None, repr=False, compare=False)

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
        # In the order of `whiten`: residual, lesion, patient.
        variances = np.square(np.nan_to_num([self.sd_residual, self.sd_lesion, self.sd_patient]))
        estimate = float(along @ self.means)
        error = float(np.sqrt(along @ self.covariance @ along))
        df = satterthwaite_df(self._problem, variances, along)
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
    problem = sum_by_lesion((y - shift) / scale, when, who, which, size)
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
    # Deviations within lesions carry the information on changes; the mean of each lesion takes one
    # degree of freedom.
    _, number = np.unique(number_lesions(who, which), return_inverse=True)
    within = y - (np.bincount(number, y) / np.bincount(number))[number]
    if y.size - number.max() - 1 < MIN_N:
        return "too few lesions have values on two occasions: no model"
    # What is left after the means of the occasions must vary, or the residual variance would be
    # zero.
    means = np.bincount(when, within, size) / np.bincount(when, minlength=size)
    if is_constant(y, np.abs(y)) or is_constant(within - means[when], np.abs(y)):
        return "every lesion changes by the same amount: no model"
    return ""


def _fit(problem: Problem, scale: float, shift: float) -> MixedModel:
    """Estimate the variances, then the means, in the unit of the values."""
    # The grid avoids the flat region around zero, where a descent would stop.
    second = _GRID if problem.is_nested else (0.0,)
    starts = [np.array([a, b]) for a in _GRID for b in second]
    best = min(starts, key=lambda start: profile(start, problem))
    # With one lesion per patient the two variances cannot be separated: only their sum is
    # estimated.
    count = 2 if problem.is_nested else 1

    def cost(x: FloatArray) -> float:
        return profile(np.append(x, np.zeros(2 - count)), problem)

    options: Any = {"xatol": 1e-7, "fatol": 1e-10, "maxiter": 2000}
    found = optimize.minimize(
        cost, best[:count], method="Nelder-Mead", bounds=[(0, None)] * count, options=options
    )
    ratios = np.square(np.append(found.x, np.zeros(2 - count)))
    # On the boundary: zero, so that Satterthwaite's method leaves this variance out.
    ratios[ratios < _GONE] = 0.0
    # The residual variance at the optimum has a closed form: the weighted residual sum of squares
    # over N - T.
    factor, _, rest = solve_means(whiten(problem, 1.0, *ratios)[0])
    df = problem.counts.sum() - len(factor)
    residual = rest / df
    product, _ = whiten(problem, residual, *(ratios * residual))
    factor, _, _ = solve_means(product)
    lesion, patient = np.sqrt(ratios * residual) * scale
    variances = np.array([residual, *(ratios * residual)])
    return MixedModel(
        # Generalised least squares: (X^T V^-1 X) means = X^T V^-1 y, by the Cholesky factor.
        means=linalg.cho_solve((factor, True), product[:-1, -1]) * scale + shift,
        covariance=linalg.cho_solve((factor, True), np.eye(len(factor))) * scale**2,
        sd_patient=float(patient) if problem.is_nested else nan,
        sd_lesion=float(lesion),
        sd_residual=float(np.sqrt(residual)) * scale,
        # Back to the unit of the values: each of the N - T contrasts scales by the same factor.
        criterion=float(criterion(problem, variances) + float(df) * 2 * np.log(scale)),
        n_values=int(problem.counts.sum()),
        n_lesions=len(problem.counts),
        n_patients=int(problem.patients.max()) + 1,
        _problem=rescale(problem, scale),
    )
