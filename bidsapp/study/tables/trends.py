"""Trends of every parameter over all visits: a linear mixed model on days since treatment."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import nan
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from bidsapp.study.statistics import TrendModel, trend_model
from bidsapp.study.statistics.values import FloatArray
from bidsapp.study.tables.cohort import LESION, Cohort, followed_parameters
from bidsapp.study.tables.covariates import Covariate, find_covariate
from bidsapp.study.tables.paired_tests import insert_adjusted_p

GROUP = "trend_group"
"""Column of the group of a lesion by the covariate."""

PER_DAYS = 30
"""Slopes are changes in this number of days."""

_POINTS = 41
"""Number of days after treatment at which a fitted curve is given."""


@dataclass(frozen=True)
class TrendOptions:
    """What the trend model holds besides a level before treatment and a slope after it.

    Attributes
    ----------
    step : bool
        A change at the treatment.
    covariate : str
        A column of the characteristics or of the sessions; empty for none.
    reference : str
        The group with which the others are compared; empty for the most frequent one.
    """

    step: bool = False
    covariate: str = ""
    reference: str = ""


class Term(NamedTuple):
    """A column of the design: a function of time, and what is compared by it (or empty)."""

    term: str
    compared: str


def trend_tables(
    cohort: Cohort,
    lesions: pd.DataFrame,
    characteristics: pd.DataFrame,
    options: TrendOptions,
) -> tuple[pd.DataFrame, pd.DataFrame, np.ndarray]:
    """Fit the trend of each parameter over all visits with a known day.

    Parameters
    ----------
    cohort : Cohort
    lesions : pandas.DataFrame
        Those that are analysed.
    characteristics : pandas.DataFrame
        See `bidsapp.study.tables.response.characteristics`.
    options : TrendOptions

    Returns
    -------
    trends : pandas.DataFrame
        A row per parameter and coefficient of the model.
    curves : pandas.DataFrame
        The fitted mean of each parameter, and of each group, over days.
    groups : (N,) ndarray of str
        Group of each row of ``lesions``; empty without groups, or where unknown.

    Raises
    ------
    UsageError
        If the covariate cannot be used.

    Notes
    -----
    A visit at day d has the time max(d, 0): the level is constant until the treatment, and changes
    linearly after it. ``p_curvature`` tests the square of the time as a further coefficient, with
    the same random coefficients.
    """
    covariate = (
        find_covariate(cohort, lesions, characteristics, options.covariate, options.reference)
        if options.covariate
        else None
    )
    rows: list[dict[str, Any]] = []
    curves: list[dict[str, Any]] = []
    for parameter in followed_parameters(lesions):
        fitted = _fit(lesions, parameter, options.step, covariate)
        rows += fitted.rows(parameter, options.covariate)
        curves += fitted.curves(parameter, covariate)
    columns = ["parameter", "group", "days", "mean", "ci_low", "ci_high"]
    groups = covariate.groups if covariate else np.full(len(lesions), "")
    return insert_adjusted_p(pd.DataFrame(rows)), pd.DataFrame(curves, columns=columns), groups


@dataclass(frozen=True)
class _Fitted:
    """The model of one parameter, with the terms of its design."""

    terms: Sequence[Term]
    model: TrendModel
    days: FloatArray
    p_curvature: float
    note: str

    def rows(self, parameter: str, covariate: str) -> Iterator[dict[str, Any]]:
        """Yield a row per coefficient."""
        model = self.model
        for term, weights in zip(self.terms, np.eye(len(self.terms)), strict=True):
            found = model.contrast(weights)
            tested = term != Term("level", "")
            yield {
                "parameter": parameter,
                "term": term.term,
                "covariate": covariate if term.compared else "",
                "compared": term.compared,
                "n_participants": model.n_patients,
                "n_lesions": model.n_lesions,
                "n_values": model.n_values,
                "estimate": found.estimate,
                "standard_error": found.standard_error,
                "ci_low": found.low,
                "ci_high": found.high,
                # Whether a level differs from zero is not a question.
                "t": found.statistic if tested else nan,
                "df": found.df,
                "p": found.pvalue if tested else nan,
                "p_curvature": self.p_curvature,
                "random": model.random,
                "sd_participant": model.patient.sd_level,
                "sd_lesion": model.lesion.sd_level,
                "sd_slope_participant": model.patient.sd_slope,
                "sd_slope_lesion": model.lesion.sd_slope,
                "sd_residual": model.sd_residual,
                "note": self.note,
            }

    def curves(self, parameter: str, covariate: Covariate | None) -> Iterator[dict[str, Any]]:
        """Yield the fitted mean and its interval over days, of each group."""
        if self.model.note:
            return
        last = self.days.max()
        early = [self.days.min()] if self.days.min() < 0 else []
        # The treatment itself is given before and after the step.
        before = [*early, 0.0]
        days = np.append(before, np.linspace(0, max(last, 0), _POINTS))
        after = np.arange(days.size) >= len(before)
        groups = [""]
        if covariate is not None and covariate.reference:
            others = [name.removesuffix(f" - {covariate.reference}") for name in covariate.columns]
            groups = [covariate.reference, *others]
        for group in groups:
            compared = f"{group} - {covariate.reference}" if covariate else ""
            for day, later in zip(days, after, strict=True):
                time = _times(np.array([day]), np.array([later]))
                weights = [
                    time[term][0] * (with_what in ("", compared)) for term, with_what in self.terms
                ]
                found = self.model.contrast(weights)
                yield {
                    "parameter": parameter,
                    "group": group,
                    "days": day,
                    "mean": found.estimate,
                    "ci_low": found.low,
                    "ci_high": found.high,
                }


def _times(days: FloatArray, after: np.ndarray) -> dict[str, FloatArray]:
    """Return the functions of time that may be terms, by name."""
    return {
        "level": np.ones(days.size),
        "step": after.astype(np.float64),
        "slope": np.maximum(days, 0) / PER_DAYS,
    }


def _fit(lesions: pd.DataFrame, parameter: str, step: bool, covariate: Covariate | None) -> _Fitted:
    """Fit the model of one parameter to all visits with a known day."""
    values = lesions.reindex(columns=[parameter])[parameter].to_numpy(dtype=np.float64)
    days = lesions["days_from_srs"].to_numpy(dtype=np.float64)
    times = _times(days, days > 0)
    names = ["level", "step", "slope"] if step else ["level", "slope"]
    columns = {Term(name, ""): times[name] for name in names}
    for compared, values_of in (covariate.columns if covariate else {}).items():
        # A covariate of the session describes its value, not the course of the lesion.
        for name in names[:1] if covariate and covariate.varies else names:
            columns[Term(name, compared)] = times[name] * values_of
    design = np.column_stack(list(columns.values()))
    who, which = (lesions[key].to_numpy() for key in LESION)
    slope = times["slope"]
    model = trend_model(values, design, slope, who, which)
    more = np.column_stack([design, slope**2])
    curved = trend_model(values, more, slope, who, which, like=model)
    known = np.isfinite(values) & np.isfinite(design).all(axis=1)
    return _Fitted(
        list(columns),
        model,
        days[known],
        curved.contrast([*np.zeros(len(columns)), 1]).pvalue if not model.note else nan,
        _note(model, values, days, covariate),
    )


def _note(
    model: TrendModel, values: FloatArray, days: FloatArray, covariate: Covariate | None
) -> str:
    """Return why there is no model, and which values are left out."""
    undated = int(np.sum(np.isfinite(values) & np.isnan(days)))
    parts = [
        model.note,
        f"{undated} values of unknown or contradictory day are left out" if undated else "",
        covariate.note if covariate else "",
    ]
    return "; ".join(part for part in parts if part)
