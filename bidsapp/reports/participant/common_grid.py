"""The sessions of a participant in a common space, that of the T1w of the reference session."""

from dataclasses import dataclass

import numpy as np

from bidsapp.bids import outputs
from bidsapp.imaging.transforms import read_itk
from bidsapp.models.parameters import MAPPED
from bidsapp.reports.participant.records import Array, ParticipantOutputs, SessionOutputs


@dataclass(frozen=True)
class Placed:
    """A session in the common space: the matrix from its points to those of the session's T1w.

    ``linked`` is false if the session is registered to no other, and keeps its own space.
    """

    session: SessionOutputs
    matrix: Array
    linked: bool = True


def placed_sessions(participant: ParticipantOutputs) -> list[Placed]:
    """Return the sessions with a T1w and maps, in their order.

    Parameters
    ----------
    participant : ParticipantOutputs

    Returns
    -------
    sessions : list of Placed
        The first one without a transform is the reference.
    """
    placed: list[Placed] = []
    with_t1w = [session for session in participant.sessions if session.t1w]
    loose = [s for s in with_t1w if not s.find(outputs.T1W, space="individual")]
    for session in with_t1w:
        if not any(session.map(folder, name) for name, folder in MAPPED.items()):
            continue
        path = session.find(outputs.TO_BASELINE.with_fixed(from_="T1w", to="individual"))
        if path is not None:
            placed.append(Placed(session, np.asarray(read_itk(path))))
        else:
            placed.append(Placed(session, np.eye(4), linked=session in loose[:1]))
    return placed
