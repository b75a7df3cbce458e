"""The cost of a matrix that maps samples of one image into another, its gradient and descent."""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import optimize
from scipy.spatial.transform import Rotation

from bidsapp.errors import BadInput
from bidsapp.imaging.registration.sampling import Image, Points, Reading, Values, interpolate
from bidsapp.imaging.registration.similarity import Measure, Metric, assign_blocks, make_measure
from bidsapp.imaging.transforms import Matrix, Vector

Transform = Literal["affine", "rigid"]

RADIUS = 60.0
"""mm; converts a rotation or a stretch to the displacement at this distance from the centre."""
MIN_MASK_WEIGHT = 0.9
"""Smallest interpolated mask value at which a point is used."""
MIN_SAMPLES = 100
"""Smallest number of samples for a registration."""


@dataclass(frozen=True)
class Samples:
    """Values of one image at points, sorted by block.

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


def sort_samples(points: Points, values: Values, spacing: float) -> Samples:
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
        If there are fewer than `MIN_SAMPLES`.
    """
    if len(points) < MIN_SAMPLES:
        raise BadInput(
            f"only {len(points)} voxels of the brain lie in both images, too few to register; "
            "check the mask, and that the headers agree on where the head is"
        )
    # A stable sort makes each block one slice, so that sums over blocks are a single reduceat.
    blocks = assign_blocks(points, spacing)
    order = np.argsort(blocks, kind="stable")
    return Samples(points[order], np.asarray(values, np.float32)[order], blocks[order])


@dataclass(frozen=True)
class Match:
    """Samples, the image interpolated at them, and the similarity measure between both.

    Attributes
    ----------
    samples : Samples
    image : Image
    measure : Measure
    mask : Image, optional
        Where the image is used.
    stiffness : float
        Weight of the squared Green-Lagrange strain in the cost. It matters only for what the images
        do not determine, such as the height of a brain of which only a slab was imaged.
    """

    samples: Samples
    image: Image
    measure: Measure
    mask: Image | None = None
    stiffness: float = 0.0

    @cached_property
    def centre(self) -> Vector:
        """Middle of the samples, mm."""
        middle: Vector = self.samples.points.mean(axis=0)
        return middle

    @cached_property
    def offsets(self) -> Points:
        """Samples relative to their middle, (N, 3), mm."""
        return self.samples.points - self.centre

    def cost(self, matrix: Matrix) -> float:
        """Return the cost of a matrix, sample points to image points."""
        return self.slope(matrix)[0]

    def slope(self, matrix: Matrix) -> tuple[float, Matrix]:
        """Return the cost and its gradient with respect to the matrix about the centre, (3, 4).

        The fourth column is the gradient with respect to the position of the centre.
        """
        reading = self._read(matrix)
        found = self.measure(reading.values, reading.inside)
        by_point = self._by_point(reading, found.slope)
        # Chain rule: a point is L (x - centre) + t, so dC/dL = sum of dC/dpoint (x - centre)^T
        # and dC/dt = sum of dC/dpoint.
        slope = np.column_stack([by_point @ self.offsets, by_point.sum(axis=1)])
        # The strain E = (L^T L - 1) / 2 is zero for any rotation; the gradient of |E|^2 is 2 L E.
        linear = matrix[:3, :3]
        strain = (linear.T @ linear - np.eye(3)) / 2
        slope[:, :3] += 2 * self.stiffness * linear @ strain
        return found.cost + self.stiffness * float((strain**2).sum()), slope

    def block_slopes(self, matrix: Matrix) -> NDArray[np.float64]:
        """Return the gradient of each block's cost with respect to the matrix, (K, 3, 4)."""
        reading = self._read(matrix)
        by_point = self._by_point(reading, self.measure(reading.values, reading.inside).slope)
        offsets = np.column_stack([self.offsets, np.ones(len(reading.inside))])
        starts = np.flatnonzero(np.diff(self.samples.blocks, prepend=-1))
        terms = by_point.T[:, :, None] * offsets[:, None, :]
        found: NDArray[np.float64] = np.add.reduceat(terms, starts, axis=0)
        return found

    def _read(self, matrix: Matrix) -> Reading:
        found = interpolate(self.image, self._voxels(self.image, matrix))
        if self.mask is None:
            return found
        # Interpolation of the image mixes in voxels outside the mask unless nearly all of the
        # weight is inside.
        kept = interpolate(self.mask, self._voxels(self.mask, matrix))
        return replace(found, inside=found.inside & kept.inside & (kept.values >= MIN_MASK_WEIGHT))

    def _voxels(self, image: Image, matrix: Matrix) -> Points:
        """Return the voxel coordinates of the samples in an image, (3, N)."""
        to_voxel = image.to_voxels @ matrix
        return to_voxel[:3, :3] @ self.samples.points.T + to_voxel[:3, 3:]

    def _by_point(self, reading: Reading, slope: Values) -> Values:
        """Return the gradient of the cost with respect to each mapped sample, (3, N)."""
        # The gradient is a covector: from voxels to mm it transforms with the transposed inverse.
        to_mm = self.image.to_voxels[:3, :3].T.astype(np.float32)
        moved: Values = to_mm @ (reading.slopes * (slope * reading.inside))
        return moved


