"""Mean, SD and range of every parameter at every time point."""

from collections.abc import Mapping

import pandas as pd

from bidsapp.study.statistics import summary
from bidsapp.study.tables.cohort import followed_parameters, values_by_timepoint


def summary_table(
    lesions: pd.DataFrame, labels: Mapping[str, str], units: Mapping[str, str]
) -> pd.DataFrame:
    """Summarise every parameter at every time point."""
    rows = []
    for column in (*followed_parameters(lesions), "volume_ml"):
        values = values_by_timepoint(lesions, column, labels)
        for timepoint in labels:
            found = summary(values[timepoint])
            rows.append(
                {
                    "parameter": column.removesuffix("_ml"),
                    "timepoint": timepoint,
                    "unit": units.get(column, "n/a"),
                    "n": found.n,
                    "mean": found.mean,
                    "sd": found.sd,
                    "median": found.median,
                    "minimum": found.minimum,
                    "maximum": found.maximum,
                    "ci_low": found.low,
                    "ci_high": found.high,
                }
            )
    return pd.DataFrame(rows)
