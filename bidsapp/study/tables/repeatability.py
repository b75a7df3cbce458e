"""Repeatability of lesion values, and the smallest change that can be detected."""

from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd

from bidsapp.study.statistics import (
    Repeatability,
    detectable_change,
    repeatability,
)
from bidsapp.study.tables.cohort import (
    Cohort,
    followed_parameters,
    values_by_timepoint,
)


def repeatability_table(
    cohort: Cohort,
    lesions: pd.DataFrame,
    labels: Mapping[str, str],
    repeats: tuple[str, str] | None,
) -> pd.DataFrame:
    """Compute the detectable change of one lesion, and count the lesions that exceed it."""
    first, last = next(iter(labels)), list(labels)[-1]
    rows = []
    for parameter in followed_parameters(lesions):
        values = values_by_timepoint(lesions, parameter, labels)
        # In either direction: a change is detectable by its size.
        change = (values[last] - values[first]).abs().dropna()
        for source, found in _noise(lesions, parameter, repeats):
            rows.append(
                {
                    "parameter": parameter,
                    "unit": cohort.units.get(parameter, "n/a"),
                    "source": source,
                    "n": found.n,
                    "bias": found.bias,
                    "within_sd": found.within_sd,
                    "detectable_change": found.detectable,
                    "ci_low": found.low,
                    "ci_high": found.high,
                    "timepoint_a": first,
                    "timepoint_b": last,
                    "n_lesions": change.size,
                    "n_changed": np.nan if found.note else int((change > found.detectable).sum()),
                    "note": found.note,
                }
            )
    return pd.DataFrame(rows)


def _noise(
    lesions: pd.DataFrame, parameter: str, repeats: tuple[str, str] | None
) -> Iterator[tuple[str, Repeatability]]:
    """Estimate the noise of a lesion value from repeated scans and from standard errors."""
    if repeats:
        index = ["participant_id", "lesion"]
        wide = lesions.pivot(index=index, columns="session_id", values=parameter)
        wide = wide.reindex(columns=list(repeats)).astype(np.float64)
        yield f"{repeats[0]} and {repeats[1]}", repeatability(wide[repeats[0]], wide[repeats[1]])
    errors = lesions.get(f"{parameter}_se", pd.Series(dtype=np.float64)).astype(np.float64)
    errors = errors[np.isfinite(errors)]
    if errors.empty:
        note = "no repeated scans were named and the tables have no standard errors"
        if not repeats:
            yield "none", Repeatability(n=0, note=note)
        return
    # Variances are averaged, not standard deviations.
    sd = float(np.sqrt(np.mean(errors**2)))
    yield (
        "fit",
        Repeatability(n=errors.size, within_sd=sd, detectable=detectable_change(sd)),
    )
