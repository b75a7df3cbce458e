"""Lesions of an ROI image: its table and its labels."""

from pathlib import Path

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from bidsapp.bids.cells import check_excluded_column, parse_flag
from bidsapp.bids.images import UNREADABLE
from bidsapp.bids.records import Lesion
from bidsapp.bids.tables import read_numbered_table
from bidsapp.errors import BadInput
from bidsapp.lesions import as_labels


def find_lesions(image: Path) -> tuple[Lesion, ...]:
    """Return the lesions in the table of a label image or, without a table, in the image.

    Raises
    ------
    BadInput
        If the table or the labels cannot be used.
    """
    labels = read_labels(image)
    table = image.with_name(image.name.removesuffix(".gz").removesuffix(".nii") + ".tsv")
    if not table.exists() and not table.is_symlink():
        return tuple(Lesion(int(n), f"lesion {n}") for n in np.unique(labels[labels > 0]))
    lesions: dict[int, Lesion] = {}
    known = ("index", "name", "excluded")
    for line, row in read_numbered_table(table, ("index", "name"), known=known):
        check_excluded_column(table, row)
        index = row["index"].strip()
        if not index.isascii() or not index.isdigit() or len(index) > 9 or not int(index):
            raise BadInput(f"{table}: index {index!r} must be an integer >= 1")
        if int(index) in lesions:
            raise BadInput(
                f"{table}: index {index} is listed twice; each lesion needs its own number"
            )
        excluded = parse_flag(row.get("excluded", "0"), f"{table}: line {line}")
        lesions[int(index)] = Lesion(int(index), row["name"], excluded)
    return tuple(lesions.values())


def read_labels(image: Path) -> NDArray[np.int32]:
    """Return the labels of an ROI image; non-finite voxels have no label.

    Raises
    ------
    BadInput
        If it is damaged or its labels are not integers.
    """
    try:
        values = np.asanyarray(nib.load(image).dataobj)
    except UNREADABLE as error:
        raise BadInput(f"{image}: is damaged ({error}); copy or convert it again") from error
    return as_labels(values[..., 0] if values.ndim == 4 else values, str(image))
