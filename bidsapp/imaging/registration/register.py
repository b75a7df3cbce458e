"""Registration by local Pearson correlation: many starts, three resolutions, exact gradients."""

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
    make_match,
    sort_samples,
)
from bidsapp.imaging.registration.prepare import MARGIN, ImagePair, inner_mask, prepare_pair
from bidsapp.imaging.registration.quality import Quality, assess
from bidsapp.imaging.registration.result import Registration, Stage
from bidsapp.imaging.registration.sampling import (
    Image,
    at_resolution,
    blur_to_voxels_of,
    crop,
    subsample,
)
from bidsapp.imaging.registration.similarity import METRICS, Metric
from bidsapp.imaging.registration.starts import (
    ambiguity,
    descend_all,
    draw_poses,
    head_centre,
    keep_distinct,
    mean_distance,
    mirror_start,
    relative_cost,
    score,
)
from bidsapp.imaging.registration.uncertainty import expected_error
from bidsapp.imaging.transforms import Matrix, apply, as_affine, invert, nearest_rigid

STARTS = 128
"""Random poses about each of two guesses; a power of two."""
N_DESCENTS, N_KEPT = 16, 3
"""Number of starts refined at the coarse resolution, and of their ends kept after it."""
N_CHANCE = 16
"""Number of random poses whose median cost is that of chance."""
DISTINCT_MM = 4.0
"""mm; mean distance above which two ends are different solutions."""
MAX_SAMPLES = 100_000


@dataclass(frozen=True)
class Level:
    """Settings of one resolution.

    Attributes
    ----------
    name : str
    width, spacing, block : float, mm
        Width of the point spread function, distance of the samples, size of the blocks.
    stiffness : float
        Weight of the strain: keeps a slab from being stretched over the brain.
    """

    name: str
    width: float
    spacing: float
    block: float
    stiffness: float


