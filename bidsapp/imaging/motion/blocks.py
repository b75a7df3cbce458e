"""Small blocks of a series, in each of which a frame is a linear function of the target.

Contrast agent and diffusion weighting change the brightness of tissues differently across the head.
Within a block of one centimetre the change is a factor and an offset; the rest is motion.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import numpy as np
from nibabel.affines import voxel_sizes
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial.transform import Rotation

from bidsapp.errors import BadInput
from bidsapp.imaging.masks import Mask
from bidsapp.imaging.transforms import Matrix, Vector, apply, compose, invert, translation

Values = NDArray[np.float32]
Sample = tuple[Values, Mask]
"""Values at the points of blocks, and which of the points are in the field of view."""

STEP = 2.0
"""mm; finer voxels are averaged to about this size."""
FWHM = 3.0
"""mm; full width of the smoothing along axes with finer voxels. More would blur enhancing tissue
beyond its edges."""
BLOCK = 10.0
"""mm; edge of a block: smaller than enhancing structures, larger than the blur of an edge."""
MAX_BLOCKS = 2000
"""Number of blocks used; more take time without improving accuracy."""
MIN_BLOCKS = 30
"""Smallest number of blocks for an alignment."""
FILLED = 0.6
"""Smallest fraction of a block inside the mask."""
RIM = 8.0
"""mm; width of the edge of the head that is unreliable for stretch and shear."""
RADIUS = 50.0
"""mm; distance at which a rotation or a shear is expressed as a displacement."""
_ORDER = 3


class CannotAlign(BadInput):
    """The series has too little signal, or too few slices, for an alignment."""


@dataclass(frozen=True)
class Blocks:
    """The smoothed frames of a series, and the blocks in which they are compared.

    Attributes
    ----------
    frames : list of (x, y, z) array
        Coefficients of cubic splines.
    affine : (4, 4) array
        Their voxels to RAS mm.
    points : (B, P, 3) array, mm
        Of B blocks of P points.
    centre : (3,) array, mm
        Centre of rotations.
    phase : (3,) array or None
        Direction of the phase encoding, RAS: eddy currents shear and stretch along it.
    """

    frames: list[Values]
    affine: Matrix
    points: NDArray[np.float64]
    centre: Vector
    phase: Vector | None = None

    def sample(self, frame: Values, matrix: Matrix) -> Sample:
        """Return a frame at the mapped points, and which of them are in its field of view."""
        voxels = apply(compose(matrix, invert(self.affine)), self.points.reshape(-1, 3)).T
        values = np.empty(voxels.shape[1], np.float32)
        options: Any = {"order": _ORDER, "mode": "mirror", "prefilter": False}
        ndimage.map_coordinates(frame, voxels, values, **options)
        last = np.array(frame.shape)[:, None] - 1
        inside = np.asarray(((voxels >= 0) & (voxels <= last)).all(axis=0))
        shape = self.points.shape[:2]
        return values.reshape(shape), inside.reshape(shape)

    def subset(self, count: int) -> "Blocks":
        """Return the same frames with fewer blocks, evenly chosen."""
        every = max(1, len(self.points) // count)
        return replace(self, points=self.points[::every])


@dataclass(frozen=True)
class Target:
    """The target of an alignment: values (B, P), and their derivatives by each parameter, per mm.

    Rotations and shears are expressed in mm at `RADIUS`.
    """

    values: Values
    slopes: Values


def cut_blocks(
    series: NDArray[Any], affine: Matrix, mask: Mask | None, phase_axis: int | None = None
) -> Blocks:
    """Smooth a series and choose its blocks.

    Parameters
    ----------
    series : (X, Y, Z, N) array
    affine : (4, 4) array
        Its voxels to RAS mm.
    mask : (X, Y, Z) array of bool, or None
        Region to use; without it, the bright voxels and those enclosed by them.
    phase_axis : int, optional
        Voxel axis along which eddy currents act.

    Returns
    -------
    Blocks

    Raises
    ------
    CannotAlign
        If there are fewer than `MIN_BLOCKS`.
    """
    coarse, grid = _average_voxels(series, affine)
    if mask is None:
        inside = head_mask(coarse.mean(axis=-1))
        if phase_axis is not None:
            inside = _without_rim(inside, grid)
    else:
        inside = _average_voxels(np.asarray(mask, np.float32)[..., None], affine)[0][..., 0] > 0.5
    voxels = _block_voxels(inside, grid)
    if len(voxels) < MIN_BLOCKS:
        raise CannotAlign(
            f"only {len(voxels)} blocks of {BLOCK:g} mm contain signal, {MIN_BLOCKS} are needed"
        )
    # A random subset: consecutive blocks would all lie in one part of the head.
    chosen = np.random.default_rng(0).permutation(len(voxels))[:MAX_BLOCKS]
    points = apply(grid, voxels[chosen])
    zooms = voxel_sizes(grid)
    sigma = np.where(zooms < FWHM, FWHM / np.sqrt(8 * np.log(2)) / zooms, 0.0)
    frames = [spline_coefficients(frame, sigma) for frame in np.moveaxis(coarse, -1, 0)]
    phase = None if phase_axis is None else grid[:3, phase_axis] / zooms[phase_axis]
    return Blocks(frames, grid, points, points.mean(axis=(0, 1)), phase)


def make_target(blocks: Blocks, values: Values, frame: Values, matrix: Matrix) -> Target:
    """Return a target from given values and the gradient of one frame in its pose."""
    axes = blocks.affine[:3, :3] / voxel_sizes(blocks.affine)
    along = []
    for axis, size in zip(axes.T, voxel_sizes(blocks.affine), strict=True):
        ends = [
            blocks.sample(frame, compose(translation(sign * size / 2 * axis), matrix))[0]
            for sign in (1, -1)
        ]
        along.append((ends[0] - ends[1]) / size)
    # Derivatives by the parameters: shift, g; rotation about the centre, arm x g; eddy currents,
    # (g . phase) arm. Each arm is in units of RADIUS, so that all parameters are in mm.
    gradient = np.stack(along, axis=-1) @ axes.T
    arms = (blocks.points - blocks.centre) / RADIUS
    slopes = [gradient, np.cross(arms, gradient)]
    if blocks.phase is not None:
        slopes.append((gradient @ blocks.phase)[..., None] * arms)
    return Target(values, np.concatenate(slopes, axis=-1).astype(np.float32))


def step_matrix(step: Vector, centre: Vector, phase: Vector | None = None) -> Matrix:
    """Return the matrix of a small step.

    Parameters
    ----------
    step : (6,) or (9,) array, mm
        Three shifts; three rotations and, with a phase direction, three eddy-current terms: shifts
        along it proportional to x, y and z. Both as displacements at `RADIUS`.
    centre : (3,) array, mm
    phase : (3,) array, optional
        Unit vector of the phase encoding.

    Returns
    -------
    (4, 4) array

    Examples
    --------
    >>> step_matrix(np.array([1.0, 0, 0, 0, 0, 0]), np.zeros(3))[0].tolist()
    [1.0, 0.0, 0.0, 1.0]
    """
    moved = np.eye(4)
    moved[:3, :3] = Rotation.from_rotvec(step[3:6] / RADIUS).as_matrix()
    if phase is not None:
        moved[:3, :3] += np.outer(phase, step[6:] / RADIUS)
    return compose(translation(-centre), moved, translation(centre + step[:3]))


def _average_voxels(series: NDArray[Any], affine: Matrix) -> tuple[Values, Matrix]:
    """Return the series averaged over neighbours along axes with fine voxels, and its affine."""
    factor = np.maximum(1, np.round(STEP / voxel_sizes(affine))).astype(int)
    a, b, c = (int(f) for f in factor)
    ends = [n - n % f for n, f in zip(series.shape, (a, b, c), strict=False)]
    part = series[: ends[0], : ends[1], : ends[2]]
    coarse = np.zeros(
        (series.shape[3], *(e // f for e, f in zip(ends, factor, strict=True))), np.float32
    )
    # Frame by frame, as series are stored.
    for mean, frame in zip(coarse, np.moveaxis(part, -1, 0), strict=True):
        for x, y, z in product(range(a), range(b), range(c)):
            mean += frame[x::a, y::b, z::c]
    coarse /= np.float32(a * b * c)
    grid = affine @ np.diag([a, b, c, 1.0])
    # The centre of the first mean is that of the voxels in it.
    grid[:3, 3] = apply(affine, (factor - 1) / 2)
    return np.moveaxis(coarse, 0, -1), grid


def head_mask(image: Values) -> Mask:
    """Return the largest bright component of an image with its holes filled.

    Parameters
    ----------
    image : (X, Y, Z) array

    Returns
    -------
    mask : (X, Y, Z) array of bool
        Empty without signal.

    References
    ----------
    Otsu, IEEE Trans Syst Man Cybern 1979, doi:10.1109/TSMC.1979.4310076 (threshold).

    Examples
    --------
    >>> image = np.zeros((9, 9, 9)); image[3:6, 3:6, 3:6] = 1
    >>> bool(head_mask(image)[4, 4, 4]), bool(head_mask(image)[0, 0, 0])
    (True, False)
    """
    # Otsu: the threshold that maximises the variance between the two classes,
    # (mu_total w(k) - mu(k))^2 / (w(k) (1 - w(k))), here with counts instead of probabilities.
    counts, edges = np.histogram(image, 256)
    middle = (edges[1:] + edges[:-1]) / 2
    below = np.cumsum(counts)[:-1]
    weight = np.cumsum(counts * middle)
    total = counts.sum()
    between = (weight[-1] / total * below - weight[:-1]) ** 2 / np.maximum(
        below * (total - below), 1
    )
    bright = ndimage.binary_closing(image > middle[int(between.argmax())], iterations=2)
    pieces, count = ndimage.label(ndimage.binary_fill_holes(bright))
    if not count:
        return np.zeros(image.shape, bool)
    largest = 1 + int(np.argmax(ndimage.sum_labels(pieces > 0, pieces, range(1, count + 1))))
    return np.asarray(ndimage.binary_dilation(pieces == largest))


def _without_rim(inside: Mask, affine: Matrix) -> Mask:
    """Remove the rim: its contrast with air depends on b and would be mistaken for stretch."""
    depth = ndimage.distance_transform_edt(inside, sampling=voxel_sizes(affine))
    return np.asarray(depth > RIM)


def _block_voxels(inside: Mask, affine: Matrix) -> NDArray[np.int64]:
    """Return the voxels (B, P, 3) of the blocks that lie mostly inside."""
    size = np.maximum(1, np.round(BLOCK / voxel_sizes(affine))).astype(int)
    size = np.minimum(size, inside.shape)
    count = np.array(inside.shape) // size
    # The blocks are centred on the grid: what remains is left out at both ends.
    first = (np.array(inside.shape) - count * size) // 2
    corners = np.indices(count).reshape(3, -1).T * size + first
    voxels = corners[:, None] + np.indices(size).reshape(3, -1).T
    filled = inside[tuple(np.moveaxis(voxels, -1, 0))].mean(axis=1)
    chosen: NDArray[np.int64] = voxels[filled >= FILLED]
    return chosen


def spline_coefficients(frame: Values, sigma: float | Sequence[float] | Vector = 0.0) -> Values:
    """Return the coefficients of the cubic spline of a frame, smoothed by sigma voxels."""
    smooth = ndimage.gaussian_filter(frame, sigma) if np.any(sigma) else frame
    coefficients = np.empty(frame.shape, np.float32)
    options: Any = {"order": _ORDER, "mode": "mirror"}
    ndimage.spline_filter(smooth, output=coefficients, **options)
    return coefficients
