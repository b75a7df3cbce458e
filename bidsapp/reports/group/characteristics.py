"""The section of lesions and their response (the study's Table 1)."""

from collections.abc import Iterator
from typing import Any

import pandas as pd

from bidsapp.lesions.response import PARTIAL_RESPONSE, PROGRESSION, RESPONSES
from bidsapp.reports.group.view import GroupView, table_files
from bidsapp.reports.group.wording import followup_words, response_words
from bidsapp.reports.page.blocks import Block, Table, Words
from bidsapp.reports.page.numbers import format_number
from bidsapp.study.tables.dictionary import FURTHER_COLUMNS

_MEANING = {
    "CR": "complete response: no longer visible",
    "PR": f"partial response: volume decrease of {-PARTIAL_RESPONSE:g} % or more",
    "SD": "stable disease: otherwise",
    "PD": f"progressive disease: volume increase of {PROGRESSION:g} % or more",
    "n/a": "unknown: no volume at baseline or at a follow-up",
}
_HEADINGS = {
    "participant_id": "Participant",
    "lesion": "Lesion",
    "age": "Age",
    "sex": "Sex",
    "primary": "Primary tumour",
    "location": "Location",
    "dose_gy": "Dose (Gy)",
    "dose_cgy": "Dose (cGy)",
    "bed_lq_gy": "BED (Gy), linear-quadratic",
    "bed_mlq_gy": "BED (Gy), modified for high doses",
    "dose_mean_gy": "Mean dose (Gy)",
    "dose_min_gy": "Minimum dose (Gy)",
    "dose_d95_gy": "D95 (Gy)",
    "followup_days": "Follow-up (days)",
    "volume_change_percent": "Volume change (%)",
    "response": "Response",
}


def show_characteristics(view: GroupView) -> list[Block]:
    """Show the response categories, and the characteristics of every lesion."""
    response, table = view.statistics.response, view.statistics.characteristics
    early = view.timepoints
    sentences = [
        _response_words(response),
        f"Response is the change of the whole-lesion volume from {early[0]} to the last follow-up "
        f"after {early[-1]}. {_followup(response)}".strip(),
    ]
    shares = Table(
        "Response of the lesions",
        ["Response", "Meaning", "Lesions", "Volume change"],
        list(_responses(response)),
        text=frozenset({1}),
    )
    names = [str(column) for column in table]
    every = Table(
        "Every lesion",
        [_HEADINGS.get(name, name.replace("_", " ")) for name in names],
        [[_cell(name, row[name]) for name in names] for row in table.to_dict("records")],
        text=frozenset(i for i, name in enumerate(names) if _is_text(table[name])),
        files=table_files("characteristics") + table_files("response"),
        summary="" if len(table) <= 30 else f"All {len(table)} lesions",
        hrefs={p: f"{p}.html" for p in table["participant_id"].unique() if p in view.pages},
    )
    return [Words(sentences), shares, every]


def _is_text(column: pd.Series) -> bool:
    """Return whether a column contains anything other than numbers."""
    filled = column[column != ""]
    return bool(pd.to_numeric(filled, errors="coerce").isna().ne(filled.isna()).any())


def _cell(name: str, value: Any) -> str:
    """Format one cell of Table 1."""
    if name == "volume_change_percent":
        return format_number(value, 1, sign=True)
    if name in FURTHER_COLUMNS:
        return format_number(value, 1)
    if isinstance(value, float):
        return format_number(value, 0)
    return str(value) if value != "" else "–"


def _responses(response: pd.DataFrame) -> Iterator[list[str]]:
    """Yield a row per response category: number of lesions and change of volume."""
    for category in (*RESPONSES, "n/a"):
        changes = response.loc[response["response"] == category, "volume_change_percent"]
        mean, sd = changes.mean(), changes.std()
        text = (
            f"{format_number(mean, 1, sign=True)} % (SD {format_number(sd, 1)})"
            if changes.notna().any()
            else "–"
        )
        yield [category, _MEANING[category], str(len(changes)), text.replace(" (SD –)", "")]


def _response_words(response: pd.DataFrame) -> str:
    """Describe how many lesions responded, were stable or progressed."""
    counts = response["response"].value_counts()
    cr, pr, sd, pd_ = (int(counts.get(category, 0)) for category in RESPONSES)
    return response_words(len(response), cr, pr, sd, pd_)


def _followup(response: pd.DataFrame) -> str:
    """Describe the duration of follow-up over participants."""
    known = response[response["response"] != "n/a"]
    days = known.drop_duplicates("participant_id")["followup_days"].dropna()
    if days.empty:
        return ""
    return followup_words(days.tolist())
