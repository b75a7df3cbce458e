"""Dose of lesions: biologically effective dose, and changes of parameters by dose."""

from collections.abc import Mapping, Sequence
from itertools import product

import numpy as np
import pandas as pd

from bidsapp.lesions.dose import ALPHA_BETA, DELTA, effective_dose, region_names
from bidsapp.study.tables.cohort import LESION

_PRESCRIBED = {"dose_gy": 1.0, "dose_cgy": 0.01}
"""Columns of the prescribed dose of a lesion -> their unit, Gy."""
_FRACTIONS = "fractions"
EFFECTIVE_COLUMNS: Mapping[str, str] = {
    "bed_lq_gy": "Biologically effective dose of the prescribed dose by the linear-quadratic "
    f"model, Gy, with alpha/beta = {ALPHA_BETA:g} Gy and the fractions of the column {_FRACTIONS}, "
    "or a single one (doi:10.1259/0007-1285-62-740-679)",
    "bed_mlq_gy": "The same by the modified linear-quadratic model, which is meant for high doses "
    f"per fraction, with delta = {DELTA:g} 1/Gy (doi:10.1088/0031-9155/49/20/012)",
}
"""The columns that follow a prescribed dose in the table of characteristics."""
LESION_DOSES: Mapping[str, str] = {
    "dose_mean_gy": "Mean dose of the lesion in the dose map, Gy",
    "dose_min_gy": "Smallest dose of the lesion, Gy",
    "dose_d95_gy": "Dose that at least 95 % of the lesion receives, Gy",
}
"""The columns of the table of characteristics from maps of the dose."""
DOSE_VALUES: Mapping[str, str] = {
    "participant_id": "Participant",
    "lesion": "Lesion number, the same in all sessions",
    "session_id": "Session",
    "region": "As in group_dose.tsv",
    "parameter": "Parameter",
    "unit": "Its unit",
    "value": "Mean over the region",
}
"""The columns of ``group_dosevalues.tsv`` and what they mean."""
DOSE_TABLE: Mapping[str, str] = {
    "region": "Part of the enhancing lesions by dose in Gy (dose12to16: from 12 to below 16), or "
    "the brain around the lesions with at least 12 Gy (ring12)",
    "parameter": "Parameter",
    "unit": "Its unit",
    "timepoint_a": "Earlier time point",
    "timepoint_b": "Later time point",
    "n": "Number of lesions with a value in this region at both time points",
    "n_participants": "Number of participants with these lesions",
    "mean_a": "Mean of these lesions at the earlier time point",
    "mean_b": "Mean of these lesions at the later time point",
    "mean_difference": "Mean change, later minus earlier",
    "sd_difference": "Standard deviation of the changes (n - 1)",
    "mean_percent": "Mean change in percent of mean_a; missing if that is not positive",
}
"""The columns of ``group_dose.tsv`` and what they mean."""


def add_effective_dose(table: pd.DataFrame) -> pd.DataFrame:
    """Add the biologically effective dose after the prescribed dose of each lesion.

    Parameters
    ----------
    table : pandas.DataFrame
        May have a column ``dose_gy`` or ``dose_cgy``, and ``fractions``, also as text.

    Returns
    -------
    table : pandas.DataFrame
        With the columns `EFFECTIVE_COLUMNS`, if there is a dose; NaN where it is not a number.

    Examples
    --------
    >>> add_effective_dose(pd.DataFrame({"dose_cgy": ["2000"]})).round(1).to_dict("records")
    [{'dose_cgy': '2000', 'bed_lq_gy': 60.0, 'bed_mlq_gy': 38.2}]
    """
    name = next((name for name in _PRESCRIBED if name in table), None)
    if name is None or set(EFFECTIVE_COLUMNS) & set(table):
        return table
    dose = pd.to_numeric(table[name], errors="coerce") * _PRESCRIBED[name]
    number = table.get(_FRACTIONS, pd.Series(1, table.index))
    fractions = pd.to_numeric(number, errors="coerce")
    found = table.copy()
    place = int(np.flatnonzero(found.columns == name)[0]) + 1
    for column, delta in reversed(list(zip(EFFECTIVE_COLUMNS, (0.0, DELTA), strict=True))):
        found.insert(place, column, effective_dose(dose, fractions, delta=delta))
    return found


def dose_changes(
    values: pd.DataFrame, sessions: pd.DataFrame, timepoints: Sequence[str]
) -> pd.DataFrame:
    """Summarise the change of each parameter since the first time point, by region of dose.

    Parameters
    ----------
    values : pandas.DataFrame
        With the columns `DOSE_VALUES`.
    sessions : pandas.DataFrame
        ``participant_id session_id timepoint``; may have several rows per session.
    timepoints : sequence of str
        Names of the time points in chronological order.

    Returns
    -------
    table : pandas.DataFrame
        With the columns `DOSE_TABLE`.
    """
    keys = ["participant_id", "session_id"]
    placed = values.merge(sessions[[*keys, "timepoint"]].dropna().drop_duplicates(), on=keys)
    first, *others = timepoints
    rows = []
    for region, parameter in product(region_names(), dict.fromkeys(placed["parameter"])):
        chosen = placed[(placed["region"] == region) & (placed["parameter"] == parameter)]
        wide = chosen.pivot_table("value", [*LESION, "unit"], "timepoint")
        for later in others:
            if {first, later} <= set(wide):
                pairs = wide[[first, later]].dropna()
                head = {"region": region, "parameter": parameter}
                rows += [head | _change(pairs, first, later)] if len(pairs) else []
    return pd.DataFrame(rows, columns=list(DOSE_TABLE))


def _change(pairs: pd.DataFrame, first: str, later: str) -> dict[str, object]:
    """Return the mean change of the lesions that have a value at both time points."""
    before = float(pairs[first].mean())
    change = pairs[later] - pairs[first]
    mean = float(change.mean())
    return {
        "unit": pairs.index[0][-1],
        "timepoint_a": first,
        "timepoint_b": later,
        "n": len(pairs),
        "n_participants": pairs.index.get_level_values("participant_id").nunique(),
        "mean_a": before,
        "mean_b": float(pairs[later].mean()),
        "mean_difference": mean,
        "sd_difference": float(change.std()),
        "mean_percent": 100 * mean / before if before > 0 else np.nan,
    }
