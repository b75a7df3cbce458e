"""Warnings that follow from the results of a session, for its status and the group."""

import json
import math
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from bidsapp.bids import outputs
from bidsapp.bids.cells import parse_number
from bidsapp.bids.records import Participant, Session
from bidsapp.bids.tables import read_table
from bidsapp.config import Config
from bidsapp.issues import (
    DOUBTFUL_REGISTRATION,
    IMPOSSIBLE_VALUE,
    NOT_ENHANCING,
    OUTLIERS_INCLUDED,
    Issue,
)
from bidsapp.models.parameters import FRACTIONS

_LESION_CURVE = re.compile(r"lesion-\d+")
_ENHANCING = 1.25
"""Least mean concentration of an enhancing lesion, relative to the median of the head."""


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
        Issue("warning", text, code, participant.id, session.id)
        for session in participant.sessions
        for code, texts in (
            ("DoubtfulInput", _doubts(session, config)),
            (OUTLIERS_INCLUDED, _included_outliers(session, config)),
            (IMPOSSIBLE_VALUE, _impossible_values(session, config)),
            (NOT_ENHANCING, _not_enhancing(session, config)),
        )
        for text in texts
    )


def _included_outliers(session: Session, config: Config) -> Iterator[str]:
    """Yield a warning for each series of which outliers of motion were fitted.

    By its definition an outlier changes the signal of a lesion by about a tenth. The perfusion
    fraction is itself about a tenth of the signal, and the arterial input hangs on few frames.
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


def _impossible_values(session: Session, config: Config) -> Iterator[str]:
    """Yield each lesion in which the mean of a fraction of the volume exceeds 1."""
    folder = (config.output_dir / outputs.LESION_VALUES.path(session, "dwi")).parent.parent
    for path in outputs.LESION_VALUES.find(folder):
        yield from _fractions_above_one(path)


def _fractions_above_one(path: Path) -> Iterator[str]:
    """Yield the means above 1 of fractions in a table of lesion values."""
    for row in read_table(path, ["lesion", "parameter", "mean"]):
        if row["parameter"] in FRACTIONS and row["mean"] != "n/a" and float(row["mean"]) > 1:
            yield (
                f"lesion {row['lesion']}: mean {row['parameter']} of {float(row['mean']):.2g} "
                "exceeds 1, which is impossible: check T1, relaxivity, arterial input and units"
            )


def _not_enhancing(session: Session, config: Config) -> Iterator[str]:
    """Yield each lesion whose enhancing part takes up no more contrast agent than the head.

    An ROI in healthy tissue, such as a mirrored one, has a curve that any model fits well.
    """
    path = config.output_dir / outputs.LESION_CURVES["perf"].path(session, "perf")
    if not session.dynamic or not path.is_file():
        return
    rows = read_table(path)
    means = {
        name: _mean(parse_number(row[name], f"{path}: {name}") for row in rows)
        for name in (rows[0] if rows else ())
        if name == "median" or _LESION_CURVE.fullmatch(name)
    }
    head = means.pop("median", 0.0)
    for name, mean in means.items():
        if mean < _ENHANCING * head:
            yield (
                f"lesion {name.removeprefix('lesion-')}: its mean concentration of "
                f"{mean:.2g} mM is that of tissue without enhancement (median of the head "
                f"{head:.2g} mM): is its ROI mirrored, displaced, or of another session?"
            )


def _mean(values: Iterable[float]) -> float:
    """Return the mean of the values that are not missing; NaN if all are."""
    known = [value for value in values if not math.isnan(value)]
    return sum(known) / len(known) if known else math.nan


def _doubts(session: Session, config: Config) -> Iterator[str]:
    yield from _doubtful_registrations(session, config)
    for datatype, series in (("dwi", session.diffusion), ("perf", session.dynamic)):
        if series:
            path = config.output_dir / outputs.MOTION.path(session, datatype, ".json")
            yield from (f"{series.image.name}: {text}" for text in _read(path))
    if not session.dynamic:
        return
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
