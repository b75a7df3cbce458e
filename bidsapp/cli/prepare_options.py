"""Options of ``metperf prepare``."""

from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from bidsapp.cli.statistics_options import add_verbosity
from bidsapp.cli.types import OneLineParser

if TYPE_CHECKING:
    from bidsapp.issues import Issue


def prepare_parser() -> ArgumentParser:
    """Return the parser of ``metperf prepare dicom_dir bids_dir``."""
    made = OneLineParser(
        prog="metperf prepare",
        description="Write a BIDS data set from a folder of DICOM. The first run writes two tables "
        "into bids_dir/code/prepare: what each kind of series is used for, and the labels of each "
        "study; check them, then run the same command again, which converts with dcm2niix. A "
        "later run adds what is new. Nothing that identifies a patient is written to the data set.",
        allow_abbrev=False,
    )
    made.add_argument("dicom_dir", type=Path, help="folder of DICOM files, at any depth")
    made.add_argument("bids_dir", type=Path, help="the data set, new or from an earlier run")
    made.add_argument(
        "--treatment-date",
        default="",
        metavar="DATE",
        help="day of the treatment (YYYY-MM-DD) if there is one patient, else a table (.tsv) with "
        "the columns patient (PatientID) and date; only days since then are written (default: "
        "that of an RT treatment record, plan or dose in dicom_dir)",
    )
    made.add_argument(
        "--key",
        type=Path,
        metavar="FILE",
        help="write who is who into this table (.tsv) outside bids_dir, and recognise patients by "
        "it whose earlier DICOM files are no longer in dicom_dir",
    )
    made.add_argument(
        "--yes", action="store_true", help="accept all proposals in the tables without a check"
    )
    made.add_argument(
        "--overwrite", action="store_true", help="replace images that exist (default: keep them)"
    )
    add_verbosity(made)
    return made


def convert_dicom(options: Namespace, report: Callable[[str], None]) -> list["Issue"]:
    """Write the data set that the options describe, and return the issues."""
    from bidsapp.conversion.dicom.prepare import Request, prepare
    from bidsapp.conversion.dicom.tables import FOLDER
    from bidsapp.run.engine.locks import exclusive_lock

    request = Request(
        options.dicom_dir.resolve(),
        options.bids_dir.resolve(),
        options.treatment_date,
        options.key,
        accept=options.yes,
        overwrite=options.overwrite,
    )
    with exclusive_lock(request.bids_dir / FOLDER / ".lock", report):
        return prepare(request, report)
