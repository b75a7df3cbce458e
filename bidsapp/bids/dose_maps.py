"""A map of the dose of radiotherapy: of `metperf rois`, or of another program."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bidsapp.bids.images import check_contents
from bidsapp.bids.index import IndexedFile, how_to_choose, image_path
from bidsapp.errors import BadInput
from bidsapp.lesions.dose import LARGEST_DOSE


def read_dose_map(found: Sequence[IndexedFile]) -> Path | None:
    """Return the map of the dose of a session, None without one.

    Parameters
    ----------
    found
        Files ``*_label-dose_dosemap`` of the session.

    Raises
    ------
    BadInput
        If there are several, or one cannot be a dose in Gy.
    """
    if len(found) > 1:
        names = ", ".join(sorted(f.filename for f in found))
        raise BadInput(f"several maps of the dose: {names}; {how_to_choose('dose', found)}")
    if not found:
        return None
    image = image_path(found[0], 3)
    unit = found[0].get_metadata().get("Units", "Gy")
    if unit != "Gy":
        raise BadInput(f"{image}: its sidecar states Units {unit!r}; write the dose in 'Gy'")
    data = check_contents(image)
    low, high = float(np.nanmin(data)), float(np.nanmax(data))
    if low < 0 or high > LARGEST_DOSE:
        raise BadInput(
            f"{image}: its values are {low:g} to {high:g}, outside 0 to {LARGEST_DOSE:g} Gy; write "
            "the dose in Gy, with NaN where it is not known"
        )
    return image
