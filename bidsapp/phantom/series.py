"""Simulation of the series of a session, each with its own grid, pose and contrast."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bidsapp.phantom import physics
from bidsapp.phantom.acquisition import (
    ImageGrid,
    add_rician_noise,
    draw_motion,
    draw_pose,
    epi_displacement,
    pair_means,
    plan_grid,
    reversed_displacement,
    sample,
    sample_distorted,
)
from bidsapp.phantom.physics import Array, Tissue
from bidsapp.phantom.scene import Scene
from bidsapp.phantom.template import FloatVolume, Matrix

Triple = tuple[float, float, float]

WHITE_LEVEL = 400.0
"""Intensity of white matter in the first volume of every series."""
T1W_TR, T1W_TE, T1W_FLIP = 0.0075, 0.0031, 20.0
T1W_DELAY = 6.5
"""Time from bolus arrival to the middle of the T1w acquisition, min."""
DWI_TR, DWI_TE = 6.0, 0.08
ECHO_SPACING, EPI_LINES = 0.00065, 96
DCE_TR, DCE_TE, DCE_FLIP = 0.004, 0.00202, 15.0
FRAMES, FRAME_TIME = 60, 5.2
VFA_FLIPS = (2.0, 5.0, 10.0, 15.0)
FINE_STEPS = 20
"""Time steps of the kinetics per frame."""
_MIDDLE = slice(FINE_STEPS // 2, None, FINE_STEPS)


@dataclass(frozen=True)
class Protocol:
    """Voxel size, and points per voxel, of each series along the voxel axes.

    Attributes
    ----------
    t1w, dwi, dce : tuple of float, mm
    t1w_points, dwi_points, dce_points : tuple of int
    coarsening : int
        Voxels of 1 mm along each axis that are averaged before DWI and DCE are simulated.
    """

    t1w: Triple
    dwi: Triple
    dce: Triple
    t1w_points: tuple[int, int, int]
    dwi_points: tuple[int, int, int]
    dce_points: tuple[int, int, int]
    coarsening: int


PROTOCOLS = {
    "paper": Protocol(
        (1.0, 1.1, 1.5), (1.2, 1.2, 5.0), (1.0, 1.0, 8.0), (1, 1, 2), (1, 1, 5), (1, 1, 4), 1
    ),
    "fast": Protocol(
        (2.0, 2.0, 2.0), (2.4, 2.4, 5.0), (2.0, 2.0, 8.0), (2, 2, 2), (1, 1, 3), (1, 1, 2), 2
    ),
}
FIELDS_OF_VIEW: dict[str, Triple] = {
    "t1w": (192.0, 242.0, 186.0),
    "dwi": (211.2, 240.0, 155.0),
    "dce": (240.0, 224.0, 160.0),
}


@dataclass(frozen=True)
class SimulatedSeries:
    """A simulated image or series.

    Attributes
    ----------
    data : (I, J, K) or (I, J, K, N) array of int16
    grid : Grid
    pose : (4, 4) array
        From head to scanner coordinates, at the first volume.
    directions : (N, 3) array
        Gradient directions relative to the voxel axes; zero without diffusion weighting.
    bvalues : (N,) array, s/mm2
    """

    data: NDArray[np.int16]
    grid: ImageGrid
    pose: Matrix
    directions: Array
    bvalues: Array


@dataclass(frozen=True)
class Bolus:
    """One injection: arrival after the start of the DCE, min, and dose relative to Parker et al."""

    arrival: float
    scale: float


def draw_bolus(rng: np.random.Generator) -> Bolus:
    """Return a random injection that arrives after the sixth frame."""
    start = 6 * FRAME_TIME / 60
    return Bolus(start + float(rng.uniform(0, FRAME_TIME / 60)), float(rng.uniform(0.85, 1.05)))


def _series(
    data: FloatVolume,
    grid: ImageGrid,
    pose: Matrix,
    directions: Array | None = None,
    bvalues: Array | None = None,
) -> SimulatedSeries:
    none = np.zeros((0, 3)), np.zeros(0)
    stored = np.clip(np.rint(data), 0, 32767).astype(np.int16)
    return SimulatedSeries(
        stored,
        grid,
        pose,
        none[0] if directions is None else directions,
        none[1] if bvalues is None else bvalues,
    )


def _level(signals: Array, scene: Scene) -> float:
    """Return the factor that scales the mean signal of white matter to `WHITE_LEVEL`."""
    white = [scene.tissues.index(f"white_{axis}") for axis in "xyz"]
    return WHITE_LEVEL / float(signals[white].mean())


def image_t1w(
    scene: Scene,
    tissues: Sequence[Tissue],
    protocol: Protocol,
    pose: Matrix,
    bolus: Bolus,
    snr: float,
    rng: np.random.Generator,
) -> SimulatedSeries:
    """Return the post-contrast T1-weighted image, with twice the SNR of the other series.

    Parameters
    ----------
    scene : Scene
    tissues : sequence of Tissue
        In the order of the scene.
    protocol : Protocol
    pose : (4, 4) array
        From head to scanner coordinates.
    bolus : Bolus
    snr : float
    rng : Generator

    Returns
    -------
    Series
    """
    grid = plan_grid("axial", protocol.t1w, FIELDS_OF_VIEW["t1w"], pose, rng)
    time = np.arange(0, T1W_DELAY, FRAME_TIME / FINE_STEPS / 60)
    blood = physics.arterial_blood(time, 0.0, bolus.scale)
    late = physics.concentrations(tissues, time, blood)[:, -1:]
    flip = np.deg2rad(T1W_FLIP)
    signals = physics.spoiled_gradient_echo(tissues, late, T1W_TR, flip)[:, 0]
    volume = scene.image(signals * _level(signals, scene))
    clean = sample(volume, scene.affine, grid, pose, protocol.t1w_points)
    return _series(add_rician_noise(clean, WHITE_LEVEL / (2 * snr), rng), grid, pose)


def image_dwi(
    scene: Scene,
    tissues: Sequence[Tissue],
    protocol: Protocol,
    session_pose: Matrix,
    snr: float,
    rng: np.random.Generator,
) -> SimulatedSeries:
    """Return the diffusion series: b = 0, then three orthogonal directions for each b-value.

    The parameters are those of `image_t1w`.
    """
    pose = session_pose @ draw_pose(rng, 1.5, 2.0)
    grid = plan_grid("axial", protocol.dwi, FIELDS_OF_VIEW["dwi"], pose, rng)
    bvalues = np.array([0.0, *np.repeat(physics.BVALUES[1:], 3)])
    directions = np.concatenate([np.zeros((1, 3)), np.tile(np.eye(3), (len(bvalues) // 3, 1))])
    motion = draw_motion(rng, len(bvalues), 0.5, 0.8)
    rest = np.array([physics.spin_echo_epi(t, DWI_TR, DWI_TE) for t in tissues])
    rest *= _level(rest, scene)
    displacement = epi_displacement(grid, pose, protocol.dwi_points)
    data = np.empty((*grid.shape, len(bvalues)), np.float32, order="F")
    for n, (b, direction) in enumerate(zip(bvalues, directions, strict=True)):
        now = motion[n] @ pose
        in_head = now[:3, :3].T @ (grid.affine[:3, :3] / grid.spacing) @ direction
        weights = np.array([physics.diffusion_weighted(t, b, in_head) for t in tissues])
        data[..., n] = sample_distorted(
            scene.image(rest * weights),
            scene.affine,
            grid,
            now,
            protocol.dwi_points,
            displacement,
        )
    return _series(add_rician_noise(data, WHITE_LEVEL / snr, rng), grid, pose, directions, bvalues)


def image_reversed(
    scene: Scene,
    tissues: Sequence[Tissue],
    protocol: Protocol,
    dwi: SimulatedSeries,
    snr: float,
    rng: np.random.Generator,
) -> SimulatedSeries:
    """Return a b = 0 image with reversed phase encoding, on the grid and in the pose of the DWI.

    The parameters are those of `image_t1w`.
    """
    rest = np.array([physics.spin_echo_epi(t, DWI_TR, DWI_TE) for t in tissues])
    points = protocol.dwi_points
    there = epi_displacement(dwi.grid, dwi.pose, points)
    back = reversed_displacement(there, dwi.grid.spacing[1] / points[1])
    volume = scene.image(rest * _level(rest, scene))
    clean = sample_distorted(volume, scene.affine, dwi.grid, dwi.pose, points, back)
    return _series(add_rician_noise(clean, WHITE_LEVEL / snr, rng), dwi.grid, dwi.pose)


def image_dce(
    scene: Scene,
    tissues: Sequence[Tissue],
    protocol: Protocol,
    session_pose: Matrix,
    bolus: Bolus,
    snr: float,
    rng: np.random.Generator,
) -> SimulatedSeries:
    """Return the dynamic series; each frame has the contrast at its middle.

    The parameters are those of `image_t1w`.
    """
    pose = session_pose @ draw_pose(rng, 1.5, 2.0)
    grid = plan_grid("sagittal", protocol.dce, FIELDS_OF_VIEW["dce"], pose, rng)
    motion = draw_motion(rng, FRAMES, 0.5, 0.8)
    signals = dce_signals(tissues, bolus)
    signals *= _level(signals[:, 0], scene)
    data = np.empty((*grid.shape, FRAMES), np.int16, order="F")
    for n in range(FRAMES):
        volume, affine = pair_means(scene.image(signals[:, n]), scene.affine)
        clean = sample(volume, affine, grid, motion[n] @ pose, protocol.dce_points)
        noisy = add_rician_noise(clean, WHITE_LEVEL / snr, rng)
        data[..., n] = np.clip(np.rint(noisy), 0, 32767)
    return SimulatedSeries(data, grid, pose, np.zeros((0, 3)), np.zeros(0))


def _fine_blood(bolus: Bolus) -> tuple[Array, Array]:
    """Return fine times (min) from the first frame, and the arterial blood concentration (mM)."""
    time = np.arange(FRAMES * FINE_STEPS, dtype=np.float64) * (FRAME_TIME / FINE_STEPS / 60)
    return time, physics.arterial_blood(time, bolus.arrival, bolus.scale)


def frame_blood(bolus: Bolus) -> tuple[Array, Array]:
    """Return the start of every frame (s), and the arterial blood concentration at its middle."""
    onset = np.arange(FRAMES, dtype=np.float64) * FRAME_TIME
    return onset, _fine_blood(bolus)[1][_MIDDLE]


def dce_signals(tissues: Sequence[Tissue], bolus: Bolus) -> Array:
    """Return the signal of every tissue in every frame, (tissues, frames)."""
    middle = physics.concentrations(tissues, *_fine_blood(bolus))[:, _MIDDLE]
    return physics.spoiled_gradient_echo(tissues, middle, DCE_TR, np.deg2rad(DCE_FLIP))


def image_vfa(
    scene: Scene,
    tissues: Sequence[Tissue],
    protocol: Protocol,
    dce: SimulatedSeries,
    snr: float,
    rng: np.random.Generator,
    motion: float = 0.0,
) -> list[SimulatedSeries]:
    """Return spoiled gradient echoes at `VFA_FLIPS` before contrast, on the grid of the DCE.

    All have the same receive gain: noise and scale are those of the DCE. `motion` is the largest
    shift (mm) and rotation (degrees) along and about each axis by which the head has moved between
    each image and the DCE.
    """
    none = np.zeros((len(tissues), 1))
    reference = physics.spoiled_gradient_echo(tissues, none, DCE_TR, np.deg2rad(DCE_FLIP))[:, 0]
    level = _level(reference, scene)
    poses = [dce.pose] * len(VFA_FLIPS)
    if motion:  # a separate generator, so that the noise does not change
        drawn = rng.spawn(1)[0]
        poses = [draw_pose(drawn, motion, motion) @ pose for pose in poses]
    images = []
    for flip, pose in zip(VFA_FLIPS, poses, strict=True):
        signals = physics.spoiled_gradient_echo(tissues, none, DCE_TR, np.deg2rad(flip))[:, 0]
        volume, affine = pair_means(scene.image(signals * level), scene.affine)
        clean = sample(volume, affine, dce.grid, pose, protocol.dce_points)
        images.append(_series(add_rician_noise(clean, WHITE_LEVEL / snr, rng), dce.grid, pose))
    return images
