"""Whether files can be the contours of the visits for which they are used."""

from collections import defaultdict
from collections.abc import Sequence

from bidsapp.run.rois.visit import DrawnVisit


def check_origins(visits: Sequence[DrawnVisit]) -> None:
    """Compare the files of all visits, and add to the visits what contradicts itself.

    Parameters
    ----------
    visits
        Of all participants. A file of two visits is a problem of the later one; one frame of
        reference at two participants, and two patients at one participant, are warnings. Neither
        identifiers of patients nor UIDs are shown.
    """
    _refuse_copies(visits)
    frames = defaultdict[str, dict[str, DrawnVisit]](dict)
    patients = defaultdict[str, dict[str, DrawnVisit]](dict)
    for visit in visits:
        label = visit.session.participant
        for _, drawing in visit.sources:
            if drawing.frame:
                frames[drawing.frame].setdefault(label, visit)
            if drawing.patient:
                patients[label].setdefault(drawing.patient, visit)
    for first, *others in (list(found.values()) for found in frames.values()):
        for visit in others:
            visit.warnings.append(
                "its contours have the frame of reference of those of "
                f"sub-{first.session.participant} {first.session.id}: is one of them a file of "
                "the other participant?"
            )
    for first, *others in (list(found.values()) for found in patients.values()):
        for visit in others:
            visit.warnings.append(
                f"its contours state another patient (PatientID) than those of {first.session.id}: "
                "is one of them a file of another participant?"
            )


def _refuse_copies(visits: Sequence[DrawnVisit]) -> None:
    """Add a problem to each visit with a file that an earlier one has, too."""
    seen: dict[str, DrawnVisit] = {}
    for visit in visits:
        for name, drawing in visit.sources:
            owners = [seen.setdefault(one, visit) for one in drawing.identity]
            if other := next((owner for owner in owners if owner is not visit), None):
                visit.problems.append(
                    f"{name}: is the same file as that of sub-{other.session.participant} "
                    f"{other.session.id}, but contours belong to one visit: which one?"
                )
