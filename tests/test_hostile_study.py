"""A study whose sessions, labels, ROIs and tables do not fit: warned, left out, or refused."""

import csv
import errno
import json
import os
import shutil

import nibabel as nib
import numpy as np
import pytest
from datasets import write_image, write_roi
from hostile import (
    LESION,
    SHAPE,
    dry,
    edit_json,
    raw,
    rewrite,
    roi,
    run,
    write_session,
    write_study,
)

from bidsapp.bids.grids import grid_difference
from bidsapp.bids.query import Query
from bidsapp.bids.records import Lesion
from bidsapp.bids.roi_tables import find_lesions
from bidsapp.bids.rois import roi_labels
from bidsapp.bids.tables import read_table
from bidsapp.cli.main import main
from bidsapp.errors import FitError

pytestmark = pytest.mark.usefixtures("short_pages")

LABELS = "space-dwi_seg-enhancing_dseg"


@pytest.fixture
def root(tmp_path):
    return write_study(tmp_path / "bids")


TABLES = {
    "a day in words": (
        b"session_id\tdays_since_treatment\nses-a\tlast week\n",
        "is not a number of days",
    ),
    "day NaN": (b"session_id\tdays_since_treatment\nses-a\tnan\n", "'nan' is not a number of days"),
    "a session twice": (
        b"session_id\tdays_since_treatment\nses-a\t0\nses-a\t3\n",
        "ses-a is listed twice; keep one row",
    ),
    "a cell too few": (b"session_id\tdays_since_treatment\nses-a\n", "line 2 has 1 cells"),
    "no session_id": (b"session\tdays\nses-a\t0\n", "column 'session_id' is missing"),
    "binary": (b"\xff\x00\x01", "is not UTF-8 text"),
}


@pytest.mark.parametrize(("table", "message"), TABLES.values(), ids=TABLES)
def test_a_bad_table_of_sessions_refuses_its_participant(root, capsys, table, message):
    """Without the order of time the baseline is a guess: the participant is refused, with why."""
    (root / "sub-01/sub-01_sessions.tsv").write_bytes(table)
    outcome = dry(root, capsys)
    assert outcome.code == 66
    assert f"sub-01_sessions.tsv: {message}" in outcome.err or message in outcome.err
    assert len([line for line in outcome.err.splitlines() if message in line]) == 1


def test_a_table_that_is_not_downloaded_is_not_taken_for_none(root, capsys):
    """A broken link in place of the table is reported, not passed over."""
    path = root / "sub-01/sub-01_sessions.tsv"
    path.unlink()
    path.symlink_to("../.git/annex/objects/aa/key")
    outcome = dry(root, capsys)
    assert outcome.code == 66
    assert "run `datalad get sub-01_sessions.tsv`" in outcome.err


def test_misnamed_sessions_are_warned_of(root, capsys):
    """Rows of sessions that have no files, and sessions without a day, are reported by name."""
    table = "session_id\tdays_since_treatment\nses-A\t0\nses-b\t7\n"
    (root / "sub-01/sub-01_sessions.tsv").write_text(table)
    outcome = dry(root, capsys)
    assert outcome.code == 0
    assert "warning: sessions.tsv lists ses-A, which has no files: misnamed?" in outcome.out
    assert "warning: sessions.tsv has no day for ses-a" in outcome.out


def test_a_session_missing_or_extra_is_no_error(root, capsys):
    """Each participant has the sessions that it has."""
    shutil.rmtree(root / "sub-01/ses-b")
    write_session(root, "extra")
    outcome = dry(root, capsys)
    assert outcome.code == 0
    assert "sub-01 ses-extra: dwi, dce, rois" in outcome.out


def test_sessions_without_days_keep_an_order(root, capsys):
    """Without a table the sessions come in the order of their names, and no day is shown."""
    (root / "sub-01/sub-01_sessions.tsv").unlink()
    outcome = dry(root, capsys)
    assert outcome.code == 0
    assert outcome.out.index("ses-a: dwi") < outcome.out.index("ses-b: dwi")


def test_sessions_run_one_by_one_stay_in_the_order_of_acquisition(root, capsys):
    """The table of the output is in chronological order, whatever was run first."""
    table = "session_id\tacq_time\nses-a\t2019-04-01\nses-b\t2019-03-01\n"
    (root / "sub-01/sub-01_sessions.tsv").write_text(table)
    for session in ("a", "b"):
        assert run(root, capsys, "--session-label", session).code == 0
    written = (root.parent / "out/sub-01/sub-01_sessions.tsv").read_text()
    assert written == "session_id\tdays_since_treatment\nses-b\tn/a\nses-a\tn/a\n"


