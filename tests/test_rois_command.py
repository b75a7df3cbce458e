"""``metperf rois``: what is written for metperf to read, and what is refused, all of it at once."""

import csv
import json
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from contour_files import Roi, ellipsoid, structure_set, write_dicom, write_seg_nrrd
from datasets import dynamic_signal, write_dce, write_description, write_image, write_json
from heads import head, pose

from bidsapp.bids.query import Query
from bidsapp.cli.main import main
from bidsapp.conversion.contours.rasterise import Fractions
from bidsapp.errors import BadInput
from bidsapp.imaging.resample import resample
from bidsapp.imaging.transforms import invert
from bidsapp.run.rois import numbers, placement
from bidsapp.run.rois.checks import check_size
from bidsapp.run.rois.placement import Grid, Placement

SHAPE = (64, 64, 64)
GRID = np.eye(4)
GRID[:3, 3] = -32
LEFT, RIGHT, LATE = (-12.0, 3, 5), (14.0, -6, 2), (0.0, 15, -9)


def study(root: Path, sessions=("a", "b"), labels=("01",)) -> Path:
    """Write a data set whose T1w are a bright ball, and return its folder."""
    write_description(root)
    points = np.moveaxis(np.indices(SHAPE), 0, -1) + GRID[:3, 3]
    ball = np.where(np.linalg.norm(points, axis=-1) < 28, 100, 1).astype(np.float32)
    for label in labels:
        for session in sessions:
            write_image(t1w(root, label, session), ball, GRID)
        rows = "".join(f"ses-{s}\t{7 * i}\n" for i, s in enumerate(sessions))
        table = root / f"sub-{label}/sub-{label}_sessions.tsv"
        table.write_text("session_id\tdays_since_treatment\n" + rows, encoding="utf-8")
    return root


def t1w(root: Path, label="01", session="a") -> Path:
    """Return the path of a T1w."""
    name = f"sub-{label}_ses-{session}_ce-gadolinium_T1w.nii.gz"
    return root / f"sub-{label}/ses-{session}/anat/{name}"


def roi(root: Path, part="whole", session="a", label="01", extension="nii.gz") -> Path:
    """Return the path of an ROI file."""
    folder = root / f"derivatives/manual_masks/sub-{label}/ses-{session}/anat"
    return folder / f"sub-{label}_ses-{session}_ce-gadolinium_seg-{part}_dseg.{extension}"


def rows(path: Path) -> list[dict[str, str]]:
    """Return the rows of a table."""
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream, delimiter="\t"))


def names(root: Path, **where) -> dict[int, str]:
    """Return the names of the lesions of an ROI by number."""
    return {int(r["index"]): r["name"] for r in rows(roi(root, **where, extension="tsv"))}


def balls(path: Path, *lesions, radius=5.0, **options) -> Path:
    """Write an RTSTRUCT of balls: pairs of name and centre."""
    rois = [
        Roi(name, ellipsoid(centre, [radius] * 3), number)
        for number, (name, centre) in enumerate(lesions, 3)
    ]
    return write_dicom(path, structure_set(rois, **options))


def labels_at(root: Path, *places, **where) -> list[int]:
    """Return the numbers at places in mm."""
    data = np.asarray(nib.load(roi(root, **where)).dataobj)
    return [int(data[tuple(np.rint(np.subtract(p, GRID[:3, 3])).astype(int))]) for p in places]


@pytest.fixture
def aligned(monkeypatch):
    """Take the T1w of all visits for aligned, instead of registering them."""
    still = Placement(np.eye(4), "aligned")
    monkeypatch.setattr(numbers, "register_rigidly", lambda *_: still)


def rois(*words) -> int:
    """Run the command."""
    return main(["rois", *map(str, words)])


VISIT = ("--participant-label", "sub-01", "--session-label", "ses-a")


def test_what_is_written_is_what_metperf_reads(tmp_path):
    """Image, table and sidecar in the derivative, found by the query of a run, names kept."""
    root = study(tmp_path / "bids", ("a",))
    drawn = balls(tmp_path / "Doe_Jane_MRN77.dcm", ("Met L", LEFT), ("Met R", RIGHT), ("PTV", LATE))
    assert rois(root, drawn, *VISIT, "--use", "met*", "--as", "whole") == 0
    session = Query(root, [root / "derivatives/manual_masks"]).participant("01").sessions[0]
    assert [(lesion.index, lesion.name) for lesion in session.whole[0].lesions] == [
        (1, "Met L"),
        (2, "Met R"),
    ]
    assert (session.problems, session.warnings, session.enhancing) == ((), (), ())
    assert labels_at(root, LEFT, RIGHT, LATE) == [1, 2, 0]
    first = rows(roi(root, extension="tsv"))[0]
    exact = 4 / 3 * np.pi * 5**3 / 1000
    assert float(first["contour_volume_ml"]) == pytest.approx(exact, rel=0.02)
    assert float(first["volume_ml"]) == pytest.approx(exact, rel=0.03)
    for path in (root / "derivatives").rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert not any(word in content for word in (b"Doe", b"Jane", b"MRN77"))


