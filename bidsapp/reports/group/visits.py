"""The section of the response over all sessions: RANO-BM, volumes, and time to progression."""

import pandas as pd

from bidsapp.lesions.response import RESPONSES
from bidsapp.reports.group.view import GroupView, count_of, table_files
from bidsapp.reports.group.wording import between_days
from bidsapp.reports.page.blocks import Block, Table, Words
from bidsapp.reports.page.numbers import format_number

_CATEGORIES = (*RESPONSES, "NE")
_LONG = 30
"""Rows from which a table is folded."""


def show_visits(view: GroupView) -> list[Block]:
    """Show the response over all sessions: figures, best responses and progressions."""
    statistics = view.statistics
    if (statistics.lesion_response["volume_response"] == "n/a").all() and statistics.rano.empty:
        return []
    pictures = [p for name in ("waterfall", "spider", "swimmer") for p in view.pictures(name)]
    patients = statistics.progression[statistics.progression["criterion"] == "RANO-BM"]
    lesions = statistics.progression[statistics.progression["criterion"] == "volume"]
    tables = [_best_responses(patients, lesions)]
    if len(patients):
        tables.append(_every_patient(view, patients))
    return [_words(statistics.rano, patients, lesions), *pictures, *tables]


def _words(rano: pd.DataFrame, patients: pd.DataFrame, lesions: pd.DataFrame) -> Words:
    """Describe progressions, and what the categories rest on."""
    sentences = []
    if len(patients):
        sentences.append(f"RANO-BM: {_progressions(patients, 'patient')}.")
    else:
        sentences.append(
            "RANO-BM needs diameters, which these tables do not have: run the participant level "
            "with this version, or give the column diameter_mm."
        )
    sentences.append(f"Volume: {_progressions(lesions, 'lesion')}.")
    assessed = rano[rano["response"].isin(_CATEGORIES)]
    only = int((assessed["radiographic_only"] == 1).sum())
    caveat = (
        "A progression on images may be a reaction to radiation: RANO-BM leaves it to a later scan "
        "or to other evidence. "
    )
    if only:
        caveat += (
            f"{only} of {count_of(len(assessed), 'assessment')} {'is' if only == 1 else 'are'} "
            "radiographic only: "
            "corticosteroids or clinical status are not known. "
        )
    return Words(sentences, caveat.strip())


def _progressions(ends: pd.DataFrame, what: str) -> str:
    """Describe how many progressed, and when."""
    known = ends[ends["progressed"].notna()]
    progressed = known[known["progressed"] == 1]
    words = f"{len(progressed)} of {count_of(len(known), what)} progressed"
    words += between_days(progressed["days"].tolist())
    without = len(ends) - len(known)
    return words + (f"; {without} could not be assessed" if without else "")


def _best_responses(patients: pd.DataFrame, lesions: pd.DataFrame) -> Table:
    """Return the number of patients and lesions by their best response."""
    columns = {
        "Patients": patients["best_response"],
        "Patients, confirmed": patients["best_confirmed"],
        "Lesions, by volume": lesions["best_response"].replace("n/a", "NE"),
    }
    counts = {name: found.value_counts() for name, found in columns.items()}
    return Table(
        "Best response up to the first progression",
        ["Response", *columns],
        [[name, *(str(c.get(name, 0)) for c in counts.values())] for name in _CATEGORIES],
        files=table_files("rano") + table_files("lesion_response"),
    )


def _every_patient(view: GroupView, patients: pd.DataFrame) -> Table:
    """Return the best response of each patient, and its progression or last assessment."""
    rows = []
    for row in patients.to_dict("records"):
        when = {1.0: "progression", 0.0: "none so far"}.get(row["progressed"], "not evaluable")
        best = [str(row["best_response"]), str(row["best_confirmed"])]
        rows.append([row["participant_id"], *best, when, format_number(row["days"], 0)])
    return Table(
        "Every patient by RANO-BM: day of the progression, or of the last assessment",
        ["Participant", "Best response", "Confirmed", "Progression", "Day"],
        rows,
        text=frozenset({1, 2, 3}),
        files=table_files("progression"),
        summary="" if len(rows) <= _LONG else f"All {len(rows)} patients",
        hrefs={p: f"{p}.html" for p in patients["participant_id"] if p in view.pages},
    )
