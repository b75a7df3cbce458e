"""Starting poses of a registration: many are scored, and the best ones are refined."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation
from scipy.special import ndtri
from scipy.stats import qmc

from bidsapp.imaging.registration.matching import Descent, Match, Transform, descend
from bidsapp.imaging.registration.sampling import Image, Points
from bidsapp.imaging.transforms import Matrix, Vector, apply

ROTATION_DEGREES, SHIFT_MM = 11.0, 18.0
"""Standard deviations of the random poses, about and along each axis."""
FOREGROUND = 0.15
"""Fraction of the range from dark to bright above which a voxel belongs to the head."""


def foreground_mask(image: Image) -> NDArray[np.bool_]:
    """Return the mask of voxels bright enough to belong to the head.

    Parameters
    ----------
    image : Image

    Returns
    -------
    (X, Y, Z) array of bool
    """
    low, high = np.percentile(image.data, [2, 98])
    if not high > low:  # nearly all of it is background
        low, high = image.data.min(), image.data.max()
    return np.asarray(image.data >= low + FOREGROUND * (high - low))


def head_centre(image: Image) -> Vector:
    """Return the centre of the head in an image, mm."""
    return apply(image.affine, np.argwhere(foreground_mask(image)).mean(axis=0))


def draw_poses(fixed: Vector, moving: Vector, count: int, seed: int) -> list[Matrix]:
    """Return candidate poses, fixed to moving points: from the headers, centred, and random.

    Parameters
    ----------
    fixed, moving : (3,) array, mm
        The centres of the two heads.
    count : int
        Number of random poses about each of the two guesses, a power of two.
    seed : int

    Returns
    -------
    list of (4, 4) arrays
        The first trusts the headers, the second aligns the centres.

    Notes
    -----
    The poses are quasi-random (Sobol), which cover six dimensions evenly with few points.
    """
    uniform = qmc.Sobol(6, seed=seed).random(count)
    # The quantile function turns uniform numbers into normal ones; the first row, of zeros, leaves
    # both guesses as they are.
    numbers = np.vstack([np.zeros(6), ndtri(np.clip(uniform, 1e-6, 1 - 1e-6))])
    guesses = (np.zeros(3), moving - fixed)
    return [_pose(row, fixed, guess) for row in numbers for guess in guesses]


def _pose(numbers: Vector, centre: Vector, shift: Vector) -> Matrix:
    """Return the matrix of a rotation about a centre and a shift."""
    matrix = np.eye(4)
    turn = np.radians(ROTATION_DEGREES) * numbers[3:]
    matrix[:3, :3] = Rotation.from_rotvec(turn).as_matrix()
    matrix[:3, 3] = centre + shift + SHIFT_MM * numbers[:3] - matrix[:3, :3] @ centre
    return matrix


def mean_distance(one: Matrix, other: Matrix, points: Points) -> float:
    """Return the mean distance between the images of points under two matrices, mm."""
    difference = one - other
    moved = points @ difference[:3, :3].T + difference[:3, 3]
    return float(np.linalg.norm(moved, axis=1).mean())


def keep_distinct(
    found: Sequence[Descent], points: Points, apart: float, most: int
) -> list[Descent]:
    """Return the descents of lowest cost that differ from one another.

    Parameters
    ----------
    found : sequence of Descent
    points : (N, 3) array, mm
    apart : float, mm
        Mean distance above which two descents differ.
    most : int

    Returns
    -------
    list of Descent
        By cost.
    """
    kept: list[Descent] = []
    for one in sorted(found, key=lambda d: d.cost):
        if all(mean_distance(one.matrix, k.matrix, points) > apart for k in kept):
            kept.append(one)
        if len(kept) == most:
            break
    return kept


def score(problem: Match, starts: Sequence[Matrix]) -> list[Descent]:
    """Return the cost of each start."""
    return [Descent(m, problem.cost(m), 1) for m in starts]


def descend_all(
    problem: Match, starts: Sequence[Descent], transform: Transform, steps: int
) -> list[Descent]:
    """Return the ends of the descents from several starts."""
    return [descend(problem, d.matrix, transform, steps) for d in starts]


def ambiguity(
    starts: Sequence[Descent], ends: Sequence[Descent], points: Points, apart: float
) -> float:
    """Return how close the cost of the best different solution comes to that of the best.

    Parameters
    ----------
    starts : sequence of Descent
        Random ones; their median cost is that of chance.
    ends : sequence of Descent
    points : (N, 3) array, mm
    apart : float, mm
        Mean distance above which a solution is a different one.

    Returns
    -------
    float
        0 if no other solution is better than chance, 1 if another one is as good.
    """
    best = min(ends, key=lambda d: d.cost)
    others = [
        d.cost for d in (*starts, *ends) if mean_distance(d.matrix, best.matrix, points) > apart
    ]
    if not others:
        return 1.0
    return min(relative_cost(min(others), best.cost, starts), 1.0)


def relative_cost(cost: float, best: float, starts: Sequence[Descent]) -> float:
    """Return a cost relative to that of the best solution, on a scale from chance to best.

    Parameters
    ----------
    cost, best : float
        Of another solution, and of the best solution.
    starts : sequence of Descent
        Random ones; their median cost is that of chance.

    Returns
    -------
    float
        0 if no better than chance, 1 if as good as the best solution, above 1 if better; also 1 if
        the best solution itself is no better than chance.
    """
    chance = float(np.median([d.cost for d in starts]))
    if best >= chance:
        return 1.0
    return max((chance - cost) / (chance - best), 0.0)


def mirror_start(start: Matrix, points: Points) -> Matrix:
    """Return a starting matrix preceded by a left-right reflection of the fixed head.

    Parameters
    ----------
    start : (4, 4) array
        Fixed points to moving points, RAS mm.
    points : (N, 3) array, mm
        Of the fixed head; it is mirrored about the sagittal plane through their middle.

    Returns
    -------
    (4, 4) array
    """
    # x becomes 2 m - x about the plane x = m.
    mirror = np.diag([-1.0, 1.0, 1.0, 1.0])
    mirror[0, 3] = 2 * points[:, 0].mean()
    return start @ mirror
