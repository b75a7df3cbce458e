"""The group level: from tables of lesions to the tables, figures and page of the study."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd

from bidsapp.bids import documents
from bidsapp.errors import NothingSelected
from bidsapp.lesions import COLUMNS as ROISTATS
from bidsapp.lesions.unmixed_values import UNMIXED_COLUMNS
from bidsapp.reports.index.page import write_index
from bidsapp.run.group_files import write_result, write_table
from bidsapp.run.page_links import relink_pages
from bidsapp.run.quality_table import COLUMNS as QUALITY
from bidsapp.study.read import (
    load_study_table,
    match_rows,
    read_dose_values,
    read_lesion_doses,
    read_output,
    read_participants,
    read_quality,
    read_ratings,
    read_traits,
    region_values,
)
from bidsapp.study.read.status import read_statuses, run_identifiers
from bidsapp.study.tables import (
    PAIR,
    SEED,
    Cohort,
    GroupResult,
    LesionValues,
    ParameterPair,
    Statistics,
    TrendOptions,
    analyse,
    session_labels,
    window,
)
from bidsapp.study.tables.dose import DOSE_TABLE, DOSE_VALUES, dose_changes
from bidsapp.study.tables.ratings import RATINGS_TABLE, apply_ratings, rated_out
from bidsapp.study.tables.reference import (
    implausible_values,
    reference_tables,
)

__all__ = [
    "Cohort",
    "GroupResult",
    "Statistics",
    "load_study_table",
    "run_group",
    "run_stats",
    "write_result",
]


def run_group(
    output_dir: Path,
    timepoints: Mapping[str, str] | None = None,
    *,
    participants: Path | None = None,
    traits: Path | None = None,
    repeats: tuple[str, str] | None = None,
    seed: int = SEED,
    pair: ParameterPair = PAIR,
    lesion_values: LesionValues = "mean",
    trend: TrendOptions = TrendOptions(),  # noqa: B008 - frozen
    ratings: Sequence[Path] = (),
) -> GroupResult:
    """Write the group tables, figures and page from the tables of the participant level.

    Parameters
    ----------
    output_dir : pathlib.Path
        Output folder of the participant level; ``group_*.tsv``, their JSON data dictionaries,
        ``figures/group_*`` and ``group.html`` are written there.
    timepoints : mapping of str to str, or None
        Name -> session label or days, in chronological order, such as
        ``{"baseline": "01", "1month": "20:45"}``; None for the sessions baseline, 1week and
        1month. Other sessions are used as follow-ups only.
    participants, traits : pathlib.Path or None
        Tables of participants and of lesion traits, for the table of characteristics.
    repeats : (str, str) or None
        Labels of two sessions between which no change is expected (test and retest).
    seed : int
        Of the permutation test and the bootstrap.
    pair : ParameterPair
        The two parameters that are compared with each other.
    lesion_values : "mean" or "unmixed"
        Whether lesions are compared by the mean over their voxels, or by the values of their own
        courses, without the tissue around them.
    trend : TrendOptions
        What the model over all visits holds.
    ratings : sequence of pathlib.Path
        Ratings that were saved from the pages of the participants, or folders with such files.

    Returns
    -------
    result : GroupResult
        ``result.problems`` names every table that could not be used; if there is any, the result is
        incomplete.

    Raises
    ------
    BadInput
        If the table of participants or of traits, or a rating, cannot be used.
    NothingToAnalyse
        If no lesion table can be used.
    NothingSelected
        If no participant has a session that ``timepoints`` or ``repeats`` names.
    UsageError
        If there are fewer than two different time points, the pair is not two parameters of the
        tables, or the covariate cannot be used.
    NotWritable
        If the folder cannot be written.
    """
    rated = read_ratings(ratings)
    found = read_output(output_dir, lesion_values)
    cohort = _add_traits(found.cohort, participants, traits)
    if ratings:
        cohort = apply_ratings(cohort, rated, run_identifiers(read_statuses(output_dir)))
    quality, unread = read_quality(output_dir, QUALITY)
    doses, unread_doses = read_lesion_doses(output_dir)
    by_dose, unread_values = read_dose_values(output_dir)
    cohort = replace(cohort, doses=doses)
    problems = (*found.problems, *unread, *unread_doses, *unread_values)
    result = _analyse_cohort(cohort, timepoints, repeats, seed, pair, trend, problems, found.notes)
    statistics = result.statistics
    by_dose = by_dose[~rated_out(by_dose, cohort.ratings)]
    changes = dose_changes(by_dose, statistics.lesions, list(statistics.timepoints))
    result = replace(result, quality=quality, lesion_values=lesion_values, dose=changes)
    result = _add_reference(result, reference_tables(region_values(found.rows), cohort.sessions))
    rows = pd.DataFrame(found.rows).reindex(columns=list(ROISTATS))
    carried = any(row.get("roi_from", "n/a") != "n/a" for row in found.rows)
    columns = {n: text for n, text in ROISTATS.items() if carried or n != "roi_from"}
    write_table(output_dir, "roistats", rows[list(columns)], columns, {})
    if found.unmixed:
        unmixed = pd.DataFrame(found.unmixed).reindex(columns=list(UNMIXED_COLUMNS))
        write_table(output_dir, "unmixed", unmixed, UNMIXED_COLUMNS, {})
    if len(by_dose):
        write_table(output_dir, "dose", changes, DOSE_TABLE, {})
        write_table(output_dir, "dosevalues", by_dose, DOSE_VALUES, {})
    if len(quality):
        write_table(output_dir, "quality", quality, QUALITY, {})
    if ratings:
        write_table(output_dir, "ratings", cohort.ratings, RATINGS_TABLE, {})
    else:  # those of an earlier analysis are not applied any more
        for extension in (".tsv", ".json"):
            earlier = documents.GROUP_TABLE.path(output_dir, table="ratings")
            earlier.with_suffix(extension).unlink(missing_ok=True)
    write_result(output_dir, result)
    write_index(output_dir)
    relink_pages(output_dir)
    return result


def _add_reference(result: GroupResult, tables: Mapping[str, pd.DataFrame]) -> GroupResult:
    """Add the tables of the reference region, and a note of values that are not plausible."""
    notes = implausible_values(tables["reference"]) if tables else []
    return replace(result, reference=tables, notes=(*result.notes, *notes))


def run_stats(
    table: Path,
    output_dir: Path,
    timepoints: Mapping[str, str] | None = None,
    *,
    participants: Path | None = None,
    traits: Path | None = None,
    repeats: tuple[str, str] | None = None,
    seed: int = SEED,
    pair: ParameterPair = PAIR,
    trend: TrendOptions = TrendOptions(),  # noqa: B008 - frozen
) -> GroupResult:
    """Write the group tables, figures and page from a single table of lesions.

    Parameters
    ----------
    table : pathlib.Path
        See `load_study_table`.
    output_dir : pathlib.Path
        Folder for all output.
    timepoints, participants, traits, repeats, seed, pair, trend
        See `run_group`.

    Returns
    -------
    result : GroupResult

    Raises
    ------
    BadInput
        If a table cannot be used.
    NothingSelected
        If no participant has a session that ``timepoints`` or ``repeats`` names, or no session is
        at a time point.
    UsageError
        If there are fewer than two different time points, the pair is not two parameters of the
        tables, or the covariate cannot be used.
    NotWritable
        If the folder cannot be written.
    """
    cohort = _add_traits(load_study_table(table, trend.covariate), participants, traits)
    result = _analyse_cohort(cohort, timepoints, repeats, seed, pair, trend)
    statistics = result.statistics
    if statistics.lesions["timepoint"].isna().all() and not statistics.problems:
        wanted = ", ".join(statistics.timepoints.values())
        raise NothingSelected(
            f"No session is at a time point ({wanted}); {_there(cohort)}. Name them with "
            "--timepoints, for example --timepoints before=LABEL after=LABEL."
        )
    result = replace(result, problems=(*result.problems, *_unplaced(statistics, cohort)))
    write_result(output_dir, result)
    return result


def _unplaced(statistics: Statistics, cohort: Cohort) -> tuple[str, ...]:
    """Return a problem if a time point has no session at all while sessions are at none."""
    labels = {name: label for name, label in statistics.timepoints.items() if not window(label)}
    sessions = set(cohort.sessions["session_id"])
    empty = [f"{label} (time point {name})" for name, label in labels.items()
             if label not in sessions]  # fmt: skip
    others = sorted(sessions - set(labels.values()))
    if not empty or not others:
        return ()
    return (
        f"No participant has {', '.join(empty)}, and {', '.join(others)[:200]} are at no time "
        "point: name your sessions with --timepoints.",
    )


def _add_traits(cohort: Cohort, participants: Path | None, traits: Path | None) -> Cohort:
    """Add the tables of participants and of lesion traits."""
    if participants:
        table, notes = match_rows(
            read_participants(participants), cohort.lesions, participants.name
        )
        cohort = replace(cohort, participants=table, notes=(*cohort.notes, *notes))
    if traits:
        table, notes = match_rows(read_traits(traits), cohort.lesions, traits.name)
        cohort = replace(cohort, traits=table, notes=(*cohort.notes, *notes))
    return cohort


def _analyse_cohort(
    cohort: Cohort,
    timepoints: Mapping[str, str] | None,
    repeats: tuple[str, str] | None,
    seed: int,
    pair: ParameterPair,
    trend: TrendOptions,
    problems: tuple[str, ...] = (),
    notes: tuple[str, ...] = (),
) -> GroupResult:
    """Compute the statistics, and collect problems and notes."""
    sessions = set(cohort.sessions["session_id"])
    requested = [] if timepoints is None else list(session_labels(timepoints).values())
    if repeats:
        repeats = (
            f"ses-{repeats[0].removeprefix('ses-')}",
            f"ses-{repeats[1].removeprefix('ses-')}",
        )
        requested += repeats
    lacking = [label for label in requested if not _has_session(cohort, label)]
    if lacking:
        raise NothingSelected(f"No participant has {', '.join(lacking)}; {_there(cohort)}.")
    statistics = analyse(cohort, timepoints, repeats=repeats, seed=seed, pair=pair, trend=trend)
    return GroupResult(
        cohort,
        statistics,
        (*cohort.problems, *problems, *statistics.problems),
        (*cohort.notes, *notes, *statistics.notes, *_label_notes(sessions, statistics.timepoints)),
    )


def _has_session(cohort: Cohort, label: str) -> bool:
    """Return whether any session has a label, or lies in a window of days."""
    days = window(label)
    if days:
        return bool(cohort.sessions["days"].between(*days).any())
    return label in set(cohort.sessions["session_id"])


def _there(cohort: Cohort) -> str:
    """Describe the sessions of a cohort: labels, and the range of days."""
    days = cohort.sessions["days"].dropna()
    known = f"days {days.min():g} to {days.max():g}" if len(days) else "no days since treatment"
    names = sorted(set(cohort.sessions["session_id"]))
    more = ", ..." if len(names) > 20 else ""
    return f"there are {', '.join(names[:20])}{more} ({known})"


def _label_notes(sessions: set[str], labels: Mapping[str, str]) -> list[str]:
    """Return notes on time points that no participant has, and on similar session labels."""
    named = {name: label for name, label in labels.items() if not window(label)}
    notes = [
        f"No participant has {label} (time point {name}): name your sessions with --timepoints."
        for name, label in named.items()
        if label not in sessions
    ]
    spelled = {_normalise_label(label): label for label in named.values()}
    return notes + [
        f"{session} is not {spelled[_normalise_label(session)]}: it is not used as that time point."
        for session in sorted(sessions - set(named.values()))
        if _normalise_label(session) in spelled
    ]


def _normalise_label(label: str) -> str:
    """Return a session label in lower case, without separators and leading zeros."""
    plain = re.sub(r"[\s_-]", "", label.removeprefix("ses-").casefold())
    return plain.lstrip("0")
