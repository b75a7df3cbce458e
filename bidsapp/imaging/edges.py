"""A lesion on the voxels of a series, with its edge moved by less than a voxel."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from nibabel.affines import voxel_sizes
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage, optimize

from bidsapp.errors import BadInput
from bidsapp.imaging.labels import Box, bounding_box, sample_points, target_box
from bidsapp.imaging.point_spread import VOXEL_MEAN, PointSpread
from bidsapp.imaging.transforms import as_affine
from bidsapp.imaging.warps import Mapping, Warp, map_centres, voxel_mapping

Float = NDArray[np.float32]

_STEP = 0.8
"""Largest distance between samples of a voxel, mm."""
_FINE = 0.5
"""Largest voxel of the grid on which distances from the edge are calculated, mm."""
_SMOOTHING = 0.6
"""Standard deviation of the Gaussian that smooths the steps of the voxels of an ROI, in voxels."""
_RIM = 4.0
"""Distance from the lesion up to which distances are needed, mm."""
_FEWEST = 2
"""Smallest number of samples along each axis of a voxel."""


@dataclass(frozen=True)
class SampledLesion:
    """Samples of the voxels of a series in and near a lesion.

    The samples are the centres of equal parts of the voxels, several along each axis.

    Attributes
    ----------
    box : three slices
        Part of the grid of the series.
    distance : (X, Y, Z) array, mm
        Distance of each sample from the outer edge of the lesion; negative inside.
    part : (X, Y, Z) array of int
        Label of the nearest part of the lesion.
    points : (3,) array of int
        Samples of a voxel along each axis.
    spacing : (3,) array, mm
        Of the voxels.
    """

    box: Box
    distance: Float
    part: NDArray[np.int32]
    points: NDArray[np.int64]
    spacing: NDArray[np.float64]

    def fractions(
        self, parts: Sequence[int], spread: PointSpread, offset: float = 0.0
    ) -> NDArray[np.float64]:
        """Return the fraction of each voxel's signal from each part, with the outer edge moved.

        Parameters
        ----------
        parts : sequence of P ints
            Labels.
        spread
            The point spread of the series.
        offset : float, mm
            Distance by which the outer edge is moved outwards.

        Returns
        -------
        (I, J, K, P) array
        """
        # A sample stands for a cell of the voxel: near the edge, it is inside in part.
        inside = np.clip(0.5 + (offset - self.distance) / _FINE, 0, 1)
        shares = [np.where(self.part == n, inside, 0) for n in parts]
        return np.stack([spread.apply(s, self.points, self.spacing) for s in shares], axis=-1)

    def voxel_means(self, values: NDArray[Any]) -> NDArray[np.float64]:
        """Return the mean of values at the samples (X, Y, Z) over each voxel, (I, J, K)."""
        return VOXEL_MEAN.apply(values, self.points, self.spacing)

    def near(self, margin: float) -> NDArray[np.bool_]:
        """Return the voxels (I, J, K) within a distance (mm) of those that the lesion reaches."""
        reached = self.voxel_means(self.distance <= 0) > 0
        distance = ndimage.distance_transform_edt(np.logical_not(reached), sampling=self.spacing)
        return np.asarray(distance <= margin)


@dataclass(frozen=True)
class LesionEdge:
    """The edge of a lesion on a fine grid, from which it is sampled on the voxels of any series.

    Attributes
    ----------
    distance : (X, Y, Z) array, mm
        Distance from the outer edge on a fine grid around the lesion; negative inside.
    nearest : (I, J, K) array of int
        Label of the nearest part, on the grid of the labels around the lesion.
    start : (3,) array of int
        First voxel of `nearest` on the grid of the labels.
    affine : (4, 4) array
        Voxels of the labels to RAS mm.
    """

    distance: Float
    nearest: NDArray[np.int32]
    start: NDArray[np.int64]
    affine: NDArray[np.float64]

    def volume(self, offset: float = 0.0) -> float:
        """Return the volume of the lesion, mm3, with its edge moved outwards by an offset, mm."""
        cell = float(np.prod(voxel_sizes(self.affine) / self._factor))
        return float(self._inside(offset).sum()) * cell

    @property
    def _factor(self) -> NDArray[np.int64]:
        return np.asarray(np.array(self.distance.shape) // np.array(self.nearest.shape))

    def _inside(self, offset: float) -> NDArray[np.float64]:
        """Return how much of each cell of the fine grid is inside an edge moved outwards."""
        step = float((voxel_sizes(self.affine) / self._factor).mean())
        return np.clip(0.5 + (offset - self.distance) / step, 0, 1)

    def offset_of_volume(self, ratio: float, start: float = 0.0) -> float:
        """Return the position of the edge that gives a lesion of another volume.

        Parameters
        ----------
        ratio
            Volume relative to that with the edge at `start`; above 0, and at most what fits into
            the grid around the lesion.
        start : float, mm

        Returns
        -------
        float, mm
            Outside the drawn edge; smaller than `start` for a ratio below 1.

        Raises
        ------
        BadInput
            If no position of the edge gives that volume.
        """
        wanted = ratio * self._inside(start).sum()
        low, high = float(self.distance.min()) - 1, _RIM - 1

        def excess(offset: float) -> float:
            return float(self._inside(offset).sum() - wanted)

        if not excess(low) < 0 < excess(high):
            raise BadInput(f"no position of the edge gives {ratio:g} times the volume")
        return float(optimize.brentq(excess, low, high, xtol=1e-3))

    def sample(
        self,
        mapping: ArrayLike | Warp,
        shape: Sequence[int],
        target_affine: ArrayLike,
        margin: float,
    ) -> SampledLesion:
        """Sample the lesion on the voxels of a series; see `sample_lesion`."""
        spacing, own_spacing = voxel_sizes(as_affine(target_affine)), voxel_sizes(self.affine)
        to_voxel = voxel_mapping(self.affine, mapping, target_affine)
        size = self.nearest.shape
        box, points = _sample_points(
            to_voxel, size, self.start, shape, spacing, margin, own_spacing
        )
        # Voxel centres of the fine grid lie between those of the labels.
        fine = (points + 0.5) * self._factor[:, None, None] - 0.5
        far = float(self.distance.max())
        sampled = ndimage.map_coordinates(self.distance, fine, order=1, cval=far, output=np.float32)
        counts, part = _sample_counts(spacing), self._nearest_part(points)
        distance, nearest = (_as_image(values, box, counts) for values in (sampled, part))
        return SampledLesion(box, distance, nearest, counts, spacing)

    def _nearest_part(self, points: NDArray[np.float64]) -> NDArray[np.int32]:
        """Return the label of the nearest part at points (3, V, S) in voxels of the labels."""
        first = self.nearest.flat[0]
        if (self.nearest == first).all():
            return np.broadcast_to(first, points.shape[1:])
        return np.asarray(ndimage.map_coordinates(self.nearest, points, order=0, mode="nearest"))


def find_edge(parts: NDArray[Any], affine: ArrayLike) -> LesionEdge:
    """Return the edge of a lesion.

    Parameters
    ----------
    parts : (X, Y, Z) array of int
        Labels of the parts of one lesion; 0 elsewhere.
    affine : (4, 4) array
        Its voxels to RAS mm.

    Returns
    -------
    LesionEdge

    Raises
    ------
    BadInput
        If the lesion has no voxel.

    Examples
    --------
    >>> ball = np.linalg.norm(np.indices((21, 21, 21)) - 10, axis=0) < 6
    >>> edge = find_edge(ball * 1, np.eye(4))
    >>> round(float(edge.volume() / ball.sum()), 2), round(edge.offset_of_volume(0.5), 1)
    (1.0, -1.1)
    """
    spacing = voxel_sizes(as_affine(affine))
    factor = np.ceil(spacing / _FINE).astype(int)
    region, start = _crop(np.asarray(parts), spacing)
    distance, nearest = _edge_distance(region, spacing, factor)
    return LesionEdge(distance, nearest, start, as_affine(affine))


def sample_lesion(
    parts: NDArray[Any],
    affine: ArrayLike,
    mapping: ArrayLike | Warp,
    shape: Sequence[int],
    target_affine: ArrayLike,
    margin: float,
) -> SampledLesion:
    """Sample a lesion on the voxels of a series.

    Parameters
    ----------
    parts : (X, Y, Z) array of int
        Labels of the parts of one lesion; 0 elsewhere.
    affine : (4, 4) array
        Its voxels to RAS mm.
    mapping : (4, 4) array or Warp
        Points of the series to points of the labels, RAS mm.
    shape : three ints
        Of the series.
    target_affine : (4, 4) array
        Its voxels to RAS mm.
    margin : float, mm
        Width of the surroundings to include.

    Returns
    -------
    SampledLesion

    Raises
    ------
    BadInput
        If the lesion has no voxel, or lies outside the series.

    Notes
    -----
    The edge is where the distance from it, interpolated linearly between voxel centres, is zero;
    all distances are then shifted by a constant, so that the lesion keeps the volume of its voxels.

    Examples
    --------
    >>> ball = np.linalg.norm(np.indices((21, 21, 21)) - 10, axis=0) < 6
    >>> found = sample_lesion(ball * 1, np.eye(4), np.eye(4), (21, 21, 21), np.eye(4), margin=6)
    >>> volumes = [found.fractions([1], VOXEL_MEAN, offset).sum() for offset in (-0.5, 0.0, 0.5)]
    >>> [round(float(volume / ball.sum()), 2) for volume in volumes]
    [0.74, 1.0, 1.32]
    """
    return find_edge(parts, affine).sample(mapping, shape, target_affine, margin)


def _crop(
    parts: NDArray[Any], spacing: NDArray[np.float64]
) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Return a lesion with a rim around it, and the first voxel of that part."""
    if not (parts != 0).any():
        raise BadInput("the lesion has no voxel")
    box = bounding_box(parts)
    around = np.ceil(_RIM / spacing).astype(int)
    start = np.array([s.start for s in box]) - around
    return np.pad(parts[box].astype(np.int32), [(n, n) for n in around]), start


