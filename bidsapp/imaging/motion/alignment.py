"""Gauss-Newton steps that bring a frame to a target, block by block and robustly."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bidsapp.imaging.motion.blocks import Blocks, Target, Values, step_matrix
from bidsapp.imaging.transforms import Matrix, Vector, compose

Float = NDArray[np.float64]

TUKEY = 2.5
"""Residuals beyond so many robust standard deviations have no say (4.7 is usual: here what is new
in a frame, such as a vessel with the bolus, must not pull)."""
MAX_STEP = 60.0
"""mm; a step that ends farther away than this is no motion of a head."""
MAX_MISFIT_RATIO = 1.2
"""Times the misfit at the start: an alignment that ends above is none."""
MAX_VOLUME_CHANGE = 0.06
"""Change of volume that no eddy current makes."""
SETTLED = 0.1
"""mm; a step of least squares below which robust weights begin."""
_INNER = 3


@dataclass(frozen=True)
class Search:
    """How long to look: steps at most, and the step (mm) that ends it.

    `plain` steps at most are least squares, until they are below `SETTLED`: robust weights, when a
    frame is still far away, trust what does not mind the distance.
    """

    steps: int
    tolerance: float
    plain: int = 0


@dataclass(frozen=True)
class FramePose:
    """Where a frame lies.

    Attributes
    ----------
    matrix : (4, 4) array
        Points of the target to points of the frame, mm.
    misfit : float
        Robust standard deviation of what remains, in the frame's unit; infinite if it was lost.
    """

    matrix: Matrix
    misfit: float


def align(
    blocks: Blocks, frame: Values, target: Target, start: Matrix, search: Search
) -> FramePose:
    r"""Bring a frame to a target.

    Parameters
    ----------
    blocks : Blocks
    frame : (x, y, z) array
        Coefficients of its spline.
    target : Target
    start : (4, 4) array
        Where to begin.
    search : Search

    Returns
    -------
    Place
        At the start, with an infinite misfit, if the frame gets lost: most of it leaves the field
        of view, it fits worse than there, or its volume changes as no eddy current changes it.

    Notes
    -----
    In block p the frame at the moved points is :math:`f = a_p T + b_p + e`. Each step takes
    :math:`a_p` and :math:`b_p` out of f and of its slopes :math:`a_p \partial T`, and solves for
    the motion by iteratively reweighted least squares with Tukey's biweight. Blocks without
    contrast take :math:`a_p` from the others.

    References
    ----------
    Saad et al., NeuroImage 2009, doi:10.1016/j.neuroimage.2008.09.037 (why local);
    Beaton and Tukey, Technometrics 1974, doi:10.1080/00401706.1974.10489171 (the weights).
    """
    matrix, misfit, before, plain = start, np.inf, np.inf, search.plain
    weights = np.ones(target.values.shape, np.float32)
    for count in range(search.steps):
        values, inside = blocks.sample(frame, matrix)
        if inside.mean() < 0.3:
            return FramePose(start, np.inf)
        rest, slopes = local_residual(values, weights * inside, target)
        before = robust_scale(rest[inside]) if not count else before
        limit = np.inf if count < plain else TUKEY
        step, weights, misfit = _robust_step(rest, slopes, inside, limit)
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
    """Take factor and offset of each block out of a frame, and out of the slopes by the motion.

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

    def centred(array: Values) -> Values:
        mean = np.matmul(weights[:, None], array)[:, 0] / total
        result: Values = array - mean[:, None]
        return result

    shape, frame = centred(target.values[..., None])[..., 0], centred(values[..., None])[..., 0]
    slopes = centred(target.slopes)
    weighted = weights * shape
    power, common = (weighted * shape).sum(axis=1), (weighted * frame).sum(axis=1)
    typical = np.median(power) + 1e-6
    strong = power >= typical
    usual = np.median(common[strong] / power[strong]) if strong.any() else 1.0
    power = power + 0.1 * typical
    factor = ((common + 0.1 * typical * usual) / power).astype(np.float32)
    along = (np.matmul(weighted[:, None], slopes)[:, 0] / power[:, None]).astype(np.float32)
    moved = factor[:, None, None] * (slopes - shape[..., None] * along[:, None])
    return frame - factor[:, None] * shape, moved


def robust_scale(residual: NDArray[np.floating]) -> float:
    """Return the standard deviation that the median of the sizes tells."""
    return 1.4826 * float(np.median(np.abs(residual))) if residual.size else np.inf


def _robust_step(
    rest: Values, slopes: Values, inside: NDArray[np.bool_], limit: float
) -> tuple[Vector, Values, float]:
    """Return the step, the weights it ends with, and the scale of what it leaves."""
    matrix, flat = slopes.reshape(-1, slopes.shape[-1]), rest.ravel()
    seen = inside.ravel()
    floor = 1e-3 * float(np.abs(flat).max(initial=0)) + 1e-9
    step = np.zeros(matrix.shape[1])
    left = flat
    for _ in range(_INNER):
        scale = max(robust_scale(left[seen]), floor)
        weights = np.square(1 - np.minimum(np.abs(left) / (limit * scale), 1) ** 2) * seen
        weighted = (matrix * weights[:, None]).T
        normal = (weighted @ matrix).astype(float)
        step = -np.linalg.lstsq(normal, (weighted @ flat).astype(float), rcond=1e-9)[0]
        left = flat + matrix @ step.astype(np.float32)
    return step, weights.reshape(rest.shape).astype(np.float32), robust_scale(left[seen])
