"""From drawn regions on one grid to lesions, each with its whole and its enhancing part."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from bidsapp.conversion.contours.choice import Kind
from bidsapp.conversion.contours.rasterise import Fractions
from bidsapp.errors import BadInput
from bidsapp.imaging.labels import bounding_box

Part = Literal["enhancing", "whole"]
PARTS: tuple[Part, ...] = ("enhancing", "whole")
"""What is stored of a lesion."""
_HALF = 0.5
"""Fraction of a voxel from which it belongs to a lesion."""
_OVERLAP = 0.05
"""Fraction of the smaller of two lesions that may also be in the other one."""
_NEIGHBOURS = np.ones((3, 3, 3), bool)


@dataclass(frozen=True, eq=False)
class Drawn:
    """A region on the grid of the image, and what it is."""

    name: str
    kind: Kind
    fractions: Fractions


@dataclass(frozen=True, eq=False)
class DrawnLesion:
    """A lesion: its name and the fractions of its parts; what was not drawn is absent."""

    name: str
    parts: Mapping[Part, Fractions] = field(default_factory=dict)

    @property
    def extent(self) -> Fractions:
        """The largest part that is known."""
        return self.parts.get("whole") or self.parts["enhancing"]


def assemble_lesions(drawn: Sequence[Drawn], shape: Sequence[int]) -> list[DrawnLesion]:
    """Return a lesion for each region that was drawn as a lesion.

    Parameters
    ----------
    drawn : sequence of Drawn
        Without arteries. If whole lesions were drawn, each is a lesion; otherwise each enhancing
        part is one. Other regions belong to the lesion that they overlap or touch most.
    shape : three ints
        Of the grid.

    Returns
    -------
    list of DrawnLesion
        In the order of the regions. With a core, the enhancing part is the lesion without its core,
        and the whole lesion includes it.

    Raises
    ------
    BadInput
        If a region belongs to no lesion; all such regions are named.
    """
    bodies = [d for d in drawn if d.kind in ("whole", "both")]
    bodies = bodies or [d for d in drawn if d.kind == "enhancing"]
    if not bodies:
        raise BadInput(
            "no lesion is drawn: a core alone is not a lesion; name the enhancing part or the whole"
        )
    others = [d for d in drawn if d not in bodies]
    labels, _ = label_voxels([body.fractions for body in bodies], shape)
    owners: dict[int, list[Drawn]] = {i: [] for i in range(len(bodies))}
    homeless = []
    for part in others:
        owner = _owner(part.fractions, labels)
        if owner is None:
            homeless.append(f"{part.name!r} ({part.kind}) touches no lesion")
        else:
            owners[owner].append(part)
    if homeless:
        raise BadInput("; ".join(homeless))
    return [_combine(body.name, [body, *owners[i]], shape) for i, body in enumerate(bodies)]


def _owner(part: Fractions, labels: NDArray[np.int32]) -> int | None:
    """Return the index of the lesion that a region overlaps, or else touches, most."""
    grown = Fractions(*_grow(part, labels.shape))
    for region in (part, grown):
        found = labels[region.box][region.values >= _HALF]
        if found.any():
            return int(np.bincount(found[found > 0]).argmax()) - 1
    return None


def _grow(part: Fractions, shape: Sequence[int]) -> tuple[tuple[slice, ...], NDArray[np.float32]]:
    """Return a region with the voxels around it."""
    box = tuple(
        slice(max(0, s.start - 1), min(int(n), s.stop + 1))
        for s, n in zip(part.box, shape, strict=True)
    )
    return box, ndimage.maximum_filter(_within(part, box), size=3)


def _within(part: Fractions, box: tuple[slice, ...]) -> NDArray[np.float32]:
    """Return the fractions of a region in a box that contains it."""
    values = np.zeros([s.stop - s.start for s in box], np.float32)
    inner = tuple(
        slice(p.start - b.start, p.stop - b.start) for p, b in zip(part.box, box, strict=True)
    )
    values[inner] = part.values
    return values


def _combine(name: str, drawn: Sequence[Drawn], shape: Sequence[int]) -> DrawnLesion:
    """Return a lesion from the regions that belong to it."""
    start = np.min([[s.start for s in d.fractions.box] for d in drawn], axis=0)
    stop = np.max([[s.stop for s in d.fractions.box] for d in drawn], axis=0)
    box = tuple(slice(int(a), int(b)) for a, b in zip(start, stop, strict=True))

    def total(*kinds: Kind) -> NDArray[np.float32] | None:
        """Return the union of the regions of some kinds, None if there are none."""
        found = [_within(d.fractions, box) for d in drawn if d.kind in kinds]
        return np.max(found, axis=0) if found else None

    whole, enhancing, core = total("whole", "both"), total("enhancing", "both"), total("core")
    if core is not None:
        rest = enhancing if enhancing is not None else whole
        assert rest is not None  # a lesion is a whole or an enhancing region
        if whole is None:
            # Where both share a voxel, they fill it together; a core may also lie in the other.
            whole = np.minimum(rest + core, np.float32(1))
        enhancing = np.minimum(rest, 1 - core)
    parts: dict[Part, Fractions] = {}
    if enhancing is not None:
        parts["enhancing"] = Fractions(box, enhancing)
    if whole is not None:
        parts["whole"] = Fractions(box, whole)
    return DrawnLesion(name, parts)


def split_lesions(
    drawn: Sequence[Drawn], shape: Sequence[int], smallest: float = 0
) -> tuple[list[DrawnLesion], int]:
    """Return a lesion for each connected part of all regions together.

    Parameters
    ----------
    drawn : sequence of Drawn
        Classes, such as enhancing and core, or masks of several lesions; without arteries.
    shape : three ints
        Of the grid.
    smallest : float, voxels
        Parts that are smaller are left out.

    Returns
    -------
    lesions : list of DrawnLesion
        Largest first. Voxels that touch by a face, an edge or a corner are connected.
    n_small : int
        Number of parts left out.
    """
    together = _combine("", drawn, shape)
    extent = together.extent
    found, count = ndimage.label(extent.values >= _HALF, structure=_NEIGHBOURS)
    if not count:
        return [], 0
    # Voxels that are filled by less than a half belong to the nearest part.
    nearest = ndimage.distance_transform_edt(
        found == 0, return_distances=False, return_indices=True
    )
    owner = found[tuple(nearest)]
    sizes = np.bincount(found.ravel(), minlength=count + 1)[1:]
    order = [int(i) + 1 for i in np.argsort(-sizes, kind="stable") if sizes[i] >= smallest]
    lesions = [
        DrawnLesion(
            f"lesion {place}",
            {part: _cut(whole, owner == number) for part, whole in together.parts.items()},
        )
        for place, number in enumerate(order, 1)
    ]
    return lesions, count - len(order)


def _cut(part: Fractions, inside: NDArray[np.bool_]) -> Fractions:
    """Return a part of a lesion, in the box of those voxels alone."""
    box = bounding_box(inside)
    moved = tuple(
        slice(o.start + s.start, o.start + s.stop) for o, s in zip(part.box, box, strict=True)
    )
    return Fractions(moved, np.where(inside, part.values, np.float32(0))[box])


def label_voxels(
    fractions: Sequence[Fractions], shape: Sequence[int]
) -> tuple[NDArray[np.int32], list[tuple[int, int, int]]]:
    """Return the region that fills at least half of each voxel, and where several do.

    Parameters
    ----------
    fractions : sequence of Fractions
    shape : three ints

    Returns
    -------
    labels : (X, Y, Z) array of int
        Position of the region in the sequence, from 1; 0 where none fills half of the voxel. Of
        several, the one that fills most of it; of equal ones, the first.
    overlaps : list of (int, int, int)
        Two positions, and the number of voxels that both fill by more than half.

    Examples
    --------
    >>> halves = [Fractions((slice(0, 3),), np.array(v)) for v in ([1, 0.5, 0], [0, 0.5, 0.9])]
    >>> label_voxels(halves, (3,))
    (array([1, 1, 2], dtype=int32), [])
    """
    labels = np.zeros(tuple(shape), np.int32)
    most = np.zeros(tuple(shape), np.float32)
    overlaps: dict[tuple[int, int], int] = {}
    for number, part in enumerate(fractions, 1):
        here, best = labels[part.box], most[part.box]
        shared = here[(part.values > _HALF) & (best > _HALF)]
        for other in np.unique(shared):
            overlaps[int(other), number] = int(np.count_nonzero(shared == other))
        more = (part.values >= _HALF) & (part.values > best)
        here[more], best[more] = number, part.values[more]
    return labels, [(a, b, n) for (a, b), n in overlaps.items()]


def check_overlap(
    lesions: Sequence[DrawnLesion], part: Part, overlaps: Sequence[tuple[int, int, int]]
) -> list[str]:
    """Return a text for each small overlap of two lesions.

    Parameters
    ----------
    lesions : sequence of DrawnLesion
    part : str
    overlaps : sequence of (int, int, int)
        Of `label_voxels`, over these lesions.

    Raises
    ------
    BadInput
        If two lesions overlap by more than a twentieth of the smaller one.
    """
    texts, errors = [], []
    for one, other, voxels in overlaps:
        first, second = lesions[one - 1], lesions[other - 1]
        least = min(first.parts[part].voxels, second.parts[part].voxels)
        text = f"{first.name!r} and {second.name!r} overlap in {voxels} voxels ({part})"
        if voxels > _OVERLAP * least:
            errors.append(f"{text}; a voxel can belong to one lesion only: choose one of the two")
        else:
            texts.append(f"{text}: given to the lesion that fills more of each")
    if errors:
        raise BadInput("; ".join(errors))
    return texts