def test_a_lesion_has_the_same_number_at_all_visits(tmp_path, aligned):
    """Whatever its name and order in each file; a new one has the next number."""
    root = study(tmp_path / "bids")
    balls(tmp_path / "src/01/a/RS.dcm", ("Met 1", LEFT), ("Met 2", RIGHT))
    moved = np.add(LEFT, (1, 0, 1))
    balls(tmp_path / "src/01/b/RS.dcm", ("GTV1", LATE), ("GTV2", RIGHT), ("GTV3", moved))
    table = tmp_path / "src/contours.tsv"
    table.write_text(
        "participant\tsession\tfile\tuse\tas\n"
        "sub-01\tses-b\t01/b/RS.dcm\tGTV*\tboth\n01\ta\t01/a/RS.dcm\tMet*\tboth\n"
    )
    assert rois(root, table) == 0
    assert names(root) == {1: "Met 1", 2: "Met 2"}
    assert names(root, session="b", part="enhancing") == {1: "GTV3", 2: "GTV2", 3: "GTV1"}
    assert labels_at(root, moved, RIGHT, LATE, session="b") == [1, 2, 3]


def test_one_visit_of_a_folder_of_a_study(tmp_path):
    """Labels select from the folders of a study; only a folder of another layout is one visit."""
    root = study(tmp_path / "bids", ("a",), ("01", "02"))
    balls(tmp_path / "src/01/a/RS.dcm", ("Met 1", LEFT))
    balls(tmp_path / "src/02/a/RS.dcm", ("Met 2", RIGHT))
    assert rois(root, tmp_path / "src", *VISIT, "--use", "*", "--as", "whole") == 0
    assert names(root) == {1: "Met 1"}
    assert not roi(root, label="02").exists()
    words = ("--participant-label", "02", "--session-label", "a", "--use", "*", "--as", "whole")
    assert rois(root, tmp_path / "src/02/a", *words) == 0
    assert names(root, label="02") == {1: "Met 2"}


def test_numbers_of_rois_that_exist_are_kept(tmp_path, aligned):
    """A second kind, and a further visit, are numbered like what is there."""
    root = study(tmp_path / "bids")
    drawn = balls(tmp_path / "1.dcm", ("Met 1", LEFT), ("Met 2", RIGHT))
    assert rois(root, drawn, *VISIT, "--use", "*", "--as", "whole") == 0
    reverse = balls(tmp_path / "2.dcm", ("E1", RIGHT), ("E2", LEFT), radius=4)
    assert rois(root, reverse, *VISIT, "--use", "*", "--as", "enhancing") == 0
    assert names(root, part="enhancing") == {1: "E2", 2: "E1"}
    later = ("--participant-label", "01", "--session-label", "b")
    assert rois(root, reverse, *later, "--use", "*", "--as", "whole") == 0
    assert names(root, session="b") == {1: "E2", 2: "E1"}


def test_lesions_that_are_not_drawn_later(tmp_path, aligned, capsys):
    """They are reported, and listed as gone only if the user says so."""
    root = study(tmp_path / "bids")
    for session, lesions in (("a", [("M1", LEFT), ("M2", RIGHT)]), ("b", [("M2", RIGHT)])):
        balls(tmp_path / f"src/sub-01/ses-{session}/RS.dcm", *lesions)
    words = (root, tmp_path / "src", "--use", "M*", "--as", "whole")
    assert rois(*words) == 0
    assert "ses-b: warning: lesion 1 of an earlier visit is not drawn" in capsys.readouterr().err
    assert names(root, session="b") == {2: "M2"}
    assert rois(*words, "--overwrite", "--vanished") == 0
    listed = rows(roi(root, session="b", extension="tsv"))
    assert [r["name"] for r in listed] == ["M1", "M2"]
    assert [(r["index"], r["volume_ml"]) for r in listed] == [
        ("1", "0"),
        ("2", listed[1]["volume_ml"]),
    ]


def test_rois_that_exist_are_never_overwritten_unasked(tmp_path, capsys):
    """Nor are lesions that the user excluded included again."""
    root = study(tmp_path / "bids", ("a",))
    words = (
        root,
        balls(tmp_path / "1.dcm", ("Met 1", LEFT)),
        *VISIT,
        "--use",
        "*",
        "--as",
        "whole",
    )
    assert rois(*words) == 0
    table = roi(root, extension="tsv")
    table.write_text(table.read_text().replace("Met 1\t0", "Met 1\t1"))
    before = {p: p.read_bytes() for p in (root / "derivatives").rglob("*") if p.is_file()}
    assert rois(*words) == 1
    said = capsys.readouterr().err
    assert "exists; --overwrite replaces it" in said
    assert f"{tmp_path}" not in said.partition("exists;")[0].splitlines()[-1]
    assert before == {p: p.read_bytes() for p in (root / "derivatives").rglob("*") if p.is_file()}
    assert rois(*words, "--overwrite") == 0
    assert rows(table)[0]["excluded"] == "1"
    other = roi(root).with_name(roi(root).name.replace("ce-gadolinium_", ""))
    shutil.move(roi(root), other)
    shutil.move(table, other.with_name(other.name.replace("nii.gz", "tsv")))
    assert rois(*words, "--overwrite") == 1
    assert "is the same kind of ROI of this visit under another name" in capsys.readouterr().err