def test_what_else_is_known_of_a_session_reaches_the_group(root, capsys, tables_only):
    """Steroid dose and class go from the table of sessions to the characteristics; notes do not."""
    table = root / "sub-01/sub-01_sessions.tsv"
    header = "session_id\tdays_since_treatment\tsteroid_dose\trpa\tcomment\n"
    table.write_text(f"{header}ses-a\t-3\t8\tII\tMrs Doe\nses-b\t7\t4\tII\tn/a\n")
    assert run(root, capsys).code == 0
    table.write_text(table.read_text().replace("\t8\t", "\t6\t"))  # corrected, nothing else
    assert run(root, capsys).code == 0
    out = root.parent / "out"
    assert main([str(root), str(out), "group", "--timepoints", "before=a", "after=b"]) == 0
    row = read_table(out / "group_characteristics.tsv")[0]
    assert (row["steroid_dose_baseline"], row["rpa_baseline"]) == ("6", "II")
    assert not [p for p in out.rglob("*.tsv") if "Doe" in p.read_text(encoding="utf-8")]


@pytest.mark.parametrize("label", ["01", "sub-01"])
@pytest.mark.parametrize("session", ["b", "ses-b"])
def test_labels_go_with_and_without_prefix(root, capsys, label, session):
    """Both spellings select the same."""
    outcome = dry(root, capsys, "--participant-label", label, "--session-label", session)
    assert outcome.code == 0
    assert outcome.out.startswith("sub-01 ses-b")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--participant-label", "02"), "has no participant 02; it has 01"),
        (("--session-label", "z"), "has none of the sessions z; it has a, b"),
        (("--participant-label", "0"), "has no participant 0; it has 01"),
    ],
)
def test_a_label_that_is_not_there_ends_with_18(root, capsys, words, message):
    """An unknown label is never an empty run."""
    outcome = dry(root, capsys, *words)
    assert outcome.code == 18
    assert message in outcome.err


def test_a_participant_under_another_name_is_not_taken(root, capsys):
    """A copied folder whose files bear the other participant's name is reported file by file."""
    shutil.copytree(root / "sub-01", root / "sub-1")
    outcome = dry(root, capsys)
    assert outcome.code == 1
    assert "sub-01_ses-a_dwi.nii.gz: its name does not begin with sub-1_ses-a" in outcome.out
    assert "sub-01 ses-a (day 0): dwi, dce, rois" in outcome.out


def test_a_folder_that_is_not_a_label_names_no_output(root, capsys):
    """A session's folder with markup in its name gives no output and no such path."""
    shutil.move(root / "sub-01/ses-a", root / "sub-01/ses-<script>")
    outcome = run(root, capsys, "--session-label", "a")
    assert outcome.code == 66
    assert "rename the file or the folders" in outcome.err
    assert not [p for p in (root.parent / "out").rglob("*") if "<" in p.name]


def change(name, edit):
    return lambda root: rewrite(roi(root, f"{name}.nii.gz"), edit)


def table(text):
    return lambda root: roi(root, f"{LABELS}.tsv").write_text(text)


def other_grid(shape, shift=0.0):
    def spoil(root):
        path = roi(root, f"{LABELS}.nii.gz")
        affine = np.eye(4)
        affine[:3, 3] = shift
        path.unlink()
        write_image(path, np.ones(shape, np.uint8), affine)

    return spoil


def half(data):
    return (data * 1.686 + (np.arange(data.size).reshape(data.shape) == 0) * 0.3).astype("f4")