def make_match(
    samples: Samples,
    image: Image,
    metric: Metric,
    *,
    mask: Image | None = None,
    stiffness: float = 0.0,
) -> Match:
    """Return the matching problem of samples and an image.

    Parameters
    ----------
    samples : Samples
    image : Image
    metric : str
    mask : Image, optional
        Where the image is used.
    stiffness : float
        Weight of stretches and shears in the cost.

    Returns
    -------
    Match
    """
    similarity = make_measure(metric, samples.values, samples.blocks, image.data)
    return Match(samples, image, similarity, mask, stiffness)


@dataclass(frozen=True)
class Coordinates:
    """Coordinates of the matrices around an origin: 12 or 6 numbers in mm.

    Attributes
    ----------
    origin : (4, 4) array
        Where all numbers are zero.
    centre : (3,) array, mm
        Centre of rotations and stretches.
    transform : str
    """

    origin: Matrix
    centre: Vector
    transform: Transform

    @property
    def size(self) -> int:
        """Number of coordinates."""
        return 12 if self.transform == "affine" else 6

    def matrix(self, numbers: Vector) -> Matrix:
        """Return the matrix at given coordinates: shift, then stretches or rotation vector."""
        linear = self.origin[:3, :3]
        if self.transform == "affine":
            linear = linear + numbers[3:].reshape(3, 3) / RADIUS
        else:
            linear = Rotation.from_rotvec(numbers[3:] / RADIUS).as_matrix() @ linear
        result = np.eye(4)
        result[:3, :3] = linear
        # The centre moves by the shift alone: shift and rotation are then nearly uncorrelated.
        middle = self.origin[:3, :3] @ self.centre + self.origin[:3, 3] + numbers[:3]
        result[:3, 3] = middle - linear @ self.centre
        return result

    def slopes(self, numbers: Vector, by_matrix: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return gradients by the coordinates from gradients (..., 3, 4) by the matrix."""
        shift, linear = by_matrix[..., 3], by_matrix[..., :3]
        if self.transform == "affine":
            turned = linear.reshape(*linear.shape[:-2], 9) / RADIUS
        else:
            # Derivatives of R(w) by central differences: exact to 1e-9 at this step, and simpler
            # than the closed form of the derivative of the exponential map.
            step = 1e-4
            ends = np.concatenate([np.eye(3) * step, -np.eye(3) * step]) + numbers[3:] / RADIUS
            ahead, behind = np.split(Rotation.from_rotvec(ends).as_matrix(), 2)
            by_rotation = (ahead - behind) @ self.origin[:3, :3] / (2 * step * RADIUS)
            turned = np.einsum("...ij,kij->...k", linear, by_rotation)
        return np.concatenate([shift, turned], axis=-1)


@dataclass(frozen=True)
class Descent:
    """End of an optimisation: matrix, cost, and number of evaluations of the cost."""

    matrix: Matrix
    cost: float
    evaluations: int


def descend(problem: Match, start: Matrix, transform: Transform, steps: int) -> Descent:
    """Minimise the cost from a starting matrix to the nearest local minimum.

    Parameters
    ----------
    problem : Match
    start : (4, 4) array
        Sample points to image points, RAS mm.
    transform : str
        ``affine`` changes all twelve elements, ``rigid`` rotates and shifts the start.
    steps : int
        Maximum number of iterations.

    Returns
    -------
    Descent
    """
    coordinates = Coordinates(start, problem.centre, transform)

    def evaluate(numbers: Vector) -> tuple[float, Vector]:
        cost, slope = problem.slope(coordinates.matrix(numbers))
        return cost, coordinates.slopes(numbers, slope)

    # Quasi-Newton: the gradient is exact and costs little more than the value, and all coordinates
    # are in mm and hence of similar scale. maxcor covers all 12 dimensions of an affine matrix.
    found = optimize.minimize(
        evaluate,
        np.zeros(coordinates.size),
        jac=True,
        method="L-BFGS-B",
        options={"maxiter": steps, "maxcor": 12, "ftol": 1e-7, "gtol": 1e-6},
    )
    return Descent(coordinates.matrix(found.x), float(found.fun), int(found.nfev))
