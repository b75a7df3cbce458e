"""The participant level: run the graph of a participant, store its issues, write its page."""

import math
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from bidsapp.bids import documents
from bidsapp.bids.derivatives import PART, to_json, to_tsv, write_bytes
from bidsapp.bids.documents import Document
from bidsapp.bids.records import Participant
from bidsapp.bids.tables import read_table
from bidsapp.bids.visit_columns import read_visit_columns, session_table
from bidsapp.config import Config, version
from bidsapp.errors import NothingSelected
from bidsapp.issues import Issue, from_error
from bidsapp.reports.participant.findings import findings
from bidsapp.reports.participant.records import read_participant
from bidsapp.run.completion import (
    find_completed_run,
    page_is_intact,
    provenance_key,
    record_completion,
    record_output,
)
from bidsapp.run.crashes import read_crashes
from bidsapp.run.engine import ParticipantProgress
from bidsapp.run.engine.locks import exclusive_lock
from bidsapp.run.engine.run_graph import configure, read_plugin, run, step_names
from bidsapp.run.engine.signals import check_stopped
from bidsapp.run.engine.workers import end_workers_with_run
from bidsapp.run.followed_lesions import follow_participant
from bidsapp.run.graphs.acquisition import apply_acquisition_options
from bidsapp.run.graphs.participant import init_participant_wf
from bidsapp.run.graphs.plan import Plan, plan_participant
from bidsapp.run.image_checks import check_images
from bidsapp.run.joined_frames import join_frames
from bidsapp.run.quality_table import build_page
from bidsapp.run.result_checks import result_warnings
from bidsapp.run.roi_images import prepare_rois
from bidsapp.run.status import acquisition_issues, read_stored_issues, write_status

_PAGE = "report.page"
"""Name of the step that builds the page."""


@dataclass(frozen=True)
class Outcome:
    """Result of a run for one participant: issues, and the page with its own warnings."""

    participant: str
    issues: tuple[Issue, ...]
    page: Path | None
    page_warnings: tuple[Issue, ...] = ()

    @property
    def failed(self) -> bool:
        """Whether there is any failure."""
        return any(issue.level == "failed" for issue in self.issues)


def run_participant(
    participant: Participant, config: Config, progress: ParticipantProgress
) -> Outcome:
    """Run one participant as far as its data allow.

    Parameters
    ----------
    participant
        Record of the participant.
    config
        Configuration of the run.
    progress
        Takes the names of all steps, and the state of each.

    Returns
    -------
    Outcome
        Failures are issues of the outcome and are never raised.
    """
    work = config.work_dir / version() / f"{participant.id}.lock"
    with (
        exclusive_lock(config.output_dir / participant.id / "log" / "lock", progress.report),
        exclusive_lock(work, progress.report),
    ):
        return _run_locked(participant, config, progress)


def _run_locked(participant: Participant, config: Config, progress: ParticipantProgress) -> Outcome:
    """Run a participant while holding its locks."""
    log = config.output_dir / participant.id / "log" / config.run_id
    participant = apply_acquisition_options(participant, config)
    work = config.work_dir / version()
    participant = join_frames(participant, work / "frames")
    participant = replace(participant, sessions=tuple(map(check_images, participant.sessions)))
    _withdraw(participant, config, progress.report)
    key = provenance_key(participant, config)
    if earlier := find_completed_run(config.output_dir, participant, key):
        progress.report(f"{participant.id}: complete since {earlier}, nothing has changed")
        return _keep(participant, config, progress)
    rois = prepare_rois(participant, config, work)
    plan = plan_participant(rois.participant, config)
    try:
        _begin(plan, config)
        write_bytes(_record_of_run(documents.INPUTS, participant, config), to_json(key))
        stopped_by = _run_graph(plan, config, log, progress)
    except KeyboardInterrupt:
        conclude_participant(participant, (*plan.issues, *rois.issues), config, progress)
        raise
    crashed = list(read_crashes(log, participant.sessions))
    failures = crashed or ([stopped_by] if stopped_by else [])
    if crashed or not stopped_by:
        _prune(participant, config)
    doubts: tuple[Issue, ...] = ()
    if not stopped_by:
        followed = follow_participant(plan.participant, config, rois.renumbered)
        doubts = (*followed, *result_warnings(plan.participant, config))
    issues = (*plan.issues, *rois.issues, *acquisition_issues(plan), *doubts, *failures)
    write_status(plan, issues, config)
    outcome = conclude_participant(participant, issues, config, progress)
    if not outcome.failed:
        record_completion(config.output_dir, participant, key, config.run_id)
    return outcome


def _keep(participant: Participant, config: Config, progress: ParticipantProgress) -> Outcome:
    """Return the outcome of an earlier run of a participant that is still up to date."""
    issues = tuple(read_stored_issues(config.output_dir, participant))
    # What else is known of a session may have changed: no result depends on it.
    _write_sessions(participant, config)
    table = documents.SESSIONS.path(config.output_dir, participant=participant.id)
    record_output(config.output_dir, participant.id, table)
    page = documents.PARTICIPANT_PAGE.path(config.output_dir, participant=participant.id)
    card = documents.CARD.path(config.output_dir, participant=participant.id)
    if page_is_intact(config.output_dir, participant) and card.exists():
        return Outcome(participant.label, issues, page, _page_warnings(participant, config))
    page.unlink(missing_ok=True)
    return conclude_participant(participant, issues, config, progress)