LEFT_OUT = {
    "another grid": (other_grid((3, 3, 3)), "(3, 3, 3) voxels, not (6, 6, 4); resample the ROI"),
    "elsewhere": (other_grid(SHAPE, 500), "they differ by up to 866 mm"),
    "fractions": (change(LABELS, half), "labels must be whole numbers; it holds [0.3"),
    "negative": (change(LABELS, lambda d: -d.astype("i2")), "labels must not be negative"),
    "index in words": (table("index\tname\nx\tleft\n"), "line 2: index 'x' is not a whole number"),
    "index 0": (
        table("index\tname\n0\tnone\n1\tleft\n"),
        "line 2: index 0 must be an integer >= 1",
    ),
    "index twice": (table("index\tname\n1\tleft\n1\tright\n"), "index 1 is listed twice"),
    "tissue classes": (
        table("index\tname\n1\tNCR\n2\tED\n3\tET\n"),
        "tissue classes, not lesions: 1 is necrosis, 2 is oedema, 3 is enhancing. An ROI image",
    ),
    "no index": (
        table("id\tname\n1\tleft\n"),
        "column 'index' is missing; the columns are id, name",
    ),
    "a cell too few": (table("name\tindex\nleft\n"), "line 2 has 1 cells, the header 2"),
    "ids that differ": (
        table("index\tname\n2\tleft\n"),
        "seg-enhancing_dseg.tsv (which lists 2); use the same numbers in both",
    ),
    "labels x 100": (change(LABELS, lambda d: d * 100), "none of its labels (100) is in"),
    "empty table": (table(""), "column 'index', 'name' is missing; the table is empty"),
}


@pytest.mark.parametrize(("spoil", "message"), LEFT_OUT.values(), ids=LEFT_OUT)
def test_an_roi_that_cannot_be_used_is_left_out(root, capsys, spoil, message):
    """It is reported before any work, exit 1; maps are made, other ROIs are measured."""
    spoil(root)
    outcome = dry(root, capsys, "--session-label", "a")
    assert outcome.code == 1
    line = next(line for line in outcome.out.splitlines() if "failed:" in line)
    assert message in line
    assert LABELS in line
    assert "sub-01 ses-a (day 0): dwi, dce" in outcome.out


def edge(data):
    data = data.copy()
    data[0, 2, 2] = 1
    return data


def stranger(data):
    data = data.copy()
    data[3, 3, 1] = 7
    return data


DOUBTFUL = {
    "empty": (change(LABELS, lambda d: d * 0), "contains no voxel of any lesion"),
    "at the edge": (change(LABELS, edge), "lesion 1 touches the edge of the image"),
    "not in the table": (change(LABELS, stranger), "label 7 is not in the table"),
}


@pytest.mark.parametrize(("spoil", "message"), DOUBTFUL.values(), ids=DOUBTFUL)
def test_an_odd_roi_is_warned_of(root, capsys, spoil, message):
    """It is used, and what is odd about it is reported: the run goes on, exit 0."""
    spoil(root)
    outcome = dry(root, capsys)
    assert outcome.code == 0
    assert any(message in line for line in outcome.out.splitlines() if "warning:" in line)


FINE = {
    "a slope of 1.686": lambda d: (d * np.float32(1.686)).astype("f4"),
    "NaN around it": lambda d: np.where(d > 0, 1, np.nan).astype("f4"),
    "one voxel": lambda d: d * (np.arange(d.size).reshape(d.shape) == np.flatnonzero(d)[0]),
}


@pytest.mark.parametrize("edit", FINE.values(), ids=FINE)
def test_an_roi_may_be_stored_in_any_way(root, capsys, edit):
    """A scale slope, NaN as background and a single voxel are measured without complaint."""
    rewrite(roi(root, f"{LABELS}.nii.gz"), edit)
    outcome = run(root, capsys, "--session-label", "a")
    assert outcome.code == 0
    rows = next((root.parent / "out").rglob("*model-ivim_roistats.tsv")).read_text().splitlines()
    assert len(rows) > 1


def write_masks(root, session="a", shift=0, name="label-{}_desc-enhancing", value=1):
    """Replace the label images of a session by a mask of each of two lesions."""
    for space in ("dwi", "dce"):
        path = roi(root, f"space-{space}_seg-enhancing_dseg.nii.gz", session)
        for number, x in (("1", 1), ("3", 3 - shift)):
            mask = np.zeros(SHAPE, np.uint8)
            mask[x, 1:5, 1:3] = value
            stem = f"sub-01_ses-{session}_space-{space}_{name.format(number)}_mask.nii.gz"
            write_image(path.with_name(stem), mask)
        path.unlink()


def test_overlapping_masks_are_refused(root, capsys):
    """Masks of single lesions that share voxels are reported by name."""
    write_masks(root, shift=2)
    outcome = dry(root, capsys, "--session-label", "a")
    assert outcome.code == 1
    assert "label-3_desc-enhancing_mask.nii.gz overlap in 8 voxels" in outcome.out


