"""Robust Gauss-Newton alignment of a frame to a target, with local brightness per block."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bidsapp.imaging.motion.blocks import Blocks, Sample, Target, Values, step_matrix
from bidsapp.imaging.transforms import Matrix, Vector, compose

Float = NDArray[np.float64]

TUKEY = 2.5
"""Residuals beyond this many robust standard deviations have zero weight. Smaller than the usual
4.7, so that a new structure in a frame, such as a vessel with the bolus, has no influence."""
MAX_STEP = 60.0
"""mm; a longer step is not a motion of the head."""
MAX_MISFIT_RATIO = 1.2
"""Largest ratio of final to initial misfit of an alignment."""
MAX_VOLUME_CHANGE = 0.06
"""Relative change of volume larger than any by eddy currents."""
SETTLED = 0.1
"""mm; length of a least-squares step below which robust weights are used."""
_INNER = 3


@dataclass(frozen=True)
class Search:
    """Termination of an alignment: the maximum number of steps, and the tolerance on a step in mm.

    Up to `plain` steps are ordinary least squares, until they are below `SETTLED`: with a frame
    still far away, robust weights would favour blocks that are insensitive to motion.
    """

    steps: int
    tolerance: float
    plain: int = 0


REFINE = Search(steps=10, tolerance=0.004)
"""From a pose close to the solution: robust weights are safe from the first step."""
SWEEPS = 2
"""Number of times that all frames are aligned with the mean of the others in their poses."""


@dataclass(frozen=True)
class FramePose:
    """The pose of a frame.

    Attributes
    ----------
    matrix : (4, 4) array
        Points of the target to points of the frame, mm.
    misfit : float
        Robust standard deviation of the residual, in the unit of the frame; infinite if the
        alignment failed.
    error : float
        Standard error of the pose as a framewise displacement, mm, if it is known.
    """

    matrix: Matrix
    misfit: float
    error: float = 0.0


def align(
    blocks: Blocks,
    frame: Values,
    target: Target,
    start: Matrix,
    search: Search,
    seen: Sample | None = None,
) -> FramePose:
    r"""Align a frame to a target.

    Parameters
    ----------
    blocks : Blocks
    frame : (x, y, z) array
        Coefficients of its spline.
    target : Target
    start : (4, 4) array
        Starting pose.
    search : Search
    seen : Sample, optional
        The frame in the starting pose, if it is known.

    Returns
    -------
    FramePose
        The starting pose with an infinite misfit if the alignment fails: most of the frame leaves
        the field of view, the misfit increases, or the volume changes more than by eddy currents.

    Notes
    -----
    In block p the frame at the moved points is :math:`f = a_p T + b_p + e`. Each step projects
    :math:`a_p` and :math:`b_p` out of f and of its gradient :math:`a_p \partial T`, and solves for
    the motion by iteratively reweighted least squares with Tukey's biweight. Blocks without
    contrast are given the :math:`a_p` of the others.

    References
    ----------
    Saad et al., NeuroImage 2009, doi:10.1016/j.neuroimage.2008.09.037 (why local);
    Beaton and Tukey, Technometrics 1974, doi:10.1080/00401706.1974.10489171 (the weights).
    """
    matrix, misfit, before, plain = start, np.inf, np.inf, search.plain
    weights = np.ones(target.values.shape, np.float32)
    for count in range(search.steps):
        known = seen if not count else None
        values, inside = known or blocks.sample(frame, matrix)
        if inside.mean() < 0.3:
            return FramePose(start, np.inf)
        # The factor and offset of each block are eliminated first (variable projection), so that
        # the step is a small system in the motion alone.
        rest, slopes = local_residual(values, weights * inside, target)
        before = robust_scale(rest[inside]) if not count else before
        limit = np.inf if count < plain else TUKEY
        step, weights, misfit = _robust_step(rest, slopes, inside, limit)
        # The gradient is that of the target, so the step is composed on its side (inverse
        # compositional): the gradient stays valid for all steps.
        matrix = compose(step_matrix(step, blocks.centre, blocks.phase), matrix)
        if not np.linalg.norm(step) < MAX_STEP:
            return FramePose(start, np.inf)
        largest = float(np.abs(step).max())
        if count < plain and largest < SETTLED:
            plain = count + 1
        elif count >= plain and largest < search.tolerance:
            break
    noticed = max(before, 1e-3 * float(np.abs(target.values).mean()))
    if (
        misfit > MAX_MISFIT_RATIO * noticed
        or abs(np.linalg.det(matrix[:3, :3]) - 1) > MAX_VOLUME_CHANGE
    ):
        return FramePose(start, np.inf)
    return FramePose(matrix, misfit)


def local_residual(values: Values, weights: Values, target: Target) -> tuple[Values, Values]:
    """Project factor and offset of each block out of a frame and its gradient by the motion.

    Parameters
    ----------
    values, weights : (B, P) array
        Of the frame.
    target : Target

    Returns
    -------
    residual : (B, P) array
    slopes : (B, P, K) array
    """
    total = weights.sum(axis=1, keepdims=True) + 1e-6

    def subtract_mean(array: Values) -> Values:
        mean = np.matmul(weights[:, None], array)[:, 0] / total
        result: Values = array - mean[:, None]
        return result

    shape, frame = (
        subtract_mean(target.values[..., None])[..., 0],
        subtract_mean(values[..., None])[..., 0],
    )
    slopes = subtract_mean(target.slopes)
    weighted = weights * shape
    power, common = (weighted * shape).sum(axis=1), (weighted * frame).sum(axis=1)
    # Ridge towards the median factor of blocks with contrast: a flat block has power near zero and
    # would otherwise take any factor.
    typical = np.median(power) + 1e-6
    strong = power >= typical
    usual = np.median(common[strong] / power[strong]) if strong.any() else 1.0
    power = power + 0.1 * typical
    factor = ((common + 0.1 * typical * usual) / power).astype(np.float32)
    along = (np.matmul(weighted[:, None], slopes)[:, 0] / power[:, None]).astype(np.float32)
    moved = factor[:, None, None] * (slopes - shape[..., None] * along[:, None])
    return frame - factor[:, None] * shape, moved


def robust_scale(residual: NDArray[np.floating]) -> float:
    """Return the standard deviation estimated from the median absolute value (normal data)."""
    return 1.4826 * float(np.median(np.abs(residual))) if residual.size else np.inf


def _robust_step(
    rest: Values, slopes: Values, inside: NDArray[np.bool_], limit: float
) -> tuple[Vector, Values, float]:
    """Return the step, the final weights, and the robust scale of the residual."""
    matrix, flat = slopes.reshape(-1, slopes.shape[-1]), rest.ravel()
    seen = inside.ravel()
    # The floor keeps weights defined for noise-free frames, whose residual scale is zero.
    floor = 1e-3 * float(np.abs(flat).max(initial=0)) + 1e-9
    step = np.zeros(matrix.shape[1])
    left = flat
    for _ in range(_INNER):
        scale = max(robust_scale(left[seen]), floor)
        weights = np.square(1 - np.minimum(np.abs(left) / (limit * scale), 1) ** 2) * seen
        # Normal equations (A^T W A) step = -A^T W r: 6 or 9 unknowns against 1e5 samples.
        weighted = (matrix * weights[:, None]).T
        normal = (weighted @ matrix).astype(float)
        step = -np.linalg.lstsq(normal, (weighted @ flat).astype(float), rcond=1e-9)[0]
        left = flat + matrix @ step.astype(np.float32)
    return step, weights.reshape(rest.shape).astype(np.float32), robust_scale(left[seen])
