"""Simulated series around one lesion: the signals of all tissues, weighted by their fractions."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.lesions.cells import Cell
from bidsapp.phantom import physics, series
from bidsapp.phantom.acquisition import ImageGrid, add_rician_noise, draw_pose, plan_grid, sample
from bidsapp.phantom.physics import Array, Tissue
from bidsapp.phantom.scene import Scene
from bidsapp.phantom.series import FIELDS_OF_VIEW, PROTOCOLS, WHITE_LEVEL
from bidsapp.phantom.template import Matrix

SNR = 40.0
_MARGIN = 12.0
"""Distance from the lesion up to which voxels are simulated, mm."""
_FINEST = 0.5, 1.0
"""Distance of the samples of a voxel in the plane of the slices and across them, mm, at most."""
_RINGING = np.array([10, 10, 4])
"""Voxels on each side of a crop that a Fourier image needs along its axes, but does not show."""


@dataclass(frozen=True)
class Crop:
    """The voxels of a series around a lesion.

    Attributes
    ----------
    data : (I, J, K, N) array
    affine : (4, 4) array
        Voxels to scanner coordinates, mm.
    pose : (4, 4) array
        Head to scanner coordinates.
    bvalues : (N,) array, s/mm2
        None of a DCE.
    """

    data: Array
    affine: Matrix
    pose: Matrix
    bvalues: Array


def draw_dce(
    scene: Scene,
    tissues: Sequence[Tissue],
    around: Array,
    pose: Matrix,
    bolus: series.Bolus,
    cell: Cell,
    rng: np.random.Generator,
) -> Crop:
    """Return the DCE around points of a lesion (N, 3), given in mm in the head."""
    own = pose @ draw_pose(rng, 1.5, 2.0)
    spacing = PROTOCOLS[cell.resolution].dce
    grid = plan_grid("sagittal", spacing, FIELDS_OF_VIEW["dce"], own, rng)
    signals = series.dce_signals(tissues, bolus)
    signals *= _level(signals[:, 0], scene)
    data, affine = _mixture(scene, signals, around, grid, own, 3 if cell.fourier else 0)
    return Crop(add_rician_noise(data, WHITE_LEVEL / SNR, rng), affine, own, np.zeros(0))


def draw_dwi(
    scene: Scene,
    tissues: Sequence[Tissue],
    around: Array,
    pose: Matrix,
    cell: Cell,
    rng: np.random.Generator,
) -> Crop:
    """Return the DWI around points of a lesion (N, 3), given in mm in the head."""
    own = pose @ draw_pose(rng, 1.5, 2.0)
    spacing = PROTOCOLS[cell.resolution].dwi
    grid = plan_grid("axial", spacing, FIELDS_OF_VIEW["dwi"], own, rng)
    bvalues = np.array([0.0, *np.repeat(physics.BVALUES[1:], 3)])
    directions = np.concatenate([np.zeros((1, 3)), np.tile(np.eye(3), (len(bvalues) // 3, 1))])
    in_head = directions @ (own[:3, :3].T @ (grid.affine[:3, :3] / grid.spacing)).T
    rest = np.array([physics.spin_echo_epi(t, series.DWI_TR, series.DWI_TE) for t in tissues])
    weights = [
        [physics.diffusion_weighted(t, b, d) for b, d in zip(bvalues, in_head, strict=True)]
        for t in tissues
    ]
    signals = (rest * _level(rest, scene))[:, None] * np.array(weights)
    data, affine = _mixture(scene, signals, around, grid, own, 2 if cell.fourier else 0)
    return Crop(add_rician_noise(data, WHITE_LEVEL / SNR, rng), affine, own, bvalues)


def _level(signals: Array, scene: Scene) -> float:
    """Return the factor that scales the mean signal of white matter to `WHITE_LEVEL`."""
    white = [scene.tissues.index(f"white_{axis}") for axis in "xyz"]
    return WHITE_LEVEL / float(signals[white].mean())


def _mixture(
    scene: Scene, signals: Array, around: Array, grid: ImageGrid, pose: Matrix, encoded: int
) -> tuple[Array, Matrix]:
    """Return the voxels of a grid around a lesion without noise, and their affine.

    The first `encoded` axes have the point spread function of a Fourier image.
    """
    crop = _crop(around, grid, pose, encoded)
    fine, coarse = _FINEST
    slices = grid.spacing == grid.spacing.max()
    wanted = np.ceil(grid.spacing / np.where(slices, coarse, fine)).astype(int)
    points = (int(wanted[0]), int(wanted[1]), int(wanted[2]))
    low, box, affine = _scene_box(scene, crop, pose)
    data = np.zeros((*crop.shape, signals.shape[1]))
    for column in range(len(scene.tissues)):
        cover = _dense(scene, column, low, box)
        if cover is not None:
            share = _imaged(cover, affine, crop, pose, points, encoded)
            data += share[..., None] * signals[column]
    around = np.where(np.arange(3) < encoded, _RINGING, 0)
    inner = tuple(slice(n, size - n) for n, size in zip(around, crop.shape, strict=True))
    start = np.eye(4)
    start[:3, 3] = around
    return data[inner], crop.affine @ start


def _crop(around: Array, grid: ImageGrid, pose: Matrix, encoded: int) -> ImageGrid:
    """Return the part of a grid around points."""
    place = np.linalg.inv(grid.affine) @ pose @ np.column_stack([around, np.ones(len(around))]).T
    margin = _MARGIN / grid.spacing + np.where(np.arange(3) < encoded, _RINGING, 0)
    low = np.floor(place[:3].min(axis=1) - margin).astype(int)
    high = np.ceil(place[:3].max(axis=1) + margin).astype(int) + 1
    start = np.eye(4)
    start[:3, 3] = low
    i, j, k = (int(n) for n in high - low)
    return ImageGrid((i, j, k), grid.affine @ start)


def _scene_box(
    scene: Scene, crop: ImageGrid, pose: Matrix
) -> tuple[NDArray[np.int64], NDArray[np.int64], Matrix]:
    """Return the first voxel and the size of the part of the scene that a grid shows."""
    corners = np.array(np.meshgrid(*[(-1, n) for n in crop.shape], indexing="ij")).reshape(3, -1)
    ends = np.linalg.inv(pose @ scene.affine) @ crop.affine @ np.vstack([corners, np.ones(8)])
    low = np.clip(np.floor(ends[:3].min(axis=1)).astype(int) - 1, 0, None)
    high = np.minimum(np.ceil(ends[:3].max(axis=1)).astype(int) + 2, scene.shape)
    start = np.eye(4)
    start[:3, 3] = low
    return low, high - low, scene.affine @ start


def _dense(
    scene: Scene, column: int, low: NDArray[np.int64], size: NDArray[np.int64]
) -> NDArray[np.float32] | None:
    """Return the fractions of a tissue in a part of the scene; None if it is not there."""
    index, values = scene.column(column)
    places = np.array(np.unravel_index(index, scene.shape)) - low[:, None]
    inside = ((places >= 0) & (places < size[:, None])).all(axis=0)
    if not inside.any():
        return None
    cover = np.zeros(size, np.float32)
    cover[tuple(places[:, inside])] = values[inside]
    return cover


def _imaged(
    cover: NDArray[np.float32],
    affine: Matrix,
    crop: ImageGrid,
    pose: Matrix,
    points: tuple[int, int, int],
    encoded: int,
) -> Array:
    """Return the share of a tissue in the signal of each voxel."""
    kept = [n if a < encoded else 1 for a, n in enumerate(points)]
    finer = np.diag([*(1 / np.array(kept)), 1.0])
    finer[:3, 3] = (1 / np.array(kept) - 1) / 2
    i, j, k = (n * m for n, m in zip(crop.shape, kept, strict=True))
    rest = tuple(p // m for p, m in zip(points, kept, strict=True))
    fine = ImageGrid((i, j, k), crop.affine @ finer)
    share = sample(cover, affine, fine, pose, (rest[0], rest[1], rest[2]))
    for axis in range(encoded):
        share = _band_limited(share, axis, crop.shape[axis])
    return np.asarray(share, float)


def _band_limited(fine: Array, axis: int, size: int) -> Array:
    """Return an image of fewer voxels along an axis, from its low spatial frequencies alone."""
    factor = fine.shape[axis] // size
    spectrum = np.fft.rfft(fine, axis=axis)
    frequencies = np.fft.rfftfreq(fine.shape[axis], 1 / factor)
    shape = [1] * fine.ndim
    shape[axis] = -1
    # Half-way at the Nyquist frequency of the coarse image; the shift leads to its voxel centres.
    kept = (np.abs(frequencies) < 0.5) + 0.5 * (np.abs(frequencies) == 0.5)
    shifted = np.exp(1j * np.pi * frequencies * (1 - 1 / factor))
    low = spectrum * (kept * shifted).reshape(shape)
    whole = np.fft.irfft(low, fine.shape[axis], axis=axis)
    return np.asarray(np.take(whole, np.arange(size) * factor, axis=axis))