def test_masks_that_have_no_label_are_refused_with_a_remedy(root, capsys):
    """Several masks of one kind need the label of a lesion."""
    write_masks(root, name="acq-{}_desc-enhancing")
    outcome = dry(root, capsys, "--session-label", "a")
    assert "several enhancing ROI images in the space of the dwi" in outcome.out
    assert "masks of single lesions are named like label-1_desc-enhancing_mask" in outcome.out


@pytest.mark.parametrize("value", [1, 255])
def test_a_mask_for_each_lesion_is_a_label_image(root, capsys, value):
    """The number of a lesion is that in its label; values are those of the same label image."""
    labels = np.zeros(SHAPE, np.uint8)
    labels[1, 1:5, 1:3], labels[3, 1:5, 1:3] = 1, 3
    rewrite(roi(root, f"{LABELS}.nii.gz"), lambda _: labels)
    roi(root, f"{LABELS}.tsv").write_text("index\tname\n1\tlesion 1\n3\tlesion 3\n")
    expected = measured(root, capsys)
    write_masks(root, value=value)
    assert measured(root, capsys) == expected
    copied = next((root.parent / "out/sub-01/ses-a/dwi").glob("*_seg-enhancing*_dseg.json"))
    assert len(json.loads(copied.read_text())["Sources"]) == 2


def measured(root, capsys):
    """Run a session without the DCE; return its rows of the lesion table."""
    shutil.rmtree(root / "sub-01/ses-a/perf", ignore_errors=True)
    outcome = run(root, capsys, "--session-label", "a")
    assert outcome.code == 0, outcome.err
    rows = next((root.parent / "out").rglob("*model-ivim_roistats.tsv")).read_text().splitlines()
    return sorted(rows)


def test_a_mask_of_value_255_is_lesion_1(root):
    """As contouring software writes it; a small number is that of the lesion."""
    path = roi(root, f"{LABELS}.nii.gz")
    roi(root, f"{LABELS}.tsv").unlink()
    mask = path.with_name("sub-01_ses-a_space-dwi_desc-enhancing_mask.nii.gz")
    for value, number in ((255, 1), (2, 2)):
        write_image(mask, np.pad(np.full((2, 2, 2), value, np.uint8), ((2, 2), (2, 2), (1, 1))))
        path.unlink(missing_ok=True)
        query = Query(root, [root / "derivatives/manual_masks"])
        found = query.participant("01", ["a"]).sessions[0].rois("enhancing", "dwi")
        assert [lesion.index for lesion in found.lesions] == [number]
        assert set(np.unique(roi_labels(found))) == {0, number}


def test_an_roi_with_flipped_axes_or_a_rounded_affine_is_measured(root, capsys):
    """The same voxels in another order, 0.02 mm away: the same values, and a note."""
    path = roi(root, f"{LABELS}.nii.gz")
    rewrite(path, lambda data: np.where(np.arange(6)[:, None, None] == 3, 0, data).astype("u1"))
    expected = measured(root, capsys)
    image = nib.load(path)
    flipped = nib.Nifti1Image(np.asarray(image.dataobj), image.affine).as_reoriented(
        nib.orientations.axcodes2ornt(("P", "L", "S"))
    )
    affine = flipped.affine.copy()
    affine[0, 3] += 0.02
    path.unlink()
    write_image(path, np.asarray(flipped.dataobj), affine)
    assert measured(root, capsys) == expected
    assert "reoriented without interpolation" in dry_text(root, capsys)


def dry_text(root, capsys):
    """Return what ``--dry-run`` prints, whether or not there are results."""
    return run(root, capsys, "--session-label", "a", "--dry-run").out


@pytest.mark.parametrize(
    ("scale", "shift", "same"), [(1, 0.02, True), (1.003, 0, False), (1.0001, 0, True)]
)
def test_grids_are_compared_by_where_their_voxels_are(tmp_path, scale, shift, same):
    """An offset of 0.02 mm is none; a voxel size that is off by 0.3 % is, at the far corner."""
    data = np.zeros((240, 240, 160), np.uint8)
    one, other = (tmp_path / f"{name}.nii" for name in "ab")
    affine = np.diag([scale, scale, scale, 1.0])
    affine[:3, 3] = shift
    write_image(one, data)
    write_image(other, data, affine)
    assert (grid_difference(other, one) == "") == same


