"""Whether the values of an image are labels of regions, or signals."""

import numpy as np
from numpy.typing import NDArray

from bidsapp.errors import BadInput

_MANY = 100
"""Number of labels without names that is not exceeded by the lesions of a patient."""
_FEW = 4
"""Number of labels up to which regions may consist of rims in each other, such as classes."""
_ALIKE = 0.5
"""Fraction of neighbouring voxels with labels that have the same one, at least: in regions most
have, in images of whole numbers one in several."""


def check_labels(labels: NDArray[np.int32]) -> None:
    """Refuse the values of an image that no names describe if they are signals.

    Parameters
    ----------
    labels : (..., X, Y, Z) array of int
        0 is outside.

    Raises
    ------
    BadInput
        If there are too many labels, or neighbouring voxels mostly have different ones.

    Examples
    --------
    >>> check_labels(np.repeat([0, 1, 2, 3, 4, 5], 5)[:, None, None] * np.ones((1, 5, 5), int))
    >>> check_labels(np.arange(125).reshape(5, 5, 5))
    Traceback (most recent call last):
    bidsapp.errors.BadInput: looks like an image rather than labels (124 different values)...
    """
    count = len(np.unique(labels[labels > 0]))
    alike = _fraction_alike(labels)
    if count > _MANY:
        why = f"{count} different values"
    elif count > _FEW and alike < _ALIKE:
        why = f"{count} different values, mostly others in neighbouring voxels"
    else:
        return
    raise BadInput(
        f"looks like an image rather than labels ({why}); if these are labels, name them: in a "
        "table with index and name beside a NIfTI image, or save them with 3D Slicer as .seg.nrrd"
    )


def _fraction_alike(labels: NDArray[np.int32]) -> float:
    """Return the fraction of pairs of neighbouring voxels with labels that have the same one."""
    same = pairs = 0
    for axis in (-3, -2, -1):
        moved = np.moveaxis(labels, axis, 0)
        both = (moved[1:] > 0) & (moved[:-1] > 0)
        pairs += int(np.count_nonzero(both))
        same += int(np.count_nonzero(both & (moved[1:] == moved[:-1])))
    return same / pairs if pairs else 1.0
