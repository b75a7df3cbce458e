"""The command line: from arguments to a Config, and from errors to exit codes."""

import logging
import os
import shlex
import signal
import sys
import time
import uuid
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bidsapp.bids import documents
from bidsapp.cli.conclusion import conclude
from bidsapp.cli.diffusion_options import check_diffusion
from bidsapp.cli.folders import (
    check_bids_dir,
    check_folders,
    check_temporary_folder,
    check_writable,
)
from bidsapp.cli.model_options import check_models
from bidsapp.cli.options import study_parser
from bidsapp.cli.participant_level import log_issues, run_participant_level, select_labels
from bidsapp.cli.phantom_options import phantom_parser
from bidsapp.cli.statistics_options import stats_parser, trend_options
from bidsapp.cli.suggestions import did_you_mean, mistaken_command, mistaken_order
from bidsapp.config import AIF_MEASURED, ROIS, Config
from bidsapp.errors import (
    MetperfError,
    NothingToAnalyse,
    UnknownLevel,
)
from bidsapp.issues import Issue
from bidsapp.run.engine.signals import raise_on_signals

if TYPE_CHECKING:
    from bidsapp.study.tables import GroupResult

LEVELS = ("participant", "group")
_LOG = logging.getLogger("metperf")


def main(argv: Sequence[str] | None = None) -> int:
    """Run metperf and return its exit code.

    Parameters
    ----------
    argv
        The arguments without the name of the program; default: those of ``sys.argv``.

    Returns
    -------
    int
        0 if everything requested was done; `bidsapp.errors` lists the others.
    """
    os.environ["OPENBLAS_NUM_THREADS"] = "1"  # fits are parallelised otherwise: --omp-nthreads
    words = list(sys.argv[1:] if argv is None else argv)
    parser, run = COMMANDS.get(words[0] if words else "", (study_parser, _study))
    made = parser()
    if run is _study and (mistake := mistaken_command(words, COMMANDS, LEVELS)):
        made.error(mistake)
    options = made.parse_args(words if run is _study else words[1:])
    options.command = shlex.join(("metperf", *words))
    _set_up_logging(options.verbose_count)
    try:
        with raise_on_signals():
            code = run(made, options)
    except MetperfError as error:
        _LOG.error("%s", error)
        code = error.exit_code
    except KeyboardInterrupt as stop:
        number = stop.args[0] if stop.args else signal.SIGINT
        _LOG.error(
            "stopped by %s: completed results are kept; run the same command again to continue",
            signal.Signals(number).name,
        )
        code = 128 + number
    return code


def _set_up_logging(verbosity: int) -> None:
    level = max(logging.INFO - 5 * verbosity, logging.DEBUG)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
    _LOG.handlers[:] = [handler]
    _LOG.setLevel(level)
    _LOG.propagate = False


def _phantom(parser: ArgumentParser, options: Namespace) -> int:
    """Write a phantom data set."""
    from bidsapp.phantom import write_phantom

    check_temporary_folder(None)
    write_phantom(
        options.output_dir,
        participants=options.n_participants,
        cohort=options.cohort,
        resolution=options.resolution,
        seed=options.seed,
        snr=options.snr,
        vfa=options.vfa,
        vfa_motion=options.vfa_motion,
        fmap=options.fmap,
        uneven=options.uneven_lesions,
        veins=options.veins,
        roi_error=options.roi_error,
        retest=options.retest,
        dose=options.dose,
        nprocs=options.nprocs,
        progress=_LOG.info,
    )
    _LOG.info("The phantom is in %s", options.output_dir)
    return 0


def _study(parser: ArgumentParser, options: Namespace) -> int:
    """Run the requested levels, one after the other."""
    levels = options.analysis_level
    if mistake := mistaken_order(options.bids_dir, options.output_dir, levels, LEVELS):
        parser.error(mistake)
    for level in levels:
        if level not in LEVELS:
            raise UnknownLevel(
                f"there is no analysis level {level!r}; use {' or '.join(LEVELS)}"
                + did_you_mean(level, LEVELS)
            )
    config = _config(parser, options)
    check_folders(config)
    check_temporary_folder(config.work_dir)
    os.environ["OMP_NUM_THREADS"] = str(config.omp_nthreads)
    codes = []
    if "participant" in levels:
        codes.append(run_participant_level(config, options))
    if "group" in levels and options.dry_run:
        _LOG.info("The group level would analyse the tables in %s", config.output_dir)
    elif "group" in levels:
        codes.append(_group_level(config, options))
    return max(codes, default=0)


