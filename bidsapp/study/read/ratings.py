"""Ratings of lesions by readers, as the pages of the participants save them."""

import json
import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd

from bidsapp.bids import documents
from bidsapp.bids.text_files import read_text
from bidsapp.errors import BadInput
from bidsapp.study.read.cells import bare_label
from bidsapp.study.tables.ratings import CHOICES, RATED

_LABEL = re.compile(r"[0-9A-Za-z]+")


def read_ratings(paths: Iterable[Path]) -> pd.DataFrame:
    """Read saved ratings.

    Parameters
    ----------
    paths : iterable of pathlib.Path
        Files, or folders that contain such files.

    Returns
    -------
    ratings : pandas.DataFrame
        With the columns `RATED`, the last rating of each lesion by each rater.

    Raises
    ------
    BadInput
        If a file cannot be used, or a folder has none; all of them at once, because a missing
        rating would let an excluded lesion into the analysis.
    """
    rows: list[dict[str, Any]] = []
    problems = []
    for path in paths:
        files = sorted(path.rglob(documents.RATINGS_NAME)) if path.is_dir() else [path]
        if not files:
            problems.append(f"{path}: contains no {documents.RATINGS_NAME}, as the pages save them")
        for file in files:
            try:
                rows += _read_file(file)
            except BadInput as error:
                problems.append(str(error))
    if problems:
        raise BadInput("\n".join(problems))
    table = pd.DataFrame(rows, columns=[*RATED]).sort_values("saved", kind="stable")
    last = table.drop_duplicates(["participant_id", "lesion", "rater"], keep="last")
    return last.sort_values(["participant_id", "lesion", "rater"], ignore_index=True)


def _read_file(path: Path) -> list[dict[str, Any]]:
    """Return the ratings in a file, one for each lesion."""
    try:
        content = json.loads(read_text(path))
    except ValueError as error:
        raise BadInput(f"{path}: is not valid JSON ({error}); save the ratings again") from error
    if not isinstance(content, dict) or not isinstance(content.get("ratings"), list):
        raise BadInput(f"{path}: has no list 'ratings'; save the ratings again from the page")
    label = bare_label(_text(path, content, "participant_id"), "sub-")
    if not _LABEL.fullmatch(label):
        raise BadInput(f"{path}: participant_id {label!r} is not a BIDS label")
    shared = {
        "participant_id": f"sub-{label}",
        "rater": _text(path, content, "rater"),
        "saved": _time(path, content),
        "run_id": _text(path, content, "run_id"),
    }
    return [shared | _rating(path, entry) for entry in content["ratings"]]


def _rating(path: Path, entry: object) -> dict[str, Any]:
    """Return lesion, rating and note of one entry."""
    if not isinstance(entry, dict) or entry.get("rating") not in CHOICES:
        raise BadInput(f"{path}: {str(entry)[:80]} has no rating {', '.join(CHOICES)}")
    lesion = entry.get("lesion")
    if isinstance(lesion, bool) or not isinstance(lesion, int) or lesion < 1:
        raise BadInput(f"{path}: lesion {lesion!r} is not a positive whole number")
    note = entry.get("note", "")
    if not isinstance(note, str):
        raise BadInput(f"{path}: the note of lesion {lesion} is not a text")
    return {"lesion": lesion, "rating": entry["rating"], "note": " ".join(note.split())}


def _text(path: Path, content: Mapping[str, Any], field: str) -> str:
    """Return a field that must be a text."""
    value = content.get(field)
    if not isinstance(value, str) or not value.strip():
        raise BadInput(f"{path}: {field!r} is missing; give it on the page and save again")
    return " ".join(value.split())


def _time(path: Path, content: Mapping[str, Any]) -> datetime:
    """Return when a file was saved."""
    try:
        saved = datetime.fromisoformat(_text(path, content, "saved"))
    except ValueError as error:
        raise BadInput(f"{path}: 'saved' is not a time as in 2026-01-31T12:00:00Z") from error
    if saved.tzinfo is None:
        raise BadInput(f"{path}: 'saved' has no time zone, as in 2026-01-31T12:00:00Z")
    return saved
