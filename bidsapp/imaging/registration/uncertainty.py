"""How far off a registration is to be expected, from how much the blocks of an image disagree."""

import numpy as np
from numpy.typing import NDArray

from bidsapp.imaging.registration.matching import Coordinates, Match, Transform
from bidsapp.imaging.registration.sampling import Points
from bidsapp.imaging.transforms import Matrix

STEP = 0.25
"""By which the slopes are differenced, mm: wide enough to look past the corners of the linear
interpolation, narrow enough for the valley to be a parabola."""
INFLATION = 2.0
"""Of the blocks' own standard error: neighbours share noise and distortion. Found by holding it
against true errors; ``scripts/bench registration`` does it again."""


def expected_error(problem: Match, matrix: Matrix, transform: Transform, points: Points) -> float:
    r"""Return the standard error of where points come to lie, at a minimum of the cost.

    Parameters
    ----------
    problem : Match
    matrix : (4, 4) array
        Where its cost is lowest.
    transform : str
    points : (N, 3) array, mm
        Such as the brain's, among the samples.

    Returns
    -------
    float, mm
        Root mean square over the points; infinite where the cost does not rise on all sides.

    Notes
    -----
    The minimum p of a sum over blocks, :math:`\sum_k c_k(p)`, has the covariance
    :math:`H^{-1} (\sum_k g_k g_k^T) H^{-1}`, with the slopes :math:`g_k` of the blocks and the
    curvature H of the sum: what a bootstrap over blocks tends to. It holds what differs from block
    to block, as noise and local distortion do, not what shifts all of them alike.

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
    half = np.linalg.solve(curvature, slopes.T)
    return INFLATION * _displacement(half @ half.T, coordinates, points)


def _curvature(problem: Match, coordinates: Coordinates) -> NDArray[np.float64]:
    """Return the second derivatives of the cost by the coordinates, from differences of slopes."""
    rows = []
    for step in np.eye(coordinates.size) * STEP:
        ends = [
            coordinates.slopes(p, problem.slope(coordinates.matrix(p))[1]) for p in (step, -step)
        ]
        rows.append((ends[0] - ends[1]) / (2 * STEP))
    found = np.array(rows)
    return (found + found.T) / 2


def _displacement(
    covariance: NDArray[np.float64], coordinates: Coordinates, points: Points
) -> float:
    """Return the root mean square displacement of points."""
    known = np.column_stack([points, np.ones(len(points))])
    ways = [
        known @ (coordinates.matrix(step) - coordinates.origin)[:3].T / STEP
        for step in np.eye(coordinates.size) * STEP
    ]
    by_number = np.stack(ways, axis=-1)
    variance = np.einsum("nip,pq,niq->n", by_number, covariance, by_number)
    return float(np.sqrt(variance.mean()))
