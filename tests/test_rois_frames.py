"""``metperf rois`` on a folder in any order: the frame of reference tells the visit."""

import pytest
from contour_files import Roi, ellipsoid, structure_set, write_dicom
from datasets import write_json

from bidsapp.bids.pseudonyms import FRAME_PSEUDONYM, salted_pseudonym
from bidsapp.errors import BadInput
from bidsapp.run.rois.frames import visits_by_frame
from bidsapp.run.rois.jobs import Selection, find_jobs

FIRST, SECOND, OTHER = "1.2.826.1", "1.2.826.2", "1.2.826.3"


@pytest.fixture
def bids(tmp_path):
    """Write sidecars of two visits: one with a frame of reference, one with its pseudonym."""
    for session, fields in (
        ("a", {"FrameOfReferenceUID": FIRST}),
        ("b", {FRAME_PSEUDONYM: salted_pseudonym(SECOND, "5042d8")}),
    ):
        image = tmp_path / f"bids/sub-01/ses-{session}/anat/sub-01_ses-{session}_T1w.nii.gz"
        write_json(image.with_name(image.name.replace(".nii.gz", ".json")), fields)
        image.touch()
    return tmp_path / "bids"


def contours(path, frame):
    return write_dicom(
        path, structure_set([Roi("Met", ellipsoid((0, 0, 0), [5] * 3), 1)], frame=frame)
    )


def visits(folder, bids):
    """Return the files of each visit."""
    jobs, _, _ = find_jobs([folder], Selection(), bids)
    return {(job.participant, job.session): [file.name for file in job.files] for job in jobs}


def test_files_are_assigned_by_frame_of_reference_or_its_pseudonym(tmp_path, bids):
    """At any depth, and beside others in folders that name the visit."""
    contours(tmp_path / "src/export/p/q/one.dcm", FIRST)
    contours(tmp_path / "src/two.dcm", SECOND)
    contours(tmp_path / "src/sub-01/ses-b/three.dcm", FIRST)
    found = visits(tmp_path / "src", bids)
    assert found == {("01", "a"): ["one.dcm"], ("01", "b"): ["three.dcm", "two.dcm"]}


def test_files_whose_frame_is_not_that_of_one_visit_are_refused(tmp_path, bids):
    """Of none or of two: all of them are named; damaged and other files have no frame."""
    contours(tmp_path / "src/two.dcm", OTHER)
    contours(tmp_path / "src/one.dcm", FIRST)
    bad = contours(tmp_path / "src/bad.dcm", FIRST)
    bad.write_bytes(bad.read_bytes()[:-100])
    (tmp_path / "src/mask.nii.gz").touch()
    write_json(bids / "sub-01/ses-b/anat/sub-01_ses-b_T1w.json", {"FrameOfReferenceUID": FIRST})
    with pytest.raises(BadInput, match="is not that of one visit") as caught:
        visits(tmp_path / "src", bids)
    names = "bad.dcm, mask.nii.gz, one.dcm (the frame of reference of sub-01/ses-a, sub-01/ses-b)"
    assert str(caught.value).endswith(f"{names}, two.dcm")


def test_folders_that_name_no_visit_of_the_data_set_are_kept_as_they_are(tmp_path, bids):
    """Then the frame is tried, and without one, the labels are reported as they were typed."""
    contours(tmp_path / "src/07/a/RS.dcm", OTHER)
    assert visits(tmp_path / "src", bids) == {("07", "a"): ["RS.dcm"]}


def test_sessions_that_share_a_frame_are_all_returned(tmp_path, bids):
    """As after an export that copied the frame of reference; a file without one has no visit."""
    write_json(bids / "sub-01/ses-b/anat/sub-01_ses-b_T1w.json", {"FrameOfReferenceUID": FIRST})
    one, none = contours(tmp_path / "one.dcm", FIRST), contours(tmp_path / "two.dcm", "")
    found = visits_by_frame([one, none], bids)
    assert found == {one: [("01", "a"), ("01", "b")], none: []}