def test_numbers_survive_a_new_export(tmp_path, aligned):
    """--overwrite numbers like the ROIs it replaces; `excluded` stays with its lesion."""
    root = study(tmp_path / "bids")
    words = (root, tmp_path / "src", "--use", "*", "--as", "whole")
    balls(tmp_path / "src/01/a/RS.dcm", ("C", LATE), ("A", LEFT), ("B", RIGHT))
    balls(tmp_path / "src/01/b/RS.dcm", ("B", RIGHT), ("A", LEFT))
    for session in "ba":  # the later visit first: numbers are not those of the order of visits
        assert rois(*words, "--session-label", session) == 0
    before = names(root), names(root, session="b")
    assert before == ({1: "B", 2: "A", 3: "C"}, {1: "B", 2: "A"})
    table = roi(root, extension="tsv")
    table.write_text(table.read_text().replace("B\t0", "B\t1"))
    assert rois(*words, "--overwrite") == 0
    assert (names(root), names(root, session="b")) == before
    new = (4.0, -18, 5)
    balls(tmp_path / "src/01/a/RS.dcm", ("new", new), ("A", LEFT), ("B", RIGHT))
    assert rois(*words, "--session-label", "a", "--overwrite") == 0
    assert {(r["index"], r["name"], r["excluded"]) for r in rows(table)} == {
        ("1", "B", "1"),
        ("2", "A", "0"),
        ("4", "new", "0"),
    }


def test_a_pair_that_does_not_overlap_is_a_warning(tmp_path, aligned, capsys):
    """Two small lesions near one another may be different ones."""
    root = study(tmp_path / "bids")
    for session, x in (("a", 0), ("b", 8)):
        balls(tmp_path / f"src/01/{session}/RS.dcm", ("M", np.add(LEFT, (x, 0, 0))), radius=2.5)
    assert rois(root, tmp_path / "src", "--use", "*", "--as", "whole") == 0
    assert "'M' became lesion 1, 8.0 mm from its earlier place; it does not overlap with it" in (
        capsys.readouterr().err
    )
    balls(tmp_path / "src/01/b/RS.dcm", ("M", np.add(LEFT, (4, 0, 0))), radius=2.5)
    assert rois(root, tmp_path / "src", "--use", "*", "--as", "whole", "--overwrite") == 0
    assert "overlap" not in capsys.readouterr().err


def test_contours_belong_to_one_visit(tmp_path, aligned, capsys):
    """Copies are refused; frames of reference and patients that contradict labels are reported."""
    root, source = study(tmp_path / "bids", labels=("01", "02")), tmp_path / "src"
    words = (root, source, "--use", "*", "--as", "whole")
    first = balls(source / "01/a/RS.dcm", ("A", LEFT))
    for visit in ("01/b", "02/a"):
        (source / visit).mkdir(parents=True)
        shutil.copy(first, source / visit / "other name.dcm")
    assert rois(*words) == 1
    text = capsys.readouterr().err
    assert "sub-01 ses-b: other name.dcm: is the same file as that of sub-01 ses-a" in text
    assert "sub-02 ses-a: other name.dcm: is the same file as that of sub-01 ses-a" in text
    for visit in ("01/b", "02/a"):
        again = structure_set([Roi("A", ellipsoid(LEFT, [5] * 3), 3)])
        again.PatientID = "MRN78"
        write_dicom(source / visit / "other name.dcm", again)
    assert rois(*words) == 0
    text = capsys.readouterr().err
    assert "sub-02 ses-a: warning: its contours have the frame of reference of those of sub-01" in (
        text
    )
    assert "sub-01 ses-b: warning: its contours state another patient (PatientID)" in text
    assert "MRN" not in text
    shutil.rmtree(root / "derivatives")
    mask = write_image(source / "01/a/m.nii", np.pad(np.ones((4, 4, 4), "u1"), 30), GRID)
    shutil.copy(mask, source / "01/b/n.nii")
    assert rois(root, source, "--use", "?", "--as", "whole") == 1
    assert "ses-b: n.nii: is the same file as that of sub-01 ses-a" in capsys.readouterr().err


def test_t1w_are_registered_unless_both_state_one_frame_of_reference(tmp_path, monkeypatch):
    """That contours of two visits state one frame is no proof of it."""
    root, asked = study(tmp_path / "bids"), []

    def register(*_):
        asked.append(1)
        return Placement(np.eye(4), "aligned")

    monkeypatch.setattr(numbers, "register_rigidly", register)
    for session in "ab":
        balls(tmp_path / f"src/01/{session}/RS.dcm", ("A", LEFT))
    words = (root, tmp_path / "src", "--use", "*", "--as", "whole", "--dry-run")
    for session, count in (("a", 1), ("b", 2), ("", 2)):
        assert rois(*words) == 0
        assert len(asked) == count
        if session:
            sidecar = t1w(root, session=session)
            write_json(
                Path(str(sidecar).replace("nii.gz", "json")), {"FrameOfReferenceUID": "1.2.3"}
            )


def test_a_visit_at_which_no_lesion_is_left(tmp_path, aligned, capsys):
    """Empty masks and ROIs without contours are lesions that are gone, if this is stated."""
    root, source = study(tmp_path / "bids", "abc"), tmp_path / "src"
    empty = structure_set([Roi("M", [], 3)])
    mask = np.pad(np.ones((4, 4, 4), np.uint8), 30)
    for session, lesions in (("a", mask), ("c", mask * 0)):
        write_image(source / f"01/{session}/m.nii", lesions, GRID)
    write_dicom(source / "01/b/RS.dcm", empty)
    words = (root, source, "--use", "m", "--as", "both")
    assert rois(*words) == 1
    assert "'M' has no closed contours; has it disappeared? --vanished" in capsys.readouterr().err
    assert rois(*words, "--vanished") == 0
    for session in "bc":
        for part in ("whole", "enhancing"):
            (row,) = rows(roi(root, part, session, extension="tsv"))
            assert (row["index"], row["name"], row["volume_ml"]) == ("1", "m", "0")
            assert not np.asarray(nib.load(roi(root, part, session)).dataobj).any()
    session = Query(root, [root / "derivatives/manual_masks"]).participant("01").sessions[1]
    assert (session.problems, len(session.whole[0].lesions)) == ((), 1)
    later = ("--session-label", "c", "--rois-dir", tmp_path / "none", "--vanished")
    assert rois(*words, *later) == 1
    assert "no earlier visit has one that disappeared" in capsys.readouterr().err


