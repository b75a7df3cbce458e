"""The course of a lesion's own signal, where voxels also contain tissue around the lesion.

A voxel that a lesion fills only in part shows a mixture. Its signal is linear in the fractions,
so that the courses of the regions follow from those of many voxels by least squares: the geometric
transfer matrix of PET, in the space of the voxels.

Background is not one tissue, but grey and white matter, fluid and vessels. Its courses vary mainly
along few principal components, such as that of a vessel. In each of these, and in the rest, the
variance of a voxel's signal is estimated as a function of what the voxel contains; voxels with much
of a variable background have little weight there.

References
----------
Rousset et al., J Nucl Med 1998;39:904 (geometric transfer matrix).
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import nnls

from bidsapp.lesions.regions import Array

_COMPONENTS = 2
"""Principal components of the background whose variance is estimated separately."""
_PURE = 0.98
"""Fraction from which a voxel counts as background alone."""
_FEWEST_PURE = 10
_ITERATIONS = 4
_TUKEY = 4.7
"""Tuning constant of Tukey's biweight: 95 % efficiency for normal errors."""
_INDEPENDENT = 0.15
"""Share of the log-likelihood of the voxels that counts for the position of an edge.

What the mixture does not describe is common to neighbouring voxels. With this share, intervals of
lesion values hold the truth about as often as they should (``scripts/bench lesions``).
"""
_LEAST_VARIANCE = 0.02
"""Smallest variance of a voxel relative to the typical one: no voxel decides alone."""
_SINGULAR = 1e-13
"""Eigenvalue of the normal matrix relative to the largest at or below which it is rounding."""
_ROUNDING = 1e-12
"""Smallest variance relative to the mean square of the signal, where there is no noise."""


@dataclass(frozen=True)
class UnmixedCourse:
    """The course of one region without its surroundings.

    Attributes
    ----------
    course : (N,) array
    spread : (N, N) array
        Rows are independent errors, each of one standard deviation; their outer products add up
        to the covariance of `course`.
    resolved_voxels : float
        Number of voxels of this region alone that would determine its mean course equally well:
        small if the region fills hardly any voxel, or cannot be distinguished from another region.
    log_likelihood : float
        Of the voxels under the mixture, with the mean over the samples of a voxel: its samples
        share most of what the mixture does not describe, and count as one.
    """

    course: Array
    spread: Array
    resolved_voxels: float
    log_likelihood: float


def unmix(signals: ArrayLike, fractions: ArrayLike, region: int = 0) -> UnmixedCourse:
    r"""Estimate the course of a region from voxels that it shares with other regions.

    Parameters
    ----------
    signals : (V, N) array
        Courses of the voxels in and around the region, finite.
    fractions : (V, R) array
        Fraction of each voxel's signal from each region; the rest is background. A point spread
        with negative lobes gives fractions below 0 and above 1.
    region
        Column of the region.

    Returns
    -------
    UnmixedCourse
        NaN if the region cannot be distinguished from the others.

    Notes
    -----
    With the fractions :math:`a_{vr}`, of which :math:`g_v` is background and :math:`h_v` is not,

    .. math:: s_v = \sum_r a_{vr} c_r + e_v, \quad
       \operatorname{var} e_v = g_v^2 \lambda + h_v^2 \kappa + \sigma^2

    where :math:`\lambda` and :math:`\kappa` are the variances of background and lesions within
    themselves, and :math:`\sigma^2` is noise. The variances are estimated for each principal
    component of the background from the squared residuals, and the courses :math:`c_r` by weighted
    least squares, in turn. Voxels that fit no mixture, such as those of a vessel at the edge, are
    given less weight by Tukey's biweight.

    Examples
    --------
    >>> share = np.r_[np.zeros(20), 0.25, 0.5, 1.0, 1.0]
    >>> signals = share[:, None] * [4.0, 8.0] + (1 - share)[:, None] * [2.0, 2.0]
    >>> found = unmix(signals, share[:, None])
    >>> found.course.round(6).tolist(), round(found.resolved_voxels, 1)
    ([4.0, 8.0], 2.3)
    """
    own = np.asarray(fractions, float)
    rest = 1 - own.sum(axis=1, keepdims=True)
    mixture, data = np.hstack([own, rest]), np.asarray(signals, float)
    resolved = resolved_voxels(mixture, region)
    if resolved == 0:
        return _unresolved(data.shape[1])
    basis = _background_components(data, mixture[:, -1])
    scores = data @ basis.T
    courses, variances = _weighted_courses(scores, mixture)
    if not np.isfinite(variances[region]).all():
        return _unresolved(data.shape[1])
    deviations = np.sqrt(variances[region])
    return UnmixedCourse(
        course=courses[region] @ basis,
        spread=deviations[:, None] * basis,
        resolved_voxels=resolved,
        log_likelihood=_log_likelihood(scores, mixture, courses),
    )


