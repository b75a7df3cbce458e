"""Motion parameters of a series and framewise displacement."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial.transform import Rotation

from bidsapp.errors import BadInput
from bidsapp.imaging.transforms import apply, nearest_rigid

Parameters = NDArray[np.float64]

COLUMNS = ("trans_x", "trans_y", "trans_z", "rot_x", "rot_y", "rot_z")
"""Translations in mm and rotations in rad of the head relative to the reference, axes RAS."""
HEAD_RADIUS = 50.0
"""mm; converts a rotation to a displacement (Power et al. 2012)."""

DISPLACEMENT = 2.0
"""mm; a frame after a larger displacement is an outlier. The head moves while it is acquired, by up
to 1 mm in the mean: a tenth of the voxels of a lesion of 2 ml then come from outside it."""


def read_volreg(path: Path | str) -> Parameters:
    r"""Read motion parameters written by AFNI's 3dvolreg or by ``niimath -moco``.

    Parameters
    ----------
    path : path
        A row per volume: roll, pitch, yaw (degrees, about I-S, R-L and A-P), dS, dL, dP (mm).

    Returns
    -------
    (N, 6) array
        In the order of `COLUMNS`: motion of the head since the reference, mm and rad, RAS,
        rotations about the centre of the volume.

    Raises
    ------
    BadInput
        If the file has no six columns of numbers.

    Notes
    -----
    The file contains the correction, along S, L and P. The head moved in the opposite direction:
    to R by dL, to A by dP, and to I by dS.

    Examples
    --------
    >>> from tempfile import mkdtemp
    >>> path = Path(mkdtemp(), "motion.1D")
    >>> _ = path.write_text("0 0 0 0 0 0\n-90 0 0 -1 2 3\n")
    >>> read_volreg(path)[1].round(4).tolist()
    [2.0, 3.0, 1.0, 0.0, 0.0, 1.5708]
    """
    try:
        rows = np.loadtxt(path, ndmin=2, comments="#")
    except (OSError, ValueError) as error:
        raise BadInput(f"{path}: cannot be read as motion parameters ({error})") from error
    if rows.shape[1:] != (6,) or not np.isfinite(rows).all():
        raise BadInput(f"{path}: motion parameters are six finite columns, not {rows.shape}")
    roll, pitch, yaw = np.radians(rows[:, :3]).T
    superior, left, posterior = rows[:, 3:].T
    # The file holds the correction, which is opposite to the motion. L and P are opposite to R and
    # A in turn, so that only the sign along S changes; likewise for the rotations.
    return np.stack([left, posterior, -superior, pitch, yaw, -roll], axis=1)


def framewise_displacement(parameters: ArrayLike) -> NDArray[np.float64]:
    r"""Return the displacement of the head from one volume to the next.

    Parameters
    ----------
    parameters : (N, 6) array, mm and rad
        In the order of COLUMNS.

    Returns
    -------
    (N,) array, mm
        NaN for the first volume.

    Raises
    ------
    BadInput
        If there are not six parameters per volume.

    Notes
    -----
    :math:`FD_i = \sum_k |\Delta d_{ik}| + 50\,\mathrm{mm} \sum_k |\Delta \theta_{ik}|`.

    References
    ----------
    Power et al., NeuroImage 2012, doi:10.1016/j.neuroimage.2011.10.018.

    Examples
    --------
    >>> framewise_displacement([[0, 0, 0, 0, 0, 0], [1, -1, 0, 0, 0, 0.01]]).tolist()
    [nan, 2.5]
    """
    given = np.asarray(parameters, float)
    if given.ndim != 2 or given.shape[1] != 6:
        raise BadInput(f"motion has six parameters per volume, not an array of shape {given.shape}")
    steps = np.abs(np.diff(given, axis=0)) * np.repeat([1.0, HEAD_RADIUS], 3)
    return np.concatenate([np.full(min(len(given), 1), np.nan), steps.sum(axis=1)])


@dataclass(frozen=True)
class Motion:
    """Motion of the head within a series.

    Attributes
    ----------
    matrices : (N, 4, 4) array
        Points of the reference to points of each frame, RAS mm, as needed to
        resample the frame.
    parameters : (N, 6) array, mm and rad
        In the order of COLUMNS, about the centre of the volume; of an affine matrix its rigid part.
    framewise_displacement : (N,) array, mm
        NaN for the first.
    residual : (N,) array
        Robust standard deviation of the difference between a frame and the most similar of its
        neighbours, relative to that of all frames; infinite if the frame could not be aligned.
    outliers : (N,) array of bool
        Frames that should not be trusted.
    passage : (N,) array of bool
        Frames of a dynamic series in which contrast agent passes.
    """

    matrices: NDArray[np.float64]
    parameters: Parameters
    framewise_displacement: NDArray[np.float64]
    residual: NDArray[np.float64]
    outliers: NDArray[np.bool_]
    passage: NDArray[np.bool_]

    @classmethod
    def none(cls, count: int) -> "Motion":
        """Return the motion of a series of `count` frames that is not corrected."""
        still, rest = np.zeros((count, 6)), np.ones(count)
        matrices = np.tile(np.eye(4), (count, 1, 1))
        no = np.zeros(count, bool)
        return cls(matrices, still, framewise_displacement(still), rest, no, no)


def rigid_parameters(
    matrices: ArrayLike, centre: ArrayLike, phase: ArrayLike | None = None
) -> Parameters:
    r"""Return the rigid part of matrices: shifts of a point, rotations about it.

    Parameters
    ----------
    matrices : (N, 4, 4) array
        Points of the reference to points of the frames, mm.
    centre : (3,) array, mm
    phase : (3,) array, optional
        Unit vector along which the matrices also shear and stretch, as by eddy currents.

    Returns
    -------
    (N, 6) array, mm and rad
        In the order of COLUMNS; rotations about x, then y, then z.

    Notes
    -----
    Without `phase` the rotation is that of the nearest rigid matrix, which takes half of a shear
    for a rotation. Eddy currents leave :math:`v^T A` unchanged for each v across the phase
    encoding, so that with `phase` the rotation follows from two such directions.

    Examples
    --------
    >>> moved = np.eye(4); moved[:3, 3] = 1, 2, 3
    >>> rigid_parameters([moved], [0, 0, 0]).tolist()
    [[1.0, 2.0, 3.0, 0.0, 0.0, 0.0]]
    >>> moved[1, 2] = -0.02
    >>> for phase in (None, [0, 1, 0]):
    ...     print(f"{rigid_parameters([moved], [0, 0, 0], phase)[0, 3]:.2f}")
    0.01
    0.00
    """
    middle, rows = np.asarray(centre, float), []
    for matrix in np.asarray(matrices, float):
        turn = (
            nearest_rigid(matrix, middle)[:3, :3]
            if phase is None
            else _rotation_across(matrix[:3, :3], np.asarray(phase, float))
        )
        rows.append(
            [*(apply(matrix, middle) - middle), *Rotation.from_matrix(turn).as_euler("xyz")]
        )
    return np.array(rows).reshape(-1, 6)


def _rotation_across(linear: Parameters, phase: Parameters) -> Parameters:
    """Return the rotation in a matrix R + p s^T from its rows across p, which s does not affect."""
    across = np.linalg.svd(phase[None])[2][1:]
    left, _, right = np.linalg.svd(across @ linear, full_matrices=False)
    turned = left @ right
    third = np.cross(*turned) * np.sign(np.cross(*across) @ phase)
    rotation: Parameters = across.T @ turned + np.outer(phase, third)
    return rotation
