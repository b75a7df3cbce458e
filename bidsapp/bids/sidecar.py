"""Numbers out of sidecars and tables, checked and brought into our units."""

import math
from collections.abc import Mapping
from difflib import get_close_matches
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

from bidsapp.bids.text_files import read_text
from bidsapp.errors import BadInput

_TRANSMIT_UNITS = {"1": 1.0, "ratio": 1.0, "percent": 0.01, "%": 0.01}
_FRAME = (0.2, 120.0)
"""Plausible time between two frames of a dynamic series, s."""
_B_VALUES = (10.0, 20000.0)
"""Where the highest b-value of a series may lie, s/mm2."""


def read_field(
    metadata: Mapping[str, Any], key: str, image: Path, unit: str, low: float, high: float
) -> float:
    """Return a number of a sidecar.

    Parameters
    ----------
    metadata
        The image's metadata.
    key
        The BIDS field.
    image
        Whose sidecar it is, for the message.
    unit
        The unit that BIDS asks for, for the message.
    low, high
        The plausible range.

    Raises
    ------
    BadInput
        If the field is missing, no number, or implausible.

    Examples
    --------
    >>> read_field({"FlipAngle": 15}, "FlipAngle", Path("a_dce.nii.gz"), "degrees", 0, 180)
    15.0
    """
    name = sidecar_name(image)
    if key not in metadata:
        raise BadInput(f"{name}: {key} is missing{_hint(metadata, key)}; add it in {unit}")
    value = as_number(metadata[key])
    if value is None:
        raise BadInput(
            f"{name}: {key} is {quote_value(metadata[key])}; it must be a number in {unit}"
        )
    if not low < value <= high:
        raise BadInput(f"{name}: {key} is {value:g}, outside {low:g} to {high:g}; is it in {unit}?")
    return value


