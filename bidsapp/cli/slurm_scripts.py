"""Scripts for Slurm: an array job with one task per participant, and the group job after it."""

import re
import shlex
import sysconfig
from argparse import Namespace
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.resources import files
from math import ceil
from pathlib import Path

from bidsapp.bids.derivatives import write_bytes
from bidsapp.config import Config
from bidsapp.errors import UsageError
from bidsapp.run.resources import measured, memory_of_participant

DEPENDENCIES = ("afterany", "afterok")
_DATA = files("bidsapp.data")


@dataclass(frozen=True)
class Resources:
    """Resources requested for one task.

    Attributes
    ----------
    cpus
        Number of cores.
    memory_mb
        Memory of the whole task.
    minutes
        Time limit.
    """

    cpus: int
    memory_mb: int
    minutes: int

    def __str__(self) -> str:
        return (
            f"{self.cpus} core{'s' * (self.cpus > 1)}, {self.memory_mb} MB, {self.minutes} minutes"
        )


@dataclass(frozen=True)
class Jobs:
    """Settings of the scripts.

    Attributes
    ----------
    folder
        Folder of the scripts, with logs and lists.
    participants
        Labels without ``sub-``, in the order of the tasks.
    options
        Command-line arguments of every task.
    participant, group
        Resources of the tasks and of the group job.
    image
        Apptainer image; None to run this installation.
    work_dir
        Shared folder for intermediate files; None for a folder on the node.
    sbatch
        Additional options of sbatch, such as ``--partition=long``.
    at_once
        Maximum number of simultaneous tasks; None for no limit.
    dependency
        Start of the group job: ``afterany`` when all tasks have ended, ``afterok`` only if none
        failed.
    """

    folder: Path
    participants: Sequence[str]
    options: Sequence[str]
    participant: Resources
    group: Resources
    image: Path | None = None
    work_dir: Path | None = None
    sbatch: Sequence[str] = ()
    at_once: int | None = None
    dependency: str = DEPENDENCIES[0]


def required_resources(sessions: int, cpus: int) -> tuple[Resources, Resources]:
    """Return the resources for a participant and for the group, from measurements.

    Parameters
    ----------
    sessions
        Largest number of sessions of any participant.
    cpus
        Number of cores, and processes, per participant.

    Returns
    -------
    tuple of Resources
        For the task of a participant and for the group job.

    Examples
    --------
    >>> participant, _ = required_resources(sessions=4, cpus=2)
    >>> twice, _ = required_resources(sessions=8, cpus=2)
    >>> participant.minutes < twice.minutes, participant.memory_mb == twice.memory_mb
    (True, True)
    """
    one, group = measured()["participant"], measured()["group"]
    minutes = one["minutes_start"] + one["minutes_session"] * sessions / min(cpus, sessions)
    return (
        Resources(
            cpus,
            ceil(1024 * memory_of_participant(cpus) * one["memory_factor"]),
            ceil(minutes * one["time_factor"]),
        ),
        Resources(1, ceil(1024 * group["memory_gb"]), group["minutes"]),
    )


def count_sessions(bids_dir: Path, participants: Sequence[str]) -> int:
    """Return the largest number of sessions of any participant, at least 1.

    Parameters
    ----------
    bids_dir
        The data set.
    participants
        Labels without ``sub-``.
    """
    folders = (bids_dir / f"sub-{label}" for label in participants)
    return max((sum(1 for _ in f.glob("ses-*")) for f in folders), default=1) or 1


def plan_jobs(
    config: Config, labels: Sequence[str], options: Namespace, words: Sequence[str]
) -> Jobs:
    """Return the settings of the scripts.

    Parameters
    ----------
    config
        Configuration with the folders of the run.
    labels
        Labels of the participants, without ``sub-``.
    options
        The parsed options; missing resources are estimated from measurements.
    words
        Command-line arguments of every task.
    """
    needs, group = required_resources(count_sessions(config.bids_dir, labels), options.nprocs)
    given = {"minutes": options.minutes, "memory_mb": round(1024 * options.memory_gb)}
    return Jobs(
        folder=(options.scripts_dir or config.output_dir / "logs" / "slurm").resolve(),
        participants=labels,
        options=words,
        participant=replace(needs, **{k: v for k, v in given.items() if v}),
        group=group,
        image=options.image,
        work_dir=config.work_dir if options.work_dir else None,
        sbatch=options.sbatch,
        at_once=options.at_once,
        dependency=options.dependency,
    )