def test_a_lesion_in_one_plane_has_the_thickness_of_the_slices(tmp_path, capsys):
    """Those of the T1w, if it was drawn on one of them."""
    root = study(tmp_path / "bids", ("a",))
    drawn = balls(tmp_path / "RS.dcm", ("tiny", LEFT), radius=0.9)
    words = ("--use", "*", "--as", "whole", "--overwrite")
    assert rois(root, drawn, *VISIT, *words) == 0
    assert float(rows(roi(root, extension="tsv"))[0]["contour_volume_ml"]) == pytest.approx(
        np.pi * 0.9**2 / 1000, rel=0.1
    )
    assert "'tiny' is drawn in one plane only: taken for 1 mm thick" in capsys.readouterr().err
    between = Roi("tiny", [np.add([[0, 0, 0.4]], [[0, 0, 0], [5, 0, 0], [0, 5, 0]])], 1)
    write_dicom(drawn, structure_set([between]))
    assert rois(root, drawn, *VISIT, *words, "--aligned") == 1
    assert "'tiny' is drawn in one plane only, which is no slice" in capsys.readouterr().err


def test_the_orientation_of_the_t1w(tmp_path, capsys):
    """What is doubtful about it is reported; coordinates have no place without one."""
    root = study(tmp_path / "bids", ("a",))
    drawn = balls(tmp_path / "RS.dcm", ("M", LEFT))
    image = nib.load(t1w(root))
    made = nib.Nifti1Image(np.asarray(image.dataobj), GRID)
    made.set_qform(np.diag([-1, 1, 1, 1]) @ GRID, 1)
    nib.save(made, t1w(root))
    words = (root, drawn, *VISIT, "--use", "*", "--as", "whole", "--dry-run")
    assert rois(*words) == 0
    assert "T1w.nii.gz: sform and qform disagree by up to 64.0 mm" in capsys.readouterr().err
    nib.save(nib.Nifti1Image(np.asarray(image.dataobj), None), t1w(root))
    assert rois(*words) == 1
    assert "has no orientation (sform and qform code 0), so that the coordinates of RTSTRUCT" in (
        capsys.readouterr().err
    )
    mask = write_image(tmp_path / "m.nii", np.pad(np.ones((4, 4, 4), np.uint8), 30), GRID)
    mirrored = nib.load(mask)
    mirrored.set_qform(np.diag([-1, 1, 1, 1]) @ GRID, 1)
    nib.save(mirrored, tmp_path / "n.nii")
    rois(root, tmp_path / "n.nii", *VISIT, "--as", "whole", "--dry-run")
    assert "warning: n.nii: sform and qform disagree" in capsys.readouterr().err


def test_doubtful_lesions_are_reported(tmp_path, capsys):
    """Parts far apart, enhancement outside the whole, ROIs that remain from other contours."""
    root = study(tmp_path / "bids", ("a",))
    both = [*ellipsoid(LEFT, [5] * 3), *ellipsoid(np.add(LEFT, (22, 0, 0)), [4] * 3)]
    drawn = write_dicom(tmp_path / "1.dcm", structure_set([Roi("M", both, 1)]))
    assert rois(root, drawn, *VISIT, "--use", "*", "--as", "both") == 0
    text = "'M' consists of 2 parts more than 5 mm apart, and is one lesion: --split"
    assert text in capsys.readouterr().err
    assert rois(root, drawn, *VISIT, "--use", "*", "--as", "both", "--split", "--overwrite") == 0
    assert "parts more than" not in capsys.readouterr().err
    moved = balls(tmp_path / "2.dcm", ("A", RIGHT))
    assert rois(root, moved, *VISIT, "--use", "*", "--as", "whole", "--overwrite") == 0
    text = "warning: the ROI of another part (enhancing) remains as it was, with lesion "
    assert text in capsys.readouterr().err
    pair = [Roi("W", ellipsoid(LEFT, [3] * 3), 1), Roi("E", ellipsoid(LEFT, [5] * 3), 2)]
    drawn = write_dicom(tmp_path / "3.dcm", structure_set(pair))
    words = ("--use", "W", "--as", "whole", "--use", "E", "--as", "enhancing", "--overwrite")
    assert rois(root, drawn, *VISIT, *words) == 0
    assert "% of its enhancing part lies outside the whole lesion" in capsys.readouterr().err


def test_the_outline_of_the_head_is_no_lesion():
    """A pattern that selects everything selects BODY as well."""
    grid = Grid(Path("t1w.nii"), (80, 80, 80), GRID)
    head, lesion = (Fractions((slice(0, n),) * 3, np.ones((n, n, n), "f4")) for n in (70, 50))
    check_size(lesion, grid)
    with pytest.raises(BadInput, match="measures 343 ml, which is no lesion of a brain"):
        check_size(head, grid)


