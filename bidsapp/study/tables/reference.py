"""The reference region: its values, their variation, and the ratios of lesions to it."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from bidsapp.models.parameters import PARAMETERS
from bidsapp.study.tables.cohort import LESION

SURE = 2.0
"""Standard errors by which the mean of the reference must exceed zero for a ratio to it."""
RATIOS = ("Ktrans", "vp", "f", "ADC")
"""Parameters with ratios; ve of white matter is not determined, because hardly anything leaks."""
LESION_ROIS = ("enhancing", "ring", "mirror")
"""Regions of lesions that are compared with the reference."""

_VISIT = ["participant_id", "session_id"]
_KEYS = {"participant_id": "Participant", "session_id": "Session"}
_PARAMETER = {"parameter": "Parameter", "unit": "Unit", "model": "BIDS model- label of the fit"}

REFERENCE_TABLES: Mapping[str, Mapping[str, str]] = {
    "reference": {
        **_KEYS,
        "days": "Days from treatment to the session, negative before it",
        **_PARAMETER,
        "n_valid": "Voxels of the reference region with a value",
        "measured_ml": "Volume of the reference region with a value, ml",
        "mean": "Mean over the reference region",
        "standard_error": "Standard error of the mean from the fits",
        "std": "Standard deviation over the voxels",
        "median": "Median over the voxels",
        "low": "Lowest plausible mean of normal white matter; n/a if no limit is known",
        "high": "Highest plausible mean of normal white matter; n/a if no limit is known",
        "plausible": "1 if the mean is within these limits, 0 if not; n/a if no limit is known",
    },
    "referencevariation": {
        **_PARAMETER,
        "n_values": "Number of values",
        "n_participants": "Number of participants with a value",
        "n_repeated": "Number of participants with values of two or more sessions",
        "mean": "Mean of the values",
        "within_sd": "Standard deviation between the sessions of a participant",
        "within_cv": "The same, in percent of the mean: what scanner, analysis and position of the "
        "region add to every change of a lesion",
        "between_cv": "Standard deviation of the means of the participants, in percent of the mean",
    },
    "ratios": {
        **_KEYS,
        "lesion": "Lesion number, the same in all sessions",
        "roi": "Region: the enhancing part of the lesion, the ring around it, or its mirror image",
        "excluded": "1 if the ROI table of the session marks the lesion as excluded",
        **{
            f"r{name}": f"Mean {name} of the region divided by that of the reference region"
            for name in RATIOS
        },
        "note": "Parameters without a ratio because the mean of the reference region is not "
        f"{SURE:g} standard errors above zero",
    },
}
"""Name of a table -> its columns, in order, with their descriptions."""


def reference_tables(values: pd.DataFrame, sessions: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Return the tables of the reference region.

    Parameters
    ----------
    values : pandas.DataFrame
        Rows of ``*_roistats.tsv`` with numbers.
    sessions : pandas.DataFrame
        ``participant_id``, ``session_id`` and ``days``.

    Returns
    -------
    tables : dict of pandas.DataFrame
        By the names of `REFERENCE_TABLES`; empty if no reference region was measured.
    """
    measured = values[(values["roi"] == "reference") & values["mean"].notna()]
    if measured.empty:
        return {}
    reference = _reference_table(measured, sessions)
    found = {
        "reference": reference,
        "referencevariation": _variation_table(reference),
        "ratios": _ratio_table(values, reference),
    }
    return {
        name: _sort_by_time(table, sessions).reindex(columns=list(REFERENCE_TABLES[name]))
        for name, table in found.items()
    }


def _sort_by_time(table: pd.DataFrame, sessions: pd.DataFrame) -> pd.DataFrame:
    """Sort the rows of participants and lesions by session, as in the table of sessions."""
    if "session_id" not in table:
        return table
    order = {key: i for i, key in enumerate(sessions[_VISIT].itertuples(index=False, name=None))}
    rank = [order.get(key, len(order)) for key in table[_VISIT].itertuples(index=False, name=None)]
    return table.iloc[np.argsort(rank, kind="stable")].reset_index(drop=True)


