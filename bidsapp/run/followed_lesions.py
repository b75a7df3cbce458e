"""Lesions followed over the visits of a finished run: the table of their numbers, and issues."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from bidsapp.bids import documents, outputs
from bidsapp.bids.derivatives import to_json, to_tsv, write_bytes
from bidsapp.bids.records import Participant, Session
from bidsapp.bids.roi_tables import read_labels
from bidsapp.bids.tables import read_table
from bidsapp.config import Config
from bidsapp.imaging.transforms import Matrix, read_itk
from bidsapp.issues import MISNUMBERED, Issue, IssueLevel
from bidsapp.lesions.identity import EVENTS, Event, Followed, VisitPlaces, follow_lesions
from bidsapp.lesions.matching import TOLERANCE, match_lesions
from bidsapp.lesions.places import APART, LesionPlace, label_parts, label_places

COLUMNS: Mapping[str, str] = {
    "session_id": "Session",
    "lesion": "Number of the lesion at this session; if it is absent, at the others",
    "event": "; ".join(f"{name}: {text}" for name, text in EVENTS.items()),
    "place_of": "Number that the lesion at this place has at the other sessions, or the next free "
    "number; n/a if it cannot be decided",
    "comparable": "1 if values and absence are those of the lesion with this number; if 0, the "
    "group level leaves them out",
    "distance_mm": "Distance of the centres, from the session it is compared with",
    "overlap": "Share of the smaller one that lies within the larger one, 0 to 1; the mean of that "
    "without and with an allowance for the error of the registration",
    "reference": "Session it is compared with",
    "parts": f"Number of its parts that are more than {APART:g} mm apart",
    "original": "Number in the ROI image of the user, with --match-lesions",
    "note": "What was found",
}
"""The columns of ``sub-*_lesions.tsv``."""
_LEVELS: Mapping[Event, IssueLevel] = {
    "new": "note",
    "gone": "note",
    "merged": "warning",
    "split": "warning",
    "uncertain": "warning",
    "misnumbered": "failed",
    "moved": "failed",
}
_REMEDY = (
    "correct its number in the ROI image, or number all visits anew with --match-lesions; the "
    "group level leaves its values out"
)


@dataclass(frozen=True)
class Renumbered:
    """What --match-lesions has done with the numbers of a session.

    `original`: number in the user's image of each lesion, by its new number; `undecided`: new
    numbers of lesions whose identity could not be decided.
    """

    original: Mapping[int, int] = field(default_factory=dict)
    undecided: frozenset[int] = frozenset()


@dataclass(frozen=True)
class _Visit:
    """The lesions of a session in the space of the baseline, and what is wrong within it."""

    session: Session
    visit: VisitPlaces
    parts: Mapping[int, int]
    crossed: Mapping[int, int]


def follow_participant(
    participant: Participant, config: Config, renumbered: Mapping[str, Renumbered]
) -> tuple[Issue, ...]:
    """Write ``sub-<label>_lesions.tsv`` from the results of a run, and return its issues.

    Parameters
    ----------
    participant : Participant
        Whose graph has run.
    config : Config
        Configuration of the run.
    renumbered : mapping of str to Renumbered
        By the label of the session, if its lesions were numbered anew.

    Raises
    ------
    NotWritable
        If the table cannot be written.
    """
    baseline = participant.baseline(config.baseline_session)
    visits = []
    issues: list[Issue] = []
    for session in participant.sessions:
        images = _roi_images(session, config.output_dir)
        if not images or _source_of_rois(session):
            continue
        matrix = _to_baseline(session, baseline, config.output_dir)
        if matrix is None:
            text = "its lesions are not compared with those of other visits: there is no transform"
            issues.append(Issue("note", f"{text} of its T1w to the baseline", session=session.id))
        else:
            visits.append(_read_visit(session, images, matrix, config.output_dir))
    found = list(_rows(visits, renumbered))
    carried = [row for session in participant.sessions for row in _carried_rows(session)]
    earlier = _other_runs(participant, config)
    _write(participant, config, [*earlier, *(row for _, _, row in found), *carried])
    issues += [i for one, row, _ in found for i in _issues(one, row)]
    issues += _uncompared(visits, earlier)
    return tuple(replace(issue, participant=participant.id) for issue in issues)


def _source_of_rois(session: Session) -> str:
    """Return the session from which ROIs were carried to one, or an empty text."""
    return next((rois.propagated_from for rois in session.enhancing if rois.propagated_from), "")


def _carried_rows(session: Session) -> Iterator[dict[str, Any]]:
    """Yield the rows of lesions that were not drawn at a session."""
    if source := _source_of_rois(session):
        for lesion in session.enhancing[0].lesions:
            yield {
                "session_id": session.id,
                "lesion": lesion.index,
                "event": "propagated",
                "comparable": True,
                "reference": source,
                "note": f"not drawn: carried from {source}",
            }


def _roi_images(session: Session, output_dir: Path) -> dict[str, Path]:
    """Return the ROI images of a session on its T1w, as a run has copied them."""
    paths = {
        kind: output_dir / outputs.ROIS.path(session, "anat", ce=outputs.CONTRAST, seg=kind)
        for kind in ("enhancing", "whole")
    }
    return {kind: path for kind, path in paths.items() if path.is_file()}


def _to_baseline(session: Session, baseline: Session | None, output_dir: Path) -> Matrix | None:
    """Return the matrix from points of the T1w to points of that of the baseline, or None."""
    if baseline is None or session.t1w is None:
        return None
    if session.label == baseline.label:
        return np.eye(4)
    # The file that resamples the baseline to the T1w maps points of the T1w to the baseline.
    path = output_dir / outputs.TO_BASELINE.path(session, from_="individual", to="T1w")
    return read_itk(path) if path.is_file() else None


def _tolerance(session: Session, output_dir: Path) -> float:
    """Return the error of the registration to the baseline that is allowed for, mm."""
    path = output_dir / outputs.TO_BASELINE_QUALITY.path(session)
    content = json.loads(path.read_bytes()) if path.is_file() else {}
    return max(TOLERANCE, 2 * float(content.get("expected_error_mm") or 0.0))


def _read_visit(
    session: Session, images: Mapping[str, Path], matrix: Matrix, output_dir: Path
) -> _Visit:
    """Return the lesions of a session."""
    places: dict[str, dict[int, LesionPlace]] = {}
    parts: dict[int, int] = {}
    for kind, path in images.items():
        labels, affine = read_labels(path), nib.load(path).affine
        places[kind] = {n: p.moved(matrix) for n, p in label_places(labels, affine).items()}
        for number, count in label_parts(labels, affine).items():
            parts[number] = max(parts.get(number, 0), count)
    enhancing, whole = places.get("enhancing", {}), places.get("whole", {})
    visit = VisitPlaces(session.id, enhancing | whole, _tolerance(session, output_dir))
    return _Visit(session, visit, parts, crossed_parts(enhancing, whole))


def crossed_parts(
    enhancing: Mapping[int, LesionPlace], whole: Mapping[int, LesionPlace]
) -> dict[int, int]:
    """Return the enhancing parts that lie in a whole lesion of another number, with that number.

    Examples
    --------
    >>> from bidsapp.lesions.places import lesion_place
    >>> a, b = (lesion_place(np.ones((3, 3, 3)), np.eye(4), (x, 0, 0)) for x in (0, 9))
    >>> crossed_parts({1: a, 2: b}, {1: b, 2: a})
    {1: 2, 2: 1}
    """
    matches = match_lesions(enhancing, {number: [place] for number, place in whole.items()})
    return {
        number: match.number
        for number, match in matches.items()
        if match.number not in (None, number) and not match.near and not match.rivals
        if match.number is not None
    }


def _rows(
    visits: Sequence[_Visit], renumbered: Mapping[str, Renumbered]
) -> Iterator[tuple[_Visit, Followed, dict[str, Any]]]:
    """Yield each lesion of each visit, with its row of the table."""
    by_id = {one.session.id: one for one in visits}
    for found in follow_lesions([one.visit for one in visits]):
        one = by_id[found.visit]
        anew = renumbered.get(one.session.label, Renumbered())
        if found.lesion in one.crossed:
            other = one.crossed[found.lesion]
            text = f"its enhancing part lies where the whole lesion {other} of the same visit is"
            found = replace(found, event="misnumbered", place_of=other, comparable=False, note=text)
        if found.lesion in anew.undecided:
            text = found.note or "could not be identified by --match-lesions"
            found = replace(found, event="uncertain", place_of=None, comparable=False, note=text)
        row = {
            "session_id": found.visit,
            "lesion": found.lesion,
            "event": found.event,
            "place_of": found.place_of,
            "comparable": found.comparable,
            "distance_mm": found.distance,
            "overlap": found.overlap,
            "reference": found.reference or None,
            "parts": one.parts.get(found.lesion, 0),
            "original": anew.original.get(found.lesion),
            "note": found.note or None,
        }
        yield one, found, row


def _issues(one: _Visit, found: Followed) -> Iterator[Issue]:
    """Yield what is to be said of a lesion at a visit."""
    lesion, where = str(found.lesion), {"session": one.session.id, "lesion": str(found.lesion)}
    if (count := one.parts.get(found.lesion, 0)) > 1:
        text = (
            f"lesion {lesion} consists of {count} parts more than {APART:g} mm apart: are they "
            "lesions of their own?"
        )
        yield Issue("warning", text, "ScatteredLesion", **where)
    level = _LEVELS.get(found.event)
    # A lesion that is absent because another number was given to it is reported there.
    if level is None or (found.lesion not in one.visit.places and found.event != "gone"):
        return
    reference = f" (compared with {found.reference})" if found.reference else ""
    if level == "failed":
        text = f"lesion {lesion} {found.note}{reference}: {_REMEDY}"
        yield Issue(level, text, MISNUMBERED, **where)
        return
    said = f"lesion {lesion} {found.note}" if found.note else f"lesion {lesion} is {found.event}"
    left_out = "" if found.comparable else "; the group level leaves its values out"
    advice = ": check its number" if level == "warning" else ""
    yield Issue(level, f"{said}{reference}{advice}{left_out}", "LesionEvent", **where)


def _other_runs(participant: Participant, config: Config) -> list[Mapping[str, Any]]:
    """Return the rows of sessions of the data set that are not part of this run."""
    path = documents.LESIONS.path(config.output_dir, participant=participant.id)
    names = {session.id for session in participant.sessions}
    raw = config.bids_dir / participant.id
    return [
        row
        for row in (read_table(path) if path.is_file() else [])
        if row["session_id"] not in names and (raw / row["session_id"]).is_dir()
    ]


def _uncompared(visits: Sequence[_Visit], earlier: Sequence[Mapping[str, Any]]) -> Iterator[Issue]:
    """Yield a warning if lesions of other runs could not be compared with those of this one."""
    if visits and earlier:
        others = ", ".join(dict.fromkeys(row["session_id"] for row in earlier))
        text = (
            f"its lesions are not compared with those of {others}, of another run: whether their "
            "numbers agree is not known; run all sessions together"
        )
        yield Issue("warning", text, "LesionEvent", session=visits[0].session.id)


def _write(participant: Participant, config: Config, table: Sequence[Mapping[str, Any]]) -> None:
    """Write the table and its dictionary, or remove them if there is no row."""
    path = documents.LESIONS.path(config.output_dir, participant=participant.id)
    if not table:
        for extension in (".tsv", ".json"):
            path.with_suffix(extension).unlink(missing_ok=True)
        return
    write_bytes(path, to_tsv(list(COLUMNS), table))
    dictionary: dict[str, Any] = {n: {"Description": text} for n, text in COLUMNS.items()}
    dictionary["distance_mm"]["Units"] = "mm"
    write_bytes(path.with_suffix(".json"), to_json(dictionary))
