"""Checks of the input and output folders before a run."""

import os
import tempfile
from pathlib import Path

from bidsapp.config import Config
from bidsapp.errors import NothingToAnalyse, NotWritable


def check_folders(config: Config) -> None:
    """Raise an error if a folder of the run cannot be read or written."""
    check_bids_dir(config)
    for folder in (config.output_dir, config.work_dir):
        check_writable(folder)


def check_bids_dir(config: Config) -> None:
    """Raise an error if the data set does not exist."""
    if not config.bids_dir.is_dir():
        raise NothingToAnalyse(f"{config.bids_dir}: bids_dir is not a folder; is it mounted?")


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
