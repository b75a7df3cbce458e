"""ROIs carried to visits at which none were drawn, for --propagate-rois."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import nibabel as nib

from bidsapp.bids.derivatives import to_tsv, write_bytes
from bidsapp.bids.records import Participant, Rois, Session
from bidsapp.bids.roi_tables import read_labels
from bidsapp.bids.rois import save_labels
from bidsapp.errors import MetperfError
from bidsapp.imaging.labels import resample_labels
from bidsapp.imaging.transforms import compose, invert
from bidsapp.issues import Issue
from bidsapp.run.longitudinal import Alignment

PROPAGATED = "PropagatedRoi"
"""Code of the warning that an ROI was not drawn at this visit."""


def propagate_rois(
    participant: Participant, alignment: Alignment | None, folder: Path
) -> tuple[Participant, tuple[Issue, ...]]:
    """Carry the enhancing ROIs of the nearest visit to each visit with series but without ROIs.

    Parameters
    ----------
    participant : Participant
        With its ROIs as label images.
    alignment : Alignment or None
        Transforms of the T1w; None without any T1w.
    folder : pathlib.Path
        Where the images are written.

    Returns
    -------
    participant : Participant
    issues : tuple of Issue
        A warning for each visit with such ROIs, or a failure.

    Notes
    -----
    Whole lesions are not carried: nobody has looked how large they are, so there is no volume.
    """
    drawn = [s for s in participant.sessions if s.t1w and s.rois("enhancing", "T1w")]
    sessions, issues = [], []
    for session in participant.sessions:
        if alignment is not None and drawn and _lacks_rois(session):
            source = nearest_visit(session, drawn, participant.sessions)
            try:
                rois = _carry(source, session, alignment, folder)
                session = replace(session, enhancing=(rois,))
                issues.append(_warning(session, source, alignment))
            except MetperfError as error:
                text = f"the ROIs of {source.id} cannot be carried to its T1w: {error}"
                issues.append(Issue("failed", text, PROPAGATED, participant.id, session.id))
        sessions.append(session)
    return replace(participant, sessions=tuple(sessions)), tuple(issues)


def _lacks_rois(session: Session) -> bool:
    """Return whether a visit has series and a T1w, but no ROI."""
    series = session.diffusion or session.dynamic
    return bool(series and session.t1w and not session.enhancing and not session.whole)


def nearest_visit(session: Session, drawn: Sequence[Session], order: Sequence[Session]) -> Session:
    """Return the visit nearest in time, by days or else by order; of two, the earlier one.

    Examples
    --------
    >>> a, b, c = (Session("01", label, day) for label, day in zip("abc", (0, 10, 14)))
    >>> nearest_visit(b, [a, c], [a, b, c]).label
    'c'
    >>> nearest_visit(replace(b, days=None), [a, c], [a, b, c]).label
    'a'
    """
    rank = {one.label: i for i, one in enumerate(order)}

    def away(other: Session) -> tuple[float, int]:
        if any(one.days is None for one in (session, *drawn)):
            return abs(rank[other.label] - rank[session.label]), rank[other.label]
        assert other.days is not None
        assert session.days is not None
        return abs(other.days - session.days), rank[other.label]

    return min(drawn, key=away)


def _carry(source: Session, session: Session, alignment: Alignment, folder: Path) -> Rois:
    """Write the ROIs of a visit on the T1w of another one, and return them."""
    rois = source.rois("enhancing", "T1w")
    assert rois is not None
    # Points of the visit to the baseline, and from there to the visit of the ROIs.
    to_source = compose(alignment.of(session).matrix, invert(alignment.of(source).matrix))
    drawn, target = nib.load(rois.image), nib.load(session.t1w)
    labels = resample_labels(
        read_labels(rois.image), drawn.affine, to_source, target.shape[:3], target.affine
    )
    stem = f"sub-{session.participant}_{session.id}_seg-enhancing_desc-propagated_dseg"
    image, table = folder / f"{stem}.nii.gz", folder / f"{stem}.tsv"
    save_labels(labels, target.affine, image)
    here = [lesion for lesion in rois.lesions if (labels == lesion.index).any()]
    rows = [{"index": x.index, "name": x.name, "excluded": x.excluded} for x in here]
    write_bytes(table, to_tsv(["index", "name", "excluded"], rows))
    return Rois(image, "T1w", tuple(here), table, drawn_in=rois.sources, propagated_from=source.id)


def _warning(session: Session, source: Session, alignment: Alignment) -> Issue:
    """Return the warning that ROIs were carried, with any doubt about the registrations."""
    doubts = [text for one in (source, session) for text in alignment.of(one).warnings]
    text = (
        f"its ROIs are those of {source.id}, carried by the registration of the T1w "
        "(--propagate-rois): nobody has drawn where its lesions are. There are no volumes, and "
        "values of a lesion that has shrunk are mixed with those of the tissue around it"
    )
    place = {"participant": f"sub-{session.participant}", "session": session.id}
    return Issue("warning", "; ".join([text, *doubts]), PROPAGATED, **place)
