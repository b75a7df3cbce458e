"""The head of a participant: the warped template, as fractions of homogeneous tissues."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from bidsapp.phantom import head
from bidsapp.phantom.template import COARSE, FloatVolume, Matrix, Template, load_template

WARP_SPACING = 20.0
"""Spacing of the control points of the warp, mm."""
WARP_SIZE = 2.0
"""Standard deviation of the displacement at a control point, mm."""
SCALE_RANGE = (0.95, 1.05)
"""Range of the size of the head along each axis, relative to the template."""
CENTRE = np.array([0.0, -18.0, 0.0])
"""Centre of the head, about which it is scaled and posed, mm."""
LAYERS = {"csf": 1.5, "meninges": 2.8, "inner table": 4.3, "marrow": 7.0, "outer table": 8.8}
"""Outer boundary of each layer around the hull of the brain, mm."""
FAT_DEPTH = 4.0
COIL_EDGE = 24
"""Distance from the lower end over which the receive sensitivity increases, mm."""


@dataclass(frozen=True)
class TissuePart:
    """Extent of one tissue: flat voxel indices (M,) and the fraction of each voxel (M,)."""

    index: NDArray[np.int32]
    fraction: FloatVolume


@dataclass(frozen=True)
class Anatomy:
    """The head of a participant on a grid of 1 mm.

    Attributes
    ----------
    affine : (4, 4) array
        From voxels to mm.
    shape : tuple of int
    parts : dict of Part
        By the name of the tissue; the fractions of a voxel sum to at most 1, the rest is air.
    texture : (I, J, K) array
        Proton density relative to that of the tissue, including receive sensitivity.
    brain, white, fluid : (I, J, K) array
        Fractions of brain, of white matter and of cerebrospinal fluid.
    """

    affine: Matrix
    shape: tuple[int, int, int]
    parts: dict[str, TissuePart]
    texture: FloatVolume
    brain: FloatVolume
    white: FloatVolume
    fluid: FloatVolume


def draw_anatomy(rng: np.random.Generator) -> Anatomy:
    """Return a random head, a smooth deformation of the template.

    Parameters
    ----------
    rng : Generator

    Returns
    -------
    Anatomy
    """
    template = load_template()
    points = _warped_points(template, rng)
    skull = float(rng.uniform(0.9, 1.15))
    coarse = points[:, ::COARSE, ::COARSE, ::COARSE]
    hull = _sample(template.hull, template.coarse_affine, coarse) / skull
    depth = upsample(-head.skin_distance(coarse, hull), COARSE, points.shape[1:])
    hull = upsample(hull, COARSE, points.shape[1:])
    index = (depth > -0.5).ravel().nonzero()[0].astype(np.int32)
    brain, grey, white, texture = (
        _in_brain(part, template.affine, points, hull, outside)
        for part, outside in (
            (template.brain, 0),
            (template.grey, 0),
            (template.white, 0),
            (template.texture, 1),
        )
    )
    flat = points.reshape(3, -1)[:, index]
    fibres = [_sample(part, template.coarse_affine, flat) for part in template.fibres]
    layers = _surrounding_tissues(flat, hull.ravel()[index], depth.ravel()[index])
    tissue = _brain_tissues(brain, grey, white, fibres, index)
    fluid = np.clip(brain - grey - white, 0, 1)
    return Anatomy(
        affine=template.affine,
        shape=brain.shape,
        parts=_paint(layers | tissue, depth.ravel()[index], index),
        texture=texture * _sensitivity(brain.shape, rng),
        brain=brain,
        white=white,
        fluid=fluid,
    )


def _warped_points(template: Template, rng: np.random.Generator) -> FloatVolume:
    """Return the point of the template (mm) for every voxel of the participant, (3, I, J, K)."""
    shape, affine = template.grey.shape, template.affine
    scale = rng.uniform(*SCALE_RANGE, size=3)
    axes = [affine[i, 3] + np.arange(n) for i, n in enumerate(shape)]
    grid = np.stack(np.meshgrid(*[a.astype(np.float32) for a in axes], indexing="ij"))
    for i in range(3):
        grid[i] = CENTRE[i] + (grid[i] - CENTRE[i]) / scale[i]
        grid[i] += smooth_field(shape, WARP_SPACING, rng) * WARP_SIZE
    return grid


def smooth_field(
    shape: tuple[int, ...], spacing: float, rng: np.random.Generator, step: int = 4
) -> FloatVolume:
    """Return a smooth random field: a cubic spline through normally distributed values.

    Parameters
    ----------
    shape : tuple of int
    spacing : float
        Distance between these values, voxels.
    rng : Generator
    step : int
        Interval over which the field is interpolated linearly, voxels.

    Returns
    -------
    (I, J, K) array
        Standard deviation of about 1.
    """
    control = rng.standard_normal([int(np.ceil(n / spacing)) + 4 for n in shape])
    coarse = [np.arange(-(-n // step) + 1) * step / spacing + 1.5 for n in shape]
    knots = ndimage.map_coordinates(control, np.meshgrid(*coarse, indexing="ij"), order=3)
    return upsample(knots.astype(np.float32), step, shape)


def gaussian_field(shape: tuple[int, ...], length: float, rng: np.random.Generator) -> FloatVolume:
    """Return a smooth random field with standard deviation 1 everywhere.

    Parameters
    ----------
    shape : tuple of int
    length : float
        Distance at which the correlation has decreased to 1/e, voxels.
    rng : Generator

    Returns
    -------
    (I, J, K) array

    Notes
    -----
    White noise, filtered with a Gaussian of SD ``s = length / 2``: the correlation at the distance
    d is ``exp(-d^2 / (4 s^2))``, and the variance is ``(2 sqrt(pi) s)^-3`` before scaling.
    """
    sd = length / 2
    noise = rng.standard_normal([n + int(np.ceil(6 * sd)) for n in shape], np.float32)
    field = ndimage.gaussian_filter(noise, sd, mode="wrap")[tuple(slice(n) for n in shape)]
    result: FloatVolume = field * np.float32((2 * np.sqrt(np.pi) * sd) ** 1.5)
    return result


def upsample(knots: FloatVolume, step: int, shape: tuple[int, ...]) -> FloatVolume:
    """Interpolate linearly from every `step`-th voxel to all voxels, axis by axis."""
    knots = np.pad(knots, (0, 1), mode="edge")
    for axis, n in enumerate(shape):
        at = np.arange(n) / step
        low = at.astype(int)
        share = (at - low).astype(np.float32).reshape([-1 if a == axis else 1 for a in range(3)])
        knots = np.take(knots, low, axis) * (1 - share) + np.take(knots, low + 1, axis) * share
    return knots


def _sample(volume: FloatVolume, affine: Matrix, points: FloatVolume) -> FloatVolume:
    """Interpolate a template map with a diagonal affine at points (3, ...), mm."""
    step, start = np.diag(affine)[:3], affine[:3, 3]
    voxels = [(points[i] - np.float32(start[i])) / np.float32(step[i]) for i in range(3)]
    return ndimage.map_coordinates(volume, voxels, order=1, mode="nearest")


def _in_brain(
    volume: FloatVolume, affine: Matrix, points: FloatVolume, hull: FloatVolume, outside: float
) -> FloatVolume:
    """Sample a map of the brain near and inside its hull."""
    result = np.full(hull.shape, outside, np.float32)
    near = hull < 4
    result[near] = _sample(volume, affine, points[:, near])
    return result


def _band(distance: FloatVolume, start: float, end: float) -> FloatVolume:
    """Return the coverage by a layer from `start` to `end`, mm, with soft edges of 1 mm."""
    cover: FloatVolume = np.clip(distance - start + 0.5, 0, 1) - np.clip(distance - end + 0.5, 0, 1)
    return cover


def _surrounding_tissues(
    points: FloatVolume, hull: FloatVolume, depth: FloatVolume
) -> dict[str, FloatVolume]:
    """Return the coverage by the tissues around the brain."""
    side, back, up = np.abs(points[0]), points[1], points[2]
    ends = [-100.0, *LAYERS.values()]
    shells = {n: _band(hull, ends[i], ends[i + 1]) for i, n in enumerate(LAYERS)}
    sagittal = np.clip(3.5 - side, 0, 1) * _band(hull, 0.5, 6.0)
    sagittal *= (up > 12) | ((back < -90) & (up > -4))
    falx = _band(side, -1, 0.7) * (hull > -28) * (up > 8)
    return {
        "artery": head.tubes(points, head.ARTERIES),
        "vein": np.maximum(sagittal, head.tubes(points, head.VEINS)),
        "falx": falx.astype(np.float32),
        "eyes": head.ellipsoids(points, head.EYES),
        "air": head.ellipsoids(points, head.AIR) * (hull > 3),
        "fat": np.clip(FAT_DEPTH - depth + 0.5, 0, 1),
        **shells,
    }


def _brain_tissues(
    brain: FloatVolume,
    grey: FloatVolume,
    white: FloatVolume,
    fibres: list[FloatVolume],
    index: NDArray[np.int32],
) -> dict[str, FloatVolume]:
    """Return the coverage by the tissues of the brain; white matter is three orthogonal tracts."""
    flat = {"brain": brain.ravel()[index], "grey": grey.ravel()[index]}
    tracts = white.ravel()[index]
    return flat | {f"white_{a}": tracts * f for a, f in zip("xyz", fibres, strict=True)}


def _paint(
    cover: dict[str, FloatVolume], depth: FloatVolume, index: NDArray[np.int32]
) -> dict[str, TissuePart]:
    """Assign voxels to tissues in order; each takes its share of what the previous ones left."""
    left = np.clip(depth + 0.5, 0, 1)
    total: dict[str, FloatVolume] = {}

    def take(name: str, share: FloatVolume) -> None:
        nonlocal left
        total[name] = total.get(name, np.float32(0)) + left * share
        left = left * (1 - share)

    take("artery", cover["artery"])
    take("vein", cover["vein"] * (1 - cover["brain"]))
    inside = left.copy()
    matter = ("grey", "white_x", "white_y", "white_z")
    for name in matter:
        total[name] = inside * cover[name]
    rest = np.clip(cover["brain"] - sum(cover[name] for name in matter), 0, 1)
    total["meninges"] = inside * rest * cover["falx"]
    total["csf"] = inside * rest * (1 - cover["falx"])
    left = inside * (1 - np.clip(cover["brain"], 0, 1))
    for name, source in _ORDER:
        take(name, cover[source])
    take("muscle", np.ones_like(left))
    del total["air"]
    return {name: _part(index, share) for name, share in total.items()}


_ORDER = (
    ("csf", "csf"),
    ("meninges", "meninges"),
    ("csf", "eyes"),
    ("air", "air"),
    ("bone", "inner table"),
    ("marrow", "marrow"),
    ("bone", "outer table"),
    ("fat", "fat"),
)


def _part(index: NDArray[np.int32], fraction: FloatVolume) -> TissuePart:
    some = fraction > 1e-3
    return TissuePart(index[some], fraction[some].astype(np.float32))


def _sensitivity(shape: tuple[int, ...], rng: np.random.Generator) -> FloatVolume:
    """Return fine texture times a slowly varying receive sensitivity, which ends at the neck."""
    fine = smooth_field(shape, 6, rng, step=2)
    slow = smooth_field(shape, 90, rng)
    reach = np.clip(np.arange(shape[2], dtype=np.float32) / COIL_EDGE, 0, 1)
    result: FloatVolume = np.clip(1 + 0.015 * fine + 0.06 * slow, 0.5, 1.5) * reach.astype(
        np.float32
    )
    return result
