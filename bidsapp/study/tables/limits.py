"""The limit that applies to the change of one lesion: of repeat scans, a simulation, or literature.

Standard errors of the fits are no such limit: they contain neither repositioning nor physiology nor
the delineation of ROIs.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Literal, NamedTuple

import numpy as np
import pandas as pd

from bidsapp.study.statistics import SPAN

Origin = Literal["repeats", "simulation", "published"]
Verdict = Literal["exceeded", "within", ""]

LIMIT_FILE = "change_limits.tsv"


class Measure(NamedTuple):
    """A value of a lesion in a session; ``estimate`` is "mean" or "unmixed"."""

    participant_id: str
    lesion: int
    session_id: str
    parameter: str
    estimate: str


@dataclass(frozen=True)
class Limit:
    """The changes between which those of an unchanged lesion are expected.

    Attributes
    ----------
    origin : "repeats", "simulation" or "published"
    low, high : float
        In the unit of the values, or if ``relative`` in percent of the earlier value.
    relative : bool
    source : str
        Sessions, or reference.
    """

    origin: Origin
    low: float
    high: float
    relative: bool
    source: str

    def judge(self, before: float, after: float) -> Verdict:
        """Return whether a change exceeds the limit; nothing for a published one.

        Examples
        --------
        >>> Limit("repeats", -0.2, 0.2, False, "ses-a and ses-b").judge(1.0, 1.3)
        'exceeded'
        >>> Limit("published", -8, 8, True, "").judge(1.0, 1.3)
        ''
        """
        change = percent_change(before, after) if self.relative else after - before
        # Other scanners, patients and analyses: shown beside a change, but no verdict on it.
        if self.origin == "published" or not np.isfinite([change, self.low, self.high]).all():
            return ""
        return "within" if self.low <= change <= self.high else "exceeded"


@dataclass(frozen=True)
class LimitSources:
    """What is known of the changes of unchanged lesions in this study.

    Attributes
    ----------
    repeats : mapping of (str, str) to Limit
        By parameter and estimate.
    simulated : mapping of Measure to float
        Detectable change in the simulation of a session, in the unit of the values.
    """

    repeats: Mapping[tuple[str, str], Limit] = field(default_factory=dict)
    simulated: Mapping[Measure, float] = field(default_factory=dict)

    def applicable(self, baseline: Measure) -> Limit | None:
        """Return the limit for the change from a measurement: the first that there is.

        Repeat scans contain all that varies between two visits; a simulation of the session does
        not contain physiology; published limits are of other scanners and patients.

        Parameters
        ----------
        baseline : Measure
            The earlier of the two measurements.

        Returns
        -------
        limit : Limit or None

        Examples
        --------
        >>> baseline = Measure("sub-01", 1, "ses-baseline", "ADC", "mean")
        >>> LimitSources().applicable(baseline).source
        'Boss et al. 2024'
        >>> LimitSources(simulated={baseline: 1e-4}).applicable(baseline).origin
        'simulation'
        """
        repeated = self.repeats.get((baseline.parameter, baseline.estimate))
        if repeated:
            return repeated
        found = self.simulated.get(baseline, np.nan)
        if np.isfinite(found):
            return Limit("simulation", -found, found, False, f"simulation of {baseline.session_id}")
        return next(iter(published_limits(baseline.parameter)), None)


def percent_change(before: float, after: float) -> float:
    """Return a change in percent of the earlier value; NaN if that is not positive.

    Examples
    --------
    >>> percent_change(2.0, 1.5), percent_change(0.0, 1.0)
    (-25.0, nan)
    """
    return 100 * (after / before - 1) if before > 0 else np.nan


def repeat_limits(table: pd.DataFrame) -> dict[tuple[str, str], Limit]:
    """Return the limits in a table of repeatability, by parameter and estimate.

    Parameters
    ----------
    table : pandas.DataFrame
        As of `repeatability_table`; rows without a limit are left out.
    """
    known = table[table["limit_high"].notna()]
    return {
        (row["parameter"], row["estimate"]): Limit(
            "repeats",
            row["limit_low"],
            row["limit_high"],
            row["scale"] == "relative",
            f"{row['session_a']} and {row['session_b']}, n = {row['n']:.0f}",
        )
        for row in known.to_dict("records")
    }


@cache
def published_table() -> pd.DataFrame:
    r"""Return the table of published limits, with the change that follows from each in percent.

    Returns
    -------
    table : pandas.DataFrame
        ``percent`` is as published: a change or, by its ``kind``, a coefficient of variation of
        one value or what is taken as one. ``limit`` is the change that follows from it.

    Notes
    -----
    .. math:: 1.96 \sqrt 2 \, \mathrm{CV}
    """
    path = files("bidsapp.data") / LIMIT_FILE
    with path.open(encoding="utf-8") as stream:
        table = pd.read_csv(stream, sep="\t", keep_default_na=False)
    factor = table["kind"].map({"change": 1.0, "CV": SPAN, "variability": SPAN})
    return table.assign(limit=factor * table["percent"])


@cache
def published_limits(parameter: str) -> tuple[Limit, ...]:
    """Return the published limits of a parameter, the one that is shown beside changes first.

    Examples
    --------
    >>> [round(limit.high, 1) for limit in published_limits("ADC")], published_limits("vp")
    ([8.0, 7.4], ())
    """
    table = published_table()
    return tuple(
        Limit("published", -row["limit"], row["limit"], True, row["source"])
        for row in table[table["parameter"] == parameter].to_dict("records")
    )
