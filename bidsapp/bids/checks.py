"""Warnings of usable but inconsistent input: headers, ROIs and tables that disagree."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from bidsapp.bids.dose_maps import dose_warnings
from bidsapp.bids.grids import grid_difference
from bidsapp.bids.images import orientation_warning
from bidsapp.bids.records import Rois, Session
from bidsapp.bids.rois import fit_to_grid, roi_labels
from bidsapp.bids.tissue_classes import tissue_class_warning

_CLOSEST, _FARTHEST = 0.25, 3.0
"""Intervals of two frames that need no warning, relative to the median interval."""


def input_warnings(session: Session) -> Iterator[str]:
    """Yield a warning for each inconsistency in the files of a session.

    Parameters
    ----------
    session
        A session with checked images.
    """
    images = [
        session.t1w,
        session.diffusion and session.diffusion.image,
        session.dynamic and session.dynamic.image,
    ]
    yield from filter(None, (orientation_warning(path) for path in images if path))
    for rois in (*session.enhancing, *session.whole):
        yield from _roi_warnings(rois)
    yield from _reference_warnings(session)
    yield from dose_warnings(session)
    if session.dynamic:
        yield from session.dynamic.doubts
        steps = np.diff(session.dynamic.times) * 60
        usual = float(np.median(steps)) if len(steps) else 0.0
        odd = {float(step) for step in (steps.min(initial=usual), steps.max(initial=usual))}
        for step in sorted(odd):
            if not _CLOSEST * usual <= step <= _FARTHEST * usual:
                yield (
                    f"{session.dynamic.image.name}: two frames are {step:g} s apart, but usually "
                    f"{usual:g} s"
                )


def _roi_warnings(rois: Rois) -> Iterator[str]:
    """Yield a warning for each inconsistency between an ROI image and its table."""
    labels, name = roi_labels(rois), rois.image.name
    listed = {lesion.index for lesion in rois.lesions}
    there = set(np.unique(labels[labels > 0]).tolist())
    if classes := tissue_class_warning(labels, name):
        yield classes
    if unlisted := sorted(there - listed):
        yield f"{name}: label {_join_numbers(unlisted)} is not in the table, so it is not measured"
    if listed and not there & listed:
        yield f"{name}: contains no voxel of any lesion: all lesions are considered gone"
    rim = labels.copy()
    rim[tuple(slice(1, -1) if n > 2 else slice(None) for n in labels.shape)] = 0
    if cut := sorted(set(np.unique(rim[rim > 0]).tolist()) & listed):
        yield f"{name}: lesion {_join_numbers(cut)} touches the edge of the image: is it cut off?"


def _reference_warnings(session: Session) -> Iterator[str]:
    """Yield a warning if a drawn reference region overlaps lesions."""
    given = session.region("reference")
    if given is None:
        return
    inside = roi_labels(given) > 0
    # Both kinds of ROIs are of the same lesions: whole ones are named first.
    for rois in (*session.whole, *session.enhancing):
        share = float((roi_labels(rois)[inside] > 0).mean()) if rois.space == given.space else 0
        if share > 0:
            yield (
                f"{given.image.name}: {max(100 * share, 1):.0f} % of the reference region are "
                f"lesion in {rois.image.name}; draw it in normal white matter"
            )
            return


def drop_rois_off_grid(session: Session) -> tuple[Session, list[str]]:
    """Return a session without ROIs and dose that are not on the grid of their image, and why.

    Parameters
    ----------
    session
        A session with checked images.
    """
    grids: dict[str, Path | None] = {
        "T1w": session.t1w,
        "dwi": session.diffusion.image if session.diffusion else None,
        "dce": session.dynamic.image if session.dynamic else None,
    }
    problems: list[str] = []
    notes: list[str] = []

    def fitting(rois: Rois) -> tuple[Rois, ...]:
        image = grids[rois.space]
        if image is None:
            return (rois,)
        if difference := grid_difference(rois.image, image):
            problems.append(
                f"{rois.image}: its grid is not that of {image.name}: {difference}; resample the "
                "ROI to that grid, or specify its space"
            )
            return ()
        fitted, note = fit_to_grid(rois, image)
        notes.extend([note] if note else [])
        return (fitted,)

    artery = session.artery
    if artery and artery.space == "dce":
        artery = next(iter(fitting(artery)), None)
    dose = session.dose
    if dose and session.t1w and (difference := grid_difference(dose, session.t1w)):
        problems.append(
            f"{dose}: its grid is not that of {session.t1w.name}: {difference}; resample the dose "
            "to that grid"
        )
        dose = None
    found = replace(
        session,
        dose=dose,
        enhancing=tuple(fitted for rois in session.enhancing for fitted in fitting(rois)),
        whole=tuple(fitted for rois in session.whole for fitted in fitting(rois)),
        artery=artery,
        regions=tuple((n, fitted) for n, rois in session.regions for fitted in fitting(rois)),
    )
    return replace(found, notes=(*session.notes, *dict.fromkeys(notes))), sorted(set(problems))


def participant_warnings(sessions: Sequence[Session]) -> Iterator[str]:
    """Yield a warning for each inconsistency between sessions.

    Parameters
    ----------
    sessions
        The selected sessions, in chronological order.
    """
    for kind in ("enhancing", "whole"):
        listed = {s.id: _lesion_numbers(s, kind) for s in sessions if getattr(s, kind)}
        known: set[int] = set().union(*listed.values())
        for name, lesions in listed.items():
            if lacking := sorted(known - lesions):
                yield (
                    f"{name}: lesion {_join_numbers(lacking)} of another session is not in the "
                    f"{kind} ROI table: has it disappeared, is it new, or was it renumbered?"
                )


def _lesion_numbers(session: Session, kind: str) -> set[int]:
    return {lesion.index for rois in getattr(session, kind) for lesion in rois.lesions}


def _join_numbers(numbers: Sequence[int]) -> str:
    text = ", ".join(map(str, numbers[:5]))
    return f"{text}, ..." if len(numbers) > 5 else text
