"""Estimation of motion within dynamic and diffusion series, robust to changes of contrast."""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

import numpy as np
from nibabel.affines import voxel_sizes
from nibabel.orientations import apply_orientation, inv_ornt_aff, io_orientation
from numpy.typing import ArrayLike, NDArray

from bidsapp.errors import BadInput
from bidsapp.imaging.motion.alignment import REFINE, SWEEPS, FramePose, Search, align
from bidsapp.imaging.motion.blocks import (
    Blocks,
    CannotAlign,
    Sample,
    Target,
    Values,
    cut_blocks,
    make_target,
)
from bidsapp.imaging.motion.outliers import flag_spoilt_frames
from bidsapp.imaging.motion.parameters import (
    DISPLACEMENT,
    Motion,
    Parameters,
    framewise_displacement,
    rigid_parameters,
)
from bidsapp.imaging.motion.shells import align_shells, group_shells
from bidsapp.imaging.transforms import Matrix, apply, compose, invert

T = TypeVar("T")

MIN_EXTENT = 40.0
"""mm; thickness of a diffusion series below which through-plane motion cannot be estimated: eight
slices of 4.2 mm of a still head gave 1.4 mm, ten gave 0.2 mm."""
CERTAIN = 2.0
"""Standard errors by which a displacement has to exceed `DISPLACEMENT` in a diffusion series."""
# Tracking starts from the pose of another frame, which may be far away.
_CHAIN = Search(steps=20, tolerance=0.02, plain=12)
_BY_B = Search(steps=20, tolerance=0.02, plain=2)
_TRACKING_BLOCKS = 700


def estimate_motion(
    series: NDArray[Any],
    affine: ArrayLike,
    *,
    reference: int = 0,
    mask: NDArray[Any] | None = None,
    n_jobs: int = 1,
) -> Motion:
    r"""Estimate the motion of the head within a dynamic series, whose contrast also changes.

    Parameters
    ----------
    series : (X, Y, Z, N) array
        Missing values count as 0.
    affine : (4, 4) array
        Its voxels to RAS mm.
    reference : int
        The frame to which the others are compared.
    mask : (X, Y, Z) array, optional
        Region to use; by default the head.
    n_jobs : int
        Threads; the result does not depend on their number.

    Returns
    -------
    Motion
        Rigid.

    Raises
    ------
    BadInput
        If the series is not 4D, or does not contain the reference.
    CannotAlign
        If there is too little signal.

    Notes
    -----
    A frame is compared with a target in blocks of 10 mm and one or two slices; in each, the frame
    is a factor times the target, plus an offset, plus motion (see `alignment.align`). Uptake, which
    brightens whole tissues, is therefore not mistaken for motion, and new structures in a block,
    such as a vessel with the bolus, are outliers of the robust fit. Frames are first tracked from
    one to the next away from the reference, with the reference as target. Then the target is the
    mean of all other frames in their current poses, which averages noise and slice positions.

    References
    ----------
    Saad et al., NeuroImage 2009, doi:10.1016/j.neuroimage.2008.09.037 (local correlation);
    Cox and Jesmanowicz, Magn Reson Med 1999,
    doi:10.1002/(SICI)1522-2594(199912)42:6<1014::AID-MRM4>3.0.CO;2-F (linearised least squares);
    Power et al., NeuroImage 2012, doi:10.1016/j.neuroimage.2011.10.018 (displacement).

    Examples
    --------
    >>> x, y, z = np.indices((40, 40, 12)) * np.array([4.0, 4, 8]).reshape(3, 1, 1, 1)
    >>> def head(shift):
    ...     inside = (x - 78) ** 2 + (y - 78 - shift) ** 2 + (z - 44) ** 2 < 60**2
    ...     return inside * (2 + np.sin(x / 9) * np.sin((y - shift) / 9))
    >>> moving = np.stack([head(0), head(1.5), 2 * head(-1)], axis=-1)
    >>> found = estimate_motion(moving, np.diag([4.0, 4, 8, 1]))
    >>> [round(shift) for shift in found.parameters[:, 1]]
    [0, 2, -1]
    """
    data, grid, mask = _orient(*_check_series(series, affine, reference), mask)
    blocks, count = cut_blocks(data, grid, mask), data.shape[3]
    # Forward and backward in time from the reference, so that neighbours have similar contrast.
    chains = [range(reference, count), range(reference, -1, -1)]
    places = _track_frames(blocks, reference, chains, _CHAIN)
    # Gradients come from the reference, which is sharp; values from the mean, which has less noise.
    slopes = _reference_target(blocks, reference).slopes
    for _ in range(SWEEPS):
        seen = _map_frames(lambda _, f, p: blocks.sample(f, p.matrix), blocks, places, n_jobs)
        # One sum for all frames: each subtracts itself from it to leave itself out.
        total = np.sum([values for values, _ in seen], axis=0)
        refine = partial(_refine_frame, blocks, seen, total, slopes)
        places = _map_frames(refine, blocks, places, n_jobs)
    return _summarise_motion(blocks, places, reference, range(count), True, data.shape, grid)


