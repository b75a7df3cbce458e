"""Headers of DICOM files: what they state of patient, study, series and slices."""

import math
from collections.abc import Container, Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from bidsapp.bids.clocks import clock_seconds
from bidsapp.conversion.dicom.records import Header, Patient, Slice
from bidsapp.conversion.optional import load_package
from bidsapp.conversion.personal import PERSONAL, personal_words

SCALE_SLOPE, FRAME_BEGIN = 0x2005100E, 0x200510A0
"""Private fields of Philips: scale slope, and start of a dynamic scan in s."""
_B_GE = 0x00431039
"""b-value of GE, plus a multiple of 100,000."""
_B_PHILIPS, _B_SIEMENS, _MOSAIC, _SEQUENCE_GE = 0x20011003, 0x0019100C, 0x0019100A, 0x0019109C
_TREATED = ("TreatmentDate", "RTPlanDate", "ContentDate", "InstanceCreationDate")
"""Dates of a treatment record, a plan and a dose, the most specific first."""
_FIELDS = (
    "Modality", "StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID",
    "FrameOfReferenceUID", "SeriesNumber", "SeriesDescription",
    "ProtocolName", "Manufacturer", "ImageType", "ScanningSequence", "SequenceVariant",
    "SequenceName", "PulseSequenceName", "EchoPulseSequence", "EchoPlanarPulseSequence",
    "MRAcquisitionType", "RepetitionTime", "EchoTime", "EffectiveEchoTime", "InversionTime",
    "InversionTimes", "FlipAngle", "Rows", "Columns", "PixelSpacing", "SliceThickness",
    "SpacingBetweenSlices", "ImagePositionPatient", "ImageOrientationPatient", "InstanceNumber",
    "TemporalPositionIdentifier", "TemporalPositionIndex", "AcquisitionTime",
    "AcquisitionDateTime", "TriggerTime", "DiffusionBValue", "RescaleSlope", "ContrastBolusAgent",
    "ContrastBolusVolume", "ContrastBolusTotalDose", "ContrastBolusIngredient",
    "ContrastBolusAgentSequence", "SharedFunctionalGroupsSequence",
    "PerFrameFunctionalGroupsSequence", "ComplexImageComponent",
)  # fmt: skip
_TAGS = [*_FIELDS, *PERSONAL, *_TREATED, SCALE_SLOPE, FRAME_BEGIN, _B_PHILIPS, _B_SIEMENS,
         _MOSAIC, _SEQUENCE_GE, _B_GE]  # fmt: skip
_KEPT = (
    "SeriesDescription", "ProtocolName", "Manufacturer", "SequenceName", "PulseSequenceName",
    "EchoPulseSequence", "EchoPlanarPulseSequence", "MRAcquisitionType", "RepetitionTime",
    "InversionTime",
    "InversionTimes", "FlipAngle", "Rows", "Columns", "PixelSpacing", "SliceThickness",
    "SpacingBetweenSlices", "ContrastBolusAgent", "ContrastBolusVolume",
    "ContrastBolusTotalDose", "ContrastBolusIngredient", "ComplexImageComponent",
)  # fmt: skip


class Lookup:
    """Fields of a frame: in its own groups, those that all frames share, or the file.

    Parameters
    ----------
    datasets
        The nearest first.
    """

    def __init__(self, datasets: Iterable[Any]) -> None:
        self.datasets = tuple(datasets)

    def get(self, name: str | int) -> Any:
        """Return the value of a field, or None if it is missing or empty."""
        for dataset in self.datasets:
            with suppress(KeyError, AttributeError):
                value = dataset[name].value
                if value not in (None, "", [], b""):
                    return value
        return None

    def number(self, name: str | int) -> float | None:
        """Return the (first) number in a field, or None."""
        value = self.get(name)
        if isinstance(value, bytes):
            value = value.decode("ascii", "ignore").strip()
        if not isinstance(value, str) and hasattr(value, "__len__") and len(value):
            value = value[0]
        try:
            number = float(value)
        except (TypeError, ValueError):
            return None
        return number if math.isfinite(number) else None

    def words(self, name: str) -> tuple[str, ...]:
        """Return the values of a field as texts."""
        value = self.get(name)
        if value is None:
            return ()
        several = not isinstance(value, str) and hasattr(value, "__iter__")
        return tuple(str(v).strip() for v in (value if several else [value]))


def read_header(path: Path, known: Container[tuple[str, str]] = ()) -> Header | None:
    """Return what the header of a DICOM file states; None for other files and DICOMDIR.

    Parameters
    ----------
    path
        Any file.
    known
        UIDs of study and series whose patient and acquisition were read from another file.

    Raises
    ------
    UsageError
        If pydicom is not installed.
    OSError
        If the file cannot be read.
    """
    pydicom = load_package("pydicom", "DICOM files")
    try:
        dataset = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=_TAGS)
    except pydicom.errors.InvalidDicomError:
        return None
    if "SeriesInstanceUID" not in dataset:
        return None
    return _describe(path, dataset, known)


