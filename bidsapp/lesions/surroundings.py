"""A lesion in a series: its own course, whatever is uncertain about its place."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from bidsapp.errors import BadInput
from bidsapp.imaging.edges import LesionEdge, SampledLesion, find_edge
from bidsapp.imaging.labels import label_fractions
from bidsapp.imaging.point_spread import CANDIDATES, LOG_PRIOR, VOXEL_MEAN, PointSpread, average
from bidsapp.imaging.transforms import translation
from bidsapp.imaging.warps import chain
from bidsapp.lesions.unmixed_values import EDGE_OFFSETS, LesionCourses
from bidsapp.lesions.unmixing import UnmixedCourse, probabilities, unmix

ENHANCING, CORE = 1, 2
MARGIN = 4.0
"""Width of the surroundings of a lesion, mm.

Oedema next to a lesion is not what lies farther away: with 6 mm, f of simulated lesions was 5 %
too low and ADC 1 % too high. With 2.5 mm, veins beside uneven lesions made Ktrans 8 % too low.
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
    spread
        The point spread of the series.
    """

    def __init__(
        self,
        data: Any,
        affine: Any,
        enhancing: Any,
        whole: Any,
        drawn: Any,
        lesion: int,
        spread: PointSpread = VOXEL_MEAN,
    ) -> None:
        self.data, self.affine, self.drawn, self.spread = data, affine, drawn, spread
        own = (enhancing == lesion) | (whole == lesion)
        self.parts = np.where(enhancing == lesion, ENHANCING, np.where(own, CORE, 0))
        self.labels = [ENHANCING, *([CORE] if (self.parts == CORE).any() else [])]
        others = np.where(enhancing > 0, enhancing, whole)
        self.others = np.where(own, 0, others)
        self._numbers = _labels_of(self.others)

    def courses(self, mapping: Any, position_error: float) -> tuple[LesionCourses, SampledLesion]:
        """Return the lesion's courses for each position of its edge, and shifted along each axis.

        ``position_error`` is the standard deviation of the position along each axis, mm; NaN if
        it is unknown.
        """
        edge = self.edge
        sampled = self.sample(edge, mapping)
        found = self._unmix(sampled, mapping, self._mixtures(sampled, EDGE_OFFSETS))
        samples = self.data.shape[-1]
        shifted = [np.full(samples, np.nan)] * 3 if np.isnan(position_error) else []
        for step in np.eye(3) * position_error if position_error > 0 else ():
            moved = chain(translation(step), mapping)
            there = self.sample(edge, moved)
            shifted += [u.course for u in self._unmix(there, moved, self._mixtures(there, [0.0]))]
        share = sampled.fractions([ENHANCING], self.spread)
        return LesionCourses(
            by_offset=found,
            shifted=np.array(shifted).reshape(-1, samples),
            recovery=float(np.square(share).sum() / share.sum()),
        ), sampled

    @cached_property
    def edge(self) -> LesionEdge:
        """Return the edge of the lesion as drawn."""
        return find_edge(self.parts, self.drawn)

    def sample(self, edge: LesionEdge, mapping: Any, margin: float = MARGIN) -> SampledLesion:
        """Sample the lesion on the voxels of the series, up to a distance from it in mm."""
        return edge.sample(mapping, self.data.shape[:3], self.affine, margin)

    def log_likelihoods(self, mapping: Any, spreads: Sequence[PointSpread]) -> Any:
        """Return the log-likelihood of the voxels for each point spread, with the drawn edge."""
        sampled = self.sample(self.edge, mapping)
        mixtures = (sampled.fractions(self.labels, spread) for spread in spreads)
        return np.array([u.log_likelihood for u in self._unmix(sampled, mapping, mixtures)])

    def _mixtures(self, sampled: SampledLesion, offsets: Sequence[float]) -> Iterator[Any]:
        """Yield the fractions of the parts for each position of the edge."""
        return (sampled.fractions(self.labels, self.spread, offset) for offset in offsets)

    def _unmix(
        self, sampled: SampledLesion, mapping: Any, mixtures: Iterable[Any]
    ) -> list[UnmixedCourse]:
        """Return the lesion's course for each of several arrays of fractions of its parts."""
        signals = self.data[sampled.box]
        near = sampled.near(MARGIN) & np.isfinite(signals).all(axis=-1)
        others = self.other_fractions(mapping)[sampled.box][near]
        return [unmix_resolved(signals[near], own[near], others) for own in mixtures]

    def other_fractions(self, mapping: Any) -> Any:
        """Return the fraction of each voxel inside each other lesion."""
        shape = self.data.shape[:3]
        return label_fractions(self.others, self.drawn, mapping, shape, self.affine, self._numbers)


def find_surroundings(
    data: Any, affine: Any, enhancing: Any, whole: Any, drawn: Any, mapping: Any
) -> dict[int, LesionSurroundings]:
    """Return every lesion of a series, with the point spread that the series shows.

    Parameters
    ----------
    data, affine, enhancing, whole, drawn
        See `LesionSurroundings`.
    mapping : (4, 4) array or Warp
        From points of the series to points of the labels, RAS mm.

    Returns
    -------
    dict of int to LesionSurroundings
        By label.

    Notes
    -----
    Filters, interpolation and partial Fourier sampling are rarely known. The point spread is the
    mean of `CANDIDATES`, weighted by their probabilities given the voxels around all lesions. A
    lesion that one of them does not separate from its surroundings is left out.
    """
    common = (data, affine, enhancing, whole, drawn)
    scenes = {n: LesionSurroundings(*common, n) for n in _labels_of(enhancing)}
    total: Any = np.zeros(len(CANDIDATES))
    for scene in scenes.values():
        with suppress(BadInput):  # The lesion lies outside the series.
            found = scene.log_likelihoods(mapping, CANDIDATES)
            total += np.where(np.isfinite(found).all(), found, 0)
    spread = average(list(probabilities(total + LOG_PRIOR))) if total.any() else VOXEL_MEAN
    for scene in scenes.values():
        scene.spread = spread
    return scenes


def _labels_of(image: Any) -> list[int]:
    """Return the labels of an image, in order; most of its voxels are background."""
    return [int(n) for n in np.unique(image[image != 0])]


def mean_over(values: ArrayLike, sampled: SampledLesion) -> float:
    """Return the mean of a map over a lesion, weighted by its volume; NaN without a value.

    Parameters
    ----------
    values : (I, J, K) array
        On the grid of the series.
    sampled
        The enhancing part of the lesion is `ENHANCING`.
    """
    share = sampled.fractions([ENHANCING], VOXEL_MEAN)[..., 0]
    return weighted_mean(np.asarray(values)[sampled.box], share)


def weighted_mean(values: ArrayLike, share: ArrayLike) -> float:
    """Return the mean of finite values with weights; NaN without any.

    Examples
    --------
    >>> weighted_mean([1.0, 3.0, np.nan], [0.5, 0.5, 1.0])
    2.0
    """
    given = np.asarray(values, float)
    weights = np.where(np.isfinite(given), np.asarray(share, float), 0)
    if not weights.any():
        return np.nan
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
    return regions[:, [True, *(regions[:, 1:].sum(axis=0) > LEAST_VOLUME)]]
