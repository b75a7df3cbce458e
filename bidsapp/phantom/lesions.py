"""Simulated lesions: irregular shapes of exact volume, with rim, core and oedema."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, optimize

from bidsapp.phantom.anatomy import Anatomy, TissuePart, gaussian_field, smooth_field
from bidsapp.phantom.template import COARSE, FloatVolume, block_mean
from bidsapp.phantom.uneven import PATCH_LENGTH, Level, perfusion_pattern, split_rim
from bidsapp.phantom.vessels import Vein, draw_veins, vein_cover

CORE_FROM = 2.0
"""Volume in ml above which a lesion has a necrotic core."""
CORE_SHARE = (0.05, 0.15)
"""Range of the volume fraction of the core."""
ROUGHNESS = 0.10
"""Standard deviation of the radius relative to an ellipsoid."""
OEDEMA_WIDTH = (3.0, 10.0)
"""Range of the width of the oedema around a lesion, mm."""
GAP = 8.0
"""Minimum distance between the edges of two lesions at their usual size, mm."""


@dataclass(frozen=True)
class Shape:
    """The shape of one lesion at any size.

    Attributes
    ----------
    corner : (3,) array of int
        First voxel of the box of `distance` in the anatomy.
    distance : (I, J, K) array
        Distance from the centre in mm, in the metric in which the lesion is a ball.
    core_share, oedema_width : float
    patches : (I, J, K) array, optional
        Random field of the perfusion of an uneven lesion.
    veins : tuple of Vein
    """

    corner: NDArray[np.int64]
    distance: FloatVolume
    core_share: float
    oedema_width: float
    patches: FloatVolume | None = None
    veins: tuple[Vein, ...] = ()

    @property
    def box(self) -> tuple[slice, slice, slice]:
        """The box in the anatomy."""
        i, j, k = (slice(c, c + n) for c, n in zip(self.corner, self.distance.shape, strict=True))
        return i, j, k

    @property
    def centre(self) -> NDArray[np.int64]:
        """The central voxel in the box."""
        return np.array(np.unravel_index(self.distance.argmin(), self.distance.shape))


@dataclass(frozen=True)
class SimulatedLesion:
    """One lesion in one session: its extent, and its volume in ml.

    `rim`, `core`, `oedema` and `vein` are parts of the anatomy; `core` is empty in a small lesion,
    `vein` is None without veins. The `levels` of an uneven lesion are those of its rim.
    """

    rim: TissuePart
    core: TissuePart
    oedema: TissuePart
    volume: float
    levels: tuple[Level, ...] = ()
    vein: TissuePart | None = None

    @property
    def parts(self) -> dict[str, TissuePart]:
        """Homogeneous parts: ``rim`` or its levels ``rim-1`` ..., core, oedema and vein."""
        levels = {f"rim-{n}": level.part for n, level in enumerate(self.levels, start=1)}
        found = (levels or {"rim": self.rim}) | {"core": self.core, "oedema": self.oedema}
        return found if self.vein is None else found | {"vein": self.vein}


def radius_of(volume: float) -> float:
    """Return the radius in mm of a sphere with a volume in ml.

    Examples
    --------
    >>> round(radius_of(1.0), 2)
    6.2
    """
    return float((3000 * volume / (4 * np.pi)) ** (1 / 3))


def draw_shapes(
    anatomy: Anatomy,
    usual: Mapping[int, float],
    largest: Mapping[int, float],
    rng: np.random.Generator,
) -> dict[int, Shape]:
    """Draw a random position and shape for every lesion.

    Parameters
    ----------
    anatomy : Anatomy
    usual, largest : mapping of lesion to volume, ml
        The volume for which the position is chosen, and the largest volume in any session.
    rng : Generator

    Returns
    -------
    dict of lesion to Shape
    """
    places = _draw_places(anatomy, usual, rng)
    return {n: _draw_shape(anatomy, places[n], largest[n], rng) for n in sorted(usual)}


def _draw_places(
    anatomy: Anatomy, usual: Mapping[int, float], rng: np.random.Generator
) -> dict[int, NDArray[np.int64]]:
    """Return lesion centres (voxels) inside tissue, chosen in order of decreasing volume."""
    tissue = block_mean(anatomy.brain - anatomy.fluid) > 0.6
    depth = ndimage.distance_transform_edt(tissue) * COARSE
    voxels = np.argwhere(_reachable(anatomy, depth))
    depths = depth[tuple(voxels.T)]
    places: dict[int, NDArray[np.int64]] = {}
    space = np.full(len(voxels), np.inf)
    for lesion in sorted(usual, key=lambda n: (-usual[n], n)):
        radius = radius_of(usual[lesion])
        fit = np.minimum(depths / (0.8 * radius), space / (radius + GAP))
        good = np.flatnonzero(fit >= min(1.0, 0.95 * float(fit.max())))
        chosen = voxels[good[rng.integers(len(good))]]
        places[lesion] = chosen * COARSE
        distance = np.linalg.norm((voxels - chosen) * float(COARSE), axis=1) - radius
        space = np.minimum(space, distance)
    return places


def _reachable(anatomy: Anatomy, depth: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return the possible lesion centres: tissue inside the field of view of every series."""
    start = anatomy.affine[:3, 3]
    axes = [start[i] + COARSE * np.arange(n) for i, n in enumerate(depth.shape)]
    x, _, z = np.meshgrid(*axes, indexing="ij", sparse=True)
    return np.asarray((depth > 2) & (np.abs(x) < 60) & (np.abs(x) > 6) & (z > -45) & (z < 65))


