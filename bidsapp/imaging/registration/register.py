"""Registration by the local Pearson correlation: many starts, three resolutions, exact slopes."""

from dataclasses import dataclass, replace

import nibabel as nib
import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage
from scipy.linalg import expm, logm
from threadpoolctl import threadpool_limits

from bidsapp.errors import BadInput
from bidsapp.imaging.registration.matching import (
    Descent,
    Match,
    Samples,
    Transform,
    descend,
    match,
    samples_of,
)
from bidsapp.imaging.registration.prepare import MARGIN, Pair, core, make_pair
from bidsapp.imaging.registration.quality import Quality, assess
from bidsapp.imaging.registration.sampling import (
    Image,
    at_resolution,
    cropped,
    like_voxels_of,
    thinned,
)
from bidsapp.imaging.registration.similarity import METRICS, Metric
from bidsapp.imaging.registration.starts import (
    ambiguity,
    as_good,
    distance,
    distinct,
    exchanged,
    followed,
    middle,
    poses,
    scored,
)
from bidsapp.imaging.registration.uncertainty import expected_error
from bidsapp.imaging.transforms import Matrix, apply, as_affine, invert, nearest_rigid

STARTS = 128
"""Random poses about each of two guesses; a power of two."""
FOLLOWED, KEPT = 16, 3
"""How many of the starts are followed coarsely, and how many of their ends from there."""
CHANCE = 16
"""How many random poses tell what cost chance gives."""
APART = 4.0
"""mm; the mean distance from which on two ends are different answers."""
MOST_SAMPLES = 100_000


@dataclass(frozen=True)
class Level:
    """A resolution.

    Attributes
    ----------
    name : str
    width, spacing, block : float, mm
        What a point becomes, distance of the samples, size of the blocks.
    stiffness : float
        Price of a strain: keeps a slab from being stretched over the brain.
    """

    name: str
    width: float
    spacing: float
    block: float
    stiffness: float


COARSE = Level("coarse", 10.0, 8.0, 40.0, 0.5)
MIDDLE = Level("middle", 5.0, 4.0, 28.0, 0.5)
FINE = Level("fine", 2.0, 2.5, 18.0, 0.01)


@dataclass(frozen=True)
class Stage:
    """What happened at one resolution: the costs of the different ends, lowest first."""

    name: str
    costs: tuple[float, ...]
    evaluations: int


@dataclass(frozen=True)
class Registration:
    """Where the moving image lies on the fixed one.

    Attributes
    ----------
    matrix : (4, 4) array
        Points of the fixed image to points of the moving one, RAS mm.
    cost : float
        At the finest resolution; lower is better.
    history : tuple of Stage
        From coarse to fine.
    quality : Quality
        How much of it is to be believed.
    """

    matrix: Matrix
    cost: float
    history: tuple[Stage, ...]
    quality: Quality


