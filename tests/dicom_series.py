"""Small DICOM series with the header fields that scanners of different makers write."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

MR, ENHANCED = "1.2.840.10008.5.1.4.1.1.4", "1.2.840.10008.5.1.4.1.1.4.1"
SHAPE = (14, 12, 4)
"""Columns, rows and slices."""
VOXEL = (2.0, 2.5, 4.0)
START = 46800.0
"""13:00 in s."""
INTERVAL = 5.2
SECRETS = (
    "Lovelace",
    "Augusta",
    "PAT4711",
    "18151210",
    "ACC99123",
    "Analytical General",
    "20210902",
)
"""What the headers state of the patient, the study and the hospital."""


@dataclass
class Patient:
    """Who is examined, and when."""

    number: str = "PAT4711"
    name: str = "Lovelace^Augusta"
    date: str = "20210902"
    study: str = field(default_factory=generate_uid)


def images(volumes: int, seed: int = 0) -> np.ndarray:
    """Return volumes of noise (columns, rows, slices, volumes)."""
    noise = np.random.default_rng(seed)
    return noise.integers(50, 1000, (*SHAPE, volumes)).astype(np.uint16)


def affine() -> np.ndarray:
    """Return the affine of all series (RAS, mm): an oblique axial slab."""
    across, down, normal = _axes()
    lps = np.eye(4)
    lps[:3, :3] = np.stack([across, down, normal], 1) * VOXEL
    lps[:3, 3] = (-20.0, -15.0, 10.0)
    return np.diag([-1.0, -1.0, 1.0, 1.0]) @ lps


def _axes() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    angle = np.deg2rad(10)
    down = np.array([0, np.cos(angle), np.sin(angle)])
    across = np.array([1.0, 0, 0])
    return across, down, np.cross(across, down)


def _clock(seconds: float) -> str:
    hours, rest = divmod(seconds, 3600)
    return f"{int(hours):02d}{int(rest // 60):02d}{rest % 60:09.6f}"


def _position(number: int) -> list[str]:
    point = np.array([-20.0, -15.0, 10.0]) + _axes()[2] * VOXEL[2] * number
    return [f"{v:.6f}" for v in point]


def _orientation() -> list[str]:
    across, down, _ = _axes()
    return [f"{v:.8f}" for v in (*across, *down)]


def common(patient: Patient, number: int, series: str, description: str) -> Dataset:
    """Return the fields that all files have, with personal ones."""
    ds = Dataset()
    ds.SpecificCharacterSet = "ISO_IR 100"
    ds.PatientName, ds.PatientID, ds.PatientBirthDate = patient.name, patient.number, "18151210"
    ds.AccessionNumber, ds.InstitutionName = "ACC99123", "Analytical General"
    ds.ReferringPhysicianName, ds.StationName = "Babbage^Charles", "ENGINE1"
    ds.StudyDate = ds.SeriesDate = ds.AcquisitionDate = ds.ContentDate = patient.date
    ds.StudyTime = ds.SeriesTime = _clock(START)
    ds.StudyInstanceUID, ds.SeriesInstanceUID = patient.study, series
    ds.FrameOfReferenceUID = patient.study[:60] + ".9"
    ds.SeriesNumber, ds.SeriesDescription, ds.ProtocolName = number, description, description
    ds.StudyDescription = "Brain of Lovelace"
    ds.Modality, ds.MagneticFieldStrength, ds.PatientPosition = "MR", "3", "HFS"
    ds.Columns, ds.Rows = SHAPE[:2]
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.BitsAllocated = ds.BitsStored = 16
    ds.HighBit, ds.PixelRepresentation = 15, 0
    return ds


def save(ds: Dataset, path: Path) -> None:
    """Write a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    ds.SOPInstanceUID = generate_uid()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    pydicom.dcmwrite(path, ds, enforce_file_format=True)


MAKERS: dict[str, dict[str, Any]] = {
    "philips": {"Manufacturer": "Philips Medical Systems", "SoftwareVersions": ["5.3.0"],
                "ImageType": ["ORIGINAL", "PRIMARY", "M_FFE", "M", "FFE"], "ScanningSequence": "GR",
                "SequenceVariant": "SP", "RescaleSlope": "2.5", "RescaleIntercept": "0"},
    "siemens": {"Manufacturer": "SIEMENS", "SoftwareVersions": "syngo MR E11",
                "ImageType": ["ORIGINAL", "PRIMARY", "M", "ND"], "ScanningSequence": "GR",
                "SequenceVariant": ["SP", "OSP"], "SequenceName": "*fl3d1"},
    "ge": {"Manufacturer": "GE MEDICAL SYSTEMS", "SoftwareVersions": "29",
           "ImageType": ["ORIGINAL", "PRIMARY", "OTHER"], "ScanningSequence": "GR",
           "SequenceVariant": ["SS", "SP"]},
}  # fmt: skip


