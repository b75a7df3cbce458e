"""Repeatability of lesion values, from two sessions between which no change is expected."""

import numpy as np
import pandas as pd

from bidsapp.study.statistics import repeatability
from bidsapp.study.tables.cohort import LESION, Cohort, followed_parameters


def repeatability_table(
    cohort: Cohort, lesions: pd.DataFrame, repeats: tuple[str, str] | None
) -> pd.DataFrame:
    """Compute the repeatability of each parameter.

    Parameters
    ----------
    cohort : Cohort
    lesions : pandas.DataFrame
        Those that are analysed.
    repeats : (str, str) or None
        Labels ``ses-...`` of the two sessions.

    Returns
    -------
    table : pandas.DataFrame
        A row per parameter; without repeats, its note states so.
    """
    return pd.DataFrame(
        {"parameter": name, "unit": cohort.units.get(name, "n/a"), "estimate": cohort.estimate}
        | _repeatability_cells(lesions, name, repeats)
        for name in followed_parameters(lesions)
    )


def _repeatability_cells(
    lesions: pd.DataFrame, parameter: str, repeats: tuple[str, str] | None
) -> dict[str, object]:
    """Return the cells of one parameter."""
    sessions = list(repeats or ("n/a", "n/a"))
    table = lesions.reindex(columns=[*LESION, "session_id", parameter])
    wide = table.pivot(index=LESION, columns="session_id", values=parameter)
    wide = wide.reindex(columns=sessions).astype(np.float64)
    found = repeatability(*wide.to_numpy().T)
    scale = 100 if found.relative else 1
    return {
        "session_a": sessions[0],
        "session_b": sessions[1],
        "n": found.n,
        "bias": found.bias,
        "within_sd": found.within_sd,
        "repeatability_coefficient": found.coefficient,
        "ci_low": found.low,
        "ci_high": found.high,
        "within_cv": 100 * found.within_cv,
        "cv_low": 100 * found.cv_low,
        "cv_high": 100 * found.cv_high,
        "scale": "" if found.note else "relative" if found.relative else "absolute",
        "limit_low": scale * found.fall,
        "limit_high": scale * found.rise,
        "note": found.note if repeats else "no repeat scans were named",
    }
