"""EPI distortion as a shift along the phase-encode axis, from a reversed pair or a field map."""

from dataclasses import dataclass

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from bidsapp.errors import BadInput, RegistrationError
from bidsapp.imaging.distortion.splines import Cost, fit_smooth_shift, make_splines
from bidsapp.imaging.registration.sampling import Image, Values, as_image, at_resolution
from bidsapp.imaging.registration.starts import foreground_mask
from bidsapp.imaging.resample import nearest_valid, resample
from bidsapp.imaging.warps import Shift

LEVELS = (8.0, 4.0)
"""mm; resolutions of a pair, one after the other."""
KNOTS = 12.0
"""mm; distance of the splines of the shift of a pair."""
STIFFNESS = 0.1
"""Weight of the mean squared gradient of the shift, for images of mean square 1."""
STEPS = 40
FOLD = 0.05
"""Jacobian below which the field folds: signal of different positions in one voxel."""


@dataclass(frozen=True)
class ShiftFit:
    """The distortion of an EPI estimated from another image.

    Attributes
    ----------
    shift : Shift
        From points of the undistorted image to their positions in the EPI.
    before, after : float
        Dissimilarity of the two images as acquired and as corrected.
    """

    shift: Shift
    before: float
    after: float


def pair_shift(
    image: nib.Nifti1Image, reversed_image: nib.Nifti1Image, axis: int, ratio: float = 1.0
) -> ShiftFit:
    r"""Estimate the distortion of an EPI from one with reversed phase encoding.

    Parameters
    ----------
    image : (X, Y, Z) Nifti1Image
        The EPI to correct, such as the mean b = 0 image.
    reversed_image : (I, J, K) Nifti1Image
        Of the same contrast, on any grid; the head has not moved in between.
    axis : int
        The phase-encode axis of the image.
    ratio : float
        Distortion of the other image relative to this one, in mm: the ratio of readout times and
        voxel sizes.

    Returns
    -------
    ShiftFit
        `before` and `after` are root mean square differences relative to the image.

    Raises
    ------
    BadInput
        If an image is not 3D or constant, or they do not overlap.
    RegistrationError
        If the correction does not reduce the difference of the images, or the field folds.

    Notes
    -----
    With the images :math:`I_1, I_2` the shift :math:`s` (mm) is the minimum of

    .. math:: \left\langle \left[ I_1(x + s)\,(1 + s') - I_2(x - \rho s)\,(1 - \rho s')
              \right]^2 \right\rangle \big/ \left\langle I_1^2 \right\rangle
              + \lambda \left\langle |\nabla s|^2 \right\rangle

    where :math:`x` runs along the phase-encode axis and :math:`'` is the derivative along it:
    signal piled up in one image is spread out in the other. :math:`s` is a sum of cubic B-splines
    12 mm apart, estimated at 8 mm and then at 4 mm with exact gradients. A shift of the
    head between the images along the axis is mistaken for a uniform field; the affine registration
    to the T1w undoes it.

    References
    ----------
    Andersson et al., NeuroImage 2003, doi:10.1016/S1053-8119(03)00336-7; Ruthotto et al.,
    Phys Med Biol 2012, doi:10.1088/0031-9155/57/18/5715.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> from scipy.ndimage import gaussian_filter
    >>> head = gaussian_filter(rng.random((24, 30, 16)), 1.5) - 0.3
    >>> there, back = (np.roll(head, step, 1) for step in (1, -1))
    >>> images = [nib.Nifti1Image(a, np.diag([4, 4, 4, 1])) for a in (there, back)]
    >>> found = pair_shift(*images, axis=1)
    >>> round(float(np.median(found.shift.data)))
    4
    """
    one = as_image(np.asanyarray(image.dataobj), image.affine)
    other = _match_grid_and_signal(reversed_image, one)
    extent = (np.array(one.data.shape) - 1) * one.zooms
    found = np.zeros(0)
    before = after = 0.0
    for width in LEVELS:
        coarse, against = at_resolution(one, width), at_resolution(other, width)
        splines = make_splines(coarse, extent, KNOTS, axis)
        cost = pair_cost(coarse, against, ratio, axis)
        # The splines cover the same box at either resolution, so that the coefficients of the
        # coarse one are the start of the fine one.
        found = found if found.size else np.zeros(int(np.prod(splines.shape)))
        before = cost(splines.values(0 * found), splines.values(0 * found))[0]
        found = fit_smooth_shift(splines, cost, found, STIFFNESS, STEPS)
        after = cost(splines.values(found), splines.values(found, axis))[0]
    data = make_splines(one, extent, KNOTS, axis).values(found)
    shift = require_no_folding(Shift(data, one.affine, axis), one, "the reversed phase-encode pair")
    if after >= before:
        raise RegistrationError(
            f"the reversed pair differs by {after**0.5:.2f} of its signal after the correction "
            f"and by {before**0.5:.2f} before; are both EPIs of the same contrast and head?"
        )
    return ShiftFit(shift, before**0.5, after**0.5)


