"""Maps of the brain in several slices, for sessions without an ROI."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from bidsapp.bids import outputs
from bidsapp.models.parameters import DISPLAY, MAPPED
from bidsapp.reports.figures.map_grid import MapBlock, MapRow, map_grid
from bidsapp.reports.page.blocks import Picture
from bidsapp.reports.participant.lesion_panels import brain_mask
from bidsapp.reports.participant.records import DATATYPES, SessionOutputs, Volume, load_volume
from bidsapp.reports.participant.slices import Cut, brain_box, crop_panel, cut_panel, grey_window
from bidsapp.reports.participant.slices import turn as turned

_PLACES = (0.25, 0.37, 0.49, 0.61, 0.73, 0.85)
"""Of the slices, from the lower to the upper end of the brain."""


def brain_mosaics(sessions: Sequence[SessionOutputs]) -> list[Picture]:
    """Return the maps of the brain of each session that has any, on the T1w if possible.

    Parameters
    ----------
    sessions : sequence of SessionOutputs

    Returns
    -------
    pictures : list of Picture
        All but the first are collapsed.
    """
    pictures = [picture for session in sessions for picture in _session_pictures(session)]
    return [*pictures[:1], *(replace(p, heading="", summary=p.heading) for p in pictures[1:])]


def _session_pictures(session: SessionOutputs) -> Iterator[Picture]:
    """Yield one picture on the T1w, or one for each series on its own grid."""
    if session.t1w is not None:
        found = _volumes(session, MAPPED, load_volume(session.t1w), "T1w")
        if found:
            yield _picture(session, session.t1w, found, "T1w")
            return
    for datatype, name in DATATYPES.items():
        own = [parameter for parameter, folder in MAPPED.items() if folder == datatype]
        paths = [session.find(outputs.MEAN_IMAGE[datatype])]
        paths += [session.map(datatype, parameter, "") for parameter in own]
        anatomy = next(filter(None, paths), None)
        if anatomy is not None:
            grid = load_volume(anatomy)
            maps = dict.fromkeys(own, datatype)
            if found := _volumes(session, maps, grid, ""):
                yield _picture(session, anatomy, found, name)


def _volumes(
    session: SessionOutputs, maps: Mapping[str, str], grid: Volume, space: str
) -> dict[str, Volume]:
    """Return the maps on a grid."""
    found = {}
    for name, datatype in maps.items():
        path = session.map(datatype, name, space)
        volume = load_volume(path) if path else None
        if volume is not None and volume.same_grid(grid):
            found[name] = volume
    return found


def _picture(
    session: SessionOutputs, anatomy: Path, maps: dict[str, Volume], place: str
) -> Picture:
    """Return the figure of the maps on one grid: a row for each, slices from below to above."""
    grid = load_volume(anatomy)
    mask = brain_mask(session) if place == "T1w" else None
    inside = _inside(grid, mask, maps)
    cuts = _cuts(inside, grid.slice_axis)
    window = grey_window(grid, inside)
    frames = brain_box(inside, grid.slice_axis)
    panels = [crop_panel(cut_panel(grid, cut, window), frames) for cut in cuts]
    label = "T1w" if place == "T1w" else "anatomy"
    rows = [MapRow(label, panels)]
    for name, volume in maps.items():
        shown = [
            crop_panel(
                replace(cut_panel(grid, (axis, index), window), values=_plane(volume, axis, index)),
                frames,
            )
            for axis, index in cuts
        ]
        rows.append(MapRow(DISPLAY[name].label, shown, DISPLAY[name]))
    title = f"{session.heading}: maps of the brain on the {place}"
    figure = map_grid([MapBlock("", rows)], [""] * len(cuts))
    alt = f"{title}: {', '.join(row.label for row in rows)} in {len(cuts)} slices."
    stem = f"{session.stem}_desc-{'' if place == 'T1w' else place.lower()}mosaic"
    caption = f"{len(cuts)} slices, evenly spaced; scales common to all participants."
    return Picture(stem, figure, alt, caption, heading=title, form="png")


def _plane(volume: Volume, axis: int, index: int) -> np.ndarray:
    return np.asarray(turned(np.take(volume.data, index, axis)), float)


def _inside(grid: Volume, mask: Volume | None, maps: dict[str, Volume]) -> Volume:
    """Return the brain mask; without one, the voxels with a value of any map."""
    if mask is not None and mask.same_grid(grid) and mask.data.any():
        return mask
    known = np.zeros(grid.data.shape, bool)
    for volume in maps.values():
        known |= np.isfinite(volume.data) & (volume.data != 0)
    return Volume((known if known.any() else ~known).astype(float), grid.affine)


def _cuts(inside: Volume, axis: int) -> list[Cut]:
    """Return the slices at fixed fractions of the extent of the brain, each once."""
    others = tuple(i for i in range(3) if i != axis)
    where = np.flatnonzero((inside.data > 0).any(axis=others))
    ends = float(where[0]), float(where[-1])
    return [
        (axis, index)
        for index in dict.fromkeys(round(float(np.interp(at, (0, 1), ends))) for at in _PLACES)
    ]
