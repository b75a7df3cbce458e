"""Lesions of an ROI image: its table and its labels."""

from contextlib import suppress
from pathlib import Path

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from bidsapp.bids.cells import check_excluded_column, parse_flag, parse_whole_number
from bidsapp.bids.images import UNREADABLE
from bidsapp.bids.inheritance import applicable_files
from bidsapp.bids.records import Lesion
from bidsapp.bids.tables import read_numbered_table
from bidsapp.errors import BadInput
from bidsapp.lesions import as_labels


def find_table(image: Path, root: Path) -> Path | None:
    """Return the table of an ROI image by the inheritance principle, or None.

    Parameters
    ----------
    image
        The ROI image.
    root
        Folder of its data set.
    """
    return next(iter(applicable_files(image, root, ".tsv")[-1:]), None)


def find_lesions(image: Path, table: Path | None = None) -> tuple[Lesion, ...]:
    """Return the lesions in the table of a label image or, without a table, in the image.

    Parameters
    ----------
    image
        The label image.
    table
        Its table. In a table of several participants, lesions that are in no image of this
        participant are ignored.

    Raises
    ------
    BadInput
        If the table or the labels cannot be used.
    """
    labels = read_labels(image)
    if table is None:
        return tuple(Lesion(int(n), f"lesion {n}") for n in np.unique(labels[labels > 0]))
    lesions = _read_lesions(table)
    if table.name.startswith("sub-"):
        return lesions
    own = _labels_of_participant(image)
    return tuple(lesion for lesion in lesions if lesion.index in own)


def _labels_of_participant(image: Path) -> set[int]:
    """Return the labels in all ROI images of the kind of `image`, in all sessions."""
    folder = next(path for path in image.parents if path.name.startswith("sub-"))
    folder = next((p for p in folder.parents if p.name.startswith("sub-")), folder)
    kind = next((part for part in image.name.split("_") if part.startswith("seg-")), "")
    found: set[int] = set()
    for path in folder.rglob(f"*{kind}*_dseg.nii*"):
        with suppress(BadInput):  # reported with its own session
            found |= set(np.unique(read_labels(path)).tolist())
    return found


def _read_lesions(table: Path) -> tuple[Lesion, ...]:
    """Return the lesions of a table."""
    lesions: dict[int, Lesion] = {}
    known = ("index", "name", "excluded")
    for line, row in read_numbered_table(table, ("index", "name"), known=known):
        check_excluded_column(table, row)
        index = parse_whole_number(row["index"], f"{table}: line {line}", "index")
        if not 1 <= index < 10**9:
            raise BadInput(f"{table}: line {line}: index {index} must be an integer >= 1")
        if index in lesions:
            raise BadInput(
                f"{table}: index {index} is listed twice; each lesion needs its own number"
            )
        excluded = parse_flag(row.get("excluded", "0"), f"{table}: line {line}")
        lesions[index] = Lesion(index, row["name"], excluded)
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
