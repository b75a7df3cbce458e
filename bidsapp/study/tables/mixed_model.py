"""Linear mixed model of lesions within patients, compared with the paired t tests."""

from collections.abc import Iterator, Mapping
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from bidsapp.study.statistics import (
    MixedModel,
    mixed_model,
    paired_test,
)
from bidsapp.study.tables.cohort import (
    followed_parameters,
    patients,
    values_by_timepoint,
)
from bidsapp.study.tables.paired_tests import insert_adjusted_p

ALPHA = 0.05
"""Significance level: a change with a smaller p value is reported as a finding."""


def mixed_table(lesions: pd.DataFrame, labels: Mapping[str, str]) -> pd.DataFrame:
    """Test every change with a mixed model, alongside the paired t test."""
    rows: list[dict[str, Any]] = []
    for parameter in followed_parameters(lesions):
        values = values_by_timepoint(lesions, parameter, labels)
        rows += _mixed_rows(parameter, values, _model(values))
    return insert_adjusted_p(pd.DataFrame(rows))


def _model(values: pd.DataFrame) -> MixedModel:
    """Fit one parameter at all time points."""
    # Row by row: all occasions of the first lesion, then those of the next one.
    count, occasions = values.shape
    return mixed_model(
        values.to_numpy().ravel(),
        np.tile(np.arange(occasions), count),
        np.repeat(patients(values), occasions),
        np.repeat(values.index.get_level_values("lesion").to_numpy(), occasions),
    )


def _mixed_rows(
    parameter: str, values: pd.DataFrame, model: MixedModel
) -> Iterator[dict[str, Any]]:
    """Yield one row for every two time points."""
    for i, j in combinations(range(values.shape[1]), 2):
        weights = np.zeros(values.shape[1])
        weights[[i, j]] = -1, 1
        found = model.contrast(weights)
        paired = paired_test(values.iloc[:, j], values.iloc[:, i])
        yield {
            "parameter": parameter,
            "timepoint_a": values.columns[i],
            "timepoint_b": values.columns[j],
            "n_participants": model.n_patients,
            "n_lesions": model.n_lesions,
            "n_values": model.n_values,
            "mean_difference": found.estimate,
            "standard_error": found.standard_error,
            "ci_low": found.low,
            "ci_high": found.high,
            "t": found.statistic,
            "df": found.df,
            "p": found.pvalue,
            "p_paired": paired.pvalue,
            "agrees": _agrees(found.pvalue, paired.pvalue, found.estimate * paired.estimate),
            "icc_participant": model.icc_patient,
            "icc_lesion": model.icc_lesion,
            "sd_participant": model.sd_patient,
            "sd_lesion": model.sd_lesion,
            "sd_residual": model.sd_residual,
            "note": model.note,
        }


def _agrees(p: float, other: float, product: float) -> float:
    """Return 1 if both tests lead to the same conclusion, 0 if not, NaN if one is missing."""
    if np.isnan(p) or np.isnan(other):
        return np.nan
    # Two findings agree only if the changes have the same sign.
    found, also = p < ALPHA, other < ALPHA
    return float(found == also and (not found or product > 0))