def _describe(path: Path, dataset: Any, known: Container[tuple[str, str]]) -> Header:
    """Return what a data set of pydicom states."""
    modality, series = str(dataset.get("Modality", "")), str(dataset.SeriesInstanceUID)
    image = modality == "MR" and dataset.get("Rows") is not None
    frames = [Lookup(one) for one in frames_of(dataset)] if image else []
    treated = ""
    if modality.startswith("RT") and modality not in ("RTSTRUCT", "RTIMAGE"):
        treated = next(filter(None, (str(dataset.get(name) or "") for name in _TREATED)), "")
    study = str(dataset.get("StudyInstanceUID", ""))
    new = (study, series) not in known
    return Header(
        path=path,
        study=study,
        series=series,
        instance=str(dataset.get("SOPInstanceUID") or ""),
        patient=_patient(dataset, study) if new else Patient(_patient_key(dataset, study)),
        date=str(dataset.get("StudyDate") or ""),
        modality=modality,
        number=int(dataset.get("SeriesNumber") or 0),
        treated=treated,
        frame_of_reference=str(dataset.get("FrameOfReferenceUID") or ""),
        image_type=frames[0].words("ImageType") if frames else (),
        values=_values(frames[0], dataset) if frames and new else {},
        slices=tuple(_slice(frame, path, number) for number, frame in enumerate(frames)),
    )


def frames_of(dataset: Any) -> Iterator[list[Any]]:
    """Yield, for each frame, the data sets that state its fields, the nearest first."""
    per_frame = dataset.get("PerFrameFunctionalGroupsSequence")
    if not per_frame:
        yield [dataset]
        return
    shared_groups = dataset.get("SharedFunctionalGroupsSequence") or []
    shared = _items(shared_groups[0]) if shared_groups else []
    for groups in per_frame:
        yield [*_items(groups), *shared, dataset]


def _items(groups: Any) -> list[Any]:
    """Return the content of functional groups: standard ones first, since private ones differ."""
    return [element.value[0] for element in groups if element.VR == "SQ" and len(element.value)]


def _patient(dataset: Any, study: str) -> Patient:
    """Return who was examined."""
    name = str(dataset.get("PatientName") or "").strip()
    return Patient(_patient_key(dataset, study), name, personal_words(dataset))


def _patient_key(dataset: Any, study: str) -> str:
    """Return what identifies the patient: PatientID, else the name, else the study."""
    texts = (str(dataset.get(name) or "").strip() for name in ("PatientID", "PatientName"))
    return next(filter(None, texts), study)


def _values(frame: Lookup, dataset: Any) -> Mapping[str, object]:
    """Return the fields on the acquisition, of the first frame."""
    found: dict[str, object] = {name: frame.get(name) for name in _KEPT}
    found |= {name: frame.words(name) for name in ("ScanningSequence", "SequenceVariant")}
    found["GE"] = frame.get(_SEQUENCE_GE)
    found["mosaic"] = frame.get(_MOSAIC) is not None or "MOSAIC" in frame.words("ImageType")
    if not found["ContrastBolusAgent"] and (agents := dataset.get("ContrastBolusAgentSequence")):
        found["ContrastBolusAgent"] = agents[0].get("CodeMeaning")
        for name in ("ContrastBolusVolume", "ContrastBolusTotalDose"):
            found[name] = found[name] or agents[0].get(name)
    return found


def _slice(frame: Lookup, path: Path, number: int) -> Slice:
    """Return place, order, time and scaling of a frame, the `number`-th of its file."""
    orientation = np.round(np.asarray(frame.get("ImageOrientationPatient") or [], float), 3)
    normal: tuple[float, ...] = ()
    position = 0.0
    origin = frame.get("ImagePositionPatient")
    if orientation.size == 6 and origin is not None:
        across = np.cross(orientation[:3], orientation[3:])
        normal = tuple((np.round(across, 2) + 0.0).tolist())
        position = round(float(across @ np.asarray(origin, float)), 1)
    temporal = frame.number("TemporalPositionIndex") or frame.number("TemporalPositionIdentifier")
    instance = (frame.number("InstanceNumber") or 0) * 100_000 + number
    b_values = (frame.number(n) for n in ("DiffusionBValue", _B_SIEMENS, _B_PHILIPS))
    b_value = next((b for b in b_values if b is not None), None)
    if b_value is None and (coded := frame.number(_B_GE)) is not None:
        b_value = coded % 100_000
    echo = frame.number("EffectiveEchoTime")
    nan = float("nan")
    scaling = (frame.number("RescaleSlope"), frame.number(SCALE_SLOPE))
    return Slice(
        normal=normal,
        position=position,
        order=(int(temporal or 0), int(instance)),
        times=_times(frame),
        b_value=b_value,
        echo_time=frame.number("EchoTime") if echo is None else echo,
        scaling=tuple(nan if s is None else s for s in scaling),  # type: ignore[arg-type]
        path=path,
        frame=number,
    )


def _times(frame: Lookup) -> dict[str, float]:
    """Return the fields that state when a frame was acquired, in s."""
    maker = str(frame.get("Manufacturer") or "").upper()
    found = {"TemporalPositionTimeOffset": frame.number("TemporalPositionTimeOffset")}
    if maker.startswith("PHILIPS"):
        found["(2005,10A0)"] = frame.number(FRAME_BEGIN)
    if maker.startswith(("PHILIPS", "GE")):  # elsewhere of the heart
        trigger = frame.number("TriggerTime")
        found["TriggerTime"] = None if trigger is None else trigger / 1000
    for name in ("FrameAcquisitionDateTime", "AcquisitionDateTime", "AcquisitionTime"):
        text = str(frame.get(name) or "").partition("+")[0]
        found[name] = clock_seconds(text[8:] if name.endswith("DateTime") else text)
    return {name: seconds for name, seconds in found.items() if seconds is not None}
