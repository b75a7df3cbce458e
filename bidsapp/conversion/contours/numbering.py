"""Numbers of lesions by their place, so that a lesion has the same number at every visit."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage
from scipy.optimize import linear_sum_assignment
from scipy.spatial import KDTree

from bidsapp.conversion.contours.rasterise import Fractions
from bidsapp.imaging.transforms import apply

FARTHEST = 10.0
"""Distance of the centres above which two lesions are different ones, mm: lesions shrink and grow
about their place, and later T1w are registered within a millimetre."""
_AMBIGUOUS = 2.0
"""A lesion is ambiguous if another one is less than this many times as far."""


@dataclass(frozen=True)
class Numbered:
    """The number of a lesion, and how it was found.

    Attributes
    ----------
    number : int
    distance : float, mm
        From the lesion that has this number already; NaN for a new one.
    ambiguous : bool
        Whether another lesion is nearly as near.
    """

    number: int
    distance: float = float("nan")
    ambiguous: bool = False


def centre(fractions: Fractions, affine: ArrayLike) -> NDArray[np.float64]:
    """Return the centre of a region, RAS mm.

    Examples
    --------
    >>> centre(Fractions((slice(2, 4),) * 3, np.ones((2, 2, 2), np.float32)), np.eye(4)).tolist()
    [2.5, 2.5, 2.5]
    """
    place = np.add(ndimage.center_of_mass(fractions.values), [s.start for s in fractions.box])
    found: NDArray[np.float64] = apply(np.asarray(affine, float), place)
    return found


@dataclass(frozen=True, eq=False)
class LesionPlace:
    """Where a lesion is: its centre (3,), and the centres of its voxels (N, 3), mm."""

    centre: NDArray[np.float64]
    points: NDArray[np.float64]

    def moved(self, matrix: ArrayLike) -> "LesionPlace":
        """Return the place in another space, to which the matrix maps points."""
        to_other = np.asarray(matrix, float)
        return LesionPlace(apply(to_other, self.centre), apply(to_other, self.points))

    def reaches(self, other: "LesionPlace", distance: float) -> bool:
        """Return whether a voxel of another lesion is within a distance, mm, of one of this.

        Examples
        --------
        >>> here, there = (LesionPlace(np.zeros(3), np.array([[x, 0.0, 0]])) for x in (0, 3))
        >>> here.reaches(there, 2), here.reaches(there, 4)
        (False, True)
        """
        nearest, _ = KDTree(self.points).query(other.points)
        return bool(np.min(nearest) <= distance)


def lesion_place(fractions: Fractions, affine: ArrayLike) -> LesionPlace:
    """Return the place of a region: of its voxels that are filled by half, or most, RAS mm."""
    least = min(0.5, float(fractions.values.max()))
    voxels = np.argwhere(fractions.values >= least) + [s.start for s in fractions.box]
    to_space = np.asarray(affine, float)
    return LesionPlace(centre(fractions, to_space), apply(to_space, voxels))


def number_by_place(
    centres: Sequence[ArrayLike],
    known: Mapping[int, ArrayLike],
    farthest: float = FARTHEST,
    taken: int = 0,
) -> list[Numbered]:
    """Return a number for each lesion: that of the known lesion at its place, or the next new one.

    Parameters
    ----------
    centres : sequence of (3,) array, mm
        Of the lesions, in the space of the known ones.
    known : mapping of int to (3,) array, mm
        Places of the lesions that have numbers.
    farthest : float, mm
        Lesions farther apart are different.
    taken : int
        Largest number that new lesions must not have, besides those of the known ones.

    Returns
    -------
    list of Numbered
        The assignment with the least sum of distances, in which a lesion without a partner counts
        as one at the farthest distance.

    Examples
    --------
    >>> known = {1: [0, 0, 0], 2: [50, 0, 0]}
    >>> [n.number for n in number_by_place([[49, 0, 0], [0, 90, 0], [1, 0, 0]], known)]
    [2, 3, 1]
    """
    numbers, places = list(known), np.array(list(known.values()), float).reshape(-1, 3)
    given = np.asarray(centres, float).reshape(-1, 3)
    apart = np.linalg.norm(given[:, None] - places[None], axis=2)
    cost = np.minimum(apart, farthest)
    rows, columns = linear_sum_assignment(cost)
    pairs = {int(i): int(j) for i, j in zip(rows, columns, strict=True) if apart[i, j] <= farthest}
    new = max([taken, *numbers])
    found = []
    for i in range(len(given)):
        if i in pairs:
            j = pairs[i]
            others = [*np.delete(apart[i], j), *np.delete(apart[:, j], i)]
            near = min(others, default=np.inf)
            doubtful = bool(near <= farthest and near < _AMBIGUOUS * apart[i, j])
            found.append(Numbered(numbers[j], float(apart[i, j]), doubtful))
        else:
            new += 1
            found.append(Numbered(new))
    return found
