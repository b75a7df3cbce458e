"""Longest diameter of a lesion in the acquired plane, and the longest one perpendicular to it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage
from scipy.spatial import ConvexHull
from scipy.spatial.distance import pdist, squareform

from bidsapp.errors import BadInput
from bidsapp.lesions.regions import Array

_ANISOTROPIC = 1.5
"""Slice thickness in units of the next larger voxel size from which slices are those acquired."""
_MARGIN = 0.25
"""Distance of the outline from the centres of the outermost voxels, in voxels."""
_TIED = 1e-9
"""Relative difference of two diameters that are equal but for rounding."""
_IN_PLANE_NEIGHBOURS = np.ones((3, 3))


@dataclass(frozen=True)
class Diameters:
    """Size of a lesion in the plane of the slices.

    Attributes
    ----------
    longest : float
        Longest diameter in any slice, mm; 0 if the lesion has no voxels.
    perpendicular : float
        Longest diameter perpendicular to it in the same slice, mm.
    n_slices : int
        Slices that contain the lesion.
    slice_index : int
        Slice of the longest diameter; -1 if the lesion has no voxels.
    """

    longest: float
    perpendicular: float
    n_slices: int
    slice_index: int


_ABSENT = Diameters(0.0, 0.0, 0, -1)


def slice_axis(affine: ArrayLike) -> int:
    """Return the axis of the slices of an image.

    Parameters
    ----------
    affine : (4, 4) array_like
        mm, RAS.

    Returns
    -------
    axis : int
        Axis along which voxels are at least 1.5 times as long as along the others. If there is
        none, the image can be read in any plane: the axis closest to superior-inferior.

    Raises
    ------
    BadInput
        If two axes of the affine are parallel, or one has no length.

    Examples
    --------
    >>> slice_axis(np.diag([1.0, 6.0, 1.0, 1.0])), slice_axis(np.diag([1.2, 1.0, 1.0, 1.0]))
    (1, 2)
    """
    axes = np.asarray(affine, float)[:3, :3]
    if not np.isfinite(axes).all() or abs(np.linalg.det(axes)) < 1e-9:
        raise BadInput(
            f"The affine has no three independent axes, got {axes.tolist()}: correct it."
        )
    sizes = np.linalg.norm(axes, axis=0)
    longest = int(np.argmax(sizes))
    if sizes[longest] >= _ANISOTROPIC * np.sort(sizes)[1]:
        return longest
    return int(np.argmax(np.abs(axes[2] / sizes)))


def lesion_diameters(labels: ArrayLike, lesion: int, affine: ArrayLike) -> Diameters:
    r"""Measure a lesion as its longest diameter in a slice, and the longest perpendicular to it.

    Parameters
    ----------
    labels : (X, Y, Z) array_like of int
    lesion : int
        The label.
    affine : (4, 4) array_like
        mm, RAS.

    Returns
    -------
    diameters : Diameters

    Raises
    ------
    BadInput
        If the labels are not three-dimensional, or the affine is singular.

    Notes
    -----
    The slices are those of `slice_axis`. The outline of a lesion in a slice lies a quarter of a
    voxel beyond the centres of its outermost voxels: of a voxel at :math:`p` with in-plane edges
    :math:`a` and :math:`b` it encloses :math:`p \pm a / 4` and :math:`p \pm b / 4`. The longest of
    many distances is not a mean: between centres of voxels it is too short by half a voxel on
    average, between midpoints of their outer edges too long by half a voxel, and between their
    corners by a voxel. With this outline, diameters of ellipsoids on voxels of 1 mm are unbiased
    within 0.1 voxel. With the convex hull :math:`H` of the outline,

    .. math:: d = \max_{p, q \in H} |p - q|, \quad
              d_\perp = \max \{|p - q| : p, q \in H, \ p - q \perp u\}

    where :math:`u` is the direction of :math:`d`. Cavities and concave outlines therefore count as
    part of the lesion. Parts of a lesion that are not connected in a slice are measured one by one,
    and the longest diameter of any part counts.

    Examples
    --------
    >>> labels = np.zeros((9, 9, 3), int)
    >>> labels[2:7, 3:6, 1] = 1
    >>> lesion_diameters(labels, 1, np.diag([2.0, 2.0, 5.0, 1.0])).n_slices
    1
    """
    inside = np.asarray(labels) == lesion
    if inside.ndim != 3:
        raise BadInput(f"Labels have the shape {inside.shape}: give a three-dimensional image.")
    axis = slice_axis(affine)
    slices = np.moveaxis(inside, axis, 0)
    found = np.flatnonzero(slices.any(axis=(1, 2)))
    if not len(found):
        return _ABSENT
    edges = _plane_edges(affine, axis)
    parts = [(int(i), part) for i in found for part in _parts(slices[i])]
    measured = [(*_measure(part, edges), -i) for i, part in parts]
    # Of equal diameters, the one with the longer perpendicular, then the first slice.
    longest, perpendicular, index = max(measured, key=lambda row: np.round(row, 6).tolist())
    return Diameters(longest, perpendicular, len(found), -index)


def _plane_edges(affine: ArrayLike, axis: int) -> Array:
    """Return the in-plane edges of a voxel as rows (2, 2), mm, in coordinates of the plane."""
    edges = np.delete(np.asarray(affine, float)[:3, :3], axis, axis=1)
    # The triangular factor of QR has the lengths of the edges and the angle between them.
    triangular: Array = np.linalg.qr(edges)[1]
    return triangular.T


def _parts(plane: NDArray[np.bool_]) -> list[NDArray[np.intp]]:
    """Return the voxels (N, 2) of each part of a lesion that is connected in a slice."""
    numbered, count = ndimage.label(plane, _IN_PLANE_NEIGHBOURS)
    return [np.argwhere(numbered == number) for number in range(1, count + 1)]


def _measure(voxels: NDArray[np.intp], edges: Array) -> tuple[float, float]:
    """Return the longest diameter and the longest perpendicular one of voxels of a slice, mm."""
    margin = _MARGIN * np.concatenate([edges, -edges])
    points = (voxels @ edges)[:, None, :] + margin
    flat = points.reshape(-1, 2)
    hull = flat[ConvexHull(flat).vertices]
    distances = squareform(pdist(hull))
    longest = float(distances.max())
    # A symmetric outline has several longest diameters: the one with the longest perpendicular.
    tied = np.argwhere(np.triu(distances) >= longest * (1 - _TIED))
    chords = [_longest_chord(hull, (hull[b] - hull[a]) / longest) for a, b in tied]
    return longest, min(longest, max(chords))


def _longest_chord(hull: Array, along: Array) -> float:
    """Return the longest chord of a convex polygon (N, 2) perpendicular to a direction.

    The length of the chord is a concave, piecewise linear function of its place along the
    direction, with its maximum at a corner of the polygon.
    """
    place, height = hull @ along, hull @ np.array([-along[1], along[0]])
    order = np.argsort(place, kind="stable")
    start, end = hull[order[0]], hull[order[-1]]
    # The line between both ends divides the polygon into an upper and a lower chain.
    line = np.interp(place, [start @ along, end @ along], [height[order[0]], height[order[-1]]])
    chains = []
    for side in (height >= line - 1e-9, height <= line + 1e-9):
        chosen = order[side[order]]
        chains.append(np.interp(place, place[chosen], height[chosen]))
    return float(np.max(chains[0] - chains[1]))
