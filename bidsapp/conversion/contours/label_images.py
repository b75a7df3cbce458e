"""Label images and masks in NIfTI, with names from ITK-SNAP, from a table, or from the file."""

import re
from collections.abc import Mapping
from pathlib import Path

import nibabel as nib
import numpy as np

from bidsapp.bids.cells import parse_whole_number
from bidsapp.bids.images import check_image, orientation_warning
from bidsapp.bids.roi_tables import read_labels
from bidsapp.bids.tables import read_numbered_table
from bidsapp.bids.text_files import read_text
from bidsapp.conversion.contours.drawing import Drawing, Region, VoxelMask
from bidsapp.conversion.contours.label_checks import check_labels
from bidsapp.errors import BadInput

FORMAT = "NIfTI"
EXTENSIONS = (".nii", ".nii.gz")
_TITLE = "ITK-SnAP Label Description File"
_LINE = re.compile(r'^\s*(\d+)(?:\s+[\d.]+){6}\s+"(.*)"\s*$')


def read_label_image(path: Path) -> Drawing:
    """Return the labels of a NIfTI image as regions.

    Parameters
    ----------
    path
        Of the image. Names are those of a label description file of ITK-SNAP or of a table
        (``.tsv`` with index and name) beside it; the single label of a mask has the name of the
        file, other labels have their numbers as names.

    Raises
    ------
    BadInput
        If the image or the names cannot be used, or if its values are signals.
    """
    check_image(path, 3)
    labels = read_labels(path)
    values = np.unique(labels[labels > 0]).tolist()
    names = _names(path)
    if not names:
        check_labels(labels)
    if not names and len(values) == 1:
        names = {values[0]: file_stem(path)}
    affine = np.asarray(nib.load(path).affine, float)
    regions = tuple(
        Region(names.get(v, str(v)), str(v), VoxelMask(labels == v, affine)) for v in values
    )
    doubts = () if regions else ("contains no voxel of any label",)
    if text := orientation_warning(path):
        doubts = (*doubts, text.removeprefix(f"{path.name}: "))
    return Drawing(FORMAT, regions, warnings=doubts)


def file_stem(path: Path) -> str:
    """Return the name of a file without extensions, participant and session.

    Examples
    --------
    >>> file_stem(Path("sub-01_ses-1_met2.nii.gz")), file_stem(Path("GTV.1.nii"))
    ('met2', 'GTV.1')
    """
    stem = re.sub(r"(\.seg)?\.(nii|nii\.gz|nrrd|dcm)$", "", path.name, flags=re.IGNORECASE)
    return re.sub(r"^(sub|ses)-[^_]*_", "", re.sub(r"^(sub|ses)-[^_]*_", "", stem)) or stem


def _names(path: Path) -> Mapping[int, str]:
    """Return the names of labels in the files beside an image."""
    table = path.with_name(re.sub(r"\.nii(\.gz)?$", ".tsv", path.name))
    if table.is_file():
        lines = read_numbered_table(table, ("index", "name"), known=("index", "name"))
        return {
            parse_whole_number(row["index"], f"{table}: line {line}", "index"): row["name"]
            for line, row in lines
        }
    found = [
        one
        for one in sorted([*path.parent.glob("*.txt"), *path.parent.glob("*.label")])
        if _TITLE in one.read_bytes()[:1000].decode("utf-8", "replace")
    ]
    own = [one for one in found if one.name.split(".")[0] == path.name.split(".")[0]]
    if len(chosen := own or found) > 1:
        raise BadInput(
            f"several label descriptions of ITK-SNAP beside it: "
            f"{', '.join(one.name for one in chosen)}; keep one, or name it like the image"
        )
    return read_label_description(read_text(chosen[0])) if chosen else {}


def read_label_description(text: str) -> dict[int, str]:
    r"""Return the names of the labels in a label description file of ITK-SNAP.

    Examples
    --------
    >>> read_label_description(' 0 0 0 0 0 0 0 "Clear"\n 2 255 0 0 1 1 1 "Met 2"\n')
    {2: 'Met 2'}
    """
    found = [match for match in map(_LINE.match, text.splitlines()) if match]
    return {int(m[1]): " ".join(m[2].split()) for m in found if int(m[1]) and m[2].strip()}
