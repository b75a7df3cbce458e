"""ROIs of a study from contours: all visits checked, then written, or nothing."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from bidsapp.bids.query import Query
from bidsapp.bids.records import Participant, Session
from bidsapp.bids.tissue_classes import tissue_class_warning
from bidsapp.conversion.contours.lesions import (
    PARTS,
    DrawnLesion,
    Part,
    check_overlap,
    label_voxels,
)
from bidsapp.errors import BadInput, NothingSelected
from bidsapp.issues import Issue, join_alike
from bidsapp.lesions import voxel_ml
from bidsapp.run.rois.dose import draw_dose
from bidsapp.run.rois.files import (
    COLUMNS,
    File,
    artery_files,
    artery_path,
    dose_files,
    dose_path,
    existing_parts,
    image_bytes,
    lesion_places,
    part_files,
    roi_path,
    write_files,
)
from bidsapp.run.rois.jobs import Job
from bidsapp.run.rois.numbers import LesionPlaces, Numbered, number_lesions
from bidsapp.run.rois.origins import check_origins
from bidsapp.run.rois.visit import DrawnVisit, Options, draw_visit

Report = Callable[[str], None]
LOSS = 0.05
"""Difference of the volumes of voxels and contours, relative to the latter, that is reported."""


@dataclass(frozen=True)
class Request:
    """What is to be converted, and where to.

    Attributes
    ----------
    bids_dir, rois_dir
        The data set, and the derivative for the ROIs.
    options
        How contours are treated.
    overwrite
        Whether ROIs that exist are replaced.
    dry_run
        Whether nothing is written.
    """

    bids_dir: Path
    rois_dir: Path
    options: Options
    overwrite: bool = False
    dry_run: bool = False


def convert(jobs: Sequence[Job], request: Request, report: Report) -> list[Issue]:
    """Write the ROIs of all visits, or nothing if any of them cannot be written.

    Parameters
    ----------
    jobs
        Files of each visit.
    request
        What is to be done.
    report
        Takes a line of text on what is written.

    Returns
    -------
    list of Issue
        Failures of all visits at once; warnings and notes.

    Raises
    ------
    NotWritable
        If a file cannot be written.
    """
    labels = list(dict.fromkeys(job.participant for job in jobs))
    derivatives = [request.rois_dir] if request.rois_dir.is_dir() else []
    query = Query(request.bids_dir, derivatives, participants=labels)
    issues: list[Issue] = []
    files: list[File] = []
    visits: list[DrawnVisit] = []
    for label in labels:
        own = [job for job in jobs if job.participant == label]
        if label not in query.labels():
            have = ", ".join(query.raw.get_subjects()) or "none of the selected participants"
            text = f"is not in {request.bids_dir}, which has {have}"
            issues.append(Issue("failed", text, participant=f"sub-{label}"))
            continue
        try:
            participant = query.participant(label)
        except (BadInput, NothingSelected) as error:
            issues.append(Issue("failed", str(error), participant=f"sub-{label}"))
            continue
        drawn, found, more = _convert_participant(participant, own, request, report)
        visits += drawn
        files += found
        issues += more
    check_origins(visits)
    issues = sorted([*issues, *_visit_issues(visits)], key=lambda issue: issue.participant)
    for folder in (request.rois_dir, request.bids_dir):  # paths as short as they are clear
        issues = [replace(i, text=i.text.replace(f"{folder}/", "")) for i in issues]
    failed = any(issue.level == "failed" for issue in issues)
    if failed:
        report("nothing is written, because of the failures listed below")
    elif request.dry_run:
        report(f"{len(files)} files would be written to {request.rois_dir}")
    else:
        write_files(files, request.rois_dir, request.bids_dir)
        report(f"{len(files)} files written to {request.rois_dir}")
    return issues


def _convert_participant(
    participant: Participant, jobs: Sequence[Job], request: Request, report: Report
) -> tuple[list[DrawnVisit], list[File], list[Issue]]:
    """Return the visits of a participant, their files, and the issues of no visit with contours."""
    issues = []
    known = {session.label for session in participant.sessions}
    for label in dict.fromkeys(job.session for job in jobs if job.session not in known):
        text = f"is not in the data set; it has {', '.join(f'ses-{s}' for s in sorted(known))}"
        issues.append(Issue("failed", text, participant=participant.id, session=f"ses-{label}"))
    visits: list[DrawnVisit] = []
    existing: dict[str, LesionPlaces] = {}
    kept: dict[str, set[int]] = {}
    for session in participant.sessions:
        own = [job for job in jobs if job.session == session.label]
        try:
            visit = draw_visit(session, own, request.bids_dir, request.options) if own else None
            if visit:
                draw_dose(visit, own, request.bids_dir, request.options)
            places, remaining = _existing(session, visit, request)
        except BadInput as error:
            issues.append(_issue("failed", str(error), session))
            continue
        if places:
            existing[session.label] = places
        kept[session.label] = remaining
        if visit:
            visits.append(visit)
    numbers = number_lesions(visits, existing, participant.sessions)
    _find_absent(visits, numbers, kept, participant)
    files = []
    for visit in visits:
        files += _visit_files(visit, numbers.get(visit.session.label, []), request, report)
    return visits, files, issues


def _visit_issues(visits: Sequence[DrawnVisit]) -> list[Issue]:
    """Return the issues of visits."""
    return [
        _issue(level, text, visit.session)
        for visit in visits
        for level, texts in (
            ("failed", visit.problems),
            ("warning", visit.warnings),
            ("note", visit.notes),
        )
        for text in join_alike(texts)
    ]


def _issue(level: Any, text: str, session: Session) -> Issue:
    return Issue(level, text, participant=f"sub-{session.participant}", session=session.id)


def _existing(
    session: Session, visit: DrawnVisit | None, request: Request
) -> tuple[LesionPlaces, set[int]]:
    """Return the places of lesions in ROIs that exist, and the numbers of those that are kept.

    Parameters
    ----------
    session
        The record of the visit.
    visit
        Its contours, if it has any; ROIs that they must not replace are added to its problems.
    request
        What is to be done.
    """
    existing = existing_parts(session)
    new = {part for lesion in visit.lesions for part in lesion.parts} if visit else set[Part]()
    new |= visit.gone if visit and not visit.lesions else set()
    if visit:
        for part in [part for part in PARTS if part in new]:
            present = existing[part].sources if part in existing else ()
            _check_target(visit, roi_path(session, request.rois_dir, part), present, request)
        if visit.artery:
            target = artery_path(session, request.rois_dir, _artery_space(visit))
            _check_target(visit, target, session.artery.sources if session.artery else (), request)
        if visit.dose is not None:
            target = dose_path(session, request.rois_dir)
            _check_target(visit, target, (session.dose,) if session.dose else (), request)
    places: LesionPlaces = {}
    kept: set[int] = set()
    for part in [part for part in PARTS if part in existing]:
        found = lesion_places(existing[part])
        places |= found
        if part not in new:
            kept |= set(found)
            if visit:
                visit.remaining[part] = set(found)
    return places, kept


def _check_target(
    visit: DrawnVisit, target: Path, present: Sequence[Path], request: Request
) -> None:
    """Add a problem to a visit that has ROIs which are not to be replaced.

    Parameters
    ----------
    visit
        Contours of the visit.
    target
        The file to be written.
    present
        The files that metperf reads so far in its place.
    request
        What is to be done.
    """
    if others := [path for path in present if path != target]:
        visit.problems.append(
            f"{others[0]}: is the same kind of ROI of this visit under another name; move it away"
        )
    elif target.exists() and not request.overwrite:
        visit.problems.append(f"{target}: exists; --overwrite replaces it")


def _artery_space(visit: DrawnVisit) -> str:
    """Return the space of the artery of a visit: that of the T1w or of the DCE series."""
    assert visit.artery is not None
    return "T1w" if visit.artery[0].image == visit.session.t1w else "dce"


def _find_absent(
    visits: Sequence[DrawnVisit],
    numbers: Mapping[str, Sequence[Numbered]],
    kept: Mapping[str, set[int]],
    participant: Participant,
) -> None:
    """Find the lesions of earlier visits that were not drawn at each visit."""
    drawn = {visit.session.label: visit for visit in visits}
    seen: dict[int, str] = {}
    for session in participant.sessions:
        label, found = session.label, dict[int, str]()
        for rois in existing_parts(session).values():
            found |= {
                one.index: one.name for one in rois.lesions if one.index in kept.get(label, ())
            }
        if label in numbers or (label in drawn and drawn[label].gone):
            pairs = zip(drawn[label].lesions, numbers.get(label, ()), strict=True)
            found |= {one.number: _name(lesion, one) for lesion, one in pairs}
            drawn[label].absent |= {n: name for n, name in seen.items() if n not in found}
        seen = found | seen


def _visit_files(
    visit: DrawnVisit, numbers: Sequence[Numbered], request: Request, report: Report
) -> list[File]:
    """Return the files of a visit, report its lesions, and add what is wrong to the visit."""
    session, files = visit.session, []
    if visit.absent:
        absent = ", ".join(map(str, sorted(visit.absent)))
        visit.warnings.append(
            f"lesion {absent} of an earlier visit is not drawn"
            + (
                ": listed as gone"
                if request.options.vanished
                else ": has it disappeared? --vanished lists such lesions as gone, without voxels"
            )
        )
    elif visit.gone and not visit.lesions:
        visit.problems.append("no lesion is drawn, and no earlier visit has one that disappeared")
    _report_remaining(visit, numbers)
    place = f"sub-{session.participant} {session.id}"
    if (numbers or visit.gone) and not visit.problems:
        for part in PARTS:
            files += _part(visit, part, numbers, request, report)
    if visit.artery and not visit.problems:
        grid, fractions = visit.artery
        mask = fractions.on(grid.shape) >= 0.5
        report(f"{place}: artery of {int(mask.sum())} voxels")
        files += artery_files(
            session, request.rois_dir, _artery_space(visit), image_bytes(mask, grid), visit.basis
        )
    if visit.dose is not None and not visit.problems:
        report(f"{place}: dose of up to {float(np.nanmax(visit.dose)):.3g} Gy")
        files += dose_files(session, request.rois_dir, visit.dose, visit.t1w, visit.dose_basis)
    return files


def _report_remaining(visit: DrawnVisit, numbers: Sequence[Numbered]) -> None:
    """Report the ROIs of earlier contours that remain, and lesions that are in these only."""
    drawn = {numbered.number for numbered in numbers}
    for part, found in visit.remaining.items():
        if not (numbers or visit.gone):
            continue
        text = f"the ROI of another part ({part}) remains as it was"
        if others := sorted(found - drawn):
            lesions = ", ".join(map(str, others))
            visit.warnings.append(
                f"{text}, with lesion {lesions}, which is not drawn now: draw that part again, or "
                "remove its ROI"
            )
        else:
            visit.notes.append(text)


def _part(
    visit: DrawnVisit, part: Part, numbers: Sequence[Numbered], request: Request, report: Report
) -> list[File]:
    """Return the files of a part of the lesions of a visit."""
    pairs = [one for one in zip(visit.lesions, numbers, strict=True) if part in one[0].parts]
    if not pairs and (visit.lesions or part not in visit.gone):
        return []
    lesions = [lesion for lesion, _ in pairs]
    order, overlaps = label_voxels([lesion.parts[part] for lesion in lesions], visit.t1w.shape)
    try:
        visit.warnings += check_overlap(lesions, part, overlaps)
    except BadInput as error:
        visit.problems.append(str(error))
        return []
    voxel, labels = voxel_ml(visit.t1w.affine), order * 0
    excluded = {
        lesion.index
        for rois in existing_parts(visit.session).values()
        for lesion in rois.lesions
        if lesion.excluded
    }
    rows = []
    for place, (lesion, numbered) in enumerate(pairs, 1):
        labels[order == place] = numbered.number
        filled = int((order == place).sum()) * voxel
        contour = lesion.parts[part].voxels * voxel
        name = _name(lesion, numbered)
        rows.append(_row(numbered.number, name, numbered.number in excluded, filled, contour))
        _check_volume(visit, f"{name!r} ({part})", filled, contour)
        moved = "" if math.isnan(numbered.distance) else f", {numbered.distance:.1f} mm"
        report(
            f"sub-{visit.session.participant} {visit.session.id}: {part} lesion "
            f"{numbered.number} {name!r}: {filled:.4g} ml (contours {contour:.4g} ml){moved}"
        )
    if request.options.vanished:
        rows += [_row(n, name, n in excluded, 0.0, 0.0) for n, name in visit.absent.items()]
    if text := tissue_class_warning(labels, roi_path(visit.session, request.rois_dir, part).name):
        visit.problems.append(text)
    rows.sort(key=lambda row: row["index"])
    image = image_bytes(labels, visit.t1w)
    return part_files(visit.session, request.rois_dir, part, image, rows, visit.basis)


def _name(lesion: DrawnLesion, numbered: Numbered) -> str:
    """Return the name of a lesion: its own, or its number if it was called by another number."""
    by_number = lesion.name.removeprefix("lesion ").isdigit()
    return f"lesion {numbered.number}" if by_number else lesion.name


def _row(number: int, name: str, excluded: bool, filled: float, contour: float) -> dict[str, Any]:
    values = (number, name, excluded, filled, contour)
    return dict(zip(COLUMNS, values, strict=True))


def _check_volume(visit: DrawnVisit, name: str, filled: float, contour: float) -> None:
    """Report a lesion whose voxels do not have the volume of its contours."""
    if not filled:
        visit.problems.append(
            f"{name}: fills no voxel of the T1w by half (contours: {1000 * contour:.3g} mm3), and "
            "would be taken for a lesion that has disappeared; leave it out by --use"
        )
    elif abs(filled / contour - 1) > LOSS:
        visit.warnings.append(
            f"{name}: its voxels have {filled / contour - 1:+.0%} of the volume of its contours "
            f"({filled:.3g} and {contour:.3g} ml)"
        )
