"""The status of a participant's sessions in ``log/status.json``: completed branches and issues."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from bidsapp.bids import documents
from bidsapp.bids.derivatives import to_json, write_bytes
from bidsapp.bids.records import Participant
from bidsapp.config import Config, version
from bidsapp.issues import LEVELS, Issue, read_issues
from bidsapp.run.graphs.acquisition import describe_acquisition
from bidsapp.run.graphs.kinetics_plan import is_replaced
from bidsapp.run.graphs.plan import Plan, SessionPlan, plan_participant
from bidsapp.study.tables.analysis_options import is_same_acquisition

_NEEDS_ANAT = ("anat", "dwi", "dce")


def describe_plan(plan: Plan) -> Sequence[str]:
    """Describe a plan for ``--dry-run``, with a line per session and issue."""
    lines = []
    differing = acquisition_issues(plan)
    for one in plan.sessions:
        session = one.session
        lesions = sorted({x.index for r in session.enhancing for x in r.lesions})
        days = "" if session.days is None else f" (day {session.days:g})"
        text = f"{plan.participant.id} {session.id}{days}: {', '.join(one.branches) or 'nothing'}"
        lines.append(f"{text}; lesions {', '.join(map(str, lesions)) or 'none'}")
        lines += [f"    provided: {transform.file.name}" for transform in session.transforms]
        own = [*one.issues, *(issue for issue in differing if issue.session == session.id)]
        issues = sorted(own, key=lambda issue: LEVELS.index(issue.level))
        lines += [f"    {_PREFIX.get(i.level, '')}{i}" for i in issues]
    return lines


_PREFIX = {"failed": "failed: ", "warning": "warning: "}


def write_status(
    plan: Plan, issues: Iterable[Issue], config: Config, *, finished: bool = True
) -> None:
    """Write the completed branches and issues of each session; other sessions are kept.

    Parameters
    ----------
    plan
        The plan of the participant.
    issues
        Issues of the plan and of the run.
    config
        Configuration of the run.
    finished
        Whether the run has finished.
    """
    path = documents.STATUS.path(config.output_dir, participant=plan.participant.id)
    raw = config.bids_dir / plan.participant.id
    kept = {name: one for name, one in read_sessions(path).items() if (raw / name).is_dir()}
    settings = {"version": version(), "options": config.result_options()}
    now = {}
    for one in plan.sessions:
        own = [issue for issue in issues if issue.session == one.session.id]
        done = [branch for branch in one.branches if finished and not _is_lost(branch, own)]
        stored = [issue.as_dict() for issue in own]
        acquired = describe_acquisition(one.session)
        now[one.session.id] = {"done": done, "issues": stored, "acquisition": acquired} | settings
    record = {"run_id": config.run_id, "finished": finished, "sessions": kept | now}
    write_bytes(path, to_json(record))


def acquisition_issues(plan: Plan) -> list[Issue]:
    """Return a warning for each session acquired differently from the first with such a series."""
    issues = []
    first: dict[str, tuple[str, str]] = {}
    for one in plan.sessions:
        session = one.session
        for name, value in describe_acquisition(session).items():
            before, known = first.setdefault(name, (session.id, value))
            if not is_same_acquisition(value, known):
                text = (
                    f"{name}: {value}, but {known} in {before}: values of the two sessions may "
                    "differ for that reason alone; compare only sessions of one protocol"
                )
                issues.append(
                    Issue("warning", text, "AcquisitionDiffers", plan.participant.id, session.id)
                )
    return issues


def analysed_data(participants: Iterable[Participant], config: Config) -> frozenset[str]:
    """Return what a run analyses, in the terms of `bidsapp.reports.methods.DATA`."""
    found: set[str] = set()
    for participant in participants:
        plan = plan_participant(participant, config)
        with_t1w = [one for one in plan.sessions if "anat" in one.branches]
        found |= {"follow-up"} if len(with_t1w) > 1 else set()
        for one in plan.sessions:
            dynamic = "dce" in one.branches
            present = {
                "t1w": "anat" in one.branches,
                "transforms": bool(one.session.transforms),
                "dwi": "dwi" in one.branches,
                "ivim": any(model.name != "adc" for model in one.diffusion_models),
                "dce": dynamic,
                "with-aif": any(model.needs_artery for model in one.kinetic_models),
                "without-aif": dynamic and is_replaced(one.kinetic_models, config),
                "vfa": dynamic and one.session.flip_angle_series is not None,
                "t1map": dynamic and one.session.t1_map is not None,
                "b1": dynamic and one.session.transmit_field is not None,
                "rois": "rois" in one.branches,
                "fieldmap": _distortion_kind(one) == "fieldmap",
                "reversed": _distortion_kind(one) == "epi",
            }
            found |= {name for name, there in present.items() if there}
    return frozenset(found)


def _distortion_kind(plan: SessionPlan) -> str:
    """Return from which kind of image the distortion of a session is calculated."""
    return plan.field_source.kind if plan.field_source and "dwi" in plan.branches else ""


def read_sessions(path: Path) -> Mapping[str, Mapping[str, Any]]:
    """Return the stored sessions of a status file; none if it does not exist."""
    sessions: Mapping[str, Mapping[str, Any]] = (
        json.loads(path.read_bytes())["sessions"] if path.exists() else {}
    )
    return sessions


def _is_lost(branch: str, issues: Iterable[Issue]) -> bool:
    """Return whether a branch has no result because one of its steps, or of the T1w, failed."""
    failed = {issue.step.split()[0] for issue in issues if issue.level == "failed" and issue.step}
    return branch in failed or ("anat" in failed and branch in _NEEDS_ANAT)


def read_stored_issues(output_dir: Path, participant: Participant) -> list[Issue]:
    """Return the issues that an earlier run stored for the sessions of a participant."""
    path = documents.STATUS.path(output_dir, participant=participant.id)
    names = {session.id for session in participant.sessions}
    stored = {name: one for name, one in read_sessions(path).items() if name in names}
    return read_issues(participant.id, stored)