def register(
    moving: nib.Nifti1Image,
    fixed: nib.Nifti1Image,
    *,
    transform: Transform = "affine",
    metric: Metric = "lpa",
    moving_mask: nib.Nifti1Image | None = None,
    fixed_mask: nib.Nifti1Image | None = None,
    initial: ArrayLike | None = None,
    symmetric: bool = False,
    seed: int = 0,
) -> Registration:
    """Register one image to another.

    Parameters
    ----------
    moving, fixed : (X, Y, Z) Nifti1Image
        On grids of their own. Their headers need not agree on where the head is.
    transform : str
        ``affine`` has twelve parameters, ``rigid`` six.
    metric : str
        ``lpc``: local Pearson correlation where contrasts are opposite (b = 0 image and T1w);
        ``lpp``: where they are alike (two T1w); ``lpa``: its absolute value, for either;
        ``nmi``: normalised mutual information.
    moving_mask, fixed_mask : Nifti1Image, optional
        What counts of each image, on its grid. The fixed image's should be the brain; without it,
        all that is bright counts.
    initial : (4, 4) array, optional
        Fixed points to moving points, RAS mm; within some millimetres of the answer. Only the
        finest resolution is then gone through, and `Quality.ambiguity` is not known.
    symmetric : bool
        Register in both directions and take the middle, so that neither image is privileged.
    seed : int
        Of the random starts.

    Returns
    -------
    Registration
        Also where it failed: its quality tells.

    Raises
    ------
    BadInput
        If an image is not 3D or has one value only, or if a mask is on another grid or empty.

    Notes
    -----
    Both images are brought to 10 mm, where hundreds of poses are scored and the best of them
    followed; to 5 mm, where few are left; and then the voxels of the coarser image are held
    against the finer one, blurred to voxels of that size. So the coarser image is never
    interpolated. Everything is deterministic.

    References
    ----------
    Saad et al., NeuroImage 2009, doi:10.1016/j.neuroimage.2008.09.037.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> from scipy.ndimage import gaussian_filter
    >>> head = nib.Nifti1Image(gaussian_filter(rng.random((40, 40, 40)), 2), np.diag([4, 4, 4, 1]))
    >>> moved = nib.Nifti1Image(head.get_fdata(), head.affine + np.eye(4, k=3) * 5)
    >>> found = register(moved, head, transform="rigid", metric="lpp")
    >>> round(float(found.matrix[0, 3])), found.quality.verdict.value
    (5, 'good')
    """
    if metric not in METRICS:
        raise BadInput(f"metric: {metric!r} is not known; take one of {', '.join(METRICS)}")
    if transform not in ("affine", "rigid"):
        raise BadInput(f"transform: {transform!r} is not known; take 'affine' or 'rigid'")
    with threadpool_limits(1, "blas"):  # its matrices are small: threads would wait for each other
        return _registered(
            make_pair(moving, moving_mask, fixed, fixed_mask),
            None if initial is None else as_affine(initial),
            transform,
            metric,
            symmetric=symmetric,
            seed=seed,
        )


def _registered(
    pair: Pair,
    initial: Matrix | None,
    transform: Transform,
    metric: Metric,
    *,
    symmetric: bool,
    seed: int,
) -> Registration:
    """Search unless there is a start, refine, and assess."""
    if initial is None:
        start, stages, told = _search(pair, transform, metric, seed)
    else:
        start, stages, told = _started(pair, initial, transform), (), {}
    end, spread = _refined(pair, start, transform, metric)
    matrix, told = end.matrix, told | {"expected_error_mm": spread}
    if symmetric:
        back = invert(_refined(pair.turned(matrix), invert(matrix), transform, metric)[0].matrix)
        told["round_trip_mm"] = distance(matrix, back, pair.points)
        matrix = halfway(matrix, back)
    weight = pair.fixed_weight
    quality = assess(
        matrix, weight.data, weight.affine, pair.moving.data.shape, pair.moving.affine, **told
    )
    stages = (*stages, Stage(FINE.name, (end.cost,), end.evaluations))
    return Registration(matrix, end.cost, stages, quality)


def _started(pair: Pair, initial: Matrix, transform: Transform) -> Matrix:
    """Return a given start as what the transform can be."""
    return nearest_rigid(initial, pair.points.mean(axis=0)) if transform == "rigid" else initial


def halfway(one: ArrayLike, other: ArrayLike) -> Matrix:
    """Return the matrix in the middle between two that are close.

    Parameters
    ----------
    one, other : (4, 4) array

    Returns
    -------
    (4, 4) array
        Rigid if both are.

    Examples
    --------
    >>> halfway(np.eye(4), np.diag([1.21, 1, 1, 1])).diagonal().round(6).tolist()
    [1.1, 1.0, 1.0, 1.0]
    """
    first = np.asarray(one, float)
    step = logm(invert(first) @ np.asarray(other, float)).real
    middle_one: Matrix = first @ expm(step / 2)
    return middle_one


