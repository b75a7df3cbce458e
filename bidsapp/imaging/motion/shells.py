"""Motion within and between the shells of a diffusion series.

Volumes at one b-value resemble one another more than any of them resembles b = 0. They are aligned
with the mean of the others; the mean of all, which has little noise, is aligned with b = 0.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bidsapp.imaging.motion.alignment import (
    REFINE,
    SWEEPS,
    TUKEY,
    FramePose,
    align,
    local_residual,
    robust_scale,
)
from bidsapp.imaging.motion.blocks import (
    Blocks,
    Sample,
    Target,
    Values,
    make_target,
    spline_coefficients,
)
from bidsapp.imaging.motion.parameters import framewise_displacement, rigid_parameters
from bidsapp.imaging.transforms import Matrix, apply, compose, invert, nearest_rigid

Float = NDArray[np.float64]
Shell = Sequence[int] | NDArray[np.int64]

SAME_B = (5.0, 0.05)
"""Largest difference between the b-values of a shell: s/mm2, and relative."""
BALANCED = 6
"""Number of directions whose eddy currents cancel in the mean, so that its pose is rigid."""
GAIN = 1.0
"""Standard errors by which a pose has to improve the likeness to be used."""


def group_shells(bvalues: ArrayLike) -> list[NDArray[np.int64]]:
    """Return the volumes of each shell, in the order of acquisition, from low to high b.

    Examples
    --------
    >>> [shell.tolist() for shell in group_shells([0, 1000, 0, 995, 10])]
    [[0, 2], [4], [1, 3]]
    """
    b = np.asarray(bvalues, float).ravel()
    shells: list[list[int]] = []
    for n in np.argsort(b, kind="stable"):
        gap = b[n] - b[shells[-1][0]] if shells else np.inf
        if gap > max(SAME_B[0], SAME_B[1] * b[n]):
            shells.append([])
        shells[-1].append(int(n))
    return [np.sort(shell) for shell in shells]


def align_shells(
    blocks: Blocks, shells: Sequence[Shell], starts: Sequence[Matrix], n_jobs: int = 1
) -> list[FramePose]:
    r"""Align the volumes of each shell with one another, and the shells with the first.

    Parameters
    ----------
    blocks : Blocks
    shells : list of sequences
        Volumes of each shell; the first volume of the first shell is the reference.
    starts : N of (4, 4) array
        Poses from tracking.
    n_jobs : int
        Threads.

    Returns
    -------
    list of FramePose
        Of each volume; the misfit is infinite if the alignment failed.

    Notes
    -----
    A pose is estimated in one half of the blocks and judged in the other, by the robust residual
    relative to the target. It is used if it reduces the residual by more than one standard error,
    the usual rule in cross-validation; otherwise the volume keeps the pose of its shell, or the
    shell that of the reference. The blocks are judged at random offsets from the voxel centres:
    at the centres, only an image that is not moved would escape the smoothing by interpolation.

    References
    ----------
    Breiman et al., Classification and Regression Trees, 1984 (one standard error).
    """
    found: dict[int, FramePose] = {}
    with ThreadPoolExecutor(n_jobs) as pool:
        for shell in shells:
            members = replace(blocks, frames=[blocks.frames[n] for n in shell])
            first = shell is shells[0]
            within, base = _align_within(members, [starts[n] for n in shell], first, pool.map)
            if not first:
                reference = blocks.frames[shells[0][0]]
                base = _align_mean(members, [w.matrix for w in within], base, reference)
            for n, place in zip(shell, within, strict=True):
                pose = compose(base.matrix, place.matrix)
                error = float(np.hypot(base.error, place.error))
                found[n] = FramePose(pose, place.misfit + base.misfit, error)
    return [found[n] for n in range(len(blocks.frames))]


def _align_within(
    blocks: Blocks, starts: Sequence[Matrix], first: bool, run: Any
) -> tuple[list[FramePose], FramePose]:
    """Return the poses of the volumes of a shell relative to their middle, and the middle."""
    if len(starts) == 1:
        return [FramePose(np.eye(4), 0.0)], FramePose(starts[0], 0.0)
    poses, places = list(starts), []
    slopes: Values | None = None
    for _ in range(SWEEPS):
        samples = _sample_volumes(blocks, poses)
        slopes = _mean_slopes(blocks, samples, poses)
        targets = _other_volumes(samples, slopes)
        places = list(run(partial(_refine, blocks), blocks.frames, targets, poses, samples))
        poses = [place.matrix for place in places]
    assert slopes is not None
    middle = poses[0] if first else np.median(poses, axis=0)
    if blocks.phase is None:
        middle = nearest_rigid(middle, blocks.centre)
    # The last refinement hardly moves the volumes: the slopes remain those before it.
    samples = _sample_volumes(blocks, poses)
    targets, offset = _other_volumes(samples, slopes), _offset(blocks)
    seen = [offset.sample(f, p)[0] for f, p in zip(blocks.frames, poses, strict=True)]
    total, others = np.sum(seen, axis=0), np.float32(len(seen) - 1)

    def choose(n: int) -> FramePose:
        judge = (total - seen[n]) / others
        own = compose(invert(middle), poses[n])
        frame = blocks.frames[n]
        better, error = _judge(
            blocks, offset, frame, targets[n], judge, poses[n], middle, samples[n]
        )
        return FramePose(own if better else np.eye(4), places[n].misfit, error)

    return list(run(choose, range(len(poses)))), FramePose(np.eye(4) if first else middle, 0.0)


def _refine(
    blocks: Blocks, frame: Values, target: Target, start: Matrix, seen: Sample
) -> FramePose:
    return align(blocks, frame, target, start, REFINE, seen)


def _align_mean(
    blocks: Blocks, poses: Sequence[Matrix], start: FramePose, reference: Values
) -> FramePose:
    """Return the pose of the mean of a shell, relative to the reference."""
    here = start.matrix
    if len(poses) >= BALANCED:
        blocks, here = replace(blocks, phase=None), nearest_rigid(here, blocks.centre)
    mean, still = _mean_frame(blocks, poses), np.eye(4)
    target = make_target(blocks, blocks.sample(reference, still)[0], reference, still)
    place = align(blocks, mean, target, here, REFINE)
    offset = _offset(blocks)
    judge = offset.sample(reference, still)[0]
    better, error = _judge(blocks, offset, mean, target, judge, place.matrix, still)
    return FramePose(place.matrix if better else still, place.misfit, error)


def _mean_frame(blocks: Blocks, poses: Sequence[Matrix]) -> Values:
    """Return the spline coefficients of the mean of a shell."""
    if len(poses) == 1:
        return blocks.frames[0]
    shape = blocks.frames[0].shape
    grid = replace(blocks, points=apply(blocks.affine, np.indices(shape).reshape(3, 1, -1).T))
    seen = (grid.sample(f, p)[0] for f, p in zip(blocks.frames, poses, strict=True))
    return spline_coefficients((np.sum(list(seen), axis=0) / len(poses)).reshape(shape))


def _sample_volumes(blocks: Blocks, poses: Sequence[Matrix]) -> list[Sample]:
    return [blocks.sample(f, p) for f, p in zip(blocks.frames, poses, strict=True)]


def _mean_slopes(blocks: Blocks, samples: Sequence[Sample], poses: Sequence[Matrix]) -> Values:
    """Return the mean of the slopes of the volumes of a shell."""
    seen = zip(samples, blocks.frames, poses, strict=True)
    slopes: Values = np.mean([make_target(blocks, s[0], f, p).slopes for s, f, p in seen], axis=0)
    return slopes


def _other_volumes(samples: Sequence[Sample], slopes: Values) -> list[Target]:
    """Return the mean of the others as the target of each volume of a shell."""
    total, others = np.sum([s[0] for s in samples], axis=0), np.float32(len(samples) - 1)
    return [Target((total - s[0]) / others, slopes) for s in samples]


def _offset(blocks: Blocks) -> Blocks:
    """Return the blocks with each point at a random offset from the centre of its voxel."""
    offset = np.random.default_rng(0).uniform(-0.5, 0.5, blocks.points.shape)
    return replace(blocks, points=blocks.points + offset @ blocks.affine[:3, :3].T)


def _judge(
    blocks: Blocks,
    offset: Blocks,
    frame: Values,
    target: Target,
    judge: Values,
    start: Matrix,
    rest: Matrix,
    seen: Sample | None = None,
) -> tuple[bool, float]:
    """Return whether a pose improves the likeness in other blocks, and its standard error in mm.

    `target` are values and slopes at the points of `blocks`, `judge` values at those of `offset`.
    """
    gains, poses = [], []
    for k in (0, 1):  # the blocks are in random order
        half = replace(blocks, points=blocks.points[k::2])
        here = Target(target.values[k::2], target.slopes[k::2])
        known = (seen[0][k::2], seen[1][k::2]) if seen else None
        pose = align(half, frame, here, start, REFINE, known).matrix
        poses.append(pose)
        other = replace(offset, points=offset.points[1 - k :: 2])
        before, after = _block_residuals(other, frame, judge[1 - k :: 2], (rest, pose))
        limit = np.square(TUKEY * robust_scale(before))
        gains.append((np.minimum(before**2, limit) - np.minimum(after**2, limit)).sum(axis=1))
    gain = np.concatenate(gains)
    # Half the difference of two independent halves is one standard error of their mean.
    error = (
        float(framewise_displacement(rigid_parameters(poses, blocks.centre, blocks.phase))[1]) / 2
    )
    return bool(gain.mean() > GAIN * gain.std() / np.sqrt(gain.size)), error


def _block_residuals(
    blocks: Blocks, frame: Values, target: Values, poses: Sequence[Matrix]
) -> list[Values]:
    """Return the residual in each pose at the points inside the field of view in all of them."""
    seen = [blocks.sample(frame, pose) for pose in poses]
    inside = np.all([one[1] for one in seen], axis=0).astype(np.float32)
    flat = Target(target, np.zeros((*target.shape, 1), np.float32))
    return [local_residual(values, inside, flat)[0] * inside for values, _ in seen]
