"""Warnings that follow from the results of a session, for its status and the group."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from bidsapp.bids import outputs
from bidsapp.bids.records import Participant, Session
from bidsapp.bids.tables import read_table
from bidsapp.config import Config
from bidsapp.issues import DOUBTFUL_REGISTRATION, OUTLIERS_INCLUDED, Issue
from bidsapp.run.lesion_checks import lesion_warnings, reference_warnings
from bidsapp.run.lesion_signals import signal_warnings


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
        replace(issue, participant=participant.id, session=session.id)
        for session in participant.sessions
        for issue in _session_warnings(session, config)
    )


def _session_warnings(session: Session, config: Config) -> Iterator[Issue]:
    for text in _doubts(session, config):
        yield Issue("warning", text, "DoubtfulInput")
    for text in _included_outliers(session, config):
        yield Issue("warning", text, OUTLIERS_INCLUDED)
    for text in reference_warnings(session, config):
        yield Issue("warning", text, "DoubtfulReference")
    yield from lesion_warnings(session, config)
    yield from signal_warnings(session, config)


def _included_outliers(session: Session, config: Config) -> Iterator[str]:
    """Yield a warning for each series of which outliers of motion were fitted.

    By its definition an outlier changes the signal of a lesion by about a tenth. The perfusion
    fraction is itself about a tenth of the signal, and the arterial input depends on few frames.
    """
    for datatype, series in (("dwi", session.diffusion), ("perf", session.dynamic)):
        path = config.output_dir / outputs.MOTION.path(session, datatype)
        if not series or config.drop_outliers or not path.is_file():
            continue
        marks = [row["outlier"] for row in read_table(path, ["outlier"])]
        if count := marks.count("1"):
            yield (
                f"{series.image.name}: {count} of {len(marks)} volumes are outliers of motion and "
                "are included in the fits: compare the lesion values with those of --drop-outliers"
            )


def _doubts(session: Session, config: Config) -> Iterator[str]:
    yield from _doubtful_registrations(session, config)
    yield from _read(config.output_dir / outputs.REFERENCE.path(session, extension=".json"))
    mirror = outputs.REGIONS.path(session, extension=".json", seg="mirror")
    yield from _read(config.output_dir / mirror)
    for datatype, series in (("dwi", session.diffusion), ("perf", session.dynamic)):
        if series:
            path = config.output_dir / outputs.MOTION.path(session, datatype, ".json")
            yield from (f"{series.image.name}: {text}" for text in _read(path))
    if not session.dynamic:
        return
    path = config.output_dir / outputs.BOLUS_QUALITY.path(session)
    yield from (f"{session.dynamic.image.name}: {text}" for text in _read(path))
    path = config.output_dir / outputs.ARTERIAL_QUALITY.path(session)
    table = session.arterial_table if config.aif == "table" else None
    name = (table or session.dynamic.image).name
    yield from (f"{name}: arterial input: {text}" for text in _read(path))
    if session.t1_map:
        name = session.t1_map.image.name
    elif session.flip_angle_series:
        name = session.flip_angle_series.images[0].name
    paths = [
        outputs.T1_QUALITY.path(session),
        *(outputs.UNEXPLAINED.path(session, "perf", ".json", **s) for s in ({}, {"space": "T1w"})),
    ]
    texts = (text for path in paths for text in _read(config.output_dir / path))
    yield from (f"{name}: T1 map: {text}" for text in dict.fromkeys(texts))


def _doubtful_registrations(session: Session, config: Config) -> Iterator[str]:
    """Yield why each registration through which lesion values are measured is doubtful.

    Beyond the limit of doubt the expected error is of the order of a voxel, and many voxels of a
    small lesion may come from outside it. What replaced a failed registration is a doubt, too.
    """
    files = {"T1w on that of the baseline": outputs.TO_BASELINE_QUALITY.path(session)}
    for datatype, series in (("dwi", session.diffusion), ("perf", session.dynamic)):
        if series:
            path = outputs.TO_T1W_QUALITY.path(session, datatype)
            files[f"{series.image.name} on the T1w"] = path
    for name, path in files.items():
        whole = config.output_dir / path
        content = json.loads(whole.read_bytes()) if whole.is_file() else {}
        if content.get("verdict") in ("doubtful", "failed"):
            yield f"{name}: {DOUBTFUL_REGISTRATION}: {content['reason']}"


def _read(path: Path) -> list[str]:
    """Return the warnings in a JSON file of results, if it exists and has any."""
    content = json.loads(path.read_bytes()) if path.is_file() else {}
    found: list[str] = content.get("Warnings", [])
    return found
