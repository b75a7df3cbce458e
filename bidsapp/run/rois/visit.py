"""The contours of one visit: files read, regions chosen, placed on the T1w, and made lesions."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from bidsapp.bids.inheritance import metadata
from bidsapp.bids.records import Session
from bidsapp.conversion.contours.choice import KINDS, Kind, choose_regions, list_regions
from bidsapp.conversion.contours.drawing import Drawing, Region
from bidsapp.conversion.contours.lesions import (
    Drawn,
    DrawnLesion,
    assemble_lesions,
    split_lesions,
)
from bidsapp.conversion.contours.rasterise import Fractions, rasterise
from bidsapp.conversion.contours.read import read_drawing
from bidsapp.conversion.contours.rtstruct import FORMAT as RTSTRUCT
from bidsapp.errors import BadInput, RegistrationError
from bidsapp.lesions import voxel_ml
from bidsapp.run.rois.jobs import Job
from bidsapp.run.rois.placement import (
    Grid,
    Placement,
    check_in_head,
    is_drawn_on,
    place,
    read_grid,
    register_drawn_on,
)


@dataclass(frozen=True)
class Options:
    """How the contours of all visits are treated.

    Attributes
    ----------
    split
        Whether each connected part of the regions is a lesion.
    smallest
        Smallest part that is a lesion, ml; with `split`.
    aligned
        Whether contours have the coordinates of the T1w, whatever they were drawn on.
    vanished
        Whether lesions of earlier visits that were not drawn have disappeared.
    """

    split: bool = False
    smallest: float = 0.0
    aligned: bool = False
    vanished: bool = False


@dataclass(eq=False)
class DrawnVisit:
    """The contours of a visit on the grid of its T1w.

    Attributes
    ----------
    session : Session
    t1w : Grid
    lesions : list of DrawnLesion
    artery : (Grid, Fractions) or None
        The artery, on the grid of the T1w or of the DCE series.
    frame : str
        Frame of reference of the T1w, if its sidecar states it.
    sources : list of (str, Drawing)
        Names and contents of the files that are used.
    basis : list of str
        How each file was placed on the T1w, without its name, which may be that of the patient.
    absent : dict of int to str
        Numbers and names of lesions of earlier visits that were not drawn at this one.
    problems, warnings, notes : list of str
    """

    session: Session
    t1w: Grid
    lesions: list[DrawnLesion] = field(default_factory=list)
    artery: tuple[Grid, Fractions] | None = None
    frame: str = ""
    sources: list[tuple[str, Drawing]] = field(default_factory=list)
    basis: list[str] = field(default_factory=list)
    absent: dict[int, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def draw_visit(
    session: Session, jobs: Sequence[Job], bids_dir: Path, options: Options
) -> DrawnVisit:
    """Return the lesions and the artery of a visit; what is wrong is listed in ``problems``.

    Parameters
    ----------
    session
        The record of the visit.
    jobs
        Its files.
    bids_dir
        The data set.
    options
        How contours are treated.

    Raises
    ------
    BadInput
        If the visit has no T1w.
    """
    if session.t1w is None:
        why = "; ".join(session.problems)
        raise BadInput(f"has no T1w, on whose grid ROIs are written{f' ({why})' if why else ''}")
    visit = DrawnVisit(session, read_grid(session.t1w))
    visit.frame = str(metadata(session.t1w, bids_dir).get("FrameOfReferenceUID") or "")
    drawn: list[Drawn] = []
    for job in jobs:
        for file, drawing, chosen in _read(job, visit):
            visit.sources.append((file.name, drawing))
            drawn += _draw(visit, file, drawing, chosen, job, bids_dir, options)
    if drawn and not visit.problems:
        try:
            visit.lesions = _lesions(visit, drawn, options)
        except BadInput as error:
            visit.problems.append(str(error))
    return visit


_Chosen = list[tuple[Region, Kind]]


def _read(job: Job, visit: DrawnVisit) -> list[tuple[Path, Drawing, _Chosen]]:
    """Return each file of a job with the regions of it that are used."""
    drawings: list[tuple[Path, Drawing]] = []
    for file in job.files:
        try:
            drawings.append((file, read_drawing(file)))
        except BadInput as error:
            visit.problems.append(str(error))
    if len(drawings) < len(job.files):
        return []
    if text := _undecided(job, drawings):
        visit.problems.append(text)
        return []
    regions = [region for _, drawing in drawings for region in drawing.regions]
    try:
        chosen = {id(r): (r, kind) for r, kind in choose_regions(regions, job.uses)}
    except BadInput as error:
        names = ", ".join(file.name for file in job.files[:5])
        visit.problems.append(f"{names}: {error}")
        return []
    found = []
    for file, drawing in drawings:
        own = [chosen[id(region)] for region in drawing.regions if id(region) in chosen]
        visit.warnings += [f"{file.name}: {text}" for text in drawing.warnings]
        unused = [region for region in drawing.regions if id(region) not in chosen]
        if unused:
            visit.notes.append(f"{file.name}: not used: {list_regions(unused)}")
        if own:
            found.append((file, drawing, own))
    return found


def _undecided(job: Job, drawings: Sequence[tuple[Path, Drawing]]) -> str:
    """Return what the user has to decide about the regions of the files; empty if nothing."""
    choice = ""
    if not job.uses:
        choice = f"state what its regions are: --as {', '.join(KINDS[:-1])}, or --artery"
    elif not all(use.pattern for use in job.uses) and any(
        drawing.format == RTSTRUCT and len(drawing.regions) > 1 for _, drawing in drawings
    ):
        choice = 'state which of its regions are lesions: --use "Met*", for example, or "*"'
    texts = [f"{file.name} contains {list_regions(d.regions)}" for file, d in drawings[:3]]
    return f"{'; '.join(texts)}; {choice}" if choice else ""


def _draw(
    visit: DrawnVisit,
    file: Path,
    drawing: Drawing,
    chosen: _Chosen,
    job: Job,
    bids_dir: Path,
    options: Options,
) -> list[Drawn]:
    """Return the regions of a file on the grid of the T1w; an artery is kept in the visit."""
    usable = []
    for region, kind in chosen:
        visit.warnings += [f"{file.name}: {region.name!r}: {text}" for text in region.warnings]
        if region.shape is None:
            visit.problems.append(f"{file.name}: {region.name!r} {region.problem}")
        else:
            usable.append((region, kind))
    shapes = [region.require_shape() for region, _ in usable]
    if not shapes:
        return []
    if _is_on_dynamic(visit, usable):
        return _draw_artery_on_dynamic(visit, file, usable)
    try:
        if job.drawn_on:
            placement = register_drawn_on(shapes, job.drawn_on, visit.t1w)
        else:
            placement = place(drawing, shapes, visit.t1w, bids_dir, aligned=options.aligned)
    except (BadInput, RegistrationError) as error:
        visit.problems.append(f"{file.name}: {error}")
        return []
    visit.basis.append(f"{drawing.format}: {placement.basis}")
    visit.notes.append(f"{file.name}: {placement.basis}")
    visit.warnings += placement.warnings
    return _rasterise_all(visit, file, usable, placement)


def _rasterise_all(
    visit: DrawnVisit, file: Path, chosen: _Chosen, placement: Placement
) -> list[Drawn]:
    """Return the regions of a file on the grid of the T1w."""
    drawn = []
    for region, kind in chosen:
        try:
            shape = region.require_shape()
            part = rasterise(shape, visit.t1w.shape, visit.t1w.affine, placement.matrix)
            drawn.append(Drawn(region.name, kind, part))
        except BadInput as error:
            visit.problems.append(f"{file.name}: {region.name!r} {error}")
    if placement.assumed:
        dark = check_in_head(
            visit.t1w, [(d.name, d.fractions) for d in drawn if d.kind != "artery"]
        )
        visit.problems += [f"{file.name}: {text}" for text in dark]
    for artery in (d for d in drawn if d.kind == "artery"):
        _keep_artery(visit, visit.t1w, artery)
    return [d for d in drawn if d.kind != "artery"]


def _is_on_dynamic(visit: DrawnVisit, chosen: _Chosen) -> bool:
    """Return whether a file contains only an artery that was drawn on the DCE series."""
    dynamic = visit.session.dynamic
    shapes = [region.require_shape() for region, _ in chosen]
    if dynamic is None or any(kind != "artery" for _, kind in chosen):
        return False
    return is_drawn_on(shapes, read_grid(dynamic.image)) and not is_drawn_on(shapes, visit.t1w)


def _draw_artery_on_dynamic(visit: DrawnVisit, file: Path, chosen: _Chosen) -> list[Drawn]:
    """Keep an artery that was drawn on the DCE series, on its grid."""
    dynamic = visit.session.dynamic
    assert dynamic is not None
    grid = read_grid(dynamic.image)
    for region, kind in chosen:
        try:
            part = rasterise(region.require_shape(), grid.shape, grid.affine, np.eye(4))
            _keep_artery(visit, grid, Drawn(region.name, kind, part))
        except BadInput as error:
            visit.problems.append(f"{file.name}: {region.name!r} {error}")
    visit.basis.append("drawn on the DCE series")
    visit.notes.append(f"{file.name}: the artery was drawn on {grid.image.name}")
    return []


def _keep_artery(visit: DrawnVisit, grid: Grid, artery: Drawn) -> None:
    """Keep the artery of a visit; a second one is a problem."""
    if visit.artery:
        visit.problems.append(
            f"{artery.name!r}: another artery is chosen already; metperf uses one for each visit"
        )
    elif not (artery.fractions.values >= 0.5).any():
        visit.problems.append(f"{artery.name!r} fills no voxel of {grid.image.name} by half")
    visit.artery = visit.artery or (grid, artery.fractions)


def _lesions(visit: DrawnVisit, drawn: Sequence[Drawn], options: Options) -> list[DrawnLesion]:
    """Return the lesions of a visit."""
    if not options.split:
        return assemble_lesions(drawn, visit.t1w.shape)
    voxel = voxel_ml(visit.t1w.affine)
    lesions, small = split_lesions(drawn, visit.t1w.shape, options.smallest / voxel)
    if small:
        visit.warnings.append(f"{small} parts below {options.smallest:g} ml are left out")
    if not lesions:
        raise BadInput("no connected part fills a voxel by half")
    return lesions
