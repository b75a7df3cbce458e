"""The participant level: each participant's graph run, its outcome told, its page built."""

import errno
import json
import math
import os
import re
import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path

from bidsapp.bids.derivatives import PART, to_json, to_tsv, write_bytes
from bidsapp.bids.image_data import examined
from bidsapp.bids.records import Participant, Session, Space
from bidsapp.bids.sidecar import read_table
from bidsapp.config import Config, version
from bidsapp.errors import MetperfError, NothingSelected, WorkerKilled
from bidsapp.reports.participant.page import build_participant_page
from bidsapp.run.completion import (
    INPUTS,
    RECORD,
    complete,
    made_of,
    page_whole,
    record_completion,
)
from bidsapp.run.engine import Lines
from bidsapp.run.engine.locks import alone
from bidsapp.run.engine.run_graph import configure, read_plugin, run, steps
from bidsapp.run.engine.signals import check_stopped
from bidsapp.run.engine.workers import workers_end
from bidsapp.run.graphs.distortion import distortion_lack
from bidsapp.run.graphs.dwi import ivim_obstacle, noise_gap, series_obstacle
from bidsapp.run.graphs.outputs import analysis_space, lesion_rois
from bidsapp.run.graphs.participant import init_participant_wf, kinetics_obstacle

_NODE = re.compile(r"^Node: (?P<name>\S+)", re.MULTILINE)
_CAUSE = re.compile(
    r"^\s*(?:\w+\.)*\w*(?:Error|Input|Exception|Interrupt|Killed)\b:? *(?P<text>.*)$"
)
_NO_ROOM = tuple(os.strerror(number) for number in (errno.ENOSPC, errno.EDQUOT))


@dataclass
class Steps:
    """What became of one session."""

    done: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Outcome:
    """What became of one participant, by session id; and its page."""

    participant: str
    sessions: dict[str, Steps]
    page: Path | None

    @property
    def failures(self) -> list[str]:
        """Everything that failed, in words."""
        return [text for steps in self.sessions.values() for text in steps.failed]

    @property
    def warnings(self) -> list[str]:
        """Everything that was used and may mislead, in words."""
        return [text for steps in self.sessions.values() for text in steps.warnings]

    @property
    def killed(self) -> bool:
        """Whether a worker or a job was killed: what it was doing may go well another time."""
        return any(WorkerKilled.__name__ in text for text in self.failures)

    @property
    def full(self) -> bool:
        """Whether something could not be written: a disk or a quota is full."""
        return any(map(_no_room, self.failures))


def run_participant(participant: Participant, config: Config, progress: Lines) -> Outcome:
    """Run one participant as far as its data allow.

    Parameters
    ----------
    participant
        What the data set has.
    config
        How to run.
    progress
        Takes the names of all steps, and what becomes of each.

    Returns
    -------
    Outcome
        With what failed; a failure is never raised.
    """
    work = config.work_dir / version() / f"{participant.id}.lock"
    with (
        alone(config.output_dir / participant.id / "log" / "lock", progress.report),
        alone(work, progress.report),
    ):
        return _run_alone(participant, config, progress)


def _run_alone(participant: Participant, config: Config, progress: Lines) -> Outcome:
    """Run a participant that no other run is at work on."""
    log = config.output_dir / participant.id / "log" / config.run_id
    participant = replace(participant, sessions=tuple(map(examined, participant.sessions)))
    sessions = {s.id: _expected(s, config) for s in participant.sessions}
    _withdraw(participant, config, progress.report)
    made = made_of(participant, config)
    if earlier := complete(config.output_dir, participant, made):
        progress.report(f"{participant.id}: complete since {earlier}, nothing has changed")
        return _kept(participant, sessions, config)
    _begin(participant, sessions, config)
    write_bytes(log / INPUTS, to_json(made))
    try:
        error = _attempt(participant, config, log, progress)
    except KeyboardInterrupt:
        _build_page(participant, sessions, config)
        raise
    crashed = _add_crashes(participant, sessions, log)
    if error and not crashed:
        next(iter(sessions.values())).failed.append(error)
    if crashed or not error:
        _prune(participant, log / "app.toml", config)
    _write_status(log, sessions, config)
    outcome = Outcome(participant.label, sessions, _build_page(participant, sessions, config))
    if not outcome.failures:
        record_completion(config.output_dir, participant, made, config.run_id)
    return outcome


def _kept(participant: Participant, sessions: dict[str, Steps], config: Config) -> Outcome:
    """Return what an earlier run left of a participant of whom nothing has changed since."""
    said = json.loads((config.output_dir / participant.id / "log" / "status.json").read_bytes())
    names = [one.name for one in fields(Steps)]
    kept = {
        session: Steps(**{name: said["sessions"][session][name] for name in names})
        for session in sessions
    }
    page = config.output_dir / f"{participant.id}.html"
    if not page_whole(config.output_dir, participant):
        page.unlink(missing_ok=True)
        return Outcome(participant.label, kept, _build_page(participant, kept, config))
    return Outcome(participant.label, kept, page)


