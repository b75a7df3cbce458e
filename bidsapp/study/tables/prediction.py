"""Prediction of the response of a lesion by an early change: areas and ROC curves."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from bidsapp.study.statistics import (
    discrimination,
)
from bidsapp.study.tables.cohort import (
    followed,
)
from bidsapp.study.tables.published import changes_by_response, corrected


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
