"""Panels of lesions: the slice of each lesion with its outline and its maps, in every session."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bidsapp.bids import outputs
from bidsapp.models.parameters import MAPPED
from bidsapp.reports.figures.images import Panel
from bidsapp.reports.participant.records import (
    Array,
    ParticipantOutputs,
    SessionOutputs,
    Volume,
    load_volume,
)
from bidsapp.reports.participant.slices import (
    crop_panel,
    cut_panel,
    detail_box,
    grey_window,
    lesion_cut,
    turn,
)

ERRORS: Mapping[str, str] = {f"{name}_stderr": datatype for name, datatype in MAPPED.items()}
"""Maps of standard errors, with their folders."""


@dataclass(frozen=True)
class LesionPanels:
    """A lesion in one session: its slice, a detail of it, and its maps with their values."""

    slice: Panel
    detail: Panel
    maps: dict[str, Panel] = field(default_factory=dict)
    values: dict[str, Array] = field(default_factory=dict)


def brain_mask(session: SessionOutputs) -> Volume | None:
    """Return the brain mask of a session, if there is one."""
    path = session.find(outputs.BRAIN_MASK)
    return load_volume(path) if path else None


def session_panels(
    session: SessionOutputs, maps: Mapping[str, str] = MAPPED
) -> dict[int, LesionPanels]:
    """Return the panels of every lesion in a session.

    Parameters
    ----------
    session : SessionOutputs
    maps : mapping of str to str
        Name of each map -> its folder.

    Returns
    -------
    panels : dict of int to LesionPanels
        On the grid of the T1w; without a T1w, on the grid of the series. Empty without ROIs.
    """
    if session.t1w is not None:
        return _grid_panels(session, session.t1w, maps, "anat")
    panels: dict[int, LesionPanels] = {}
    for datatype, mean_image in outputs.MEAN_IMAGE.items():
        own = {name: folder for name, folder in maps.items() if folder == datatype}
        path = session.find(mean_image) or session.map(datatype, next(iter(own)))
        if path is None:
            continue
        for lesion, found in _grid_panels(session, path, own, datatype).items():
            first = panels.setdefault(lesion, found)
            first.maps.update(found.maps)
            first.values.update(found.values)
    return panels


def _grid_panels(
    session: SessionOutputs, anatomy: Path, maps: Mapping[str, str], datatype: str
) -> dict[int, LesionPanels]:
    """Return the panels of the lesions on one grid."""
    background = load_volume(anatomy)
    labels = session.lesions(background, datatype)
    if labels is None:
        return {}
    window, axis = grey_window(background, brain_mask(session)), background.slice_axis
    panels: dict[int, LesionPanels] = {}
    for lesion in lesion_numbers(labels):
        cut = lesion_cut(labels, lesion, axis)
        outline = np.asarray(turn(np.take(labels, cut[1], axis) == lesion), bool)
        whole = replace(cut_panel(background, cut, window), outline=outline)
        boxed = replace(whole, box=detail_box(outline, whole.spacing))
        panels[lesion] = LesionPanels(boxed, crop_panel(whole, detail_box(outline, whole.spacing)))
    for name, folder in maps.items():
        path = session.map(folder, name)
        volume = load_volume(path) if path else None
        if volume is None or not volume.same_grid(background):
            continue
        if name in ERRORS and not np.isfinite(volume.data).any():
            continue  # as of a fit to two b-values, which is exact
        for lesion, found in panels.items():
            index = lesion_cut(labels, lesion, axis)[1]
            plane = np.asarray(turn(np.take(volume.data, index, axis)), float)
            assert found.slice.box is not None
            found.maps[name] = crop_panel(replace(found.slice, values=plane), found.slice.box)
            found.values[name] = volume.data[labels == lesion]
    return panels


def lesion_numbers(labels: NDArray[np.int64]) -> list[int]:
    """Return the numbers of the lesions in a label image.

    Examples
    --------
    >>> lesion_numbers(np.array([0, 2, 1, 2]))
    [1, 2]
    """
    return [int(n) for n in np.unique(labels) if n > 0]


def lesion_values(participant: ParticipantOutputs) -> dict[tuple[str, int, str], Array]:
    """Return the values of each map on the T1w in the voxels of each lesion.

    Parameters
    ----------
    participant : ParticipantOutputs

    Returns
    -------
    values : dict of (session label, lesion, parameter) to (N,) array
        As stored; voxels without a value are omitted.
    """
    return {
        (session.label, lesion, name): values[np.isfinite(values)]
        for session in participant.sessions
        if session.t1w
        for lesion, panels in session_panels(session).items()
        for name, values in panels.values.items()
    }
