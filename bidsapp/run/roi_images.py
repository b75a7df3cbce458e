"""Label images of ROIs that are drawn in several masks or with other axes."""

from dataclasses import replace
from pathlib import Path

from bidsapp.bids.records import Participant, Rois, Session
from bidsapp.bids.rois import write_labels


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
