"""Synthetic sequences of lesions over visits, with numbers that may be wrong, and the truth."""

from dataclasses import dataclass, field

import numpy as np
from scipy.spatial.transform import Rotation

from bidsapp.imaging.transforms import apply, invert
from bidsapp.lesions.identity import VisitPlaces, follow_lesions
from bidsapp.lesions.places import lesion_place

KINDS = (
    "sound", "exchanged", "cycled", "new", "gone", "merged", "split", "moved", "reused", "shifted",
)  # fmt: skip
GAPS = (0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 40.0)
"""Distances of the edges of the first two lesions, mm."""
FACTORS = (0.05, 0.05, 0.3, 0.7, 1.0, 1.5, 4.0)
"""Volumes relative to the first visit."""


@dataclass
class Blob:
    """A lesion: an uneven ball, which a plane may cut; `number` is the true one."""

    number: int
    centre: np.ndarray
    radius: float
    waves: np.ndarray
    cut: np.ndarray | None = None
    extra: "Blob | None" = None

    def value(self, points):
        """Return a function of points that is below 1 inside."""
        away = points - self.centre
        length = np.linalg.norm(away, axis=-1)
        direction = away / np.maximum(length, 1e-9)[..., None]
        uneven = 1 + 0.12 * np.sin(3 * direction @ self.waves.T).mean(axis=-1)
        inside = length / (self.radius * uneven)
        if self.cut is not None:
            inside = np.where(away @ self.cut < 1.2, 9.0, inside)
        return inside if self.extra is None else np.minimum(inside, self.extra.value(points))

    def box(self):
        """Return the lower and the upper corner."""
        found = [self.centre - 1.3 * self.radius, self.centre + 1.3 * self.radius]
        if self.extra is not None:
            other = self.extra.box()
            found = [np.minimum(found[0], other[0]), np.maximum(found[1], other[1])]
        return found


@dataclass
class Sequence:
    """Visits as the user numbered them, and the truth: (visit, number there) -> true number."""

    visits: list[VisitPlaces]
    truth: dict[tuple[str, int], int]
    absent: dict[tuple[str, int], str] = field(default_factory=dict)


def first_lesions(rng, gap):
    """Return two lesions with a given distance of their edges, and up to three others."""
    radii = rng.choice([1.5, 2.5, 4, 6, 9, 13], 2)
    direction = unit(rng)
    centres = [-direction * (radii[0] + gap / 2), direction * (radii[1] + gap / 2)]
    lesions = [ball(rng, 1, centres[0], radii[0]), ball(rng, 2, centres[1], radii[1])]
    for number in range(3, 3 + rng.integers(0, 4)):
        radius = rng.choice([1.5, 3, 5, 8])
        lesions.append(ball(rng, number, free_place(rng, lesions, radius, 3.0), radius))
    return lesions


def unit(rng):
    vector = rng.normal(size=3)
    return vector / np.linalg.norm(vector)


def ball(rng, number, centre, radius):
    return Blob(number, np.asarray(centre, float), float(radius), rng.normal(size=(4, 3)))


def free_place(rng, lesions, radius, gap):
    """Return a centre at least some distance from the edges of all lesions."""
    while True:
        centre = rng.uniform(-60, 60, 3)
        if all(
            np.linalg.norm(centre - x.centre) > 1.2 * x.radius + 1.2 * radius + gap for x in lesions
        ):
            return centre


def grown(rng, lesion, factor):
    """Return a lesion with another volume; one that has shrunk may lie off its centre."""
    radius = lesion.radius * factor ** (1 / 3)
    room = max(0.0, lesion.radius - radius)
    centre = lesion.centre + unit(rng) * room * rng.uniform(0, 0.5)
    return Blob(lesion.number, centre, max(radius, 0.9), lesion.waves)


def drawn(rng, blobs, label, numbers, error):
    """Return the visit as the user sees it: on its own grid and pose, in the common space.

    The transform to the common space has an error of up to `error` mm near the lesions.
    """
    pose = np.eye(4)
    pose[:3, :3] = Rotation.from_rotvec(rng.normal(0, 0.1, 3)).as_matrix()
    pose[:3, 3] = rng.uniform(-15, 15, 3)
    zooms = np.array([(1, 1, 1), (0.9, 0.9, 1.2), (1.2, 0.8, 1), (1, 1, 3)][rng.integers(4)])
    affine = pose @ np.diag([*zooms, 1.0])  # voxels to the space of this visit
    slip = np.eye(4)
    slip[:3, :3] = Rotation.from_rotvec(rng.normal(0, 0.002, 3)).as_matrix()
    slip[:3, 3] = unit(rng) * rng.uniform(0, error)
    to_common = slip @ invert(pose)  # the visit's space is the head moved by its pose
    voxel_to_head = np.diag([*zooms, 1.0])
    places = {}
    for blob in blobs:
        low, high = (np.round(corner / zooms).astype(int) for corner in blob.box())
        grid = np.stack(np.meshgrid(*map(np.arange, low, high + 1), indexing="ij"), axis=-1)
        points = apply(voxel_to_head, grid)
        own = blob.value(points)
        others = [x.value(points) for x in blobs if x is not blob]
        inside = (own < 1) & (own <= np.min(others, axis=0) if others else True)
        if inside.any():
            place = lesion_place(inside, affine, low)
            places[numbers.get(blob.number, blob.number)] = place.moved(to_common)
    return VisitPlaces(label, places)


