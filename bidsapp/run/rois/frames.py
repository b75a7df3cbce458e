"""The visits to which contours belong, by their frame of reference."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from bidsapp.bids.inheritance import metadata
from bidsapp.bids.pseudonyms import FRAME_PSEUDONYM, salted_pseudonym
from bidsapp.conversion.contours.read import dose_frame, is_dicom, is_dose, read_drawing
from bidsapp.errors import BadInput

Visit = tuple[str, str]
"""Labels of a participant and a session."""


def visits_by_frame(files: Iterable[Path], bids_dir: Path) -> dict[Path, list[Visit]]:
    """Return the visits whose T1w has the frame of reference of each DICOM file.

    Parameters
    ----------
    files
        Files with contours; those without a frame of reference belong to no visit.
    bids_dir
        The data set, whose sidecars state ``FrameOfReferenceUID`` or its pseudonym.
    """
    stated = _stated_frames(bids_dir)
    salts = {frame.partition(":")[0] for frame in stated if ":" in frame}
    return {file: _visits(_frame(file), stated, salts) for file in files}


def _stated_frames(bids_dir: Path) -> dict[str, set[Visit]]:
    """Return the visits of each frame of reference, or its pseudonym, that sidecars state."""
    found: dict[str, set[Visit]] = {}
    for image in sorted(bids_dir.glob("sub-*/ses-*/anat/*_T1w.nii*")):
        label, session = (part.partition("-")[2] for part in image.relative_to(bids_dir).parts[:2])
        fields = metadata(image, bids_dir)
        for name in ("FrameOfReferenceUID", FRAME_PSEUDONYM):
            if frame := str(fields.get(name) or ""):
                found.setdefault(frame, set()).add((label, session))
    return found


def _frame(file: Path) -> str:
    """Return the frame of reference of a DICOM file; empty if it has none or is damaged."""
    try:
        if is_dose(file):
            return dose_frame(file)
        return read_drawing(file).frame if is_dicom(file) else ""
    except BadInput:
        return ""


def _visits(frame: str, stated: Mapping[str, set[Visit]], salts: Iterable[str]) -> list[Visit]:
    """Return the visits whose images state a frame of reference."""
    if not frame:
        return []
    names = (frame, *(salted_pseudonym(frame, salt) for salt in salts))
    return sorted({visit for name in names for visit in stated.get(name, ())})
