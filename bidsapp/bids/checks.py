"""Warnings of usable but inconsistent input: headers, ROIs and tables that disagree."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np

from bidsapp.bids.images import orientation_warning
from bidsapp.bids.records import Rois, Session
from bidsapp.bids.roi_tables import read_labels


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
    if session.dynamic and session.dynamic.doubt:
        yield session.dynamic.doubt
    if session.dynamic:
        steps = np.diff(session.dynamic.times) * 60
        if len(steps) and steps.max() > 3 * np.median(steps):
            yield (
                f"{session.dynamic.image.name}: two frames are {steps.max():g} s apart; "
                f"the median is {np.median(steps):g} s"
            )


def _roi_warnings(rois: Rois) -> Iterator[str]:
    """Yield a warning for each inconsistency between an ROI image and its table."""
    labels, name = read_labels(rois.image), rois.image.name
    listed = {lesion.index for lesion in rois.lesions}
    there = set(np.unique(labels[labels > 0]).tolist())
    if unlisted := sorted(there - listed):
        yield f"{name}: label {_join_numbers(unlisted)} is not in the table, so it is not measured"
    if listed and not there & listed:
        yield f"{name}: contains no voxel of any lesion: all lesions are considered gone"
    rim = labels.copy()
    rim[tuple(slice(1, -1) if n > 2 else slice(None) for n in labels.shape)] = 0
    if cut := sorted(set(np.unique(rim[rim > 0]).tolist()) & listed):
        yield f"{name}: lesion {_join_numbers(cut)} touches the edge of the image: is it cut off?"


def drop_rois_off_grid(session: Session) -> tuple[Session, list[str]]:
    """Return a session without the ROIs that are not on the grid of their image, and the reasons.

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
    drawn = {*session.enhancing, *session.whole}
    if session.artery and session.artery.space == "dce":
        drawn.add(session.artery)
    problems = {rois: _grid_difference(rois.image, grids[rois.space]) for rois in drawn}
    bad = {rois for rois, why in problems.items() if why}
    fitting = replace(
        session,
        enhancing=tuple(r for r in session.enhancing if r not in bad),
        whole=tuple(r for r in session.whole if r not in bad),
        artery=None if session.artery in bad else session.artery,
    )
    return fitting, sorted(filter(None, problems.values()))


def _grid_difference(image: Path, other: Path | None) -> str:
    """Return how the grids of two images differ, as an error message; empty if they do not."""
    if other is None:
        return ""
    mine, its = nib.load(image), nib.load(other)
    shape, wanted = mine.shape[:3], its.shape[:3]
    where = f"{image}: its grid is not that of {other.name}"
    remedy = "resample the ROI to that grid, or specify its space"
    if shape != wanted:
        return f"{where}: {shape} voxels, not {wanted}; {remedy}"
    apart = float(np.abs(mine.affine - its.affine).max())
    return f"{where}: they differ by up to {apart:.3g} mm; {remedy}" if apart > 1e-2 else ""


def participant_warnings(
    sessions: Sequence[Session], days: Mapping[str, float], folders: Iterable[str]
) -> Iterator[str]:
    """Yield a warning for each inconsistency between sessions, or with the sessions table.

    Parameters
    ----------
    sessions
        The selected sessions, in chronological order.
    days
        Days by session label, from the table of the participant.
    folders
        Labels of all sessions with files.
    """
    have = set(folders)
    if strangers := sorted(days.keys() - have):
        yield f"sessions.tsv lists ses-{', ses-'.join(strangers)}, which has no files: misnamed?"
    if days and (without := sorted(have - days.keys())):
        yield f"sessions.tsv has no day for ses-{', ses-'.join(without)}: its order is unknown"
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
