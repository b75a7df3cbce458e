"""Frames of a series that differ from all their neighbours, and which of them to trust."""

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from bidsapp.imaging.motion.alignment import local_residual, robust_scale
from bidsapp.imaging.motion.blocks import Blocks, Target, Values
from bidsapp.imaging.transforms import Matrix

Float = NDArray[np.float64]

AROUND = (-2, -1, 1, 2)
"""Neighbours with which a frame is compared; a spoilt one differs from all of them."""
SCORE = 3.5
"""Modified z-score above which a residual is unusual."""
EXCESS = 1.3
"""Ratio to the usual residual above which it is also relevant."""
CONTRAST = 0.2
"""Residual per change of the mean of the blocks that is expected from arriving contrast agent."""

PASSAGE = 1.5
"""Change of the mean of the blocks from the frame before to the frame after, relative to the usual
residual, above which contrast agent passes. In steady frames it is 0.5, in the first pass 2 to
50."""

TOO_MANY = 0.2
"""Proportion of outliers above which the motion estimate, not the volumes, is in doubt: in a
usable series few volumes are damaged."""


def withdraw_outliers(
    outliers: NDArray[np.bool_],
    shells: Iterable[NDArray[np.int64]],
    passage: NDArray[np.bool_] | None = None,
) -> tuple[NDArray[np.bool_], list[str]]:
    """Return the outliers that may be excluded, and warnings about the others.

    Parameters
    ----------
    outliers : (N,) array of bool
    shells : list of array
        The volumes at each b-value, of which one has to remain; all frames of a dynamic series.
    passage : (N,) array of bool, optional
        Frames in which contrast agent passes, all of which have to remain: the arterial input falls
        by a factor of four within a frame, and bridging a gap there by a straight line changed
        Ktrans by a fifth.

    Returns
    -------
    kept : (N,) array of bool
        No outlier if there are more than `TOO_MANY`, or if no other volume of a shell remains,
        and none in the passage of contrast agent.
    warnings : list of str

    Examples
    --------
    >>> shells = [np.array([0]), np.array([1, 2, 3, 4, 5])]
    >>> withdraw_outliers(np.array([1, 0, 0, 0, 0, 0], bool), shells)[0].any()
    np.False_
    """
    count, total = int(outliers.sum()), len(outliers)
    if count > TOO_MANY * total:
        text = (
            f"{count} of {total} volumes appear to be outliers of motion: either the head moved "
            "throughout, or the motion estimate is wrong; none is excluded. Compare the lesion "
            "values with those of --no-motion-correction"
        )
        return np.zeros_like(outliers), [text]
    kept, warnings = outliers.copy(), []
    if passage is not None and (outliers & passage).any():
        kept &= ~passage
        numbers = ", ".join(str(n + 1) for n in np.flatnonzero(outliers & passage))
        warnings.append(
            f"outliers of motion during the first pass of the contrast agent (volume {numbers}): "
            "not excluded, because the arterial input depends on every volume there"
        )
    for shell in shells:
        if outliers[shell].all():
            kept[shell] = False
            numbers = ", ".join(str(n + 1) for n in shell)
            warnings.append(
                f"volume {numbers} is an outlier of motion, but no other volume has its b-value: "
                "it is not excluded"
                if len(shell) == 1
                else f"volumes {numbers} are outliers of motion, but no other volume has their "
                "b-value: they are not excluded"
            )
    return kept, warnings


def flag_spoilt_frames(
    blocks: Blocks, matrices: Sequence[Matrix], lost: NDArray[np.bool_]
) -> tuple[Float, NDArray[np.bool_], NDArray[np.bool_]]:
    r"""Return the residual of each frame relative to its neighbours, and the spoilt frames.

    Parameters
    ----------
    blocks : Blocks
    matrices : N of (4, 4) array
        Poses of the frames.
    lost : (N,) array of bool
        Frames that could not be aligned.

    Returns
    -------
    residual : (N,) array
        1 is usual.
    spoilt : (N,) array of bool
    passage : (N,) array of bool
        Frames in which contrast agent passes. They differ from all neighbours in any case, and are
        spoilt only if lost.

    Notes
    -----
    The residual of frame n is the smallest, over the two frames before and after, of
    :math:`\mathrm{MAD}(r) / \sqrt{s^2 + (0.2 c)^2}`: r is the residual after fitting each block
    with a factor and an offset, s its usual size, and c the robust size of the change of the block
    means, which is large while contrast agent arrives and hardly depends on motion.
    A frame is spoilt if the residual is both 1.3 times the usual one and 3.5 robust standard
    deviations above it.

    References
    ----------
    Afyouni and Nichols, NeuroImage 2018, doi:10.1016/j.neuroimage.2017.12.098 (unusual,
    and by a relevant amount); Iglewicz and Hoaglin, How to Detect and Handle Outliers, ASQC
    1993 (the score).
    """
    seen = [blocks.sample(f, m)[0] for f, m in zip(blocks.frames, matrices, strict=True)]
    rest, change = (
        np.array([_nearest_residual(seen, n, lost) for n in range(len(seen))]).reshape(-1, 2).T
    )
    known = np.isfinite(rest) & ~lost
    if known.sum() < 2:
        return np.where(lost, np.inf, 1.0), lost.copy(), np.zeros_like(lost)
    usual = float(np.median(rest[known]))
    # The floor avoids 0 / 0 in series without noise.
    floor = 1e-6 * max(float(np.abs(seen).max()), 1.0)
    ratio = np.where(
        known, np.maximum(rest, floor) / np.hypot(max(usual, floor), CONTRAST * change), np.inf
    )
    ratio = ratio / np.median(ratio[known])
    spread = robust_scale(ratio[known] - 1.0)
    passage = _fill_peak(_changes_across(seen) > PASSAGE * max(usual, floor))
    unusual = ratio > max(EXCESS, 1 + SCORE * spread)
    return ratio, lost | (unusual & ~passage), passage


def _changes_across(seen: Sequence[Values]) -> Float:
    """Return the change of brightness from the frame before each frame to the one after it.

    A single spoilt frame does not affect its own value.
    """
    means = np.array([frame.mean(axis=1) for frame in seen])
    inner = [robust_scale(after - before) for before, after in zip(means, means[2:], strict=False)]
    return np.array([0.0, *inner, 0.0])[: len(seen)]


def _fill_peak(passage: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Add the frame at the peak, whose neighbours are alike, to the frames around it.

    A single spoilt frame lies between two such frames as well, but no third one is next to them.
    """
    wide = np.pad(passage, 2)
    between = wide[1:-3] & wide[3:-1]
    filled: NDArray[np.bool_] = passage | (between & (wide[:-4] | wide[4:]))
    return filled


def _nearest_residual(
    seen: Sequence[Values], n: int, lost: NDArray[np.bool_]
) -> tuple[float, float]:
    """Return residual and change of brightness relative to the most similar neighbour."""
    others = [n + k for k in AROUND if 0 <= n + k < len(seen) and not lost[n + k]]
    return min((_difference(seen[n], seen[m]) for m in others), default=(np.inf, 0.0))


def _difference(frame: Values, other: Values) -> tuple[float, float]:
    # Slopes of zero: brightness is fitted in each block, motion is not.
    target = Target(other, np.zeros((*other.shape, 1), np.float32))
    rest = local_residual(frame, np.ones_like(frame), target)[0]
    return robust_scale(rest), robust_scale(frame.mean(axis=1) - other.mean(axis=1))
