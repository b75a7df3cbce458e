"""Label images of ROIs as a run uses them: combined, numbered by place, or carried to a visit."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from bidsapp.bids.records import Participant, Rois, Session
from bidsapp.bids.rois import write_labels
from bidsapp.config import Config
from bidsapp.issues import Issue
from bidsapp.run.followed_lesions import Renumbered
from bidsapp.run.longitudinal import Alignment
from bidsapp.run.matched_lesions import match_lesions_of
from bidsapp.run.propagated_rois import propagate_rois


@dataclass(frozen=True)
class PreparedRois:
    """A participant with the ROIs that a run uses, what became of their numbers, and issues."""

    participant: Participant
    renumbered: Mapping[str, Renumbered] = field(default_factory=dict)
    issues: tuple[Issue, ...] = ()


def prepare_rois(participant: Participant, config: Config, work: Path) -> PreparedRois:
    """Write the label images that a run uses, and return the record with them.

    Parameters
    ----------
    participant
        Record of the participant.
    config
        Whose options decide whether lesions are numbered by place, and ROIs carried to visits.
    work
        Folder for images and transforms.
    """
    prepared = PreparedRois(write_roi_images(participant, work / "rois"))
    baseline = prepared.participant.baseline(config.baseline_session)
    alignment = Alignment(baseline, work / "longitudinal") if baseline else None
    if config.match_lesions:
        found = match_lesions_of(prepared.participant, alignment, work / "rois_by_place")
        prepared = PreparedRois(found.participant, found.renumbered, found.issues)
    if config.propagate_rois:
        carried, issues = propagate_rois(prepared.participant, alignment, work / "rois_carried")
        prepared = replace(prepared, participant=carried, issues=(*prepared.issues, *issues))
    return prepared


def write_roi_images(participant: Participant, folder: Path) -> Participant:
    """Write the label images that do not exist as drawn, and return the record with them.

    Parameters
    ----------
    participant
        Record of the participant.
    folder
        Folder for the images, in the work folder.
    """
    sessions = tuple(_with_images(session, folder) for session in participant.sessions)
    return replace(participant, sessions=sessions)


def _with_images(session: Session, folder: Path) -> Session:
    def written(rois: Rois, kind: str) -> Rois:
        if not rois.masks and not rois.grid:
            return rois
        name = f"sub-{session.participant}_{session.id}_space-{rois.space}_seg-{kind}_dseg.nii.gz"
        return write_labels(rois, folder / name)

    return replace(
        session,
        enhancing=tuple(written(rois, "enhancing") for rois in session.enhancing),
        whole=tuple(written(rois, "whole") for rois in session.whole),
        regions=tuple((name, written(rois, name)) for name, rois in session.regions),
        artery=written(session.artery, "artery") if session.artery else None,
    )