def test_everything_wrong_is_reported_at_once_and_nothing_is_written(tmp_path, aligned, capsys):
    """A study with one good visit and seven faults of different kinds."""
    root = study(tmp_path / "bids", ("a", "b"), ("01", "02"))
    source = tmp_path / "src"
    balls(source / "01/a/RS.dcm", ("Met 1", LEFT))
    balls(source / "01/b/RS.dcm", ("GTV", LEFT))
    balls(source / "01/c/RS.dcm", ("Met 1", LEFT))
    balls(source / "07/a/RS.dcm", ("Met 1", LEFT))
    balls(source / "02/a/RS.dcm", ("Met far", (0, 0, 60)), ("Met air", (26, 26, 2)))
    write_dicom(
        source / "02/b/RS.dcm",
        structure_set([Roi("Met point", [np.zeros((1, 3))], 1, "POINT"), Roi("Met 2", [], 2)]),
    )
    (source / "02/b/broken.nrrd").write_text("NRRD")
    assert rois(root, source, "--use", "Met*", "--as", "whole") == 1
    text = capsys.readouterr().err
    for part in (
        "sub-01 ses-b: RS.dcm: no region matches 'Met*'; there is 'GTV'",
        "sub-01 ses-c: is not in the data set; it has ses-a, ses-b",
        "sub-07: is not in",
        "sub-02 ses-a: RS.dcm: it was not drawn on",
        "sub-02 ses-b:",
        "broken.nrrd: cannot be read as NRRD",
        "nothing is written",
        "exit 1: failures in sub-01, sub-02, sub-07",
    ):
        assert part in text, part
    assert not (root / "derivatives").exists()


def test_regions_that_cannot_be_lesions_of_this_t1w_are_refused(tmp_path, capsys):
    """In the air, beyond the image, without contours, or too small for a voxel."""
    root = study(tmp_path / "bids", ("a",))
    small = Roi("Met 4", [np.array([[0.2, 0.2, 0], [0.5, 0.2, 0], [0.4, 0.5, 0]])] * 1, 9)
    dataset = structure_set(
        [
            Roi("Met air", ellipsoid((26, 26, 2), [3] * 3), 1),
            Roi("Met out", ellipsoid((26, 0, 2), [9] * 3), 2),
            Roi("Met 3", [np.zeros((1, 3))], 3, "POINT"),
            small,
        ]
    )
    drawn = write_dicom(tmp_path / "RS.dcm", dataset)
    assert rois(root, drawn, *VISIT, "--use", "Met*", "--as", "whole") == 1
    text = capsys.readouterr().err
    assert "'Met air' lies in the dark background" in text
    assert "'Met out' extends beyond the field of view of the image by" in text
    assert "'Met 3' has no closed contours (1 x POINT)" in text
    assert rois(root, drawn, *VISIT, "--use", "Met 4", "--as", "whole") == 1
    assert "'Met 4' (whole): fills no voxel of the T1w by half" in capsys.readouterr().err


def test_loss_by_voxels_is_reported(tmp_path, capsys):
    """A small lesion whose voxels have not the volume of its contours is a warning."""
    root = study(tmp_path / "bids", ("a",))
    drawn = balls(tmp_path / "RS.dcm", ("Met 1", (0.4, 0.3, 0)), radius=1.3)
    assert rois(root, drawn, *VISIT, "--use", "*", "--as", "whole") == 0
    (row,) = rows(roi(root, extension="tsv"))
    change = float(row["volume_ml"]) / float(row["contour_volume_ml"]) - 1
    assert abs(change) > 0.05
    assert (
        f"'Met 1' (whole): its voxels have {change:+.0%} of the volume" in capsys.readouterr().err
    )


def test_an_rtstruct_alone_lists_its_regions(tmp_path, capsys):
    """What is not stated is not guessed: names are shown, and which option is missing."""
    root = study(tmp_path / "bids", ("a",))
    drawn = balls(tmp_path / "RS.dcm", ("Met 1", LEFT), ("Brainstem", RIGHT))
    assert rois(root, drawn, *VISIT) == 1
    text = capsys.readouterr().err
    assert "RS.dcm contains 'Met 1', 'Brainstem'; state what its regions are: --as" in text
    assert rois(root, drawn, *VISIT, "--as", "whole") == 1
    assert "state which of its regions are lesions" in capsys.readouterr().err
    assert rois(root, drawn) == 2
    assert "which visit? name it with --participant-label" in capsys.readouterr().err


def test_frames_of_reference(tmp_path, capsys):
    """A sidecar that states the frame decides; without one the slices of the T1w do."""
    root = study(tmp_path / "bids", ("a",))
    off = [Roi("Met 1", ellipsoid(LEFT, [5] * 3, positions=np.arange(-30, 30) + 0.5), 1)]
    drawn = write_dicom(tmp_path / "RS.dcm", structure_set(off, frame="1.2.3", series="1.9"))
    words = (root, drawn, *VISIT, "--use", "*", "--as", "whole", "--dry-run")
    sidecar = t1w(root).with_name(t1w(root).name.replace("nii.gz", "json"))
    assert rois(*words) == 1
    assert "its planes are not those of that image; name the image" in capsys.readouterr().err
    assert rois(*words, "--aligned") == 0
    write_json(sidecar, {"FrameOfReferenceUID": "1.2.3"})
    assert rois(*words) == 0
    write_json(sidecar, {"SeriesInstanceUID": "1.9"})
    assert rois(*words) == 0
    write_json(sidecar, {"FrameOfReferenceUID": "7.7"})
    assert rois(*words) == 1
    assert "its frame of reference is not that of" in capsys.readouterr().err
    assert not (root / "derivatives").exists()


