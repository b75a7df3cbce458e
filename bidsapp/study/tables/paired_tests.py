"""Paired tests of every change over time, and their dependence on single participants."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from bidsapp.study.statistics import (
    cluster_test,
    effect_size,
    false_discovery_rate,
    holm,
    leave_one_out,
    normality,
    paired_test,
    signed_rank_test,
)
from bidsapp.study.tables.cohort import TimepointPair, patients, timepoint_pairs


def paired_table(lesions: pd.DataFrame, labels: Mapping[str, str], seed: int) -> pd.DataFrame:
    """Test every parameter between every two time points, later minus earlier."""
    table = pd.DataFrame([_paired_row(pair, seed) for pair in timepoint_pairs(lesions, labels)])
    return insert_adjusted_p(table)


def insert_adjusted_p(table: pd.DataFrame) -> pd.DataFrame:
    """Insert p values adjusted for multiple testing after the column ``p``."""
    place = list(table).index("p") + 1
    columns = [*list(table)[:place], "p_holm", "p_fdr", *list(table)[place:]]
    table = table.assign(p_holm=holm(table["p"]), p_fdr=false_discovery_rate(table["p"]))
    return table[columns]


def _paired_row(pair: TimepointPair, seed: int) -> dict[str, Any]:
    """Return the row of one parameter between two time points."""
    # Later minus earlier: the test's first group is the later time point, the table's is the
    # earlier one.
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
        **_robustness(pair, seed),
        "note": test.note or (lost if test.n_missing else ""),
    }


def _robustness(pair: TimepointPair, seed: int) -> dict[str, Any]:
    """Return effect size, rank test, normality, tests of whole patients, leave-one-out."""
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
    """Repeat every paired test without each participant in turn."""
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
