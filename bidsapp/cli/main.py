"""The command line: arguments to a Config, errors to exit codes."""

import logging
import os
import re
import signal
import sys
import time
import uuid
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bidsapp.cli.folders import (
    check_bids_dir,
    check_folders,
    check_temporary_folder,
    check_writable,
)
from bidsapp.cli.model_options import check_models
from bidsapp.cli.options import phantom_parser, stats_parser, study_parser
from bidsapp.config import Config, version
from bidsapp.errors import (
    BadInput,
    MetperfError,
    NothingSelected,
    NothingToAnalyse,
    NotWritable,
    UnknownLevel,
    WorkerKilled,
)
from bidsapp.run.engine.signals import stoppable

if TYPE_CHECKING:
    from bidsapp.bids.query import Query
    from bidsapp.bids.records import Participant
    from bidsapp.study.tables import GroupResult

LEVELS = ("participant", "group")
_LOG = logging.getLogger("metperf")


def main(argv: Sequence[str] | None = None) -> int:
    """Run metperf and return its exit code.

    Parameters
    ----------
    argv
        The command line without the program's name; ``sys.argv`` without it.

    Returns
    -------
    int
        0 when all that was asked for is done; `bidsapp.errors` lists the others.
    """
    os.environ["OPENBLAS_NUM_THREADS"] = "1"  # fits use threads of their own: --omp-nthreads
    words = list(sys.argv[1:] if argv is None else argv)
    parser, run = COMMANDS.get(words[0] if words else "", (study_parser, _study))
    made = parser()
    options = made.parse_args(words if run is _study else words[1:])
    _set_up_logging(options.verbose_count)
    try:
        with stoppable():
            code = run(made, options)
    except MetperfError as error:
        _LOG.error("%s", error)
        code = error.exit_code
    except KeyboardInterrupt as stop:
        number = stop.args[0] if stop.args else signal.SIGINT
        _LOG.error(
            "stopped by %s: what is finished is kept; run the same command again to go on",
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
        participants=options.participants,
        cohort=options.cohort,
        resolution=options.resolution,
        seed=options.seed,
        snr=options.snr,
        vfa=options.vfa,
        fmap=options.fmap,
        nprocs=options.nprocs,
        progress=_LOG.info,
    )
    _LOG.info("The phantom is in %s", options.output_dir)
    return 0


def _study(parser: ArgumentParser, options: Namespace) -> int:
    """Run the levels that were asked for, one after the other."""
    levels = options.analysis_level
    for level in levels:
        if level not in LEVELS:
            raise UnknownLevel(f"there is no analysis level {level!r}; use {' or '.join(LEVELS)}")
    config = _config(parser, options)
    check_folders(config)
    check_temporary_folder(config.work_dir)
    os.environ["OMP_NUM_THREADS"] = str(config.omp_nthreads)
    codes = []
    if "participant" in levels:
        codes.append(_participant_level(config, options))
    if "group" in levels:
        codes.append(_group_level(config, options))
    return max(codes, default=0)


def _config(parser: ArgumentParser, options: Namespace) -> Config:
    """Make the run's Config, checking what argparse cannot."""
    names = {f for f in Config.__dataclass_fields__ if hasattr(options, f)}
    given = {n: getattr(options, n) for n in names}
    bids_dir, output_dir = options.bids_dir.resolve(), options.output_dir.resolve()
    work_dir = (options.work_dir or output_dir / ".work").resolve()
    if output_dir == bids_dir:
        parser.error(
            "output_dir is bids_dir; choose another, for example "
            f"{bids_dir / 'derivatives' / 'metperf'}"
        )
    inside = output_dir.relative_to(bids_dir).parts if output_dir.is_relative_to(bids_dir) else ()
    if inside and inside[0].startswith("sub-"):
        parser.error(f"output_dir {output_dir} lies among the raw data of {inside[0]}")
    check_models(parser, options)
    spaces = _output_spaces(parser, options)
    if options.work_dir and work_dir.is_relative_to(bids_dir):
        parser.error(f"--work-dir {work_dir} lies inside bids_dir")
    derivatives = options.derivatives or [bids_dir / "derivatives" / "manual_masks"]
    given |= {
        "bids_dir": bids_dir,
        "output_dir": output_dir,
        "work_dir": work_dir,
        "derivatives": tuple(d.resolve() for d in derivatives if options.derivatives or d.is_dir()),
        "participants": tuple(x.removeprefix("sub-") for x in options.participants or ()),
        "sessions": tuple(x.removeprefix("ses-") for x in options.sessions or ()),
        "output_spaces": spaces,
        "model_options": tuple(sorted(options.model_options.items())),
        "run_id": f"{time.strftime('%Y%m%d-%H%M%S')}_{uuid.uuid4()}",
    }
    for folder in given["derivatives"]:
        if not folder.is_dir():
            parser.error(f"--derivatives {folder} is no folder")
    return Config(**given)


