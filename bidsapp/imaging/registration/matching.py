"""An image matched to samples of another: the cost of a matrix, its slope, and the way down."""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import optimize
from scipy.spatial.transform import Rotation

from bidsapp.errors import BadInput
from bidsapp.imaging.registration.sampling import Image, Points, Reading, Values, read
from bidsapp.imaging.registration.similarity import Measure, Metric, block_of, measure
from bidsapp.imaging.transforms import Matrix, Vector, invert

Transform = Literal["affine", "rigid"]

RADIUS = 60.0
"""mm; a rotation or a stretch counts as what it moves at this distance from the centre."""
WHOLE = 0.9
"""Share of what is read at a point that must come from where the image counts."""
FEWEST = 100
"""Samples that a registration needs."""


@dataclass(frozen=True)
class Samples:
    """Values of one image at points, block after block.

    Attributes
    ----------
    points : (N, 3) array, mm
    values : (N,) array
    blocks : (N,) array of int
        Sorted.
    """

    points: Points
    values: Values
    blocks: NDArray[np.intp]


def samples_of(points: Points, values: Values, spacing: float) -> Samples:
    """Return samples sorted into blocks.

    Parameters
    ----------
    points : (N, 3) array, mm
    values : (N,) array
    spacing : float, mm
        Edge of the cube that holds two blocks.

    Returns
    -------
    Samples

    Raises
    ------
    BadInput
        If there are fewer than a hundred.
    """
    if len(points) < FEWEST:
        raise BadInput(
            f"only {len(points)} voxels of the brain lie in both images, too few to register; "
            "check the mask, and that the headers agree on where the head is"
        )
    blocks = block_of(points, spacing)
    order = np.argsort(blocks, kind="stable")
    return Samples(points[order], np.asarray(values, np.float32)[order], blocks[order])


@dataclass(frozen=True)
class Match:
    """Samples, the image that is read at them, and the measure of how alike they are.

    Attributes
    ----------
    samples : Samples
    image : Image
    measure : Measure
    mask : Image, optional
        Where the image counts.
    stiffness : float
        Price of a stretch or shear: so much times the squared strain. It decides only what the
        images leave open, such as the height of a brain of which there is a slab.
    """

    samples: Samples
    image: Image
    measure: Measure
    mask: Image | None = None
    stiffness: float = 0.0

    @property
    def centre(self) -> Vector:
        """Middle of the samples, mm."""
        middle: Vector = self.samples.points.mean(axis=0)
        return middle

    def cost(self, matrix: Matrix) -> float:
        """Return the cost of a matrix, sample points to image points."""
        return self.slope(matrix)[0]

    def slope(self, matrix: Matrix) -> tuple[float, Matrix]:
        """Return the cost, and its slope by the elements of the matrix about the centre, (3, 4).

        The fourth column is the slope by where the centre goes.
        """
        reading = self._read(matrix)
        found = self.measure(reading.values, reading.inside)
        by_point = self._by_point(reading, found.slope)
        offsets = self.samples.points - self.centre
        slope = np.column_stack([by_point @ offsets, by_point.sum(axis=1)])
        linear = matrix[:3, :3]
        strain = (linear.T @ linear - np.eye(3)) / 2
        slope[:, :3] += 2 * self.stiffness * linear @ strain
        return found.cost + self.stiffness * float((strain**2).sum()), slope

    def block_slopes(self, matrix: Matrix) -> NDArray[np.float64]:
        """Return the slope of each block's cost by the elements of the matrix, (K, 3, 4)."""
        reading = self._read(matrix)
        by_point = self._by_point(reading, self.measure(reading.values, reading.inside).slope)
        offsets = np.column_stack([self.samples.points - self.centre, np.ones(len(reading.inside))])
        starts = np.flatnonzero(np.diff(self.samples.blocks, prepend=-1))
        terms = by_point.T[:, :, None] * offsets[:, None, :]
        found: NDArray[np.float64] = np.add.reduceat(terms, starts, axis=0)
        return found

    def _read(self, matrix: Matrix) -> Reading:
        found = read(self.image, self._voxels(self.image, matrix))
        if self.mask is None:
            return found
        kept = read(self.mask, self._voxels(self.mask, matrix))
        return replace(found, inside=found.inside & kept.inside & (kept.values >= WHOLE))

    def _voxels(self, image: Image, matrix: Matrix) -> Points:
        """Return where the samples come to lie in an image, (3, N)."""
        to_voxel = invert(image.affine) @ matrix
        return to_voxel[:3, :3] @ self.samples.points.T + to_voxel[:3, 3:]

    def _by_point(self, reading: Reading, slope: Values) -> Values:
        """Return the slope of the cost by where each sample comes to lie, (3, N)."""
        to_mm = invert(self.image.affine)[:3, :3].T.astype(np.float32)
        moved: Values = to_mm @ (reading.slopes * (slope * reading.inside))
        return moved


