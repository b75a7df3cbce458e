"""What is doubtful about the lesions of a visit, and about the header of its T1w."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from bidsapp.bids.images import has_orientation
from bidsapp.conversion.contours.drawing import Drawing
from bidsapp.conversion.contours.label_images import FORMAT as NIFTI
from bidsapp.conversion.contours.lesions import DrawnLesion
from bidsapp.conversion.contours.rasterise import Fractions
from bidsapp.errors import BadInput
from bidsapp.lesions import voxel_ml
from bidsapp.lesions.places import APART, count_parts
from bidsapp.run.rois.placement import Grid

_LARGEST = 300.0
"""Largest volume of a lesion, ml."""
_OUTSIDE = 0.05
"""Fraction of an enhancing part outside its lesion that is reported."""


def require_orientation(drawing: Drawing, grid: Grid) -> None:
    """Refuse coordinates on an image whose header does not state where left and right are.

    Raises
    ------
    BadInput
        For files other than NIfTI, whose own header has the same gap.
    """
    if drawing.format != NIFTI and not has_orientation(grid.image):
        raise BadInput(
            f"{grid.image.name} has no orientation (sform and qform code 0), so that the "
            f"coordinates of {drawing.format} have no place on it; convert it again"
        )


def check_size(part: Fractions, grid: Grid) -> None:
    """Refuse a region that is larger than any lesion, such as the outline of the head.

    Raises
    ------
    BadInput
        With its volume.
    """
    volume = part.voxels * voxel_ml(grid.affine)
    if volume > _LARGEST:
        raise BadInput(
            f"measures {volume:.0f} ml, which is no lesion of a brain (at most {_LARGEST:g} ml); "
            'select the lesions with --use, as in --use "Met*"'
        )


def scattered_parts(lesions: Sequence[DrawnLesion], affine: ArrayLike) -> list[str]:
    """Return a text for each lesion whose parts lie apart, and may be lesions of their own.

    Parameters
    ----------
    lesions : sequence of DrawnLesion
    affine : (4, 4) array
        Of their grid.
    """
    texts = []
    for lesion in lesions:
        inside = lesion.extent.values >= 0.5
        if not inside.any():
            continue
        if (count := count_parts(inside, affine)) > 1:
            texts.append(
                f"{lesion.name!r} consists of {count} parts more than {APART:g} mm apart, and is "
                "one lesion: --split makes each part a lesion"
            )
    return texts


def enhancement_outside(lesions: Sequence[DrawnLesion]) -> list[str]:
    """Return a text for each lesion whose enhancing part extends beyond the whole lesion."""
    texts = []
    for lesion in lesions:
        if len(lesion.parts) < 2:
            continue
        # Both parts of a lesion are in one box.
        enhancing, whole = (lesion.parts[part].values for part in ("enhancing", "whole"))
        total = float(enhancing.sum())
        outside = float(np.maximum(enhancing - whole, 0).sum())
        if outside > _OUTSIDE * total:
            texts.append(
                f"{lesion.name!r}: {outside / total:.0%} of its enhancing part lies outside the "
                "whole lesion: are these contours of one visit?"
            )
    return texts
