"""The sections of maps: each lesion over its visits, and the brain where there is no ROI."""

from collections.abc import Mapping, Sequence

import numpy as np

from bidsapp.bids.unused import NAMES
from bidsapp.models.parameters import DISPLAY, MAPPED
from bidsapp.reports.figures.map_grid import PERCENTILES, MapBlock, MapRow, adapt_limits, map_grid
from bidsapp.reports.page.blocks import Block, Fold, Picture, Words
from bidsapp.reports.participant.brain_mosaic import brain_mosaics
from bidsapp.reports.participant.change_maps import change_blocks
from bidsapp.reports.participant.lesion_panels import ERRORS, LesionPanels, session_panels
from bidsapp.reports.participant.records import ParticipantOutputs, SessionOutputs

_COMMON = "Scale common to all lesions and participants"
_OWN = f"Scale of this lesion (percentiles {PERCENTILES[0]:g} to {PERCENTILES[1]:g}, all visits)"

Visits = dict[SessionOutputs, LesionPanels]
"""The panels of one lesion in the sessions that have its ROI."""


def show_maps(participant: ParticipantOutputs) -> list[Block]:
    """Show the maps of each lesion over its visits; those of the brain where there is no ROI."""
    panels = {session: session_panels(session) for session in participant.sessions}
    changes = change_blocks(participant)
    blocks: list[Block] = []
    for lesion in participant.lesion_names:
        visits = _visits(panels, lesion)
        if any(found.maps for found in visits.values()):
            blocks.append(_lesion_picture(participant, lesion, visits))
            blocks += changes.get(lesion, [])
    without = [session for session, found in panels.items() if not found]
    pictures = brain_mosaics(without)
    if not pictures:
        return blocks
    names = ", ".join(session.name for session in without)
    searched = Words([missing_rois(names)])
    if blocks:
        return [*blocks, Fold(f"Maps of the brain without ROI: {names}", [searched, *pictures])]
    return [searched, *pictures]


def show_standard_errors(participant: ParticipantOutputs) -> list[Block]:
    """Show the maps of standard errors of each lesion, collapsed."""
    panels = {session: session_panels(session, ERRORS) for session in participant.sessions}
    blocks: list[Block] = []
    for lesion in participant.lesion_names:
        visits = _visits(panels, lesion)
        rows = _map_rows(visits, ERRORS)
        if rows:
            title = f"Standard errors of {participant.title(lesion)}"
            figure = map_grid([MapBlock("", rows)], [s.name for s in visits])
            alt = f"{title} in {', '.join(s.name for s in visits)}."
            stem = f"{participant.label}_desc-lesion{lesion}errors"
            blocks.append(Picture(stem, figure, alt, "", form="png", summary=title))
    return blocks


def missing_rois(sessions: str) -> str:
    """Return a sentence that names where ROIs of some sessions were searched.

    Examples
    --------
    >>> missing_rois("1week")[:45]
    'No ROI of a lesion was found for 1week on the'
    """
    return (
        f"No ROI of a lesion was found for {sessions} on the grid of an image, so the maps of the "
        "brain are shown in place of those of lesions. ROIs are read from the data sets in "
        "derivatives/ of the BIDS data set, or from those of --derivatives, in the folders anat, "
        f"dwi and perf of each session, under the names {NAMES}. They must have the grid of the "
        "T1w or of the series on which they were drawn."
    )


def _visits(
    panels: Mapping[SessionOutputs, Mapping[int, LesionPanels]], lesion: int
) -> dict[SessionOutputs, LesionPanels]:
    return {session: found[lesion] for session, found in panels.items() if lesion in found}


def _lesion_picture(participant: ParticipantOutputs, lesion: int, visits: Visits) -> Picture:
    """Return the figure of a lesion: fixed scales, and beside them the scales of the lesion."""
    common = _map_rows(visits, MAPPED)
    own, unchanged = _own_rows(visits, common)
    slices = MapRow("anatomy", [found.slice for found in visits.values()])
    details = MapRow("anatomy", [found.detail for found in visits.values()])
    blocks = [MapBlock(_COMMON, [slices, *common]), MapBlock(_OWN, [details, *own])]
    figure = map_grid(blocks, [session.name for session in visits])
    title = participant.title(lesion)
    shown = ", ".join(row.label for row in common)
    alt = f"{title} in {', '.join(s.name for s in visits)}: anatomy, {shown}, in two scales."
    stem = f"{participant.label}_desc-lesion{lesion}maps"
    caption = _caption(participant, visits, unchanged)
    return Picture(stem, figure, alt, caption, heading=title, form="png")


def _caption(participant: ParticipantOutputs, visits: Visits, unchanged: Sequence[str]) -> str:
    """Return what the figure of a lesion needs in words."""
    sentences = ["The slice in which the lesion is largest; the line is the outline of its ROI."]
    if unchanged:
        sentences.append(
            f"{', '.join(unchanged)}: too few different values for a scale of the lesion; the "
            "common scale is used on both sides."
        )
    gone = [s.name for s in participant.sessions if s not in visits]
    if gone:
        sentences.append(f"No ROI of this lesion in {', '.join(gone)}.")
    return " ".join(sentences)


def _map_rows(visits: Visits, maps: Mapping[str, str]) -> list[MapRow]:
    """Return a row for each map that any visit has, on the common scale."""
    return [
        MapRow(
            DISPLAY[name].label,
            [found.maps.get(name) for found in visits.values()],
            DISPLAY[name],
            "common scale",
        )
        for name in maps
        if any(name in found.maps for found in visits.values())
    ]


def _own_rows(visits: Visits, common: Sequence[MapRow]) -> tuple[list[MapRow], list[str]]:
    """Return the rows on the scales of the lesion, and the labels of those without one."""
    rows, unchanged = [], []
    for row in common:
        name = next(n for n in MAPPED if DISPLAY[n] is row.display)
        values = [found.values[name] for found in visits.values() if name in found.values]
        adapted = adapt_limits(DISPLAY[name], np.concatenate(values))
        if adapted is None:
            unchanged.append(row.label)
            rows.append(row)
        else:
            rows.append(MapRow(row.label, row.panels, adapted, "scale of the lesion"))
    return rows, unchanged