def as_number(value: Any) -> float | None:
    """Return a finite number of JSON as such, or None.

    Examples
    --------
    >>> as_number(3), as_number("3"), as_number(True), as_number(10**400)
    (3.0, None, None, None)
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        found = float(value)
    except OverflowError:
        return None
    return found if math.isfinite(found) else None


def quote_value(value: Any) -> str:
    """Return a value of a sidecar for a message, cut if it is long."""
    try:
        text = repr(value)
    except (RecursionError, ValueError):  # nested too deep, or an integer of thousands of digits
        return f"a {type(value).__name__}"
    return text if len(text) <= 60 else text[:57] + "..."


def _hint(metadata: Mapping[str, Any], key: str) -> str:
    """Return a hint at a field of a sidecar whose name resembles that of a missing one."""
    if key == "RepetitionTimeExcitation" and "RepetitionTime" in metadata:
        return " (RepetitionTime is the time of a whole volume in BIDS, so it is not taken)"
    like = get_close_matches(key, [k for k in metadata if isinstance(k, str)], 1, 0.8)
    return f" ({like[0]} is there: misspelt?)" if like else ""


def phase_axis(metadata: Mapping[str, Any], image: Path) -> int | None:
    """Return the axis of the voxels along which the phase is encoded, or None if not stated.

    Raises
    ------
    BadInput
        If ``PhaseEncodingDirection`` is none of BIDS's words, or ``k`` in a 2D acquisition.

    Examples
    --------
    >>> phase_axis({"PhaseEncodingDirection": "j-"}, Path("sub-01_dwi.nii.gz"))
    1
    """
    direction = metadata.get("PhaseEncodingDirection")
    if direction is None:
        return None
    if not isinstance(direction, str) or direction not in ("i", "i-", "j", "j-", "k", "k-"):
        raise BadInput(
            f"{sidecar_name(image)}: PhaseEncodingDirection is {quote_value(direction)}; "
            "it must be i, j or k, or one of them with a minus"
        )
    if direction[0] == "k" and metadata.get("MRAcquisitionType") == "2D":
        raise BadInput(
            f"{sidecar_name(image)}: PhaseEncodingDirection is {quote_value(direction)}, which is "
            "the slice axis of this 2D series (MRAcquisitionType); it must be i or j"
        )
    return "ijk".index(direction[0])


def sidecar_name(image: Path) -> str:
    """Return the name of an image's sidecar.

    Examples
    --------
    >>> sidecar_name(Path("sub-01_dce.nii.gz"))
    'sub-01_dce.json'
    """
    return image.name.removesuffix(".gz").removesuffix(".nii") + ".json"


def transmit_scale(metadata: Mapping[str, Any], image: Path) -> float:
    """Return what brings a B1 map to the actual over the nominal flip angle.

    Parameters
    ----------
    metadata
        The image's metadata.
    image
        Whose sidecar it is, for the message.

    Raises
    ------
    BadInput
        If ``Units`` is missing or neither ``1`` nor ``percent``: BIDS leaves it to the data set.

    Examples
    --------
    >>> transmit_scale({"Units": "percent"}, Path("sub-01_TB1map.nii.gz"))
    0.01
    """
    how = 'add "1" if 1 is the nominal flip angle, "percent" if 100 is'
    if "Units" not in metadata:
        raise BadInput(f"{sidecar_name(image)}: Units is missing; {how}")
    units = str(metadata["Units"]).strip().lower()
    if units not in _TRANSMIT_UNITS:
        raise BadInput(
            f"{sidecar_name(image)}: Units is {quote_value(metadata['Units'])}, which does not "
            f"state what the nominal flip angle is; {how}"
        )
    return _TRANSMIT_UNITS[units]


def frame_times(metadata: Mapping[str, Any], image: Path) -> tuple[float, ...]:
    """Return the times of the frames in min, from ``VolumeTiming`` in s.

    Parameters
    ----------
    metadata
        The image's metadata.
    image
        Whose sidecar it is, for the message.

    Raises
    ------
    BadInput
        If the field is missing, its numbers do not ascend, or lie too close or too far apart.

    Examples
    --------
    >>> frame_times({"VolumeTiming": [0, 6, 12]}, Path("sub-01_dce.nii.gz"))
    (0.0, 0.1, 0.2)
    """
    timing = metadata.get("VolumeTiming")
    name = sidecar_name(image)
    if timing is None:
        raise BadInput(f"{name}: VolumeTiming is missing; add the start of each frame in seconds")
    seconds = [as_number(t) for t in timing] if isinstance(timing, list) else [None]
    times = [t for t in seconds if t is not None]
    if len(times) < len(seconds):
        raise BadInput(
            f"{name}: VolumeTiming is {quote_value(timing)}; it must be a list of seconds"
        )
    steps = [after - before for before, after in pairwise(times)]
    if any(step <= 0 for step in steps):
        raise BadInput(f"{name}: VolumeTiming does not ascend; give each frame's start in seconds")
    if steps and not _FRAME[0] <= median(steps) <= _FRAME[1]:
        raise BadInput(
            f"{name}: VolumeTiming has frames {median(steps):g} apart, outside {_FRAME[0]:g} to "
            f"{_FRAME[1]:g}; is it in seconds?"
        )
    return tuple(t / 60 for t in times)


def b_values(path: Path) -> tuple[float, ...]:
    """Return the b-values of a ``.bval`` file, s/mm2, in one row or one column.

    Raises
    ------
    BadInput
        If they are no numbers, negative, or of another unit.
    """
    values = read_numbers(path)
    if any(v < 0 for v in values):
        raise BadInput(f"{path}: holds the negative b-value {min(values):g}")
    low, high = _B_VALUES
    if any(values) and not low <= max(values) <= high:
        raise BadInput(
            f"{path}: its highest b-value is {max(values):g}, outside {low:g} to {high:g}; is it "
            "in s/mm2?"
        )
    return values


def read_numbers(path: Path) -> tuple[float, ...]:
    """Return the numbers of a text file such as ``.bval``.

    Parameters
    ----------
    path
        The file.

    Raises
    ------
    BadInput
        If it cannot be read or holds something else than finite numbers.
    """
    try:
        values = tuple(float(word) for word in read_text(path).split())
    except ValueError as error:
        raise BadInput(f"{path}: cannot be read as numbers ({error})") from error
    if not all(math.isfinite(v) for v in values):
        raise BadInput(f"{path}: holds a value that is not finite")
    return values


def check_directions(path: Path, volumes: int) -> None:
    """Complain if a ``.bvec`` file does not hold three numbers a volume.

    Raises
    ------
    BadInput
        If it holds words, or another count.
    """
    try:
        count = len([float(word) for word in read_text(path).split()])
    except ValueError as error:
        raise BadInput(f"{path}: cannot be read as numbers ({error})") from error
    if count != 3 * volumes:
        raise BadInput(
            f"{path}: holds {count} numbers; {volumes} volumes need {3 * volumes}, three a volume"
        )
