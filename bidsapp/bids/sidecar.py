"""Numbers in sidecars and text files, checked and converted to internal units."""

import math
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from itertools import pairwise
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.affines import voxel_sizes

from bidsapp.bids.images import UNREADABLE
from bidsapp.bids.records import TR_RANGE
from bidsapp.bids.text_files import read_text
from bidsapp.errors import BadInput

_TRANSMIT_UNITS = {"1": 1.0, "ratio": 1.0, "percent": 0.01, "%": 0.01}
_B_VALUES = (10.0, 20000.0)
"""Plausible range of the highest b-value of a series, s/mm2."""
_PHASE_FIELDS = ("PhaseEncodingDirection", "PhaseEncodingAxis")
_DIRECTIONS = ("i", "i-", "j", "j-", "k", "k-")
_THICKER = 1.3
"""Ratio of the voxel sizes above which the longest side of a voxel is the thickness of a slice."""


def read_field(
    metadata: Mapping[str, Any],
    key: str,
    image: Path,
    unit: str,
    low: float,
    high: float,
    option: str = "",
) -> float:
    """Return the number in a field of a sidecar.

    Parameters
    ----------
    metadata
        The metadata of the image.
    key
        The BIDS field.
    image
        The image, for error messages.
    unit
        The unit in BIDS, for error messages.
    low, high
        The plausible range.
    option
        The option that can state it instead, if there is one.

    Raises
    ------
    BadInput
        If the field is missing, not a number, or implausible.

    Examples
    --------
    >>> read_field({"FlipAngle": 15}, "FlipAngle", Path("a_dce.nii.gz"), "degrees", 0, 180)
    15.0
    """
    name = sidecar_name(image)
    remedy = f'"{key}": <{unit}>' + (f" or {option} <{unit}>" if option else "")
    if key not in metadata:
        instead = f", or give {option}" if option else ""
        text = f"{name}: {key} is missing{_hint(metadata, key)}; add it in {unit}{instead}"
        raise BadInput(text, remedy)
    value = as_number(metadata[key])
    if value is None:
        text = f"{name}: {key} is {quote_value(metadata[key])}; it must be a number in {unit}"
        raise BadInput(text, remedy)
    if not low < value <= high:
        text = f"{name}: {key} is {value:g}, outside {low:g} to {high:g}; is it in {unit}?"
        raise BadInput(text, remedy)
    return value


