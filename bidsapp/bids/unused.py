"""Images that look like ROIs of a participant and are not used, with the reason."""

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from bidsapp.bids.records import Session

_OTHER_FORMATS = (".nrrd", ".nhdr", ".mha", ".mhd", ".mgz", ".mgh", ".img", ".dcm", ".nii.bz2")
_NIFTI = (".nii", ".nii.gz")
_LOOKS_LIKE_ROI = re.compile(
    r"lesion|tumou?r|enhanc|gtv|metast|seg-whole|_roi\.|AIF|dose|label-reference", re.IGNORECASE
)
_ROI_SUFFIXES = ("dseg", "mask")
_KINDS = ("enhancing", "whole")
_MOST = 5
"""Largest number of files that are listed."""
DOSE_NAME = "…_label-dose_dosemap.nii.gz"
NAMES = (
    "…_seg-enhancing_dseg.nii.gz, …_seg-whole_dseg.nii.gz or …_label-1_desc-enhancing_mask.nii.gz"
)


def unused_rois(
    participant: str,
    sessions: Sequence[Session],
    labels: Sequence[str],
    bids_dir: Path,
    derivatives: Sequence[Path],
) -> tuple[str, ...]:
    """Describe the images of a participant that look like ROIs and are not used.

    Parameters
    ----------
    participant
        ``sub-01``.
    sessions
        The records of the selected sessions.
    labels
        Labels of all sessions of the raw data, without ``ses-``.
    bids_dir, derivatives
        The raw data set and the derivatives that were searched.

    Returns
    -------
    tuple of str
        A text for each reason.
    """
    used = {path for session in sessions for path in _used_files(session)}
    problems = " ".join(text for session in sessions for text in session.problems)
    selected = {session.id for session in sessions}
    reasons: dict[str, list[str]] = {}
    for root in derivatives:
        for path in _images(root / participant):
            place = next((p for p in path.parts if p.startswith("ses-")), "")
            known = place.removeprefix("ses-") in labels
            if path in used or path.name in problems or (known and place not in selected):
                continue
            if reason := _reason(path, place, known=known):
                reasons.setdefault(reason, []).append(path.relative_to(root.parent).as_posix())
    for session in sessions:
        folder = bids_dir / participant / session.id
        for path in _images(folder):
            if path.name.split(".")[0].split("_")[-1] in (*_ROI_SUFFIXES, "roi"):
                reason = f"is in the raw data; ROIs belong in a derivative, named {NAMES}"
                reasons.setdefault(reason, []).append(path.relative_to(bids_dir).as_posix())
            elif path.name.split(".")[0].endswith(("_dosemap", "_dose")):
                reason = f"is in the raw data; a dose belongs in a derivative, named {DOSE_NAME}"
                reasons.setdefault(reason, []).append(path.relative_to(bids_dir).as_posix())
    if not any(session.enhancing for session in sessions):
        for root, path in _other_derivatives(bids_dir, participant, derivatives):
            reason = f"name the folder with --derivatives {root}"
            reasons.setdefault(reason, []).append(path.relative_to(bids_dir).as_posix())
    return tuple(f"not used: {_join(files)}: {reason}" for reason, files in reasons.items())


def _used_files(session: Session) -> Iterator[Path]:
    """Yield the files of a session's ROIs."""
    artery = (session.artery,) if session.artery else ()
    others = (rois for _, rois in session.regions)
    for rois in (*session.enhancing, *session.whole, *artery, *others):
        yield from rois.sources
    if session.dose:
        yield session.dose


def _images(folder: Path) -> Iterator[Path]:
    """Yield the images in a folder and in its folders, of any format, sorted by path."""
    found = [Path(place, name) for place, _, names in os.walk(folder) for name in names]
    yield from sorted(p for p in found if p.name.endswith((*_NIFTI, *_OTHER_FORMATS)))


def _looks_like_roi(path: Path) -> bool:
    """Return whether the name of an image, without participant and session, is that of an ROI."""
    return bool(_LOOKS_LIKE_ROI.search(re.sub(r"^(sub-[^_]*_)?(ses-[^_]*_)?", "_", path.name)))


def _reason(path: Path, place: str, *, known: bool) -> str:
    """Return why an image of a derivative is not used; empty if it is not meant as an ROI."""
    stem, *_ = path.name.partition(".")
    *entities, suffix = stem.split("_")
    meant = suffix in _ROI_SUFFIXES and any(f"-{kind}" in stem for kind in _KINDS)
    if not meant and not _looks_like_roi(path):
        return ""
    if not path.name.endswith(_NIFTI):
        return "is not in the format NIfTI; convert it, for example with `metperf rois`"
    if not place:
        return "is in no folder of a session, such as ses-baseline"
    if not known:
        return f"the raw data have no {place}"
    if "label-reference" in entities and suffix in _ROI_SUFFIXES:
        return "it is measured with --rois reference"
    if suffix == "dosemap" and "label-dose" in entities:
        return ""  # refused with a reason, or left out by a filter
    if "dose" in stem:
        return f"its name is not that of a dose: {DOSE_NAME}"
    wanted = [f"{'seg' if suffix == 'dseg' else 'desc'}-{kind}" for kind in _KINDS]
    if suffix not in _ROI_SUFFIXES or not {*wanted, "label-AIF"} & set(entities):
        return f"its name is not that of an ROI: {NAMES}"
    return "another image of this kind is used, or a filter excludes it"


def _other_derivatives(
    bids_dir: Path, participant: str, derivatives: Sequence[Path]
) -> Iterator[tuple[Path, Path]]:
    """Yield the images that look like ROIs in the derivatives that were not searched."""
    searched = {path.resolve() for path in derivatives}
    for root in sorted((bids_dir / "derivatives").glob("*")):
        if root.resolve() not in searched and not (root / participant / "log").is_dir():
            for path in _images(root / participant):
                if _looks_like_roi(path):
                    yield root, path


def _join(files: Sequence[str]) -> str:
    more = f" and {len(files) - _MOST} more" if len(files) > _MOST else ""
    return ", ".join(files[:_MOST]) + more
