"""EPI distortion estimated from the T1w: a smooth shift along the phase-encode axis."""

from dataclasses import dataclass

import nibabel as nib
import numpy as np
from numpy.typing import ArrayLike, NDArray

from bidsapp.errors import BadInput
from bidsapp.imaging.distortion.fieldmap import ShiftFit, require_no_folding, sample_shifted
from bidsapp.imaging.distortion.splines import Cost, fit_smooth_shift, make_splines
from bidsapp.imaging.registration.prepare import inner_mask
from bidsapp.imaging.registration.sampling import (
    Image,
    Values,
    as_image,
    at_resolution,
    blur_to_voxels_of,
)
from bidsapp.imaging.registration.similarity import LocalPearson, assign_blocks
from bidsapp.imaging.resample import resample
from bidsapp.imaging.transforms import Matrix, apply, as_affine, invert
from bidsapp.imaging.warps import Shift

LEVELS = (4.0, 2.0)
"""mm; resolutions of the images, one after the other; coarser voxels are left unchanged."""
KNOTS = 30.0
"""mm; distance of the splines of the shift."""
BLOCK = 10.0
"""mm; edge of the cubes that contain two blocks of the local correlation."""
STIFFNESS = 20.0
"""Weight of the mean squared gradient of the shift, relative to Fisher's z squared."""
STEPS = 60
FINE = 1.0
"""mm; largest voxel size of the resampled T1w along the phase-encode axis."""
LEAST_BRAIN = 50.0
"""ml; smallest volume of brain for an estimate."""


def t1w_shift(
    image: nib.Nifti1Image,
    t1w: nib.Nifti1Image,
    mask: nib.Nifti1Image,
    matrix: ArrayLike,
    axis: int,
) -> ShiftFit:
    r"""Estimate the distortion of an EPI from the T1w to which it was registered.

    Parameters
    ----------
    image : (X, Y, Z) Nifti1Image
        The EPI to correct, such as the mean b = 0 image.
    t1w : (I, J, K) Nifti1Image
        Of inverted contrast: dark where the EPI is bright.
    mask : (I, J, K) Nifti1Image
        The brain, on the T1w's grid.
    matrix : (4, 4) array
        The registration: points of the T1w to points of the EPI, RAS mm.
    axis : int
        The phase-encode axis of the EPI.

    Returns
    -------
    ShiftFit
        `before` and `after` are costs of the local correlation, lower where it is closer.

    Raises
    ------
    BadInput
        If less than `LEAST_BRAIN` of the brain is in the EPI.
    RegistrationError
        If the field folds.

    Notes
    -----
    With the EPI :math:`I` as it is and the T1w :math:`T`, blurred to its voxels, the inverse
    shift
    :math:`u` (mm) along the phase-encode axis is the minimum of

    .. math:: C\left[ I(x),\; T(x + u) \right] + \lambda \left\langle |\nabla u|^2 \right\rangle

    with the signed local Pearson correlation :math:`C` of `similarity.LocalPearson`; the result is
    its inverse. The EPI is not interpolated: half-way between two voxels its noise is lower, and
    that alone would attract the shift. Splines are far fewer and stiffer than for a reversed pair,
    and blocks are small and exclude the rim of the brain, as contrasts between tissues, which
    differ between the images, must not be mistaken for a shift. Piled-up signal varies slowly over
    a block and hardly affects the correlation.

    References
    ----------
    Saad et al., NeuroImage 2009, doi:10.1016/j.neuroimage.2008.09.037 (the correlation);
    Bhushan et al., NeuroImage 2015, doi:10.1016/j.neuroimage.2015.03.050 (the T1w's inverted
    contrast against EPI distortion).

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> from scipy.ndimage import gaussian_filter
    >>> head = gaussian_filter(rng.random((32, 36, 24)), 1.5) * 20
    >>> grid = np.diag([2, 2, 2, 1])
    >>> t1w, epi = nib.Nifti1Image(20 - head, grid), nib.Nifti1Image(np.roll(head, 1, 1), grid)
    >>> brain = nib.Nifti1Image(np.ones(head.shape, np.uint8), grid)
    >>> found = t1w_shift(epi, t1w, brain, np.eye(4), axis=1)
    >>> round(float(np.median(found.shift.data)), 1), found.after < found.before
    (2.0, True)
    """
    one = as_image(np.asanyarray(image.dataobj), image.affine)
    anatomy = _Anatomy(
        as_image(np.asanyarray(t1w.dataobj), t1w.affine, "T1w"),
        inner_mask(Image(np.asarray(mask.dataobj, np.float32), np.asarray(mask.affine))),
        as_affine(matrix),
    )
    extent = (np.array(one.data.shape) - 1) * one.zooms
    found = np.zeros(0)
    before = after = 0.0
    for width in LEVELS:
        coarse = at_resolution(one, width)
        splines = make_splines(coarse, extent, KNOTS, axis)
        cost = t1w_cost(coarse, *anatomy.on_epi_grid(coarse, one, width, axis), axis)
        found = found if found.size else np.zeros(int(np.prod(splines.shape)))
        before = cost(splines.values(0 * found), splines.values(0 * found))[0]
        found = fit_smooth_shift(splines, cost, found, STIFFNESS, STEPS)
        after = cost(splines.values(found), splines.values(found, axis))[0]
    # The fit leads from distorted to true positions, the correction needs the opposite direction.
    back = Shift(make_splines(one, extent, KNOTS, axis).values(found), one.affine, axis)
    return ShiftFit(require_no_folding(back.inverse(), one, "the T1w"), before, after)