def test_a_lesion_that_is_gone_or_new_is_counted(root, capsys):
    """A lesion with no voxel has the volume 0; one that is new has none before."""
    labels = np.zeros(SHAPE, np.uint8)
    for session, index in (("a", 1), ("b", 2)):
        labels[:] = 0
        labels[LESION] = index
        stem = f"sub-01/ses-{session}/dwi/sub-01_ses-{session}"
        rows = "index\tname\n1\tleft\n2\tright\n"
        write_roi(root, stem, labels, rows, "whole", space="dwi")
    assert run(root, capsys).code == 0
    text = next((root.parent / "out").rglob("sub-01_ses-b_seg-whole_roistats.tsv")).read_text()
    columns, *rows = [line.split("\t") for line in text.splitlines()]
    volumes = {row[columns.index("lesion")]: row[columns.index("mean")] for row in rows}
    assert float(volumes["1"]) == 0
    assert float(volumes["2"]) > 0


def test_without_an_roi_there_are_maps_and_a_word(root, capsys):
    """A participant without any ROI has DWI maps; the message of the DCE states what it needs."""
    shutil.rmtree(root / "derivatives")
    outcome = dry(root, capsys)
    assert outcome.code == 1
    assert "no ROI of the enhancing part: no lesion values" in outcome.out
    assert "no AIF mask (label-AIF_mask) for the DCE series; draw one" in outcome.out


def test_an_empty_artery_is_reported_before_any_work(root, capsys):
    """An AIF mask without a voxel is a finding of the dry run."""
    rewrite(roi(root, "label-AIF_mask.nii.gz"), lambda data: data * 0)
    outcome = dry(root, capsys)
    assert outcome.code == 1
    assert "the AIF mask is empty; draw the artery" in outcome.out


def test_a_broken_description_does_no_harm(root, capsys):
    """Damaged descriptions are the validator's matter: what is there is still found."""
    (root / "dataset_description.json").write_text("{")
    (root / "derivatives/manual_masks/dataset_description.json").write_text("{")
    assert dry(root, capsys).code == 0


@pytest.mark.whole_pages
def test_names_of_lesions_cannot_become_markup(root, capsys):
    """A lesion called ``<script>`` is text in the page."""
    roi(root, f"{LABELS}.tsv").write_text("index\tname\n1\t<script>alert(1)</script>\n")
    roi(root, "space-dce_seg-enhancing_dseg.tsv").write_text(
        "index\tname\n1\t<script>alert(1)</script>\n"
    )
    assert run(root, capsys, "--session-label", "a").code == 0
    page = (root.parent / "out/sub-01.html").read_text(encoding="utf-8")
    assert "<script>alert(1)" not in page
    assert "&lt;script&gt;alert(1)" in page


def test_a_study_in_read_only_folders_is_read(root, capsys):
    """Raw data are never written to: the same files, with the same content, after a run."""
    before = {p: p.read_bytes() for p in root.rglob("*") if p.is_file()}
    assert run(root, capsys, "--session-label", "a").code == 0
    assert {p: p.read_bytes() for p in root.rglob("*") if p.is_file()} == before


def test_output_inside_the_data_set_is_found_by_no_query(root, capsys):
    """Results in ``derivatives`` of the data set are not taken for its raw files later."""
    out = root / "derivatives/metperf"
    words = [str(root), str(out), "participant", "--no-motion-correction", "--nprocs", "1"]
    words += ["--skip-bids-validation", "--session-label", "a"]
    assert main(words) == 0
    assert main([*words, "--dry-run"]) == 0
    assert raw(root, "dwi.nii.gz").exists()


def test_a_disk_without_room_ends_with_73(root, capsys, monkeypatch):
    """Also when nipype hides it behind what is missing afterwards: exit 73, and the true cause."""

    def full(*_, **__):
        raise FileNotFoundError("result_fit.pklz") from OSError(errno.ENOSPC, os.strerror(28))

    monkeypatch.setattr("bidsapp.run.nodes.fitting.save_fit", full)
    outcome = run(root, capsys)
    assert outcome.code == 73
    assert "No space left on device" in outcome.err
    assert "the output could not be written in sub-01" in outcome.err


def group(root, capsys):
    """Run the group level; return its exit code and its messages."""
    capsys.readouterr()
    code = main([str(root), str(root.parent / "out"), "group"])
    return code, capsys.readouterr().err


