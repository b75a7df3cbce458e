"""Change of each lesion from the first time point, beside the limit that applies to it."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from bidsapp.study.tables.cohort import LESION, Cohort, timepoint_pairs
from bidsapp.study.tables.limits import LimitSources, Measure, percent_change

PERCENT = "% of value_a"
"""Unit of relative limits."""

CHANGE_COLUMNS = (
    *LESION, "parameter", "unit", "estimate", "timepoint_a", "timepoint_b", "value_a", "value_b",
    "change", "percent", "limit_from", "limit_low", "limit_high", "limit_unit", "verdict", "source",
)  # fmt: skip


def lesion_changes(
    cohort: Cohort, lesions: pd.DataFrame, labels: Mapping[str, str], sources: LimitSources
) -> pd.DataFrame:
    """Compare the change of each lesion with its limit.

    Parameters
    ----------
    cohort : Cohort
    lesions : pandas.DataFrame
        Those that are analysed, with their ``timepoint``.
    labels : mapping
        Its keys are the time points, in order.
    sources : LimitSources

    Returns
    -------
    table : pandas.DataFrame
        A row per parameter, later time point and lesion with both values. ``verdict`` is empty
        unless the limit is of repeat scans or of a simulation.
    """
    placed = lesions[lesions["timepoint"].notna()]
    sessions = placed.set_index(["participant_id", "timepoint"])["session_id"].to_dict()
    rows = []
    for pair in timepoint_pairs(lesions, labels):
        if pair.before != next(iter(labels)):
            continue
        unit = cohort.units.get(pair.parameter, "n/a")
        both = pair.a.notna() & pair.b.notna()
        for (participant, lesion), before, after in zip(
            pair.a.index[both], pair.a[both], pair.b[both], strict=True
        ):
            session = sessions[participant, pair.before]
            measure = Measure(participant, lesion, session, pair.parameter, cohort.estimate)
            rows.append(
                {"participant_id": participant, "lesion": lesion, **pair.names, "unit": unit,
                 "estimate": cohort.estimate}
                | assess_change(before, after, measure, sources, unit)
            )  # fmt: skip
    return pd.DataFrame(rows, columns=list(CHANGE_COLUMNS))


def assess_change(
    before: float, after: float, baseline: Measure, sources: LimitSources, unit: str
) -> dict[str, object]:
    """Return the cells of a change, its limit and the verdict.

    Parameters
    ----------
    before, after : float
    baseline : Measure
        The earlier measurement.
    sources : LimitSources
    unit : str
        Of both values.

    Examples
    --------
    >>> baseline = Measure("sub-01", 1, "ses-baseline", "vp", "mean")
    >>> sources = LimitSources(simulated={baseline: 0.01})
    >>> assess_change(0.04, 0.02, baseline, sources, "1")["verdict"]
    'exceeded'
    >>> assess_change(0.04, 0.02, baseline, LimitSources(), "1")["limit_from"]
    ''
    """
    limit = sources.applicable(baseline)
    return {
        "value_a": before,
        "value_b": after,
        "change": after - before,
        "percent": percent_change(before, after),
        "limit_from": limit.origin if limit else "",
        "limit_low": limit.low if limit else np.nan,
        "limit_high": limit.high if limit else np.nan,
        "limit_unit": "" if not limit else PERCENT if limit.relative else unit,
        "verdict": limit.judge(before, after) if limit else "",
        "source": limit.source if limit else "",
    }
