"""The dose of a simulated plan of radiosurgery: one target for each lesion."""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from bidsapp.phantom.rois import Labels
from bidsapp.phantom.template import FloatVolume, Matrix

PRESCRIBED = 20.0
"""Dose at the edge of each lesion, Gy."""
CENTRAL = 28.0
"""Dose in the middle of each lesion, Gy: the prescription is the isodose of 71 %."""
FALL_OFF = 5.0
"""Distance in which the dose falls to 1/e outside a lesion, mm."""


def plan_dose(whole: Labels, affine: Matrix) -> FloatVolume:
    """Return the sum of the doses of all lesions.

    Parameters
    ----------
    whole : (I, J, K) array of int
        Numbers of the lesions.
    affine : (4, 4) array
        Its voxels to RAS mm.

    Returns
    -------
    (I, J, K) array, Gy
        Rising linearly from the edge of a lesion to its middle, and falling exponentially outside.

    Examples
    --------
    >>> labels = np.zeros((9, 1, 1), np.uint8); labels[2:5] = 1
    >>> plan_dose(labels, np.diag([5.0, 5.0, 5.0, 1.0])).ravel().astype(float).round(1).tolist()
    [2.7, 7.4, 20.0, 28.0, 20.0, 7.4, 2.7, 1.0, 0.4]
    """
    zooms = np.linalg.norm(affine[:3, :3], axis=0)
    dose = np.zeros(whole.shape)
    for number in np.unique(whole[whole > 0]):
        dose += _target_dose(whole == number, zooms)
    return dose.astype(np.float32)


def _target_dose(lesion: NDArray[np.bool_], zooms: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the dose of one target, Gy."""
    inside = ndimage.distance_transform_edt(lesion, sampling=zooms)
    outside = ndimage.distance_transform_edt(~lesion, sampling=zooms)
    edge, middle = inside[lesion].min(), inside.max()
    depth = (inside - edge) / (middle - edge) if middle > edge else np.zeros(lesion.shape)
    rise = PRESCRIBED + (CENTRAL - PRESCRIBED) * depth
    found: NDArray[np.float64] = np.where(lesion, rise, PRESCRIBED * np.exp(-outside / FALL_OFF))
    return found
