"""From a cohort of lesions to all tables of the group level."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields

import pandas as pd

from bidsapp.errors import BadInput, UsageError
from bidsapp.study.tables.agreement import agreement_table, correlation_table, limits_table
from bidsapp.study.tables.changes import lesion_changes
from bidsapp.study.tables.cohort import LESION, PAIR, Cohort, LesionValues, ParameterPair
from bidsapp.study.tables.limits import LimitSources, repeat_limits
from bidsapp.study.tables.missing import excluded_table, missing_table
from bidsapp.study.tables.mixed_model import mixed_table
from bidsapp.study.tables.paired_tests import influence_table, paired_table
from bidsapp.study.tables.planning import planning_table
from bidsapp.study.tables.rano import rano_tables
from bidsapp.study.tables.ratings import rated_out
from bidsapp.study.tables.repeatability import repeatability_table
from bidsapp.study.tables.responders import prediction_tables, responders_table
from bidsapp.study.tables.response import characteristics, response_table
from bidsapp.study.tables.summary import summary_table
from bidsapp.study.tables.timepoints import assign_timepoints
from bidsapp.study.tables.trends import GROUP, TrendOptions, trend_tables

SEED = 0
"""Default seed of the permutation test and the bootstrap."""
_DATA_AND_SETTINGS = (
    "timepoints", "lesions", "problems", "notes", "pair", "seed", "trend_options"
)  # fmt: skip
"""Fields of `Statistics` that are not tables."""

NO_OPTIONS = TrendOptions()
"""Default of the trend model: a level before treatment and a slope after it."""


@dataclass(frozen=True)
class Statistics:
    """The tables, one data frame each, and the data and settings behind them.

    Attributes
    ----------
    timepoints : mapping of str to str
        Time point -> session label, or days.
    lesions : pandas.DataFrame
        Those that were analysed, with their ``timepoint``, and their `GROUP` by the covariate.
    problems, notes : tuple of str
        Conflicts between sessions; how time points were assigned.
    pair : ParameterPair
        The two parameters that are compared with each other.
    seed : int
        Of the permutation test and the bootstrap.
    trend_options : TrendOptions
        What the trend model holds.
    """

    timepoints: Mapping[str, str]
    lesions: pd.DataFrame
    problems: tuple[str, ...]
    notes: tuple[str, ...]
    pair: ParameterPair
    seed: int
    trend_options: TrendOptions
    characteristics: pd.DataFrame
    summary: pd.DataFrame
    paired: pd.DataFrame
    mixed: pd.DataFrame
    trends: pd.DataFrame
    trend_curves: pd.DataFrame
    influence: pd.DataFrame
    response: pd.DataFrame
    rano: pd.DataFrame
    lesion_response: pd.DataFrame
    progression: pd.DataFrame
    responders: pd.DataFrame
    prediction: pd.DataFrame
    roc: pd.DataFrame
    correlation: pd.DataFrame
    agreement: pd.DataFrame
    limits: pd.DataFrame
    repeatability: pd.DataFrame
    changes: pd.DataFrame
    planning: pd.DataFrame
    excluded: pd.DataFrame
    missing: pd.DataFrame

    def tables(self) -> dict[str, pd.DataFrame]:
        """Return every table that is written, by name."""
        names = [f.name for f in fields(self) if f.name not in _DATA_AND_SETTINGS]
        return {name: getattr(self, name) for name in names}


@dataclass(frozen=True)
class GroupResult:
    """Result of the group level.

    Attributes
    ----------
    cohort : Cohort
    statistics : Statistics
    problems : tuple of str
        Tables and sessions that could not be used: the result is incomplete.
    notes : tuple of str
        Remarks for the reader that do not concern errors.
    quality : pandas.DataFrame
        Quality measures of every series of every participant; may be empty.
    lesion_values : "mean" or "unmixed"
        Which values of the lesions are analysed.
    dose : pandas.DataFrame
        See `bidsapp.study.tables.dose.dose_changes`; empty without any dose.
    reference : mapping of str to pandas.DataFrame
        The tables of the reference region, by the names of `REFERENCE_TABLES`; empty without one.
    """

    cohort: Cohort
    statistics: Statistics
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    quality: pd.DataFrame = field(default_factory=pd.DataFrame)
    lesion_values: LesionValues = "mean"
    dose: pd.DataFrame = field(default_factory=pd.DataFrame)
    reference: Mapping[str, pd.DataFrame] = field(default_factory=dict)


def analyse(
    cohort: Cohort,
    timepoints: Mapping[str, str] | None = None,
    *,
    repeats: tuple[str, str] | None = None,
    seed: int = SEED,
    pair: ParameterPair = PAIR,
    trend: TrendOptions = NO_OPTIONS,
) -> Statistics:
    """Compute every table.

    Parameters
    ----------
    cohort : Cohort
    timepoints : mapping of str to str, or None
        See `session_labels`; the first is the baseline, the last the early response.
    repeats : (str, str) or None
        Labels ``ses-...`` of two sessions between which no change is expected (test and retest).
    seed : int
        Of the permutation test and the bootstrap.
    pair : ParameterPair
        The two parameters that are compared with each other.
    trend : TrendOptions
        What the trend model holds.

    Returns
    -------
    statistics : Statistics
        Excluded lesions are only in the table ``excluded``.

    Raises
    ------
    UsageError
        If the time points cannot be compared, a parameter of the pair is missing, or the covariate
        cannot be used.
    BadInput
        If every lesion is excluded.

    Examples
    --------
    >>> from bidsapp.study.tables.cohort import lesion_columns
    >>> lesions = pd.DataFrame(
    ...     [["sub-01", 1, "ses-baseline", -5, 4.0, 0.1, 9.0, 1.1, 0.08, 2.0, False],
    ...      ["sub-01", 1, "ses-1month", 30, 2.0, 0.1, 9.0, 1.1, 0.10, 1.0, False]],
    ...     columns=lesion_columns(["vp", "Ktrans", "ve", "ADC", "f"]))
    >>> sessions = lesions.rename(columns={"days_from_srs": "days"}).assign(position=[0, 1])
    >>> statistics = analyse(Cohort(lesions, sessions, {}))
    >>> print(*statistics.paired[["parameter", "timepoint_b", "note"]].iloc[1])
    vp 1month only 1 complete pair, a test needs 3: no test
    """
    _check_pair(cohort, pair)
    assigned = assign_timepoints(cohort, timepoints, repeats)
    labels, sessions = assigned.timepoints, assigned.sessions
    # A lesion that is excluded in one session is excluded from all.
    marked = assigned.lesions.groupby(LESION)["excluded"].transform("any").astype(bool)
    kept = assigned.lesions[~(marked | rated_out(assigned.lesions, cohort.ratings))]
    if kept.empty:
        raise BadInput("Every lesion is marked as excluded: there is nothing to compare.")
    response = response_table(kept, sessions, labels)
    prediction, roc = prediction_tables(kept, labels, response)
    known = characteristics(cohort, response, sessions, next(iter(labels)))
    trends, curves, groups = trend_tables(cohort, kept, known, trend)
    repeatability = repeatability_table(cohort, kept, repeats)
    first = sessions[sessions["timepoint"] == next(iter(labels))]
    keys = zip(first["participant_id"], first["session_id"], strict=True)
    rano = rano_tables(kept, sessions, dict(keys))
    sources = LimitSources(repeat_limits(repeatability), cohort.detectable)
    return Statistics(
        timepoints=labels,
        lesions=kept.assign(**{GROUP: groups}),
        problems=assigned.problems,
        notes=assigned.notes,
        pair=pair,
        seed=seed,
        trend_options=trend,
        characteristics=known,
        summary=summary_table(kept, labels, cohort.units),
        paired=paired_table(kept, labels, seed),
        mixed=mixed_table(kept, labels),
        trends=trends,
        trend_curves=curves,
        influence=influence_table(kept, labels),
        response=response,
        rano=rano.patients,
        lesion_response=rano.lesions,
        progression=rano.progression,
        responders=responders_table(kept, labels, response, pair),
        prediction=prediction,
        roc=roc,
        correlation=correlation_table(kept, labels, pair),
        agreement=agreement_table(kept, labels, pair),
        limits=limits_table(kept, labels, pair),
        repeatability=repeatability,
        changes=lesion_changes(cohort, kept, labels, sources),
        planning=planning_table(kept, labels),
        excluded=excluded_table(cohort.lesions, cohort.ratings),
        missing=missing_table(kept, sessions, labels),
    )


def _check_pair(cohort: Cohort, pair: ParameterPair) -> None:
    """Raise if the two parameters are the same, or one that was requested is missing."""
    if pair.x == pair.y:
        raise UsageError(f"--regress {pair.y} {pair.x}: name two different parameters.")
    lacking = [name for name in pair if name not in cohort.parameters]
    if lacking and pair != PAIR:
        raise UsageError(
            f"--regress {pair.y} {pair.x}: {' and '.join(lacking)} is not in the lesion tables; "
            f"there are {', '.join(cohort.parameters)}."
        )