def lesions(root):
    """Return the rows of the group's table of lesions."""
    text = (root.parent / "out/group_lesions.tsv").read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines(), delimiter="\t"))


def test_a_step_that_fails_leaves_no_value_of_an_earlier_run(
    root, capsys, monkeypatch, tables_only
):
    """Its maps and lesions are removed, the other series stays; the group level states why."""
    assert run(root, capsys).code == 0
    folder = root.parent / "out/sub-01/ses-a"
    edit_json(raw(root, "dce.json"), FlipAngle=12.0)

    def broken(*_, **__):
        raise FitError("it cannot be")

    monkeypatch.setattr("bidsapp.run.nodes.perfusion.measured_input", broken)
    assert run(root, capsys).code == 1
    assert not list((folder / "perf").glob("*_roistats.tsv"))
    assert not list((folder / "perf").glob("*_dcemap.nii.gz"))
    assert list((folder / "dwi").glob("*_roistats.tsv"))
    _, said = group(root, capsys)
    assert "sub-01 ses-a: not done: dce aif: it cannot be" in said
    row = next(r for r in lesions(root) if r["session_id"] == "ses-a")
    assert (row["Ktrans"], row["f"] != "n/a") == ("n/a", True)
    assert "not done: dce aif" in row["warnings"]


def test_sessions_of_different_options_are_named(root, capsys, tables_only):
    """By the group level, with exit 1, and on the page; options that change no value are not."""
    assert run(root, capsys, "--session-label", "a", "--keep-dates").code == 0
    assert run(root, capsys, "--session-label", "b").code == 0
    assert group(root, capsys)[0] == 0
    assert run(root, capsys, "--session-label", "b", "--haematocrit", "0.3").code == 0
    code, said = group(root, capsys)
    outcome = "different options: haematocrit by default in sub-01 ses-a; 0.3 in sub-01 ses-b."
    assert code == 1
    assert outcome in said
    page = (root.parent / "out/sub-01.html").read_text(encoding="utf-8")
    assert (
        "haematocrit by default in a; 0.3 in b. The methods section describes the last run." in page
    )


def test_sessions_acquired_differently_are_named(root, capsys, tables_only):
    """By the run at the later session, in the table of lesions, and by the group with exit 1."""
    edit_json(raw(root, "dce.json", "b"), FlipAngle=20.0)
    bval = raw(root, "dwi.bval", "b")
    bval.write_text(bval.read_text().replace("1000", "900"))
    outcome = dry(root, capsys)
    assert "b-values: 0, 50, 200, 500, 900 s/mm2, but 0, 50, 200, 500, 1000 s/mm2" in outcome.out
    outcome = run(root, capsys)
    assert outcome.code == 0
    assert "flip angle of the DCE: 20 degrees, but 15 degrees in ses-a" in outcome.err
    code, said = group(root, capsys)
    assert code == 1
    assert "acquired differently" in said
    assert "flip angle of the DCE 15 degrees in sub-01 ses-a; 20 degrees in sub-01 ses-b" in said
    warned = {row["session_id"]: row["warnings"] for row in lesions(root)}
    assert "flip angle" in warned["ses-b"]
    assert "flip angle" not in warned["ses-a"]


def test_an_image_among_the_volumes_that_is_none_of_them_is_left_out(root, capsys):
    """A map at the end of the series, called b = 0: reported, and the values are as without it."""
    assert run(root, capsys, "--session-label", "a").code == 0
    before = values(root)
    path = raw(root, "dwi.nii.gz")
    rewrite(path, lambda data: np.concatenate([data, 0.4 * data[..., :1]], axis=3))
    bval, bvec = raw(root, "dwi.bval"), raw(root, "dwi.bvec")
    bval.write_text(bval.read_text().strip() + " 0\n")
    rows = bvec.read_text().strip().splitlines()
    bvec.write_text("".join(f"{line} 0\n" for line in rows))
    outcome = run(root, capsys, "--session-label", "a")
    assert outcome.code == 0
    assert "volume 6 is listed as b = 0 s/mm2" in outcome.err
    assert "volume 6 is listed" in (root.parent / "out/sub-01.html").read_text(encoding="utf-8")
    assert values(root) == before