def test_contours_of_a_planning_ct_whose_slices_happen_to_be_those_of_the_t1w(tmp_path, capsys):
    """The images that an RTSTRUCT refers to tell: CT, or more of them than the T1w has slices."""
    root = study(tmp_path / "bids", ("a",))
    contours = [Roi("Met 1", ellipsoid(LEFT, [5] * 3), 1)]
    ct, mr = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.4"
    for images, text in (
        ([ct] * 5, "it refers to a series of CT; name the image it was drawn on"),
        ([mr] * 65, "it refers to 65 images, more than the T1w has slices"),
        ([mr] * 64, ""),
    ):
        drawn = write_dicom(tmp_path / "RS.dcm", structure_set(contours, images=images))
        code = rois(root, drawn, *VISIT, "--use", "*", "--as", "whole", "--dry-run")
        assert code == bool(text)
        assert text in capsys.readouterr().err


def test_classes_of_a_segmentation_network(tmp_path):
    """Enhancing and core of BraTS become both parts of each lesion; oedema is not used."""
    root = study(tmp_path / "bids", ("a",))
    points = np.moveaxis(np.indices(SHAPE), 0, -1) + GRID[:3, 3]
    labels = np.zeros(SHAPE, np.uint8)
    for centre, radius in ((LEFT, 6), (RIGHT, 4)):
        apart = np.linalg.norm(points - centre, axis=-1)
        labels[apart < radius + 2] = 2
        labels[apart < radius] = 3
        labels[apart < radius - 3] = 1
    image = write_image(tmp_path / "pred.nii.gz", labels, GRID)
    words = ("--use", "3", "--as", "enhancing", "--use", "1", "--as", "core", "--split")
    assert rois(root, image, *VISIT, *words) == 0
    assert names(root) == {1: "lesion 1", 2: "lesion 2"}
    whole = np.asarray(nib.load(roi(root)).dataobj)
    enhancing = np.asarray(nib.load(roi(root, "enhancing")).dataobj)
    assert np.array_equal(whole > 0, (labels == 3) | (labels == 1))
    assert np.array_equal(enhancing > 0, labels == 3)
    assert labels_at(root, LEFT, RIGHT) == [1, 2]


def test_classes_without_split_are_refused(tmp_path, capsys):
    """Classes that surround one another are not lesions."""
    root = study(tmp_path / "bids", ("a",))
    points = np.moveaxis(np.indices(SHAPE), 0, -1) + GRID[:3, 3]
    apart = np.linalg.norm(points - LEFT, axis=-1)
    image = write_image(
        tmp_path / "p.nii", np.select([apart < 4, apart < 8], [1, 2], 0).astype("u1"), GRID
    )
    assert rois(root, image, *VISIT, "--as", "whole") == 1
    assert "are 1, 2 tissue classes rather than lesions?" in capsys.readouterr().err


def test_one_file_per_lesion_and_3d_slicer(tmp_path):
    """Masks are named after their files; segments keep their names."""
    root = study(tmp_path / "bids", ("a",))
    points = np.moveaxis(np.indices(SHAPE), 0, -1) + GRID[:3, 3]
    masks = [(np.linalg.norm(points - c, axis=-1) < 5).astype(np.uint8) for c in (LEFT, RIGHT)]
    for name, mask in zip(("frontal", "parietal"), masks, strict=True):
        write_image(tmp_path / f"masks/{name}.nii.gz", mask, GRID)
    assert rois(root, tmp_path / "masks", *VISIT, "--as", "both") == 0
    assert names(root) == {1: "frontal", 2: "parietal"}
    assert np.array_equal(np.asarray(nib.load(roi(root)).dataobj), masks[0] + 2 * masks[1])
    slicer = write_seg_nrrd(
        tmp_path / "s.seg.nrrd", masks[0] + 2 * masks[1], GRID, {2: "P", 1: "F"}
    )
    assert rois(root, slicer, *VISIT, "--as", "whole", "--overwrite") == 0
    assert names(root) == {1: "F", 2: "P"}


def test_an_artery_is_written_on_the_image_it_was_drawn_on(tmp_path, capsys):
    """On the grid of the DCE series if it was drawn there, else on that of the T1w."""
    root = study(tmp_path / "bids", ("a",))
    series = dynamic_signal(np.zeros((10, 10, 6, 3), np.float32))
    image = write_dce(root, "sub-01/ses-a/perf/sub-01_ses-a", series, [0, 5, 10])
    grid = np.diag([3.0, 3, 5, 1])
    grid[:3, 3] = -15.3
    image.unlink()
    write_image(image, series, grid)
    mask = np.zeros((10, 10, 6), np.uint8)
    mask[4, 5, 2:4] = 1
    drawn = write_image(tmp_path / "vessel.nii.gz", mask, grid)
    assert rois(root, drawn, *VISIT, "--artery", "vessel") == 0
    masks = root / "derivatives/manual_masks"
    artery = Query(root, [masks]).participant("01").sessions[0].artery
    assert artery is not None
    assert artery.space == "dce"
    assert np.array_equal(np.asarray(nib.load(artery.image).dataobj), mask)
    contours = balls(tmp_path / "RS.dcm", ("ICA", RIGHT), ("Met", LEFT), radius=4)
    words = (root, contours, *VISIT, "--use", "Met", "--as", "both", "--artery", "ica")
    assert rois(*words) == 1
    assert "is the same kind of ROI of this visit under another name" in capsys.readouterr().err
    shutil.rmtree(masks)
    assert rois(*words) == 0
    session = Query(root, [masks]).participant("01").sessions[0]
    assert session.artery is not None
    assert session.artery.space == "T1w"
    assert len(session.enhancing[0].lesions) == 1