def as_number(value: Any) -> float | None:
    """Return a JSON value as a finite number, or None.

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
    """Return a value of a sidecar for a message, shortened if it is long."""
    try:
        text = repr(value)
    except (
        RecursionError,
        ValueError,
    ):  # nested too deeply, or an integer with thousands of digits
        return f"a {type(value).__name__}"
    return text if len(text) <= 60 else text[:57] + "..."


def _hint(metadata: Mapping[str, Any], key: str) -> str:
    """Return a hint at a field with a name similar to that of a missing one."""
    if key == "RepetitionTimeExcitation" and "RepetitionTime" in metadata:
        time = as_number(metadata["RepetitionTime"])
        if time is not None and time <= TR_RANGE[1] and acquisition_type(metadata) != "3D":
            return (
                f" (RepetitionTime, {time:g} s, is that of the excitation only if "
                "MRAcquisitionType is 3D)"
            )
        return " (in BIDS, RepetitionTime is the time of a whole volume, so it cannot be used)"
    like = get_close_matches(key, [k for k in metadata if isinstance(k, str)], 1, 0.8)
    return f" ({like[0]} is present: misspelt?)" if like else ""


def acquisition_type(metadata: Mapping[str, Any]) -> str:
    """Return ``MRAcquisitionType`` in upper case, 2D or 3D; empty if it is not stated.

    Examples
    --------
    >>> acquisition_type({"MRAcquisitionType": "3d"})
    '3D'
    """
    return str(metadata.get("MRAcquisitionType", "")).strip().upper()


def phase_axis(metadata: Mapping[str, Any], image: Path) -> int | None:
    """Return the voxel axis of phase encoding, or None if it is not specified.

    Without ``PhaseEncodingDirection``, that of dcm2niix's ``PhaseEncodingAxis``, which has no sign.

    Raises
    ------
    BadInput
        If the direction is not valid in BIDS, or the slice axis of a 2D acquisition.

    Examples
    --------
    >>> phase_axis({"PhaseEncodingDirection": "j-"}, Path("sub-01_dwi.nii.gz"))
    1
    """
    field = next((f for f in _PHASE_FIELDS if metadata.get(f) is not None), "")
    if not field:
        return None
    direction = metadata[field]
    if not isinstance(direction, str) or direction not in _DIRECTIONS:
        raise BadInput(
            f"{sidecar_name(image)}: {field} is {quote_value(direction)}; "
            "it must be i, j or k, or one of them with a minus"
        )
    axis = "ijk".index(direction[0])
    if acquisition_type(metadata) == "2D":
        slices, source = _slice_axis(metadata, image)
        if axis == slices:
            raise BadInput(
                f"{sidecar_name(image)}: {field} is {quote_value(direction)}, which "
                f"is the slice axis of this 2D series ({source}); it must be another axis"
            )
    return axis


def _slice_axis(metadata: Mapping[str, Any], image: Path) -> tuple[int, str]:
    """Return the slice axis of a 2D series, and what it was taken from.

    Without ``SliceEncodingDirection`` it is the axis of the thickest voxels, because BIDS allows
    the axes of an image in any order; k, the default of BIDS, if no axis has thicker voxels.
    """
    stated = metadata.get("SliceEncodingDirection")
    if isinstance(stated, str) and stated in _DIRECTIONS:
        return "ijk".index(stated[0]), "SliceEncodingDirection"
    try:
        sizes = voxel_sizes(nib.load(image).affine)
    except UNREADABLE as error:
        raise BadInput(f"{image}: cannot be read as NIfTI ({error})") from error
    thick = int(sizes.argmax())
    if sizes[thick] > _THICKER * np.delete(sizes, thick).max():
        return thick, f"its voxels measure {sizes[thick]:.3g} mm along it"
    return 2, "without SliceEncodingDirection and thicker voxels, BIDS assumes k"


def sidecar_name(image: Path) -> str:
    """Return the name of an image's sidecar.

    Examples
    --------
    >>> sidecar_name(Path("sub-01_dce.nii.gz"))
    'sub-01_dce.json'
    """
    return image.name.removesuffix(".gz").removesuffix(".nii") + ".json"


def transmit_scale(metadata: Mapping[str, Any], image: Path) -> float:
    """Return the factor that converts a B1 map to the ratio of actual to nominal flip angle.

    Parameters
    ----------
    metadata
        The metadata of the image.
    image
        The image, for error messages.

    Raises
    ------
    BadInput
        If ``Units``, which BIDS does not prescribe, is missing or neither ``1`` nor ``percent``.

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


def ascending_steps(times: Sequence[float], where: str, remedy: str) -> list[float]:
    """Return the differences of successive times.

    Parameters
    ----------
    times
        In any unit.
    where, remedy
        File and field of the times, and what they must be, for the message.

    Raises
    ------
    BadInput
        If they are not ascending, or one of them is not a number.

    Examples
    --------
    >>> ascending_steps([0, 6, 13], "a_dce.json: VolumeTiming", "it must be in seconds")
    [6, 7]
    """
    steps = [after - before for before, after in pairwise(times)]
    if not all(step > 0 for step in steps):  # also if a time is NaN
        raise BadInput(f"{where} is not ascending; {remedy}")
    return steps


def b_values(path: Path) -> tuple[float, ...]:
    """Return the b-values of a ``.bval`` file, s/mm2, in one row or one column.

    Raises
    ------
    BadInput
        If they are not numbers, negative, or in another unit.
    """
    values = read_numbers(path)
    if any(v < 0 for v in values):
        raise BadInput(f"{path}: has the negative b-value {min(values):g}")
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
        If it cannot be read or contains anything other than finite numbers.
    """
    try:
        values = tuple(float(word) for word in read_text(path).split())
    except ValueError as error:
        hint = "; separate numbers by spaces, not commas" if "," in str(error) else ""
        raise BadInput(f"{path}: cannot be read as numbers ({error}){hint}") from error
    if not all(math.isfinite(v) for v in values):
        raise BadInput(f"{path}: contains a value that is not finite")
    return values


def check_directions(path: Path, volumes: int) -> None:
    """Raise an error if a ``.bvec`` file does not have three numbers per volume.

    Raises
    ------
    BadInput
        If it cannot be read as numbers, or has a different number of them.
    """
    try:
        count = len([float(word) for word in read_text(path).split()])
    except ValueError as error:
        raise BadInput(f"{path}: cannot be read as numbers ({error})") from error
    if count != 3 * volumes:
        raise BadInput(f"{path}: has {count} numbers; {volumes} volumes require {3 * volumes}")
