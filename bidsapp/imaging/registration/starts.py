"""Where a registration begins: many poses of the head, of which the cheapest are followed."""

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
"""Share of the way from dark to bright from which on a voxel is taken for the head."""


def foreground(image: Image) -> NDArray[np.bool_]:
    """Return which voxels are bright enough to be the head.

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


def middle(image: Image) -> Vector:
    """Return the middle of the head in an image, mm."""
    return apply(image.affine, np.argwhere(foreground(image)).mean(axis=0))


def poses(fixed: Vector, moving: Vector, count: int, seed: int) -> list[Matrix]:
    """Return poses of the head, fixed points to moving points: as headers say, centred, and random.

    Parameters
    ----------
    fixed, moving : (3,) array, mm
        The middles of the two heads.
    count : int
        A power of two of random poses, about each of the two guesses.
    seed : int

    Returns
    -------
    list of (4, 4) arrays
        The first trusts the headers, the second brings the middles together.

    Notes
    -----
    The numbers are quasi-random (Sobol), so that few cover six dimensions evenly.
    """
    uniform = qmc.Sobol(6, seed=seed).random(count)
    numbers = np.vstack([np.zeros(6), ndtri(np.clip(uniform, 1e-6, 1 - 1e-6))])
    guesses = (np.zeros(3), moving - fixed)
    return [_pose(row, fixed, guess) for row in numbers for guess in guesses]


def _pose(numbers: Vector, centre: Vector, shift: Vector) -> Matrix:
    """Return a rotation about a centre, and a shift."""
    matrix = np.eye(4)
    turn = np.radians(ROTATION_DEGREES) * numbers[3:]
    matrix[:3, :3] = Rotation.from_rotvec(turn).as_matrix()
    matrix[:3, 3] = centre + shift + SHIFT_MM * numbers[:3] - matrix[:3, :3] @ centre
    return matrix


def distance(one: Matrix, other: Matrix, points: Points) -> float:
    """Return the mean distance between where two matrices take points, mm."""
    difference = one - other
    moved = points @ difference[:3, :3].T + difference[:3, 3]
    return float(np.linalg.norm(moved, axis=1).mean())


def distinct(found: Sequence[Descent], points: Points, apart: float, most: int) -> list[Descent]:
    """Return the cheapest of those that differ.

    Parameters
    ----------
    found : sequence of Descent
    points : (N, 3) array, mm
    apart : float, mm
        Mean distance from which on two differ.
    most : int

    Returns
    -------
    list of Descent
        By cost.
    """
    kept: list[Descent] = []
    for one in sorted(found, key=lambda d: d.cost):
        if all(distance(one.matrix, k.matrix, points) > apart for k in kept):
            kept.append(one)
        if len(kept) == most:
            break
    return kept


def scored(problem: Match, starts: Sequence[Matrix]) -> list[Descent]:
    """Return the cost of each start."""
    return [Descent(m, problem.cost(m), 1) for m in starts]


def followed(
    problem: Match, starts: Sequence[Descent], transform: Transform, steps: int
) -> list[Descent]:
    """Return where descents from several starts end."""
    return [descend(problem, d.matrix, transform, steps) for d in starts]


def ambiguity(
    starts: Sequence[Descent], ends: Sequence[Descent], points: Points, apart: float
) -> float:
    """Return how close the best other answer comes to the best one.

    Parameters
    ----------
    starts : sequence of Descent
        Random ones: their median cost is what chance gives.
    ends : sequence of Descent
        Where the descents ended.
    points : (N, 3) array, mm
    apart : float, mm
        Mean distance from which on an answer is another one.

    Returns
    -------
    float
        0 where nothing else is better than chance, 1 where another answer is as good.
    """
    best = min(ends, key=lambda d: d.cost)
    others = [d.cost for d in (*starts, *ends) if distance(d.matrix, best.matrix, points) > apart]
    if not others:
        return 1.0
    return min(as_good(min(others), best.cost, starts), 1.0)


def as_good(cost: float, best: float, starts: Sequence[Descent]) -> float:
    """Return how close a cost comes to that of the answer.

    Parameters
    ----------
    cost, best : float
        Of another answer, and of the answer.
    starts : sequence of Descent
        Random ones: their median cost is what chance gives.

    Returns
    -------
    float
        0 where it is no better than chance, 1 where it is as good as the answer, more where it is
        better; also 1 where the answer itself is no better than chance.
    """
    chance = float(np.median([d.cost for d in starts]))
    if best >= chance:
        return 1.0
    return max((chance - cost) / (chance - best), 0.0)


def exchanged(start: Matrix, points: Points) -> Matrix:
    """Return a start with left and right of the fixed head exchanged first.

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
    mirror = np.diag([-1.0, 1.0, 1.0, 1.0])
    mirror[0, 3] = 2 * points[:, 0].mean()
    return start @ mirror
