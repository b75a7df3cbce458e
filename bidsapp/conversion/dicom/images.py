"""Images: one series converted by dcm2niix, and checked against the headers of its files."""

import json
import math
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from bidsapp.bids.clocks import since_first
from bidsapp.conversion.dicom.records import Series
from bidsapp.conversion.dicom.sidecar import volume_times
from bidsapp.conversion.dicom.timing import find_start
from bidsapp.conversion.dicom.verify import check_placement
from bidsapp.conversion.optional import load_package
from bidsapp.errors import BadInput

_SECONDS = 1200
"""Longest conversion of a series, s."""
_ASIDE = ("_ADC", "_TRACE")
"""Endings that dcm2niix gives to derived volumes which it separates from a series."""
_EQUAL = 1e-3


@dataclass(frozen=True)
class Converted:
    """A converted image: files in a temporary folder, its metadata, and remarks.

    `unverified` is why its voxels could not be compared with DICOM.
    """

    image: Path
    fields: dict[str, Any]
    times: list[float] = field(default_factory=list)
    source: str = ""
    warnings: tuple[str, ...] = ()
    unverified: str = ""

    def beside(self, extension: str) -> Path:
        """Return the file of the same name with another extension."""
        return self.image.with_suffix(extension)


def convert(series: Sequence[Series], use: str, folder: Path) -> Converted:
    """Convert the series of one image.

    Parameters
    ----------
    series
        One, or the single volumes of a dynamic series.
    use
        Their use.
    folder
        Temporary folder.

    Raises
    ------
    BadInput
        If dcm2niix fails, the image is not the one that the headers describe, or its values are
        scaled for display.
    """
    for one in series:
        _check_scaling(one, use)
    if len(series) > 1:
        return _join(series, use, folder)
    return _convert_one(series[0], use, folder)


def _convert_one(series: Series, use: str, folder: Path) -> Converted:
    """Convert one series."""
    if not series.complete:
        counts = sorted({len(ones) for ones in series.places.values()})
        raise BadInput(
            f"its slices have {' or '.join(map(str, counts))} images each: files are missing, or "
            "the series was stopped; export it again, or leave it out"
        )
    if use in ("dce", "t1w", "vfa") and series.echoes > 1:
        raise BadInput(f"it has {series.echoes} echo times; metperf needs a series of one echo")
    image, notes = run_dcm2niix(series.files, folder)
    volumes = _check_image(image, series)
    sidecar = image.with_suffix(".json")
    try:
        fields = json.loads(sidecar.read_bytes()) if sidecar.is_file() else {}
    except ValueError as error:
        raise BadInput(f"dcm2niix writes metadata that are no JSON ({error}): fields of the "
                       "headers are missing or damaged") from error  # fmt: skip
    if use == "dwi" and not image.with_suffix(".bval").is_file():
        raise BadInput("dcm2niix found no b-values in it")
    _check_philips(fields, use)
    unverified = check_placement(image, series, in_time=use == "dce")
    if use != "dce" or volumes < 2:
        return Converted(image, fields, warnings=tuple(notes), unverified=unverified)
    times, source, doubt = volume_times(series, volumes)
    if doubt:
        notes.append(f"times of the frames are not known ({doubt}); give --frame-time to the run")
    _write_interval(image, times)
    return Converted(image, fields, times, source, tuple(notes), unverified)


