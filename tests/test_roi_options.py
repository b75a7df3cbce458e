"""--match-lesions and --propagate-rois: the label images that a run uses, before any graph."""

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from datasets import write_image

from bidsapp.bids.records import Diffusion, Lesion, Participant, Rois, Session
from bidsapp.bids.roi_tables import read_labels
from bidsapp.config import Config
from bidsapp.errors import RegistrationError
from bidsapp.imaging.transforms import apply, invert, translation
from bidsapp.issues import MISNUMBERED
from bidsapp.run import longitudinal
from bidsapp.run.followed_lesions import Renumbered
from bidsapp.run.graphs.plan import plan_participant
from bidsapp.run.nodes.rigid import RigidRegistration
from bidsapp.run.propagated_rois import PROPAGATED
from bidsapp.run.roi_images import prepare_rois

SHAPE = (50, 50, 24)
MOVED = {"a": (0.0, 0, 0), "b": (5.0, -2, 3), "c": (-4.0, 3, 0)}
LEFT, RIGHT, OTHER = (14, 14, 12), (30, 14, 12), (30, 36, 10)


@pytest.fixture
def root(tmp_path, monkeypatch):
    """Return a folder of images; registrations find how the head has moved, without images."""

    def register(moving, fixed, metric, lesions):
        label = moving.name[0]
        if label == "x":
            raise RegistrationError("the images do not match")
        return RigidRegistration(translation(MOVED[label]), "aligned")

    monkeypatch.setattr(longitudinal, "register_rigidly", register)
    return tmp_path


def labels_of(lesions: dict, label: str) -> np.ndarray:
    grid = np.stack(np.meshgrid(*map(np.arange, SHAPE), indexing="ij"), axis=-1)
    labels = np.zeros(SHAPE, np.int32)
    for number, (centre, radius) in lesions.items():
        there = apply(translation(MOVED.get(label, (0, 0, 0))), centre)
        labels[np.linalg.norm(grid - there, axis=-1) <= radius] = number
    return labels


def visit(root, label: str, days: float | None = None, names=None, **kinds) -> Session:
    """Return a session with a T1w, a DWI, and ROIs: (centre at the baseline, radius) by number."""
    t1w = write_image(root / f"{label}_T1w.nii.gz", np.zeros(SHAPE, np.float32))
    series = Diffusion(root / "dwi.nii.gz", (0.0, 500, 1000), None)
    made = {}
    for kind, lesions in kinds.items():
        image = write_image(root / f"{label}_{kind}.nii.gz", labels_of(lesions, label))
        listed = tuple(Lesion(n, (names or {}).get(n, f"lesion {n}")) for n in lesions)
        made[kind] = (Rois(image, "T1w", listed),)
    return Session("01", label, days, t1w=t1w, diffusion=series, **made)


def prepared(root, *sessions, **options):
    config = Config(root, root / "out", root / "work", "run", **options)
    return prepare_rois(Participant("01", sessions), config, root / "work")


def lesions_at(rois: Rois, label: str, places: dict) -> dict[str, int]:
    """Return the number in the image at each place."""
    labels = read_labels(rois.image)
    shift = MOVED[label]
    return {
        name: int(labels[tuple(np.round(apply(translation(shift), p)).astype(int))])
        for name, p in places.items()
    }


PLACES = {"left": LEFT, "right": RIGHT, "other": OTHER}
FIRST = {1: (LEFT, 5), 2: (RIGHT, 4)}
SECOND = {2: (LEFT, 3), 1: (RIGHT, 4), 5: (OTHER, 4)}


def test_lesions_are_numbered_as_at_the_first_visit(root):
    """Images, records and tables have the new numbers; names of the user stay with the lesion."""
    first = visit(root, "a", enhancing=FIRST, whole=FIRST)
    names = {2: "frontal"}
    second = visit(root, "b", names=names, enhancing=SECOND, whole=SECOND)
    plain = prepared(root, first, second)
    assert plain.participant.sessions == (first, second)
    assert plain.renumbered == {}
    found = prepared(root, first, second, match_lesions=True)
    one, two = found.participant.sessions
    assert one == first, "what is right is not written again"
    for rois in (*two.enhancing, *two.whole):
        assert lesions_at(rois, "b", PLACES) == {"left": 1, "right": 2, "other": 5}
        table = pd.read_table(rois.table).set_index("index")
        assert table.loc[1, "name"] == "frontal"
        assert table.loc[2, "name"] == "lesion 2"
        assert {x.index for x in rois.lesions} >= {1, 2, 5}
    assert found.renumbered["b"].original == {1: 2, 2: 1, 5: 5}
    assert found.issues == ()
    assert two.enhancing[0].sources == second.enhancing[0].sources


def test_the_enhancing_part_follows_its_whole_lesion(root):
    """Also if only one of the two images is misnumbered."""
    sound = FIRST | {5: (OTHER, 4)}
    first = visit(root, "a", enhancing=FIRST, whole=FIRST)
    second = visit(root, "b", enhancing=SECOND, whole=sound)
    found = prepared(root, first, second, match_lesions=True).participant.sessions[1]
    expected = {"left": 1, "right": 2, "other": 5}
    for rois in (*found.enhancing, *found.whole):
        assert lesions_at(rois, "b", PLACES) == expected


