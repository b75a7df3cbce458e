"""The group level: the participants' tables in, the study's tables and page out."""

from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from bidsapp.bids.derivatives import to_json, to_tsv, write_bytes
from bidsapp.cohort import (
    COLUMNS,
    PARAMETERS,
    Cohort,
    GroupResult,
    Statistics,
    analyse,
    session_labels,
)
from bidsapp.errors import NothingSelected
from bidsapp.lesiontables import load_study_table, read_output
from bidsapp.reports.group import build_group_page
from bidsapp.rois import COLUMNS as ROISTATS

__all__ = ["Cohort", "GroupResult", "Statistics", "load_study_table", "run_group", "write_result"]

_LESION = {
    "participant_id": "Participant",
    "lesion": "Number of the lesion, the same in every session",
}
_PAIR = {
    "parameter": "The parameter; its unit is in group_summary.tsv",
    "timepoint_a": "The earlier time point",
    "timepoint_b": "The later time point",
    "n": "Lesions with a value at both",
    "mean_a": "Mean at the earlier time point, over these lesions",
    "sd_a": "Standard deviation (n - 1) at the earlier time point",
    "mean_b": "Mean at the later time point",
    "sd_b": "Standard deviation (n - 1) at the later time point",
    "mean_difference": "Mean change, later minus earlier",
    "ci_low": "Lower end of the 95 % interval of the mean change",
    "ci_high": "Upper end of the 95 % interval of the mean change",
    "t": "Student's t of the mean change (paired)",
    "df": "Degrees of freedom",
    "p": "Two-sided p value, not corrected for the number of tests",
    "note": "Why there is no test, or how many lesions it is made without",
}
_RESPONSE = {
    **_LESION,
    "followup_days": "Days from treatment to the follow-up",
    "volume_change_percent": "Change of the whole-lesion volume from baseline, percent",
    "response": "CR: gone; PR: smaller by 58.5 % or more; PD: larger by 71.5 % or more; SD: else",
    "followup_session": "Last session after the time points that has a whole-lesion ROI",
    "note": "Why there is no response category",
}
_RESPONDERS = {
    "parameter": "The parameter",
    "n_responders": "Lesions with CR or PR that have a value at both time points",
    "n_nonresponders": "Lesions with SD or PD that have a value at both time points",
    "change_responders": "Mean change from the first to the last time point, percent, responders",
    "change_nonresponders": "Mean change from the first to the last time point, percent, others",
    "t": "Student's t (unpaired, pooled variance), responders minus others",
    "df": "Degrees of freedom",
    "p": "Two-sided p value",
    "sd_responders": "Standard deviation of the change, responders",
    "sd_nonresponders": "Standard deviation of the change, others",
    "ci_low": "Lower end of the 95 % interval of the difference, percentage points",
    "ci_high": "Upper end of the 95 % interval of the difference, percentage points",
    "note": "Why there is no test",
}
_CORRELATION = {
    "timepoint": "The time point",
    "x": "Parameter on the x axis",
    "y": "Parameter on the y axis",
    "n": "Lesions with both",
    "r": "Pearson's correlation",
    "p": "Two-sided p value",
    "slope": "Change of y per unit of x",
    "intercept": "y at x = 0",
    "r_low": "Lower end of the 95 % interval of r",
    "r_high": "Upper end of the 95 % interval of r",
    "note": "Why there is no line",
}
_SUMMARY = {
    "parameter": "The parameter",
    "timepoint": "The time point",
    "unit": "Unit of the values",
    "n": "Lesions with a value",
    "mean": "Mean of the lesions",
    "sd": "Standard deviation of the lesions (n - 1)",
    "median": "Median of the lesions",
    "minimum": "Smallest",
    "maximum": "Largest",
    "ci_low": "Lower end of the 95 % interval of the mean",
    "ci_high": "Upper end of the 95 % interval of the mean",
}
_EXCLUDED = {**_LESION, "sessions": "Sessions whose ROI table marks the lesion as excluded"}
_MISSING = {
    **_LESION,
    "timepoint": "Time point without a value",
    "parameters": "Parameters that lack",
    "reason": "Why: the participant has no such session, or the session gave no value",
}


