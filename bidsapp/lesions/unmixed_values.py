"""Parameters of a lesion from its own course, and the parts of their standard errors."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from bidsapp.lesions.regions import Array
from bidsapp.lesions.summary import ROI_FROM
from bidsapp.lesions.unmixing import UnmixedCourse, edge_weights

Measure = Callable[[Any], Mapping[str, Any]]
"""From courses (K, N) to parameters (K,) by name."""
Effects = Callable[[Any], Mapping[str, Any]]
"""From a course (N,) to changes (K,) of each parameter by independent errors."""

EDGE_OFFSETS = (-1.0, -0.5, 0.0, 0.5, 1.0)
"""Positions of the edge of a lesion that are considered, mm outside the drawn edge."""
EDGE_UNCERTAINTY = 0.5
"""Standard deviation of drawn edges, mm."""
LEAST_EDGE_UNCERTAINTY = 0.4
"""Standard deviation of an edge that the series confirms, mm.

Lesions are not uniform and contours not parallel to the edge. With this value, intervals of
simulated uneven lesions with contours drawn to 0.5 mm hold the truth in more than nine of ten
(``scripts/bench lesions``), but in fewer where veins pass the lesion.
"""
_LEAST_WEIGHT = 0.5
"""Smallest total probability of the positions of the edge with a fit for a value to be given."""
REAL_HEADS = 2.3
"""Error of registrations of real heads relative to the expected error, which was calibrated on the
phantom: median of pairs with published transforms; the largest is 4.7.
"""
T1_UNCERTAINTY = 0.1
"""Standard deviation of the T1 of lesions relative to an assumed T1."""
UNMIXED_COLUMNS: Mapping[str, str] = {
    "participant_id": "Participant",
    "session_id": "Session",
    "lesion": "Number of the lesion, the same in every session: its index in the ROI table",
    "roi": "Which ROI: enhancing (the part that enhances)",
    "model": "BIDS model- label of the fit",
    "parameter": "The parameter",
    "unit": "Its unit",
    "value": "Value of the lesion's own course, from which the surroundings have been removed",
    "standard_error": "Standard error: the parts below, added in quadrature. Systematic errors of "
    "the arterial input and of the model are not included",
    "noise": "Part of the standard error from noise and from the variation of the surroundings",
    "edge": "Part from the position of the edge of the lesion: the drawn edge is uncertain by "
    f"{EDGE_UNCERTAINTY:g} mm, and the series shows it to {LEAST_EDGE_UNCERTAINTY:g} mm at best",
    "registration": "Part from the error of the registration of the ROI: the expected error, times "
    f"{REAL_HEADS:g}, the ratio found on real heads; n/a if the registration has no expected error "
    "(niimath, or a transform of the user), which the standard error then does not contain",
    "arterial": "Part from noise in the arterial input; n/a for diffusion, and if there are too "
    "few frames before the contrast agent arrives to estimate it",
    "t1": f"Part from an assumed T1, taken as uncertain by {100 * T1_UNCERTAINTY:g} %; n/a with a "
    "measured T1. It is nearly the same in all sessions of a lesion",
    "smaller": "The value if the edge of the lesion is 0.5 mm further inside",
    "larger": "The value if the edge of the lesion is 0.5 mm further outside",
    "edge_offset": "Most probable distance of the edge of the lesion from the drawn edge, mm; "
    "positive outside",
    "recovery": "Fraction of its contrast that a uniform lesion of this shape would keep in the "
    "mean over the voxels",
    "resolved_voxels": "Number of voxels of the lesion alone that would determine its course "
    "equally well",
    "point_spread": "The point spread that the voxels around all lesions of the series show, in "
    "the plane of the slices and across them: box (mean over the voxel), fourier (all spatial "
    "frequencies up to that of the voxels), filtered (the upper half attenuated), hann (all "
    "attenuated, by a Hann filter), or a mean of these, weighted by their probabilities",
    "excluded": "1 if the ROI table marks the lesion as excluded",
    "roi_from": ROI_FROM,
}
"""The columns of the table of unmixed values and what they mean."""


@dataclass(frozen=True)
class LesionCourses:
    """The courses of a lesion under everything that is uncertain about its place.

    Attributes
    ----------
    by_offset : sequence of UnmixedCourse
        One for each of `EDGE_OFFSETS`.
    shifted : (3, N) array
        Courses with the ROI shifted by the standard deviation of its position along x, y and z;
        no rows if the ROI needs no registration, NaN if the error of its position is unknown.
    recovery : float
        Fraction of its contrast that a uniform lesion keeps in the mean over the voxels.
    """

    by_offset: Sequence[UnmixedCourse]
    shifted: Array
    recovery: float


@dataclass(frozen=True)
class UnmixedValue:
    """A parameter of a lesion; see `UNMIXED_COLUMNS`."""

    value: float
    standard_error: float
    noise: float
    edge: float
    registration: float
    smaller: float
    larger: float
    arterial: float = np.nan
    t1: float = np.nan

    def row(self) -> dict[str, float]:
        """Return the columns of the table."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


def position_weights(courses: LesionCourses) -> Array:
    """Return the probability of each of `EDGE_OFFSETS`."""
    likelihoods = [found.log_likelihood for found in courses.by_offset]
    return edge_weights(likelihoods, EDGE_OFFSETS, EDGE_UNCERTAINTY)