def test_what_cannot_be_decided_is_a_failure_with_a_number_of_its_own(root):
    """A lesion between two places that are equally near is neither of them."""
    first = visit(root, "a", enhancing={1: ((14, 14, 12), 2), 2: ((24, 14, 12), 2)})
    second = visit(root, "b", enhancing={1: ((19, 14, 12), 2)})
    found = prepared(root, first, second, match_lesions=True)
    (issue,) = found.issues
    assert (issue.level, issue.code, issue.session, issue.lesion) == (
        "failed", MISNUMBERED, "ses-b", "3",
    )  # fmt: skip
    assert "could be lesion 1 or 2 by its place: --match-lesions does not decide" in issue.text
    assert found.renumbered["b"] == Renumbered({3: 1}, frozenset({3}))
    assert [x.index for x in found.participant.sessions[1].enhancing[0].lesions] == [3]


def test_rois_of_a_visit_that_cannot_be_registered_are_not_used(root):
    """Their numbers are those of the user, and may be others than those of the other visits."""
    sessions = visit(root, "a", enhancing=FIRST), visit(root, "x", enhancing=FIRST)
    found = prepared(root, *sessions, match_lesions=True)
    assert found.participant.sessions[1].enhancing == ()
    (issue,) = found.issues
    assert "its ROIs are not used: --match-lesions cannot number its lesions" in issue.text
    assert "the images do not match" in issue.text


def test_registrations_are_kept_for_further_runs(root, monkeypatch):
    """They are repeated if an image has changed."""
    calls = []
    original = longitudinal.register_rigidly
    monkeypatch.setattr(
        longitudinal, "register_rigidly", lambda *a: calls.append(1) or original(*a)
    )
    first, second = visit(root, "a", enhancing=FIRST), visit(root, "b", enhancing=SECOND)
    for _ in range(2):
        prepared(root, first, second, match_lesions=True)
    assert len(calls) == 1
    write_image(second.t1w, np.ones(SHAPE, np.float32))
    prepared(root, first, second, match_lesions=True)
    assert len(calls) == 2


def test_rois_are_carried_to_visits_without(root):
    """To where the lesions are after the head has moved, marked, and without a whole lesion."""
    first, second = visit(root, "a", 0.0, enhancing=FIRST, whole=FIRST), visit(root, "b", 7.0)
    third = visit(root, "c", 9.0, enhancing={1: (LEFT, 2)}, whole={1: (LEFT, 2)})
    plain = prepared(root, first, second, third).participant.sessions[1]
    assert plain.enhancing == ()
    found = prepared(root, first, second, third, propagate_rois=True)
    (rois,) = found.participant.sessions[1].enhancing
    assert found.participant.sessions[1].whole == ()
    assert rois.propagated_from == "ses-c", "the nearest in time"
    assert lesions_at(rois, "b", PLACES) == {"left": 1, "right": 0, "other": 0}
    assert [lesion.index for lesion in rois.lesions] == [1]
    volume = int((read_labels(rois.image) == 1).sum())
    assert volume == pytest.approx((read_labels(third.enhancing[0].image) == 1).sum(), rel=0.05)
    (issue,) = found.issues
    assert (issue.level, issue.code, issue.session) == ("warning", PROPAGATED, "ses-b")
    assert "its ROIs are those of ses-c" in issue.text
    plan = plan_participant(found.participant, Config(root, root / "o", root / "w", "run"))
    assert "no ROI of the whole lesion: no volumes" in [str(i) for i in plan.sessions[1].issues]


def test_rois_are_carried_with_the_numbers_by_place(root):
    """Both options together: matched first, then carried."""
    first, second = visit(root, "a", 0.0, enhancing=FIRST), visit(root, "b", 30.0, enhancing=SECOND)
    third = visit(root, "c", 35.0)
    found = prepared(root, first, second, third, propagate_rois=True, match_lesions=True)
    (rois,) = found.participant.sessions[2].enhancing
    assert rois.propagated_from == "ses-b"
    assert lesions_at(rois, "c", PLACES) == {"left": 1, "right": 2, "other": 5}


def test_no_rois_are_carried_by_a_registration_that_failed(root):
    """It is a failure of that visit, which has no lesion values."""
    sessions = visit(root, "a", enhancing=FIRST), visit(root, "x")
    found = prepared(root, *sessions, propagate_rois=True)
    assert found.participant.sessions[1].enhancing == ()
    assert [(i.level, i.session) for i in found.issues] == [("failed", "ses-x")]


def test_a_transform_of_the_user_is_used(root):
    """It resamples the T1w to the baseline: points of the baseline to points of the T1w."""
    from dataclasses import replace

    from bidsapp.bids.records import UserTransform
    from bidsapp.imaging.transforms import write_itk

    given = write_itk(translation(MOVED["b"]), root / "mine_xfm.txt")
    session = replace(visit(root, "b"), transforms=(UserTransform("T1w", given),))
    aligned = longitudinal.Alignment(visit(root, "a"), root).of(session)
    assert aligned.matrix == pytest.approx(invert(translation(MOVED["b"])))
    assert nib.load(session.t1w).shape == SHAPE