COARSE = Level("coarse", 10.0, 8.0, 40.0, 0.5)
MIDDLE = Level("middle", 5.0, 4.0, 28.0, 0.5)
FINE = Level("fine", 2.0, 2.5, 18.0, 0.01)


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
        On any grids. Their headers need not agree on the position of the head.
    transform : str
        ``affine`` has twelve parameters, ``rigid`` six.
    metric : str
        ``lpc``: local Pearson correlation for inverted contrasts (b = 0 image and T1w);
        ``lpp``: for equal contrasts (two T1w); ``lpa``: its absolute value, for either;
        ``nmi``: normalised mutual information.
    moving_mask, fixed_mask : Nifti1Image, optional
        Voxels to use of each image, on its grid. That of the fixed image should be the brain;
        without it, all bright voxels are used.
    initial : (4, 4) array, optional
        Fixed points to moving points, RAS mm; within a few millimetres of the solution. There is
        then no search, only the finest resolution is used, and `Quality.ambiguity` is NaN.
    symmetric : bool
        Register in both directions and take the mean, so that neither image is privileged.
    seed : int
        Of the random starts.

    Returns
    -------
    Registration
        Also if it failed: check `Quality.verdict`.

    Raises
    ------
    BadInput
        If an image is not 3D or has one value only, or if a mask is on another grid or empty.

    Notes
    -----
    At a resolution of 10 mm hundreds of poses are scored and the best of them refined; at 5 mm few
    are left. Finally the voxels of the coarser image are compared with the finer image, blurred to
    voxels of that size, so that the coarser image is never interpolated. The result is
    deterministic.

    With ``lpc``, the constant background of a skull-stripped image is missing data, because the
    edge of the brain has the same contrast in all images.

    References
    ----------
    Saad et al., NeuroImage 2009, doi:10.1016/j.neuroimage.2008.09.037.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> from scipy.ndimage import gaussian_filter
    >>> head = nib.Nifti1Image(gaussian_filter(rng.random((24, 24, 24)), 2), np.diag([4, 4, 4, 1]))
    >>> moved = nib.Nifti1Image(head.get_fdata(), head.affine + np.eye(4, k=3) * 5)
    >>> found = register(moved, head, transform="rigid", metric="lpp")
    >>> round(float(found.matrix[0, 3])), found.quality.verdict.value
    (5, 'good')
    """
    if metric not in METRICS:
        raise BadInput(f"metric: {metric!r} is unknown; use one of {', '.join(METRICS)}")
    if transform not in ("affine", "rigid"):
        raise BadInput(f"transform: {transform!r} is unknown; use 'affine' or 'rigid'")
    with threadpool_limits(1, "blas"):  # matrices are small: threads only add overhead
        pair = prepare_pair(moving, moving_mask, fixed, fixed_mask, inverted=metric == "lpc")
        matrix, cost, stages, quality = _register_pair(
            pair,
            None if initial is None else as_affine(initial),
            transform,
            metric,
            symmetric=symmetric,
            seed=seed,
        )
    x, y, z = (int(n) for n in fixed.shape[:3])
    affine = np.array(fixed.affine, float)
    return Registration(matrix, cost, stages, quality, (x, y, z), affine, metric, pair.stripped)


def _register_pair(
    pair: ImagePair,
    initial: Matrix | None,
    transform: Transform,
    metric: Metric,
    *,
    symmetric: bool,
    seed: int,
) -> tuple[Matrix, float, tuple[Stage, ...], Quality]:
    """Search unless a start is given, refine, and assess."""
    if initial is None:
        start, stages, measures = _search(pair, transform, metric, seed)
    else:
        start, stages, measures = _constrain_start(pair, initial, transform), (), {}
    end, spread = _refine(pair, start, transform, metric)
    matrix, measures = end.matrix, measures | {"expected_error_mm": spread}
    if symmetric:
        # The two directions sample different images; their difference measures consistency.
        back = invert(_refine(pair.swap(matrix), invert(matrix), transform, metric)[0].matrix)
        measures["round_trip_mm"] = mean_distance(matrix, back, pair.points)
        matrix = halfway_matrix(matrix, back)
    weight = pair.fixed_weight
    quality = assess(
        matrix, weight.data, weight.affine, pair.moving.data.shape, pair.moving.affine, **measures
    )
    stages = (*stages, Stage(FINE.name, (end.cost,), end.evaluations))
    return matrix, end.cost, stages, quality


def _constrain_start(pair: ImagePair, initial: Matrix, transform: Transform) -> Matrix:
    """Return the initial matrix, made rigid for a rigid registration."""
    return nearest_rigid(initial, pair.points.mean(axis=0)) if transform == "rigid" else initial


def halfway_matrix(one: ArrayLike, other: ArrayLike) -> Matrix:
    """Return the geometric mean of two matrices that are close.

    Parameters
    ----------
    one, other : (4, 4) array

    Returns
    -------
    (4, 4) array
        Rigid if both are.

    Examples
    --------
    >>> halfway_matrix(np.eye(4), np.diag([1.21, 1, 1, 1])).diagonal().round(6).tolist()
    [1.1, 1.0, 1.0, 1.0]
    """
    first = np.asarray(one, float)
    # Along the one-parameter subgroup between them, A exp(log(A^-1 B) / 2): elementwise means of
    # rotations would not be rotations.
    step = logm(invert(first) @ np.asarray(other, float)).real
    mean: Matrix = first @ expm(step / 2)
    return mean


def _search(
    pair: ImagePair, transform: Transform, metric: Metric, seed: int
) -> tuple[Matrix, tuple[Stage, ...], dict[str, float]]:
    """Return the best matrix at the middle resolution, the stages, and measures of ambiguity."""
    coarse = _match_at_level(pair, metric, COARSE)
    fixed, moving = pair.points.mean(axis=0), head_centre(pair.moving)
    starts = score(coarse, draw_poses(fixed, moving, STARTS, seed))
    # Descents from poses closer than this would end in the same minimum.
    chosen = keep_distinct(starts, pair.points, 2 * DISTINCT_MM, N_DESCENTS)
    # Rigid first: twelve parameters at 10 mm stretch the head onto anything.
    ends = descend_all(coarse, chosen, "rigid", 30)
    first = keep_distinct(ends, pair.points, DISTINCT_MM, N_KEPT)
    level = _match_at_level(pair, metric, MIDDLE)
    reached = descend_all(level, first, "rigid", 20)
    turned = keep_distinct(reached, pair.points, DISTINCT_MM, 2)
    answers = descend_all(level, turned, "affine", 30) if transform == "affine" else turned
    answers = keep_distinct(answers, pair.points, DISTINCT_MM, N_KEPT)
    stages = (
        _stage(COARSE, first, sum(d.evaluations for d in starts + ends)),
        _stage(MIDDLE, answers, sum(d.evaluations for d in reached + answers)),
    )
    # The cost of chance comes from random poses (the first two are the guesses, not random).
    chance = score(level, [d.matrix for d in starts[2 : 2 + N_CHANCE]])
    measures = {
        "ambiguity": ambiguity(chance, reached, pair.points, 3 * DISTINCT_MM),
        "mirror": relative_cost(
            _mirrored_cost(coarse, level, turned[0], pair), turned[0].cost, chance
        ),
    }
    return answers[0].matrix, stages, measures


def _mirrored_cost(coarse: Match, level: Match, best: Descent, pair: ImagePair) -> float:
    """Return the lowest cost near the solution with left and right of the head exchanged."""
    start = mirror_start(best.matrix, pair.points)
    near = descend(coarse, start, "rigid", 30)
    return descend(level, near.matrix, "rigid", 20).cost


def _stage(level: Level, ends: list[Descent], evaluations: int) -> Stage:
    return Stage(level.name, tuple(d.cost for d in ends), evaluations)


def _match_at_level(pair: ImagePair, metric: Metric, level: Level) -> Match:
    """Return the matching of samples of the fixed brain with the moving image at a resolution."""
    fixed = subsample(at_resolution(pair.fixed, level.width), level.spacing)
    samples = _select_samples(fixed, pair.fixed_weight, np.eye(4), level.block)
    image = at_resolution(pair.moving, level.width)
    mask = pair.moving_weight
    return make_match(samples, image, metric, mask=mask, stiffness=level.stiffness)


def _select_samples(
    image: Image, weight: Image, to_weight: Matrix, block: float, also: Image | None = None
) -> Samples:
    """Return the voxels of an image that a matrix maps inside a mask.

    `also` is a mask in the space of the image itself.
    """
    counts = _voxels_inside(image, weight, to_weight)
    if also:
        counts &= _voxels_inside(image, also, np.eye(4))
    inside = np.argwhere(counts)
    inside = inside[:: max(1, round(len(inside) / MAX_SAMPLES))]
    values = image.data[tuple(inside.T)]
    return sort_samples(apply(image.affine, inside), values, block)


def _voxels_inside(image: Image, weight: Image, to_weight: Matrix) -> NDArray[np.bool_]:
    """Return which voxels of an image a matrix maps inside a mask."""
    voxel = invert(weight.affine) @ to_weight @ image.affine
    found = ndimage.affine_transform(
        weight.data, voxel[:3, :3], voxel[:3, 3], image.data.shape, order=1, mode="grid-constant"
    )
    return np.asarray(found >= 0.5)


def _refine(
    pair: ImagePair, start: Matrix, transform: Transform, metric: Metric
) -> tuple[Descent, float]:
    """Return the end of the descent at full resolution, fixed to moving, and its expected error."""
    if transform == "affine":
        pair = replace(pair, fixed_weight=inner_mask(pair.fixed_weight))
    # The image with the coarser voxels is sampled at its own voxels and the other one interpolated:
    # interpolation of a coarse image would smooth its noise, and that lowers the cost between
    # voxels. If the moving image is the coarser one, the inverse matrix is estimated.
    if np.prod(pair.moving.zooms) <= 1.5 * np.prod(pair.fixed.zooms):
        problem = _match_at_level(pair, metric, FINE)
        end = descend(problem, start, transform, 40)
        return end, expected_error(problem, end.matrix, transform, pair.points)
    there = invert(start)
    moving = crop(pair.moving, apply(start, pair.points), MARGIN)
    samples = _select_samples(moving, pair.fixed_weight, there, FINE.block, also=pair.moving_weight)
    fixed = blur_to_voxels_of(pair.fixed, moving, start)
    problem = make_match(samples, fixed, metric, stiffness=FINE.stiffness)
    end = descend(problem, there, transform, 40)
    error = expected_error(problem, end.matrix, transform, apply(start, pair.points))
    return Descent(invert(end.matrix), end.cost, end.evaluations), error