def unmixed_values(
    courses: LesionCourses, measure: Measure, effects: Mapping[str, Effects] | None = None
) -> dict[str, UnmixedValue]:
    r"""Return the parameters of a lesion with their standard errors.

    Parameters
    ----------
    courses
        The courses of the lesion.
    measure
        From courses (K, N) to arrays (K,) of parameters by name: usually the fit of a model.
    effects
        For the parts ``arterial`` and ``t1``, a function from a course (N,) to the changes (K,) of
        each parameter by independent errors of one standard deviation.

    Returns
    -------
    dict of str to UnmixedValue
        NaN where the parameter cannot be determined.

    Notes
    -----
    With the probabilities :math:`p_k` of the positions of the edge and the parameter
    :math:`\theta_k` of each, the value is :math:`\bar\theta = \sum_k p_k \theta_k` and the part of
    its variance from the edge :math:`\sum_k p_k (\theta_k - \bar\theta)^2`, to which that of an
    edge confirmed by the series, `LEAST_EDGE_UNCERTAINTY`, is added. For the other parts, the
    course at the most probable position is changed by each of its independent errors, and the ROI
    is shifted along each axis; the model is fitted again, and the squared effects are added.
    The fit need not be linear, and no derivatives of the model are required.

    Examples
    --------
    >>> same = UnmixedCourse(np.array([2.0, 4.0]), np.diag([0.3, 0.4]), 9.0, 0.0)
    >>> courses = LesionCourses([same] * 5, np.zeros((0, 2)), 0.8)
    >>> found = unmixed_values(courses, lambda c: {"sum": c.sum(axis=1)})["sum"]
    >>> found.value, round(found.noise, 6), found.edge
    (6.0, 0.5, 0.0)
    """
    weights = position_weights(courses)
    offsets = np.array([found.course for found in courses.by_offset])
    best = courses.by_offset[int(np.argmax(weights))] if np.isfinite(weights).all() else None
    if best is None:
        # No position of the edge separates the lesion from its surroundings.
        names = measure(np.ones((1, offsets.shape[1])))
        return {name: UnmixedValue(*[np.nan] * 7) for name in names}
    stacked = [offsets, best.course + best.spread, courses.shifted, best.course[None]]
    counts = np.cumsum([len(part) for part in stacked[:-1]])
    found = measure(np.concatenate(stacked))
    changes = {part: of(best.course) for part, of in (effects or {}).items()}
    return {
        name: _add_parts(
            _combine(*np.split(values, counts), weights=weights),
            {part: _root_sum_of_squares(by_name[name]) for part, by_name in changes.items()},
        )
        for name, values in found.items()
    }


def _combine(
    by_offset: Array, perturbed: Array, shifted: Array, best: Array, *, weights: Array
) -> UnmixedValue:
    """Return one parameter from its values at every position and with every error."""
    # A position at which the fit fails is left out.
    known = np.isfinite(by_offset) & (weights > 0)
    share = np.where(known, weights, 0)
    if share.sum() < _LEAST_WEIGHT or not np.isfinite(best[0]):
        return UnmixedValue(*[np.nan] * 7)
    share /= share.sum()
    values = np.where(known, by_offset, 0)
    value = float(share @ values)
    drawn = by_offset[EDGE_OFFSETS.index(0.0)]
    noise = _root_sum_of_squares(perturbed - best[0])
    # The shifted ROI has the drawn edge, which need not be the most probable one.
    registration = _root_sum_of_squares(shifted - drawn)
    smaller, larger = (float(by_offset[EDGE_OFFSETS.index(d)]) for d in (-0.5, 0.5))
    # Where the fit at one of the three positions fails, the slope is that between the others.
    slopes = np.array([(larger - drawn) / 0.5, (drawn - smaller) / 0.5, larger - smaller])
    least = LEAST_EDGE_UNCERTAINTY * _mean_of_known(slopes)
    edge = float(np.hypot(np.sqrt(share @ np.square(values - value)), least))
    # Without a known error of the registration, the total is that of the other parts.
    known_registration = registration if np.isfinite(registration) else 0.0
    total = float(np.sqrt(noise**2 + edge**2 + known_registration**2))
    return UnmixedValue(value, total, noise, edge, registration, smaller, larger)


def _add_parts(found: UnmixedValue, parts: Mapping[str, float]) -> UnmixedValue:
    """Return a value with further parts of its standard error."""
    known = [part for part in parts.values() if np.isfinite(part)]
    total = float(np.sqrt(np.square([found.standard_error, *known]).sum()))
    return replace(found, standard_error=total, **parts)


def _root_sum_of_squares(effects: Array) -> float:
    """Return the standard deviation due to independent errors; NaN if most of the fits failed.

    The effect of an error whose fit failed is taken as that of a typical other one.
    """
    known = np.isfinite(effects)
    if 2 * np.count_nonzero(known) < effects.size:
        return float("nan")
    return (
        float(np.sqrt(effects.size * _mean_of_known(np.square(effects)))) if effects.size else 0.0
    )


def _mean_of_known(values: Array) -> float:
    """Return the mean of the values that are known; NaN if none is."""
    known = values[np.isfinite(values)]
    return float(known.mean()) if known.size else np.nan