def _config(parser: ArgumentParser, options: Namespace) -> Config:
    """Return the Config of the run, with checks beyond those of argparse."""
    names = {f for f in Config.__dataclass_fields__ if hasattr(options, f)}
    settings = {n: getattr(options, n) for n in names}
    bids_dir, output_dir = options.bids_dir.resolve(), options.output_dir.resolve()
    work_dir = (options.work_dir or output_dir / ".work").resolve()
    if output_dir == bids_dir:
        parser.error(
            "output_dir is bids_dir; choose another, for example "
            f"{bids_dir / 'derivatives' / 'metperf'}"
        )
    inside = output_dir.relative_to(bids_dir).parts if output_dir.is_relative_to(bids_dir) else ()
    if inside and inside[0].startswith("sub-"):
        parser.error(f"output_dir {output_dir} is inside the raw data of {inside[0]}")
    check_models(parser, options)
    check_diffusion(parser, options)
    if options.aif_scale != "none" and options.aif not in AIF_MEASURED:
        parser.error(
            f"--aif-scale {options.aif_scale} scales a measured artery, and needs --aif roi or "
            f"--aif auto, not {options.aif}"
        )
    spaces = _output_spaces(parser, options)
    if options.work_dir and work_dir.is_relative_to(bids_dir):
        parser.error(f"--work-dir {work_dir} is inside bids_dir")
    derivatives = options.derivatives or [bids_dir / "derivatives" / "manual_masks"]
    settings |= {
        "bids_dir": bids_dir,
        "output_dir": output_dir,
        "work_dir": work_dir,
        "derivatives": tuple(d.resolve() for d in derivatives if options.derivatives or d.is_dir()),
        "participants": tuple(x.removeprefix("sub-") for x in options.participants or ()),
        "sessions": tuple(x.removeprefix("ses-") for x in options.sessions or ()),
        "output_spaces": spaces,
        "rois": tuple(dict.fromkeys((*ROIS, *options.rois))),
        "model_options": tuple(sorted(options.model_options.items())),
        "run_id": f"{time.strftime('%Y%m%d-%H%M%S')}_{uuid.uuid4()}",
    }
    for folder in settings["derivatives"]:
        if not folder.is_dir():
            parser.error(f"--derivatives {folder} is not a folder")
    return Config(**settings)


def _output_spaces(parser: ArgumentParser, options: Namespace) -> tuple[str, ...]:
    """Return the output spaces; refuse those that would require a second interpolation."""
    if options.fit_space == "native":
        return tuple(options.output_spaces or Config.output_spaces)
    if options.roi_space == "native":
        parser.error("--roi-space native needs --fit-space native: there are no native maps")
    if "native" in (options.output_spaces or ()):
        parser.error("--output-spaces native needs --fit-space native: there are no native maps")
    return tuple(options.output_spaces or ["T1w"])


def _group_level(config: Config, options: Namespace) -> int:
    """Run the group statistics on the tables of the participants."""
    from bidsapp.run.group import run_group

    result = run_group(
        config.output_dir,
        participants=_participants_table(config, options),
        lesion_values=options.lesion_values,
        ratings=options.ratings,
        **_statistics(options),
    )
    return _report_group(result, config.output_dir)


def _statistics(options: Namespace) -> dict[str, Any]:
    """Return what a study and a table have in common."""
    from bidsapp.study.tables import ParameterPair

    y, x = options.regress
    return {
        "timepoints": options.timepoints,
        "traits": options.traits_table,
        "repeats": tuple(options.repeats) if options.repeats else None,
        "seed": options.seed,
        "pair": ParameterPair(x, y),
        "trend": trend_options(options),
    }


def _participants_table(config: Config, options: Namespace) -> Path | None:
    """Return the participants table given as an option, or that of the data set, or None."""
    own = config.bids_dir / "participants.tsv"
    return options.participants_table or (own if own.is_file() else None)


def _stats(parser: ArgumentParser, options: Namespace) -> int:
    """Run the group statistics on a single table of lesions."""
    from bidsapp.run.group import run_stats

    check_writable(options.output_dir)
    check_temporary_folder(options.output_dir)
    result = run_stats(
        options.table,
        options.output_dir,
        participants=options.participants_table,
        **_statistics(options),
    )
    return _report_group(result, options.output_dir)


def _recovery(parser: ArgumentParser, options: Namespace) -> int:
    """Put known changes into the series of finished runs, and measure what is recovered."""
    from bidsapp.recovery.recovery import Visits
    from bidsapp.run.recovery.participant import Request
    from bidsapp.run.recovery.run import find_participants, recover

    bids_dir, output_dir = options.bids_dir.resolve(), options.output_dir.resolve()
    check_bids_dir(bids_dir)
    wanted = [label.removeprefix("sub-") for label in options.participants or ()]
    labels = find_participants(output_dir, wanted)
    check_writable(output_dir)
    check_temporary_folder(None)
    request = Request(
        bids_dir=bids_dir,
        output_dir=output_dir,
        derivatives=tuple(folder.resolve() for folder in options.derivatives or ()),
        sessions=tuple(label.removeprefix("ses-") for label in options.sessions or ()),
        changes=tuple(options.changes),
        visits=Visits(
            repeats=options.n_visits,
            seed=(options.seed,),
            edge_error=options.edge_error,
            noise=options.noise_factor,
            moved=not options.same_position,
        ),
    )
    issues: list[Issue] = []
    pages = []
    for number, label in enumerate(labels, 1):
        _LOG.info("sub-%s (%d of %d)", label, number, len(labels))
        found = recover(label, request, _LOG.info)
        log_issues(found.issues)
        issues += found.issues
        pages += [found.page] if found.page else []
    return conclude(issues, pages)


