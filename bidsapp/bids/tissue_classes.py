"""Recognition of tissue classes (necrosis, oedema, enhancing) in place of numbered lesions."""

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from bidsapp.bids.records import Lesion

_CLASSES = {
    "necrosis": r"ncr|net|nec|ncr[/+_ ]?net|necro(sis|tic)( core)?|non[- ]?enhancing( tumou?r)?"
    r"( core)?|nonenh|netc",
    "oedema": r"ed|o?edema|peritumou?ral( o?edema)?|snfh|flair( hyperintensity)?|infiltration",
    "enhancing": r"et|enh|enhancing|enhancing tumou?r|gd[- ]?enhancing( tumou?r)?",
    "cavity": r"rc|cavity|resection cavity",
    "core": r"tc|tumou?r core|core",
    "whole": r"wt|whole tumou?r",
}
REMEDY = (
    "An ROI image needs a number for each lesion: give all voxels of the enhancing class "
    "(seg-enhancing), and of all classes together (seg-whole), the number of their lesion; "
    "`metperf rois --split` does so"
)
_MOST_CLASSES = 4
"""Largest number of classes in one image: necrosis, oedema, enhancing, and a cavity."""
_ENCLOSED = 0.8
"""Fraction of a label inside holes of the other labels, above which they surround it."""
_FEWEST_VOXELS = 10
"""Fewest voxels of a label whose surroundings are examined."""


def tissue_class_warning(labels: NDArray[np.int32], name: str) -> str:
    """Return a warning if labels surround one another as tissue classes do; else an empty text.

    Parameters
    ----------
    labels : (X, Y, Z) array of int
    name
        Name of the image.
    """
    found = enclosed_labels(labels)
    if not found:
        return ""
    present = ", ".join(map(str, np.unique(labels[labels > 0])))
    inner = next(iter(found))
    return (
        f"{name}: label {inner} lies inside the others, as necrosis in an enhancing rim: are "
        f"{present} tissue classes rather than lesions? {REMEDY}"
    )


def named_classes(lesions: Sequence[Lesion]) -> dict[str, int]:
    """Return the label of each tissue class that the names in a table state.

    Examples
    --------
    >>> named_classes([Lesion(1, "NCR"), Lesion(2, "oedema"), Lesion(4, "ET")])
    {'necrosis': 1, 'oedema': 2, 'enhancing': 4}
    >>> named_classes([Lesion(1, "left enhancing"), Lesion(2, "right enhancing")])
    {}
    """
    return {
        name: lesion.index
        for name, pattern in _CLASSES.items()
        for lesion in lesions
        if re.fullmatch(pattern, lesion.name.strip().lower())
    }


def enclosed_labels(labels: NDArray[np.int32]) -> dict[int, float]:
    """Return the labels that lie in holes of the others, and the fraction of their voxels there.

    Metastases that touch each other share a part of their surface only; necrosis fills a hole of
    the enhancing rim, and this a hole of the oedema. Holes are those in the slices of each of the
    three directions, so that a small gap is tolerated; the median of the three fractions counts.

    Parameters
    ----------
    labels : (X, Y, Z) array of int

    Returns
    -------
    dict of int to float
        Empty if there are more labels than classes.
    """
    present, counts = np.unique(labels[labels > 0], return_counts=True)
    if not 1 < len(present) <= _MOST_CLASSES:
        return {}
    place = ndimage.find_objects((labels > 0).astype(np.int8))[0]
    box = labels[place]
    fractions = {
        int(label): float(np.median([_fraction_in_holes(box, label, axis) for axis in range(3)]))
        for label, count in zip(present, counts, strict=True)
        if count >= _FEWEST_VOXELS
    }
    return {label: fraction for label, fraction in fractions.items() if fraction > _ENCLOSED}


def _fraction_in_holes(labels: NDArray[np.int32], label: int, axis: int) -> float:
    """Return the fraction of a label in holes of the other labels, in slices along an axis."""
    own = labels == label
    in_slice = ndimage.generate_binary_structure(3, 1)
    outer = [slice(None)] * 3
    for side in (0, 2):
        outer[axis] = slice(side, side + 1)
        in_slice[tuple(outer)] = False
    filled = ndimage.binary_fill_holes((labels > 0) & ~own, structure=in_slice)
    return float(np.count_nonzero(filled & own) / np.count_nonzero(own))
