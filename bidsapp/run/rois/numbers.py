"""The same number for the same lesion at all visits of a participant, by its place in the head."""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bidsapp.bids.records import Session
from bidsapp.conversion.contours.lesions import label_voxels
from bidsapp.conversion.contours.numbering import Numbered, centre, number_by_place
from bidsapp.errors import RegistrationError
from bidsapp.imaging.transforms import Matrix, apply, invert
from bidsapp.run.rois.files import image_bytes
from bidsapp.run.rois.placement import register_rigidly
from bidsapp.run.rois.visit import DrawnVisit

Centres = dict[int, NDArray[np.float64]]


@dataclass
class Places:
    """Where the lesions of a participant are, in the space of one T1w.

    Attributes
    ----------
    reference : Session
        The visit whose T1w has that space.
    known : dict of int to (3,) array, mm
        Place of each lesion that has a number.
    frame : str
        Frame of reference of the contours of that visit, if known.
    lesions : bytes
        Image of the lesions of that visit, which registrations exclude; empty if there is none.
    first_seen : dict of int to str
        The visit at which each lesion was first drawn.
    """

    reference: Session
    known: Centres = field(default_factory=dict)
    frame: str = ""
    lesions: bytes = b""
    first_seen: dict[int, str] = field(default_factory=dict)

    def add(self, found: Mapping[int, NDArray[np.float64]], session: Session) -> None:
        """Add the places of the lesions of a visit, the latest known place of each."""
        self.known |= found
        for number in found:
            self.first_seen.setdefault(number, session.label)


def number_lesions(
    visits: Sequence[DrawnVisit], kept: Mapping[str, Centres], sessions: Sequence[Session]
) -> dict[str, list[Numbered]]:
    """Return the numbers of the lesions of each visit, by its label; problems stay with the visits.

    Parameters
    ----------
    visits
        The visits with contours, in chronological order.
    kept
        Places of lesions in ROIs that exist and are kept, RAS mm of their own visit.
    sessions
        All visits of the participant, in chronological order.
    """
    drawn = {visit.session.label: visit for visit in visits if visit.lesions}
    involved = [s for s in sessions if s.t1w and (s.label in drawn or s.label in kept)]
    if not drawn:
        return {}
    # ROIs that exist already come first: their numbers are fixed.
    order = sorted(involved, key=lambda session: session.label not in kept)
    places = Places(order[0])
    numbers: dict[str, list[Numbered]] = {}
    for session in order:
        visit = drawn.get(session.label)
        try:
            back = _to_reference(session, visit, places)
        except RegistrationError as error:
            if visit:
                visit.problems.append(
                    f"lesions cannot be numbered like those of the other visits: {error}"
                )
            continue
        if session.label in kept:
            own = {n: apply(back, place) for n, place in kept[session.label].items()}
            places.add(own, session)
        if visit:
            numbers[session.label] = _number_visit(visit, back, places)
    return numbers


def _number_visit(visit: DrawnVisit, back: Matrix, places: Places) -> list[Numbered]:
    """Return the numbers of the lesions of a visit, and add their places."""
    affine = visit.t1w.affine
    centres = [apply(back, centre(lesion.extent, affine)) for lesion in visit.lesions]
    found = number_by_place(centres, places.known)
    for lesion, numbered in zip(visit.lesions, found, strict=True):
        if numbered.ambiguous:
            visit.warnings.append(
                f"{lesion.name!r} became lesion {numbered.number}, {numbered.distance:.1f} mm from "
                "its earlier place; another lesion is nearly as near: check the number"
            )
    if not places.known and visit.session.label == places.reference.label:
        places.frame, places.lesions = visit.frame, _label_image(visit)
    places.add({n.number: c for n, c in zip(found, centres, strict=True)}, visit.session)
    return found


def _label_image(visit: DrawnVisit) -> bytes:
    """Return an image of all lesions of a visit."""
    labels, _ = label_voxels([lesion.extent for lesion in visit.lesions], visit.t1w.shape)
    return image_bytes(labels, visit.t1w)


def _to_reference(session: Session, visit: DrawnVisit | None, places: Places) -> Matrix:
    """Return the matrix from points of the T1w of a visit to those of the reference, RAS mm."""
    reference = places.reference
    if session.label == reference.label or not places.known:
        return np.eye(4)
    assert session.t1w is not None
    assert reference.t1w is not None
    name = f"ses-{reference.label}"
    if visit and visit.frame and visit.frame == places.frame:
        visit.notes.append(f"numbered like {name}: contours of both have one frame of reference")
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
