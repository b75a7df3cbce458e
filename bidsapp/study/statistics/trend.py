"""Linear mixed model of any number of visits on a continuous time axis."""

from dataclasses import dataclass, field, replace
from math import nan
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import linalg

from bidsapp.errors import BadInput
from bidsapp.study.statistics.reml import (
    Contrast,
    Fit,
    Problem,
    Structure,
    estimate,
    number_lesions,
    sum_by_lesion,
    with_ratios,
)
from bidsapp.study.statistics.values import MIN_N, FloatArray, as_vector, is_constant

MIN_LESION_SLOPES = 5
"""Fewest lesions between which slopes are allowed to vary."""
MIN_PATIENT_SLOPES = 3
"""Fewest patients with several lesions between which slopes are allowed to vary.

If they vary and the model does not allow it, tests of the slope are too liberal: in simulations of
15 patients with 20 lesions, 7.8 % of 500 were below 0.05, and 5.4 % with this value.
"""


@dataclass(frozen=True)
class RandomEffect:
    """Spread of a random coefficient between lesions, or between patients.

    Attributes
    ----------
    sd_level, sd_slope : float
        Standard deviations of the level at time 0 and of the slope; NaN where not in the model.
    correlation : float
        Between the two.
    """

    sd_level: float = nan
    sd_slope: float = nan
    correlation: float = nan


@dataclass(frozen=True)
class TrendModel:
    """The result of `trend_model`; if no model was fitted, ``note`` gives the reason.

    Attributes
    ----------
    coefficients : (K,) float64 ndarray
        Of the columns of the design.
    covariance : (K, K) float64 ndarray
        Of these coefficients.
    lesion, patient : RandomEffect
        Between lesions of a patient, and between patients.
    sd_residual : float
    criterion : float
        Minus twice the restricted log likelihood.
    n_values, n_lesions, n_patients, n_missing : int
        Numbers of values, lesions and patients in the model, and of missing values.
    """

    coefficients: FloatArray
    covariance: FloatArray
    lesion: RandomEffect = field(default_factory=RandomEffect)
    patient: RandomEffect = field(default_factory=RandomEffect)
    sd_residual: float = nan
    criterion: float = nan
    n_values: int = 0
    n_lesions: int = 0
    n_patients: int = 0
    n_missing: int = 0
    note: str = ""
    _fit: Fit | None = field(default=None, repr=False, compare=False)
    _given: "_Standardised | None" = field(default=None, repr=False, compare=False)

    @property
    def random(self) -> str:
        """The random coefficients in words; empty without a model."""
        if self._fit is None:
            return ""
        slopes = [
            name
            for name, effect in (("lesions", self.lesion), ("patients", self.patient))
            if not np.isnan(effect.sd_slope)
        ]
        return "intercepts" + (f", slopes of {' and '.join(slopes)}" if slopes else "")

    def contrast(self, weights: ArrayLike) -> Contrast:
        """Test a weighted sum of the coefficients against zero.

        Parameters
        ----------
        weights : (K,) array_like

        Returns
        -------
        contrast : Contrast
            NaN if there is no model.
        """
        along = as_vector(weights, "weights")
        if along.size != self.coefficients.size:
            raise BadInput(
                f"{along.size} weights for {self.coefficients.size} coefficients: give one each."
            )
        if self._fit is None or self._given is None:
            return Contrast()
        # The columns of the problem are Q of X = Q R: c^T b = (R^-T c)^T R b.
        inner = linalg.solve_triangular(self._given.root, along, trans="T")
        return self._fit.contrast(inner, float(along @ self.coefficients), self._given.scale)