def match(
    samples: Samples,
    image: Image,
    metric: Metric,
    *,
    mask: Image | None = None,
    stiffness: float = 0.0,
) -> Match:
    """Return the problem of bringing samples onto an image.

    Parameters
    ----------
    samples : Samples
    image : Image
    metric : str
    mask : Image, optional
        Where the image counts.
    stiffness : float
        Price of a stretch or shear.

    Returns
    -------
    Match
    """
    given = measure(metric, samples.values, samples.blocks, image.data)
    return Match(samples, image, given, mask, stiffness)


@dataclass(frozen=True)
class Coordinates:
    """Matrices near one, as 12 or 6 numbers in mm.

    Attributes
    ----------
    origin : (4, 4) array
        Where all numbers are zero.
    centre : (3,) array, mm
        About which rotations and stretches are.
    transform : str
    """

    origin: Matrix
    centre: Vector
    transform: Transform

    @property
    def size(self) -> int:
        """How many numbers."""
        return 12 if self.transform == "affine" else 6

    def matrix(self, numbers: Vector) -> Matrix:
        """Return the matrix of some numbers: shift first, then stretches or a rotation."""
        linear = self.origin[:3, :3]
        if self.transform == "affine":
            linear = linear + numbers[3:].reshape(3, 3) / RADIUS
        else:
            linear = Rotation.from_rotvec(numbers[3:] / RADIUS).as_matrix() @ linear
        result = np.eye(4)
        result[:3, :3] = linear
        middle = self.origin[:3, :3] @ self.centre + self.origin[:3, 3] + numbers[:3]
        result[:3, 3] = middle - linear @ self.centre
        return result

    def slopes(self, numbers: Vector, by_matrix: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return slopes by the numbers, of slopes (..., 3, 4) by the elements of the matrix."""
        shift, linear = by_matrix[..., 3], by_matrix[..., :3]
        if self.transform == "affine":
            turned = linear.reshape(*linear.shape[:-2], 9) / RADIUS
        else:
            step = 1e-4
            ends = np.concatenate([np.eye(3) * step, -np.eye(3) * step]) + numbers[3:] / RADIUS
            there, back = np.split(Rotation.from_rotvec(ends).as_matrix(), 2)
            ways = (there - back) @ self.origin[:3, :3] / (2 * step * RADIUS)
            turned = np.einsum("...ij,kij->...k", linear, ways)
        return np.concatenate([shift, turned], axis=-1)


@dataclass(frozen=True)
class Descent:
    """Where an optimisation ended, at which cost, after how many readings of the image."""

    matrix: Matrix
    cost: float
    evaluations: int


def descend(problem: Match, start: Matrix, transform: Transform, steps: int) -> Descent:
    """Go down from a matrix to the nearest minimum of the cost.

    Parameters
    ----------
    problem : Match
    start : (4, 4) array
        Sample points to image points, RAS mm.
    transform : str
        ``affine`` changes all twelve elements, ``rigid`` turns and shifts the start.
    steps : int
        At most.

    Returns
    -------
    Descent
    """
    coordinates = Coordinates(start, problem.centre, transform)

    def evaluate(numbers: Vector) -> tuple[float, Vector]:
        cost, slope = problem.slope(coordinates.matrix(numbers))
        return cost, coordinates.slopes(numbers, slope)

    found = optimize.minimize(
        evaluate,
        np.zeros(coordinates.size),
        jac=True,
        method="L-BFGS-B",
        options={"maxiter": steps, "maxcor": 12, "ftol": 1e-7, "gtol": 1e-6},
    )
    return Descent(coordinates.matrix(found.x), float(found.fun), int(found.nfev))