def run_group(output_dir: Path, timepoints: Mapping[str, str] | None = None) -> GroupResult:
    """Make the group tables and page from the tables of the participant level.

    Parameters
    ----------
    output_dir : pathlib.Path
        Output folder of the participant level; ``group_*.tsv``, their JSON data dictionaries and
        ``group.html`` are written there.
    timepoints : mapping of str to str, or None
        Name -> session label, in time order, such as ``{"baseline": "01", "1month": "03"}``; None
        for the sessions baseline, 1week and 1month. Other sessions serve as follow-ups only.

    Returns
    -------
    result : GroupResult
        ``result.problems`` names every table that could not be used: the result is incomplete then.

    Raises
    ------
    NothingToAnalyse
        If no lesion table can be used.
    NothingSelected
        If no participant has a session that ``timepoints`` names.
    UsageError
        If the time points are not two or more different sessions.
    NotWritable
        If the folder cannot be written.
    """
    labels = session_labels(timepoints)
    found = read_output(output_dir)
    sessions = set(found.cohort.sessions["session_id"])
    lacking = [label for label in labels.values() if label not in sessions]
    if lacking and timepoints is not None:
        there = ", ".join(sorted(sessions))
        raise NothingSelected(f"No participant has {', '.join(lacking)}; there are {there}.")
    notes = (*found.notes, *_label_notes(sessions, labels))
    statistics = analyse(found.cohort, timepoints)
    result = GroupResult(found.cohort, statistics, found.problems, notes)
    _write_table(output_dir, "roistats", pd.DataFrame(found.rows)[list(ROISTATS)], ROISTATS, {})
    write_result(output_dir, result)
    return result


def write_result(output_dir: Path, result: GroupResult) -> None:
    """Write every table with its data dictionary, then the page.

    Parameters
    ----------
    output_dir : pathlib.Path
    result : GroupResult

    Raises
    ------
    NotWritable
        If the folder cannot be written.
    """
    statistics = result.statistics
    units = result.cohort.units
    _write_table(output_dir, "lesions", result.cohort.lesions, _lesion_columns(), units)
    for name, frame, columns in (
        ("summary", statistics.summary, _SUMMARY),
        ("paired", statistics.paired, _PAIR),
        ("response", statistics.response, _RESPONSE),
        ("responders", statistics.responders, _RESPONDERS),
        ("correlation", statistics.correlation, _CORRELATION),
        ("excluded", statistics.excluded, _EXCLUDED),
        ("missing", statistics.missing, _MISSING),
    ):
        _write_table(output_dir, name, frame, columns, {})
    write_bytes(output_dir / "group.html", build_group_page(result).encode())


def _lesion_columns() -> dict[str, str]:
    """Describe the columns of the wide table."""
    what = {name: f"Mean {name} in the enhancing ROI" for name in PARAMETERS}
    others = {
        "session_id": "Session",
        "days_from_srs": "Days from treatment to the session, negative before it",
        "volume_ml": "Volume of the whole-lesion ROI; 0 when the lesion is gone",
        "excluded": "1 if the ROI table of the session marks the lesion as excluded",
    }
    described = _LESION | what | others
    return {name: described[name] for name in COLUMNS}


def _write_table(
    output_dir: Path,
    name: str,
    frame: pd.DataFrame,
    columns: Mapping[str, str],
    units: Mapping[str, str],
) -> None:
    """Write a frame as TSV, and what its columns mean as JSON."""
    write_bytes(output_dir / f"group_{name}.tsv", to_tsv(list(columns), _rows(frame)))
    dictionary = {
        column: {"Description": text} | ({"Units": units[column]} if column in units else {})
        for column, text in columns.items()
    }
    write_bytes(output_dir / f"group_{name}.json", to_json(dictionary))


def _rows(frame: pd.DataFrame) -> list[dict[str, object]]:
    """Rows of a frame; an empty text is missing."""
    names = [str(name) for name in frame]
    return [
        {name: None if cell == "" else cell for name, cell in zip(names, row, strict=True)}
        for row in frame.itertuples(index=False, name=None)
    ]


def _label_notes(sessions: set[str], labels: Mapping[str, str]) -> list[str]:
    """Say which time points no one has, and which labels are nearly one of them."""
    notes = [
        f"No participant has {label} (time point {name}): name your sessions with --timepoints."
        for name, label in labels.items()
        if label not in sessions
    ]
    spelled = {_plain(label): label for label in labels.values()}
    return notes + [
        f"{session} is not {spelled[_plain(session)]}: it is not used as that time point."
        for session in sorted(sessions - set(labels.values()))
        if _plain(session) in spelled
    ]


def _plain(label: str) -> str:
    """Spell a session label without case or leading zeros."""
    return label.removeprefix("ses-").casefold().lstrip("0")
