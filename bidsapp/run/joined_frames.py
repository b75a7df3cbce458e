"""Images of dynamic series that the data set stores frame by frame."""

from dataclasses import replace
from pathlib import Path

from bidsapp.bids.frames import stack_frames
from bidsapp.bids.problems import Problem
from bidsapp.bids.records import Participant, Session
from bidsapp.errors import BadInput


def join_frames(participant: Participant, folder: Path) -> Participant:
    """Write the dynamic series that are stored as one image per frame, and return their record.

    Parameters
    ----------
    participant
        Record of the participant.
    folder
        Folder for the images, in the work folder.

    Returns
    -------
    Participant
        A frame that cannot be read is a problem of its session.
    """
    sessions = tuple(_with_image(session, folder) for session in participant.sessions)
    return replace(participant, sessions=sessions)


def _with_image(session: Session, folder: Path) -> Session:
    series = session.dynamic
    if series is None or not series.frames:
        return session
    try:
        path = folder / f"sub-{session.participant}_{session.id}_dce.nii"
        return replace(session, dynamic=stack_frames(series, path))
    except BadInput as error:
        problems = (*session.problems, Problem(str(error)))
        return replace(session, dynamic=None, problems=problems)