def test_faults_of_a_table_are_reported_at_once(tmp_path, capsys):
    """Missing files, kinds that do not exist, and empty cells, by line."""
    root = study(tmp_path / "bids", ("a",))
    table = tmp_path / "contours.tsv"
    table.write_text(
        "participant\tsession\tfile\tas\n01\ta\tgone.dcm\twhole\n"
        "01\ta\tcontours.tsv\ttumour\n01\tn/a\tcontours.tsv\twhole\n"
    )
    assert rois(root, table) == 1
    text = capsys.readouterr().err
    assert "line 2: " in text
    assert "gone.dcm is not a file" in text
    assert "line 3: as is 'tumour'; use one of whole, enhancing, both, core, artery" in text
    assert "line 4: participant, session or file is empty" in text


def test_regions_used_twice_in_a_table_are_refused(tmp_path, capsys):
    """Columns may have the names of BIDS; for other tables, the message states what is expected."""
    root = study(tmp_path / "bids", ("a",))
    balls(tmp_path / "RS.dcm", ("GTV", LEFT))
    table = tmp_path / "contours.tsv"
    lines = "participant_id\tsession_id\tfile\tuse\tas\nsub-01\tses-a\tRS.dcm\tGTV\twhole\n"
    table.write_text(lines)
    assert rois(root, table, "--dry-run") == 0
    table.write_text(lines + "sub-01\tses-a\tRS.dcm\tG*\tcore\n")
    assert rois(root, table, "--dry-run") == 1
    assert "RS.dcm: 'GTV' is used twice, as whole and as core" in capsys.readouterr().err
    assert rois(root, table, "--participant-label", "1") == 1
    assert "of the selected visits; it has those of sub-01 ses-a" in capsys.readouterr().err
    table.write_text("subject\tsession\tfile\n01\ta\tRS.dcm\n")
    assert rois(root, table) == 1
    assert "column 'participant' is missing; the columns are subject, session" in (
        capsys.readouterr().err
    )
    assert rois(root, tmp_path / "contours.csv") == 2
    assert "contours.csv: save the table with tabs" in capsys.readouterr().err


def test_files_of_a_study_that_are_not_read_are_listed(tmp_path, aligned, capsys):
    """A DICOM file without preamble is read; a visit of which nothing is read is a warning."""
    root, source = study(tmp_path / "bids"), tmp_path / "src"
    for session in "ab":
        file = balls(source / f"01/{session}/RS.dcm", ("G", LEFT))
    file.write_bytes(file.read_bytes()[132:])
    (source / "01/a/._RS.nii.gz").write_bytes(b"x" * 100)
    (source / "01/a/notes.txt").write_text("drawn by AB")
    (source / "01/c").mkdir()
    (source / "01/c/lost.dcm").write_text("nothing")
    assert rois(root, source, "--use", "*", "--as", "whole") == 0
    assert roi(root, session="b").exists()
    text = capsys.readouterr().err
    assert "not read: 2 files without contours (01/a/notes.txt, 01/c/lost.dcm)" in text
    assert "warning: nothing is read from 01/c: 01/c/lost.dcm" in text


@pytest.fixture(scope="module")
def real_heads(tmp_path_factory):
    """Write a T1w of real anatomy, and the same head as a CT of another position and grid."""
    root = tmp_path_factory.mktemp("heads")
    made = head()
    fixed = write_image(root / "t1w.nii.gz", made.t1w.astype(np.float32), made.affine)
    matrix = pose((6, -4, 8), (12, -7, 15))
    bone = np.where(made.t1w < 30, 900.0, 20.0 + made.t1w / 10)
    ct = np.where(made.t1w > 0, np.where(made.brain, 20 + made.t1w / 10, bone), -1000.0)
    grid, shape = np.diag([2.0, 2, 3, 1]), (120, 120, 80)
    grid[:3, 3] = (-108, -126, -100)
    data = resample(ct.astype(np.float32), made.affine, invert(matrix), shape, grid, cval=-1000)
    moving = write_image(root / "ct.nii.gz", data, grid)
    return root, fixed, moving, matrix, grid


@pytest.mark.slow
def test_numbers_follow_a_head_that_has_moved(real_heads, tmp_path):
    """T1w of two visits are registered: by scanner coordinates, both numbers would be exchanged."""
    _, fixed, *_ = real_heads
    made, matrix = head(), pose((3, -4, 5), (22, 4, -6))
    root = tmp_path / "bids"
    write_description(root)
    for session, image in (("a", fixed), ("b", None)):
        path = t1w(root, session=session)
        path.parent.mkdir(parents=True)
        if image:
            shutil.copy(image, path)
        else:
            shape = made.t1w.shape
            moved = resample(made.t1w, made.affine, invert(matrix), shape, made.affine, cval=0)
            write_image(path, moved, made.affine)
    places = np.array([[30.0, -10, 25], [52.0, -10, 25]])
    moved_places = places @ matrix[:3, :3].T + matrix[:3, 3]
    assert np.linalg.norm(moved_places[0] - places[1]) < 10
    slices = made.affine[2, 3] + 3 * np.arange(made.t1w.shape[2])
    for session, names_there, there in (("a", "LR", places), ("b", "RL", moved_places[::-1])):
        drawn = [
            Roi(name, ellipsoid(place, [7] * 3, positions=slices), number)
            for number, (name, place) in enumerate(zip(names_there, there, strict=True), 1)
        ]
        write_dicom(
            tmp_path / f"src/01/{session}/RS.dcm", structure_set(drawn, frame=f"1.{ord(session)}")
        )
    assert rois(root, tmp_path / "src", "--use", "*", "--as", "whole") == 0
    assert names(root) == names(root, session="b") == {1: "L", 2: "R"}


