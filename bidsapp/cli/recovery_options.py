"""Options of ``metperf recovery``."""

from argparse import ArgumentParser, ArgumentTypeError
from typing import TYPE_CHECKING

from bidsapp.cli.options import add_folders
from bidsapp.cli.statistics_options import add_verbosity
from bidsapp.cli.types import (
    OneLineParser,
    derivative_folder,
    nonnegative_integer,
    nonnegative_number,
    several,
)
from bidsapp.errors import UsageError

if TYPE_CHECKING:
    from bidsapp.recovery.changes import Change


def recovery_parser() -> ArgumentParser:
    """Return the parser of ``metperf recovery bids_dir output_dir``."""
    made = OneLineParser(
        prog="metperf recovery",
        description="Put known changes into the lesions of series that the participant level has "
        "analysed, repeat the analysis in simulated visits, and write how much of each change is "
        "recovered and which change can be detected.",
        allow_abbrev=False,
    )
    add_folders(made)
    _add_selection(made)
    _add_simulation(made)
    add_verbosity(made)
    return made


def _add_selection(made: ArgumentParser) -> None:
    group = made.add_argument_group("what to simulate")
    group.add_argument(
        "--participant-label",
        dest="participants",
        nargs="+",
        metavar="LABEL",
        help="participants, with or without sub- (default: all with results)",
    )
    group.add_argument(
        "--session-label",
        dest="sessions",
        nargs="+",
        metavar="LABEL",
        help="sessions, with or without ses- (default: the first with lesion values)",
    )
    group.add_argument(
        "-d",
        "--derivatives",
        nargs="+",
        type=derivative_folder,
        metavar="[NAME=]PATH",
        help="folders with your ROIs (default: those of the run)",
    )
    from bidsapp.recovery.changes import DEFAULT_CHANGES

    usual = " ".join(f"{c.parameter}={c.percent:g}" for c in DEFAULT_CHANGES)
    group.add_argument(
        "--changes",
        nargs="+",
        type=change,
        default=list(DEFAULT_CHANGES),
        metavar="NAME=PERCENT",
        help="changes, one at a time, in percent of the value of each lesion (default: "
        f"{usual})".replace("%", "%%"),
    )


def _add_simulation(made: ArgumentParser) -> None:
    from bidsapp.recovery.recovery import Visits

    usual = Visits()
    group = made.add_argument_group("how visits differ")
    group.add_argument(
        "--n-visits",
        type=several,
        default=usual.repeats,
        metavar="N",
        help="number of simulated visits, at least 2 (default: %(default)s)",
    )
    group.add_argument(
        "--edge-error",
        type=nonnegative_number,
        default=usual.edge_error,
        metavar="MM",
        help="standard deviation of the position of the edge of an ROI between visits "
        "(default: %(default)s)",
    )
    group.add_argument(
        "--noise-factor",
        type=nonnegative_number,
        default=usual.noise,
        metavar="FACTOR",
        help="noise relative to that of the series (default: %(default)s)",
    )
    group.add_argument(
        "--same-position",
        action="store_true",
        help="keep the head at its position in the voxel grid, instead of moving it by up to half "
        "a voxel along each axis",
    )
    group.add_argument(
        "--random-seed",
        dest="seed",
        type=nonnegative_integer,
        default=0,
        metavar="N",
        help="seed of noise, positions and edges (default: %(default)s)",
    )


def change(text: str) -> "Change":
    """Return the change in NAME=PERCENT."""
    from bidsapp.recovery.changes import parse_change

    try:
        return parse_change(text)
    except UsageError as error:
        raise ArgumentTypeError(str(error)) from error