def _output_spaces(parser: ArgumentParser, options: Namespace) -> tuple[str, ...]:
    """Return where maps are written; refuse what would take a second interpolation."""
    if options.fit_space == "native":
        return tuple(options.output_spaces or Config.output_spaces)
    if options.roi_space == "native":
        parser.error("--roi-space native needs --fit-space native: there are no native maps")
    if "native" in (options.output_spaces or ()):
        parser.error("--output-spaces native needs --fit-space native: there are no native maps")
    return tuple(options.output_spaces or ["T1w"])


def _participant_level(config: Config, options: Namespace) -> int:
    """Analyse the participants selected, one after the other; tell what became of each."""
    from bidsapp.bids.derivatives import describe_dataset
    from bidsapp.bids.query import Query, read_filters
    from bidsapp.bids.validate import validate
    from bidsapp.reports.methods import methods
    from bidsapp.run.engine import progress
    from bidsapp.run.participant import check_config, run_participant

    if options.reports_only:
        return _rebuild(config)
    if options.boilerplate_only:
        describe_dataset(config.output_dir, config.bids_dir, version(), methods(config))
        _LOG.info("The methods are in %s", config.output_dir / "logs" / "CITATION.md")
        return 0
    labels = _select(config)
    if not options.skip_bids_validation:
        _LOG.info("Validating %s", config.bids_dir)
        validate(config.bids_dir, labels)
    filters = read_filters(config.filter_file) if config.filter_file else None
    query = Query(config.bids_dir, config.derivatives, filters, labels)
    participants, failed = _records(query, labels, config)
    check_config(participants, config)
    if not any(s.diffusion or s.dynamic or s.whole for p in participants for s in p.sessions):
        problems = [text for p in participants for s in p.sessions for text in s.problems]
        problems += [f"sub-{label} cannot be read" for label in failed]
        raise NothingToAnalyse(
            "\n".join(["no usable DWI, no usable DCE series and no lesion ROI", *problems])
        )
    if options.dry_run:
        return _describe(participants, failed, config)
    describe_dataset(config.output_dir, config.bids_dir, version(), methods(config))
    outcomes = []
    with progress(len(participants), _LOG) as told:
        for participant in participants:
            told.participant(participant.id)
            outcomes.append(run_participant(participant, config, told))
            for text in outcomes[-1].warnings:
                _LOG.warning("%s: warning: %s", participant.id, text)
            for text in outcomes[-1].failures:
                _LOG.error("%s: %s", participant.id, text)
    failed += [o.participant for o in outcomes if o.failures]
    _LOG.info("%d of %d participants without failure", len(labels) - len(failed), len(labels))
    reasons = {
        WorkerKilled.exit_code: (
            "a worker was killed",
            [o.participant for o in outcomes if o.killed],
        ),
        NotWritable.exit_code: (
            "there was no room on the disk",
            [o.participant for o in outcomes if o.full],
        ),
    }
    return _exit_code(failed, reasons)


def _exit_code(failed: Sequence[str], reasons: Mapping[int, tuple[str, Sequence[str]]]) -> int:
    """Say who failed, and what of it may go well another time; return that as an exit code."""
    codes = [code for code, (_, labels) in reasons.items() if labels]
    code = max(codes, default=1 if failed else 0)
    if failed:
        _LOG.error("exit %d: failures in %s", code, ", ".join(f"sub-{f}" for f in failed))
    for what, labels in reasons.values():
        if labels:
            _LOG.error("%s in %s", what, ", ".join(f"sub-{label}" for label in labels))
    return code


def _describe(participants: Sequence["Participant"], failed: Sequence[str], config: Config) -> int:
    """Print what a run would find and do, for ``--dry-run``; 1 if a part of it would fail."""
    from bidsapp.run.participant import describe

    lines = [line for participant in participants for line in describe(participant, config)]
    print("\n".join(lines))
    return 1 if failed or any(line.startswith("    failed: ") for line in lines) else 0


def _records(
    query: "Query", labels: Sequence[str], config: Config
) -> tuple[list["Participant"], list[str]]:
    """Return the participants' records, and the labels of those whose tables cannot be read."""
    participants, failed = [], []
    for label in labels:
        try:
            participants.append(query.participant(label, config.sessions))
        except BadInput as error:
            _LOG.error("sub-%s: %s", label, error)
            failed.append(label)
    return participants, failed