def _unresolved(samples: int) -> UnmixedCourse:
    """Return the course of a region that the voxels do not determine."""
    lacking = np.full(samples, np.nan)
    return UnmixedCourse(lacking, np.full((samples, samples), np.nan), 0.0, -np.inf)


def edge_weights(log_likelihoods: ArrayLike, offsets: ArrayLike, uncertainty: float) -> Array:
    r"""Return the probability of each position of a lesion's edge.

    Parameters
    ----------
    log_likelihoods : (K,) array
        Of the voxels for each position.
    offsets : (K,) array, mm
        Distances of the positions from the drawn edge.
    uncertainty : float, mm
        Standard deviation of drawn edges.

    Returns
    -------
    (K,) array
        Together 1; NaN if no position is possible.

    Notes
    -----
    Posterior probabilities for a normal prior around the drawn edge,
    :math:`p_k \propto \exp(\nu \ell_k - d_k^2 / 2 \tau^2)`, where :math:`\nu` is 0.15 because the
    residuals of neighbouring voxels are correlated.

    Examples
    --------
    >>> edge_weights([0.0, 0.0, 0.0], [-0.5, 0.0, 0.5], 0.5).round(2)
    array([0.27, 0.45, 0.27])
    """
    prior = -np.square(np.asarray(offsets, float) / uncertainty) / 2
    return probabilities(_INDEPENDENT * np.asarray(log_likelihoods, float) + prior)


def probabilities(log_likelihoods: ArrayLike) -> Array:
    """Return the probabilities of alternatives that describe the same data.

    Parameters
    ----------
    log_likelihoods : (K,) array
        Of each alternative; -inf for an impossible one.

    Returns
    -------
    (K,) array
        Together 1; NaN if no alternative is possible.

    Examples
    --------
    >>> probabilities([0.0, 0.0, -np.inf])
    array([0.5, 0.5, 0. ])
    """
    exponent = np.asarray(log_likelihoods, float)
    if not np.isfinite(exponent).any():
        return np.full(len(exponent), np.nan)
    weights = np.exp(exponent - exponent.max())
    return np.asarray(weights / weights.sum())


def resolved_voxels(mixture: ArrayLike, region: int = 0) -> float:
    """Return the number of pure voxels that would determine the course of a region equally well.

    Parameters
    ----------
    mixture : (V, R) array
        Fraction of each voxel inside each region; all regions add up to 1.
    region
        Column of the region.

    Returns
    -------
    float
        Sum of squares of the part of its column that no other columns explain; 0 if there is none.

    Examples
    --------
    >>> resolved_voxels([[1, 0], [1, 0], [0, 1]])
    2.0
    >>> resolved_voxels([[0.5, 0.5], [0.5, 0.5]])
    0.0
    """
    columns = np.asarray(mixture, float)
    own, others = columns[:, region], np.delete(columns, region, axis=1)
    explained = others @ np.linalg.lstsq(others, own, rcond=None)[0]
    squares = float(np.square(own - explained).sum())
    return squares if squares > 1e-9 * max(1.0, float(own @ own)) else 0.0


