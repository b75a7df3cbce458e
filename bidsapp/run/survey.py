"""The participants of a data set as a run finds them, with all that their data lack."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bidsapp.bids.query import Query, read_filters
from bidsapp.bids.records import Participant
from bidsapp.bids.timing import GivenTiming
from bidsapp.config import ROIS, Config
from bidsapp.errors import BadInput
from bidsapp.issues import Issue, from_error
from bidsapp.run.graphs.plan import plan_participant
from bidsapp.run.graphs.visit_values import UsedValue, used_values
from bidsapp.run.status import acquisition_issues


def open_query(config: Config, labels: Sequence[str]) -> Query:
    """Return the query of a data set under the options of a run.

    Raises
    ------
    UsageError
        If the filter file cannot be used.
    """
    filters = read_filters(config.filter_file) if config.filter_file else None
    given = GivenTiming(config.frame_time, config.repetition_time)
    regions = [name for name in config.rois if name not in (*ROIS, "ring", "mirror")]
    return Query(config.bids_dir, config.derivatives, filters, labels, given, regions)


def read_participants(
    config: Config, labels: Sequence[str]
) -> tuple[list[Participant], list[Issue]]:
    """Return the records of the participants, and a failure for each unreadable one."""
    query = open_query(config, labels)
    participants, failed = [], []
    for label in labels:
        try:
            participants.append(query.participant(label, config.sessions))
        except BadInput as error:
            failed.append(from_error(error, participant=f"sub-{label}"))
    return participants, failed


@dataclass(frozen=True)
class Survey:
    """What a run would report before it reads any voxel, and the values it would use.

    `used` is by participant and session, such as ``("sub-01", "ses-a")``.
    """

    issues: tuple[Issue, ...]
    used: Mapping[tuple[str, str], tuple[UsedValue, ...]]


def survey(config: Config, labels: Sequence[str]) -> Survey:
    """Return the issues and values of all participants."""
    participants, issues = read_participants(config, labels)
    used = {}
    for participant in participants:
        plan = plan_participant(participant, config)
        issues += [*plan.issues, *acquisition_issues(plan)]
        for one in plan.sessions:
            used[participant.id, one.session.id] = tuple(used_values(one.session, config))
    return Survey(tuple(issues), used)
