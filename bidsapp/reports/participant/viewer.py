"""The viewer of a participant: a separate page with the images, maps and curves of all visits."""

import base64
import json
from functools import partial
from typing import Any

import numpy as np
from markupsafe import Markup
from matplotlib import colormaps

from bidsapp.imaging.transforms import apply, invert
from bidsapp.reports.page.blocks import Page
from bidsapp.reports.page.render import render, script
from bidsapp.reports.participant.common_grid import Placed, placed_sessions
from bidsapp.reports.participant.lesion_panels import lesion_numbers
from bidsapp.reports.participant.records import ParticipantOutputs, load_volume
from bidsapp.reports.participant.viewer_curves import KEPT_MM, session_curves
from bidsapp.reports.participant.viewer_volumes import LESION_MARGIN, as_records, session_layers

SCRIPTS = ("viewer_data.js", "viewer_curves.js", "viewer.js")


def viewer_pages(participant: ParticipantOutputs) -> list[Page]:
    """Return the viewer of a participant, if any session has maps and a T1w.

    Parameters
    ----------
    participant : ParticipantOutputs

    Returns
    -------
    pages : list of Page
        Its volumes are read only when the page is rendered.
    """
    placed = placed_sessions(participant)
    if not placed:
        return []
    note = (
        "two visits side by side in three planes, with values, standard errors and curves at the "
        "cross-hair"
    )
    name = f"{participant.label}_viewer"
    return [Page(name, partial(build_viewer, participant, placed), "Open the viewer", note)]


def build_viewer(participant: ParticipantOutputs, placed: list[Placed]) -> str:
    """Return the viewer of a participant.

    Parameters
    ----------
    participant : ParticipantOutputs
    placed : list of Placed
        The sessions, each with a T1w.

    Returns
    -------
    html : str
        Self-contained.
    """
    sessions: list[dict[str, Any]] = [
        {
            "heading": visit.session.heading + ("" if visit.linked else " (not registered)"),
            "matrix": visit.matrix.tolist(),
            "layers": as_records(session_layers(visit.session)),
            "curves": session_curves(visit.session),
        }
        for visit in placed
    ]
    used = {layer["colormap"] for session in sessions for layer in session["layers"]}
    content = {
        "participant": participant.label,
        "sessions": sessions,
        "lesions": _lesions(participant, placed),
        "colormaps": {name: _colours(name) for name in sorted(used)},
        "keptMm": KEPT_MM,
    }
    return render(
        "viewer.html.j2",
        title=participant.label,
        back=f"../../{participant.label}.html",
        code=script(*SCRIPTS),
        error_mm=f"{LESION_MARGIN:g}",
        content=Markup(json.dumps(content).replace("<", "\\u003c")),  # noqa: S704 (no tag is left)
    )


def _lesions(participant: ParticipantOutputs, placed: list[Placed]) -> list[dict[str, object]]:
    """Return title and centre of each lesion, in the first visit that has its ROI."""
    found: dict[int, dict[str, object]] = {}
    for index, visit in enumerate(placed):
        assert visit.session.t1w is not None
        anatomy = load_volume(visit.session.t1w)
        labels = visit.session.lesions(anatomy, "anat")
        if labels is None:
            continue
        for number in lesion_numbers(labels):
            if number not in found:
                centre = np.argwhere(labels == number).mean(axis=0)
                point = apply(invert(visit.matrix), apply(anatomy.affine, centre))
                title = participant.title(number)
                found[number] = {"title": title, "mm": point.tolist(), "session": index}
    return [found[number] for number in sorted(found)]


def _colours(name: str) -> str:
    """Return the 256 colours of a colour map, three bytes each, as text."""
    colours = np.rint(255 * colormaps[name](np.arange(256))[:, :3]).astype(np.uint8)
    return base64.b64encode(colours.tobytes()).decode("ascii")
