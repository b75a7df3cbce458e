"""Warnings that follow from the results of a session, for its status and the group."""

import json
from collections.abc import Iterator

from bidsapp.bids import outputs
from bidsapp.bids.records import Participant, Session
from bidsapp.config import Config
from bidsapp.issues import Issue


def result_warnings(participant: Participant, config: Config) -> tuple[Issue, ...]:
    """Return a warning for each doubt in the quality files of a participant.

    Parameters
    ----------
    participant
        Record of the participant, whose graph has run.
    config
        Configuration of the run.
    """
    return tuple(
        Issue("warning", text, "DoubtfulInput", participant.id, session.id)
        for session in participant.sessions
        for text in _doubts(session, config)
    )


def _doubts(session: Session, config: Config) -> Iterator[str]:
    if not session.dynamic:
        return
    path = config.output_dir / outputs.ARTERIAL_QUALITY.path(session)
    table = session.arterial_table if config.aif == "table" else None
    name = (table or session.dynamic.image).name
    if path.is_file():
        for text in json.loads(path.read_bytes())["Warnings"]:
            yield f"{name}: arterial input: {text}"
