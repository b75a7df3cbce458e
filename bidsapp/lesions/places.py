"""Where a lesion is: its points in space, and how far it overlaps or is apart from another one."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage
from scipy.spatial import KDTree

from bidsapp.imaging.transforms import apply

Array = NDArray[np.float64]

APART = 5.0
"""Distance of the parts of a region from which they may be several lesions, mm."""
_CELL = 1.25
"""Largest side of the cells into which voxels are divided, mm: thick slices have several."""
_DIRECT = 10_000
"""Largest label up to which boxes are listed by label; a list of larger ones would be long."""
_SAMPLES = 2000
"""Number of points of a lesion that are compared with another one, at most."""


@dataclass(frozen=True, eq=False)
class LesionPlace:
    """The place of a lesion.

    Attributes
    ----------
    centre : (3,) array, mm
        Its centre of mass.
    points : (N, 3) array, mm
        Centres of its voxels, or of equal parts of them if they are larger than 1.25 mm.
    sides : (3,) array, mm
        Of the part of a voxel about each point.
    """

    centre: Array
    points: Array
    sides: Array

    @property
    def volume_ml(self) -> float:
        """Its volume, ml."""
        return float(len(self.points) * self.sides.prod()) / 1000

    @cached_property
    def _tree(self) -> KDTree:
        return KDTree(self.points)

    def moved(self, matrix: ArrayLike) -> "LesionPlace":
        """Return the place in another space, to which a rigid matrix maps points."""
        to_other = np.asarray(matrix, float)
        return LesionPlace(apply(to_other, self.centre), apply(to_other, self.points), self.sides)

    def distances(self, other: "LesionPlace") -> Array:
        """Return the distance of points of another lesion from the nearest of this, (M,), mm."""
        step = -(-len(other.points) // _SAMPLES)
        return np.asarray(self._tree.query(other.points[::step])[0], float)

    def gap(self, other: "LesionPlace") -> float:
        """Return the distance between the edges of two lesions, mm; 0 if they touch or overlap.

        Examples
        --------
        >>> cube = np.ones((4, 4, 4), bool)
        >>> here, there = (lesion_place(cube, np.eye(4), (x, 0, 0)) for x in (0, 7))
        >>> here.gap(there), here.gap(here)
        (3.0, 0.0)
        """
        half = float(self.sides.mean() + other.sides.mean()) / 2
        return max(0.0, float(self.distances(other).min()) - half)

    def overlap(self, other: "LesionPlace", tolerances: Sequence[float] = (0.0,)) -> float:
        r"""Return the share of the smaller of two lesions that lies within the larger one.

        Parameters
        ----------
        other : LesionPlace
        tolerances : sequence of float, mm
            Points this far outside the larger lesion count as inside.

        Returns
        -------
        float
            0 to 1, the mean over the tolerances.

        Notes
        -----
        :math:`|A \cap B| / \min(|A|, |B|)`, the overlap coefficient of Szymkiewicz and Simpson. It
        is 1 for a lesion that has shrunk or grown about its place, however much.

        Examples
        --------
        >>> small, large = (lesion_place(np.ones((n,) * 3, bool), np.eye(4)) for n in (2, 20))
        >>> large.overlap(small)
        1.0
        """
        small, large = sorted((self, other), key=lambda place: place.volume_ml)
        reach = np.linalg.norm(large.sides) / 2 + np.asarray(tolerances, float)
        return float((large.distances(small)[:, None] <= reach).mean())


def lesion_place(
    inside: ArrayLike, affine: ArrayLike, start: Sequence[int] = (0, 0, 0)
) -> LesionPlace:
    """Return the place of a region.

    Parameters
    ----------
    inside : (x, y, z) array
        Fraction of each voxel of a box that lies inside, or whether it does.
    affine : (4, 4) array
        Voxels of the grid to RAS mm.
    start : three ints
        First voxel of the box.

    Returns
    -------
    LesionPlace
        Its points are those of the voxels filled by half, or most.

    Examples
    --------
    >>> lesion_place(np.ones((2, 2, 2)), np.eye(4), (2, 2, 2)).centre.tolist()
    [2.5, 2.5, 2.5]
    """
    share, to_space = np.asarray(inside, float), np.asarray(affine, float)
    sizes = np.linalg.norm(to_space[:3, :3], axis=0)
    counts = np.ceil(sizes / _CELL).astype(int)
    parts = np.array(list(product(*[(np.arange(n) + 0.5) / n - 0.5 for n in counts])))
    voxels = np.argwhere(share >= min(0.5, float(share.max()))) + np.asarray(start)
    cells = (voxels[:, None] + parts).reshape(-1, 3)
    centre = np.add(ndimage.center_of_mass(share), start)
    return LesionPlace(apply(to_space, centre), apply(to_space, cells), sizes / counts)


def label_places(labels: NDArray[np.int32], affine: ArrayLike) -> dict[int, LesionPlace]:
    """Return the place of each label of an image, RAS mm.

    Examples
    --------
    >>> sorted(label_places(np.array([[[0, 3, 7, 7]]], np.int32), np.eye(4)))
    [3, 7]
    """
    found = {}
    for number, box in _boxes(labels).items():
        start = [s.start for s in box]
        found[number] = lesion_place(labels[box] == number, affine, start)
    return found


def label_parts(labels: NDArray[np.int32], affine: ArrayLike) -> dict[int, int]:
    """Return the number of parts of each label that are more than `APART` from one another.

    Examples
    --------
    >>> label_parts(np.array([[[1, 0, 1, 2, 0, 0, 0, 0, 0, 0, 2]]], np.int32), np.eye(4))
    {1: 1, 2: 2}
    """
    return {n: count_parts(labels[box] == n, affine) for n, box in _boxes(labels).items()}


def _boxes(labels: NDArray[np.int32]) -> dict[int, tuple[slice, ...]]:
    """Return the box of each label."""
    if labels.max(initial=0) <= _DIRECT:
        found = enumerate(ndimage.find_objects(labels), 1)
        return {number: box for number, box in found if box is not None}
    numbers, index = np.unique(labels, return_inverse=True)
    boxes = ndimage.find_objects(index.reshape(labels.shape) + 1)
    return {int(n): box for n, box in zip(numbers, boxes, strict=True) if n > 0}


def count_parts(inside: NDArray[np.bool_], affine: ArrayLike, apart: float = APART) -> int:
    """Return the number of parts of a region that are more than a distance, mm, from one another.

    Examples
    --------
    >>> count_parts(np.array([[[1, 0, 0, 0, 0, 1]]], bool), np.eye(4), apart=2.5)
    2
    """
    zooms = np.linalg.norm(np.asarray(affine, float)[:3, :3], axis=0)
    near = ndimage.distance_transform_edt(~inside, sampling=zooms) <= apart / 2
    _, count = ndimage.label(near, structure=np.ones((3, 3, 3)))
    return int(count)
