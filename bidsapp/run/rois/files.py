"""Files of ROIs: those that exist already, and those that are written."""

import gzip
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from bidsapp.bids.derivatives import link_to_raw, to_json, to_tsv, write_bytes
from bidsapp.bids.records import Rois, Session
from bidsapp.bids.rois import roi_labels
from bidsapp.config import version
from bidsapp.conversion.contours.lesions import PARTS, Part
from bidsapp.lesions.places import LesionPlace, label_places
from bidsapp.run.rois.placement import Grid

COLUMNS = {
    "index": "Number of the lesion, the same at all visits",
    "name": "Name of the lesion in the file with its contours",
    "excluded": "1 excludes the lesion from the statistics",
    "volume_ml": "Volume of the voxels with this number, in ml",
    "contour_volume_ml": "Volume that the contours enclose, in ml",
}
"""Columns of the table of an ROI image, with their descriptions."""
_WHAT: Mapping[Part, str] = {
    "enhancing": "the enhancing part of each lesion",
    "whole": "the whole of each lesion",
}


@dataclass(frozen=True)
class File:
    """A file to be written."""

    path: Path
    content: bytes


def roi_path(session: Session, rois_dir: Path, part: Part, extension: str = ".nii.gz") -> Path:
    """Return the path of the ROI image of a part, named after the T1w."""
    return _path(session, rois_dir, f"seg-{part}_dseg{extension}")


def artery_path(session: Session, rois_dir: Path, space: str) -> Path:
    """Return the path of the mask of an artery, on the grid of ``T1w`` or ``dce``."""
    folder = rois_dir / f"sub-{session.participant}" / session.id / "anat"
    return folder / f"sub-{session.participant}_{session.id}_space-{space}_label-AIF_mask.nii.gz"


def _path(session: Session, rois_dir: Path, ending: str) -> Path:
    assert session.t1w is not None
    stem = re.sub(r"_T1w\.nii(\.gz)?$", "", session.t1w.name)
    folder = rois_dir / f"sub-{session.participant}" / session.id / "anat"
    return folder / f"{stem}_{ending}"


def existing_parts(session: Session) -> dict[Part, Rois]:
    """Return the ROIs on the T1w that a visit has already."""
    found = {part: session.rois(part, "T1w") for part in PARTS}
    return {part: rois for part, rois in found.items() if rois}


def lesion_places(rois: Rois) -> dict[int, LesionPlace]:
    """Return the place of each lesion that has voxels, RAS mm."""
    affine = nib.load(rois.grid or rois.image).affine
    places = label_places(roi_labels(rois), affine)
    return {x.index: places[x.index] for x in rois.lesions if x.index in places}


def image_bytes(labels: NDArray[Any], grid: Grid) -> bytes:
    """Return a compressed image of labels on a grid, without names or dates."""
    kind = np.uint8 if int(labels.max(initial=0)) < 256 else np.uint16
    return _compress(labels.astype(kind), grid)


def _compress(data: NDArray[Any], grid: Grid) -> bytes:
    image = nib.Nifti1Image(data, grid.affine)
    image.set_qform(grid.affine, 1)
    image.set_sform(grid.affine, 1)
    image.header.set_xyzt_units("mm")
    return gzip.compress(image.to_bytes(), 6, mtime=0)


def part_files(
    session: Session,
    rois_dir: Path,
    part: Part,
    image: bytes,
    rows: Sequence[Mapping[str, Any]],
    basis: Sequence[str],
) -> list[File]:
    """Return table, sidecar and image of a part of the lesions of a visit; the image is last."""
    sidecar = {
        "Description": f"Lesions as drawn by the user: {_WHAT[part]}. Voxels have the number of "
        "the lesion that fills at least half of them.",
        "Sources": [_source(session)],
        "Placement": list(basis),
        **{name: {"Description": text} for name, text in COLUMNS.items()},
    }
    return [
        File(roi_path(session, rois_dir, part, ".tsv"), to_tsv(list(COLUMNS), rows)),
        File(roi_path(session, rois_dir, part, ".json"), to_json(sidecar)),
        File(roi_path(session, rois_dir, part), image),
    ]


def artery_files(
    session: Session, rois_dir: Path, space: str, image: bytes, basis: Sequence[str]
) -> list[File]:
    """Return mask and sidecar of an artery."""
    path = artery_path(session, rois_dir, space)
    sidecar = {
        "Description": "Artery as drawn by the user, for the arterial input of the DCE series",
        "Type": "ROI",
        "Placement": list(basis),
    }
    beside = path.with_name(path.name.replace(".nii.gz", ".json"))
    return [File(beside, to_json(sidecar)), File(path, image)]


def dose_path(session: Session, rois_dir: Path) -> Path:
    """Return the path of the dose of a visit, named after the T1w."""
    return _path(session, rois_dir, "label-dose_dosemap.nii.gz")


def dose_files(
    session: Session, rois_dir: Path, dose: NDArray[np.float32], grid: Grid, basis: str
) -> list[File]:
    """Return map and sidecar of a dose on the grid of the T1w."""
    path = dose_path(session, rois_dir)
    sidecar = {
        "Description": "Physical dose of the radiotherapy plan, resampled to the T1w",
        "Units": "Gy",
        "Sources": [_source(session)],
        "Placement": [basis],
    }
    beside = path.with_name(path.name.replace(".nii.gz", ".json"))
    return [File(beside, to_json(sidecar)), File(path, _compress(dose, grid))]


def _source(session: Session) -> str:
    """Return the BIDS URI of the T1w of a visit."""
    assert session.t1w is not None
    parts = session.t1w.parts
    return "bids:raw:" + "/".join(parts[parts.index(f"sub-{session.participant}") :])


def write_files(files: Sequence[File], rois_dir: Path, bids_dir: Path) -> None:
    """Write files, and the description of the data set if it has none.

    Raises
    ------
    NotWritable
        If a file cannot be written.
    """
    description = rois_dir / "dataset_description.json"
    if not description.exists():
        content = {
            "Name": "ROIs drawn by the user",
            "BIDSVersion": "1.10.0",
            "DatasetType": "derivative",
            "GeneratedBy": [{"Name": "metperf rois", "Version": version()}],
            "DatasetLinks": {"raw": link_to_raw(bids_dir, rois_dir)},
        }
        write_bytes(description, to_json(content))
    ignored = rois_dir / ".bidsignore"
    if any(file.path.name.endswith("_dosemap.nii.gz") for file in files) and not ignored.exists():
        write_bytes(ignored, b"*_dosemap.*\n")  # BIDS has no name for a dose
    for file in files:
        write_bytes(file.path, file.content)