def values(root):
    """Return the lesion tables of the DWI as text."""
    tables = sorted((root.parent / "out").rglob("*dwi/*_roistats.tsv"))
    return [path.read_text(encoding="utf-8") for path in tables]


def test_what_is_missing_is_said_on_the_screen(root, capsys):
    """A DWI without enough b-values for IVIM ends with exit 0, but not without a line."""
    bval = raw(root, "dwi.bval")
    bval.write_text("40 50 200 500 1000\n")
    outcome = run(root, capsys, "--session-label", "a")
    assert "sub-01 ses-a: missing: no T1w" in outcome.err
    assert "no IVIM: the asymptotic fit needs b = 0" in outcome.err


def test_a_session_that_left_the_data_set_leaves_the_results(root, capsys, tables_only):
    """Said on the screen; its rows are gone from all tables. A session not selected stays."""
    assert run(root, capsys).code == 0
    out = root.parent / "out"
    assert run(root, capsys, "--session-label", "a").code == 0
    assert (out / "sub-01/ses-b").is_dir()
    shutil.rmtree(root / "sub-01/ses-b")
    outcome = run(root, capsys)
    assert "sub-01: ses-b is no longer in the data set: results removed" in outcome.err
    assert not (out / "sub-01/ses-b").exists()
    assert "ses-b" not in (out / "sub-01/sub-01_sessions.tsv").read_text()
    group(root, capsys)
    assert {row["session_id"] for row in lesions(root)} == {"ses-a"}


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("index\tname\tExclude\n1\ta\t1\n", "column 'Exclude' is not known; call it 'excluded'"),
        (
            "index\tname\texcluded\tExcluded\n1\ta\t0\t1\n",
            "columns 'excluded', 'Excluded' are the same; keep the right one",
        ),
    ],
)
def test_a_lesion_is_not_counted_for_a_misspelt_column(root, capsys, table, message):
    """A misspelt column `excluded` is reported; the lesion is not silently included."""
    roi(root, f"{LABELS}.tsv").write_text(table, encoding="utf-8")
    outcome = dry(root, capsys)
    assert outcome.code == 1
    assert message in outcome.text


@pytest.mark.parametrize(
    ("word", "excluded"),
    [("1.0", True), ("Y", True), ("x", True), ("TRUE", True), ("0.0", False), ("n/a", False)],
)
def test_a_lesion_is_excluded_in_any_spelling(root, word, excluded):
    """Also as Excel, pandas and R write a flag."""
    path = roi(root, f"{LABELS}.tsv")
    path.write_text(f"index\tname\texcluded\n1\tleft\t{word}\n")
    lesions = find_lesions(path.with_suffix(".nii.gz"), path)
    assert lesions[0].excluded == excluded


def test_a_flag_that_is_neither_yes_nor_no_is_refused(root, capsys):
    """A word that is not known is reported with its line and with what is possible."""
    roi(root, f"{LABELS}.tsv").write_text("index\tname\texcluded\n1\tleft\texcluded\n")
    outcome = dry(root, capsys)
    assert outcome.code == 1
    assert "line 2: excluded is 'excluded', give 0 or 1 (or true, yes, y, x, false" in outcome.out


def test_a_label_with_a_plus_sign_has_all_results(tmp_path, capsys, tables_only):
    """BIDS 1.11 allows ``+`` in labels: maps, tables, page and group as with any other label."""
    root = write_study(tmp_path / "bids", ("pre", "post+1wk"), label="a+1")
    assert dry(root, capsys).out.count("dwi, dce, rois; lesions 1") == 2
    outcome = run(root, capsys)
    assert outcome.code == 0, outcome.err
    out = root.parent / "out"
    count = [len(list((out / f"sub-a+1/ses-{s}").rglob("*.*"))) for s in ("pre", "post+1wk")]
    assert count[0] == count[1] > 20
    assert "post+1wk" in (out / "sub-a+1.html").read_text(encoding="utf-8")
    words = [str(root), str(out), "group", "--timepoints", "a=pre", "b=post+1wk"]
    assert main(words) == 0
    assert {row["session_id"] for row in lesions(root)} == {"ses-pre", "ses-post+1wk"}


