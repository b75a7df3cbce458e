"""Information in a data set on the distortion of an EPI series: phase encoding and field maps."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.affines import voxel_sizes
from numpy.typing import NDArray

from bidsapp.bids.images import UNREADABLE, check_image
from bidsapp.bids.problems import Problem
from bidsapp.bids.records import Distortion, FieldSource
from bidsapp.bids.sidecar import phase_axis, quote_value, read_field, sidecar_name
from bidsapp.errors import BadInput

_HERTZ = {"hz": 1.0, "rad/s": 1 / (2 * math.pi), "t": 42.577478518e6, "tesla": 42.577478518e6}
"""Hertz per unit of a field map; for tesla, the proton gyromagnetic ratio / 2 pi, CODATA 2018."""
_ESTIMATED = "EstimatedTotalReadoutTime"
_LONGEST = 0.5
"""Longest plausible readout time, s."""
_OPPOSITE = -0.95
"""Maximum cosine of the angle between opposite phase-encoding directions."""


def read_distortion(series: Sequence[Any], fields: Sequence[Any]) -> Distortion | None:
    """Return the data for correcting the diffusion series of a session, or why there are none.

    Parameters
    ----------
    series
        The diffusion images of the session.
    fields
        The images in its ``fmap`` folder.

    Returns
    -------
    Distortion or None
        None unless there is exactly one series. A field map is preferred to a reversed pair.

    Notes
    -----
    Images in ``fmap`` belong to the series named in their ``IntendedFor``, or to the series with
    a ``B0FieldSource`` that matches their ``B0FieldIdentifier``. If no image of the session has
    such a field, all of them belong to the series.
    """
    if len(series) != 1:
        return None
    found, axis = series[0], None
    try:
        axis = phase_axis(found.get_metadata(), Path(found.path))
        axis, sign = phase_encoding(found.get_metadata(), Path(found.path))
        meant = _select_intended(found, fields)
        source = _field_map(found, meant, axis, sign) or _reversed_epi(found, meant, axis, sign)
    except (BadInput, *UNREADABLE) as error:
        remedy = error.remedy if isinstance(error, BadInput) else ""
        return Distortion(axis, problem=Problem(str(error), remedy))
    lack = "" if source else _explain_lack(fields, meant)
    return Distortion(axis, source, lack, note=_estimated_note(found) if source else "")


def phase_encoding(metadata: Mapping[str, Any], image: Path) -> tuple[int, int]:
    """Return the phase-encoding axis of an image, 0 to 2, and the sign of its direction.

    Parameters
    ----------
    metadata
        The image's metadata.
    image
        The image, for error messages.

    Raises
    ------
    BadInput
        If ``PhaseEncodingDirection`` is missing or unknown.

    Examples
    --------
    >>> phase_encoding({"PhaseEncodingDirection": "j-"}, Path("sub-01_dwi.nii.gz"))
    (1, -1)
    """
    axis = phase_axis(metadata, image)
    if axis is None or metadata.get("PhaseEncodingDirection") is None:
        known = "" if axis is None else f" (PhaseEncodingAxis is {'ijk'[axis]!r}, without a sign)"
        either = "i, j or k" if axis is None else "ijk"[axis]
        raise BadInput(
            f"{sidecar_name(image)}: PhaseEncodingDirection is missing{known}; add {either}, the "
            "image axis along which EPI is distorted, with - if it runs from high to low",
            f'"PhaseEncodingDirection": "{either}"',
        )
    return axis, -1 if metadata["PhaseEncodingDirection"].endswith("-") else 1


def readout_time(metadata: Mapping[str, Any], image: Path, lines: int) -> float:
    """Return the total readout time of an EPI, s.

    Parameters
    ----------
    metadata
        The image's metadata.
    image
        The image, for error messages.
    lines
        Voxels along the phase-encoding axis; ``ReconMatrixPE`` takes precedence.

    Raises
    ------
    BadInput
        If none of ``TotalReadoutTime``, ``EffectiveEchoSpacing`` and dcm2niix's
        ``EstimatedTotalReadoutTime`` is a number in seconds.

    Examples
    --------
    >>> round(readout_time({"EffectiveEchoSpacing": 0.0005}, Path("sub-01_dwi.nii.gz"), 101), 6)
    0.05
    """
    if "TotalReadoutTime" not in metadata and "EffectiveEchoSpacing" in metadata:
        spacing = read_field(metadata, "EffectiveEchoSpacing", image, "seconds", 0, 0.01)
        if "ReconMatrixPE" in metadata:
            lines = round(read_field(metadata, "ReconMatrixPE", image, "lines", 1, 10000))
        return spacing * (lines - 1)
    field = _ESTIMATED if _is_estimated(metadata) else "TotalReadoutTime"
    return read_field(metadata, field, image, "seconds", 0, _LONGEST)


def _is_estimated(metadata: Mapping[str, Any]) -> bool:
    """Return whether only an estimate of the readout time is known, as from Philips."""
    exact = ("TotalReadoutTime", "EffectiveEchoSpacing")
    return _ESTIMATED in metadata and not any(name in metadata for name in exact)


def _estimated_note(found: Any) -> str:
    """Return a note if the size of the distortion depends on an estimated readout time."""
    if not _is_estimated(found.get_metadata()):
        return ""
    return (
        f"{sidecar_name(Path(found.path))}: the readout time is {_ESTIMATED}, which the converter "
        "has estimated from the water-fat shift: the size of the distortion is as uncertain"
    )


def _field_map(found: Any, meant: Sequence[Any], axis: int, sign: int) -> FieldSource | None:
    """Return the field map, with the shift in mm per unit."""
    maps = [f for f in meant if f.entities["suffix"] == "fieldmap"]
    if not maps:
        return None
    chosen = _single(maps, "field maps")
    image, metadata = Path(chosen.path), chosen.get_metadata()
    check_image(image, 3)
    units = str(metadata.get("Units", "")).strip().lower()
    if units not in _HERTZ:
        raise BadInput(
            f"{sidecar_name(image)}: Units is {quote_value(metadata.get('Units'))}; "
            "it must be Hz, rad/s or T"
        )
    return FieldSource("fieldmap", image, sign * _HERTZ[units] * _mm_per_hertz(found, axis))


def _reversed_epi(found: Any, meant: Sequence[Any], axis: int, sign: int) -> FieldSource | None:
    """Return the EPI with reversed phase encoding, with its distortion relative to the series."""
    direction = sign * _direction(Path(found.path), axis)
    against = []
    for other in (f for f in meant if f.entities["suffix"] == "epi"):
        its_axis, its_sign = phase_encoding(other.get_metadata(), Path(other.path))
        if its_sign * _direction(Path(other.path), its_axis) @ direction < _OPPOSITE:
            against.append((other, its_axis))
    if not against:
        return None
    chosen = _single([other for other, _ in against], "EPIs with reversed phase encoding")
    its_axis = next(a for other, a in against if other is chosen)
    ratio = _mm_per_hertz(chosen, its_axis) / _mm_per_hertz(found, axis)
    return FieldSource("epi", Path(chosen.path), ratio)


def _mm_per_hertz(found: Any, axis: int) -> float:
    """Return the shift in a field of 1 Hz, mm."""
    path = Path(found.path)
    image = nib.load(path)
    time = readout_time(found.get_metadata(), path, image.shape[axis])
    return time * float(voxel_sizes(image.affine)[axis])


def _direction(path: Path, axis: int) -> NDArray[np.float64]:
    """Return the unit vector along an axis of an image, RAS."""
    column = np.asarray(nib.load(path).affine, float)[:3, axis]
    return np.asarray(column / np.linalg.norm(column))


def _single(several: Sequence[Any], what: str) -> Any:
    if len(several) > 1:
        names = ", ".join(sorted(f.filename for f in several))
        raise BadInput(
            f"several {what} for the diffusion series: {names}; choose one with "
            '--bids-filter-file, for example {"fmap": {"run": 1}}'
        )
    return several[0]


def _select_intended(found: Any, fields: Sequence[Any]) -> list[Any]:
    """Return the images intended for a series, by their metadata; all if none is specified."""
    sources = _as_texts(found.get_metadata().get("B0FieldSource"))
    sidecars = {f: f.get_metadata() for f in fields}
    if not any("IntendedFor" in m or "B0FieldIdentifier" in m for m in sidecars.values()):
        return list(fields)
    path = Path(found.path).as_posix()
    return [
        f
        for f, m in sidecars.items()
        if set(_as_texts(m.get("B0FieldIdentifier"))) & set(sources)
        or any(path.endswith("/" + _relative(name)) for name in _as_texts(m.get("IntendedFor")))
    ]


def _as_texts(value: Any) -> list[str]:
    """Return the texts of a field that contains one or several."""
    texts = value if isinstance(value, list) else [value]
    return [text for text in texts if isinstance(text, str) and text]


def _relative(name: str) -> str:
    """Return the path in a BIDS URI, or in the older form that begins at the session."""
    return name.rsplit("::", 1)[-1].removeprefix("bids:").lstrip("/")


def _explain_lack(fields: Sequence[Any], meant: Sequence[Any]) -> str:
    """Return why there is no field map for the series."""
    if not fields:
        return "there is no field map and no EPI with reversed phase encoding in fmap"
    if not meant:
        return "no image in fmap is intended for the DWI (IntendedFor, B0FieldIdentifier)"
    suffixes = {f.entities["suffix"] for f in meant}
    if "epi" in suffixes:
        return "the EPIs in fmap do not have the reversed phase encoding of the DWI"
    return (
        f"no field map is computed from {', '.join(sorted(suffixes))} in fmap; provide it as "
        "fmap/*_fieldmap.nii.gz in Hz"
    )
