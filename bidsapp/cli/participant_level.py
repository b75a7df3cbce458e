"""The participant level on the command line: select, validate, run, report."""

import logging
import os
import re
from argparse import Namespace
from collections.abc import Sequence
from typing import TYPE_CHECKING

from bidsapp.bids import documents
from bidsapp.cli.conclusion import conclude
from bidsapp.config import Config, version
from bidsapp.errors import NothingSelected, NothingToAnalyse
from bidsapp.issues import Issue, exit_code

if TYPE_CHECKING:
    from bidsapp.bids.records import Participant
    from bidsapp.run.participant import Outcome

_LOG = logging.getLogger("metperf")


def run_participant_level(config: Config, options: Namespace) -> int:
    """Analyse the selected participants, and write their pages."""
    from bidsapp.bids.validate import validate
    from bidsapp.reports.index.page import write_index
    from bidsapp.reports.methods import methods
    from bidsapp.run.participant import check_config
    from bidsapp.run.status import analysed_data
    from bidsapp.run.survey import read_participants

    if options.reports_only:
        return _rebuild(config)
    if options.boilerplate_only:
        _describe_dataset(config, methods(config))
        _LOG.info("The methods are in %s", documents.METHODS.path(config.output_dir))
        return 0
    labels = select_labels(config)
    if not options.skip_bids_validation:
        _LOG.info("Validating %s", config.bids_dir)
        for text in validate(config.bids_dir, labels):
            _LOG.warning("BIDS validator: %s: not needed for an analysis", text)
    participants, unreadable = read_participants(config, labels)
    for issue in unreadable:
        _LOG.error("%s: %s", issue.participant, issue)
    check_config(participants, config)
    _check_usable(participants, unreadable)
    if options.dry_run:
        return _describe(participants, unreadable, config)
    _describe_dataset(config, methods(config, analysed_data(participants, config)))
    outcomes = _run_all(participants, config)
    if not config.participants:  # runs of single participants may be side by side
        write_index(config.output_dir)
    issues = [*unreadable, *(issue for outcome in outcomes for issue in outcome.issues)]
    failed = {issue.participant for issue in issues if issue.level == "failed"}
    _LOG.info("%d of %d participants without failure", len(labels) - len(failed), len(labels))
    warnings = [issue for outcome in outcomes for issue in outcome.page_warnings]
    return conclude([*issues, *warnings], [outcome.page for outcome in outcomes if outcome.page])


def _describe_dataset(config: Config, text: str) -> None:
    """Describe the output folder, with the methods text and its references."""
    from bidsapp.bids.derivatives import describe_dataset, write_bytes
    from bidsapp.reports.references import bibliography

    describe_dataset(config.output_dir, config.bids_dir, version(), text)
    path = documents.BIBLIOGRAPHY.path(config.output_dir)
    write_bytes(path, bibliography(text).encode())


def _run_all(participants: Sequence["Participant"], config: Config) -> list["Outcome"]:
    """Run the participants, log the issues of each as it ends, and return the outcomes in order."""
    from bidsapp.run.engine import show_progress
    from bidsapp.run.participants import run_participants

    outcomes = {}
    with show_progress(len(participants), _LOG) as progress:
        for outcome in run_participants(participants, config, progress):
            log_issues(outcome.issues)
            outcomes[outcome.participant] = outcome
    return [outcomes[participant.label] for participant in participants]


def log_issues(issues: Sequence[Issue]) -> None:
    """Log every failure, warning and note, and what is missing in one line per session."""
    missing: dict[str, list[str]] = {}
    for issue in issues:
        place = f"{issue.place}: " if issue.place else ""
        if issue.level == "failed":
            _LOG.error("%s%s", place, issue)
        elif issue.level == "warning":
            _LOG.warning("%swarning: %s", place, issue)
        elif issue.level == "note":
            _LOG.info("%snote: %s", place, issue)
        elif issue.level == "missing":
            missing.setdefault(issue.place, []).append(str(issue))
    for place, texts in missing.items():
        _LOG.info("%s: missing: %s", place, "; ".join(texts))


def _check_usable(participants: Sequence["Participant"], unreadable: Sequence[Issue]) -> None:
    """Raise an error if there is nothing to analyse."""
    sessions = [session for participant in participants for session in participant.sessions]
    if not any(s.diffusion or s.dynamic or s.whole for s in sessions):
        problems = [text for session in sessions for text in session.problems]
        problems += [f"{issue.participant} cannot be read" for issue in unreadable]
        raise NothingToAnalyse(
            "\n".join(
                [
                    "no usable DWI, no usable DCE series and no lesion ROI",
                    *problems,
                    "metperf check lists all that is missing, of all participants at once",
                ]
            )
        )


def _describe(
    participants: Sequence["Participant"], unreadable: Sequence[Issue], config: Config
) -> int:
    """Print the plan for ``--dry-run``; return 1 if a part of it would fail."""
    from bidsapp.run.graphs.plan import plan_participant
    from bidsapp.run.status import describe_plan

    plans = [plan_participant(participant, config) for participant in participants]
    print("\n".join(line for plan in plans for line in describe_plan(plan)))
    return exit_code([*unreadable, *(issue for plan in plans for issue in plan.issues)])


def select_labels(config: Config) -> list[str]:
    """Return the labels to analyse; an unknown label is an error.

    Selected labels are looked up individually, so that large data sets need not be listed.
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
        raise NothingToAnalyse(f"{config.bids_dir} has no participants (folders sub-*)")
    return labels


def _rebuild(config: Config) -> int:
    """Rebuild the pages of the participants with results."""
    from bidsapp.reports.index.page import write_index
    from bidsapp.run.quality_table import build_page

    found = sorted(p.name.removeprefix("sub-") for p in config.output_dir.glob("sub-*/"))
    chosen = [x for x in found if not config.participants or x in config.participants]
    absent = [x for x in config.participants if x not in found]
    if absent:
        raise NothingSelected(f"{config.output_dir} has no results for {', '.join(absent)}")
    if not chosen:
        raise NothingToAnalyse(f"{config.output_dir}: no participant results to report on")
    for label in chosen:
        _LOG.info("%s", build_page(config.output_dir, label))
    _LOG.info("%s", write_index(config.output_dir))
    return 0
