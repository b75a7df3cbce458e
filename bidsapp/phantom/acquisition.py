"""Acquisition: grids, poses, motion, sampling of thick slices, EPI distortion and noise."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from bidsapp.phantom.anatomy import CENTRE
from bidsapp.phantom.template import FloatVolume, Matrix

ORIENTATIONS = {
    "axial": np.array([[-1.0, 0, 0], [0, 1, 0], [0, 0, 1]]),
    "sagittal": np.array([[0, 0, 1.0], [-1, 0, 0], [0, 1, 0]]),
}
"""Directions of the voxel axes (columns) in RAS, as stored by DICOM converters."""
HEAD_ABOVE = np.array([0.0, 3.0, 8.0])
"""Offset of the centre of the fields of view from the centre of head rotation, mm."""
AIR_SPACES = (
    ((0.0, 46.0, -26.0), 17.0, 2.6),
    ((46.0, -20.0, -38.0), 14.0, -1.6),
    ((-46.0, -20.0, -38.0), 14.0, -1.6),
)
"""Displacement of EPI signal by susceptibility: centre and width in the head, and size, mm."""


@dataclass(frozen=True)
class ImageGrid:
    """Grid of an image: shape, and affine from voxels to scanner coordinates in mm."""

    shape: tuple[int, int, int]
    affine: Matrix

    @property
    def spacing(self) -> NDArray[np.float64]:
        """Size of a voxel along each of its axes, mm."""
        return np.asarray(np.linalg.norm(self.affine[:3, :3], axis=0))


def rigid(angles: ArrayLike, shift: ArrayLike, centre: ArrayLike = CENTRE) -> Matrix:
    """Return a rigid transform about a centre.

    Parameters
    ----------
    angles : (3,) array, rad
        About x, then y, then z.
    shift : (3,) array, mm
    centre : (3,) array, mm

    Returns
    -------
    (4, 4) array

    Examples
    --------
    >>> import numpy as np
    >>> moved = rigid([0, 0, np.pi / 2], [0, 0, 5], centre=[0, 0, 0]) @ [1, 0, 0, 1]
    >>> (moved.round(6) + 0.0).tolist()
    [0.0, 1.0, 5.0, 1.0]
    """
    (cx, cy, cz), (sx, sy, sz) = np.cos(angles), np.sin(angles)
    about_x = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_z = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    matrix = np.eye(4)
    matrix[:3, :3] = about_z @ about_y @ about_x
    middle = np.asarray(centre, float)
    matrix[:3, 3] = middle + np.asarray(shift, float) - matrix[:3, :3] @ middle
    return matrix


def draw_pose(rng: np.random.Generator, degrees: float, mm: float) -> Matrix:
    """Return a random rigid pose, with uniformly distributed angles and shifts."""
    angles = np.deg2rad(rng.uniform(-degrees, degrees, 3))
    return rigid(angles, rng.uniform(-mm, mm, 3))


def draw_motion(rng: np.random.Generator, frames: int, degrees: float, mm: float) -> Matrix:
    """Return the motion of the head within a series.

    Parameters
    ----------
    rng : Generator
    frames : int
    degrees, mm : float
        Largest angle and shift about any axis.

    Returns
    -------
    (frames, 4, 4) array
        Rigid, in scanner coordinates: a slow drift with one sudden step, from the identity.
    """
    walk = rng.standard_normal((6, frames)).cumsum(axis=1)
    drift = ndimage.gaussian_filter1d(walk, max(frames / 12, 0.5), axis=1)
    drift -= drift[:, :1]
    if frames > 1:
        step = int(rng.integers(1, frames))
        drift[:, step:] += 0.5 * np.abs(drift).max() * rng.uniform(-1, 1, (6, 1))
    size = np.array([np.deg2rad(degrees)] * 3 + [mm] * 3)[:, None]
    track = drift * size * rng.uniform(0.4, 1, (6, 1))
    track /= np.maximum(np.abs(drift).max(axis=1, keepdims=True), 1e-9)
    return np.array([rigid(frame[:3], frame[3:]) for frame in track.T])


def plan_grid(
    orientation: str,
    spacing: ArrayLike,
    field_of_view: ArrayLike,
    pose: Matrix,
    rng: np.random.Generator,
) -> ImageGrid:
    """Return a grid centred on the posed head, as a technologist would prescribe it.

    Parameters
    ----------
    orientation : str
        A key of `ORIENTATIONS`.
    spacing, field_of_view : (3,) array, mm
        Along the axes of the voxels.
    pose : (4, 4) array
        From head to scanner coordinates.
    rng : Generator

    Returns
    -------
    Grid
        Oblique by up to 6 degrees.
    """
    size = np.asarray(spacing, float)
    shape = np.round(np.asarray(field_of_view, float) / size).astype(int)
    tilt = rigid(np.deg2rad(rng.uniform(-6, 6, 3) * [1, 0.4, 0.4]), [0, 0, 0])[:3, :3]
    affine = np.eye(4)
    affine[:3, :3] = tilt @ ORIENTATIONS[orientation] * size
    middle = (pose @ np.array([*CENTRE, 1.0]))[:3] + HEAD_ABOVE + rng.uniform(-2, 2, 3)
    affine[:3, 3] = middle - affine[:3, :3] @ ((shape - 1) / 2)
    return ImageGrid((int(shape[0]), int(shape[1]), int(shape[2])), affine)


def sample(
    volume: FloatVolume,
    affine: Matrix,
    grid: ImageGrid,
    pose: Matrix,
    supersample: tuple[int, int, int] = (1, 1, 1),
) -> FloatVolume:
    """Return the means of a volume over the voxels of a grid.

    Parameters
    ----------
    volume : (I, J, K) array
    affine : (4, 4) array
        From voxels of the volume to mm in the head.
    grid : Grid
    pose : (4, 4) array
        From head to scanner coordinates.
    supersample : tuple of int
        Points along each axis over which each voxel is averaged.

    Returns
    -------
    array of the shape of the grid

    Notes
    -----
    Linear interpolation between the voxels of the volume, zero outside.
    """
    matrix = np.linalg.inv(pose @ affine) @ grid.affine @ _fine_to_grid(supersample)
    shape = tuple(n * s for n, s in zip(grid.shape, supersample, strict=True))
    fine = ndimage.affine_transform(
        volume, matrix[:3, :3], matrix[:3, 3], shape, order=1, output=np.float32
    )
    return _voxel_means(fine, supersample)


def pair_means(volume: FloatVolume, affine: Matrix) -> tuple[FloatVolume, Matrix]:
    """Return the means of left-right neighbours, and their affine.

    Sagittal slices, many voxels thick, then require only half of the points across them.
    """
    shifted = affine.copy()
    shifted[:3, 3] += affine[:3, 0] / 2
    return (volume[1:] + volume[:-1]) * np.float32(0.5), shifted


def sample_distorted(
    volume: FloatVolume,
    affine: Matrix,
    grid: ImageGrid,
    pose: Matrix,
    supersample: tuple[int, int, int],
    displacement: FloatVolume,
) -> FloatVolume:
    """Return the result of `sample` with displacement along the second axis of the grid.

    `displacement` (mm, on the supersampled grid) is the distance from each point to the origin of
    the signal at that point; the intensity is modulated by the Jacobian.
    """
    matrix = np.linalg.inv(pose @ affine) @ grid.affine
    step = grid.spacing[1]
    fine = matrix @ _fine_to_grid(supersample)
    i, j, k = np.ogrid[tuple(slice(n) for n in displacement.shape)]
    shift = displacement / np.float32(step)
    points = [
        (r[0] * i + r[1] * j + r[2] * k + r[3]).astype(np.float32) + np.float32(m[1]) * shift
        for r, m in zip(fine[:3], matrix[:3], strict=True)
    ]
    drawn = ndimage.map_coordinates(volume, points, order=1, output=np.float32)
    jacobian = 1 + np.gradient(shift, axis=1) * supersample[1]
    return _voxel_means(drawn * jacobian, supersample)


def epi_displacement(
    grid: ImageGrid, pose: Matrix, supersample: tuple[int, int, int]
) -> FloatVolume:
    """Return the displacement due to susceptibility along the second axis, mm, supersampled."""
    fine = np.linalg.inv(pose) @ grid.affine @ _fine_to_grid(supersample)
    shape = tuple(n * s for n, s in zip(grid.shape, supersample, strict=True))
    i, j, k = np.ogrid[tuple(slice(n) for n in shape)]
    points = [(r[0] * i + r[1] * j + r[2] * k + r[3]).astype(np.float32) for r in fine[:3]]
    total = np.zeros(shape, np.float32)
    for centre, width, size in AIR_SPACES:
        squared = sum((p - np.float32(c)) ** 2 for p, c in zip(points, centre, strict=True))
        total += np.float32(size) * np.exp(-squared / np.float32(2 * width**2))
    return total


def reversed_displacement(displacement: FloatVolume, step: float) -> FloatVolume:
    """Return the displacement with reversed phase encoding.

    Parameters
    ----------
    displacement : (I, J, K) array, mm
        Distance from each point to the origin of the signal there, along the second axis.
    step : float, mm
        Voxel size along this axis.

    Returns
    -------
    (I, J, K) array, mm

    Notes
    -----
    A point that is shifted by s is then shifted by -s; s and the displacements are calculated by
    fixed-point iteration.

    Examples
    --------
    >>> import numpy as np
    >>> reversed_displacement(np.full((1, 9, 1), 2.0, np.float32), 1.0)[0, 4, 0]
    np.float32(-2.0)
    """
    moved = _fixed_point(displacement, -1, step)
    return _fixed_point(moved, 1, step)


def _fixed_point(volume: FloatVolume, sign: int, step: float) -> FloatVolume:
    """Return the solution x of ``x(p) = sign * volume(p + x(p))`` along the second axis."""
    i, j, k = (a.astype(np.float32) for a in np.ogrid[tuple(slice(n) for n in volume.shape)])
    found = np.zeros_like(volume)
    for _ in range(20):
        places = np.broadcast_arrays(i, j + found / np.float32(step), k)
        found = np.float32(sign) * ndimage.map_coordinates(volume, places, order=1, mode="nearest")
    return found


def _fine_to_grid(supersample: tuple[int, int, int]) -> Matrix:
    factor = np.array(supersample, float)
    matrix = np.diag([*(1 / factor), 1.0])
    matrix[:3, 3] = (1 / factor - 1) / 2
    return matrix


def _voxel_means(fine: FloatVolume, supersample: tuple[int, int, int]) -> FloatVolume:
    a, b, c = supersample
    i, j, k = (n // s for n, s in zip(fine.shape, supersample, strict=True))
    result: FloatVolume = fine.reshape(i, a, j, b, k, c).mean(axis=(1, 3, 5), dtype=np.float32)
    return result


def add_rician_noise(volume: FloatVolume, sigma: float, rng: np.random.Generator) -> FloatVolume:
    """Return the magnitude of a signal with complex Gaussian noise.

    Parameters
    ----------
    volume : (...) array
    sigma : float
        Standard deviation of the noise in each channel.
    rng : Generator

    Returns
    -------
    (...) array

    References
    ----------
    Gudbjartsson and Patz, Magn Reson Med 1995, doi:10.1002/mrm.1910340618.
    """
    real = volume + np.float32(sigma) * rng.standard_normal(volume.shape, np.float32)
    imaginary = np.float32(sigma) * rng.standard_normal(volume.shape, np.float32)
    result: FloatVolume = np.hypot(real, imaginary)
    return result