def _draw_shape(
    anatomy: Anatomy, centre: NDArray[np.int64], largest: float, rng: np.random.Generator
) -> Shape:
    half = int(np.ceil(1.9 * radius_of(max(largest, 0.05)) + OEDEMA_WIDTH[1] + 3))
    low = np.maximum(centre - half, 0)
    high = np.minimum(centre + half + 1, anatomy.shape)
    axes = [np.arange(a, b) - c for a, b, c in zip(low, high, centre, strict=True)]
    offset = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).astype(np.float32)
    turn = np.linalg.qr(rng.standard_normal((3, 3)))[0]
    axis = np.exp(rng.uniform(-0.2, 0.2, 3))
    stretch = (turn * (axis / np.cbrt(axis.prod()))).astype(np.float32)
    spacing = float(np.clip(radius_of(largest), 4, 12))
    rough = np.clip(1 + ROUGHNESS * smooth_field(offset.shape[:3], spacing, rng, step=1), 0.7, 1.4)
    distance = np.linalg.norm(offset @ stretch, axis=-1) * rough
    return Shape(
        corner=low.astype(np.int64),
        distance=distance.astype(np.float32),
        core_share=float(rng.uniform(*CORE_SHARE)),
        oedema_width=float(rng.uniform(*OEDEMA_WIDTH)),
    )


def add_patches(shapes: Mapping[int, Shape], rng: np.random.Generator) -> dict[int, Shape]:
    """Return the shapes with a random pattern of perfusion, the same in every session."""
    return {
        n: replace(s, patches=gaussian_field(s.distance.shape, PATCH_LENGTH, rng))
        for n, s in shapes.items()
    }


def add_veins(shapes: Mapping[int, Shape], rng: np.random.Generator) -> dict[int, Shape]:
    """Return the shapes with random veins beside them."""
    return {n: replace(shape, veins=draw_veins(rng)) for n, shape in shapes.items()}


