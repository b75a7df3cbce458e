"""Linear mixed model of lesions within patients, by restricted maximum likelihood (REML)."""

from dataclasses import dataclass, field, replace
from math import nan

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bidsapp.errors import BadInput
from bidsapp.study.statistics.reml import (
    Contrast,
    Fit,
    Structure,
    estimate,
    number_lesions,
    sum_by_lesion,
)
from bidsapp.study.statistics.values import MIN_N, FloatArray, as_vector, is_constant


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
    _fit: Fit | None = field(default=None, repr=False, compare=False)
    _scale: float = field(default=nan, repr=False, compare=False)

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
        if self._fit is None:
            return Contrast()
        return self._fit.contrast(along, float(along @ self.means), self._scale)


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
    columns = np.column_stack([np.eye(size)[when], (y - shift) / scale])
    problem = sum_by_lesion(columns, np.ones((y.size, 1)), who, which)
    # With one lesion per patient the two variances cannot be separated: only their sum is
    # estimated.
    fit = estimate(problem, Structure(1, int(problem.is_nested)))
    return replace(_in_unit_of_values(fit, scale, shift), n_missing=lost)


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


def _in_unit_of_values(fit: Fit, scale: float, shift: float) -> MixedModel:
    """Return the model in the unit of the values."""
    problem = fit.problem
    means, covariance = fit.means
    lesion, patient = (np.sqrt(part[0, 0]) * scale for part in fit.covariances)
    return MixedModel(
        means=means * scale + shift,
        covariance=covariance * scale**2,
        sd_patient=float(patient) if problem.is_nested else nan,
        sd_lesion=float(lesion),
        sd_residual=float(np.sqrt(fit.residual)) * scale,
        # Each of the N - T contrasts scales by the same factor.
        criterion=float(fit.criterion + problem.df * 2 * np.log(scale)),
        n_values=problem.n_values,
        n_lesions=len(problem.patients),
        n_patients=len(problem.firsts),
        _fit=fit,
        _scale=scale,
    )