def _begin(participant: Participant, sessions: Iterable[str], config: Config) -> None:
    """Mark the sessions as unfinished, and take away what would tell otherwise."""
    folder = config.output_dir / participant.id
    for part in folder.rglob(f"{PART}*"):  # of a run that was killed
        part.unlink(missing_ok=True)
    _write_sessions(participant, config)
    log = folder / "log" / config.run_id
    write_bytes(log / "app.toml", config.to_toml().encode())
    unfinished = Steps(failed=[f"the run {config.run_id} did not finish; run it again"])
    _write_status(log, dict.fromkeys(sessions, unfinished), config, finished=False)
    for path in (folder / "log" / RECORD, config.output_dir / f"{participant.id}.html"):
        path.unlink(missing_ok=True)


def _attempt(participant: Participant, config: Config, log: Path, progress: Lines) -> str | None:
    """Build and run the graph; return what stopped it, if not a node that left a crash file."""
    try:
        workflow = init_participant_wf(participant, config)
        configure(workflow, log, config)
        if workflow.list_node_names():
            progress.steps(steps(workflow))
            with workers_end():
                run(workflow, config, progress)
    except Exception as error:
        check_stopped()
        return str(error) if isinstance(error, MetperfError) else f"{type(error).__name__}: {error}"
    return None


def _add_crashes(participant: Participant, sessions: dict[str, Steps], log: Path) -> set[str]:
    """Tell each session what crashed in it; return the sessions that something crashed in."""
    crashed = set()
    for slug, text in crashes(log):
        session = next((s for s in participant.sessions if s.slug == slug), None)
        name = session.id if session else next(iter(sessions))
        branch = text.split(":")[0].split()[0]
        lost = {"anat", "dwi", "dce"} if branch == "anat" else {branch}
        sessions[name].failed.append(text)
        sessions[name].done = [d for d in sessions[name].done if d not in lost]
        crashed.add(name)
    return crashed


def _prune(participant: Participant, marker: Path, config: Config) -> None:
    """Remove what an earlier run left in the sessions of this one and this one did not write.

    It is of other options or inputs, or its step failed now: no value outlives what it was made
    of. The marker was written by the same file system when this run began; its results are younger.
    """
    began = marker.stat().st_mtime_ns
    for session in participant.sessions:
        folder = config.output_dir / participant.id / session.id
        for path in folder.rglob("*"):
            if path.is_file() and path.stat().st_mtime_ns < began:
                path.unlink()


def _withdraw(participant: Participant, config: Config, report: Callable[[str], None]) -> None:
    """Remove the results of sessions that the data set has no more."""
    raw = config.bids_dir / participant.id
    for folder in sorted((config.output_dir / participant.id).glob("ses-*")):
        if not (raw / folder.name).is_dir():
            report(f"{participant.id}: {folder.name} is gone from the data set: so are its results")
            shutil.rmtree(folder)


def _write_status(
    log: Path, sessions: dict[str, Steps], config: Config, *, finished: bool = True
) -> None:
    """Write what became of the sessions; those of earlier runs are kept."""
    path = log.parent / "status.json"
    before = json.loads(path.read_bytes())["sessions"] if path.exists() else {}
    raw = config.bids_dir / log.parent.parent.name
    kept = {name: steps for name, steps in before.items() if (raw / name).is_dir()}
    made = {"version": version(), "options": config.decisive()}
    now = {name: vars(steps) | made for name, steps in sessions.items()}
    record = {"run_id": config.run_id, "finished": finished, "sessions": kept | now}
    write_bytes(path, to_json(record))


def _build_page(
    participant: Participant, sessions: dict[str, Steps], config: Config
) -> Path | None:
    """Build the participant's page; a page that cannot be built is a failure like another."""
    try:
        return build_participant_page(config.output_dir, participant.label)
    except Exception as error:
        text = f"report: {type(error).__name__}: {error}"
        next(iter(sessions.values())).failed.append(text)
        return None


