"""A lesion as it is in a series: its edge, its own course, and its signal after a change."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bidsapp.errors import BadInput
from bidsapp.imaging.edges import LesionEdge, SampledLesion
from bidsapp.imaging.labels import Box
from bidsapp.imaging.point_spread import VOXEL_MEAN
from bidsapp.imaging.transforms import translation
from bidsapp.imaging.warps import chain
from bidsapp.lesions.surroundings import (
    ENHANCING,
    LEAST_VOLUME,
    MARGIN,
    LesionSurroundings,
    join_regions,
    unmix_resolved,
)
from bidsapp.lesions.unmixed_values import EDGE_OFFSETS, LesionCourses, position_weights
from bidsapp.lesions.unmixing import UnmixedCourse, unmix

Array = NDArray[np.float64]

_REACH = 2.0
"""Distance from the lesion, beyond the size of a voxel, at which it has no signal any more, mm."""
_PURE = 0.02
"""Largest fraction of any lesion in a voxel of the surroundings."""
_FEWEST_PURE = 5
_REMEMBERED = 4
"""Number of positions whose samples are kept: lesion and ROI of one visit, and as acquired."""


@dataclass(frozen=True)
class Pose:
    """Where a lesion is in the grid, and where its ROI is taken to be.

    Attributes
    ----------
    shift : (3,) array, mm
        Displacement of the head from its position in the series, RAS.
    error : (3,) array, mm
        Displacement of the ROI from the lesion, as by an error of registration.
    edge : float, mm
        Distance of the edge of the ROI from that of the lesion, positive outside.
    """

    shift: Array
    error: Array
    edge: float

    @property
    def roi_shift(self) -> Array:
        """Displacement of the ROI from its position in the series, mm."""
        return self.shift + self.error


AS_ACQUIRED = Pose(np.zeros(3), np.zeros(3), 0.0)
"""The lesion and its ROI as they are."""


@dataclass(frozen=True, eq=False)
class LesionInSeries:
    """A lesion, whose signal in the voxels of a series can be changed.

    Attributes
    ----------
    scene : LesionSurroundings
        The lesion, the series and the other lesions.
    edge : LesionEdge
        As drawn.
    mapping : (4, 4) array or Warp
        From points of the series to points of the ROI, RAS mm.
    box : three slices
        The part of the series around the lesion.
    near : (I, J, K) array of bool
        Voxels of the box that are unmixed.
    others : (I, J, K, L) array
        Fraction of each voxel inside each other lesion.
    offset : float, mm
        Most probable distance of the edge of the lesion from the drawn edge.
    courses : (P, N) array
        Signal of each part of the lesion.
    background : (N,) array
        Median signal of the surroundings.
    resolved : bool
        Whether the lesion has an unmixed course; if not, its course is the weighted mean.
    """

    scene: LesionSurroundings
    edge: LesionEdge
    mapping: Any
    box: Box
    near: NDArray[np.bool_]
    others: Array
    offset: float
    courses: Array
    background: Array
    resolved: bool
    _samples: dict[bytes, SampledLesion] = field(default_factory=dict, repr=False)

    @cached_property
    def data(self) -> Array:
        """Signal of the box, (I, J, K, N)."""
        return np.asarray(self.scene.data[self.box], float)

    @cached_property
    def own(self) -> Array:
        """Fraction of each voxel of the box from each part of the lesion, (I, J, K, P)."""
        return self.fractions(np.zeros(3), self.offset)

    def fractions(self, shift: ArrayLike, offset: float, parts: Sequence[int] = ()) -> Array:
        """Return the fraction of each voxel of the box from each part, (I, J, K, P).

        Parameters
        ----------
        shift : (3,) array, mm
            Displacement of the head from its position in the series.
        offset : float, mm
            Distance of the edge from the drawn one.
        parts
            Default: all parts of the lesion.
        """
        sampled = self._sample(shift)
        return self._in_box(sampled, self._fractions(sampled, offset, parts))

    def volume_fractions(self, shift: ArrayLike, offset: float) -> Array:
        """Return the fraction of the volume of each voxel inside the enhancing part, (I, J, K)."""
        sampled = self._sample(shift)
        found = sampled.fractions([ENHANCING], VOXEL_MEAN, offset)
        return self._in_box(sampled, found)[..., 0]

    def _fractions(self, sampled: SampledLesion, offset: float, parts: Sequence[int] = ()) -> Array:
        return sampled.fractions(parts or self.scene.labels, self.scene.spread, offset)

    def _sample(self, shift: ArrayLike) -> SampledLesion:
        """Sample the lesion where it has signal."""
        vector = np.asarray(shift, float)
        key = vector.tobytes()
        if key not in self._samples:
            while len(self._samples) >= _REMEMBERED:
                self._samples.pop(next(iter(self._samples)))
            moved = chain(translation(-vector), self.mapping)
            self._samples[key] = self.scene.sample(self.edge, moved, _REACH)
        return self._samples[key]

    def _in_box(self, sampled: SampledLesion, values: Array) -> Array:
        """Place values of a smaller box, which may extend beyond this one, in this box."""
        found = np.zeros((*self.near.shape, values.shape[-1]))
        into, of = [], []
        for own, other in zip(self.box, sampled.box, strict=True):
            low, high = max(own.start, other.start), max(min(own.stop, other.stop), own.start)
            into.append(slice(low - own.start, max(high, low) - own.start))
            of.append(slice(low - other.start, max(high, low) - other.start))
        found[tuple(into)] = values[tuple(of)]
        return found

    def unmixed(self, data: Array, pose: Pose) -> list[UnmixedCourse]:
        """Return the course of the lesion for each position of its edge, with a moved ROI.

        Parameters
        ----------
        data : (I, J, K, N) array
            Signal of the box.
        pose
            The shift and the edge of the ROI relative to those drawn.
        """
        sampled = self._sample(pose.roi_shift)
        near = self.near & np.isfinite(data).all(axis=-1)
        signals, others = data[near], self.others[near]
        return [
            unmix_resolved(
                signals,
                self._in_box(sampled, self._fractions(sampled, pose.edge + d))[near],
                others,
            )
            for d in EDGE_OFFSETS
        ]


def find_lesion(scene: LesionSurroundings, mapping: Any) -> LesionInSeries:
    """Return a lesion as it is in a series.

    Parameters
    ----------
    scene
        The lesion and the series.
    mapping : (4, 4) array or Warp
        From points of the series to points of the ROI, RAS mm.

    Raises
    ------
    BadInput
        If the lesion lies outside the series, or no voxel near it has a complete course.
    """
    courses, sampled = scene.courses(mapping, 0.0)
    edge = scene.edge
    data = scene.data[sampled.box]
    finite = np.isfinite(data).all(axis=-1)
    near = sampled.near(MARGIN)
    others = np.asarray(scene.other_fractions(mapping)[sampled.box], float)
    weights = position_weights(courses)
    resolved = bool(np.isfinite(weights).all())
    offset = float(weights @ np.array(EDGE_OFFSETS)) if resolved else 0.0
    own = sampled.fractions(scene.labels, scene.spread, offset)
    used = near & finite
    if not (own[used, 0] > 0).any():
        raise BadInput("no voxel of the lesion has a complete signal course")
    return LesionInSeries(
        scene=scene,
        edge=edge,
        mapping=mapping,
        box=sampled.box,
        near=near,
        others=others,
        offset=offset,
        courses=_part_courses(data[used], own[used], others[used], courses, weights),
        background=_background(data[used], own[used], others[used]),
        resolved=resolved,
    )


def _part_courses(
    signals: Array, own: Array, others: Array, found: LesionCourses, weights: Array
) -> Array:
    """Return the course of each part of a lesion, (P, N)."""
    if np.isfinite(weights).all():
        courses = np.array([one.course for one in found.by_offset])
        main = weights[weights > 0] @ courses[weights > 0]
    else:
        main = own[:, 0] @ signals / own[:, 0].sum()
    if own.shape[1] == 1:
        return np.array([main], float)
    # A core too small to be distinguished has the signal of the enhancing part.
    distinct = own[:, 1].sum() > LEAST_VOLUME
    core = unmix(signals, join_regions(own, others), 1).course if distinct else main
    return np.array([main, core if np.isfinite(core).all() else main], float)


def _background(signals: Array, own: Array, others: Array) -> Array:
    """Return the median course of voxels without lesions; of the least affected ones if few."""
    share = own.sum(axis=1) + others.sum(axis=1)
    limit = max(_PURE, float(np.sort(share)[min(_FEWEST_PURE, len(share)) - 1]))
    return np.asarray(np.median(signals[share <= limit], axis=0), float)


@dataclass(frozen=True)
class ChangedLesion:
    """A lesion after a change.

    Attributes
    ----------
    difference : (N,) array
        Of the signal of the enhancing part.
    offset : float, mm
        Distance of the edge from that before the change.
    true_changes
        Change of each tabulated parameter of the lesion itself, and of the volume (ml).
    """

    difference: Array
    offset: float
    true_changes: Mapping[str, float]


def changed_signal(lesion: LesionInSeries, changed: ChangedLesion, pose: Pose) -> Array:
    r"""Return the signal of the box with a moved and changed lesion, (I, J, K, N).

    Parameters
    ----------
    lesion
        The lesion in the series.
    changed
        What has changed.
    pose
        Only its shift is used.

    Notes
    -----
    With the fractions :math:`a_{vp}` of the parts before and :math:`a'_{vp}` after displacement and
    change of size, their courses :math:`c_p`, the background :math:`c_B` and the difference
    :math:`\Delta` of the enhancing part,

    .. math:: S'_v = S_v + \sum_p (a'_{vp} - a_{vp}) (c_p - c_B) + a'_{v1} \Delta .

    All else in the measured signal :math:`S_v` stays: surroundings, noise and artefacts.
    """
    after = lesion.fractions(pose.shift, lesion.offset + changed.offset)
    contrast = lesion.courses - lesion.background
    moved = np.einsum("...p,pn->...n", after - lesion.own, contrast)
    return np.asarray(lesion.data + moved + after[..., :1] * changed.difference)
