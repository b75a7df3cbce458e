"""Options of ``metperf slurm``: those of the cluster, and all options of a study."""

from argparse import SUPPRESS, ArgumentParser, Namespace
from pathlib import Path
from typing import Any

from bidsapp.cli.options import add_folders, add_options
from bidsapp.cli.slurm_scripts import DEPENDENCIES
from bidsapp.cli.types import OneLineParser, existing_file, positive_integer, sbatch_option

_OWN = {
    "participants",
    "skip_bids_validation",
    "work_dir",
    "nprocs",
    "memory_gb",
    "scripts_dir",
    "image",
    "sbatch",
    "minutes",
    "at_once",
    "dependency",
}
"""Options that the scripts set for each task."""


def slurm_parser() -> ArgumentParser:
    """Return the parser of ``metperf slurm bids_dir output_dir``."""
    made = OneLineParser(
        prog="metperf slurm",
        description="Write scripts for Slurm: an array job with one task per participant, and the "
        "group job after it. Every option of a study is passed on to the runs; --nprocs, --mem "
        "and --work-dir apply to one task.",
        allow_abbrev=False,
    )
    add_folders(made)
    group = made.add_argument_group("cluster")
    group.add_argument(
        "--scripts-dir",
        type=Path,
        metavar="FOLDER",
        help="folder for the scripts (default: output_dir/logs/slurm)",
    )
    group.add_argument(
        "--image",
        type=existing_file,
        metavar="FILE.sif",
        help="run in this Apptainer image (default: this installation)",
    )
    group.add_argument(
        "--sbatch",
        action="append",
        type=sbatch_option,
        default=[],
        metavar="OPTION",
        help="additional option of sbatch, with = as in --sbatch=--partition=long; may be repeated",
    )
    group.add_argument(
        "--minutes",
        type=positive_integer,
        metavar="N",
        help="time limit of one participant, min (default: three times the expected time)",
    )
    group.add_argument(
        "--at-once",
        type=positive_integer,
        metavar="N",
        help="maximum number of tasks that run at the same time (default: no limit)",
    )
    group.add_argument(
        "--dependency",
        choices=DEPENDENCIES,
        default=DEPENDENCIES[0],
        help="run the group level when all participants have ended (default), or only if none "
        "failed",
    )
    add_options(made)
    made.set_defaults(nprocs=2, memory_gb=0.0)
    return made


def run_words(made: ArgumentParser, options: Namespace) -> list[str]:
    """Return the options of each task as command-line arguments, with absolute paths.

    Parameters
    ----------
    made
        The parser from `slurm_parser`.
    options
        The parsed options.

    Examples
    --------
    >>> parser = slurm_parser()
    >>> run_words(parser, parser.parse_args(["b", "o", "--nprocs", "4", "--b-max", "800", "-vv"]))
    ['--b-max', '800.0', '--verbose', '--verbose']
    """
    words: list[str] = []
    for action in made._actions:
        if action.help is SUPPRESS:  # the former name of another option
            continue
        value = getattr(options, action.dest, action.default)
        if not action.option_strings or action.dest in _OWN or value == action.default:
            continue
        flag = next(name for name in action.option_strings if name.startswith("--"))
        if action.nargs == 0:
            words += [flag] * (1 if isinstance(value, bool) else value)
        else:
            words += [flag, *_texts(value)]
    return words


def _texts(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [f"{name}={text}" for name, text in value.items()]
    several = value if isinstance(value, list) else [value]
    return [str(v.resolve()) if isinstance(v, Path) else str(v) for v in several]