def _search(
    pair: Pair, transform: Transform, metric: Metric, seed: int
) -> tuple[Matrix, tuple[Stage, ...], dict[str, float]]:
    """Return the best answer at the middle resolution, and how close others come to it."""
    coarse = _level(pair, metric, COARSE)
    fixed, moving = pair.points.mean(axis=0), middle(pair.moving)
    starts = scored(coarse, poses(fixed, moving, STARTS, seed))
    chosen = distinct(starts, pair.points, 2 * APART, FOLLOWED)
    ends = followed(coarse, chosen, "rigid", 30)
    first = distinct(ends, pair.points, APART, KEPT)
    level = _level(pair, metric, MIDDLE)
    reached = followed(level, first, "rigid", 20)
    turned = distinct(reached, pair.points, APART, 2)
    answers = followed(level, turned, "affine", 30) if transform == "affine" else turned
    answers = distinct(answers, pair.points, APART, KEPT)
    stages = (
        _stage(COARSE, first, sum(d.evaluations for d in starts + ends)),
        _stage(MIDDLE, answers, sum(d.evaluations for d in reached + answers)),
    )
    chance = scored(level, [d.matrix for d in starts[2 : 2 + CHANCE]])
    told = {
        "ambiguity": ambiguity(chance, reached, pair.points, 3 * APART),
        "mirror": as_good(_mirrored(coarse, level, turned[0], pair), turned[0].cost, chance),
    }
    return answers[0].matrix, stages, told


def _mirrored(coarse: Match, level: Match, best: Descent, pair: Pair) -> float:
    """Return what the answer costs at best with left and right of the head exchanged."""
    start = exchanged(best.matrix, pair.points)
    near = descend(coarse, start, "rigid", 30)
    return descend(level, near.matrix, "rigid", 20).cost


def _stage(level: Level, ends: list[Descent], evaluations: int) -> Stage:
    return Stage(level.name, tuple(d.cost for d in ends), evaluations)


def _level(pair: Pair, metric: Metric, level: Level) -> Match:
    """Return the problem in which samples of the fixed brain are held against the moving image."""
    fixed = thinned(at_resolution(pair.fixed, level.width), level.spacing)
    samples = _samples(fixed, pair.fixed_weight, np.eye(4), level.block)
    image = at_resolution(pair.moving, level.width)
    mask = pair.moving_weight
    return match(samples, image, metric, mask=mask, stiffness=level.stiffness)


def _samples(
    image: Image, weight: Image, to_weight: Matrix, block: float, also: Image | None = None
) -> Samples:
    """Return the voxels of an image that count by the weight where a matrix takes them.

    `also` is a weight of the image's own.
    """
    counts = _counts(image, weight, to_weight)
    if also:
        counts &= _counts(image, also, np.eye(4))
    inside = np.argwhere(counts)
    inside = inside[:: max(1, round(len(inside) / MOST_SAMPLES))]
    values = image.data[tuple(inside.T)]
    return samples_of(apply(image.affine, inside), values, block)


def _counts(image: Image, weight: Image, to_weight: Matrix) -> NDArray[np.bool_]:
    """Return which voxels of an image come to lie on weight."""
    voxel = invert(weight.affine) @ to_weight @ image.affine
    found = ndimage.affine_transform(
        weight.data, voxel[:3, :3], voxel[:3, 3], image.data.shape, order=1, mode="grid-constant"
    )
    return np.asarray(found >= 0.5)


def _refined(
    pair: Pair, start: Matrix, transform: Transform, metric: Metric
) -> tuple[Descent, float]:
    """Return the end of the finest descent, fixed to moving, and its expected error in mm."""
    if transform == "affine":
        pair = replace(pair, fixed_weight=core(pair.fixed_weight))
    if np.prod(pair.moving.zooms) <= 1.5 * np.prod(pair.fixed.zooms):
        problem = _level(pair, metric, FINE)
        end = descend(problem, start, transform, 40)
        return end, expected_error(problem, end.matrix, transform, pair.points)
    there = invert(start)
    moving = cropped(pair.moving, apply(start, pair.points), MARGIN)
    samples = _samples(moving, pair.fixed_weight, there, FINE.block, also=pair.moving_weight)
    fixed = like_voxels_of(pair.fixed, moving, start)
    problem = match(samples, fixed, metric, stiffness=FINE.stiffness)
    end = descend(problem, there, transform, 40)
    error = expected_error(problem, end.matrix, transform, apply(start, pair.points))
    return Descent(invert(end.matrix), end.cost, end.evaluations), error
