"""A map of the dose of radiotherapy: of `metperf rois`, or of another program."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from bidsapp.bids.grids import reorient
from bidsapp.bids.images import check_contents
from bidsapp.bids.index import IndexedFile, how_to_choose, image_path
from bidsapp.bids.records import Session
from bidsapp.bids.rois import roi_labels
from bidsapp.errors import BadInput
from bidsapp.lesions.dose import LARGEST_DOSE, doubtful_dose

_RINGING = 0.01
"""Negative doses that the interpolation of other programs leaves, relative to the largest dose."""


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
    if low < -_RINGING * high or high > LARGEST_DOSE:
        raise BadInput(
            f"{image}: its values are {low:g} to {high:g}, outside 0 to {LARGEST_DOSE:g} Gy; write "
            "the dose in Gy, with NaN where it is not known"
        )
    return image


def dose_warnings(session: Session) -> Iterator[str]:
    """Yield a warning for each doubt about the dose of a session, with its lesions on the T1w.

    Parameters
    ----------
    session
        A session whose dose and ROIs are on the grids of their images.
    """
    if session.dose is None:
        return
    if session.t1w is None:
        yield f"{session.dose.name}: is not used: a dose lies on a T1w, and {session.id} has none"
        return
    dose = check_contents(session.dose)
    dose = reorient(dose[..., 0] if dose.ndim == 4 else dose, session.dose, session.t1w)
    rois = session.rois("whole", "T1w") or session.rois("enhancing", "T1w")
    lesions = roi_labels(rois) if rois else np.zeros(dose.shape, int)
    yield from (f"{session.dose.name}: {text}" for text in doubtful_dose(dose, lesions))
