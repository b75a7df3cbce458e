"""Timing of a spin-echo diffusion series, as its sidecar states it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bidsapp.bids.records import SpinEcho
from bidsapp.bids.sidecar import read_field
from bidsapp.errors import BadInput


def read_spin_echo(metadata: Mapping[str, Any], image: Path) -> tuple[SpinEcho | None, str]:
    """Return echo time, repetition time and field strength, or None and why they are not known.

    Only a correction for relaxation needs them, so that a problem is no error here.

    Parameters
    ----------
    metadata
        The metadata of the image.
    image
        The image, for messages.

    Examples
    --------
    >>> fields = {"EchoTime": 0.08, "RepetitionTime": 4, "MagneticFieldStrength": 3}
    >>> read_spin_echo(fields, Path("sub-01_dwi.nii.gz"))
    (SpinEcho(echo_time=0.08, repetition_time=4.0, field_strength=3.0), '')
    >>> read_spin_echo({"EchoTime": 80}, Path("sub-01_dwi.nii.gz"))[1]
    'sub-01_dwi.json: EchoTime is 80, outside 0.01 to 0.3; is it in seconds?'
    """
    try:
        echo = SpinEcho(
            read_field(metadata, "EchoTime", image, "seconds", 0.01, 0.3),
            read_field(metadata, "RepetitionTime", image, "seconds", 0.2, 60),
            read_field(metadata, "MagneticFieldStrength", image, "tesla", 0.1, 15),
        )
    except BadInput as error:
        return None, str(error)
    return echo, ""
