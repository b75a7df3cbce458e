"""Which lesion lies where which known lesion was: optimal assignment by overlap, then distance."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from bidsapp.lesions.places import LesionPlace

FARTHEST = 10.0
"""Distance of the centres above which lesions that do not overlap are different ones, mm."""
TOLERANCE = 1.5
"""Error of the registration of two T1w that is allowed for, mm."""
_LEAST = 0.25
"""Overlap from which two lesions can be one."""
SURE = 0.5
"""Overlap from which two lesions that are not paired have merged, or are parts of one."""
_MARGIN = 0.3
"""Overlap by which the assignment must be better than any other, for each pair."""
_SAME = 0.01
"""Overlap that a common number outweighs: it decides only between equal pairs."""

_AMBIGUOUS = 2.0
"""A lesion without overlap is a rival of the nearest if less than this many times as far."""

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Match:
    """The known lesion at whose place a lesion is, and how sure that is.

    Attributes
    ----------
    number : int or None
        Of the known lesion; None if there is none at this place.
    overlap : float
        Share of the smaller within the larger one, 0 to 1: mean of the shares without and with the
        tolerance.
    distance : float, mm
        Of the centres; NaN without a known lesion.
    near : bool
        The known lesion does not overlap, and is only the nearest without a partner.
    rivals : tuple of int
        Other known lesions that could be at this place instead.
    part_of : int or None
        Known lesion of which this is a further part.
    absorbed : tuple of int
        Known lesions without a partner that overlap with this one, too: they have merged.
    """

    number: int | None = None
    overlap: float = 0.0
    distance: float = float("nan")
    near: bool = False
    rivals: tuple[int, ...] = ()
    part_of: int | None = None
    absorbed: tuple[int, ...] = ()


def match_lesions(
    lesions: Mapping[int, LesionPlace],
    known: Mapping[int, Sequence[LesionPlace]],
    tolerance: float = TOLERANCE,
    *,
    numbered: bool = True,
) -> dict[int, Match]:
    """Return which known lesion each lesion is.

    Parameters
    ----------
    lesions : mapping of int to LesionPlace
        By number, in the space of the known lesions.
    known : mapping of int to sequence of LesionPlace
        Places of each known lesion: at the baseline, and at the visit before.
    tolerance : float, mm
        Error of the registration.
    numbered : bool
        Whether equal numbers are meant to be the same lesion, which decides between equal pairs;
        else the keys of `lesions` are mere positions.

    Returns
    -------
    dict of int to Match
        The assignment with the largest sum of overlaps; lesions and known lesions without a
        partner are then paired by the least sum of distances, up to `FARTHEST`.

    Examples
    --------
    >>> from bidsapp.lesions.places import lesion_place
    >>> cube = np.ones((5, 5, 5), bool)
    >>> a, b = (lesion_place(cube, np.eye(4), (x, 0, 0)) for x in (0, 30))
    >>> {n: m.number for n, m in match_lesions({1: b, 2: a}, {1: [a], 2: [b]}).items()}
    {1: 2, 2: 1}
    """
    if not lesions or not known:
        return {number: Match() for number in lesions}
    rows, columns = list(lesions), list(known)
    share, apart = _compare(list(lesions.values()), list(known.values()), tolerance)
    equal = np.equal.outer(rows, columns) & numbered
    chosen = _assign(np.where(share >= _LEAST, share + _SAME * equal, 0.0))
    chosen = _keep_numbers(chosen, share, equal)
    found = {}
    for i, number in enumerate(rows):
        j = chosen.get(i)
        if j is None:
            parts = np.flatnonzero(share[i] >= SURE)
            best = int(parts[np.argmax(share[i, parts])]) if len(parts) else None
            found[number] = Match(part_of=None if best is None else columns[best])
            continue
        rivals = _rivals(i, chosen, share)
        absorbed = [k for k in _unpaired(chosen, len(columns)) if share[i, k] >= SURE]
        found[number] = Match(
            columns[j],
            float(share[i, j]),
            float(apart[i, j]),
            rivals=tuple(columns[k] for k in rivals),
            absorbed=tuple(columns[k] for k in absorbed),
        )
    return found | _nearest(found, rows, columns, apart)


def _compare(
    lesions: Sequence[LesionPlace], known: Sequence[Sequence[LesionPlace]], tolerance: float
) -> tuple[Array, Array]:
    """Return the overlap of every two lesions, and the distance of their centres, (L, K)."""
    share = np.zeros((len(lesions), len(known)))
    apart = np.full(share.shape, np.inf)
    for i, place in enumerate(lesions):
        for j, places in enumerate(known):
            for other in places:
                apart[i, j] = min(apart[i, j], np.linalg.norm(place.centre - other.centre))
                if _may_overlap(place, other, tolerance):
                    share[i, j] = max(share[i, j], place.overlap(other, (0.0, tolerance)))
    return share, apart


def _may_overlap(one: LesionPlace, other: LesionPlace, tolerance: float) -> bool:
    """Return whether the boxes of two lesions are near enough for an overlap."""
    margin = tolerance + float(np.linalg.norm(one.sides) + np.linalg.norm(other.sides))
    low = np.maximum(one.points.min(axis=0), other.points.min(axis=0))
    high = np.minimum(one.points.max(axis=0), other.points.max(axis=0))
    return bool((low - high <= margin).all())


def _assign(gain: Array) -> dict[int, int]:
    """Return the pairs of rows and columns with the largest sum; those that gain nothing not."""
    pairs = zip(*linear_sum_assignment(gain, maximize=True), strict=True)
    return {int(i): int(j) for i, j in pairs if gain[i, j] > 0}


def _unpaired(chosen: Mapping[int, int], count: int) -> list[int]:
    return sorted(set(range(count)) - set(chosen.values()))


def _keep_numbers(chosen: dict[int, int], share: Array, equal: NDArray[np.bool_]) -> dict[int, int]:
    """Return the assignment in which merged lesions, and parts, keep their number if they can.

    Of two lesions that have merged, either number is right; likewise of two parts of one lesion.
    """
    kept = dict(chosen)
    for i, j in zip(*np.nonzero(equal & (share >= SURE)), strict=True):
        row, column = int(i), int(j)
        has = next((r for r, c in kept.items() if c == column), None)
        if row in kept and has is None:  # merged: its own number is free
            kept[row] = column
        elif row not in kept and has is not None and not equal[has].any():  # parts
            del kept[has]
            kept[row] = column
    return kept


def _rivals(i: int, chosen: Mapping[int, int], share: Array) -> list[int]:
    """Return other columns that a row has in an assignment that is nearly as good.

    A column without a partner of its own that surely overlaps is none: it has merged with the row.
    """
    usable = np.where(share >= _LEAST, share, 0.0)
    total = sum(usable[r, c] for r, c in chosen.items())
    without = usable.copy()
    without[i, chosen[i]] = 0.0
    other = _assign(without)
    if total - sum(usable[r, c] for r, c in other.items()) >= _MARGIN:
        return []
    used, rows = set(chosen.values()), set(chosen)
    taken = next((r for r, c in other.items() if c == chosen[i]), None)
    merged = i in other and other[i] not in used and share[i, other[i]] >= SURE
    split = taken is not None and taken not in rows and share[taken, chosen[i]] >= SURE
    if merged or split:
        return []
    return [other[i]] if i in other else [chosen[i]]


def _nearest(
    found: Mapping[int, Match], rows: Sequence[int], columns: Sequence[int], apart: Array
) -> dict[int, Match]:
    """Return the pairs of what has no partner yet, by the least sum of distances."""
    absorbed = {number for match in found.values() for number in match.absorbed}
    used = {match.number for match in found.values()} | absorbed
    left = [i for i, n in enumerate(rows) if found[n].number is None and found[n].part_of is None]
    free = [j for j, n in enumerate(columns) if n not in used]
    if not left or not free:
        return {}
    distances = apart[np.ix_(left, free)]
    paired = {}
    for a, b in zip(*linear_sum_assignment(np.minimum(distances, FARTHEST)), strict=True):
        limit = min(_AMBIGUOUS * distances[a, b], FARTHEST)
        if distances[a, b] <= FARTHEST:
            number = rows[left[a]]
            rivals = [columns[j] for k, j in enumerate(free) if k != b and distances[a, k] < limit]
            distance = float(distances[a, b])
            paired[number] = replace(
                found[number],
                number=columns[free[b]],
                distance=distance,
                near=True,
                rivals=tuple(rivals),
            )
    return paired