def write_series(
    folder: Path,
    maker: str,
    data: np.ndarray,
    patient: Patient,
    number: int,
    description: str,
    *,
    timed: bool = True,
    scale_slope: float | None = 0.5,
    b_values: list[float] | None = None,
    **fields: Any,
) -> None:
    """Write a series as one file per slice, with the times that a maker states."""
    series = generate_uid()
    volumes, slices = data.shape[3], data.shape[2]
    for volume in range(volumes):
        for place in range(slices):
            ds = common(patient, number, series, description)
            ds.SOPClassUID = MR
            ds.MRAcquisitionType, ds.EchoTime, ds.EchoNumbers = "3D", "2.0", 1
            ds.RepetitionTime, ds.FlipAngle = "4", "15"
            ds.update(_elements({**MAKERS[maker], **fields}))
            ds.ImagePositionPatient, ds.ImageOrientationPatient = _position(place), _orientation()
            ds.PixelSpacing, ds.SliceThickness = [VOXEL[1], VOXEL[0]], VOXEL[2]
            ds.SpacingBetweenSlices = VOXEL[2]
            ds.InstanceNumber, ds.AcquisitionNumber = volume * slices + place + 1, 1
            ds.AcquisitionTime = ds.ContentTime = _clock(START)
            if timed and volumes > 1:
                _add_time(ds, maker, volume, volumes)
            if maker == "philips" and scale_slope is not None:
                ds.add_new(0x20050010, "LO", "Philips MR Imaging DD 001")
                ds.add_new(0x2005100E, "FL", scale_slope)
            if b_values:
                ds.DiffusionBValue = b_values[volume]
                ds.DiffusionGradientOrientation = [0.0, 0.0, 1.0 if b_values[volume] else 0.0]
            ds.PixelData = np.ascontiguousarray(data[:, :, place, volume].T).tobytes()
            save(ds, folder / f"{number:03d}" / f"{ds.InstanceNumber:04d}.dcm")


def _elements(fields: dict[str, Any]) -> Dataset:
    ds = Dataset()
    for name, value in fields.items():
        setattr(ds, name, value)
    return ds


def _add_time(ds: Dataset, maker: str, volume: int, volumes: int) -> None:
    """Add the time of a volume as its maker states it."""
    ds.TemporalPositionIdentifier, ds.NumberOfTemporalPositions = volume + 1, volumes
    if maker == "ge":
        ds.TriggerTime = f"{1000 * INTERVAL * volume:.0f}"
    else:
        ds.AcquisitionTime = _clock(START + INTERVAL * volume)
        ds.AcquisitionNumber = volume + 1
    if maker == "philips":
        ds.AcquisitionNumber = 7
        ds.add_new(0x20050010, "LO", "Philips MR Imaging DD 001")
        ds.add_new(0x200510A0, "FL", INTERVAL * volume)