def sequence(kind, seed, gap, error=1.5, visits=4):
    """Return a sequence in which something of a kind happens at the second or third visit."""
    rng = np.random.default_rng([seed, KINDS.index(kind), int(10 * gap)])
    base = first_lesions(rng, gap)
    if kind == "cycled" and len(base) < 3:
        base.append(ball(rng, 3, free_place(rng, base, 3, 3.0), 3.0))
    if kind == "split":
        base[0] = ball(rng, 1, base[0].centre - 8 * unit(rng), max(base[0].radius, 7.0))
        base[1:] = [x for x in base[1:] if np.linalg.norm(x.centre - base[0].centre)
                    > 1.3 * (x.radius + base[0].radius)]  # fmt: skip
    when = int(rng.integers(1, visits - 1))
    found = Sequence([], {})
    fresh = max(x.number for x in base) + 1
    newcomer = None
    for t in range(visits):
        blobs = [grown(rng, x, rng.choice(FACTORS)) if t else x for x in base]
        numbers: dict[int, int] = {}
        after = t >= when
        if kind == "exchanged" and t == when:
            numbers = {1: 2, 2: 1}
        elif kind == "cycled" and t == when:
            numbers = {1: 2, 2: 3, 3: 1}
        elif kind == "new" and after:
            if newcomer is None:
                # As near to a lesion as the gap, where there is room.
                near = base[int(rng.integers(len(base)))]
                radius = float(rng.choice([1.5, 3, 5]))
                for _ in range(500):
                    away = 1.15 * near.radius + radius + max(gap, 1.0)
                    centre = near.centre + away * unit(rng)
                    if all(np.linalg.norm(centre - x.centre) > 1.1 * (x.radius + radius) + 1.0
                           for x in base):  # fmt: skip
                        break
                newcomer = ball(rng, fresh, centre, radius)
            blobs.append(newcomer)
        elif kind == "gone" and after:
            blobs = [x for x in blobs if x.number != 1]
            found.absent[str(t), 1] = "gone"
        elif kind == "merged" and t == when:
            pair = [grown(rng, x, 1.5) for x in base[:2]]
            keep = int(rng.integers(2))
            pair[keep].extra = pair[1 - keep]
            # A bridge where they do not touch.
            middle = (pair[0].centre + pair[1].centre) / 2
            width = max(2.0, gap)
            pair[1 - keep].extra = ball(rng, 0, middle, width)
            blobs = [pair[keep], *blobs[2:]]
            found.absent[str(t), pair[1 - keep].number] = "merged"
        elif kind == "split" and after:
            direction = np.array([1.0, 0, 0])
            one, two = (Blob(n, base[0].centre, base[0].radius, base[0].waves, sign * direction)
                        for n, sign in ((1, 1), (fresh, -1)))  # fmt: skip
            blobs = [one, two, *blobs[1:]]
        elif kind == "moved" and after:
            # Another lesion far away is given the number of one that has gone.
            if newcomer is None:
                newcomer = ball(rng, fresh, free_place(rng, base, 4.0, 12.0), 4.0)
            blobs = [newcomer, *[x for x in blobs if x.number != 1]]
            numbers = {fresh: 1}
        elif kind == "reused" and t == when:
            # One has gone, and the number of its neighbour, which is gone for the user, is used.
            blobs = [x for x in blobs if x.number != 2]
            numbers = {1: 2}
            found.absent[str(t), 2] = "gone"
        elif kind == "shifted" and after:
            blobs[0].centre = blobs[0].centre + unit(rng) * 0.6 * base[0].radius
        label = str(t)
        visit = drawn(rng, blobs, label, numbers, error if t else 0.0)
        present = {numbers.get(x.number, x.number): x.number for x in blobs}
        found.truth |= {(label, n): present[n] for n in visit.places}
        found.visits.append(visit)
    return found


def verdicts(found):
    """Yield for each lesion of the later visits whether what is said of it is right.

    "refused": said to be undecided; "wrong": a false number that passes, or a true one that does
    not. Lesions too small for any voxel are gone for everyone.
    """
    first = set(found.visits[0].places)
    for one in follow_lesions(found.visits)[len(first) :]:
        true = found.truth.get((one.visit, one.lesion))
        if one.event in ("uncertain", "merged"):
            merged = found.absent.get((one.visit, one.lesion)) == "merged" or "merged" in {
                kind for (visit, _), kind in found.absent.items() if visit == one.visit
            }
            yield ("right" if one.event == "merged" and merged else "refused"), one
        elif true is None:
            elsewhere = one.lesion in {
                n for (visit, _), n in found.truth.items() if visit == one.visit
            }
            yield ("right" if one.comparable != elsewhere else "wrong"), one
        elif one.event == "moved":
            yield ("right" if one.lesion != true and not one.comparable else "wrong"), one
        else:
            right = one.place_of == true and one.comparable == (one.lesion == true)
            yield ("right" if right else "wrong"), one
