"""The dose of a visit: its files read, added, and placed on the T1w like the contours."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bidsapp.bids.images import check_image
from bidsapp.conversion.contours.drawing import Drawing
from bidsapp.conversion.contours.lesions import label_voxels
from bidsapp.conversion.contours.read import is_dose, read_dose
from bidsapp.conversion.contours.rtdose import FORMAT, DoseGrid, add_doses
from bidsapp.errors import BadInput, RegistrationError
from bidsapp.imaging.resample import resample
from bidsapp.lesions.dose import doubtful_dose
from bidsapp.run.rois.jobs import Job
from bidsapp.run.rois.placement import Placement, place, register_drawn_on
from bidsapp.run.rois.visit import DrawnVisit, Options

_WITHOUT = "; or leave the dose out by --dose none"


def draw_dose(visit: DrawnVisit, jobs: Sequence[Job], bids_dir: Path, options: Options) -> None:
    """Add the dose of a visit to it; what is wrong is added to its problems.

    Parameters
    ----------
    visit
        The visit, with its contours placed.
    jobs
        Its files.
    bids_dir
        The data set.
    options
        Whether doses of several plans are added, or none is used.
    """
    files = dict.fromkeys(file for job in jobs for file in job.files if is_dose(file))
    if not files:
        return
    if options.dose == "none":
        visit.notes.append(f"not used: {len(files)} RTDOSE, by --dose none")
        return
    doses = _read(visit, list(files), options)
    if not doses:
        return
    drawn_on = next((job.drawn_on for job in jobs if job.drawn_on), None)
    try:
        dose = add_doses(doses)
        placed = _place(visit, dose, drawn_on, bids_dir, options)
    except (BadInput, RegistrationError) as error:
        visit.problems.append(f"{next(iter(files)).name}: {error}{_WITHOUT}")
        return
    grid = visit.t1w
    visit.dose = resample(dose.values, dose.affine, placed.matrix, grid.shape, grid.affine)
    visit.dose_basis = f"{FORMAT}: {placed.basis}"
    visit.notes += [f"{file.name}: {placed.basis}" for file in files]
    visit.warnings += placed.warnings
    name = next(iter(files)).name
    if not np.isfinite(visit.dose).any():
        visit.problems.append(f"{name}: its grid does not reach the T1w")
        return
    labels, _ = label_voxels([lesion.extent for lesion in visit.lesions], grid.shape)
    visit.warnings += [f"{name}: {text}" for text in doubtful_dose(visit.dose, labels)]


def _read(visit: DrawnVisit, files: Sequence[Path], options: Options) -> list[DoseGrid]:
    """Return the doses of files, or none if any of them cannot be used."""
    doses = []
    for file in files:
        try:
            doses.append(read_dose(file))
            visit.sources.append((file.name, doses[-1]))
        except BadInput as error:
            visit.problems.append(f"{error}{_WITHOUT}")
    if len(doses) < len(files):
        return []
    if len(doses) > 1 and options.dose != "sum":
        names = ", ".join(file.name for file in files[:5])
        visit.problems.append(
            f"{len(doses)} RTDOSE ({names}): --dose sum adds the doses of several plans; or keep "
            "the one that was given"
        )
        return []
    return doses


def _place(
    visit: DrawnVisit, dose: DoseGrid, drawn_on: Path | None, bids_dir: Path, options: Options
) -> Placement:
    """Return where a dose lies on the T1w: like contours of its frame of reference, or by itself.

    Raises
    ------
    BadInput
        If nothing shows that its coordinates are those of the T1w or of the image drawn on.
    RegistrationError
        If the registration of that image failed.
    """
    if dose.frame and dose.frame in visit.placements:
        return visit.placements[dose.frame]
    if drawn_on:
        check_image(drawn_on, 3)
        return register_drawn_on((), drawn_on, visit.t1w)
    drawing = Drawing(FORMAT, (), dose.frame)
    return place(drawing, (), visit.t1w, bids_dir, aligned=options.aligned)