@pytest.mark.slow
def test_contours_on_a_ct_are_registered_to_the_t1w(real_heads, tmp_path):
    """Their centre is where it is in the head, to 1.5 mm; the quality is recorded."""
    _, fixed, moving, matrix, grid = real_heads
    root = tmp_path / "bids"
    write_description(root)
    image = t1w(root)
    image.parent.mkdir(parents=True)
    shutil.copy(fixed, image)
    place = np.array([30.0, -10, 25])
    there = (matrix @ [*place, 1])[:3]
    contours = ellipsoid(there, [8] * 3, positions=grid[2, 3] + 3 * np.arange(80))
    drawn = write_dicom(tmp_path / "RS.dcm", structure_set([Roi("Met 1", contours, 1)]))
    words = (root, drawn, *VISIT, "--use", "*", "--as", "whole")
    assert rois(*words) == 1
    assert rois(*words, "--drawn-on", moving) == 0
    labels = nib.load(roi(root))
    found = np.argwhere(np.asarray(labels.dataobj) == 1).mean(axis=0)
    assert np.linalg.norm((labels.affine @ [*found, 1])[:3] - place) < 1.5
    sidecar = json.loads(roi(root, extension="json").read_text(encoding="utf-8"))
    assert "registered" in sidecar["Placement"][0]
    assert "expected error" in sidecar["Placement"][0]


def test_the_image_that_was_drawn_on_must_be_that_of_the_contours(tmp_path, capsys):
    """Before any registration, their planes are compared with its slices."""
    root = study(tmp_path / "bids", ("a",))
    coarse = np.diag([2.0, 2, 5, 1])
    coarse[:3, 3] = -32.7
    other = write_image(tmp_path / "planning.nii.gz", np.ones((32, 32, 13), np.float32), coarse)
    drawn = balls(tmp_path / "RS.dcm", ("Met 1", LEFT))
    words = (root, drawn, *VISIT, "--use", "*", "--as", "whole", "--drawn-on", other)
    assert rois(*words) == 1
    assert "it was not drawn on planning.nii.gz: its planes are not" in capsys.readouterr().err


def test_the_image_that_was_drawn_on_may_lie_beside_the_contours_of_each_visit(
    tmp_path, monkeypatch
):
    """It is named once for a study, is not taken for a mask, and moves the contours."""
    root = study(tmp_path / "bids", ("a",))
    matrix = pose(shift=(4, 0, 0))
    asked = []

    def register(moving, fixed, metric):
        asked.append((moving.name, fixed, metric))
        return Placement(matrix, "4.0 mm, good", ("doubtful registration: another solution",))

    monkeypatch.setattr(placement, "register_rigidly", register)
    balls(tmp_path / "src/01/a/RS.dcm", ("Met 1", np.add(LEFT, (4, 0, 0))))
    write_image(tmp_path / "src/01/a/ct.nii.gz", np.full(SHAPE, -1000, np.int16), GRID)
    words = (root, tmp_path / "src", "--use", "*", "--as", "whole", "--drawn-on", "ct.nii.gz")
    assert rois(*words) == 0
    assert asked == [("ct.nii.gz", t1w(root), "nmi")]
    labels = np.asarray(nib.load(roi(root)).dataobj)
    assert np.argwhere(labels).mean(axis=0) + GRID[:3, 3] == pytest.approx(LEFT, abs=0.1)
    sidecar = json.loads(roi(root, extension="json").read_text(encoding="utf-8"))
    assert sidecar["Placement"] == ["RTSTRUCT: image that was drawn on registered: 4.0 mm, good"]
    table = tmp_path / "src/contours.tsv"
    table.write_text(
        "participant\tsession\tfile\tuse\tas\tdrawn_on\n01\ta\t01/a/RS.dcm\t*\twhole\t01/a/gone.nii\n"
    )
    assert rois(root, table, "--overwrite") == 1


def test_a_failed_registration_is_a_failure_of_the_visit(tmp_path, capsys, monkeypatch):
    """The engine's refusal is not overridden, and nothing is written."""
    from bidsapp.errors import RegistrationError

    def refuse(*_):
        raise RegistrationError("the registration failed: rotation of 80 degrees")

    monkeypatch.setattr(placement, "register_rigidly", refuse)
    root = study(tmp_path / "bids", ("a",))
    drawn = balls(tmp_path / "RS.dcm", ("Met 1", LEFT))
    words = (root, drawn, *VISIT, "--use", "*", "--as", "whole", "--drawn-on", t1w(root))
    assert rois(*words) == 1
    assert "RS.dcm: the registration failed: rotation of 80 degrees" in capsys.readouterr().err
    assert not (root / "derivatives").exists()