@dataclass(frozen=True)
class _Standardised:
    """A problem without units, and what leads back to the design and the values.

    Values are the residuals of ordinary least squares on an orthonormal basis of the design, so
    that no unit, origin or scale matters to the search.
    """

    problem: Problem
    root: FloatArray  # (K, K): R of X = Q R
    start: FloatArray  # (K,): coefficients of ordinary least squares
    scale: float  # SD of the residuals
    centre: float  # mean and SD of the times
    spread: float

    def effect(self, covariance: FloatArray, count: int) -> RandomEffect:
        """Return a covariance of level and slope at the mean time as that at time 0."""
        if count == 0:
            return RandomEffect()
        if count == 1:
            return RandomEffect(float(np.sqrt(covariance[0, 0])) * self.scale)
        # level at 0 = level at the mean - slope * mean.
        turn = np.array([[1, -self.centre / self.spread], [0, 1 / self.spread]])
        there = turn @ covariance @ turn.T
        level, slope = np.sqrt(np.diag(there))
        together = float(there[0, 1] / (level * slope)) if level * slope > 0 else nan
        return RandomEffect(float(level) * self.scale, float(slope) * self.scale, together)

    def restore(self, fit: Fit) -> TrendModel:
        """Return the model in the units of values, design and times."""
        inner, covariance = fit.means
        back = linalg.solve_triangular(self.root, np.eye(len(self.root))) * self.scale
        lesion, patient = fit.covariances
        # Each of the N - K contrasts scales by the same factor; X^T V^-1 X by det(R)^2.
        shift = 2 * self.problem.df * np.log(self.scale)
        shift += 2 * np.log(np.abs(np.diag(self.root))).sum()
        return TrendModel(
            coefficients=self.start + back @ inner,
            covariance=back @ covariance @ back.T,
            lesion=self.effect(lesion, fit.structure.lesion),
            patient=self.effect(patient, fit.structure.patient),
            sd_residual=float(np.sqrt(fit.residual)) * self.scale,
            criterion=float(fit.criterion + shift),
            n_values=self.problem.n_values,
            n_lesions=len(self.problem.patients),
            n_patients=len(self.problem.firsts),
            _fit=fit,
            _given=self,
        )


def trend_model(
    values: ArrayLike,
    design: ArrayLike,
    times: ArrayLike,
    patients: ArrayLike,
    lesions: ArrayLike,
    *,
    structure: Structure | None = None,
    like: TrendModel | None = None,
) -> TrendModel:
    r"""Fit fixed effects, with random levels and slopes of lesions within patients.

    Parameters
    ----------
    values : (N,) array_like
        Any unit; NaN for missing.
    design : (N, K) array_like
        Columns of the fixed effects, such as 1 and the time; a row with NaN is left out.
    times : (N,) array_like
        Time on which the random slopes are; any unit.
    patients, lesions : (N,) array_like
        Patient and lesion of each value; labels of lesions need be unique only within a patient.
    structure : Structure or None
        Random coefficients of lesions and of patients; None to choose them.
    like : TrendModel or None
        A model of the same values with a part of the design, whose random coefficients are taken,
        in proportion to the residual, instead of being estimated.

    Returns
    -------
    model : TrendModel
        With NaN estimates and the reason in ``note`` if no model can be fitted.

    Raises
    ------
    BadInput
        If the arrays differ in length.

    Notes
    -----
    .. math:: y_{pli} = x_{pli}^T \beta + b_{0p} + b_{1p} t_{pli} + c_{0pl} + c_{1pl} t_{pli}
              + e_{pli}

    with independent normal pairs :math:`(b_0, b_1)` of patients and :math:`(c_0, c_1)` of lesions,
    correlated within a pair such that the model does not depend on the origin of time, and
    independent normal residuals. Estimation and tests are those of `mixed_model`. Levels always
    vary; slopes vary between lesions if at least `MIN_LESION_SLOPES` of them have values at three
    different times, and between patients if at least `MIN_PATIENT_SLOPES` of them have several such
    lesions. This depends on the visits alone, because slopes that are left out where they vary,
    also after a look at the values, make errors of the mean slope too small (Schielzeth and
    Forstmeier 2009). A patient with one lesion has one level, and one slope.

    References
    ----------
    Laird NM, Ware JH. Random-effects models for longitudinal data. Biometrics 1982;38:963-974.
    doi:10.2307/2529876

    Schielzeth H, Forstmeier W. Conclusions beyond support: overconfident estimates in mixed models.
    Behav Ecol 2009;20:416-420. doi:10.1093/beheco/arn145

    Examples
    --------
    Six patients with one lesion each, at four days that differ between them:

    >>> rng = np.random.default_rng(1)
    >>> patient = np.repeat(np.arange(6), 4)
    >>> day = rng.uniform(0, 90, 24)
    >>> value = 4 - 0.02 * day + 0.5 * rng.normal(size=6)[patient] + 0.2 * rng.normal(size=24)
    >>> design = np.column_stack([np.ones(24), day])
    >>> model = trend_model(value, design, day, patient, np.ones(24))
    >>> slope = model.contrast([0, 1])
    >>> print(f"{slope.estimate:.3f} ({slope.low:.3f} to {slope.high:.3f}); {model.random}")
    -0.022 (-0.026 to -0.018); intercepts, slopes of lesions
    """
    y, x, t = as_vector(values, "values"), np.array(design, float), as_vector(times, "times")
    who, which = np.asarray(patients), np.asarray(lesions)
    if x.ndim != 2 or not len(y) == len(x) == len(t) == len(who) == len(which):
        raise BadInput(
            f"{len(y)} values, a design of shape {x.shape}, {len(t)} times, {len(who)} patients "
            f"and {len(which)} lesions: give one row of each for every value."
        )
    kept = np.isfinite(y) & np.isfinite(x).all(axis=1) & np.isfinite(t)
    lost = int(np.sum(~kept))
    y, x, t, who, which = y[kept], x[kept], t[kept], who[kept], which[kept]
    note = _no_model_reason(y, x, who, which)
    if note:
        size = x.shape[1]
        empty = np.full(size, nan)
        return TrendModel(empty, np.full((size, size), nan), n_missing=lost, note=note)
    given = _standardise(y, x, t, who, which)
    if like is not None and like._fit is not None:
        fit = with_ratios(given.problem, like._fit.structure, like._fit.ratios)
    elif structure is None:
        fit = _climb(given.problem, _allowed(given.problem, t, who, which))
    else:
        fit = estimate(given.problem, structure)
    return replace(given.restore(fit), n_missing=lost)