def estimate_diffusion_motion(
    series: NDArray[Any],
    affine: ArrayLike,
    bvalues: ArrayLike,
    *,
    phase_axis: int | None = None,
    mask: NDArray[Any] | None = None,
    n_jobs: int = 1,
) -> Motion:
    r"""Estimate motion and eddy-current distortion within a diffusion series.

    Parameters
    ----------
    series : (X, Y, Z, N) array
        Missing values count as 0.
    affine : (4, 4) array
        Its voxels to RAS mm.
    bvalues : (N,) array, s/mm2
        The first volume at the lowest one is the reference.
    phase_axis : int, optional
        Voxel axis of the phase encoding. If given, volumes may also be sheared and stretched along
        it, as by eddy currents; otherwise motion is rigid.
    mask : (X, Y, Z) array, optional
        Region to use; by default the bright voxels.
    n_jobs : int
        Threads; the result does not depend on their number.

    Returns
    -------
    Motion

    Raises
    ------
    BadInput
        If the series is not 4D, or has not as many volumes as b-values.
    CannotAlign
        If there is too little signal, or the slices cover less than `MIN_EXTENT`.

    Notes
    -----
    Volumes are tracked from low to high b, then aligned with the mean of the others at their
    b-value, and that mean with the reference: the contrast of b = 0 and of high b is so different
    that a single volume of low signal is misplaced by about a millimetre. Poses that do not improve
    the likeness are not used (see `align_shells`). Stretch and shear are estimated in the inner
    part of the head. A full affine matrix would be worse: fluid, the brightest at b = 0 and the
    darkest at high b, makes a brain appear half a percent larger. Outliers are jumps of the head
    that exceed their uncertainty, and volumes that could not be aligned.

    References
    ----------
    Haselgrove and Moore, Magn Reson Med 1996, doi:10.1002/mrm.1910360620 (eddy currents: shear,
    scale and shift along the phase encoding).

    Examples
    --------
    >>> x, y, z = np.indices((40, 40, 12)) * np.array([4.0, 4, 8]).reshape(3, 1, 1, 1)
    >>> def head(shift):
    ...     inside = (x - 78) ** 2 + (y - 78 - shift) ** 2 + (z - 44) ** 2 < 60**2
    ...     return inside * (2 + np.sin(x / 9) * np.sin((y - shift) / 9))
    >>> moving = np.stack([head(0), 0.5 * head(1.5)], axis=-1)
    >>> found = estimate_diffusion_motion(moving, np.diag([4.0, 4, 8, 1]), [0, 1000])
    >>> [round(shift) for shift in found.parameters[:, 1]]
    [0, 2]
    """
    b = np.asarray(bvalues, float).ravel()
    # From low to high b: contrast then changes least from one volume to the next.
    order = np.argsort(b, kind="stable")
    reference = int(order[0]) if b.size else 0
    data, given = _check_series(series, affine, reference)
    if len(b) != data.shape[3]:
        raise BadInput(f"motion: {len(b)} b-values for {data.shape[3]} volumes")
    data, grid, mask = _orient(data, given, mask)
    extent = float((voxel_sizes(grid) * data.shape[:3]).min())
    if extent < MIN_EXTENT:
        raise CannotAlign(f"the slices cover {extent:.0f} mm, {MIN_EXTENT:g} mm are needed")
    if phase_axis is not None:
        phase_axis = int(io_orientation(given)[phase_axis, 0])
    blocks = cut_blocks(data, grid, mask, phase_axis)
    places = _track_frames(blocks, reference, [order], _BY_B)
    shells = group_shells(b)
    places = align_shells(blocks, shells, [place.matrix for place in places], n_jobs)
    found = _summarise_motion(blocks, places, reference, order, False, data.shape, grid)
    lost = np.array([not np.isfinite(place.misfit) for place in places])
    errors = np.array([place.error for place in places])
    return replace(found, outliers=lost | _jumps(found.parameters, errors, shells))


def _jumps(
    parameters: Parameters, errors: NDArray[np.float64], shells: Iterable[NDArray[np.int64]]
) -> NDArray[np.bool_]:
    """Return the volumes that moved since the one before, and since the one before at their b.

    Between two shells the displacement includes the difference between their poses, which is
    estimated between images of different contrast.
    """
    far = _moved_far(parameters, errors)
    for shell in shells:
        if len(shell) > 1:
            # The first of a shell has no volume before it at its b-value.
            far[shell] &= _moved_far(parameters[shell], errors[shell])
    return far