def write_jobs(jobs: Jobs, config: Config) -> None:
    """Write the scripts, and the list of participants.

    Parameters
    ----------
    jobs
        Settings of the scripts.
    config
        Configuration with the folders of the run.

    Raises
    ------
    NotWritable
        If the folder cannot be written.
    UsageError
        If Slurm or Apptainer does not support the name of a folder.
    """
    _check_paths(jobs, config)
    at_once = f"%{jobs.at_once}" if jobs.at_once else ""
    submit = {"folder": jobs.folder, "at_once": at_once, "dependency": jobs.dependency}
    write_bytes(jobs.folder / "participants.txt", _lines(jobs.participants))
    _write(jobs.folder / "participant.sbatch", _participant(jobs, config))
    _write(jobs.folder / "group.sbatch", _group(jobs, config))
    _write(jobs.folder / "submit.sh", ["#!/bin/bash", *_set(submit), _body("submit")])


def _check_paths(jobs: Jobs, config: Config) -> None:
    """Refuse folder names with characters that have a special meaning in Slurm or Apptainer."""
    if re.search(r'["\n\\%]', str(jobs.folder)):
        raise UsageError(
            f"{jobs.folder}: Slurm cannot write logs into a folder with quotes, backslash or "
            "percent in its name; choose another with --scripts-dir"
        )
    inside = (config.bids_dir, config.output_dir, *config.derivatives)
    if jobs.image and (odd := [p for p in inside if re.search("[,:]", str(p))]):
        raise UsageError(f"{odd[0]}: Apptainer cannot bind a folder with , or : in its name")


def _write(path: Path, parts: Sequence[str]) -> None:
    write_bytes(path, _lines(parts))
    path.chmod(path.stat().st_mode | 0o111 & ~0o022)


def _participant(jobs: Jobs, config: Config) -> list[str]:
    """Return the script of the array job."""
    names = {
        "folder": jobs.folder,
        "work_dir": jobs.work_dir or "",
        "nprocs": jobs.participant.cpus,
        "memory_mb": jobs.participant.memory_mb,
    }
    head = _head(jobs, "participant", jobs.participant, "%A_%a")
    return [*head, *_set(names), *_function(jobs, config), _body("participant")]


def _group(jobs: Jobs, config: Config) -> list[str]:
    """Return the script of the group job."""
    head = _head(jobs, "group", jobs.group, "%j")
    return [*head, *_function(jobs, config), _body("group")]


def _head(jobs: Jobs, name: str, resources: Resources, number: str) -> list[str]:
    """Return the shebang and the sbatch options of a script."""
    options = [
        f"--job-name=metperf-{name}",
        "--nodes=1",
        "--ntasks=1",
        f"--cpus-per-task={resources.cpus}",
        f"--mem={resources.memory_mb}M",
        f"--time={resources.minutes}",
        f'--output="{jobs.folder / "log" / f"{name}_{number}.txt"}"',
        *jobs.sbatch,
    ]
    return ["#!/bin/bash", *(f"#SBATCH {option}" for option in options)]


def _set(names: Mapping[str, object]) -> list[str]:
    return [f"{name}={shlex.quote(str(value))}" for name, value in names.items()]


def _function(jobs: Jobs, config: Config) -> list[str]:
    """Return the shell function that runs one level; the level and its options are arguments."""
    folders = [str(config.bids_dir), str(config.output_dir)]
    options = shlex.join(jobs.options)
    if not jobs.image:
        program = Path(sysconfig.get_path("scripts")) / "metperf"
        return ["metperf() {", f'    {shlex.join([str(program), *folders])} "$@" {options}', "}"]
    outside = [d for d in config.derivatives if not d.is_relative_to(config.bids_dir)]
    given = [f for f in (config.filter_file, config.plugin_file) if f]
    places = [f"{config.bids_dir}:{config.bids_dir}:ro", str(config.output_dir)]
    places += [f"{p}:{p}:ro" for p in (*outside, *given)]
    binds = " ".join(f"--bind {shlex.quote(place)}" for place in places)
    return [
        "metperf() { # folders have the same names in the container",
        f'    apptainer run --cleanenv --containall {binds} --bind "$work_dir" \\',
        f'        {shlex.join([str(jobs.image), *folders])} "$@" {options}',
        "}",
    ]


def _body(name: str) -> str:
    return (_DATA / f"slurm_{name}.sh").read_text(encoding="utf-8").rstrip()


def _lines(parts: Sequence[str]) -> bytes:
    return "".join(f"{part}\n" for part in parts).encode()
