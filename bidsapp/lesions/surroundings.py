"""A lesion in a series: its own course, whatever is uncertain about its place."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from bidsapp.imaging.edges import SampledLesion, sample_lesion
from bidsapp.imaging.labels import label_fractions
from bidsapp.imaging.transforms import translation
from bidsapp.imaging.warps import chain
from bidsapp.lesions.unmixed_values import EDGE_OFFSETS, LesionCourses
from bidsapp.lesions.unmixing import UnmixedCourse, unmix

ENHANCING, _CORE = 1, 2
_MARGIN = 2.5
"""Width of the surroundings of a lesion, mm.

Oedema next to a lesion is not what lies farther away: with 6 mm, f of simulated lesions was 5 %
too low and ADC 1 % too high.
"""
_LEAST_VOLUME = 0.3
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
        self.parts = np.where(enhancing == lesion, ENHANCING, np.where(own, _CORE, 0))
        self.labels = [ENHANCING, *([_CORE] if (self.parts == _CORE).any() else [])]
        others = np.where(enhancing > 0, enhancing, whole)
        self.others = np.where(own, 0, others)

    def courses(self, mapping: Any, position_error: float) -> tuple[LesionCourses, SampledLesion]:
        """Return the lesion's courses for each position of its edge, and shifted along each axis.

        ``position_error`` is the standard deviation of the position along each axis, mm.
        """
        sampled = self._sample(mapping)
        found = self._unmix(sampled, mapping, EDGE_OFFSETS)
        steps = np.eye(3) * position_error if position_error else np.zeros((0, 3))
        shifted = []
        for step in steps:
            moved = chain(translation(step), mapping)
            shifted.append(self._unmix(self._sample(moved), moved, [0.0])[0].course)
        share = sampled.fractions([ENHANCING])
        return LesionCourses(
            by_offset=found,
            shifted=np.array(shifted).reshape(-1, self.data.shape[-1]),
            recovery=float(np.square(share).sum() / share.sum()),
        ), sampled

    def _sample(self, mapping: Any) -> SampledLesion:
        shape = self.data.shape[:3]
        return sample_lesion(self.parts, self.drawn, mapping, shape, self.affine, _MARGIN)

    def _unmix(
        self, sampled: SampledLesion, mapping: Any, offsets: Sequence[float]
    ) -> list[UnmixedCourse]:
        """Return the lesion's course for each position of its edge."""
        signals = self.data[sampled.box]
        near = sampled.near(_MARGIN) & np.isfinite(signals).all(axis=-1)
        others = self._other_fractions(sampled, mapping)[near]
        inner = [sampled.fractions(self.labels, offset)[near] for offset in offsets]
        return [_unmix_resolved(signals[near], own, others) for own in inner]

    def _other_fractions(self, sampled: SampledLesion, mapping: Any) -> Any:
        """Return the fraction of each voxel inside each other lesion."""
        numbers = [int(n) for n in np.unique(self.others) if n]
        shape = self.data.shape[:3]
        found = label_fractions(self.others, self.drawn, mapping, shape, self.affine, numbers)
        return found[sampled.box]


def mean_over(values: ArrayLike, sampled: SampledLesion) -> float | None:
    """Return the mean of a map over a lesion, weighted by its fractions; None without a value.

    Parameters
    ----------
    values : (I, J, K) array
        On the grid of the series.
    sampled
        The enhancing part of the lesion is `ENHANCING`.
    """
    inside = np.asarray(values)[sampled.box]
    share = np.where(np.isfinite(inside), sampled.fractions([ENHANCING])[..., 0], 0)
    return float((share * np.nan_to_num(inside)).sum() / share.sum()) if share.any() else None


def _unmix_resolved(signals: Any, own: Any, others: Any) -> UnmixedCourse:
    """Return the course of a lesion if its voxels determine it, otherwise NaN."""
    regions = np.hstack([own, others])
    regions = regions[:, [True, *(regions[:, 1:].sum(axis=0) > _LEAST_VOLUME)]]
    # The point spread may let two lesions fill more than a voxel.
    regions /= np.maximum(1, regions.sum(axis=1, keepdims=True))
    found = unmix(signals, regions)
    if found.resolved_voxels >= _LEAST_RESOLVED:
        return found
    return replace(found, course=np.full_like(found.course, np.nan), log_likelihood=-np.inf)
