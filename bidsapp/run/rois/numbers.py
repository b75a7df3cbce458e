"""The same number for the same lesion at all visits of a participant, by its place in the head."""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from bidsapp.bids.records import Session
from bidsapp.conversion.contours.lesions import label_voxels
from bidsapp.errors import RegistrationError
from bidsapp.imaging.transforms import Matrix, invert
from bidsapp.lesions.identity import join_numbers
from bidsapp.lesions.matching import Match, match_lesions
from bidsapp.lesions.places import LesionPlace, lesion_place
from bidsapp.run.nodes.rigid import register_rigidly
from bidsapp.run.rois.files import image_bytes
from bidsapp.run.rois.visit import DrawnVisit

LesionPlaces = dict[int, LesionPlace]


@dataclass(frozen=True)
class Numbered:
    """The number of a lesion, and its distance from the lesion that has it already, mm."""

    number: int
    distance: float = float("nan")


@dataclass
class Places:
    """Where the lesions of a participant are, in the space of one T1w.

    Attributes
    ----------
    reference : Session
        The visit whose T1w has that space.
    known : dict of int to list of LesionPlace
        Places of each lesion that has a number, at the visits at which it was seen.
    frame : str
        Frame of reference of that T1w, if its sidecar states it.
    lesions : bytes
        Image of the lesions of that visit, which registrations exclude; empty if there is none.
    """

    reference: Session
    known: dict[int, list[LesionPlace]] = field(default_factory=dict)
    frame: str = ""
    lesions: bytes = b""

    def add(self, places: LesionPlaces) -> None:
        """Add the places of lesions at a further visit."""
        for number, place in places.items():
            self.known.setdefault(number, []).append(place)


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
        places.add(own.get(session.label, {}))
    # Numbers of a visit whose T1w could not be registered are not given to other lesions.
    taken = max((number for found in existing.values() for number in found), default=0)
    numbers = {}
    for session in order:
        if (label := session.label) in drawn and label in back:
            # Those of the ROIs that are replaced come first: they are at the same visit.
            known = places.known | {n: [place] for n, place in own.get(label, {}).items()}
            numbers[label] = _number_visit(drawn[label], back[label], known, taken, places)
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
    visit: DrawnVisit,
    back: Matrix,
    known: Mapping[int, list[LesionPlace]],
    taken: int,
    places: Places,
) -> list[Numbered]:
    """Return the numbers of the lesions of a visit, and add their places to the known ones."""
    affine = visit.t1w.affine
    there = [
        lesion_place(part.values, affine, [s.start for s in part.box]).moved(back)
        for part in (lesion.extent for lesion in visit.lesions)
    ]
    # The first and the last place of each lesion; those between lie between.
    ends = {n: list(dict.fromkeys([seen[0], seen[-1]])) for n, seen in known.items()}
    matches = match_lesions(dict(enumerate(there)), ends, numbered=False)
    new = max([taken, *known])
    found = []
    for i, lesion in enumerate(visit.lesions):
        match = matches[i]
        if match.number is None:
            new += 1
        found.append(Numbered(new if match.number is None else match.number, match.distance))
        if doubts := _doubts(match):
            visit.warnings.append(
                f"{lesion.name!r} became lesion {found[-1].number}{_whence(match)}; "
                f"{', and '.join(doubts)}: check the number"
            )
    places.add({n.number: place for n, place in zip(found, there, strict=True)})
    return found


def _doubts(match: Match) -> list[str]:
    """Return what is doubtful about the number of a lesion."""
    doubts = ["another lesion is nearly as near"] if match.rivals else []
    doubts += ["it does not overlap with it"] if match.near else []
    if match.absorbed:
        doubts.append(f"it covers the place of lesion {join_numbers(match.absorbed)}, too")
    if match.part_of is not None:
        doubts.append(f"it lies where lesion {match.part_of} was, which has another part")
    return doubts


def _whence(match: Match) -> str:
    """Return how far a lesion is from its earlier place, if it had one."""
    return "" if match.number is None else f", {match.distance:.1f} mm from its earlier place"


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