def _edge_distance(
    parts: NDArray[np.int32], spacing: NDArray[np.float64], factor: NDArray[np.int64]
) -> tuple[Float, NDArray[np.int32]]:
    """Return the distance of each fine voxel from the smooth edge, and the nearest label."""
    inside = _smooth_region(parts != 0, factor)
    step = spacing / factor
    outer = ndimage.distance_transform_edt(~inside, sampling=step)
    inner = ndimage.distance_transform_edt(inside, sampling=step)
    # The edge is half-way between the centres of the voxels on both sides of it.
    half = step.mean() / 2
    distance = np.where(inside, half - inner, outer - half).astype(np.float32)
    index = ndimage.distance_transform_edt(
        parts == 0, sampling=spacing, return_distances=False, return_indices=True
    )
    return distance, parts[tuple(index)]


def _smooth_region(inside: NDArray[np.bool_], factor: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return a region of the same volume on a finer grid, without the steps of its voxels."""
    smooth = ndimage.gaussian_filter(inside.astype(np.float32), _SMOOTHING)
    scale = 1 / factor
    size = tuple(int(n) for n in factor * inside.shape)
    fine = ndimage.affine_transform(smooth, scale, (scale - 1) / 2, size, order=1, mode="nearest")
    rank = int(inside.sum()) * int(factor.prod())
    return np.asarray(fine >= np.partition(fine, -rank, axis=None)[-rank])


def _sample_points(
    to_voxel: Mapping,
    source: Sequence[int],
    start: NDArray[np.int64],
    shape: Sequence[int],
    spacing: NDArray[np.float64],
    margin: float,
    own_spacing: NDArray[np.float64],
) -> tuple[Box, NDArray[np.float64]]:
    """Return the part of the series around a lesion, and its samples in voxels of the labels."""
    where = map_centres(to_voxel, shape) if isinstance(to_voxel, Warp) else to_voxel
    around = np.ceil((margin + spacing.max()) / own_spacing).astype(int)
    box = target_box(where, np.array(source) + 2 * around, start - around, shape)
    if 0 in [s.stop - s.start for s in box]:
        raise BadInput("the lesion lies outside the series")
    voxels = np.stack(np.meshgrid(*[np.arange(s.start, s.stop) for s in box], indexing="ij"), -1)
    points = (
        sample_points(to_voxel, voxels.reshape(-1, 3), _offsets(_sample_counts(spacing))) - start
    )
    return box, np.moveaxis(points, -1, 0)


def _sample_counts(spacing: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the number of samples of a voxel along each axis."""
    return np.maximum(_FEWEST, np.ceil(spacing / _STEP)).astype(int)


def _offsets(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the samples of a voxel relative to its centre, in voxels: midpoints of equal parts."""
    return np.array(list(product(*[(np.arange(n) + 0.5) / n - 0.5 for n in counts])))


def _as_image(values: NDArray[Any], box: Box, counts: NDArray[np.int64]) -> NDArray[Any]:
    """Return values of the samples (V, S) of the voxels of a box as one image (X, Y, Z)."""
    size = np.array([s.stop - s.start for s in box])
    split = values.reshape(*size, *counts).transpose(0, 3, 1, 4, 2, 5)
    return split.reshape(*(size * counts))