def t1w_cost(image: Image, other: Image, inside: NDArray[np.bool_], axis: int) -> Cost:
    """Return the cost of a shift: the local correlation of an EPI with the shifted T1w.

    Parameters
    ----------
    image : Image
        The EPI.
    other : Image
        The T1w on the grid of the EPI, finer along the axis by an integer factor.
    inside : (X, Y, Z) array of bool
        Voxels of the EPI to compare.
    axis : int
        The phase-encode axis.

    Returns
    -------
    Cost
        Of the shift from the distorted to the true position of signal.
    """
    # Block membership depends on the EPI grid alone, so it is computed once for all shifts.
    voxels = np.argwhere(inside)
    blocks = assign_blocks(apply(image.affine, voxels), BLOCK)
    order = np.argsort(blocks, kind="stable")
    places = np.ravel_multi_index(tuple(voxels[order].T), inside.shape)
    starts = np.flatnonzero(np.diff(blocks[order], prepend=-1)).astype(np.intp)
    compare = LocalPearson(image.data.ravel()[places], starts, "lpc")
    step, all_count = np.float32(other.zooms[axis]), np.ones(len(places), bool)
    every = round(float(image.zooms[axis] / step))

    def cost(shift: Values, slope: Values) -> tuple[float, Values, Values]:
        # The shift is in mm and the T1w is read in voxels of size `step`: the chain rule divides by
        # it. The derivative of the shift, that is the Jacobian, does not enter this cost.
        values, by_voxel = sample_shifted(other.data, shift / step, axis, every)
        found = compare(values.ravel()[places], all_count)
        by_value = np.zeros(inside.shape, np.float32)
        by_value.ravel()[places] = found.slope
        return found.cost, by_value * by_voxel / step, np.zeros_like(slope)

    return cost


@dataclass(frozen=True)
class _Anatomy:
    """T1w, its brain mask, and the matrix from its points to those of the EPI."""

    t1w: Image
    brain: Image
    matrix: Matrix

    def on_epi_grid(
        self, coarse: Image, epi: Image, width: float, axis: int
    ) -> tuple[Image, NDArray[np.bool_]]:
        """Return the T1w on the grid of a coarse EPI, finer along an axis, and the brain there."""
        # To the resolution of the level first, then to the EPI's voxels, which may be coarser along
        # an axis.
        fixed = blur_to_voxels_of(at_resolution(self.t1w, width), epi, self.matrix)
        every = np.ones(3, int)
        every[axis] = np.ceil(coarse.zooms[axis] / FINE)
        grid = coarse.affine @ np.diag([*(1 / every), 1.0])
        back = invert(self.matrix)
        # Every n-th position of this grid is a voxel of the EPI.
        shape = every * (np.array(coarse.data.shape) - 1) + 1
        found = resample(fixed.data, fixed.affine, back, tuple(shape), grid)
        here = (coarse.data.shape, coarse.affine)
        brain = resample(self.brain.data, self.brain.affine, back, *here) > 0.5
        if brain.sum() * np.prod(coarse.zooms) < 1000 * LEAST_BRAIN:
            raise BadInput(
                f"less than {LEAST_BRAIN:g} ml of brain is in the diffusion series by its "
                "registration to the T1w, too little to estimate the distortion; check both"
            )
        return Image(np.nan_to_num(found).astype(np.float32), grid), brain
