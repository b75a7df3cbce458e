"""The study's own tables: means, paired tests, responders, regression; who is missing."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from bidsapp.lesions.response import relative_change
from bidsapp.study.statistics import (
    cluster_test,
    effect_size,
    false_discovery_rate,
    holm,
    leave_one_out,
    normality,
    paired_test,
    regression,
    signed_rank_test,
    summary,
    unpaired_test,
)
from bidsapp.study.tables.cohort import (
    LESION,
    ParameterPair,
    TimepointPair,
    followed,
    measured,
    patients,
    timepoint_pairs,
)

RESPONDERS = ("CR", "PR")
OTHERS = ("SD", "PD")


def summary_table(
    lesions: pd.DataFrame, labels: Mapping[str, str], units: Mapping[str, str]
) -> pd.DataFrame:
    """Mean, SD and range of every parameter at every time point."""
    rows = []
    for column in (*followed(lesions), "volume_ml"):
        values = measured(lesions, column, labels)
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


def paired_table(lesions: pd.DataFrame, labels: Mapping[str, str], seed: int) -> pd.DataFrame:
    """Paired tests of every parameter between every two time points, later minus earlier."""
    table = pd.DataFrame([_paired_row(pair, seed) for pair in timepoint_pairs(lesions, labels)])
    return corrected(table)


def corrected(table: pd.DataFrame) -> pd.DataFrame:
    """Put p values that are corrected for all rows of a table behind the column ``p``."""
    place = list(table).index("p") + 1
    columns = [*list(table)[:place], "p_holm", "p_fdr", *list(table)[place:]]
    table = table.assign(p_holm=holm(table["p"]), p_fdr=false_discovery_rate(table["p"]))
    return table[columns]


def _paired_row(pair: TimepointPair, seed: int) -> dict[str, Any]:
    """All that is said of one parameter between two time points."""
    test = paired_test(pair.b, pair.a)
    lost = f"{test.n_missing} of {len(pair.a)} lesions lack a value at one of the two"
    return {
        **pair.names,
        "n": test.n,
        "mean_a": test.b.mean,
        "sd_a": test.b.sd,
        "mean_b": test.a.mean,
        "sd_b": test.a.sd,
        "mean_difference": test.estimate,
        "ci_low": test.low,
        "ci_high": test.high,
        "t": test.statistic,
        "df": test.df,
        "p": test.pvalue,
        **_beside_the_test(pair, seed),
        "note": test.note or (lost if test.n_missing else ""),
    }


def _beside_the_test(pair: TimepointPair, seed: int) -> dict[str, Any]:
    """Effect size, ranks, normality, patients as clusters, and patients left out."""
    effect, ranks = effect_size(pair.b, pair.a), signed_rank_test(pair.b, pair.a)
    clusters = cluster_test(pair.change, patients(pair.a), seed=seed)
    without = leave_one_out(pair.change, patients(pair.a))
    tested = np.isfinite(without.pvalue)
    worst = int(np.argmax(np.where(tested, without.pvalue, -1))) if tested.any() else None
    return {
        "cohens_dz": effect.cohens_dz,
        "dz_low": effect.low,
        "dz_high": effect.high,
        "hedges_gz": effect.hedges_gz,
        "wilcoxon_w": ranks.statistic,
        "p_wilcoxon": ranks.pvalue,
        "p_normality": normality(pair.change),
        "n_participants": clusters.n_patients,
        "p_signflip": clusters.pvalue,
        "bootstrap_low": clusters.low,
        "bootstrap_high": clusters.high,
        "p_without_min": np.nan if worst is None else without.pvalue[tested].min(),
        "p_without_max": np.nan if worst is None else without.pvalue[worst],
        "without_max": "" if worst is None else str(without.patients[worst]),
    }


def influence_table(lesions: pd.DataFrame, labels: Mapping[str, str]) -> pd.DataFrame:
    """Every paired test without each participant in turn."""
    frames = []
    for pair in timepoint_pairs(lesions, labels):
        found = leave_one_out(pair.change, patients(pair.a))
        columns = {
            "without": found.patients,
            "mean_difference": found.estimate,
            "t": found.statistic,
            "p": found.pvalue,
        }
        frames.append(pd.DataFrame(columns).assign(**pair.names))
    table = pd.concat(frames, ignore_index=True)
    return table[
        ["parameter", "timepoint_a", "timepoint_b", "without", "mean_difference", "t", "p"]
    ]


def correlation_table(
    lesions: pd.DataFrame, labels: Mapping[str, str], pair: ParameterPair
) -> pd.DataFrame:
    """Regression of one parameter on another at every time point."""
    x, y = (measured(lesions, name, labels) for name in pair)
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


def changes_by_response(
    lesions: pd.DataFrame,
    labels: Mapping[str, str],
    response: pd.DataFrame,
    parameter: str,
    after: str,
) -> tuple[pd.Series, pd.Series]:
    """Change in percent from the first time point, of responders (CR, PR) and of the others."""
    category = response.set_index(LESION)["response"]
    values = measured(lesions, parameter, labels).reindex(category.index)
    change = relative_change(values[next(iter(labels))], values[after])
    series = pd.Series(change, index=category.index)
    return series[category.isin(RESPONDERS)], series[category.isin(OTHERS)]


def responders_table(
    lesions: pd.DataFrame,
    labels: Mapping[str, str],
    response: pd.DataFrame,
    pair: ParameterPair,
) -> pd.DataFrame:
    """Early change in percent of two parameters, responders compared with the others."""
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


def excluded_table(lesions: pd.DataFrame) -> pd.DataFrame:
    """Lesions marked as excluded, with the sessions whose ROI table says so."""
    marked = lesions[lesions["excluded"].astype(bool)]
    rows = [
        {"participant_id": participant, "lesion": lesion, "sessions": " ".join(group["session_id"])}
        for (participant, lesion), group in marked.groupby(LESION)
    ]
    return pd.DataFrame(rows, columns=[*LESION, "sessions"])


def missing_table(
    lesions: pd.DataFrame, sessions: pd.DataFrame, labels: Mapping[str, str]
) -> pd.DataFrame:
    """What each lesion lacks at each time point, and why."""
    rows = list(_missing(lesions, sessions, labels))
    table = pd.DataFrame(rows, columns=[*LESION, "timepoint", "parameters", "reason"])
    return table.sort_values(LESION, kind="stable", ignore_index=True)


def _missing(
    lesions: pd.DataFrame, sessions: pd.DataFrame, labels: Mapping[str, str]
) -> Iterator[list[object]]:
    placed = set(zip(sessions["participant_id"], sessions["timepoint"], strict=True))
    labelled = set(zip(sessions["participant_id"], sessions["session_id"], strict=True))
    parameters = followed(lesions)
    lacking = {name: measured(lesions, name, labels).isna() for name in parameters}
    for timepoint, label in labels.items():
        table = pd.DataFrame({name: lacking[name][timepoint] for name in parameters})
        for here, row in zip(table.index, table.to_numpy(), strict=True):
            names = " ".join(np.array(parameters)[row])
            if not names:
                continue
            reason = f"no {label}" if label.startswith("ses-") else f"no session of day {label}"
            if (here[0], timepoint) in placed:
                reason = "no value"
            elif (here[0], label) in labelled:
                reason = f"{label} is in conflict: see the problems"
            yield [*here, timepoint, names, reason]