def implausible_values(reference: pd.DataFrame) -> list[str]:
    """Return a text for each parameter with values that normal white matter does not have."""
    texts = []
    doubtful = reference[reference["plausible"] == 0]
    for parameter, rows in doubtful.groupby("parameter", sort=False):
        first = rows.iloc[0]
        cells = rows[[*_VISIT, "mean"]].itertuples(index=False)
        where = [f"{participant} {session} ({mean:.3g})" for participant, session, mean in cells]
        more = f" and {len(where) - 5} more" if len(where) > 5 else ""
        texts.append(
            f"{parameter} of the reference region is outside {first['low']:g} to "
            f"{first['high']:g} {first['unit']}, the range of normal white matter, in "
            f"{', '.join(where[:5])}{more}: look at the region, the series and its units."
        )
    return texts


def _reference_table(measured: pd.DataFrame, sessions: pd.DataFrame) -> pd.DataFrame:
    """Return the values of the reference region with the limits of normal white matter."""
    table = measured.merge(sessions[[*_VISIT, "days"]], on=_VISIT, how="left")
    ranges = [PARAMETERS[n].white_range if n in PARAMETERS else None for n in table["parameter"]]
    limits = np.array([r or (np.nan, np.nan) for r in ranges], float)
    table["low"], table["high"] = limits.T
    inside = (table["mean"] >= table["low"]) & (table["mean"] <= table["high"])
    table["plausible"] = inside.astype(float).where(table["low"].notna())
    return table


def _variation_table(reference: pd.DataFrame) -> pd.DataFrame:
    """Return the variation of each parameter within and between participants."""
    keys = list(_PARAMETER)
    return pd.DataFrame(
        [
            dict(zip(keys, key, strict=True)) | _variation(rows)
            for key, rows in reference.groupby(keys, sort=False)
        ]
    )


def _variation(rows: pd.DataFrame) -> dict[str, float]:
    r"""Return the variation of one parameter.

    The variance within participants is pooled: the sum of squared deviations from the mean of each
    participant, divided by the number of values less that of participants.
    """
    people = rows.groupby("participant_id")["mean"]
    counts, overall = people.count(), float(rows["mean"].mean())
    freedom = int((counts - 1).sum())
    squares = float((rows["mean"] - people.transform("mean")).pow(2).sum())
    within = float(np.sqrt(squares / freedom)) if freedom else np.nan
    scale = 100 / overall if overall > 0 else np.nan
    return {
        "n_values": len(rows),
        "n_participants": len(counts),
        "n_repeated": int((counts > 1).sum()),
        "mean": overall,
        "within_sd": within,
        "within_cv": scale * within,
        "between_cv": scale * float(people.mean().std()),
    }


def _ratio_table(values: pd.DataFrame, reference: pd.DataFrame) -> pd.DataFrame:
    """Return the ratios of each region of a lesion to the reference, a row per region."""
    lesions = values[values["roi"].isin(LESION_ROIS) & values["parameter"].isin(RATIOS)]
    keys = [*_VISIT, "parameter", "model", "unit"]
    beside = reference[[*keys, "mean", "standard_error"]]
    pairs = lesions.merge(beside, on=keys, suffixes=("", "_reference"))
    error = pairs["standard_error_reference"].fillna(0)
    sure = pairs["mean_reference"] > SURE * error
    pairs["ratio"] = (pairs["mean"] / pairs["mean_reference"]).where(sure)
    keys = [*LESION, "session_id", "roi"]
    single = pairs.drop_duplicates([*keys, "parameter"], keep="last")
    table = single.pivot(index=keys, columns="parameter", values="ratio").add_prefix("r")
    excluded = pairs.groupby(keys)["excluded"].any()
    unsure = (
        pairs[~sure].groupby(keys)["parameter"].agg(", ".join).reindex(table.index, fill_value="")
    )
    return table.assign(excluded=excluded, note=unsure).reset_index()
