"""Expected error of a registration, from the disagreement between blocks of the image."""

import numpy as np
from numpy.typing import NDArray

from bidsapp.imaging.registration.matching import Coordinates, Match, Transform
from bidsapp.imaging.registration.sampling import Points
from bidsapp.imaging.transforms import Matrix

STEP = 0.25
"""mm; step of the differences of gradients: wide enough to average over the kinks of the linear
interpolation, narrow enough for the cost to be quadratic."""
INFLATION = 2.0
"""Factor on the standard error from blocks, as neighbours share noise and distortion. Calibrated
against true errors; ``scripts/bench registration`` repeats the calibration."""


def expected_error(problem: Match, matrix: Matrix, transform: Transform, points: Points) -> float:
    r"""Return the standard error of the position of mapped points, at a minimum of the cost.

    Parameters
    ----------
    problem : Match
    matrix : (4, 4) array
        At the minimum of the cost.
    transform : str
    points : (N, 3) array, mm
        Of the brain, within the samples.

    Returns
    -------
    float, mm
        Root mean square over the points; infinite if the cost is not convex in all directions.

    Notes
    -----
    The minimum p of a sum over blocks, :math:`\sum_k c_k(p)`, has the covariance
    :math:`H^{-1} (\sum_k g_k g_k^T) H^{-1}`, with the gradients :math:`g_k` of the blocks and the
    Hessian H of the sum: the limit of a bootstrap over blocks. It includes errors that differ
    between blocks, such as noise and local distortion, but not those common to all blocks.

    References
    ----------
    Huber, Proc. 5th Berkeley Symp. 1967, vol. 1, pp. 221-233 (the sandwich estimator).
    """
    coordinates = Coordinates(matrix, problem.centre, transform)
    here = np.zeros(coordinates.size)
    slopes = coordinates.slopes(here, problem.block_slopes(matrix))
    curvature = _curvature(problem, coordinates)
    low, high = np.linalg.eigvalsh(curvature)[[0, -1]]
    if not low > 1e-6 * high:
        return float("inf")
    # H^-1 G^T G H^-1 as the square of one factor, so that it stays positive semidefinite.
    half = np.linalg.solve(curvature, slopes.T)
    return INFLATION * _rms_displacement(half @ half.T, coordinates, points)


def _curvature(problem: Match, coordinates: Coordinates) -> NDArray[np.float64]:
    """Return the Hessian of the cost in the coordinates, from differences of gradients."""
    rows = []
    for step in np.eye(coordinates.size) * STEP:
        ends = [
            coordinates.slopes(p, problem.slope(coordinates.matrix(p))[1]) for p in (step, -step)
        ]
        rows.append((ends[0] - ends[1]) / (2 * STEP))
    found = np.array(rows)
    # Differences of gradients are not exactly symmetric, as a Hessian must be.
    return (found + found.T) / 2


def _rms_displacement(
    covariance: NDArray[np.float64], coordinates: Coordinates, points: Points
) -> float:
    """Return the root mean square displacement of points for a covariance of the coordinates."""
    # J[n, i, p] = d(position i of point n) / d(coordinate p); the variance of the position is the
    # trace of J C J^T.
    homogeneous = np.column_stack([points, np.ones(len(points))])
    shifts = [
        homogeneous @ (coordinates.matrix(step) - coordinates.origin)[:3].T / STEP
        for step in np.eye(coordinates.size) * STEP
    ]
    by_number = np.stack(shifts, axis=-1)
    variance = np.einsum("nip,pq,niq->n", by_number, covariance, by_number)
    return float(np.sqrt(variance.mean()))