@pytest.mark.parametrize(
    "name",
    [
        "sub-01/sub-01_seg-enhancing_dseg.tsv",
        "seg-enhancing_dseg.tsv",
        "sub-01/ses-a/dwi/sub-01_dseg.tsv",
    ],
)
def test_a_table_above_the_images_is_inherited(root, name):
    """Of the participant, the data set or all series: names and exclusion hold, none is added."""
    masks = root / "derivatives/manual_masks"
    roi(root, f"{LABELS}.tsv").unlink()
    rows = "1\tleft\t1\n" + ("2\tof another participant\t0\n" if "/" not in name else "")
    (masks / name).write_text(f"index\tname\texcluded\n{rows}")
    found = Query(root, [masks]).participant("01").sessions[0].rois("enhancing", "dwi")
    assert found.lesions == (Lesion(1, "left", excluded=True),)
    assert found.table == masks / name


UNUSED = {
    "another name": ("dwi/sub-01_ses-a_label-lesion_roi.nii.gz", "its name is not that of an ROI"),
    "no kind": ("dwi/sub-01_ses-a_label-lesion_mask.nii.gz", "its name is not that of an ROI"),
    "another format": ("dwi/sub-01_ses-a_seg-enhancing_dseg.nrrd", "is not in the format NIfTI"),
    "another session": ("../ses-c/dwi/sub-01_ses-c_seg-whole_dseg.nii.gz", "have no ses-c"),
    "no session": ("../anat/sub-01_seg-whole_dseg.nii.gz", "is in no folder of a session"),
    "a mask too": ("dwi/sub-01_ses-a_desc-enhancing_mask.nii.gz", "another image of this kind is"),
    "no ROI": ("anat/sub-01_ses-a_desc-brain_mask.nii.gz", ""),
}


@pytest.mark.parametrize(("name", "reason"), UNUSED.values(), ids=UNUSED)
def test_images_that_are_not_used_are_listed_with_the_reason(root, capsys, name, reason):
    """In the derivative of the ROIs; a note, as there are ROIs."""
    path = (root / "derivatives/manual_masks/sub-01/ses-a" / name).resolve()
    path.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(roi(root, f"{LABELS}.nii.gz"), path)
    outcome = dry(root, capsys)
    assert outcome.code == 0
    assert "warning" not in outcome.out
    assert reason in outcome.out
    assert ("not used: manual_masks/" in outcome.out) == bool(reason)


def test_rois_at_another_place_are_warned_of(root, capsys):
    """In the raw data, or in a derivative that is not named: without ROIs this is a warning."""
    masks = root / "derivatives/manual_masks"
    masks.rename(root / "derivatives/lesions")
    outcome = dry(root, capsys, "--aif", "parker2006")
    assert "warning: not used: derivatives/lesions/sub-01/ses-a/dwi/sub-01" in outcome.out
    assert f"name the folder with --derivatives {root / 'derivatives/lesions'}" in outcome.out
    folder = root / "derivatives/lesions/sub-01/ses-a/dwi"
    shutil.copy(
        folder / f"sub-01_ses-a_{LABELS}.nii.gz",
        root / "sub-01/ses-a/dwi/sub-01_ses-a_label-lesion_roi.nii.gz",
    )
    outcome = dry(root, capsys, "--aif", "parker2006")
    assert "lesion_roi.nii.gz: is in the raw data; ROIs belong in a derivative" in outcome.out


@pytest.mark.whole_pages
def test_a_series_of_two_b_values_has_a_map_of_adc_and_no_noise(tmp_path, capsys):
    """Two points determine the decay exactly: there is no standard error and no noise level."""
    root = write_study(tmp_path / "bids", ("a",))
    scale = np.float32([1, 1, 1.05, 0.97])
    rewrite(raw(root, "dwi.nii.gz"), lambda data: data[..., [0, 4, 4, 4]] * scale)
    raw(root, "dwi.bval").write_text("0 1000 1000 1000\n")
    np.savetxt(raw(root, "dwi.bvec"), np.c_[np.zeros(3), np.eye(3)], fmt="%g")
    for path in root.rglob("*dce*"):
        path.unlink()
    assert run(root, capsys).code == 0
    page = (root.parent / "out/sub-01.html").read_text(encoding="utf-8")
    assert 'alt="Lesion 1: left in a: anatomy, ADC, in two scales."' in page
    assert "DWI curves of 1 lesion in 1 session, with the fit." in page
    assert "SE of ADC" not in page
    quality = read_table(root.parent / "out/sub-01/sub-01_quality.tsv")
    assert [row["signal_to_noise"] for row in quality] == ["n/a"]
