"""A dynamic series with its sidecar, and what sidecar and table of sessions state of the blood."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from bidsapp.bids.contrast_agents import stated_agent
from bidsapp.bids.frames import order_frames
from bidsapp.bids.images import has_fifth_axis, series_shape, stated_interval
from bidsapp.bids.index import IndexedFile, image_path
from bidsapp.bids.problems import Problems
from bidsapp.bids.pulse_sequence import check_spoiled_gradient_echo, preparation_warning
from bidsapp.bids.records import RELAXIVITY_RANGE, TR_RANGE, Dynamic, Session, Stated
from bidsapp.bids.sidecar import as_number, quote_value, read_field, sidecar_name
from bidsapp.bids.tables import read_table
from bidsapp.bids.timing import (
    FrameTimes,
    GivenTiming,
    read_frame_times,
    read_repetition_time,
)
from bidsapp.errors import BadInput

_HAEMATOCRIT = ("haematocrit", "hematocrit", "hct")
HAEMATOCRIT_RANGE = (0.1, 0.75)
"""Fractions of the blood that are plausible for cells."""
_T1_BLOOD = ("bloodt1", "t1blood", "t1ofblood", "arterialbloodt1")
"""Names of the two quantities, in lower case and without underscores."""
_LATEST_ECHO = 0.95
"""Fraction of TR after which there is no time left for an echo to be read."""
_MOST_SECONDS = 20.0
"""A larger T1 is in ms, s."""


def read_dynamic(
    files: Sequence[IndexedFile], given: GivenTiming, problems: Problems
) -> tuple[Dynamic, bool]:
    """Return a dynamic series, and whether its sidecar states all that is needed.

    Parameters
    ----------
    files
        Its image, or an image of each frame.
    given
        Timing that the user states.
    problems
        Receives a problem for each field that is missing or cannot be used.

    Raises
    ------
    BadInput
        If the image cannot be used, or is not that of a spoiled gradient echo.
    """
    frames: tuple[Path, ...] = ()
    acquired: tuple[str, list[float]] | None = None
    if len(files) > 1:
        frames, acquired, metadata = order_frames(files, given.frame_time)
        image, count = frames[0], len(frames)
    else:
        image, metadata = image_path(files[0], 4), files[0].get_metadata()
        count = series_shape(image)[3]
    check_spoiled_gradient_echo(metadata, image)
    before, name = len(problems), sidecar_name(image)
    header = None if frames else stated_interval(image)
    read_timing = partial(read_frame_times, header=header, acquired=acquired, given=given)
    timing = problems.attempt(read_timing, metadata, image, count)
    repetition = problems.attempt(read_repetition_time, metadata, image, given.repetition_time)
    number = partial(_read_number, metadata, image, problems)
    agent_source, agent = stated_agent(metadata)
    series = Dynamic(
        image=image,
        times=tuple(t / 60 for t in timing.seconds) if timing else (),
        repetition_time=repetition.value if repetition else math.nan,
        flip_angle=math.radians(number("FlipAngle", "degrees", 0.5, 90)),
        field_strength=number("MagneticFieldStrength", "tesla", 0.01, 20),
        relaxivity=number("ContrastAgentRelaxivity", "1/s/mM", *RELAXIVITY_RANGE)
        if "ContrastAgentRelaxivity" in metadata
        else None,
        agent=agent,
        haematocrit=problems.attempt(stated_haematocrit, metadata, name),
        t1_blood=problems.attempt(stated_t1_blood, metadata, name),
        doubts=(*filter(None, [preparation_warning(metadata, image)]), *_doubts(timing)),
        fifth_axis=has_fifth_axis(image),
        times_source=timing.source if timing else "",
        repetition_time_source=repetition.source if repetition else "",
        agent_source=agent_source,
        frames=frames,
    )
    problems.attempt(_check_echo_time, metadata, image, repetition)
    return series, len(problems) == before


def _doubts(timing: FrameTimes | None) -> tuple[str, ...]:
    return timing.doubts if timing else ()


def _read_number(
    metadata: Mapping[str, Any], image: Path, problems: Problems, key: str, *limits: Any
) -> float:
    """Return the number in a field, or NaN after noting why there is none."""
    value = problems.attempt(read_field, metadata, key, image, *limits)
    return math.nan if value is None else value


def _check_echo_time(metadata: Mapping[str, Any], image: Path, repetition: Stated | None) -> None:
    """Refuse an echo time that is not below TR with its readout, or is in ms."""
    echo, name = as_number(metadata.get("EchoTime")), sidecar_name(image)
    other = as_number(metadata.get("RepetitionTime"))
    known = repetition or (Stated(other, "RepetitionTime") if other else None)
    if echo is None:
        return
    remedy = '"EchoTime": <seconds>'
    if known and echo > _LATEST_ECHO * known.value:
        raise BadInput(
            f"{name}: EchoTime ({echo:g}) is not below {known.source} ({known.value:g}) by the "
            "time of a readout; are both in seconds?",
            remedy,
        )
    if echo > TR_RANGE[1]:
        raise BadInput(
            f"{name}: EchoTime is {echo:g}, above the longest TR ({TR_RANGE[1]:g} s); is it in "
            "seconds?",
            remedy,
        )


def add_table_values(session: Session, table: Path, participant: str = "") -> Session:
    """Return a session with the haematocrit and T1 of blood of its row in a table.

    Numbers in the sidecar of the dynamic series, and those that the session already has, are
    preferred.

    Parameters
    ----------
    session
        The session.
    table
        A table of sessions or, with `participant`, of participants.
    participant
        Label in the table of participants.

    Raises
    ------
    BadInput
        If a number is implausible.
    """
    key = "participant_id" if participant else "session_id"
    if session.dynamic is None or not table.is_file():
        return session
    rows = read_table(table, (key,), known=(key,))
    prefix, label = ("sub-", participant) if participant else ("ses-", session.label)
    row = next((r for r in rows if r[key].strip().removeprefix(prefix) == label), {})
    known = session.dynamic
    dynamic = replace(
        known,
        haematocrit=known.haematocrit or stated_haematocrit(row, table.name),
        t1_blood=known.t1_blood or stated_t1_blood(row, table.name),
    )
    return replace(session, dynamic=dynamic)


def states_blood(table: Path) -> bool:
    """Return whether a table has a column of the haematocrit or of the T1 of blood."""
    if not table.is_file():
        return False
    header = table.read_text(encoding="utf-8", errors="replace").partition("\n")[0]
    return any(_plain(name.strip()) in (*_HAEMATOCRIT, *_T1_BLOOD) for name in header.split("\t"))


def stated_haematocrit(fields: Mapping[str, Any], source: str) -> Stated | None:
    """Return the haematocrit in the fields of a sidecar or the row of a table, or None.

    Raises
    ------
    BadInput
        If it is not a plausible fraction or percentage.

    Examples
    --------
    >>> stated_haematocrit({"Hematocrit": 38}, "a_dce.json")
    Stated(value=0.38, source='a_dce.json, where it is 38, in percent')
    """
    return _stated(fields, source, _HAEMATOCRIT, (1.0, 0.01, "in percent"), HAEMATOCRIT_RANGE)


def stated_t1_blood(fields: Mapping[str, Any], source: str) -> Stated | None:
    """Return T1 of blood (s) in the fields of a sidecar or the row of a table, or None.

    Raises
    ------
    BadInput
        If it is not plausible in s or ms.

    Examples
    --------
    >>> stated_t1_blood({"t1_blood": "1.7"}, "sub-01_sessions.tsv")
    Stated(value=1.7, source='sub-01_sessions.tsv')
    """
    return _stated(fields, source, _T1_BLOOD, (_MOST_SECONDS, 1e-3, "in ms"), (0.5, 4.0))


def _stated(
    fields: Mapping[str, Any],
    source: str,
    names: tuple[str, ...],
    other_unit: tuple[float, float, str],
    plausible: tuple[float, float],
) -> Stated | None:
    """Return a number by one of its names; above a limit, it is in another unit."""
    like = {key: value for key, value in fields.items() if _plain(key) in names}
    for key, given in like.items():
        if given is None or str(given).strip().lower() in ("", "n/a"):
            continue
        most, scale, unit = other_unit
        number = _as_float(given, percent=unit == "in percent")
        value = round(number * scale, 9) if number > most else number
        low, high = plausible
        if not low <= value <= high:
            raise BadInput(
                f"{source}: {key} is {quote_value(given)}, "
                + (
                    "with a comma; write a decimal point"
                    if "," in str(given)
                    else f"outside {low:g} to {high:g}; correct or remove it"
                )
            )
        where = source if value == number else f"{source}, where it is {number:g}, {unit}"
        return Stated(value, where)
    return None


def _as_float(given: Any, *, percent: bool) -> float:
    """Return a number, also one with the sign of percent if that is its other unit."""
    text = str(given).strip()
    try:
        return float(text.removesuffix("%")) if percent else float(given)
    except (TypeError, ValueError):
        return math.nan


def _plain(name: Any) -> str:
    return str(name).replace("_", "").replace("-", "").replace(" ", "").lower()