def _expected(session: Session, config: Config) -> Steps:
    """Return what a session will have done if nothing fails, and what it lacks."""
    steps = Steps(failed=list(session.problems), warnings=list(session.warnings))
    obstacle = kinetics_obstacle(session, config) if session.dynamic else None
    series = session.diffusion
    unfit = series_obstacle(session, series, config) if series else None
    present = {
        "anat": session.t1w,
        "dwi": session.diffusion and not unfit,
        "dce": session.dynamic and not obstacle,
        "rois": session.enhancing or session.whole,
    }
    steps.done = [name for name, there in present.items() if there]
    steps.failed += [text for text in (unfit, obstacle) if text]
    if not session.t1w:
        steps.missing.append("no T1w: analysed in the native space of each series")
    if not session.diffusion:
        steps.missing.append("no DWI: no ADC and no IVIM")
    elif without := ivim_obstacle(session.diffusion, config):
        steps.missing.append(without)
    elif gap := noise_gap(config):
        steps.missing.append(gap)
    if session.diffusion and (lack := distortion_lack(session, config)):
        steps.missing.append(lack)
    if not session.dynamic:
        steps.missing.append("no DCE: no Ktrans, ve and vp")
    steps.missing += _missing_rois(session, config)
    if not session.whole:
        steps.missing.append("no ROI of the whole lesion: no volumes")
    return steps


def _missing_rois(session: Session, config: Config) -> list[str]:
    """Return which series has no ROI of the enhancing part in the space of its analysis."""
    if not session.enhancing:
        return ["no ROI of the enhancing part: no lesion values"]
    series: list[Space] = ["dwi"] if session.diffusion else []
    series += ["dce"] if session.dynamic else []
    return [
        f"no ROI of the enhancing part on the {analysis_space(session, name, config)} grid: "
        f"no lesion values of the {name.upper()}"
        for name in series
        if not lesion_rois(session, name, config)
    ]


def _write_sessions(participant: Participant, config: Config) -> None:
    """Write the sessions in the order of time; those that only another run had are kept."""
    path = config.output_dir / participant.id / f"{participant.id}_sessions.tsv"
    columns = ("session_id", "days_since_treatment")
    rows = (
        {r[columns[0]]: r[columns[1]] for r in read_table(path, columns)} if path.exists() else {}
    )
    raw = config.bids_dir / participant.id
    rows = {name: day for name, day in rows.items() if (raw / name).is_dir()}
    rows |= {s.id: "n/a" if s.days is None else f"{s.days:g}" for s in participant.sessions}
    ordered = sorted(rows.items(), key=lambda row: math.inf if row[1] == "n/a" else float(row[1]))
    content = to_tsv(columns, [dict(zip(columns, row, strict=True)) for row in ordered])
    write_bytes(path, content)


def _no_room(text: str) -> bool:
    """Whether a text tells of a full disk; what nipype then misses is only what follows from it."""
    return any(told in text for told in _NO_ROOM)


def crashes(log: Path) -> list[tuple[str, str]]:
    """Return (session slug, what failed) of each crash file of a run.

    Parameters
    ----------
    log
        The run's log folder.
    """
    found = []
    for path in sorted(log.glob("crash-*.txt")):
        text = path.read_text(encoding="utf-8", errors="replace")
        node = _NODE.search(text)
        parts = node["name"].split(".") if node else []
        causes = [m.group(0).strip() for m in map(_CAUSE.match, text.splitlines()) if m]
        cause = next(filter(_no_room, causes), causes[-1] if causes else "no reason given")
        cause = cause.removeprefix("bidsapp.errors.")
        step = " ".join(parts[2:]) or "run"
        found.append((parts[1] if len(parts) > 1 else "", f"{step}: {cause} (see {path.name})"))
    return found


def describe(participant: Participant, config: Config) -> Sequence[str]:
    """Return what a participant has, for ``--dry-run``: a line a session."""
    lines = []
    for session in participant.sessions:
        steps = _expected(session, config)
        lesions = sorted({x.index for r in session.enhancing for x in r.lesions})
        days = "" if session.days is None else f" (day {session.days:g})"
        text = f"{participant.id} {session.id}{days}: {', '.join(steps.done) or 'nothing'}"
        lines.append(f"{text}; lesions {', '.join(map(str, lesions)) or 'none'}")
        lines += [f"    given: {transform.file.name}" for transform in session.transforms]
        lines += [f"    failed: {text}" for text in steps.failed]
        lines += [f"    warning: {text}" for text in steps.warnings]
        lines += [f"    {text}" for text in steps.missing]
    return lines


def check_config(participants: Sequence[Participant], config: Config) -> None:
    """Refuse options that no session can satisfy.

    Raises
    ------
    NothingSelected
        If the baseline session that was named has no T1w.
    UsageError
        If the file of the nipype plugin names none.
    """
    if config.plugin_file:
        read_plugin(config.plugin_file)
    for participant in participants:
        wanted = config.baseline_session
        if wanted and participant.baseline(wanted) is None:
            raise NothingSelected(
                f"{participant.id}: --baseline-session {wanted} has no T1w, or is not among the "
                "sessions selected"
            )
