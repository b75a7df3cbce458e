"""What the study's reviewers should have asked for: patients, agreement, prediction, planning."""

from collections.abc import Iterator, Mapping
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from bidsapp.study.statistics import (
    MixedModel,
    Repeatability,
    detectable_change,
    discrimination,
    effect_size,
    limits_of_agreement,
    mixed_model,
    paired_test,
    pairs_needed,
    rank_correlation,
    regression,
    repeatability,
    repeated_correlation,
)
from bidsapp.study.tables.cohort import (
    Cohort,
    ParameterPair,
    followed,
    measured,
    patients,
    timepoint_pairs,
)
from bidsapp.study.tables.published import changes_by_response, corrected

ALPHA = 0.05
"""A p value below it is called a finding."""


def mixed_table(lesions: pd.DataFrame, labels: Mapping[str, str]) -> pd.DataFrame:
    """Mixed model of every parameter: each contrast, beside the paired t test."""
    rows: list[dict[str, Any]] = []
    for parameter in followed(lesions):
        values = measured(lesions, parameter, labels)
        rows += _mixed_rows(parameter, values, _model(values))
    return corrected(pd.DataFrame(rows))


def _model(values: pd.DataFrame) -> MixedModel:
    """Fit all occasions of one parameter."""
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
    """One row per contrast of two occasions."""
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
    """1 if both tests find the same, 0 if not, NaN where one is missing."""
    if np.isnan(p) or np.isnan(other):
        return np.nan
    found, also = p < ALPHA, other < ALPHA
    return float(found == also and (not found or product > 0))


def agreement_table(
    lesions: pd.DataFrame, labels: Mapping[str, str], pair: ParameterPair
) -> pd.DataFrame:
    """Correlation of two parameters: at each time point, of their changes, and within lesions."""
    x, y = (measured(lesions, name, labels) for name in pair)
    rows = [_question("values", t, "", pair) | _correlate(x[t], y[t]) for t in labels]
    for a, b in combinations(labels, 2):
        row = _question("change", a, b, pair)
        rows.append(row | _correlate(x[b] - x[a], y[b] - y[a]))
    number = np.repeat(np.arange(len(x)), x.shape[1])
    within = repeated_correlation(x.to_numpy().ravel(), y.to_numpy().ravel(), number)
    rows.append(
        {
            **_question("within lesions", "", "", pair),
            "n": within.n,
            "r": within.r,
            "r_low": within.low,
            "r_high": within.high,
            "df": within.df,
            "p": within.pvalue,
            "note": within.note,
        }
    )
    table = pd.DataFrame(rows)
    return table[[*(column for column in table if column != "note"), "note"]]


def _question(question: str, before: str, after: str, pair: ParameterPair) -> dict[str, Any]:
    names = {"question": question, "timepoint_a": before, "timepoint_b": after}
    return names | pair._asdict()


def _correlate(x: pd.Series, y: pd.Series) -> dict[str, Any]:
    """Pearson's and Spearman's correlation of two values of each lesion."""
    line, ranks = regression(x, y), rank_correlation(x, y)
    return {
        "n": line.n,
        "r": line.r,
        "r_low": line.r_low,
        "r_high": line.r_high,
        "df": line.df,
        "p": line.pvalue,
        "spearman": ranks.r,
        "spearman_low": ranks.low,
        "spearman_high": ranks.high,
        "p_spearman": ranks.pvalue,
        "note": line.note,
    }


def limits_table(
    lesions: pd.DataFrame, labels: Mapping[str, str], pair: ParameterPair
) -> pd.DataFrame:
    """Bland and Altman's limits of two parameters, both in SDs of the first time point."""
    x, y = (standardise(measured(lesions, name, labels)) for name in pair)
    rows = []
    for timepoint in labels:
        found = limits_of_agreement(y[timepoint], x[timepoint])
        rows.append(
            {
                "timepoint": timepoint,
                **pair._asdict(),
                "n": found.n,
                "bias": found.bias,
                "bias_low": found.bias_low,
                "bias_high": found.bias_high,
                "sd": found.sd,
                "lower_limit": found.lower_limit,
                "upper_limit": found.upper_limit,
                "limit_half_width": found.limit_half_width,
                "note": found.note,
            }
        )
    return pd.DataFrame(rows)


def standardise(values: pd.DataFrame) -> pd.DataFrame:
    """Express values in standard deviations from the mean of the first time point.

    Parameters
    ----------
    values : pandas.DataFrame
        See `measured`.

    Returns
    -------
    values : pandas.DataFrame
        NaN throughout where the first time point does not vary.

    Examples
    --------
    >>> standardise(pd.DataFrame({"a": [1.0, 2.0, 3.0], "b": [3.0, 3.0, 5.0]})).to_numpy()[:, 1]
    array([1., 1., 3.])
    """
    first = values.iloc[:, 0]
    spread = first.std()
    return (values - first.mean()) / (spread if spread > 0 else np.nan)