def _begin(plan: Plan, config: Config) -> None:
    """Mark the sessions as unfinished, and remove the page and the record of completion."""
    participant = plan.participant
    folder = config.output_dir / participant.id
    for part in folder.rglob(f"{PART}*"):  # of a run that was killed
        part.unlink(missing_ok=True)
    _write_sessions(participant, config)
    write_bytes(_record_of_run(documents.SETTINGS, participant, config), config.to_toml().encode())
    text = f"the run {config.run_id} did not finish; run it again"
    unfinished = [
        Issue("failed", text, "Unfinished", participant.id, session.id)
        for session in participant.sessions
    ]
    write_status(plan, unfinished, config, finished=False)
    for kind in (documents.COMPLETION, documents.PARTICIPANT_PAGE, documents.CARD):
        kind.path(config.output_dir, participant=participant.id).unlink(missing_ok=True)


def _record_of_run(kind: Document, participant: Participant, config: Config) -> Path:
    """Return the path of a file in the log folder of this run."""
    return kind.path(config.output_dir, participant=participant.id, run=config.run_id)


def _run_graph(
    plan: Plan, config: Config, log: Path, progress: ParticipantProgress
) -> Issue | None:
    """Build and run the graph; return the issue that stopped it, except for crashes of nodes."""
    try:
        workflow = init_participant_wf(plan, config)
        configure(workflow, log, config)
        if workflow.list_node_names():
            progress.set_steps([*step_names(workflow), _PAGE])
            with end_workers_with_run():
                run(workflow, config, progress)
    except Exception as error:
        check_stopped()
        return from_error(error, **_first_session(plan.participant))
    return None


def _first_session(participant: Participant) -> dict[str, str]:
    """Return the place of an issue that concerns the participant as a whole."""
    return {"participant": participant.id, "session": participant.sessions[0].id}


def _prune(participant: Participant, config: Config) -> None:
    """Remove results of earlier runs that this run did not write again.

    They are outdated, because options or inputs have changed or their step has failed. Results of
    this run are newer than its settings, which were written to the same file system when it began.
    """
    began = _record_of_run(documents.SETTINGS, participant, config).stat().st_mtime_ns
    for session in participant.sessions:
        folder = config.output_dir / participant.id / session.id
        for path in folder.rglob("*"):
            if path.is_file() and path.stat().st_mtime_ns < began:
                path.unlink()


def _withdraw(participant: Participant, config: Config, report: Callable[[str], None]) -> None:
    """Remove the results of sessions that are no longer in the data set."""
    raw = config.bids_dir / participant.id
    for folder in sorted((config.output_dir / participant.id).glob("ses-*")):
        if not (raw / folder.name).is_dir():
            report(f"{participant.id}: {folder.name} is no longer in the data set: results removed")
            shutil.rmtree(folder)


def conclude_participant(
    participant: Participant,
    issues: tuple[Issue, ...],
    config: Config,
    progress: ParticipantProgress,
) -> Outcome:
    """Build the page of a participant; an error in the page is another failure.

    Parameters
    ----------
    participant : Participant
    issues : tuple of Issue
        Those of the run.
    config : Config
    progress : ParticipantProgress

    Returns
    -------
    Outcome
    """
    try:
        with progress.step(_PAGE):
            page = build_page(config.output_dir, participant.label)
        return Outcome(participant.label, issues, page, _page_warnings(participant, config))
    except Exception as error:
        failure = from_error(error, step="report", **_first_session(participant))
        return Outcome(participant.label, (*issues, failure), None)


def _page_warnings(participant: Participant, config: Config) -> tuple[Issue, ...]:
    """Return the warnings of the page that follow from the results, the most severe first.

    Unlike the warnings of the run, they have an anchor on the page, and are not reported twice.
    """
    found = findings(read_participant(config.output_dir, participant.label))
    return tuple(
        Issue("warning", one.text, "DoubtfulResult", participant.id)
        for one in found
        if one.level == "warning" and one.anchor and not one.reported
    )


def _write_sessions(participant: Participant, config: Config) -> None:
    """Write the table of sessions in chronological order; sessions of other runs are kept."""
    path = documents.SESSIONS.path(config.output_dir, participant=participant.id)
    columns = ("session_id", "days_since_treatment")
    rows = (
        {r[columns[0]]: r[columns[1]] for r in read_table(path, columns)} if path.exists() else {}
    )
    raw = config.bids_dir / participant.id
    rows = {name: day for name, day in rows.items() if (raw / name).is_dir()}
    rows |= {s.id: "n/a" if s.days is None else f"{s.days:g}" for s in participant.sessions}
    further = read_visit_columns(session_table(config.bids_dir, participant.label))
    known = [f"ses-{label}" for label in participant.order]
    ordered = sorted(
        rows.items(),
        key=lambda row: (
            known.index(row[0]) if row[0] in known else len(known),
            math.inf if row[1] == "n/a" else float(row[1]),
        ),
    )
    content = to_tsv(
        (*columns, *further.columns),
        [dict(zip(columns, row, strict=True)) | further.of(row[0]) for row in ordered],
    )
    write_bytes(path, content)


def check_config(participants: Sequence[Participant], config: Config) -> None:
    """Raise an error for options that no session can satisfy.

    Raises
    ------
    NothingSelected
        If the selected baseline session has no T1w.
    UsageError
        If the plugin file does not specify a nipype plugin.
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