def _moved_far(parameters: Parameters, errors: NDArray[np.float64]) -> NDArray[np.bool_]:
    doubt = CERTAIN * np.hypot(errors, np.roll(errors, 1))
    far: NDArray[np.bool_] = (
        np.nan_to_num(framewise_displacement(parameters)) > DISPLACEMENT + doubt
    )
    return far


def _check_series(
    series: NDArray[Any], affine: ArrayLike, reference: int
) -> tuple[NDArray[np.float32], Matrix]:
    data = np.asarray(series, np.float32)
    if data.ndim != 4 or not 0 <= reference < data.shape[3]:
        raise BadInput(
            f"motion: the series has the shape {data.shape}; it must be 4D and hold the reference "
            f"volume {reference}"
        )
    # Missing values are rare: they are only sought if the sum is not finite.
    if not np.isfinite(data.sum()):
        data = np.where(np.isfinite(data), data, np.float32(0))
    return data, np.array(affine, float)


def _orient(
    data: NDArray[np.float32], affine: Matrix, mask: NDArray[Any] | None
) -> tuple[NDArray[np.float32], Matrix, NDArray[Any] | None]:
    """Return a series, its affine and its mask with the axes along R, A and S.

    The lattice of blocks, the smoothing and the random numbers then do not depend on the order in
    which the voxels are stored.
    """
    order = io_orientation(affine)
    grid = affine @ inv_ornt_aff(order, data.shape[:3])
    turned = apply_orientation(data, order)
    return turned, grid, None if mask is None else apply_orientation(np.asarray(mask), order)


def _reference_target(blocks: Blocks, reference: int) -> Target:
    frame, here = blocks.frames[reference], np.eye(4)
    return make_target(blocks, blocks.sample(frame, here)[0], frame, here)


def _track_frames(
    blocks: Blocks, reference: int, chains: Iterable[Iterable[int]], search: Search
) -> list[FramePose]:
    """Track the frames away from the reference: each starts in the pose of the one before."""
    coarse = blocks.subset(_TRACKING_BLOCKS)
    target = _reference_target(coarse, reference)
    places = {reference: FramePose(np.eye(4), 0.0)}
    for chain in chains:
        before = places[reference].matrix
        for n in chain:
            if n != reference:
                places[n] = align(coarse, blocks.frames[n], target, before, search)
            before = places[n].matrix
    return [places[n] for n in range(len(blocks.frames))]


def _refine_frame(
    blocks: Blocks,
    seen: list[Sample],
    total: Values,
    slopes: Values,
    n: int,
    frame: Values,
    place: FramePose,
) -> FramePose:
    """Align a frame with the mean of the others; including it would bias it to its current pose."""
    others: Values = (total - seen[n][0]) / np.float32(max(len(seen) - 1, 1))
    return align(blocks, frame, Target(others, slopes), place.matrix, REFINE, seen[n])


def _map_frames(
    work: Callable[[int, Values, FramePose], T],
    blocks: Blocks,
    places: list[FramePose],
    n_jobs: int,
) -> list[T]:
    """Apply a function to every frame, in threads."""
    with ThreadPoolExecutor(n_jobs) as pool:
        return list(pool.map(work, range(len(places)), blocks.frames, places))


def _summarise_motion(
    blocks: Blocks,
    places: list[FramePose],
    reference: int,
    by_contrast: Iterable[int],
    use_residual: bool,
    shape: tuple[int, ...],
    grid: Matrix,
) -> Motion:
    """Return the motion relative to the reference; `by_contrast` orders frames of equal contrast.

    With `use_residual`, for contrast that hardly changes between frames, frames of large residual
    are outliers.
    """
    order = np.array(list(by_contrast))
    # The refinement gives the reference a pose as well, close to the identity: all poses are
    # relative to it.
    back = invert(places[reference].matrix)
    matrices = np.array([compose(back, place.matrix) for place in places])
    middle = apply(grid, (np.array(shape[:3]) - 1) / 2)
    parameters = rigid_parameters(matrices, middle, blocks.phase)
    displacement = framewise_displacement(parameters)
    lost = np.array([not np.isfinite(place.misfit) for place in places])
    sorted_blocks = replace(blocks, frames=[blocks.frames[n] for n in order])
    rest, bad, flow = flag_spoilt_frames(
        sorted_blocks, [places[n].matrix for n in order], lost[order]
    )
    # The argsort of a permutation is its inverse: back to the order of acquisition.
    acquired = np.argsort(order)
    residual, spoilt, passage = rest[acquired], bad[acquired], flow[acquired]
    if not use_residual:
        spoilt, passage = lost, np.zeros_like(lost)
    jumped = np.nan_to_num(displacement) > DISPLACEMENT
    return Motion(matrices, parameters, displacement, residual, spoilt | jumped, passage)
