"""Means of maps over the voxels of an ROI that is moved, and whose edge is drawn anew."""

from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from bidsapp.imaging.edges import LesionEdge
from bidsapp.imaging.labels import Box
from bidsapp.imaging.resample import resample
from bidsapp.imaging.transforms import translation
from bidsapp.imaging.warps import chain
from bidsapp.lesions import summarise, summarise_weighted
from bidsapp.lesions.surroundings import ENHANCING
from bidsapp.recovery.lesion import AS_ACQUIRED, LesionInSeries, Pose

Array = NDArray[np.float64]


class Region(Protocol):
    """The voxels over which a lesion is averaged."""

    def mean(self, values: Array, pose: Pose) -> float:
        """Return the mean of a map on the box of the lesion, with a moved ROI."""


@dataclass(frozen=True)
class NativeRegion:
    """Voxels of the series.

    Attributes
    ----------
    lesion : LesionInSeries
    drawn : (I, J, K) array
        Weight of each voxel of the box for the ROI as drawn.
    weighted : bool
        Whether voxels are weighted by their fraction inside; otherwise all those of which half or
        more is inside are equal, as in an ROI drawn on the series.
    """

    lesion: LesionInSeries
    drawn: Array
    weighted: bool

    def mean(self, values: Array, pose: Pose) -> float:
        """Return the mean of a map (I, J, K) on the box of the lesion, with a moved ROI."""
        if pose is AS_ACQUIRED:
            share = self.drawn
        else:
            share = self.lesion.volume_fractions(pose.roi_shift, pose.edge)
        if self.weighted:
            return summarise_weighted(values, share).mean
        return summarise(values, share >= 0.5).mean


@dataclass(frozen=True)
class ResampledRegion:
    """Voxels of the grid on which the ROI was drawn, to which maps are resampled.

    Attributes
    ----------
    lesion : LesionInSeries
    to_series : (4, 4) array or Warp
        From points of the ROI to points of the series, RAS mm.
    """

    lesion: LesionInSeries
    to_series: Any
    _grid: "_DrawnGrid" = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_grid", _drawn_grid(self.lesion))

    def mean(self, values: Array, pose: Pose) -> float:
        """Return the mean of a map (I, J, K) on the box of the lesion, with a moved ROI."""
        grid = self._grid
        moved = chain(self.to_series, translation(pose.roi_shift))
        box = part_affine(self.lesion.scene.affine, self.lesion.box)
        found = resample(values, box, moved, grid.drawn.shape, grid.affine)
        return summarise(found, grid.inside(pose)).mean


@dataclass(frozen=True)
class _DrawnGrid:
    """A part of the grid of the ROI: the voxels as drawn, and their distance from the edge."""

    affine: Array
    drawn: NDArray[np.bool_]
    distance: Array
    enhancing: NDArray[np.bool_]

    def inside(self, pose: Pose) -> NDArray[np.bool_]:
        """Return the voxels of the ROI with its edge moved."""
        if pose is AS_ACQUIRED:
            return self.drawn
        return np.asarray((self.distance <= pose.edge) & self.enhancing)


_WIDEST = 3.0
"""Largest distance by which an edge is drawn outside, mm."""


def _drawn_grid(lesion: LesionInSeries) -> _DrawnGrid:
    """Return the part of the grid of the ROI around a lesion."""
    edge: LesionEdge = lesion.edge
    scene = lesion.scene
    sampled = edge.sample(np.eye(4), scene.parts.shape, scene.drawn, _WIDEST)
    return _DrawnGrid(
        affine=part_affine(scene.drawn, sampled.box),
        drawn=np.asarray(scene.parts[sampled.box] == ENHANCING),
        distance=sampled.voxel_means(sampled.distance),
        enhancing=sampled.voxel_means(sampled.part == ENHANCING) >= 0.5,
    )


def part_affine(affine: Any, box: Box) -> Array:
    """Return the affine of a part of a grid.

    Examples
    --------
    >>> part_affine(np.diag([2, 2, 8, 1]), (slice(1, 4), slice(0, 2), slice(3, 5)))[:3, 3].tolist()
    [2.0, 0.0, 24.0]
    """
    found = np.array(affine, float)
    found[:3, 3] += found[:3, :3] @ [s.start for s in box]
    return found
