"""Whether the sidecar of a dynamic or VFA image contradicts a spoiled gradient echo."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from bidsapp.bids.sidecar import as_number, quote_value, sidecar_name
from bidsapp.errors import BadInput

_SCANNING = {"SE": "a spin echo", "EP": "echo-planar", "IR": "inversion recovery"}
"""Values of ScanningSequence (DICOM 0018,0020) other than gradient echo."""
_TEXTS = {
    r"inversion.?recovery|inversion.?prepared|mp2?-?rage": "inversion recovery",
    r"saturation.?(recovery|prepared)": "saturation recovery",
    r"spin.?echo|\b(tse|fse|grase|rare)\b|^\*?(tse|tir|se)\d": "a spin echo",
    r"\bepi\b|echo.?planar|^\*?ep(2d|fid|se|\d|_)": "echo-planar",
    r"ssfp|fiesta|true.?fisp|\btrufi\b": "a balanced steady state",
}
"""Patterns in the names of sequences."""
_TEXT_FIELDS = ("PulseSequenceType", "PulseSequenceName", "SequenceName")
_FAT_SUPPRESSION = 0.05
"""Longest inversion time that is one of fat suppression, s."""


def check_spoiled_gradient_echo(metadata: Mapping[str, Any], image: Path) -> None:
    """Refuse an image whose sidecar describes another sequence.

    Parameters
    ----------
    metadata
        The metadata of the image.
    image
        The image, for error messages.

    Raises
    ------
    BadInput
        If a field contradicts a spoiled gradient echo in the steady state.

    Examples
    --------
    >>> fields = {"ScanningSequence": "GR", "SequenceVariant": ["SS", "SP"], "InversionTime": 0.005}
    >>> check_spoiled_gradient_echo(fields, Path("a_dce.nii.gz"))
    """
    for field, what in _contradictions(metadata):
        raise BadInput(
            f"{sidecar_name(image)}: {field} is {quote_value(metadata[field])}, that is {what}; "
            "concentrations require a spoiled gradient echo in the steady state. Correct the field "
            "if it is wrong, otherwise leave the image out"
        )


def preparation_warning(metadata: Mapping[str, Any], image: Path) -> str:
    """Return a warning if the magnetisation was prepared by a pulse that is not specified."""
    if "MP" not in _codes(metadata, "SequenceVariant"):
        return ""
    return (
        f"{sidecar_name(image)}: SequenceVariant is {quote_value(metadata['SequenceVariant'])}: "
        "with prepared magnetisation (MP), signals are not those of a steady state, and "
        "concentrations can be wrong by a factor; check the protocol for a pulse before each train "
        "of echoes"
    )


def _contradictions(metadata: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield each field that contradicts a spoiled gradient echo, and the sequence it describes."""
    for code in sorted(_codes(metadata, "ScanningSequence")):
        if code in _SCANNING:
            yield "ScanningSequence", _SCANNING[code]
    for field in _TEXT_FIELDS:
        text = metadata.get(field)
        for pattern, what in _TEXTS.items():
            if isinstance(text, str) and re.search(pattern, text.lower()):
                yield field, what
    inversion = as_number(metadata.get("InversionTime"))
    if inversion is not None and inversion > _FAT_SUPPRESSION:
        yield "InversionTime", "inversion or saturation recovery"


def _codes(metadata: Mapping[str, Any], field: str) -> set[str]:
    """Return the codes of a DICOM field: a list, or separated by backslashes or the like."""
    value = metadata.get(field, "")
    parts = value if isinstance(value, list) else [value]
    return {code for part in parts for code in re.split(r"[^A-Z]+", str(part).upper()) if code}
