"""Lesions followed over the visits of a participant: whether their numbers agree with their places.

The first visit, and the first at which a lesion is seen, decide its number. Each later visit is
compared with the places at that visit and at the last one before it, after registration.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from bidsapp.lesions.matching import TOLERANCE, Match, match_lesions
from bidsapp.lesions.places import LesionPlace

Event = Literal[
    "first",
    "same",
    "new",
    "gone",
    "merged",
    "split",
    "misnumbered",
    "moved",
    "uncertain",
    "propagated",
]
EVENTS: Mapping[Event, str] = {
    "first": "seen at the first visit with ROIs",
    "same": "at the place of the lesion of this number",
    "new": "where no lesion was before",
    "gone": "no longer there",
    "merged": "one region covers the places of several lesions",
    "split": "one of several regions at the place of one lesion",
    "misnumbered": "where a lesion of another number was",
    "moved": "far from the place of this number, where no lesion was",
    "uncertain": "which lesion it is cannot be decided by its place",
    "propagated": "not drawn at this visit: its ROI was carried from another one",
}
"""What can be found about a lesion at a visit."""


@dataclass(frozen=True)
class VisitPlaces:
    """The lesions of a visit, by number, in the space that all visits share.

    `tolerance`: error of the registration to it, mm.
    """

    label: str
    places: Mapping[int, LesionPlace]
    tolerance: float = TOLERANCE


@dataclass(frozen=True)
class Followed:
    """What is known of a lesion at a visit.

    Attributes
    ----------
    visit : str
    lesion : int
        Number at this visit; of a lesion that is absent, that of the other visits.
    event : Event
    place_of : int or None
        Number that lesions at its place have at the other visits, or a new one; None if unknown.
    comparable : bool
        Whether its values, or its absence, are those of the lesion with this number.
    distance : float, mm
        Of the centres, from the visit it is compared with.
    overlap : float
        See `Match`.
    reference : str
        The visit with which it is compared.
    note : str
        What was found, in words.
    """

    visit: str
    lesion: int
    event: Event
    place_of: int | None
    comparable: bool
    distance: float = float("nan")
    overlap: float = float("nan")
    reference: str = ""
    note: str = ""


@dataclass
class _Track:
    """A lesion over time: the visits at which it was seen, with its place there."""

    first: tuple[str, LesionPlace]
    last: tuple[str, LesionPlace]

    @property
    def places(self) -> list[LesionPlace]:
        return list(dict.fromkeys([self.first[1], self.last[1]]))


@dataclass
class _Tracks:
    """All lesions seen so far, by number, and the numbers that are not free for new ones."""

    known: dict[int, _Track] = field(default_factory=dict)
    taken: set[int] = field(default_factory=set)
    instead: dict[int, int] = field(default_factory=dict)
    """New number of a lesion that was given that of another one -> the number it was given."""

    def number(self, wanted: int) -> int:
        """Return a number for a new lesion: the one wanted, if no other lesion has it."""
        if wanted not in self.known:
            return wanted
        return next_number(self.taken)

    def see(self, number: int, visit: str, place: LesionPlace) -> None:
        """Record that a lesion was seen at a visit."""
        here = (visit, place)
        self.taken.add(number)
        self.known[number] = _Track(
            self.known[number].first if number in self.known else here, here
        )


def next_number(taken: set[int]) -> int:
    """Return the number after the largest one that is taken."""
    return max(taken, default=0) + 1


def follow_lesions(visits: Sequence[VisitPlaces]) -> list[Followed]:
    """Compare the places of lesions with their numbers, over the visits of a participant.

    Parameters
    ----------
    visits : sequence of VisitPlaces
        In chronological order.

    Returns
    -------
    list of Followed
        For each visit its lesions, and those of earlier visits that are absent.

    Notes
    -----
    At each visit, lesions are paired with the known ones by the largest sum of overlaps (see
    `match_lesions`). Where two assignments are nearly as good, neither is chosen: the event is
    "uncertain".

    Examples
    --------
    >>> import numpy as np
    >>> from bidsapp.lesions.places import lesion_place
    >>> cube = np.ones((5, 5, 5), bool)
    >>> a, b = (lesion_place(cube, np.eye(4), (x, 0, 0)) for x in (0, 30))
    >>> found = follow_lesions([VisitPlaces("1", {1: a, 2: b}), VisitPlaces("2", {1: b, 2: a})])
    >>> [(f.visit, f.lesion, f.event, f.place_of) for f in found[2:]]
    [('2', 1, 'misnumbered', 2), ('2', 2, 'misnumbered', 1)]
    """
    tracks = _Tracks(taken={number for visit in visits for number in visit.places})
    found: list[Followed] = []
    for visit in visits:
        if not tracks.known:
            for number, place in visit.places.items():
                tracks.see(number, visit.label, place)
                found.append(Followed(visit.label, number, "first", number, comparable=True))
        else:
            found += _follow_visit(visit, tracks)
    return found


def _follow_visit(visit: VisitPlaces, tracks: _Tracks) -> list[Followed]:
    """Return what is known of the lesions of a visit, and add their places to the tracks."""
    known = {number: track.places for number, track in tracks.known.items()}
    matches = match_lesions(visit.places, known, visit.tolerance)
    present = {n: _judge(visit, n, match, tracks) for n, match in matches.items()}
    parts = {match.part_of: number for number, match in matches.items() if match.part_of}
    for number, one in present.items():
        if one.event == "same" and number in parts:
            text = f"lesion {parts[number]} is a further part of it"
            present[number] = replace(one, event="split", note=text)
    absent = list(_absent(visit, matches, tracks))
    for number, one in present.items():
        if one.place_of is not None and one.event != "merged":
            tracks.see(one.place_of, visit.label, visit.places[number])
    return [*present.values(), *absent]


def _judge(visit: VisitPlaces, number: int, match: Match, tracks: _Tracks) -> Followed:
    """Return what is known of a lesion that is present."""

    def found(event: Event, place_of: int | None, note: str = "", *, fine: bool = True) -> Followed:
        track = tracks.known.get(match.number) if match.number is not None else None
        reference = _nearest_visit(visit.places[number], track) if track else ""
        overlap = match.overlap if match.number is not None else float("nan")
        return Followed(
            visit.label, number, event, place_of, fine, match.distance, overlap, reference, note
        )

    if match.number is None:
        return _judge_unpaired(visit, number, match, tracks)
    if match.rivals:
        others = join_numbers({match.number, *match.rivals})
        text = f"could be lesion {others} by its place"
        return found("uncertain", None, text, fine=False)
    where = f"{match.distance:.1f} mm from the place of lesion {match.number}"
    if match.near:
        if number == match.number:
            return found("uncertain", number, f"lies {where} and does not overlap with it")
        text = f"is near, {where}, without overlapping it: that lesion, or a new one"
        return found("uncertain", None, text, fine=number not in tracks.known)
    if number == tracks.instead.get(match.number):
        reference = _nearest_visit(visit.places[number], tracks.known[match.number])
        text = f"is the lesion that has this number at {reference}, too, but not before"
        return found("moved", match.number, text, fine=False)
    if number != match.number:
        text = f"lies where lesion {match.number} was"
        own = tracks.known.get(number)
        if own:
            away = min(place.gap(visit.places[number]) for place in own.places)
            text += f", {away:.0f} mm from where lesion {number} was"
        return found("misnumbered", match.number, text, fine=False)
    if match.absorbed:
        text = f"covers the place of lesion {join_numbers(match.absorbed)}, too"
        return found("merged", number, text, fine=False)
    return found("same", number)


def _judge_unpaired(visit: VisitPlaces, number: int, match: Match, tracks: _Tracks) -> Followed:
    """Return what is known of a lesion where no lesion was, or that is a further part of one."""
    fresh = tracks.number(number)
    if fresh != number:
        place = visit.places[number]
        away = min(other.gap(place) for other in tracks.known[number].places)
        where = f"{away:.0f} mm from where lesion {number} was"
        tracks.taken.add(fresh)
        tracks.instead[fresh] = number
        if match.part_of is not None:
            text = f"is a part of lesion {match.part_of}, {where}"
            event: Event = "misnumbered"
        else:
            event, text = "moved", f"lies {where}, where no lesion was"
        return Followed(visit.label, number, event, fresh, comparable=False, note=text)
    if match.part_of is not None:
        text = f"is a further part of lesion {match.part_of}"
        return Followed(visit.label, number, "split", number, comparable=True, note=text)
    return Followed(visit.label, number, "new", number, comparable=True)


def _absent(
    visit: VisitPlaces, matches: Mapping[int, Match], tracks: _Tracks
) -> Iterator[Followed]:
    """Yield what is known of each earlier lesion whose number no lesion of the visit has."""
    at = {match.number: number for number, match in matches.items() if match.number is not None}
    into = {one: number for number, match in matches.items() for one in match.absorbed}
    doubt = {rival: number for number, match in matches.items() for rival in match.rivals}
    for number, track in tracks.known.items():
        if number in visit.places:
            continue
        event: Event = "gone"
        text = ""
        if number in into:
            event, text = "merged", f"its place is covered by lesion {into[number]}"
        elif number in at and not (matches[at[number]].near or matches[at[number]].rivals):
            event, text = "misnumbered", f"is there as lesion {at[number]}"
        elif number in at or number in doubt:
            other = at.get(number, doubt.get(number))
            event, text = "uncertain", f"lesion {other} is near its place, and could be it"
        fine = event == "gone"
        yield Followed(visit.label, number, event, number, fine, reference=track.last[0], note=text)


def _nearest_visit(place: LesionPlace, track: _Track) -> str:
    """Return the visit of a track, the first or the last, whose place overlaps more."""
    first, last = (place.overlap(other) for _, other in (track.first, track.last))
    return track.first[0] if first >= last else track.last[0]


def join_numbers(numbers: Sequence[int] | set[int] | tuple[int, ...]) -> str:
    """Return numbers in words.

    >>> join_numbers({3, 1, 2})
    '1, 2 or 3'
    """
    *most, last = map(str, sorted(numbers))
    return f"{', '.join(most)} or {last}" if most else last
