"""A lesion in a series: its own course, whatever is uncertain about its place."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from bidsapp.imaging.edges import LesionEdge, SampledLesion, find_edge
from bidsapp.imaging.labels import label_fractions
from bidsapp.imaging.transforms import translation
from bidsapp.imaging.warps import chain
from bidsapp.lesions.unmixed_values import EDGE_OFFSETS, LesionCourses
from bidsapp.lesions.unmixing import UnmixedCourse, unmix

ENHANCING, CORE = 1, 2
MARGIN = 2.5
"""Width of the surroundings of a lesion, mm.

Oedema next to a lesion is not what lies farther away: with 6 mm, f of simulated lesions was 5 %
too low and ADC 1 % too high.
"""
LEAST_VOLUME = 0.3
"""Smallest total fraction of a region that is distinguished from the background, voxels."""
_LEAST_RESOLVED = 1.0
"""Smallest number of resolved voxels of a lesion for which values are given."""


class LesionSurroundings:
    """A lesion in a series, with the other lesions and the tissue around it.

    Parameters
    ----------
    data : (I, J, K, N) array
        Signal of the series.
    affine : (4, 4) array
        Its voxels to RAS mm.
    enhancing, whole : (X, Y, Z) array of int
        Labels of the enhancing parts and of the whole lesions.
    drawn : (4, 4) array
        Voxels of the labels to RAS mm.
    lesion : int
        Its label.
    """

    def __init__(
        self, data: Any, affine: Any, enhancing: Any, whole: Any, drawn: Any, lesion: int
    ) -> None:
        self.data, self.affine, self.drawn = data, affine, drawn
        own = (enhancing == lesion) | (whole == lesion)
        self.parts = np.where(enhancing == lesion, ENHANCING, np.where(own, CORE, 0))
        self.labels = [ENHANCING, *([CORE] if (self.parts == CORE).any() else [])]
        others = np.where(enhancing > 0, enhancing, whole)
        self.others = np.where(own, 0, others)

    def courses(self, mapping: Any, position_error: float) -> tuple[LesionCourses, SampledLesion]:
        """Return the lesion's courses for each position of its edge, and shifted along each axis.

        ``position_error`` is the standard deviation of the position along each axis, mm.
        """
        edge = self.edge()
        sampled = self.sample(edge, mapping)
        found = self._unmix(sampled, mapping, EDGE_OFFSETS)
        steps = np.eye(3) * position_error if position_error else np.zeros((0, 3))
        shifted = []
        for step in steps:
            moved = chain(translation(step), mapping)
            shifted.append(self._unmix(self.sample(edge, moved), moved, [0.0])[0].course)
        share = sampled.fractions([ENHANCING])
        return LesionCourses(
            by_offset=found,
            shifted=np.array(shifted).reshape(-1, self.data.shape[-1]),
            recovery=float(np.square(share).sum() / share.sum()),
        ), sampled

    def edge(self) -> LesionEdge:
        """Return the edge of the lesion as drawn."""
        return find_edge(self.parts, self.drawn)

    def sample(self, edge: LesionEdge, mapping: Any, margin: float = MARGIN) -> SampledLesion:
        """Sample the lesion on the voxels of the series, up to a distance from it in mm."""
        return edge.sample(mapping, self.data.shape[:3], self.affine, margin)

    def _unmix(
        self, sampled: SampledLesion, mapping: Any, offsets: Sequence[float]
    ) -> list[UnmixedCourse]:
        """Return the lesion's course for each position of its edge."""
        signals = self.data[sampled.box]
        near = sampled.near(MARGIN) & np.isfinite(signals).all(axis=-1)
        others = self.other_fractions(mapping)[sampled.box][near]
        inner = [sampled.fractions(self.labels, offset)[near] for offset in offsets]
        return [unmix_resolved(signals[near], own, others) for own in inner]

    def other_fractions(self, mapping: Any) -> Any:
        """Return the fraction of each voxel inside each other lesion."""
        numbers = [int(n) for n in np.unique(self.others) if n]
        shape = self.data.shape[:3]
        return label_fractions(self.others, self.drawn, mapping, shape, self.affine, numbers)


def mean_over(values: ArrayLike, sampled: SampledLesion) -> float | None:
    """Return the mean of a map over a lesion, weighted by its fractions; None without a value.

    Parameters
    ----------
    values : (I, J, K) array
        On the grid of the series.
    sampled
        The enhancing part of the lesion is `ENHANCING`.
    """
    return weighted_mean(np.asarray(values)[sampled.box], sampled.fractions([ENHANCING])[..., 0])


def weighted_mean(values: ArrayLike, share: ArrayLike) -> float | None:
    """Return the mean of finite values with weights; None without any.

    Examples
    --------
    >>> weighted_mean([1.0, 3.0, np.nan], [0.5, 0.5, 1.0])
    2.0
    """
    given = np.asarray(values, float)
    weights = np.where(np.isfinite(given), np.asarray(share, float), 0)
    if not weights.any():
        return None
    return float((weights * np.nan_to_num(given)).sum() / weights.sum())


def unmix_resolved(signals: Any, own: Any, others: Any) -> UnmixedCourse:
    """Return the course of a lesion if its voxels determine it, otherwise NaN.

    Parameters
    ----------
    signals : (V, N) array
        Courses of the voxels in and around the lesion.
    own : (V, P) array
        Fractions of its parts; the course of the first one is wanted.
    others : (V, L) array
        Fractions of other lesions.
    """
    found = unmix(signals, join_regions(own, others))
    if found.resolved_voxels >= _LEAST_RESOLVED:
        return found
    return replace(found, course=np.full_like(found.course, np.nan), log_likelihood=-np.inf)


def join_regions(own: Any, others: Any) -> Any:
    """Return the fractions of the regions that can be distinguished, the lesion's own part first.

    The parameters are those of `unmix_resolved`.
    """
    regions = np.hstack([own, others])
    regions = regions[:, [True, *(regions[:, 1:].sum(axis=0) > LEAST_VOLUME)]]
    # The point spread may let two lesions fill more than a voxel.
    regions /= np.maximum(1, regions.sum(axis=1, keepdims=True))
    return regions
