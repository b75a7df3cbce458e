"""Files with contours or masks, recognised by their content."""

import struct
from collections.abc import Callable, Container, Mapping
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

from bidsapp.bids.text_files import check_available
from bidsapp.conversion.contours import label_images, slicer
from bidsapp.conversion.contours.dicom_seg import read_segmentation
from bidsapp.conversion.contours.drawing import Drawing, Region
from bidsapp.conversion.contours.rtdose import SOP_CLASS as DOSE
from bidsapp.conversion.contours.rtdose import DoseGrid, read_dose_grid
from bidsapp.conversion.contours.rtstruct import read_structure_set
from bidsapp.conversion.optional import collect_warnings, load_package
from bidsapp.conversion.personal import personal_words, remove_personal
from bidsapp.errors import BadInput

_READERS = {
    "1.2.840.10008.5.1.4.1.1.481.3": read_structure_set,
    "1.2.840.10008.5.1.4.1.1.66.4": read_segmentation,
    "1.2.840.10008.5.1.4.1.1.66.7": read_segmentation,
}
"""UID of the SOP class -> reader: RT structure set, segmentation, label map segmentation."""
_DAMAGED = (OSError, EOFError, ValueError, AttributeError, LookupError, TypeError, RuntimeError)
"""Errors of pydicom, besides its own and those of struct, for files that are damaged, incomplete,
or compressed in an unknown way."""
_NRRD = (".nrrd", ".nhdr")
_MARK = slice(128, 132)
"""Where a DICOM file has the letters DICM."""


def is_drawing(path: Path) -> bool:
    """Return whether a file may contain contours or masks: by its name, or by its DICOM class.

    Raises
    ------
    UsageError
        If it is a DICOM file and pydicom is not installed.
    """
    name = path.name.lower()
    if name.endswith((*label_images.EXTENSIONS, *_NRRD)):
        return True
    return (is_dicom(path) or name.endswith(".dcm")) and _may_be_of(path, _READERS)


def is_dose(path: Path) -> bool:
    """Return whether a file is a DICOM RT dose.

    Raises
    ------
    UsageError
        If it is a DICOM file and pydicom is not installed.
    """
    if not path.is_file() or not (is_dicom(path) or path.name.lower().endswith(".dcm")):
        return False
    return _may_be_of(path, (DOSE,), damaged=False)


def is_dicom(path: Path) -> bool:
    """Return whether a file is DICOM, whatever its name."""
    with path.open("rb") as stream:
        return stream.read(132)[_MARK] == b"DICM"


def read_drawing(path: Path) -> Drawing:
    """Return the regions of a file: RTSTRUCT, DICOM SEG, NRRD or NIfTI.

    Dates, and what identifies the patient, are removed from their names.

    Parameters
    ----------
    path
        The file; a folder is refused.

    Raises
    ------
    BadInput
        If it cannot be read, with its path.
    UsageError
        If it needs a package that is not installed.
    """
    check_available(path)
    name = path.name.lower()
    try:
        if name.endswith(label_images.EXTENSIONS):
            drawing = label_images.read_label_image(path)
        elif name.endswith(_NRRD):
            drawing = slicer.read_nrrd(path)
        else:
            drawing = _read_dicom(path)
        digest = sha256(path.read_bytes()).hexdigest()
        identity = (*drawing.identity, digest)
        return replace(drawing, identity=identity, regions=_without_personal(drawing))
    except BadInput as error:
        text = str(error)
        raise BadInput(text if text.startswith(str(path)) else f"{path}: {text}") from error


def _without_personal(drawing: Drawing) -> tuple[Region, ...]:
    """Return the regions of a file with names that identify nobody, and differ as before."""
    names = [remove_personal(region.name, drawing.words) for region in drawing.regions]
    return tuple(
        replace(
            one, name=f"{name} {one.key}" if name != one.name and names.count(name) > 1 else name
        )
        for one, name in zip(drawing.regions, names, strict=True)
    )


def read_dose(path: Path) -> DoseGrid:
    """Return the dose of a DICOM RT dose file.

    Parameters
    ----------
    path
        The file.

    Raises
    ------
    BadInput
        If it cannot be used, with its path.
    UsageError
        If pydicom is not installed.
    """
    check_available(path)
    try:
        file = _read_dicom_file(path, {DOSE: read_dose_grid})
    except BadInput as error:
        raise BadInput(f"{path}: {error}") from error
    digest = sha256(path.read_bytes()).hexdigest()
    dose: DoseGrid = file.content
    return replace(dose, identity=(*file.identity, digest), patient=file.patient)


def dose_frame(path: Path) -> str:
    """Return the frame of reference of a file accepted by `is_dose`, without reading its dose."""
    pydicom = load_package("pydicom", "DICOM files")
    with collect_warnings():
        found = pydicom.dcmread(path, force=True, specific_tags=["FrameOfReferenceUID"])
        return str(found.get("FrameOfReferenceUID") or "")


def _read_dicom(path: Path) -> Drawing:
    """Return the regions of a DICOM file; what pydicom finds odd is a warning."""
    file = _read_dicom_file(path, _READERS)
    drawing: Drawing = file.content
    return replace(
        drawing,
        warnings=(*drawing.warnings, *(f"pydicom: {text}" for text in file.odd)),
        identity=file.identity,
        patient=file.patient,
        words=file.words,
    )


class _DicomFile(NamedTuple):
    """What a reader finds in a DICOM file, what pydicom finds odd, and whose file it is."""

    content: Any
    odd: tuple[str, ...]
    identity: tuple[str, ...]
    patient: str
    words: frozenset[str]


def _read_dicom_file(path: Path, readers: Mapping[str, Callable[[Any], Any]]) -> _DicomFile:
    """Return what the reader of the kind of a DICOM file finds in it."""
    pydicom = load_package("pydicom", "DICOM files")
    with collect_warnings() as odd:
        try:
            dataset = pydicom.dcmread(path, force=not is_dicom(path))
            kind = str(dataset.get("SOPClassUID") or "")
            if kind not in readers:
                raise BadInput(_not_a_drawing(dataset))
            found = readers[kind](dataset)
            uid = str(dataset.get("SOPInstanceUID") or "")
            patient = str(dataset.get("PatientID") or "")
            words = personal_words(dataset)
        except (*_DAMAGED, struct.error, pydicom.errors.BytesLengthException) as error:
            raise BadInput(f"cannot be read as DICOM ({error})") from error
    return _DicomFile(found, tuple(odd), (uid,) if uid else (), patient, words)


def _not_a_drawing(dataset: Any) -> str:
    """Return why a DICOM file is not used."""
    kind = str(dataset.get("Modality") or "")
    if not kind:
        return "is none of RTSTRUCT, DICOM SEG, .nrrd and .nii.gz"
    return f"is a DICOM file of modality {kind}, not an RTSTRUCT or SEG"


def _may_be_of(path: Path, classes: Container[str], *, damaged: bool = True) -> bool:
    """Return whether a DICOM file is of one of several SOP classes; `damaged` if it is damaged.

    A file without the mark of DICOM, as some programs write it, is tried.
    """
    pydicom = load_package("pydicom", "DICOM files")
    marked = is_dicom(path)
    with collect_warnings():
        try:
            found = pydicom.dcmread(
                path, stop_before_pixels=True, force=not marked, specific_tags=["SOPClassUID"]
            )
            return str(found.get("SOPClassUID") or "") in classes
        except (*_DAMAGED, struct.error, pydicom.errors.BytesLengthException):
            return marked and damaged
