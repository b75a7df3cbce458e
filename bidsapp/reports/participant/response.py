"""The section of the response of a participant over all sessions, by RANO-BM."""

import pandas as pd

from bidsapp.bids import documents
from bidsapp.reports.page.blocks import Block, Table, Words
from bidsapp.reports.page.numbers import count_of, format_number
from bidsapp.reports.participant.records import ParticipantOutputs, read_frame
from bidsapp.study.tables import CLINICAL, LESION, SIZES
from bidsapp.study.tables.rano import RanoTables, rano_tables


def show_response(participant: ParticipantOutputs) -> list[Block]:
    """Show the sum of diameters of the targets and the category at each session."""
    found = response_tables(participant)
    if found is None or found.patients.empty:
        return []
    return [_words(found.lesions, found.patients), _table(participant, found.patients)]


def response_tables(participant: ParticipantOutputs) -> RanoTables | None:
    """Return the response of the patient and of each lesion; None without a second session.

    Parameters
    ----------
    participant : ParticipantOutputs

    Returns
    -------
    tables : RanoTables or None
        Of the lesions that are not excluded; the first session is the baseline.
    """
    lesions = _sizes(participant)
    if len(participant.sessions) < 2 or lesions.empty:
        return None
    first = participant.sessions[0]
    return rano_tables(lesions, _sessions(participant), {participant.label: first.label})


def _sizes(participant: ParticipantOutputs) -> pd.DataFrame:
    """Return volume and diameters of each whole lesion that is not excluded nor another one."""
    names = {"volume": "volume_ml", **SIZES}
    table = participant.statistics
    if table.empty:
        return table
    marked = pd.to_numeric(table["excluded"], errors="coerce").fillna(0) > 0
    excluded = set(table.loc[marked, "lesion"])
    whole = (table["roi"] == "whole") & table["parameter"].isin(names)
    table = table[whole & ~table["lesion"].isin(excluded)]
    wide = table.pivot_table(index=[*LESION, "session_id"], columns="parameter", values="mean")
    sizes = wide.rename(columns=names).reset_index()
    keys = zip(sizes["lesion"], sizes["session_id"], strict=True)
    return sizes[[key not in participant.not_comparable for key in keys]]


def _sessions(participant: ParticipantOutputs) -> pd.DataFrame:
    """Return day and rank of each session, and what is known besides the images."""
    rows = [(participant.label, s.label, s.days, i) for i, s in enumerate(participant.sessions)]
    table = pd.DataFrame(rows, columns=["participant_id", "session_id", "days", "position"])
    path = documents.SESSIONS.path(participant.output_dir, participant=participant.label)
    stated = read_frame(path) if path.exists() else pd.DataFrame({"session_id": []})
    return table.merge(stated.reindex(columns=["session_id", *CLINICAL]), how="left")


def _words(lesions: pd.DataFrame, patients: pd.DataFrame) -> Words:
    """Name the targets and the lesions that are none."""
    roles = lesions.drop_duplicates("lesion").set_index("lesion")["role"]
    numbers = [str(n) for n in roles.index[roles == "target"]]
    text = f"{count_of(len(numbers), 'target lesion')}"
    text += f": {', '.join(numbers)}" if numbers else ", as no lesion is measurable at baseline"
    only = (patients["radiographic_only"] == 1).any()
    caveat = "Radiographic only: corticosteroids or clinical status are not known." if only else ""
    return Words([f"{text}."], caveat)


def _table(participant: ParticipantOutputs, patients: pd.DataFrame) -> Table:
    """Return a row per session: sum of diameters, its changes, and the category."""
    names = {session.label: session.name for session in participant.sessions}
    rows = [
        [
            names[row["session_id"]],
            format_number(row["diameter_sum_mm"], 1),
            format_number(row["from_baseline_percent"], 0, sign=True),
            format_number(row["from_nadir_percent"], 0, sign=True),
            "–" if row["response"] == "n/a" else row["response"],
            {1.0: "yes", 0.0: "not yet"}.get(row["confirmed"], "–"),
            row["note"],
        ]
        for row in patients.to_dict("records")
    ]
    return Table(
        "Sum of the longest diameters of the target lesions, and response by RANO-BM",
        ["Session", ("Sum", "mm"), ("From baseline", "%"), ("From nadir", "%"), "Response",
         "Confirmed", "Note"],
        rows,
        text=frozenset({4, 5, 6}),
    )  # fmt: skip