def run_dcm2niix(files: Sequence[Path], folder: Path) -> tuple[Path, list[str]]:
    """Convert the files of a series, and return the image with remarks.

    Parameters
    ----------
    files
        DICOM files.
    folder
        For links to the files, without their names, and for the image.

    Raises
    ------
    UsageError
        If dcm2niix is not installed.
    BadInput
        If it fails, or makes several images.
    """
    program = load_package("dcm2niix", "conversions of DICOM").bin
    source, target = folder / "dicom", folder / "nifti"
    for place in (source, target):
        place.mkdir(parents=True)
    for number, path in enumerate(files):
        link = source / f"{number:06d}"
        try:
            link.symlink_to(path.resolve())
        except OSError:  # a file system without links
            shutil.copyfile(path, link)
    options = ["-b", "y", "-ba", "y", "-z", "n", "-x", "i", "-g", "i"]
    options += ["-f", "image", "-o", str(target)]
    try:
        done = subprocess.run(  # noqa: S603 - the program of the wheel
            [program, *options, str(source)],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BadInput(f"dcm2niix cannot convert it ({error})") from error
    found = sorted(target.glob("*.nii"))
    aside = [image for image in found if image.stem.endswith(_ASIDE)]
    images = [image for image in found if image not in aside]
    if done.returncode or not images:
        lines = (done.stdout + done.stderr).splitlines()
        said = [[line for line in lines if word in line][-3:] for word in ("rror", "arning")]
        why = "; ".join(said[0] or said[1]) or f"exit code {done.returncode}"
        linked = re.compile(re.escape(f"{source}/") + r"(\d{6})")
        why = linked.sub(lambda found: str(files[int(found[1])]), why)
        raise BadInput(f"dcm2niix cannot convert it ({why})")
    if len(images) > 1:
        shapes = (nib.load(image).shape for image in images)
        texts = ", ".join(f"{i.stem} {s}" for i, s in zip(images, shapes, strict=True))
        raise BadInput(f"dcm2niix makes {len(images)} images of it: {texts}; leave it out, or "
                       "export it as series of one image each")  # fmt: skip
    notes = [f"{image.stem.partition('_')[2]} volumes in it were left out" for image in aside]
    return images[0], notes


def _check_image(image: Path, series: Series) -> int:
    """Refuse an image of another size than the headers state; return its number of volumes."""
    shape = nib.load(image).shape
    volumes = shape[3] if len(shape) > 3 else 1
    if series.mosaic:
        return volumes
    stated = (*series.matrix, len(series.places))
    if sorted(shape[:3]) != sorted(stated):
        raise BadInput(f"the image has {shape[:3]} voxels, but the headers state {stated}")
    if series.echoes == 1 and volumes > series.volumes:
        raise BadInput(f"the image has {volumes} volumes, but the headers state {series.volumes}")
    return volumes


def _check_scaling(series: Series, use: str) -> None:
    """Refuse Philips images whose scale for display cannot be undone where values are compared."""
    if not series.manufacturer.upper().startswith("PHILIPS"):
        return
    rescale = [s.scaling[0] for s in series.slices]
    scale = [s.scaling[1] for s in series.slices]
    unknown = any(math.isnan(s) or s <= 0 for s in scale)
    if use == "vfa" and unknown:
        raise BadInput(
            "it is scaled for display, and lacks the scale slope (2005,100E) that undoes it, so "
            "that its values cannot be compared with those at other flip angles; export it from "
            "the scanner with private fields"
        )
    if use in ("dce", "dwi") and unknown and np.ptp(rescale) > _EQUAL * max(rescale):
        raise BadInput(
            "the scale for display changes within the series (rescale slopes "
            f"{min(rescale):g} to {max(rescale):g}), and it lacks the scale slope (2005,100E) "
            "that undoes it; export it from the scanner with private fields"
        )
    if use == "t1map" and not unknown:
        product = [r * s for r, s in zip(rescale, scale, strict=True)]
        if any(abs(p - 1) > _EQUAL for p in product):
            raise BadInput(
                f"its rescale and scale slope ({rescale[0]:g}, {scale[0]:g}) give two values for "
                "each voxel, and nothing states which is T1; convert it by hand"
            )


def _check_philips(fields: dict[str, Any], use: str) -> None:
    """Refuse an image in which dcm2niix has not undone the scaling for display."""
    slope = fields.get("PhilipsScaleSlope")
    if use == "vfa" and slope and not fields.get("UsePhilipsFloatNotDisplayScaling"):
        raise BadInput("dcm2niix has not undone its scaling for display")


def _write_interval(image: Path, times: Sequence[float]) -> None:
    """Write the mean time between two volumes into the header: that of dcm2niix may be TR."""
    header = nib.load(image).header
    interval = times[-1] / (len(times) - 1) if len(times) > 1 else 0.0
    header["pixdim"][4] = interval
    header.set_xyzt_units("mm", "sec")
    with image.open("r+b") as stream:  # the fields alone: nibabel clears scaling and offset
        for name in ("pixdim", "xyzt_units"):
            stream.seek(header.structarr.dtype.fields[name][1])
            stream.write(header.structarr[name].tobytes())


def _join(series: Sequence[Series], use: str, folder: Path) -> Converted:
    """Convert series of one volume each, and join their images in order of time."""
    starts = [find_start(one) for one in series]
    if use != "dce" or any(one.volumes != 1 for one in series):
        raise BadInput("several series can only be joined if each is one volume of a DCE series")
    known = [start for start in starts if start is not None]
    if len(known) < len(series) or len(set(known)) < len(series):
        raise BadInput("the headers do not state when each of its volumes was acquired")
    ordered = sorted(zip(since_first(known), series, strict=True), key=lambda pair: pair[0])
    parts = [_convert_one(one, use, folder / f"{n:04d}") for n, (_, one) in enumerate(ordered)]
    loaded = [nib.load(part.image) for part in parts]
    first = loaded[0]
    for other in loaded:
        if other.shape != first.shape or not np.allclose(other.affine, first.affine, atol=_EQUAL):
            raise BadInput("its volumes do not have the same grid; choose those of one series")
    data = np.stack([np.asanyarray(other.dataobj) for other in loaded], axis=-1)
    kept = data.astype(np.float32) if data.dtype.kind == "f" else data
    image = folder / "joined.nii"
    joined = nib.Nifti1Image(kept, first.affine, first.header)
    joined.header.set_data_dtype(kept.dtype)
    joined.header.set_slope_inter(1, 0)
    nib.save(joined, image)
    times = [start for start, _ in ordered]
    _write_interval(image, times)
    warnings = tuple(dict.fromkeys(text for part in parts for text in part.warnings))
    source = "AcquisitionTime of each series"
    return Converted(image, parts[0].fields, times, source, warnings, parts[0].unverified)
