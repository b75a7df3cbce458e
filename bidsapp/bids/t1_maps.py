"""A T1 map of the user: of the scanner, or of another program."""

from collections.abc import Sequence

import nibabel as nib
import numpy as np

from bidsapp.bids.index import IndexedFile, image_path
from bidsapp.bids.records import T1Map
from bidsapp.bids.sidecar import quote_value, sidecar_name
from bidsapp.errors import BadInput

_SECONDS = {"s": 1.0, "sec": 1.0, "second": 1.0, "ms": 1e-3, "msec": 1e-3, "millisecond": 1e-3}
_MOST_SECONDS = 20.0
"""A larger median is in ms."""
_PLAUSIBLE = (0.2, 6.0)
"""Plausible median of a map of the head, s."""
_SPACES = (None, "T1w", "dce", "dwi", "orig", "scanner")
"""Values of ``space`` of maps that scanner coordinates place on the series."""


def read_t1_map(found: Sequence[IndexedFile]) -> T1Map | None:
    """Return the T1 map among the files of a session, with the factor to s, or None.

    Parameters
    ----------
    found
        Images with the suffix ``T1map`` in the data set and its derivatives.

    Raises
    ------
    BadInput
        If there are several, or its values are implausible in s and in ms.
    """
    usable = [one for one in found if one.entities.get("space") in _SPACES]
    if len(usable) > 1:
        names = ", ".join(sorted(one.filename for one in usable))
        raise BadInput(f"several T1 maps: {names}; choose one with --bids-filter-file")
    if not usable:
        return None
    image = image_path(usable[0], 3)
    values = np.asanyarray(nib.load(image).dataobj)
    known = values[np.isfinite(values) & (values > 0)]
    if not known.size:
        raise BadInput(f"{image}: the T1 map has no value above zero")
    median = float(np.median(known))
    units = usable[0].get_metadata().get("Units")
    if units is None:
        scale = 1.0 if median <= _MOST_SECONDS else 1e-3
        unit = "" if scale == 1.0 else " (in ms, by its size)"
    else:
        scale, unit = _scale(units, sidecar_name(image)), f" ({units})"
    low, high = _PLAUSIBLE
    if not low <= scale * median <= high:
        raise BadInput(
            f"{image.name}: the median of the T1 map is {scale * median:.3g} s, outside {low:g} to "
            f"{high:g} s; state its Units (s or ms) in {sidecar_name(image)}"
        )
    return T1Map(image, scale, f"{image.name}{unit}")


def _scale(units: object, sidecar: str) -> float:
    """Return the factor from a unit to s."""
    name = str(units).strip().lower()
    scale = _SECONDS.get(name, _SECONDS.get(name.removesuffix("s")))
    if scale is None:
        raise BadInput(f"{sidecar}: Units is {quote_value(units)}; T1 must be in s or ms")
    return scale