def write_enhanced(
    folder: Path, data: np.ndarray, patient: Patient, number: int, description: str
) -> None:
    """Write a dynamic series as one enhanced file, with the frames of a slice together."""
    volumes, slices = data.shape[3], data.shape[2]
    ds = common(patient, number, generate_uid(), description)
    ds.SOPClassUID = ENHANCED
    ds.Manufacturer, ds.MRAcquisitionType = "Philips Medical Systems", "3D"
    ds.ImageType, ds.PulseSequenceName = ["ORIGINAL", "PRIMARY", "T1", "NONE"], "T1FFE"
    ds.EchoPulseSequence, ds.EchoPlanarPulseSequence = "GRADIENT", "NO"
    ds.InstanceNumber, ds.NumberOfFrames = 1, volumes * slices
    ds.AcquisitionDateTime = patient.date + _clock(START)
    timing = _elements({"RepetitionTime": "4", "FlipAngle": "15"})
    shared = Dataset()
    shared.MRTimingAndRelatedParametersSequence = Sequence([timing])
    ds.SharedFunctionalGroupsSequence = Sequence([shared])
    agent = _elements({"CodeValue": "C-B0317", "CodingSchemeDesignator": "SRT"})
    agent.CodeMeaning, agent.ContrastBolusVolume = "Gadobutrol", "7.5"
    ds.ContrastBolusAgentSequence = Sequence([agent])
    organization = generate_uid()
    ds.DimensionOrganizationSequence = Sequence(
        [_elements({"DimensionOrganizationUID": organization})]
    )
    ds.DimensionIndexSequence = Sequence(
        _elements({"DimensionOrganizationUID": organization, "DimensionIndexPointer": pointer,
                   "FunctionalGroupPointer": 0x00209111})
        for pointer in (0x00209056, 0x00209057, 0x00209128)
    )  # fmt: skip
    frames, pixels = [], []
    for place in range(slices):
        for volume in range(volumes):
            frames.append(_frame(patient, place, volume))
            pixels.append(np.ascontiguousarray(data[:, :, place, volume].T))
    ds.PerFrameFunctionalGroupsSequence = Sequence(frames)
    ds.PixelData = np.stack(pixels).tobytes()
    save(ds, folder / f"{number:03d}" / "IM_0001")


def _frame(patient: Patient, place: int, volume: int) -> Dataset:
    """Return the functional groups of a frame."""
    content = _elements({
        "FrameAcquisitionDateTime": patient.date + _clock(START + INTERVAL * volume),
        "StackID": "1", "InStackPositionNumber": place + 1, "TemporalPositionIndex": volume + 1,
        "DimensionIndexValues": [1, place + 1, volume + 1],
    })  # fmt: skip
    transformation = {"RescaleIntercept": "0", "RescaleSlope": "1", "RescaleType": "US"}
    spacing = {"PixelSpacing": [VOXEL[1], VOXEL[0]], "SliceThickness": VOXEL[2]}
    groups = {
        "FrameContentSequence": content,
        "PlanePositionSequence": _elements({"ImagePositionPatient": _position(place)}),
        "PlaneOrientationSequence": _elements({"ImageOrientationPatient": _orientation()}),
        "PixelMeasuresSequence": _elements({**spacing, "SpacingBetweenSlices": VOXEL[2]}),
        "PixelValueTransformationSequence": _elements(transformation),
        "MREchoSequence": _elements({"EffectiveEchoTime": 2.0}),
    }
    frame = Dataset()
    for name, item in groups.items():
        setattr(frame, name, Sequence([item]))
    return frame


def write_plan(folder: Path, patient: Patient, date: str) -> None:
    """Write an RT plan."""
    ds = common(patient, 50, generate_uid(), "plan")
    for name in ("Rows", "Columns"):
        delattr(ds, name)
    ds.SOPClassUID, ds.Modality, ds.RTPlanDate = "1.2.840.10008.5.1.4.1.1.481.5", "RTPLAN", date
    save(ds, folder / "plan.dcm")


def write_visit(folder: Path, patient: Patient, maker: str = "philips") -> dict[str, np.ndarray]:
    """Write the series of one visit; return the images that a data set should have."""
    made = {"dce": images(7, 1), "t1w": images(1, 2), "dwi": images(3, 3)}
    agent = {"ContrastBolusAgent": "GADOVIST", "ContrastBolusVolume": "7.5"}
    write_series(folder, maker, made["dce"], patient, 7, "DCE perfusion", **agent)
    anatomy = {"RepetitionTime": "1900", "InversionTime": "900", "ScanningSequence": ["GR", "IR"]}
    write_series(folder, maker, made["t1w"], patient, 9, "T1 3D post", **anatomy, **agent)
    echo_planar = {"ScanningSequence": ["EP", "SE"], "RepetitionTime": "5000", "EchoTime": "80",
                   "MRAcquisitionType": "2D", "SequenceVariant": "SK"}  # fmt: skip
    b_values = [0.0, 200.0, 800.0]
    write_series(
        folder, maker, made["dwi"], patient, 3, "DWI", timed=False, b_values=b_values, **echo_planar
    )
    localiser = {"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}
    write_series(folder, maker, images(1, 4), patient, 1, "three planes", **localiser)
    projection = {"ImageType": ["DERIVED", "SECONDARY", "MIP"]}
    write_series(folder, maker, images(1, 5), patient, 11, "MIP of T1", **projection)
    return made