def field_shift(field: nib.Nifti1Image, image: nib.Nifti1Image, axis: int, scale: float) -> Shift:
    r"""Return the distortion of an EPI in a measured field.

    Parameters
    ----------
    field : (I, J, K) Nifti1Image
        On any grid; resampled to the image by scanner coordinates. Missing and zero voxels, as
        outside a mask, take the value of the nearest valid voxel.
    image : (X, Y, Z) Nifti1Image
        The EPI to correct.
    axis : int
        Its phase-encode axis.
    scale : float
        mm per unit of the field: of a field :math:`\Delta f` in Hz the shift is
        :math:`\pm \Delta f\, T\, \Delta y`, with the readout time :math:`T` in s, the voxel
        :math:`\Delta y` in mm and the sign of ``PhaseEncodingDirection``.

    Returns
    -------
    Shift
        From points of the undistorted image to their positions in the EPI.

    Raises
    ------
    BadInput
        If the field map does not cover the image.
    RegistrationError
        If the field folds.

    References
    ----------
    Jezzard and Balaban, Magn Reson Med 1995, doi:10.1002/mrm.1910340111.

    Examples
    --------
    >>> grid = np.diag([2, 2, 2, 1])
    >>> epi = nib.Nifti1Image(np.arange(64.0).reshape(4, 4, 4), grid)
    >>> hertz = nib.Nifti1Image(np.full((4, 4, 4), 20.0), grid)
    >>> float(field_shift(hertz, epi, 1, 0.05 * 2).data[0, 0, 0].round(4))
    2.0
    """
    data = np.asanyarray(field.dataobj, np.float32)
    grid = (image.shape[:3], image.affine)
    found = resample(data.reshape(data.shape[:3]), field.affine, np.eye(4), *grid)
    # Exact zeros are voxels outside the mask of the field map, not a field of zero.
    valid = np.isfinite(found) & (found != 0)
    if not np.isfinite(found).any():
        raise BadInput("the field map does not cover the diffusion series; check its affine")
    found = nearest_valid(found, valid) if valid.any() else np.nan_to_num(found)
    shift = Shift(found * np.float32(scale), image.affine, axis)
    one = Image(np.nan_to_num(np.asanyarray(image.dataobj, np.float32)), shift.affine)
    return require_no_folding(shift, one, "the field map")


def correct_distortion(data: NDArray[np.float32], shift: Shift) -> NDArray[np.float32]:
    """Return an image corrected for distortion, with its signal multiplied by the Jacobian.

    Parameters
    ----------
    data : (X, Y, Z) array
        On the grid of the shift.
    shift : Shift

    Returns
    -------
    (X, Y, Z) array
    """
    read, _ = sample_shifted(data, shift.data / np.float32(shift.spacing), shift.axis)
    return read * shift.jacobian()


def pair_cost(one: Image, other: Image, ratio: float, axis: int) -> Cost:
    """Return the cost of a shift: the mean squared difference of a corrected pair on one grid."""
    step, more = np.float32(one.zooms[axis]), np.float32(ratio)
    scale = float((one.data**2).mean())

    def cost(shift: Values, slope: Values) -> tuple[float, Values, Values]:
        mine, by_mine = sample_shifted(one.data, shift / step, axis)
        theirs, by_theirs = sample_shifted(other.data, -more * shift / step, axis)
        # r = I1(x + s)(1 + s') - I2(x - rho s)(1 - rho s'); its derivatives by s and by s' follow
        # from the chain and product rules.
        rest = mine * (1 + slope) - theirs * (1 - more * slope)
        factor = rest * np.float32(2 / (scale * rest.size))
        by_shift = by_mine * (1 + slope) + more * by_theirs * (1 - more * slope)
        by_slope = mine + more * theirs
        by_both = [np.asarray(factor * by, np.float32) for by in (by_shift / step, by_slope)]
        return float((rest * rest).mean()) / scale, by_both[0], by_both[1]

    return cost


def sample_shifted(
    data: Values, voxels: Values, axis: int, every: int = 1
) -> tuple[Values, Values]:
    """Return an image at voxels shifted along an axis, and its derivative per voxel.

    Parameters
    ----------
    data : (X, Y, Z) array
        The image.
    voxels : (I, J, K) array
        Shift of each position, in voxels of the image.
    axis : int
    every : int
        Number of voxels of the image per position along the axis.

    Returns
    -------
    values, slopes : (I, J, K) array
    """
    along = [-1 if i == axis else 1 for i in range(3)]
    place = every * np.arange(voxels.shape[axis], dtype=np.float32).reshape(along) + voxels
    # Just inside the last voxel, so that there is a next one to interpolate to.
    place = np.clip(place, 0, np.float32(data.shape[axis] - 1 - 1e-3))
    low = place.astype(np.intp)
    near = np.take_along_axis(data, low, axis)
    slope = np.take_along_axis(data, low + 1, axis) - near
    return near + (place - low) * slope, slope


def _match_grid_and_signal(image: nib.Nifti1Image, one: Image) -> Image:
    """Return an image on the grid of another, scaled to the same total signal."""
    data = as_image(np.asanyarray(image.dataobj), image.affine)
    found = resample(data.data, data.affine, np.eye(4), one.data.shape, one.affine)
    seen = np.isfinite(found)
    total = float(np.nansum(found))
    if seen.mean() < 0.5 or total <= 0:
        raise BadInput(
            "the EPI with reversed phase encoding covers less than half of the diffusion series"
        )
    gain = float(one.data[seen].sum()) / total
    # Where the other image was not acquired, it takes the values of this one: they agree there
    # without a shift.
    return Image(np.where(seen, found * np.float32(gain), one.data), one.affine)


def require_no_folding(shift: Shift, image: Image, source: str) -> Shift:
    """Return a shift unchanged if it does not fold the head; raise an error if it does.

    Parameters
    ----------
    shift : Shift
    image : Image
        The EPI, on the grid of the shift.
    source : str
        Source of the shift, for the error message.

    Returns
    -------
    Shift

    Raises
    ------
    RegistrationError
        If the shift folds the image.
    """
    least = float(shift.jacobian()[foreground_mask(image)].min())
    if least < FOLD:
        raise RegistrationError(
            f"the distortion by {source} folds the image (Jacobian {least:.2f}): check the "
            "readout times, the unit of the field and its values outside the head"
        )
    return shift
