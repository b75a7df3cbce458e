"""Options of the phantom."""

import os
from argparse import ArgumentParser
from pathlib import Path

from bidsapp.cli.statistics_options import add_verbosity
from bidsapp.cli.types import (
    OneLineParser,
    add_former_name,
    existing_file,
    nonnegative_integer,
    nonnegative_number,
    positive_integer,
    positive_number,
)


def phantom_parser() -> ArgumentParser:
    """Return the parser of ``metperf phantom OUT``."""
    made = OneLineParser(
        prog="metperf phantom",
        description="Write a BIDS data set of brain metastases with known perfusion.",
        allow_abbrev=False,
    )
    made.add_argument("output_dir", type=Path, help="folder for the data set")
    number = made.add_argument(
        "--n-participants",
        type=positive_integer,
        metavar="N",
        help="number of participants (default: 3, or all of --cohort)",
    )
    add_former_name(made, "--participants", number)
    made.add_argument(
        "--cohort",
        type=existing_file,
        metavar="FILE",
        help="table of lesions to simulate (default: random lesions)",
    )
    made.add_argument(
        "--resolution",
        choices=("paper", "fast"),
        default="fast",
        help="voxel sizes and matrix: as published, or coarse (default: %(default)s)",
    )
    made.add_argument(
        "--seed",
        type=nonnegative_integer,
        default=0,
        metavar="N",
        help="seed of the random numbers (default: %(default)s)",
    )
    made.add_argument(
        "--snr",
        type=positive_number,
        default=40.0,
        help="signal-to-noise ratio of white matter at b = 0 (default: %(default)g)",
    )
    _add_series(made)
    _add_imperfections(made)
    made.add_argument(
        "--nprocs",
        type=positive_integer,
        default=len(os.sched_getaffinity(0)),
        help="cores to use (default: all available)",
    )
    add_verbosity(made)
    return made


def _add_series(made: ArgumentParser) -> None:
    """Add the options that add images."""
    made.add_argument("--vfa", action="store_true", help="add images at several flip angles")
    made.add_argument(
        "--vfa-motion",
        type=nonnegative_number,
        default=0.0,
        metavar="MM",
        help="largest shift (mm) and rotation (degrees) of the head between each of these images "
        "and the DCE (default: %(default)g)",
    )
    made.add_argument(
        "--fmap", action="store_true", help="add a b = 0 image with reversed phase encoding"
    )
    made.add_argument(
        "--dose",
        action="store_true",
        help="add a map of the dose of radiosurgery to the first session: 20 Gy at the edges of "
        "the lesions",
    )


def _add_imperfections(made: ArgumentParser) -> None:
    """Add the options that make lesions and their ROIs less ideal."""
    made.add_argument(
        "--uneven-lesions",
        action="store_true",
        help="vary perfusion within the enhancing rim of a lesion, around the values of the table",
    )
    made.add_argument("--veins", action="store_true", help="add veins that pass the lesions")
    made.add_argument(
        "--roi-error",
        type=nonnegative_number,
        default=0.0,
        metavar="MM",
        help="standard deviation by which the outer edges of ROIs are displaced, as by a reader "
        "(default: %(default)g)",
    )
    made.add_argument(
        "--retest",
        action="store_true",
        help="repeat the first session after a day as ses-retest, without change of the lesions",
    )