def ball_cover(
    distance: FloatVolume, allowed: FloatVolume, volume: float
) -> tuple[FloatVolume, float]:
    """Return the coverage by a lesion of exactly the given volume, and its radius.

    Parameters
    ----------
    distance : (...) array, mm
        Distance from the centre.
    allowed : (...) array
        Maximum coverage of each voxel of 1 mm3.
    volume : float, ml

    Returns
    -------
    cover : (...) array
        At most `allowed`, and equal to it if its sum is less than the volume.
    radius : float, mm

    Notes
    -----
    ``cover = allowed clip(radius - distance + 1/2, 0, 1)`` increases with the radius, so the root
    of ``sum(cover) = volume`` is unique.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.abs(np.arange(-20, 21.0))
    >>> cover, radius = ball_cover(x, np.ones_like(x), 0.011)
    >>> round(float(cover.sum()), 6), round(radius, 6)
    (11.0, 5.5)
    """
    most = float(distance.max()) + 1
    wide = allowed.astype(np.float64)

    def cover(radius: float) -> NDArray[np.float64]:
        result: NDArray[np.float64] = wide * np.clip(radius - distance + 0.5, 0, 1)
        return result

    def excess(radius: float) -> float:
        return float(cover(radius).sum()) - 1000 * volume

    if excess(most) <= 0:
        return allowed, most
    radius = float(optimize.brentq(excess, -0.5, most, xtol=1e-9))
    return cover(radius).astype(np.float32), radius


def grow_lesions(
    anatomy: Anatomy, shapes: Mapping[int, Shape], volumes: Mapping[int, float]
) -> dict[int, SimulatedLesion]:
    """Return the lesions of one session with their volumes, without overlap.

    Parameters
    ----------
    anatomy : Anatomy
    shapes : mapping of lesion to Shape
    volumes : mapping of lesion to volume, ml
        Lesions with a volume of zero are omitted.

    Returns
    -------
    dict of lesion to Lesion
    """
    free = anatomy.brain.copy()
    wholes: dict[int, _Whole] = {}
    for lesion, volume in volumes.items():
        if volume <= 0:
            continue
        shape = shapes[lesion]
        cover, radius = ball_cover(shape.distance, free[shape.box], volume)
        share = shape.core_share if volume > CORE_FROM else 0.0
        core, inner = ball_cover(shape.distance, free[shape.box], share * volume)
        wholes[lesion] = _Whole(cover, core, radius, inner)
        free[shape.box] -= cover
    veins = {n: _grow_veins(anatomy, shapes[n], whole.cover, free) for n, whole in wholes.items()}
    return {n: _finish(anatomy, shapes[n], wholes[n], veins[n], free) for n in wholes}


@dataclass(frozen=True)
class _Whole:
    """Coverage by a lesion and its core, and their radii, mm."""

    cover: FloatVolume
    core: FloatVolume
    radius: float
    inner: float


def _grow_veins(
    anatomy: Anatomy, shape: Shape, cover: FloatVolume, free: FloatVolume
) -> TissuePart | None:
    """Return the part that the veins of a lesion occupy, and remove it from `free`."""
    if not shape.veins:
        return None
    found = np.zeros_like(cover)
    for vein in shape.veins:
        found = np.maximum(found, vein_cover(vein, cover, shape.centre, free[shape.box]))
    free[shape.box] -= found
    return _as_part(anatomy, shape, found)


def _finish(
    anatomy: Anatomy,
    shape: Shape,
    whole: _Whole,
    vein: TissuePart | None,
    free: FloatVolume,
) -> SimulatedLesion:
    box = shape.box
    reach = np.float32(whole.radius + shape.oedema_width)
    edge = np.clip((reach - shape.distance) / 4 + 0.5, 0, 1)
    swollen = np.minimum(edge * anatomy.white[box], free[box])
    free[box] -= swollen
    rim = np.clip(whole.cover - whole.core, 0, 1)
    part = _as_part(anatomy, shape, rim)
    levels: tuple[Level, ...] = ()
    if shape.patches is not None:
        pattern = perfusion_pattern(shape.distance, whole.inner, whole.radius, shape.patches)
        levels = split_rim(part, pattern[rim > 0])
    return SimulatedLesion(
        rim=part,
        core=_as_part(anatomy, shape, whole.core),
        oedema=_as_part(anatomy, shape, swollen),
        volume=float(whole.cover.sum(dtype=np.float64)) / 1000,
        levels=levels,
        vein=vein,
    )


def _as_part(anatomy: Anatomy, shape: Shape, cover: FloatVolume) -> TissuePart:
    some = np.argwhere(cover > 0)
    index = np.ravel_multi_index(tuple((some + shape.corner).T), anatomy.shape)
    return TissuePart(index.astype(np.int32), cover[tuple(some.T)].astype(np.float32))
