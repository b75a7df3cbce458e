"""Numbers out of sidecars and tables, checked and brought into our units."""

import csv
import math
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

from bidsapp.errors import BadInput

_TRANSMIT_UNITS = {"1": 1.0, "ratio": 1.0, "percent": 0.01, "%": 0.01}


def number(
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
    >>> number({"FlipAngle": 15}, "FlipAngle", Path("sub-01_dce.nii.gz"), "degrees", 0, 180)
    15.0
    """
    name = sidecar_name(image)
    if key not in metadata:
        raise BadInput(f"{name}: {key} is missing; add it in {unit}")
    value = metadata[key]
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise BadInput(f"{name}: {key} is {value!r}; it must be a number in {unit}")
    if not low < value <= high:
        raise BadInput(f"{name}: {key} is {value:g}, outside {low:g} to {high:g}; is it in {unit}?")
    return float(value)


def phase_axis(metadata: Mapping[str, Any], image: Path) -> int | None:
    """Return the axis of the voxels along which the phase is encoded, or None if not told.

    Raises
    ------
    BadInput
        If ``PhaseEncodingDirection`` is none of BIDS's words.

    Examples
    --------
    >>> phase_axis({"PhaseEncodingDirection": "j-"}, Path("sub-01_dwi.nii.gz"))
    1
    """
    told = metadata.get("PhaseEncodingDirection")
    if told is None:
        return None
    if told not in ("i", "i-", "j", "j-", "k", "k-"):
        raise BadInput(
            f"{sidecar_name(image)}: PhaseEncodingDirection is {told!r}; it must be i, j or k, "
            "or one of them with a minus"
        )
    return "ijk".index(told[0])


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
            f"{sidecar_name(image)}: Units is {metadata['Units']!r}, which does not tell what the "
            f"nominal flip angle is; {how}"
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
        If the field is missing or its numbers do not ascend.

    Examples
    --------
    >>> frame_times({"VolumeTiming": [0, 6, 12]}, Path("sub-01_dce.nii.gz"))
    (0.0, 0.1, 0.2)
    """
    timing = metadata.get("VolumeTiming")
    name = sidecar_name(image)
    if timing is None:
        raise BadInput(f"{name}: VolumeTiming is missing; add the start of each frame in seconds")
    if not isinstance(timing, list) or not all(isinstance(t, int | float) for t in timing):
        raise BadInput(f"{name}: VolumeTiming is {timing!r}; it must be a list of seconds")
    if any(after <= before for before, after in pairwise(timing)):
        raise BadInput(f"{name}: VolumeTiming does not ascend; give each frame's start in seconds")
    return tuple(t / 60 for t in timing)


def read_table(path: Path, required: tuple[str, ...]) -> list[dict[str, str]]:
    """Return the rows of a TSV file.

    Parameters
    ----------
    path
        The file.
    required
        Columns that it must have.

    Raises
    ------
    BadInput
        If it cannot be read as text or lacks a column.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.DictReader(stream, delimiter="\t")
            rows = list(reader)
            columns = reader.fieldnames or []
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise BadInput(f"{path}: cannot be read as a TSV table ({error})") from error
    for column in required:
        if column not in columns:
            raise BadInput(f"{path}: column {column!r} is missing; it has {', '.join(columns)}")
    return rows


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
        values = tuple(float(word) for word in path.read_text(encoding="utf-8").split())
    except (OSError, UnicodeDecodeError, ValueError) as error:
        raise BadInput(f"{path}: cannot be read as numbers ({error})") from error
    if not all(math.isfinite(v) for v in values):
        raise BadInput(f"{path}: holds a value that is not finite")
    return values
