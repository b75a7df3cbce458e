"""Maps of the change of each parameter from the first visit of a lesion to each later one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from bidsapp.imaging.resample import resample
from bidsapp.models.parameters import DISPLAY, MAPPED, PARAMETERS, Display
from bidsapp.reports.figures.images import Panel
from bidsapp.reports.figures.map_grid import MapBlock, MapRow, map_grid
from bidsapp.reports.page.blocks import Block, Cell, Picture, Table
from bidsapp.reports.participant.common_grid import Placed, placed_sessions
from bidsapp.reports.participant.lesion_panels import ERRORS, brain_mask
from bidsapp.reports.participant.records import (
    DATATYPES,
    Array,
    ParticipantOutputs,
    Volume,
    load_volume,
)
from bidsapp.reports.participant.slices import (
    Cut,
    cut_panel,
    detail_box,
    grey_window,
    lesion_cut,
    spacing,
    turn,
)

NOISE = 2.0
"""Standard errors that a value must reach so that it is not lost in noise."""

_LIMITS = (10.0, 20.0, 50.0, 100.0, 200.0)
"""Upper ends of the scales of relative changes, percent."""


@dataclass(frozen=True)
class Box:
    """A part of the grid of the baseline T1w around a lesion: the slices of its ROI.

    ``first`` is the index of the visit in which the ROI is drawn.
    """

    inside: NDArray[np.bool_]
    affine: Array
    cut: Cut
    first: int


Values = dict[tuple[int, str, str], Array]
"""Maps in the box of each lesion, by lesion, session and name."""


def relative_change(first: Array, later: Array, error: Array, later_error: Array) -> Array:
    """Return the change in percent of the first value, where that value is not lost in noise.

    Parameters
    ----------
    first, later : array
    error, later_error : array
        Their standard errors.

    Returns
    -------
    change : array
        NaN where the first value is below `NOISE` standard errors, or where a value or a standard
        error is missing. A later value may be lost in noise: the change is then about -100 %.

    Examples
    --------
    >>> relative_change(*(np.array(x) for x in ([2.0, 2], [1.0, 1], [0.5, 1.5], [1.0, 1])))
    array([-50.,  nan])
    """
    known = np.isfinite(first) & np.isfinite(later) & np.isfinite(error) & np.isfinite(later_error)
    known &= (np.abs(first) >= NOISE * error) & (first != 0)
    return np.where(known, 100 * (later - first) / np.where(known, np.abs(first), 1.0), np.nan)


def absolute_change(first: Array, later: Array, error: Array, later_error: Array) -> Array:
    """Return the change where one of the two values is not lost in noise, for signed parameters.

    Examples
    --------
    >>> absolute_change(*(np.array(x) for x in ([0.1, 0.1], [-2.0, 0.2], [1.0, 1], [1.0, 1])))
    array([-2.1,  nan])
    """
    known = np.isfinite(first) & np.isfinite(later) & np.isfinite(error) & np.isfinite(later_error)
    known &= (np.abs(first) >= NOISE * error) | (np.abs(later) >= NOISE * later_error)
    return np.where(known, later - first, np.nan)


def change_blocks(participant: ParticipantOutputs) -> dict[int, list[Block]]:
    """Return the figure of the changes of each lesion, and the table of voxels without a change.

    Parameters
    ----------
    participant : ParticipantOutputs

    Returns
    -------
    blocks : dict of int to list of Block
        Without a lesion that has no T1w, no transform between visits, or no standard errors.
    """
    visits = [visit for visit in placed_sessions(participant) if visit.linked]
    found = {lesion: _first_box(visits, lesion) for lesion in participant.lesion_names}
    boxes = {lesion: box for lesion, box in found.items() if box and len(visits) - box.first > 1}
    maps = _values(boxes, visits) if boxes else {}
    return {
        lesion: blocks
        for lesion, box in boxes.items()
        if (blocks := _lesion_blocks(participant, lesion, (box, visits[box.first :]), maps))
    }


def _lesion_blocks(
    participant: ParticipantOutputs,
    lesion: int,
    where: tuple[Box, Sequence[Placed]],
    maps: Values,
) -> list[Block]:
    """Return the blocks of a lesion in a box, from its first visit to the last one."""
    box, visits = where
    first, *later = visits
    changes, unknown = _changes(lesion, maps, first, later)
    if not changes:
        return []
    names = [visit.session.name for visit in later]
    anatomy = [_anatomy(box, visit) for visit in later]
    blocks = []
    for datatype in DATATYPES:
        rows = [
            _row(name, anatomy, changes[name], box)
            for name, folder in MAPPED.items()
            if folder == datatype and name in changes
        ]
        if rows:
            blocks.append(MapBlock("", [MapRow("anatomy", anatomy), *rows]))
    title = f"{participant.title(lesion)}: change since {first.session.name}"
    alt = f"{title} in {', '.join(names)}: {', '.join(DISPLAY[n].label for n in changes)}."
    stem = f"{participant.label}_desc-lesion{lesion}changes"
    caption = _caption(participant, visits, unknown)
    picture = Picture(stem, map_grid(blocks, names), alt, caption, heading=title, form="png")
    return [picture, _lost_table(title, box, names, changes)]


def _first_box(visits: Sequence[Placed], lesion: int) -> Box | None:
    """Return the box around a lesion, as drawn in the first visit that has its ROI."""
    reference = next((v for v in visits if np.array_equal(v.matrix, np.eye(4))), None)
    if reference is None:
        return None
    assert reference.session.t1w is not None
    grid = load_volume(reference.session.t1w)
    for number, visit in enumerate(visits):
        assert visit.session.t1w is not None
        own = load_volume(visit.session.t1w) if visit is not reference else grid
        labels = visit.session.lesions(own, "anat")
        if labels is not None and (labels == lesion).any():
            inside = _resample(Volume((labels == lesion) * 1.0, own.affine), visit, grid) >= 0.5
            if inside.any():
                return _crop(inside, grid, number)
    return None


def _crop(inside: NDArray[np.bool_], grid: Volume, first: int) -> Box:
    """Return the part of the grid that a detail of the lesion shows, in all slices of the ROI."""
    axis = grid.slice_axis
    cut = lesion_cut(inside.astype(np.int64), 1, axis)
    plane = np.asarray(turn(np.take(inside, cut[1], axis)), bool)
    row, column, rows, columns = detail_box(plane, spacing(grid, axis))
    others = [i for i in range(3) if i != axis]
    where = np.flatnonzero(inside.any(axis=tuple(others)))
    part: list[slice] = [slice(0)] * 3
    part[axis] = slice(int(where[0]), int(where[-1]) + 1)
    across, up = (inside.shape[i] for i in others)  # rows and columns are counted from the far end
    part[others[0]] = slice(across - column - columns, across - column)
    part[others[1]] = slice(up - row - rows, up - row)
    affine = grid.affine.copy()
    affine[:3, 3] += affine[:3, :3] @ [s.start for s in part]
    return Box(inside[tuple(part)], affine, (axis, cut[1] - part[axis].start), first)


def _resample(volume: Volume, visit: Placed, grid: Volume) -> Array:
    """Return an image of a visit on a grid, linearly interpolated; NaN where it has no value."""
    values = resample(volume.data, volume.affine, visit.matrix, grid.data.shape, grid.affine)
    return np.asarray(values, np.float64)


def _on_box(box: Box, visit: Placed, volume: Volume) -> Array:
    return _resample(volume, visit, Volume(np.zeros(box.inside.shape), box.affine))


def _values(boxes: Mapping[int, Box], visits: Sequence[Placed]) -> Values:
    """Return all maps and standard errors in the boxes; each image is read once."""
    values: Values = {}
    for visit in visits:
        for name, folder in {**MAPPED, **ERRORS}.items():
            path = visit.session.map(folder, name)
            volume = load_volume(path) if path else None
            if volume is not None:
                for lesion, box in boxes.items():
                    values[lesion, visit.session.label, name] = _on_box(box, visit, volume)
    return values


def _changes(
    lesion: int, maps: Values, first: Placed, later: Sequence[Placed]
) -> tuple[dict[str, list[Array | None]], list[str]]:
    """Return the change of each parameter to each visit, and what has no standard error."""
    changes: dict[str, list[Array | None]] = {}
    unknown = []
    for name in MAPPED:
        start = maps.get((lesion, first.session.label, name))
        if start is None:
            continue
        error = maps.get((lesion, first.session.label, f"{name}_stderr"))
        if error is None or not np.isfinite(error).any():
            unknown.append(DISPLAY[name].label)
            continue
        measure = relative_change if _is_relative(name) else absolute_change
        found: list[Array | None] = []
        for visit in later:
            value = maps.get((lesion, visit.session.label, name))
            later_error = maps.get((lesion, visit.session.label, f"{name}_stderr"))
            found.append(
                None
                if value is None or later_error is None
                else measure(start, value, error, later_error)
            )
        if any(change is not None for change in found):
            changes[name] = found
    return changes, unknown


def _is_relative(name: str) -> bool:
    """Return whether changes of a parameter are given in percent: it cannot be negative."""
    return PARAMETERS[name].lower >= 0


def _anatomy(box: Box, visit: Placed) -> Panel:
    """Return the T1w of a visit in the slice of the lesion."""
    assert visit.session.t1w is not None
    volume = load_volume(visit.session.t1w)
    shown = Volume(_on_box(box, visit, volume), box.affine)
    panel = cut_panel(shown, box.cut, grey_window(volume, brain_mask(visit.session)))
    axis, index = box.cut
    return replace(panel, outline=np.asarray(turn(np.take(box.inside, index, axis)), bool))


def _row(name: str, anatomy: Sequence[Panel], changes: Sequence[Array | None], box: Box) -> MapRow:
    """Return the row of a parameter, on a scale symmetric about zero."""
    axis, index = box.cut
    panels = [
        None
        if change is None
        else replace(panel, values=np.asarray(turn(np.take(change, index, axis)), float))
        for panel, change in zip(anatomy, changes, strict=True)
    ]
    display = change_display(name, [c[box.inside] for c in changes if c is not None])
    return MapRow(DISPLAY[name].label, panels, display)


def change_display(name: str, changes: Sequence[Array]) -> Display:
    """Return how changes of a parameter are shown: in percent if it cannot be negative.

    Parameters
    ----------
    name : str
    changes : sequence of array
        Of the voxels of the lesion; NaN where there is none.

    Returns
    -------
    display : Display
        Its limits are the smallest of a few round numbers that include 95 % of the changes.

    Examples
    --------
    >>> change_display("vp", [np.array([-30.0, 40.0])]).limits
    (-50.0, 50.0)
    >>> change_display("washout", []).title
    'Change of Wash-out (mM/min)'
    """
    base = DISPLAY[name]
    label = f"Change of {base.label}"
    if not _is_relative(name):
        return replace(base, label=label, limits=(-base.limits[1], base.limits[1]))
    sizes = np.abs(np.concatenate([*changes, np.zeros(1)]))
    needed = float(np.nanpercentile(sizes, 95))
    limit = next((value for value in _LIMITS if value >= needed), _LIMITS[-1])
    return Display(label, "%", 1, 0, (-limit, limit), "coolwarm")


def _caption(
    participant: ParticipantOutputs, visits: Sequence[Placed], unknown: Sequence[str]
) -> str:
    """Return the rule of the mask, and what is not shown."""
    first = visits[0].session.name
    sentences = [
        f"Each visit on the grid of the baseline T1w, in one interpolation; the line is the ROI of "
        f"{first}. Changes in percent are shown where the value of {first} is at least {NOISE:g} "
        "standard errors, and the later value and both standard errors are known; elsewhere the "
        "anatomy alone is shown."
    ]
    if any(not _is_relative(name) for name in MAPPED if visits[0].session.map(MAPPED[name], name)):
        sentences.append(
            "Parameters that can be negative are shown in their unit, where one of both values is "
            f"at least {NOISE:g} standard errors."
        )
    if unknown:
        sentences.append(f"Without standard errors, and not shown: {', '.join(unknown)}.")
    shown = {visit.session.label for visit in visits}
    others = [s.name for s in participant.sessions if s.label not in shown]
    if others:
        sentences.append(
            f"Not shown, without maps or without a transform to the baseline: {', '.join(others)}."
        )
    return " ".join(sentences)


def _lost_table(
    title: str, box: Box, names: Sequence[str], changes: dict[str, list[Array | None]]
) -> Table:
    """Return the table of the voxels of the lesion whose change is lost in noise."""
    total = int(box.inside.sum())
    rows: list[list[Cell]] = []
    for number, name in enumerate(names):
        cells: list[Cell] = []
        for found in changes.values():
            change = found[number]
            lost = None if change is None else int(np.isnan(change[box.inside]).sum())
            cells.append("no map" if lost is None else f"{lost} of {total}")
        rows.append([name, *cells])
    columns: list[Cell] = ["Visit", *(DISPLAY[name].label for name in changes)]
    caption = "Voxels of the lesion without a change, on the grid of the T1w"
    return Table(
        caption, columns, rows, summary=f"{title}: voxels lost in noise or without a value"
    )
