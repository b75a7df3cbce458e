"""Files with contours and masks, as other programs write them, that tests need."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import nrrd
import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

RTDOSE = "1.2.840.10008.5.1.4.1.1.481.2"
RTSTRUCT = "1.2.840.10008.5.1.4.1.1.481.3"
LPS = np.array([-1.0, -1.0, 1.0])


@dataclass
class Roi:
    """An ROI of a structure set: contours (N, 3) in RAS mm, each of the type given."""

    name: str
    polygons: Sequence[np.ndarray]
    number: int
    kind: str = "CLOSED_PLANAR"
    kinds: Sequence[str] = field(default_factory=tuple)


def structure_set(
    rois: Sequence[Roi],
    frame: str = "1.2.3",
    series: str = "1.2.4",
    images: Sequence[str] = (),
) -> Dataset:
    """Return a structure set; the list of contours is in reverse order of the list of names.

    `images` are the SOP classes of the images of the series.
    """
    dataset = Dataset()
    dataset.SOPClassUID, dataset.SOPInstanceUID = RTSTRUCT, generate_uid()
    dataset.Modality, dataset.PatientName, dataset.PatientID = "RTSTRUCT", "Doe^Jane", "MRN77"
    names, contours = [], []
    for roi in rois:
        name, drawn = Dataset(), Dataset()
        name.ROINumber, name.ROIName = roi.number, roi.name
        name.ReferencedFrameOfReferenceUID = frame
        drawn.ReferencedROINumber = roi.number
        if roi.polygons:
            kinds = roi.kinds or [roi.kind] * len(roi.polygons)
            drawn.ContourSequence = [
                _contour(polygon, kind) for polygon, kind in zip(roi.polygons, kinds, strict=True)
            ]
        names.append(name)
        contours.append(drawn)
    dataset.StructureSetROISequence = names
    dataset.ROIContourSequence = contours[::-1]
    referred, study, one = Dataset(), Dataset(), Dataset()
    one.SeriesInstanceUID = series
    one.ContourImageSequence = [Dataset() for _ in images]
    for image, kind in zip(one.ContourImageSequence, images, strict=True):
        image.ReferencedSOPClassUID = kind
    study.RTReferencedSeriesSequence = [one]
    referred.RTReferencedStudySequence = [study]
    dataset.ReferencedFrameOfReferenceSequence = [referred]
    return dataset


def dose_set(
    values: np.ndarray,
    affine: np.ndarray,
    frame: str = "1.2.3",
    plan: str = "1.2.5",
    offsets: np.ndarray | None = None,
    **fields: object,
) -> Dataset:
    """Return an RT dose of values (X, Y, Z) in Gy, whose third axis is normal to the planes."""
    lps = np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine
    sizes = np.linalg.norm(lps[:3, :3], axis=0)
    row, column, along = (lps[:3, :3] / sizes).T
    step = sizes[2] * np.sign(np.cross(row, column) @ along)
    dataset = Dataset()
    dataset.SOPClassUID, dataset.SOPInstanceUID = RTDOSE, generate_uid()
    dataset.Modality, dataset.PatientName, dataset.PatientID = "RTDOSE", "Doe^Jane", "MRN77"
    dataset.FrameOfReferenceUID = frame
    dataset.DoseUnits, dataset.DoseType, dataset.DoseSummationType = "GY", "PHYSICAL", "PLAN"
    dataset.ImageOrientationPatient = [f"{x:.10f}" for x in (*row, *column)]
    dataset.ImagePositionPatient = [f"{x:.8f}" for x in lps[:3, 3]]
    dataset.PixelSpacing = [f"{sizes[1]:.8f}", f"{sizes[0]:.8f}"]
    given = np.arange(values.shape[2]) * step if offsets is None else offsets
    dataset.GridFrameOffsetVector = [f"{x:.8f}" for x in given]
    dataset.FrameIncrementPointer = 0x3004000C
    dataset.DoseGridScaling = f"{max(float(values.max()), 1e-6) / 60000:.10e}"
    stored = np.rint(values.transpose(2, 1, 0) / float(dataset.DoseGridScaling))
    dataset.NumberOfFrames, dataset.Rows, dataset.Columns = stored.shape
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 16, 15
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.PixelRepresentation = 0
    dataset.PixelData = stored.astype("<u2").tobytes()
    referred = Dataset()
    referred.ReferencedSOPInstanceUID = plan
    dataset.ReferencedRTPlanSequence = [referred]
    for name, value in fields.items():
        setattr(dataset, name, value)
    return dataset


def _contour(polygon: np.ndarray, kind: str) -> Dataset:
    contour = Dataset()
    contour.ContourGeometricType = kind
    contour.NumberOfContourPoints = len(polygon)
    contour.ContourData = [f"{value:.4f}" for value in (polygon * LPS).ravel()]
    return contour


def write_dicom(path: Path, dataset: Dataset) -> Path:
    """Write a data set as a DICOM file, making the folder."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta = meta
    path.parent.mkdir(parents=True, exist_ok=True)
    pydicom.dcmwrite(path, dataset, enforce_file_format=True)
    return path


def ellipsoid(
    centre: Sequence[float],
    radii: Sequence[float],
    axes: np.ndarray | None = None,
    positions: np.ndarray | None = None,
    points: int = 90,
) -> list[np.ndarray]:
    """Return contours of an ellipsoid in planes along the third of its axes (rows, RAS mm).

    The planes are at `positions` along that axis from the origin; by default 1 mm apart.
    """
    frame = np.eye(3) if axes is None else axes
    middle = float(np.asarray(centre) @ frame[2])
    planes = np.arange(-200, 200.0) if positions is None else positions
    angle = np.linspace(0, 2 * np.pi, points, endpoint=False)
    polygons = []
    for position in planes:
        height = (position - middle) / radii[2]
        if abs(height) >= 1:
            continue
        size = np.sqrt(1 - height**2)
        flat = [radii[0] * size * np.cos(angle), radii[1] * size * np.sin(angle)]
        offset = np.outer(flat[0], frame[0]) + np.outer(flat[1], frame[1])
        polygons.append(np.asarray(centre) + (position - middle) * frame[2] + offset)
    return polygons


def write_seg_nrrd(
    path: Path, labels: np.ndarray, affine: np.ndarray, names: dict[int, str]
) -> Path:
    """Write a segmentation as 3D Slicer does: LPS, and with its segments in the header."""
    lps = np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine
    header: dict[str, object] = {
        "space": "left-posterior-superior",
        "space directions": lps[:3, :3].T,
        "space origin": lps[:3, 3],
        "kinds": ["domain"] * 3,
        "encoding": "gzip",
    }
    for number, (value, name) in enumerate(names.items()):
        header |= {
            f"Segment{number}_ID": f"Segment_{number}",
            f"Segment{number}_Name": name,
            f"Segment{number}_LabelValue": str(value),
            f"Segment{number}_Layer": "0",
        }
    path.parent.mkdir(parents=True, exist_ok=True)
    nrrd.write(str(path), labels.astype(np.uint8), header)
    return path