def _prepare(parser: ArgumentParser, options: Namespace) -> int:
    """Write a data set from DICOM."""
    from bidsapp.cli.prepare_options import convert_dicom

    if not options.dicom_dir.is_dir():
        raise NothingToAnalyse(f"{options.dicom_dir}: dicom_dir is not a folder; is it mounted?")
    if options.dicom_dir.resolve() == options.bids_dir.resolve():
        parser.error(f"{options.bids_dir} is the folder of DICOM; choose another for the data set")
    check_writable(options.bids_dir)
    check_temporary_folder(None)
    issues = convert_dicom(options, _LOG.info)
    log_issues(issues)
    return conclude(issues, [])


def _rois(parser: ArgumentParser, options: Namespace) -> int:
    """Write ROIs from contours and masks of other programs."""
    from bidsapp.cli.contour_options import convert_contours

    check_bids_dir(options.bids_dir)
    check_temporary_folder(None)
    issues = convert_contours(parser, options, _LOG.info)
    log_issues(issues)
    return conclude(issues, [])


def _check(parser: ArgumentParser, options: Namespace) -> int:
    """List what a data set lacks; nothing is written."""
    from bidsapp.cli.check import run_check

    options.output_dir = options.bids_dir / "derivatives" / "metperf"
    check_bids_dir(options.bids_dir)
    config = _config(parser, options)
    return run_check(config, as_json=options.json, validated=not options.skip_bids_validation)


def _slurm(parser: ArgumentParser, options: Namespace) -> int:
    """Write the scripts of an array job and of the group job."""
    from bidsapp.bids.validate import validate
    from bidsapp.cli.slurm_options import run_words
    from bidsapp.cli.slurm_scripts import plan_jobs, write_jobs

    config = _config(parser, options)
    check_bids_dir(config.bids_dir)
    labels = select_labels(config)
    jobs = plan_jobs(config, labels, options, run_words(parser, options))
    for place in (config.output_dir, jobs.folder):
        check_writable(place)
    if not options.skip_bids_validation:
        _LOG.info("Validating %s once for all tasks", config.bids_dir)
        validate(config.bids_dir, config.participants)
    write_jobs(jobs, config)
    _LOG.info("%d participants; resources for each: %s", len(labels), jobs.participant)
    _LOG.info("Check the scripts, then submit them with %s", jobs.folder / "submit.sh")
    return 0


def _report_group(result: "GroupResult", output_dir: Path) -> int:
    """Log problems, warnings and notes of the group level; return 1 if the result is incomplete."""
    issues = [Issue("note", text) for text in result.notes]
    issues += [Issue("warning", text) for text in result.cohort.warnings]
    issues += [Issue("failed", text) for text in result.problems]
    levels = {"failed": logging.ERROR, "warning": logging.WARNING}
    for issue in issues:
        _LOG.log(levels.get(issue.level, logging.INFO), "%s", issue)
    return conclude(issues, [documents.GROUP_PAGE.path(output_dir)])


def _check_parser() -> ArgumentParser:
    from bidsapp.cli.check import check_parser

    return check_parser()


def _slurm_parser() -> ArgumentParser:
    from bidsapp.cli.slurm_options import slurm_parser

    return slurm_parser()


def _recovery_parser() -> ArgumentParser:
    from bidsapp.cli.recovery_options import recovery_parser

    return recovery_parser()


def _prepare_parser() -> ArgumentParser:
    from bidsapp.cli.prepare_options import prepare_parser

    return prepare_parser()


def _rois_parser() -> ArgumentParser:
    from bidsapp.cli.contour_options import contour_parser

    return contour_parser()


COMMANDS: dict[
    str, tuple[Callable[[], ArgumentParser], Callable[[ArgumentParser, Namespace], int]]
] = {
    "check": (_check_parser, _check),
    "phantom": (phantom_parser, _phantom),
    "prepare": (_prepare_parser, _prepare),
    "recovery": (_recovery_parser, _recovery),
    "rois": (_rois_parser, _rois),
    "slurm": (_slurm_parser, _slurm),
    "stats": (stats_parser, _stats),
}
"""First argument -> its parser and function; any other first argument runs a study."""


if __name__ == "__main__":
    sys.exit(main())