def _standardise(
    y: FloatArray, x: FloatArray, t: FloatArray, who: NDArray[Any], which: NDArray[Any]
) -> _Standardised:
    basis, root = np.linalg.qr(x)
    start = linalg.solve_triangular(root, basis.T @ y)
    rest = y - x @ start
    scale, centre, spread = float(rest.std()), float(t.mean()), float(t.std()) or 1.0
    random = np.column_stack([np.ones(y.size), (t - centre) / spread])
    problem = sum_by_lesion(np.column_stack([basis, rest / scale]), random, who, which)
    return _Standardised(problem, root, start, scale, centre, spread)


def _allowed(
    problem: Problem, t: FloatArray, who: NDArray[Any], which: NDArray[Any]
) -> list[Structure]:
    """Return the structures that the design of the visits allows, each within the next one."""
    level = int(problem.is_nested)
    found = [Structure(1, level)]
    visits = np.unique(np.column_stack([number_lesions(who, which), t]), axis=0)[:, 0]
    lesions, times = np.unique(visits, return_counts=True)
    followed = lesions[times >= 3]
    # More random coefficients than values cannot be distinguished from the residual.
    if len(followed) >= MIN_LESION_SLOPES and 2 * len(lesions) < problem.n_values:
        found.append(Structure(2, level))
        several = np.bincount(problem.patients[np.searchsorted(lesions, followed)]) > 1
        if several.sum() >= MIN_PATIENT_SLOPES:
            found.append(Structure(2, 2))
    return found


def _climb(problem: Problem, structures: list[Structure]) -> Fit:
    """Return the fit of the largest structure; each starts from the one before."""
    fit = estimate(problem, structures[0])
    for structure in structures[1:]:
        fit = estimate(problem, structure, fit)
    return fit


def _no_model_reason(y: FloatArray, x: FloatArray, who: NDArray[Any], which: NDArray[Any]) -> str:
    """Return why no model can be fitted, or an empty text."""
    count, size = x.shape
    if count < size + MIN_N:
        return f"{count} values are too few for {size} coefficients: no model"
    norms = np.linalg.norm(x, axis=0)
    if (norms == 0).any() or np.linalg.matrix_rank(x / norms) < size:
        return "the values do not determine every coefficient: no model"
    # Deviations within lesions carry the information on slopes; the mean of each lesion takes one
    # degree of freedom.
    _, number = np.unique(number_lesions(who, which), return_inverse=True)
    several = np.count_nonzero(np.bincount(number) > 1)
    if several < MIN_N or count - number.max() - 1 < MIN_N:
        return "too few lesions have values at two visits: no model"
    # What is left must vary, or the residual variance would be zero.
    both = np.column_stack([x, y])
    sums = np.column_stack([np.bincount(number, column) for column in both.T])
    within = both - (sums / np.bincount(number)[:, None])[number]
    rest = within[:, -1] - within[:, :-1] @ np.linalg.lstsq(within[:, :-1], within[:, -1])[0]
    if is_constant(y, np.abs(y)) or is_constant(rest, np.abs(y)):
        return "all values lie on the fitted lines: no model"
    return ""
