"""A folder of DICOM: all its files, grouped into studies and series."""

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bidsapp.conversion.dicom.headers import read_header
from bidsapp.conversion.dicom.records import Header, Series, Study
from bidsapp.conversion.optional import collect_warnings
from bidsapp.conversion.personal import remove_personal
from bidsapp.errors import MetperfError, NothingToAnalyse

_ARCHIVES = (".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".7z", ".rar")
ARCHIVES = "archives: unpack them"
NO_DICOM = "files without the mark of DICOM"
_CODES = frozenset(
    ["SE", "IR", "GR", "EP", "RM", "SK", "MTC", "SS", "TRSS", "SP", "MP", "OSP", "NONE"]
)
"""Terms of ScanningSequence and SequenceVariant: never a name, whatever the patient's is."""
_PAUSE = 5.0
"""Time between two lines on the progress, s."""
_DOSE = ("ContrastBolusVolume", "ContrastBolusTotalDose")


@dataclass(frozen=True)
class Scanned:
    """What a folder of DICOM contains.

    Attributes
    ----------
    studies
        Studies with MR images, by date.
    treated
        Patient -> dates of treatment in RT objects, ``YYYYMMDD``.
    others
        Number of files that are no MR images, by modality; `ARCHIVES`, `NO_DICOM`.
    problems
        Files that cannot be read.
    """

    studies: tuple[Study, ...]
    treated: dict[str, set[str]]
    others: dict[str, int]
    problems: tuple[str, ...]


def scan_folder(folder: Path, report: Callable[[str], None]) -> Scanned:
    """Read the headers of all files of a folder.

    Parameters
    ----------
    folder
        With DICOM files at any depth and of any name.
    report
        Takes a line of text on the progress.

    Raises
    ------
    NothingToAnalyse
        If there is no MR image.
    """
    headers: list[Header] = []
    problems: list[str] = []
    known: set[tuple[str, str]] = set()
    unread: dict[str, int] = {}
    files, said = _files(folder, problems), time.monotonic()
    for count, path in enumerate(files, 1):
        try:
            with collect_warnings():
                header = read_header(path, known)
        except MetperfError:
            raise
        except OSError as error:
            problems.append(f"{path}: cannot be read ({error.strerror or error})")
            continue
        except Exception as error:  # pydicom raises errors of many kinds on damaged files
            problems.append(f"{path}: is damaged ({error}); copy or export it again")
            continue
        if header:
            headers.append(header)
            known |= {(header.study, header.series)} if header.values else set()
        else:
            what = ARCHIVES if path.name.lower().endswith(_ARCHIVES) else NO_DICOM
            unread[what] = unread.get(what, 0) + 1
        if time.monotonic() - said > _PAUSE:
            report(f"{count} of {len(files)} files read")
            said = time.monotonic()
    scanned = group_headers(headers, problems)
    scanned.others.update(unread)
    if not scanned.studies:
        found = [f"it has {', '.join(f'{n} {m}' for m, n in scanned.others.items())}"]
        found = [*(found if scanned.others else []), *scanned.problems[:3]]
        raise NothingToAnalyse(f"{folder}: has no DICOM files of MR images; {'; '.join(found)}")
    return scanned


def _files(folder: Path, problems: list[str]) -> list[Path]:
    """Return all files, sorted, except those that are no DICOM by their name.

    Links to folders are followed; a folder that cannot be read is added to the problems.
    """

    def refuse(error: OSError) -> None:
        problems.append(f"{error.filename}: cannot be read ({error.strerror})")

    found, seen = [], set[str]()
    for place, folders, names in os.walk(folder, onerror=refuse, followlinks=True):
        real = os.path.realpath(place)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders.sort()
        for name in sorted(names):
            path = Path(place, name)
            other = name.upper() == "DICOMDIR" or name.startswith("._")  # the latter of macOS
            if not (other or name.endswith((".nii", ".nii.gz", ".json"))) and (
                path.is_file() or path.is_symlink()
            ):
                found.append(path)
    return found


def group_headers(headers: Sequence[Header], problems: Sequence[str] = ()) -> Scanned:
    """Return the studies with their series.

    Parameters
    ----------
    headers
        Of all files.
    problems
        Files that could not be read.
    """
    by_study: dict[str, dict[str, list[Header]]] = {}
    treated: dict[str, set[str]] = {}
    others: dict[str, int] = {}
    for one in headers:
        if one.slices:
            by_study.setdefault(one.study, {}).setdefault(one.series, []).append(one)
        else:
            others[one.modality or "unknown"] = others.get(one.modality or "unknown", 0) + 1
        if one.treated and one.patient.key:
            treated.setdefault(one.patient.key, set()).add(one.treated)
    studies, damaged = [], list(problems)
    for uid, by_series in by_study.items():
        first = next(iter(by_series.values()))[0]
        people = {one.patient.key for own in by_series.values() for one in own}
        if not uid or len(people) > 1:
            why = f"has files of {len(people)} patients" if uid else "has no StudyInstanceUID"
            damaged.append(
                f"{first.path}: its study {why} and is not used; export it again, or correct the "
                "headers"
            )
            continue
        series = []
        for own in by_series.values():
            try:
                series.append(make_series(own))
            except (TypeError, ValueError, ArithmeticError) as error:
                damaged.append(f"{own[0].path}: its header is damaged ({error}); export it again")
        if not series:
            continue
        in_order = sorted(series, key=lambda s: (s.number, s.slices[0].order))
        studies.append(Study(uid, first.patient, first.date, tuple(in_order)))
    studies.sort(key=lambda s: (s.date, s.patient.key, s.uid))
    return Scanned(tuple(studies), treated, others, tuple(damaged))


def make_series(headers: Sequence[Header]) -> Series:
    """Return the record of a series from the headers of its files."""
    first = next(one for one in headers if one.values)
    headers = _only_once(headers)
    fields: dict[str, Any] = dict(first.values)
    words = first.patient.words
    name = str(fields.get("SeriesDescription") or fields.get("ProtocolName") or "")
    image_type = _image_type(headers, str(fields.get("ComplexImageComponent") or ""))
    spacing = [float(v) for v in fields.get("PixelSpacing") or (0.0, 0.0)]
    gap = fields.get("SpacingBetweenSlices") or fields.get("SliceThickness") or 0.0
    return Series(
        study=first.study,
        number=first.number,
        files=tuple(one.path for one in headers),
        description=" ".join(remove_personal(name, words).split()),
        manufacturer=str(fields.get("Manufacturer") or ""),
        image_type=tuple(remove_personal(word, words) for word in image_type),
        sequence=_sequence(fields, words),
        acquisition=str(fields.get("MRAcquisitionType") or ""),
        repetition_time=_number(fields.get("RepetitionTime")),
        inversion_time=_number(fields.get("InversionTimes") or fields.get("InversionTime")),
        flip_angle=_number(fields.get("FlipAngle")),
        matrix=(int(fields["Columns"]), int(fields["Rows"])),
        voxel=(spacing[1], spacing[0], float(gap)),
        mosaic=bool(fields["mosaic"]),
        agent=_agent(fields, words),
        slices=tuple(s for one in headers for s in one.slices),
        frame_of_reference=first.frame_of_reference,
        words=words,
    )


def _only_once(headers: Sequence[Header]) -> list[Header]:
    """Return the headers without copies of the same slices, in the order of their instances."""
    found: dict[object, Header] = {}
    for one in headers:
        own = (one.instance, *((s.normal, s.position, s.order) for s in one.slices))
        other = found.setdefault(own, one)
        if other is not one and one.path.stat().st_size > other.path.stat().st_size:
            found[own] = one  # the other copy is truncated
    return sorted(found.values(), key=lambda h: h.slices[0].order)


def _image_type(headers: Sequence[Header], component: str) -> tuple[str, ...]:
    """Return the words of ImageType in the order of the files, each once."""
    words = (word for kind in dict.fromkeys(h.image_type for h in headers) for word in kind)
    return tuple(dict.fromkeys(filter(None, (*words, component))))


def _sequence(fields: dict[str, Any], words: frozenset[str]) -> str:
    """Return the codes and the name of a sequence; ``EP`` and ``GR`` for enhanced DICOM, too."""
    codes = list(fields["ScanningSequence"])
    if not codes:
        kind = str(fields.get("EchoPulseSequence") or "").upper()
        codes += [{"GRADIENT": "GR", "SPIN": "SE", "BOTH": "GR"}.get(kind, kind)]
    if fields.get("EchoPlanarPulseSequence") == "YES" and "EP" not in codes:
        codes.append("EP")
    name = str(fields.get("SequenceName") or fields.get("PulseSequenceName") or fields["GE"] or "")
    # Siemens adds b-value and direction to the name of each image: *ep_b50#3
    plain = name.partition("#")[0].rstrip("0123456789tr") if "_b" in name else name
    texts = [*codes, *fields["SequenceVariant"], plain]
    return " ".join(t if t in _CODES else remove_personal(t, words) for t in texts if t)


def _agent(fields: dict[str, Any], words: frozenset[str]) -> dict[str, str | float]:
    """Return the fields of the sidecar on the contrast agent."""
    found: dict[str, str | float] = {}
    for name in ("ContrastBolusAgent", "ContrastBolusIngredient"):
        if text := str(fields.get(name) or "").strip():
            found[name] = remove_personal(text, words)
    for name in _DOSE:
        if (dose := _number(fields.get(name))) is not None and dose > 0:
            found[name] = dose
    return found


def _number(value: Any) -> float | None:
    """Return a number, the first of a list, or None."""
    if value is not None and not isinstance(value, str) and hasattr(value, "__len__"):
        value = value[0] if len(value) else None
    try:
        return None if value is None else float(value)
    except ValueError:
        return None
