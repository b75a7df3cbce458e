"""Agreement of two parameters: regression, correlations and limits of agreement."""

from collections.abc import Mapping
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from bidsapp.study.statistics import (
    limits_of_agreement,
    rank_correlation,
    regression,
    repeated_correlation,
)
from bidsapp.study.tables.cohort import (
    ParameterPair,
    values_by_timepoint,
)


def correlation_table(
    lesions: pd.DataFrame, labels: Mapping[str, str], pair: ParameterPair
) -> pd.DataFrame:
    """Regress one parameter on another at every time point."""
    x, y = (values_by_timepoint(lesions, name, labels) for name in pair)
    rows = []
    for timepoint in labels:
        line = regression(x[timepoint], y[timepoint])
        rows.append(
            {
                "timepoint": timepoint,
                **pair._asdict(),
                "n": line.n,
                "r": line.r,
                "p": line.pvalue,
                "slope": line.slope,
                "intercept": line.intercept,
                "r_low": line.r_low,
                "r_high": line.r_high,
                "note": line.note,
            }
        )
    return pd.DataFrame(rows)


def agreement_table(
    lesions: pd.DataFrame, labels: Mapping[str, str], pair: ParameterPair
) -> pd.DataFrame:
    """Correlate two parameters at each time point, in their changes, and within lesions."""
    x, y = (values_by_timepoint(lesions, name, labels) for name in pair)
    rows = [_question("values", t, "", pair) | _correlate(x[t], y[t]) for t in labels]
    for a, b in combinations(labels, 2):
        row = _question("change", a, b, pair)
        rows.append(row | _correlate(x[b] - x[a], y[b] - y[a]))
    # Row by row: all time points of the first lesion, then those of the next one.
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
    """Return Pearson's and Spearman's correlation of two values of each lesion."""
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
    """Compute Bland and Altman's limits of agreement, in SDs of the first time point."""
    x, y = (standardise(values_by_timepoint(lesions, name, labels)) for name in pair)
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
        See `values_by_timepoint`.

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
