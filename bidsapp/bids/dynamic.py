"""A dynamic series with its sidecar, and what sidecar and table of sessions state of the blood."""

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from bidsapp.bids.images import has_fifth_axis, series_shape, stated_interval
from bidsapp.bids.index import IndexedFile, image_path
from bidsapp.bids.pulse_sequence import check_spoiled_gradient_echo, preparation_warning
from bidsapp.bids.records import Dynamic, Session, Stated
from bidsapp.bids.sidecar import as_number, frame_times, quote_value, read_field, sidecar_name
from bidsapp.bids.tables import read_table
from bidsapp.errors import BadInput

_HAEMATOCRIT = ("haematocrit", "hematocrit", "hct")
HAEMATOCRIT_RANGE = (0.1, 0.75)
"""Fractions of the blood that are plausible for cells."""
_T1_BLOOD = ("bloodt1", "t1blood", "t1ofblood", "arterialbloodt1")
"""Names of the two quantities, in lower case and without underscores."""
_MOST_SECONDS = 20.0
"""A larger T1 is in ms, s."""
_APART = 0.1
"""Relative difference of two intervals above which they contradict each other."""
_USUAL = (0.05, 0.95)
"""Quantiles between which the intervals of a series are, but for single pauses."""


def read_dynamic(found: IndexedFile) -> Dynamic:
    """Return a dynamic series.

    Raises
    ------
    BadInput
        If the image or its sidecar cannot be used.
    """
    image, metadata = image_path(found, 4), found.get_metadata()
    check_spoiled_gradient_echo(metadata, image)
    times = frame_times(metadata, image)
    frames = series_shape(image)[3]
    name = sidecar_name(image)
    if len(times) != frames:
        raise BadInput(
            f"{name}: VolumeTiming has {len(times)} times, but the image has "
            f"{frames} frames; there must be one time per frame"
        )
    _check_interval(times, image)
    relaxivity = None
    if "ContrastAgentRelaxivity" in metadata:
        relaxivity = read_field(metadata, "ContrastAgentRelaxivity", image, "1/s/mM", 0.5, 50)
    agent = metadata.get("ContrastBolusAgent")
    repetition = read_field(metadata, "RepetitionTimeExcitation", image, "seconds", 5e-4, 0.2)
    echo = as_number(metadata.get("EchoTime"))
    if echo is not None and echo >= repetition:
        raise BadInput(
            f"{name}: EchoTime ({echo:g}) is not below RepetitionTimeExcitation "
            f"({repetition:g}); are both in seconds?"
        )
    return Dynamic(
        image=image,
        times=times,
        repetition_time=repetition,
        flip_angle=math.radians(read_field(metadata, "FlipAngle", image, "degrees", 0.5, 90)),
        field_strength=read_field(metadata, "MagneticFieldStrength", image, "tesla", 0.01, 20),
        relaxivity=relaxivity,
        agent=agent if isinstance(agent, str) else None,
        haematocrit=stated_haematocrit(metadata, name),
        t1_blood=stated_t1_blood(metadata, name),
        doubt=preparation_warning(metadata, image),
        fifth_axis=has_fifth_axis(image),
    )


def _check_interval(times: tuple[float, ...], image: Path) -> None:
    """Refuse times of frames (min) whose intervals contradict the header of the image.

    Ktrans and kep are inversely proportional to the time scale. Where the intervals vary, the
    header can state only one of them, or their mean.

    Raises
    ------
    BadInput
        If the interval in the header is more than 10 % outside those of the frames.
    """
    stated = stated_interval(image)
    steps = 60 * np.diff(times)
    if stated is None or not steps.size:
        return
    usual = [*np.quantile(steps, _USUAL), steps.mean()]
    if (1 - _APART) * min(usual) <= stated <= (1 + _APART) * max(usual):
        return
    raise BadInput(
        f"{sidecar_name(image)}: VolumeTiming has intervals of {np.median(steps):.4g} s, but the "
        f"header of {image.name} states {stated:.4g} s (pixdim[4]); correct the wrong one, or set "
        "pixdim[4] to 1 if it is not known"
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
