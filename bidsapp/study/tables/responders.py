"""Early changes of responders and of other lesions, and how well they predict the response."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from bidsapp.lesions.response import relative_change
from bidsapp.study.statistics import discrimination, unpaired_test
from bidsapp.study.tables.cohort import (
    LESION,
    ParameterPair,
    followed_parameters,
    values_by_timepoint,
)
from bidsapp.study.tables.paired_tests import insert_adjusted_p

RESPONDERS = ("CR", "PR")
OTHERS = ("SD", "PD")


def changes_by_response(
    lesions: pd.DataFrame,
    labels: Mapping[str, str],
    response: pd.DataFrame,
    parameter: str,
    after: str,
) -> tuple[pd.Series, pd.Series]:
    """Return percent changes from the first time point of responders (CR, PR) and of others."""
    category = response.set_index(LESION)["response"]
    values = values_by_timepoint(lesions, parameter, labels).reindex(category.index)
    change = relative_change(values[next(iter(labels))], values[after])
    series = pd.Series(change, index=category.index)
    # A lesion without a category belongs to neither group.
    return series[category.isin(RESPONDERS)], series[category.isin(OTHERS)]


def responders_table(
    lesions: pd.DataFrame,
    labels: Mapping[str, str],
    response: pd.DataFrame,
    pair: ParameterPair,
) -> pd.DataFrame:
    """Compare early percent changes of two parameters between responders and others."""
    rows = []
    for parameter in pair:
        groups = changes_by_response(lesions, labels, response, parameter, list(labels)[-1])
        test = unpaired_test(*groups)
        rows.append(
            {
                "parameter": parameter,
                "n_responders": test.a.n,
                "n_nonresponders": test.b.n,
                "change_responders": test.a.mean,
                "change_nonresponders": test.b.mean,
                "t": test.statistic,
                "df": test.df,
                "p": test.pvalue,
                "sd_responders": test.a.sd,
                "sd_nonresponders": test.b.sd,
                "ci_low": test.low,
                "ci_high": test.high,
                "note": test.note,
            }
        )
    return pd.DataFrame(rows)


def prediction_tables(
    lesions: pd.DataFrame, labels: Mapping[str, str], response: pd.DataFrame
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return how well early changes identify responders: areas under ROC curves, the curves."""
    first, *later = labels
    rows, curves = [], []
    for parameter in followed_parameters(lesions):
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
    return insert_adjusted_p(pd.DataFrame(rows)), pd.DataFrame(curves, columns=columns)
