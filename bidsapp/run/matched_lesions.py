"""Lesions numbered anew by their place, for --match-lesions."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import nibabel as nib
import numpy as np

from bidsapp.bids.derivatives import to_tsv, write_bytes
from bidsapp.bids.records import Lesion, Participant, Rois, Session
from bidsapp.bids.roi_tables import read_labels
from bidsapp.bids.rois import save_labels
from bidsapp.errors import MetperfError
from bidsapp.issues import MISNUMBERED, Issue
from bidsapp.lesions.identity import VisitPlaces, follow_lesions, next_number
from bidsapp.lesions.places import LesionPlace, label_places
from bidsapp.run.followed_lesions import Renumbered, crossed_parts
from bidsapp.run.longitudinal import Aligned, Alignment


@dataclass(frozen=True)
class MatchedLesions:
    """A participant whose lesions are numbered by place, what became which, and the issues."""

    participant: Participant
    renumbered: Mapping[str, Renumbered]
    issues: tuple[Issue, ...]


@dataclass(frozen=True)
class _Drawn:
    """The lesions of a visit in the space of the baseline, by kind of ROI."""

    session: Session
    places: Mapping[str, Mapping[int, LesionPlace]]
    tolerance: float

    @property
    def visit(self) -> VisitPlaces:
        """Each lesion once: its whole where that was drawn."""
        enhancing, whole = (self.places.get(kind, {}) for kind in ("enhancing", "whole"))
        crossed = crossed_parts(enhancing, whole)
        alone = {n: place for n, place in enhancing.items() if n not in crossed}
        return VisitPlaces(self.session.label, alone | dict(whole), self.tolerance)


def match_lesions_of(
    participant: Participant, alignment: Alignment | None, folder: Path
) -> MatchedLesions:
    """Number the lesions of a participant by their place, as at the first visit with ROIs.

    Parameters
    ----------
    participant : Participant
        With its ROIs as label images.
    alignment : Alignment or None
        Transforms of the T1w; None without any T1w.
    folder : pathlib.Path
        Where label images with new numbers are written.

    Returns
    -------
    MatchedLesions
        A lesion whose identity cannot be decided has a number of its own, and is an issue. ROIs of
        a visit whose T1w cannot be registered are not used.
    """
    sessions, issues, drawn = [], [], []
    for session in participant.sessions:
        found = _read(session, alignment) if session.enhancing or session.whole else None
        if isinstance(found, str):
            text = f"its ROIs are not used: --match-lesions cannot number its lesions, {found}"
            issues.append(Issue("failed", text, MISNUMBERED, participant.id, session.id))
            session = replace(session, enhancing=(), whole=())
        elif found:
            drawn.append(found)
        sessions.append(session)
    renumbered, doubts = _numbers(drawn)
    issues += [replace(issue, participant=participant.id) for issue in doubts]
    by_label = {one.session.label: one for one in drawn}
    sessions = [
        _renumber(s, by_label[s.label], renumbered[s.label], folder) if s.label in by_label else s
        for s in sessions
    ]
    return MatchedLesions(replace(participant, sessions=tuple(sessions)), renumbered, tuple(issues))


def _read(session: Session, alignment: Alignment | None) -> _Drawn | str:
    """Return the lesions of a session, or why they cannot be compared."""
    if alignment is None or session.t1w is None or not _on_t1w(session):
        return "which are not drawn on a T1w"
    try:
        aligned = alignment.of(session)
    except MetperfError as error:
        return f"because its T1w cannot be registered to the baseline: {error}"
    places = {kind: _places(rois, aligned) for kind, rois in _on_t1w(session).items()}
    return _Drawn(session, places, aligned.tolerance)


def _on_t1w(session: Session) -> dict[str, Rois]:
    found = {"enhancing": session.rois("enhancing", "T1w"), "whole": session.rois("whole", "T1w")}
    return {kind: rois for kind, rois in found.items() if rois}


def _places(rois: Rois, aligned: Aligned) -> dict[int, LesionPlace]:
    places = label_places(read_labels(rois.image), nib.load(rois.image).affine)
    return {number: place.moved(aligned.matrix) for number, place in places.items()}


def _numbers(drawn: list[_Drawn]) -> tuple[dict[str, Renumbered], list[Issue]]:
    """Return old numbers by new ones of each visit, and what could not be decided."""
    visits = {one.session.label: one.visit for one in drawn}
    followed = follow_lesions(list(visits.values()))
    taken = {n for one in drawn for places in one.places.values() for n in places}
    taken |= {one.place_of for one in followed if one.place_of is not None}
    original: dict[str, dict[int, int]] = {label: {} for label in visits}
    undecided: dict[str, set[int]] = {label: set() for label in visits}
    issues = []
    for one in followed:
        if one.lesion not in visits[one.visit].places:
            continue
        number = one.place_of
        if number is None:
            number = next_number(taken)
            taken.add(number)
            undecided[one.visit].add(number)
            text = (
                f"lesion {one.lesion} {one.note}: --match-lesions does not decide, and it is "
                f"lesion {number} now; if you know which one it is, correct its number in the ROI "
                "image"
            )
            issues.append(
                Issue("failed", text, MISNUMBERED, "", f"ses-{one.visit}", lesion=str(number))
            )
        original[one.visit][number] = one.lesion
    return {
        label: Renumbered(original[label], frozenset(undecided[label])) for label in visits
    }, issues


def _renumber(session: Session, drawn: _Drawn, anew: Renumbered, folder: Path) -> Session:
    """Return a session whose ROI images and tables have the new numbers."""
    new = {old: number for number, old in anew.original.items()}
    places = [drawn.places.get(kind, {}) for kind in ("enhancing", "whole")]
    crossed = crossed_parts(*places)
    # An enhancing part that lies in a whole lesion of another number is that lesion's.
    of_enhancing = {n: new[crossed.get(n, n)] for n in places[0] if crossed.get(n, n) in new}

    def written(rois: Rois, kind: str) -> Rois:
        numbers = new | of_enhancing if kind == "enhancing" else new
        return _write(rois, numbers, folder / f"{_stem(session)}_space-{rois.space}_seg-{kind}")

    return replace(
        session,
        enhancing=tuple(written(rois, "enhancing") for rois in session.enhancing),
        whole=tuple(written(rois, "whole") for rois in session.whole),
    )


def _stem(session: Session) -> str:
    return f"sub-{session.participant}_{session.id}"


def _write(rois: Rois, numbers: Mapping[int, int], stem: Path) -> Rois:
    """Return ROIs with other numbers, written if any of them differs."""
    labels = read_labels(rois.image)
    present = set(np.unique(labels[labels > 0]).tolist())
    if all(numbers.get(n, n) == n for n in present):
        return rois
    changed = np.zeros_like(labels)
    for number in present:
        changed[labels == number] = numbers.get(number, number)
    image = stem.with_name(f"{stem.name}_dseg.nii.gz")
    save_labels(changed, nib.load(rois.image).affine, image)
    lesions = tuple(sorted(_lesions(rois, numbers, present), key=lambda lesion: lesion.index))
    table = stem.with_name(f"{stem.name}_dseg.tsv")
    rows = [{"index": x.index, "name": x.name, "excluded": x.excluded} for x in lesions]
    write_bytes(table, to_tsv(["index", "name", "excluded"], rows))
    return replace(rois, image=image, lesions=lesions, table=table, drawn_in=rois.sources)


def _lesions(rois: Rois, numbers: Mapping[int, int], present: set[int]) -> list[Lesion]:
    """Return the lesions under their new numbers; those without voxels only if theirs is free."""
    found = [
        replace(lesion, index=new, name=f"lesion {new}" if is_plain else lesion.name)
        for lesion in rois.lesions
        if lesion.index in present
        for new in [numbers.get(lesion.index, lesion.index)]
        for is_plain in [lesion.name == f"lesion {lesion.index}"]
    ]
    used = {lesion.index for lesion in found}
    return found + [x for x in rois.lesions if x.index not in present | used]
