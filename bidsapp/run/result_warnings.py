"""Warnings that steps of a run leave in the sidecars of their results."""

import json
from collections.abc import Iterator

from bidsapp.bids import outputs
from bidsapp.bids.records import Participant
from bidsapp.config import Config
from bidsapp.issues import Issue


def read_result_warnings(participant: Participant, config: Config) -> Iterator[Issue]:
    """Yield the warnings about the motion of each series."""
    for session in participant.sessions:
        for datatype, series in (("dwi", session.diffusion), ("perf", session.dynamic)):
            path = config.output_dir / outputs.MOTION.path(session, datatype, ".json")
            if series is None or not path.is_file():
                continue
            for text in json.loads(path.read_bytes()).get("Warnings", ()):
                yield Issue(
                    "warning",
                    f"{series.image.name}: {text}",
                    "DoubtfulMotion",
                    participant.id,
                    session.id,
                )
