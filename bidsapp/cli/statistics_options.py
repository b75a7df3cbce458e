"""Options of the group statistics, and the parser of ``metperf stats``."""

from argparse import ArgumentParser, Namespace, _ArgumentGroup
from pathlib import Path
from typing import TYPE_CHECKING

from bidsapp.cli.types import (
    NamedLabels,
    OneLineParser,
    add_former_name,
    existing_file,
    nonnegative_integer,
)

if TYPE_CHECKING:
    from bidsapp.study.tables import TrendOptions


def stats_parser() -> ArgumentParser:
    """Return the parser of ``metperf stats LESIONS.tsv OUT``."""
    made = OneLineParser(
        prog="metperf stats",
        description="Compute the group statistics from a table of lesions: one row per "
        "participant_id, lesion and session_id, with any of days_from_srs vp Ktrans ve ADC f "
        "volume_ml diameter_mm perpendicular_mm n_slices steroid_dose clinical_status excluded.",
        allow_abbrev=False,
    )
    made.add_argument("table", type=existing_file, help="the table of lesions")
    made.add_argument(
        "output_dir", type=Path, help="folder for tables, figures and the report page"
    )
    add_statistics(made)
    add_verbosity(made)
    return made


def add_statistics(made: ArgumentParser) -> _ArgumentGroup:
    """Add the options of the group statistics, which a study and a table have in common."""
    from bidsapp.models.parameters import FOLLOWED

    group = made.add_argument_group("group statistics")
    group.add_argument(
        "--timepoints",
        nargs="+",
        action=NamedLabels,
        metavar="NAME=LABEL",
        help="sessions to compare, in chronological order: by label, or by the first and last day "
        "after treatment, as in NAME=3:12 (default: the sessions baseline, 1week and 1month)",
    )
    table = group.add_argument(
        "--participants-table",
        type=existing_file,
        metavar="FILE",
        help="TSV in the form of participants.tsv with age, sex and so on, for the table of "
        "characteristics",
    )
    add_former_name(made, "--participants", table)
    group.add_argument(
        "--traits",
        dest="traits_table",
        type=existing_file,
        metavar="FILE",
        help="TSV with participant_id, lesion and characteristics of each lesion, such as its dose",
    )
    group.add_argument(
        "--repeats",
        nargs=2,
        metavar="LABEL",
        help="two sessions without change between them, from which repeatability is estimated",
    )
    group.add_argument(
        "--regress",
        nargs=2,
        default=["f", "vp"],
        choices=FOLLOWED,
        metavar=("Y", "X"),
        help="two parameters that the group level compares: regression of Y on X, "
        "limits of agreement, early change by response (default: f vp)",
    )
    _add_trends(group)
    group.add_argument(
        "--random-seed",
        "--random_seed",
        dest="seed",
        type=nonnegative_integer,
        default=0,
        metavar="N",
        help="seed of permutations and bootstrap (default: %(default)s)",
    )
    return group


def _add_trends(group: _ArgumentGroup) -> None:
    """Add the options of trends over all visits."""
    group.add_argument(
        "--covariate",
        default="",
        metavar="NAME[=GROUP]",
        help="a column of the tables of participants, traits or sessions (of metperf stats also of "
        "the table of lesions) by which trends over all visits may differ; a column of words is a "
        "grouping, whose other groups are compared with GROUP (default: the most frequent one)",
    )
    group.add_argument(
        "--trend",
        default="line",
        choices=("line", "step"),
        help="trends over all visits: a line from the day of treatment on, or a step at the "
        "treatment and a line (default: %(default)s)",
    )


def trend_options(options: Namespace) -> "TrendOptions":
    """Return the options of the trend model."""
    from bidsapp.study.tables import TrendOptions

    name, _, reference = options.covariate.partition("=")
    return TrendOptions(options.trend == "step", name, reference)


def add_verbosity(made: ArgumentParser | _ArgumentGroup) -> None:
    """Add ``--verbose``."""
    made.add_argument(
        "-v",
        "--verbose",
        dest="verbose_count",
        action="count",
        default=0,
        help="log more detail; may be repeated",
    )
