"""The same number for the same lesion at all visits of a participant, by its place in the head."""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from bidsapp.bids.records import Session
from bidsapp.conversion.contours.lesions import label_voxels
from bidsapp.conversion.contours.numbering import (
    LesionPlace,
    Numbered,
    lesion_place,
    number_by_place,
)
from bidsapp.errors import RegistrationError
from bidsapp.imaging.transforms import Matrix, invert
from bidsapp.run.rois.files import image_bytes
from bidsapp.run.rois.placement import register_rigidly
from bidsapp.run.rois.visit import DrawnVisit

LesionPlaces = dict[int, LesionPlace]


@dataclass
class Places:
    """Where the lesions of a participant are, in the space of one T1w.

    Attributes
    ----------
    reference : Session
        The visit whose T1w has that space.
    known : dict of int to LesionPlace
        Place of each lesion that has a number.
    frame : str
        Frame of reference of that T1w, if its sidecar states it.
    lesions : bytes
        Image of the lesions of that visit, which registrations exclude; empty if there is none.
    """

    reference: Session
    known: LesionPlaces = field(default_factory=dict)
    frame: str = ""
    lesions: bytes = b""


def number_lesions(
    visits: Sequence[DrawnVisit], existing: Mapping[str, LesionPlaces], sessions: Sequence[Session]
) -> dict[str, list[Numbered]]:
    """Return the numbers of the lesions of each visit, by its label; problems stay with the visits.

    Parameters
    ----------
    visits
        The visits with contours, in chronological order.
    existing
        Places of lesions in the ROIs that exist, RAS mm of their own visit. Their numbers are
        fixed, also those of ROIs that are replaced.
    sessions
        All visits of the participant, in chronological order.
    """
    drawn = {visit.session.label: visit for visit in visits if visit.lesions}
    involved = [s for s in sessions if s.t1w and (s.label in drawn or s.label in existing)]
    if not drawn:
        return {}
    order = sorted(involved, key=lambda session: session.label not in existing)
    places = Places(order[0])
    if first := drawn.get(order[0].label):
        places.frame, places.lesions = first.frame, _label_image(first)
    back = _to_references(order, drawn, places)
    own = {
        label: {number: place.moved(back[label]) for number, place in found.items()}
        for label, found in existing.items()
        if label in back
    }
    for session in order:
        places.known |= own.get(session.label, {})
    # Numbers of a visit whose T1w could not be registered are not given to other lesions.
    taken = max((number for found in existing.values() for number in found), default=0)
    numbers = {}
    for session in order:
        if (label := session.label) in drawn and label in back:
            known = places.known | own.get(label, {})
            numbers[label] = _number_visit(drawn[label], back[label], known, taken)
            places.known |= known
    return numbers


def _to_references(
    order: Sequence[Session], drawn: Mapping[str, DrawnVisit], places: Places
) -> dict[str, Matrix]:
    """Return the matrix of each visit to the reference; a failure is a problem of the visit."""
    found = {}
    for session in order:
        visit = drawn.get(session.label)
        try:
            found[session.label] = _to_reference(session, visit, places)
        except RegistrationError as error:
            if visit:
                visit.problems.append(
                    f"lesions cannot be numbered like those of the other visits: {error}"
                )
    return found


def _number_visit(
    visit: DrawnVisit, back: Matrix, known: LesionPlaces, taken: int
) -> list[Numbered]:
    """Return the numbers of the lesions of a visit, and add their places to the known ones."""
    affine = visit.t1w.affine
    there = [lesion_place(lesion.extent, affine).moved(back) for lesion in visit.lesions]
    found = number_by_place(
        [place.centre for place in there], {n: p.centre for n, p in known.items()}, taken=taken
    )
    voxel = float(np.linalg.norm(affine[:3, :3], axis=0).max())
    for lesion, numbered, place in zip(visit.lesions, found, there, strict=True):
        doubts = ["another lesion is nearly as near"] if numbered.ambiguous else []
        if numbered.number in known and not known[numbered.number].reaches(place, voxel):
            doubts.append("it does not overlap with it")
        if doubts:
            visit.warnings.append(
                f"{lesion.name!r} became lesion {numbered.number}, {numbered.distance:.1f} mm from "
                f"its earlier place; {', and '.join(doubts)}: check the number"
            )
    known |= {n.number: place for n, place in zip(found, there, strict=True)}
    return found


def _label_image(visit: DrawnVisit) -> bytes:
    """Return an image of all lesions of a visit."""
    labels, _ = label_voxels([lesion.extent for lesion in visit.lesions], visit.t1w.shape)
    return image_bytes(labels, visit.t1w)


def _to_reference(session: Session, visit: DrawnVisit | None, places: Places) -> Matrix:
    """Return the matrix from points of the T1w of a visit to those of the reference, RAS mm."""
    reference = places.reference
    if session.label == reference.label:
        return np.eye(4)
    assert session.t1w is not None
    assert reference.t1w is not None
    name = f"ses-{reference.label}"
    if visit and visit.frame and visit.frame == places.frame:
        visit.notes.append(f"numbered like {name}: both T1w state one frame of reference")
        return np.eye(4)
    with tempfile.TemporaryDirectory() as folder:
        moved = register_rigidly(
            session.t1w,
            reference.t1w,
            "lpp",
            (
                _stored(_label_image(visit) if visit else b"", Path(folder, "moving.nii.gz")),
                _stored(places.lesions, Path(folder, "fixed.nii.gz")),
            ),
        )
    if visit:
        visit.notes.append(f"numbered like {name}: T1w registered to it: {moved.basis}")
        visit.warnings += moved.warnings
    return invert(moved.matrix)


def _stored(image: bytes, path: Path) -> list[Path]:
    """Write an image to a path, and return the path in a list; an empty list without an image."""
    if not image:
        return []
    path.write_bytes(image)
    return [path]
