"""Write derivatives atomically: tables, sidecars, images, the description of the data set."""

import csv
import gzip
import io
import json
import math
import os
import shutil
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import nibabel as nib

from bidsapp.bids import documents, outputs
from bidsapp.errors import NotWritable

PART = ".part-"
"""Prefix of the names of unfinished files."""
COMPRESSION = 1
"""Level of gzip: higher ones take up to three times longer for 2 % smaller images."""
_TEXTS = ("data_type", "db_name", "descrip", "aux_file", "intent_name")
"""Text fields of a NIfTI header."""
_IGNORE = """\
*.html
figures
log
*_shift.*
*_xfm.*
*_dwimap.*
*_dce.*
*_dcemap.*
*_dosemap.*
*_dwiref.*
*_dceref.*
*_roistats.*
*_timeseries.*
*_quality.*
sub-*_lesions.*
*_desc-preproc_dwi.bval
*_desc-preproc_dwi.bvec
**/perf/*_mask.*
**/perf/*_dseg.*
**/perf/*_probseg.*
group_*
"""


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file atomically, and create its folder.

    Parameters
    ----------
    path
        Path of the file.
    content
        Content of the file.

    Raises
    ------
    NotWritable
        If the folder or the file cannot be written.
    """
    _place(path, lambda part: part.write_bytes(content))


def copy_file(source: Path, target: Path) -> None:
    """Copy a file atomically, and create its folder.

    Raises
    ------
    NotWritable
        If the folder or the file cannot be written.
    """
    _place(target, lambda part: shutil.copyfile(source, part))


def compress_image(source: Path, target: Path) -> None:
    """Write a compressed copy of an image atomically, without the texts in its header.

    Text fields and extensions of the header may contain names and dates from DICOM; they are
    blank in the copy. The same content always gives the same bytes. An image that is compressed and
    has neither texts in its header nor a name or a time in that of gzip is copied.

    Raises
    ------
    NotWritable
        If the folder or the file cannot be written.
    """
    image = nib.load(source)
    fields, begins = image.header.structarr.dtype.fields, image.header.structarr.dtype.itemsize
    spans = [(fields[n][1], fields[n][0].itemsize) for n in _TEXTS if n in fields]
    offset = int(image.dataobj.offset)
    if source.suffix == ".gz" and _is_anonymous(source, [*spans, (begins, offset - begins)]):
        copy_file(source, target)
        return

    def compress(part: Path) -> None:
        unpack: Any = gzip.open if source.suffix == ".gz" else open
        with (
            unpack(source, "rb") as raw,
            part.open("wb") as stream,
            gzip.GzipFile("", "wb", COMPRESSION, stream, mtime=0) as packed,
        ):
            head = bytearray(raw.read(offset))
            for start, size in [*spans, (begins, len(head) - begins)]:
                head[start : start + size] = bytes(size)
            packed.write(head)
            shutil.copyfileobj(raw, packed, 1 << 20)

    _place(target, compress)


def _is_anonymous(path: Path, spans: Iterable[tuple[int, int]]) -> bool:
    """Return whether a compressed image has no name, time or text: gzip's flags and time are 0."""
    with path.open("rb") as stream:
        if any(stream.read(8)[3:]):
            return False
    with gzip.open(path) as raw:
        head = raw.read(max(start + size for start, size in spans))
    return not any(any(head[start : start + size]) for start, size in spans)


def _place(path: Path, fill: Any) -> None:
    """Write a temporary file in the folder of the target, flush it to disk, and rename it."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(prefix=PART, dir=path.parent)
        part = Path(name)
        try:
            fill(part)
            os.fsync(descriptor)
            umask = os.umask(0)
            os.umask(umask)
            part.chmod(0o666 & ~umask)
            part.replace(path)
        finally:
            os.close(descriptor)
            part.unlink(missing_ok=True)
    except OSError as error:
        raise NotWritable(f"{path}: cannot be written ({error.strerror or error})") from error


def to_json(content: Mapping[str, Any]) -> bytes:
    """Return JSON with sorted keys; numbers that are not finite become null."""
    clean = {k: _finite(v) for k, v in content.items()}
    text = json.dumps(clean, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False)
    return (text + "\n").encode()


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {k: _finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(v) for v in value]
    return value


def to_tsv(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> bytes:
    r"""Return a TSV table; missing and non-finite values are ``n/a``.

    Examples
    --------
    >>> to_tsv(["lesion", "mean"], [{"lesion": 1, "mean": 0.25}, {"lesion": 2, "mean": None}])
    b'lesion\tmean\n1\t0.25\n2\tn/a\n'
    """
    stream = io.StringIO(newline="")
    writer = csv.writer(stream, delimiter="\t", lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([[_cell(row.get(c)) for c in columns] for row in rows])
    return stream.getvalue().encode()


def _cell(value: Any) -> str:
    if value is None:
        return "n/a"
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, float):
        return f"{value:.7g}" if math.isfinite(value) else "n/a"
    return str(value)


def describe_dataset(output_dir: Path, bids_dir: Path, version: str, citation: str) -> None:
    """Write the files at the root of the derivatives, with the same content in every run.

    Parameters
    ----------
    output_dir, bids_dir
        The derivatives and the raw data.
    version
        Version of metperf.
    citation
        The methods text, Markdown.
    """
    container = os.environ.get("METPERF_CONTAINER")
    generator: dict[str, Any] = {"Name": "metperf", "Version": version}
    if container:
        kind = "apptainer" if os.environ.get("APPTAINER_CONTAINER") else "docker"
        generator["Container"] = {"Type": kind, "Tag": container}
    description = {
        "Name": "metperf: perfusion of brain tumours (IVIM and DCE)",
        "BIDSVersion": "1.10.0",
        "DatasetType": "derivative",
        "GeneratedBy": [generator],
        "DatasetLinks": {"raw": link_to_raw(bids_dir, output_dir)},
        "SourceDatasets": [{"URL": link_to_raw(bids_dir, output_dir)}],
    }
    write_bytes(output_dir / "dataset_description.json", to_json(description))
    write_bytes(output_dir / ".bidsignore", _IGNORE.encode())
    write_bytes(output_dir / "README.md", _read_me().encode())
    write_bytes(documents.METHODS.path(output_dir), citation.encode())


def link_to_raw(bids_dir: Path, output_dir: Path) -> str:
    """Return the location of the raw data: relative if they contain the derivatives, else a URL."""
    raw, derived = bids_dir.resolve(), output_dir.resolve()
    if derived.is_relative_to(raw):
        return os.path.relpath(raw, derived)
    return raw.as_uri()


def _read_me() -> str:
    """Return the text that lists and explains the files in the output folder."""
    kinds = [
        *((one.pattern(), one.description) for one in documents.DOCUMENTS),
        *((one.pattern(), one.description) for one in outputs.OUTPUTS),
    ]
    return "".join([_README, *(f"| `{pattern}` | {content} |\n" for pattern, content in kinds)])


_README = """\
# Derivatives of metperf

Maps from IVIM and DCE-MRI, their values in lesions, and group statistics.

Maps are in the space of their series and, as `space-T1w`, in that of the session's T1w; their
sidecars (JSON) give unit, model and sources. Voxels with a failed fit are NaN; the `status` map
gives the reason (0 fitted, 1 at a bound, 2 not identifiable, 3 unusable signal). Each table has a
JSON file that describes its columns. A transform `from-A_to-B` resamples image A to the grid of B;
with `--distortion`, `from-dwi` transforms apply to the undistorted DWI, and must be combined with
the `shift`.

| file | content |
|---|---|
"""
