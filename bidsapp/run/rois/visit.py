"""The contours of one visit: files read, regions chosen, placed on the T1w, and made lesions."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from bidsapp.bids.images import check_image, orientation_warning
from bidsapp.bids.inheritance import metadata
from bidsapp.bids.records import Session
from bidsapp.conversion.contours.choice import KINDS, Kind, choose_regions, list_regions
from bidsapp.conversion.contours.drawing import Contours, Drawing, Region
from bidsapp.conversion.contours.lesions import (
    PARTS,
    Drawn,
    DrawnLesion,
    Part,
    assemble_lesions,
    split_lesions,
)
from bidsapp.conversion.contours.planes import thicken
from bidsapp.conversion.contours.rasterise import Fractions, rasterise, slice_axis
from bidsapp.conversion.contours.read import is_dose, read_drawing
from bidsapp.conversion.contours.rtdose import DoseGrid
from bidsapp.conversion.contours.rtstruct import FORMAT as RTSTRUCT
from bidsapp.errors import BadInput, RegistrationError
from bidsapp.lesions import voxel_ml
from bidsapp.run.rois.checks import (
    check_size,
    enhancement_outside,
    require_orientation,
    scattered_parts,
)
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
    dose
        Whether the dose of a plan is used, several are added, or none is used.
    """

    split: bool = False
    smallest: float = 0.0
    aligned: bool = False
    vanished: bool = False
    dose: Literal["plan", "sum", "none"] = "plan"


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
    sources : list of (str, Drawing or DoseGrid)
        Names and contents of the files that are used.
    placements : dict of str to Placement
        How coordinates of each frame of reference were placed on the T1w.
    dose : (X, Y, Z) array or None
        On the grid of the T1w, Gy.
    dose_basis : str
        How the dose was placed on the T1w.
    basis : list of str
        How each file was placed on the T1w, without its name, which may be that of the patient.
    absent : dict of int to str
        Numbers and names of lesions of earlier visits that were not drawn at this one.
    gone : set of Part
        Parts of lesions whose regions are empty, because the lesions have disappeared.
    remaining : dict of Part to set of int
        Numbers of the lesions in ROIs that exist and are not replaced.
    problems, warnings, notes : list of str
    """

    session: Session
    t1w: Grid
    lesions: list[DrawnLesion] = field(default_factory=list)
    artery: tuple[Grid, Fractions] | None = None
    frame: str = ""
    sources: list[tuple[str, Drawing | DoseGrid]] = field(default_factory=list)
    placements: dict[str, Placement] = field(default_factory=dict)
    dose: NDArray[np.float32] | None = None
    dose_basis: str = ""
    basis: list[str] = field(default_factory=list)
    absent: dict[int, str] = field(default_factory=dict)
    gone: set[Part] = field(default_factory=set)
    remaining: dict[Part, set[int]] = field(default_factory=dict)
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
    if text := orientation_warning(session.t1w):
        visit.warnings.append(text)
    drawn: list[Drawn] = []
    kinds: dict[tuple[Path, str, str], Kind] = {}
    for job in _without_doses(jobs):
        for file, drawing, chosen in _read(job, visit, options):
            _check_repeated(visit, file, chosen, kinds)
            visit.sources.append((file.name, drawing))
            drawn += _draw(visit, file, drawing, chosen, job, bids_dir, options)
    if drawn and not visit.problems:
        try:
            visit.lesions = _lesions(visit, drawn, options)
        except BadInput as error:
            visit.problems.append(str(error))
    return visit


def _without_doses(jobs: Sequence[Job]) -> list[Job]:
    """Return the jobs with files of contours or masks, without those of doses."""
    drawn = [
        replace(job, files=tuple(file for file in job.files if not is_dose(file))) for job in jobs
    ]
    return [job for job in drawn if job.files]


_Chosen = list[tuple[Region, Kind]]


def _check_repeated(
    visit: DrawnVisit, file: Path, chosen: _Chosen, kinds: dict[tuple[Path, str, str], Kind]
) -> None:
    """Add a problem for each region of a file that is used by another line of a table, too."""
    for region, kind in chosen:
        one = (file.resolve(), region.key, region.name)
        if one in kinds:
            visit.problems.append(
                f"{file.name}: {region.name!r} is used twice, as {kinds[one]} and as {kind}; use "
                "it once (a lesion that enhances throughout is both)"
            )
        kinds[one] = kind


def _read(job: Job, visit: DrawnVisit, options: Options) -> list[tuple[Path, Drawing, _Chosen]]:
    """Return each file of a job with the regions of it that are used."""
    drawings: list[tuple[Path, Drawing]] = []
    for file in job.files:
        try:
            drawings.append((file, read_drawing(file)))
        except BadInput as error:
            visit.problems.append(str(error))
    if len(drawings) < len(job.files):
        return []
    regions = [region for _, drawing in drawings for region in drawing.regions]
    if options.vanished and job.uses and all(region.empty for region in regions):
        for use in job.uses:
            _take_for_gone(visit, use.kind)
        visit.notes += [
            f"{file.name}: contains nothing: its lesions are gone" for file in job.files
        ]
        return []
    if text := _undecided(job, drawings):
        visit.problems.append(text)
        return []
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


def _take_for_gone(visit: DrawnVisit, kind: Kind) -> None:
    """Record that regions of a kind are empty because the lesions have disappeared."""
    if kind in PARTS:
        visit.gone.add(kind)
    elif kind != "artery":
        visit.gone |= set(PARTS)


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
        if region.empty and options.vanished and kind != "artery":
            _take_for_gone(visit, kind)
            visit.notes.append(f"{file.name}: {region.name!r} {region.problem}: it is gone")
        elif region.shape is None:
            remedy = "; has it disappeared? --vanished states this" if region.empty else ""
            visit.problems.append(f"{file.name}: {region.name!r} {region.problem}{remedy}")
        else:
            usable.append((region, kind))
    shapes = [region.require_shape() for region, _ in usable]
    if not shapes:
        return []
    if _is_on_dynamic(visit, usable):
        return _draw_artery_on_dynamic(visit, file, usable)
    try:
        if job.drawn_on:
            check_image(job.drawn_on, 3)
        grid = read_grid(job.drawn_on) if job.drawn_on else visit.t1w
        require_orientation(drawing, grid)
        if job.drawn_on:
            placement = register_drawn_on(shapes, job.drawn_on, visit.t1w)
        else:
            placement = place(drawing, shapes, visit.t1w, bids_dir, aligned=options.aligned)
    except (BadInput, RegistrationError) as error:
        visit.problems.append(f"{file.name}: {error}")
        return []
    visit.placements[drawing.frame] = placement
    visit.basis.append(f"{drawing.format}: {placement.basis}")
    visit.notes.append(f"{file.name}: {placement.basis}")
    visit.warnings += placement.warnings
    usable = [(_with_thickness(visit, region, grid), kind) for region, kind in usable]
    return _rasterise_all(visit, file, usable, placement)


def _with_thickness(visit: DrawnVisit, region: Region, grid: Grid) -> Region:
    """Return a region in one plane on a slice of an image with the thickness of its slices."""
    shape = region.shape
    if not isinstance(shape, Contours) or not shape.is_flat or not is_drawn_on([shape], grid):
        return region
    _, distance = slice_axis(shape, grid.affine)
    visit.warnings.append(
        f"{region.name!r} is drawn in one plane only: taken for {distance:.3g} mm thick, as the "
        f"slices of {grid.image.name}"
    )
    return replace(region, shape=thicken(shape, distance))


def _rasterise_all(
    visit: DrawnVisit, file: Path, chosen: _Chosen, placement: Placement
) -> list[Drawn]:
    """Return the regions of a file on the grid of the T1w."""
    drawn = []
    for region, kind in chosen:
        try:
            shape = region.require_shape()
            part = rasterise(shape, visit.t1w.shape, visit.t1w.affine, placement.matrix)
            check_size(part, visit.t1w)
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
            shape = _with_thickness(visit, region, grid).require_shape()
            part = rasterise(shape, grid.shape, grid.affine, np.eye(4))
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
    if options.split:
        voxel = voxel_ml(visit.t1w.affine)
        lesions, small = split_lesions(drawn, visit.t1w.shape, options.smallest / voxel)
        if small:
            visit.warnings.append(f"{small} parts below {options.smallest:g} ml are left out")
        if not lesions:
            raise BadInput("no connected part fills a voxel by half")
    else:
        lesions = assemble_lesions(drawn, visit.t1w.shape)
        visit.warnings += scattered_parts(lesions, visit.t1w.affine)
    visit.warnings += enhancement_outside(lesions)
    return lesions
