"""What DICOM headers state: frozen records of slices, files, series and studies."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path


@dataclass(frozen=True)
class Slice:
    """One slice of a volume: a file of classic DICOM, or a frame of an enhanced one.

    A mosaic of Siemens, which holds a whole volume, counts as one slice.

    Attributes
    ----------
    normal : tuple of float
        Unit vector across the slice, rounded.
    position : float, mm
        Position along `normal`, rounded.
    order
        Temporal position, if stated, and number of the instance.
    times : mapping of str to float, s
        The field that states a time -> the time; those of day are since midnight.
    b_value : float, s/mm2, optional
        b-value, where one is stated.
    echo_time : float, ms, optional
        Echo time.
    scaling : tuple of float
        Rescale slope, and Philips' scale slope (2005,100E), NaN where not stated.
    path, frame
        The file, and the number of the frame in it, from 0.
    """

    normal: tuple[float, ...] = ()
    position: float = 0.0
    order: tuple[int, int] = (0, 0)
    times: Mapping[str, float] = field(default_factory=dict)
    b_value: float | None = None
    echo_time: float | None = None
    scaling: tuple[float, float] = (float("nan"), float("nan"))
    path: Path = Path()
    frame: int = 0


@dataclass(frozen=True)
class Patient:
    """Who was examined: used to group studies, and never written to the data set.

    Attributes
    ----------
    key
        Identifier, or else the name, or else the UID of the study.
    name
        Name, for the key file.
    words
        Texts that identify the patient, the examination or the hospital.
    """

    key: str
    name: str = ""
    words: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Header:
    """What the header of one file states.

    Attributes
    ----------
    path
        The file.
    study, series, instance
        UIDs of the study, the series and the file; the last may be empty.
    patient
        Who was examined.
    date
        Of the study, ``YYYYMMDD``; empty if unknown.
    modality
        Such as ``MR``, ``RTPLAN``.
    number
        Of the series.
    treated
        Date of a treatment or of its plan, ``YYYYMMDD``, in RT objects.
    frame_of_reference
        Its UID.
    image_type
        Words of ImageType.
    values
        Acquisition: the fields that `Series` describes; empty if another file of the series has
        them.
    slices
        Slices of the file; none if it is not an image.
    """

    path: Path
    study: str
    series: str
    patient: Patient
    date: str
    modality: str
    number: int
    treated: str = ""
    instance: str = ""
    frame_of_reference: str = ""
    image_type: tuple[str, ...] = ()
    values: Mapping[str, object] = field(default_factory=dict)
    slices: tuple[Slice, ...] = ()


@dataclass(frozen=True)
class Series:
    """A series of MR images.

    Attributes
    ----------
    study, number, files
        UID of its study, its number, and its files.
    description
        Its name on the scanner, without what identifies the patient.
    manufacturer
        As in DICOM.
    image_type, sequence
        Words of ImageType; words of ScanningSequence, SequenceVariant and the name of the sequence.
    acquisition
        ``2D``, ``3D`` or empty.
    repetition_time, inversion_time : float, ms; optional
    flip_angle : float, degrees; optional
    matrix : tuple of int
        Columns and rows.
    voxel : tuple of float, mm
        Distance of columns, rows and slices.
    mosaic
        Whether each file holds the slices of a volume side by side.
    agent
        Fields of the sidecar on contrast agent and dose.
    slices
        All slices.
    frame_of_reference
        Its UID; empty if unknown.
    words
        Texts that identify the patient, the examination or the hospital.
    """

    study: str
    number: int
    files: tuple[Path, ...]
    description: str
    manufacturer: str
    image_type: tuple[str, ...]
    sequence: str
    acquisition: str
    repetition_time: float | None
    inversion_time: float | None
    flip_angle: float | None
    matrix: tuple[int, int]
    voxel: tuple[float, float, float]
    mosaic: bool
    agent: Mapping[str, str | float]
    slices: tuple[Slice, ...]
    frame_of_reference: str = ""
    words: frozenset[str] = frozenset()

    @cached_property
    def places(self) -> dict[tuple[tuple[float, ...], float], list[Slice]]:
        """Slices by their place, each in order of time."""
        found: dict[tuple[tuple[float, ...], float], list[Slice]] = {}
        for one in self.slices:
            found.setdefault((one.normal, one.position), []).append(one)
        return {place: sorted(ones, key=lambda s: s.order) for place, ones in found.items()}

    @property
    def orientations(self) -> int:
        """Number of orientations of its slices."""
        return len({normal for normal, _ in self.places})

    @cached_property
    def echoes(self) -> int:
        """Number of echo times."""
        return len({s.echo_time for s in self.slices})

    @property
    def volumes(self) -> int:
        """Number of volumes: that of the slices at the same place."""
        return max((len(ones) for ones in self.places.values()), default=0)

    @property
    def complete(self) -> bool:
        """Whether there are as many slices at all places."""
        return len({len(ones) for ones in self.places.values()}) == 1

    @property
    def b_values(self) -> list[float]:
        """Distinct b-values, ascending, s/mm2; slices without one among others have b = 0."""
        stated = {s.b_value for s in self.slices}
        known = {b for b in stated if b is not None}
        return sorted(known | {0.0} if known and None in stated else known)


@dataclass(frozen=True)
class Study:
    """The series of one study of a patient, and the dates of RT objects in it.

    Attributes
    ----------
    uid
        Of the study.
    patient
        Who was examined.
    date
        ``YYYYMMDD``; empty if unknown.
    series
        Of MR images.
    """

    uid: str
    patient: Patient
    date: str
    series: tuple[Series, ...]
