"""Checks of the input and output folders before a run."""

import os
import tempfile
from itertools import islice
from pathlib import Path

from bidsapp.config import Config
from bidsapp.errors import NothingToAnalyse, NotWritable

_SEARCHED = 500
"""Number of files in which DICOM is sought."""


def check_folders(config: Config) -> None:
    """Raise an error if a folder of the run cannot be read or written."""
    check_bids_dir(config.bids_dir)
    for folder in (config.output_dir, config.work_dir):
        check_writable(folder)


def check_bids_dir(bids_dir: Path) -> None:
    """Raise an error if the data set does not exist, or the folder is something else.

    Raises
    ------
    NothingToAnalyse
        If it is not a folder, that of one participant, one above the data set, or DICOM.
    """
    if not bids_dir.is_dir():
        raise NothingToAnalyse(f"{bids_dir}: bids_dir is not a folder; is it mounted?")
    name, data_set = bids_dir.resolve().name, bids_dir.resolve().parent
    if name.startswith("sub-"):
        raise NothingToAnalyse(
            f"{bids_dir} is the folder of one participant; give the data set, {data_set}, and "
            f"--participant-label {name.removeprefix('sub-')}"
        )
    if any(bids_dir.glob("sub-*")):
        return
    if name.startswith("ses-") and data_set.name.startswith("sub-"):
        raise NothingToAnalyse(
            f"{bids_dir} is the folder of one session; give the data set, {data_set.parent}, with "
            f"--participant-label and --session-label {name.removeprefix('ses-')}"
        )
    if below := sorted(path.parent for path in bids_dir.glob("*/dataset_description.json")):
        raise NothingToAnalyse(f"{bids_dir} has no participants (sub-*); did you mean {below[0]}?")
    if dicom := _find_dicom(bids_dir):
        raise NothingToAnalyse(
            f"{bids_dir} contains DICOM ({dicom.relative_to(bids_dir)}); convert it to BIDS first: "
            "metperf prepare DICOM BIDS"
        )


def _find_dicom(folder: Path) -> Path | None:
    """Return a DICOM file among the first files in a folder and in its folders, or None."""
    files = (Path(place, name) for place, _, names in os.walk(folder) for name in sorted(names))
    return next((path for path in islice(files, _SEARCHED) if _is_dicom(path)), None)


def _is_dicom(path: Path) -> bool:
    """Return whether a file has the mark of DICOM after its preamble."""
    try:
        with path.open("rb") as stream:
            return stream.read(132)[128:] == b"DICM"
    except OSError:
        return False


def check_writable(folder: Path) -> None:
    """Create a folder, and raise an error if it is not writable."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise NotWritable(f"{folder}: cannot be written ({error.strerror})") from error


def check_temporary_folder(instead: Path | None) -> None:
    """Use another folder for temporary files if that of the system is not writable.

    Raises
    ------
    NotWritable
        If no folder for temporary files can be written.
    """
    try:
        tempfile.gettempdir()
    except FileNotFoundError as error:
        if instead is None:
            raise NotWritable(
                "no temporary folder can be written; mount one (--tmpfs /tmp) or set TMPDIR"
            ) from error
        folder = instead / "tmp"
        folder.mkdir(exist_ok=True)
        tempfile.tempdir = os.environ["TMPDIR"] = str(folder)
        os.environ["MPLCONFIGDIR"] = str(folder / "matplotlib")