def prediction_tables(
    lesions: pd.DataFrame, labels: Mapping[str, str], response: pd.DataFrame
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Does an early change of a parameter single out responders: areas, and the ROC curves."""
    first, *later = labels
    rows, curves = [], []
    for parameter in followed(lesions):
        for after in later:
            groups = changes_by_response(lesions, labels, response, parameter, after)
            found = discrimination(*groups)
            names = {"parameter": parameter, "timepoint_a": first, "timepoint_b": after}
            rows.append(
                {
                    **names,
                    "n_responders": found.n_responders,
                    "n_nonresponders": found.n_others,
                    "auc": found.area,
                    "ci_low": found.low,
                    "ci_high": found.high,
                    "p": found.pvalue,
                    "exact": np.nan if found.note else float(found.exact),
                    "note": found.note,
                }
            )
            points = ["change_percent", "false_positive", "true_positive"]
            curves += [names | dict(zip(points, point, strict=True)) for point in found.curve]
    columns = ["parameter", "timepoint_a", "timepoint_b", *points]
    return corrected(pd.DataFrame(rows)), pd.DataFrame(curves, columns=columns)


def planning_table(lesions: pd.DataFrame, labels: Mapping[str, str]) -> pd.DataFrame:
    """How many lesions a next study needs to see each change again."""
    rows = []
    for pair in timepoint_pairs(lesions, labels):
        effect = effect_size(pair.b, pair.a)
        cautious = 0.0 if effect.low <= 0 <= effect.high else min(effect.low, effect.high, key=abs)
        needed = {
            "n_power80": pairs_needed(effect.cohens_dz, 0.8),
            "n_power90": pairs_needed(effect.cohens_dz, 0.9),
            "n_power80_cautious": pairs_needed(np.nan if effect.note else cautious, 0.8),
        }
        endless = effect.low <= 0 <= effect.high
        note = "the interval of dz holds 0: cautiously, no number is enough" if endless else ""
        finite = {name: np.nan if np.isinf(n) else n for name, n in needed.items()}
        rows.append(
            {
                **pair.names,
                "n": effect.n,
                "cohens_dz": effect.cohens_dz,
                "dz_cautious": np.nan if effect.note else cautious,
                **finite,
                "note": effect.note or note,
            }
        )
    return pd.DataFrame(rows)


def repeatability_table(
    cohort: Cohort,
    lesions: pd.DataFrame,
    labels: Mapping[str, str],
    repeats: tuple[str, str] | None,
) -> pd.DataFrame:
    """Smallest change of one lesion that is more than noise, and how many lesions exceed it."""
    first, last = next(iter(labels)), list(labels)[-1]
    rows = []
    for parameter in followed(lesions):
        values = measured(lesions, parameter, labels)
        change = (values[last] - values[first]).abs().dropna()
        for source, found in _noise(lesions, parameter, repeats):
            rows.append(
                {
                    "parameter": parameter,
                    "unit": cohort.units.get(parameter, "n/a"),
                    "source": source,
                    "n": found.n,
                    "bias": found.bias,
                    "within_sd": found.within_sd,
                    "detectable_change": found.detectable,
                    "ci_low": found.low,
                    "ci_high": found.high,
                    "timepoint_a": first,
                    "timepoint_b": last,
                    "n_lesions": change.size,
                    "n_changed": np.nan if found.note else int((change > found.detectable).sum()),
                    "note": found.note,
                }
            )
    return pd.DataFrame(rows)


def _noise(
    lesions: pd.DataFrame, parameter: str, repeats: tuple[str, str] | None
) -> Iterator[tuple[str, Repeatability]]:
    """What tells the noise of a lesion's value: repeated scans, the fits' standard errors."""
    if repeats:
        index = ["participant_id", "lesion"]
        wide = lesions.pivot(index=index, columns="session_id", values=parameter)
        wide = wide.reindex(columns=list(repeats)).astype(np.float64)
        yield f"{repeats[0]} and {repeats[1]}", repeatability(wide[repeats[0]], wide[repeats[1]])
    errors = lesions.get(f"{parameter}_se", pd.Series(dtype=np.float64)).astype(np.float64)
    errors = errors[np.isfinite(errors)]
    if errors.empty:
        note = "no repeated scans were named and the tables bring no standard errors"
        if not repeats:
            yield "none", Repeatability(n=0, note=note)
        return
    sd = float(np.sqrt(np.mean(errors**2)))
    yield (
        "fit",
        Repeatability(n=errors.size, within_sd=sd, detectable=detectable_change(sd)),
    )