def _select(config: Config) -> list[str]:
    """Return the labels to analyse; an unknown label or session is an error.

    Those named are looked up one by one: thousands of others cost no question to the disk.
    """
    pattern = re.compile(r"^sub-[a-zA-Z0-9+]+$")
    named = {f"sub-{label}" for label in config.participants}
    if named and all(pattern.match(n) and (config.bids_dir / n).is_dir() for n in named):
        return sorted(name.removeprefix("sub-") for name in named)
    with os.scandir(config.bids_dir) as entries:
        folders = sorted(e.name for e in entries if pattern.match(e.name) and e.is_dir())
    labels = [name.removeprefix("sub-") for name in folders]
    unknown = [p for p in config.participants if p not in labels]
    if unknown:
        raise NothingSelected(
            f"{config.bids_dir} has no participant {', '.join(unknown)}; "
            f"it has {', '.join(labels[:20])}{' ...' if len(labels) > 20 else ''}"
        )
    if not labels:
        raise NothingSelected(f"{config.bids_dir} has no participant (no folder sub-*)")
    return labels


def _rebuild(config: Config) -> int:
    """Build the pages of the participants that have results again."""
    from bidsapp.reports.participant.page import build_participant_page

    found = sorted(p.name.removeprefix("sub-") for p in config.output_dir.glob("sub-*/"))
    chosen = [x for x in found if not config.participants or x in config.participants]
    absent = [x for x in config.participants if x not in found]
    if absent:
        raise NothingSelected(f"{config.output_dir} has no results of {', '.join(absent)}")
    if not chosen:
        raise NothingToAnalyse(f"{config.output_dir}: no participant results to report on")
    for label in chosen:
        _LOG.info("%s", build_participant_page(config.output_dir, label))
    return 0


def _group_level(config: Config, options: Namespace) -> int:
    """Run the statistics on the participants' tables."""
    from bidsapp.run.group import run_group

    result = run_group(
        config.output_dir,
        options.timepoints,
        participants=_participants_table(config, options),
        traits=options.traits_table,
        repeats=tuple(options.repeats) if options.repeats else None,
        seed=options.seed,
    )
    return _tell(result, config.output_dir)


def _participants_table(config: Config, options: Namespace) -> Path | None:
    """Return the table that was named, or the data set's own where there is one."""
    own = config.bids_dir / "participants.tsv"
    return options.participants_table or (own if own.is_file() else None)


def _stats(parser: ArgumentParser, options: Namespace) -> int:
    """Run the statistics on a table that someone filled in."""
    from bidsapp.run.group import run_stats

    check_writable(options.output_dir)
    check_temporary_folder(options.output_dir)
    result = run_stats(
        options.table,
        options.output_dir,
        options.timepoints,
        participants=options.participants_table,
        traits=options.traits_table,
        repeats=tuple(options.repeats) if options.repeats else None,
        seed=options.seed,
    )
    return _tell(result, options.output_dir)


def _slurm(parser: ArgumentParser, options: Namespace) -> int:
    """Write the scripts of an array job and of the group job."""
    from bidsapp.bids.validate import validate
    from bidsapp.cli.slurm_options import run_words
    from bidsapp.cli.slurm_scripts import plan, write_jobs

    config = _config(parser, options)
    check_bids_dir(config)
    labels = _select(config)
    jobs = plan(config, labels, options, run_words(parser, options))
    for place in (config.output_dir, jobs.folder):
        check_writable(place)
    if not options.skip_bids_validation:
        _LOG.info("Validating %s, so that no task has to", config.bids_dir)
        validate(config.bids_dir, config.participants)
    write_jobs(jobs, config)
    _LOG.info("%d participants; each asks for %s", len(labels), jobs.participant)
    _LOG.info("Look at the scripts, then start them with %s", jobs.folder / "submit.sh")
    return 0


def _tell(result: "GroupResult", output_dir: Path) -> int:
    """Log what a reader must know; 1 if the result is incomplete."""
    for text in result.notes:
        _LOG.info("%s", text)
    for text in result.problems:
        _LOG.error("%s", text)
    _LOG.info("The group report is %s", output_dir / "group.html")
    return 1 if result.problems else 0


def _slurm_parser() -> ArgumentParser:
    from bidsapp.cli.slurm_options import slurm_parser

    return slurm_parser()


COMMANDS: dict[
    str, tuple[Callable[[], ArgumentParser], Callable[[ArgumentParser, Namespace], int]]
] = {
    "phantom": (phantom_parser, _phantom),
    "slurm": (_slurm_parser, _slurm),
    "stats": (stats_parser, _stats),
}
"""First word of the command line -> its parser and what it runs; without one, a study is run."""


if __name__ == "__main__":
    sys.exit(main())