def _background_components(data: Array, background: Array) -> Array:
    """Return an orthonormal basis (N, N) of courses, the principal ones of the background first."""
    pure = data[background > _PURE]
    if len(pure) < _FEWEST_PURE:
        pure = data
    deviations = pure - np.median(pure, axis=0)
    # Courses far from the others, as of a large vessel, are shortened: one of them must not be a
    # principal component of its own.
    sizes = np.linalg.norm(deviations, axis=1)
    deviations /= np.maximum(1, sizes / (3 * np.median(sizes) + 1e-300))[:, None]
    deviations -= deviations.mean(axis=0)
    _, vectors = np.linalg.eigh(deviations.T @ deviations)
    return np.asarray(vectors[:, ::-1].T)


def _groups(samples: int) -> Iterator[slice]:
    """Yield the principal components one by one, and all others together."""
    leading = min(_COMPONENTS, samples - 1)
    yield from (slice(k, k + 1) for k in range(leading))
    yield slice(leading, samples)


def _weighted_courses(scores: Array, mixture: Array) -> tuple[Array, Array]:
    """Return the courses (R, N) and their variances, by iteratively reweighted least squares.

    NaN for a region that the voxels with weight do not determine.
    """
    courses = np.linalg.lstsq(mixture, scores, rcond=None)[0]
    variances = np.zeros_like(courses)
    trust = np.ones(len(scores))
    least = _ROUNDING * float(np.square(scores).mean()) + 1e-300
    for _ in range(_ITERATIONS):
        residuals = scores - mixture @ courses
        distance = np.zeros(len(scores))
        for group in _groups(scores.shape[1]):
            squares = np.square(residuals[:, group]).mean(axis=1)
            variance = _voxel_variances(squares, mixture, trust, least)
            weights = (trust / variance)[:, None]
            normal = mixture.T @ (mixture * weights)
            covariance = np.linalg.pinv(normal, rcond=_SINGULAR, hermitian=True)
            courses[:, group] = covariance @ (mixture.T @ (scores[:, group] * weights))
            # The matrix that relates the estimates to the courses is the identity where the voxels
            # with weight determine them all.
            determined = np.diag(covariance @ normal) > 1 - 1e-6
            variances[:, group] = np.where(determined, np.diag(covariance), np.nan)[:, None]
            left = scores[:, group] - mixture @ courses[:, group]
            distance += np.square(left).sum(axis=1) / variance
        trust = _biweight(np.sqrt(distance / scores.shape[1]))
    return np.asarray(courses, float), variances


def _log_likelihood(scores: Array, mixture: Array, courses: Array) -> float:
    """Return the mean over the samples of the normal log-likelihood of all voxels, but a constant.

    Every voxel counts; residuals of more than three standard deviations count as these.
    """
    squares = np.square(scores - mixture @ courses)
    least = _ROUNDING * float(np.square(scores).mean()) + 1e-300
    total = 0.0
    for group in _groups(scores.shape[1]):
        mean = squares[:, group].mean(axis=1)
        variance = _voxel_variances(mean, mixture, np.ones(len(mean)), least)
        terms = np.log(variance) + np.minimum(mean / variance, 9)
        total -= 0.5 * (group.stop - group.start) * float(terms.sum())
    return float(total / scores.shape[1])


def _voxel_variances(squares: Array, mixture: Array, trust: Array, least: float) -> Array:
    """Return the variance of each voxel (V,), from the mean squared residuals of a group."""
    background, lesions = mixture[:, -1], mixture[:, :-1].sum(axis=1)
    parts = np.stack([background**2, lesions**2, np.ones_like(background)], axis=1)
    # The median of a squared normal deviate is 0.455 times its variance.
    typical = float(np.median(squares)) / 0.455 + least
    variance = np.full(len(squares), typical)
    for _ in range(_ITERATIONS):
        # The standard deviation of a squared residual is proportional to its variance. Residuals
        # of more than three standard deviations are shortened to these.
        weights = np.sqrt(trust) / variance
        shortened = np.minimum(squares, 9 * variance)
        found = nnls(parts * weights[:, None], shortened * weights)[0]
        variance = np.maximum(parts @ found, _LEAST_VARIANCE * typical)
    return variance


def _biweight(distance: Array) -> Array:
    """Return Tukey's weights of voxels by their distance from a mixture."""
    scale = max(1.0, float(np.median(distance)))
    weights: Array = np.clip(1 - np.square(distance / (_TUKEY * scale)), 0, None) ** 2
    return weights
