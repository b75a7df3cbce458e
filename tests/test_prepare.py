"""``metperf prepare``: from DICOM to a data set that metperf reads, without personal data."""

import gzip
import json
import random
import re
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest

from bidsapp.bids.pseudonyms import pseudonym
from bidsapp.bids.query import Query
from bidsapp.bids.tables import read_table
from bidsapp.cli.main import main
from bidsapp.conversion.contours.drawing import Drawing
from bidsapp.conversion.dicom.headers import read_header
from bidsapp.conversion.dicom.kinds import group_kinds, kind_of, propose
from bidsapp.conversion.dicom.prepare import Request, prepare
from bidsapp.conversion.dicom.scan import group_headers, scan_folder
from bidsapp.conversion.dicom.timing import find_times
from bidsapp.conversion.dicom.verify import check_placement
from bidsapp.errors import BadInput, NothingToAnalyse, TablesToCheck, UsageError
from bidsapp.run.rois.placement import place, read_grid
from tests import dicom_series as made

TIMES = [round(made.INTERVAL * n, 4) for n in range(7)]


def quiet(text: str) -> None:
    """Take a line of progress."""


def run(dicom: Path, bids: Path, **options) -> list:
    """Convert without a check of the tables."""
    return prepare(Request(dicom, bids, accept=True, **options), quiet)


def failures(issues) -> list[str]:
    """Return the texts of failures."""
    return [str(issue) for issue in issues if issue.level == "failed"]


def table(bids: Path, name: str) -> list[dict[str, str]]:
    """Return the rows of a table of the data set."""
    return read_table(bids / "code" / "prepare" / f"{name}.tsv")


def edit(bids: Path, name: str, old: str, new: str) -> None:
    """Change a table as a user would."""
    path = bids / "code" / "prepare" / f"{name}.tsv"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def on_grid(image: Path) -> np.ndarray:
    """Return the voxels of an image on the grid of the series that were written."""
    loaded = nib.load(image)
    to = nib.orientations.io_orientation(made.affine())
    turned = loaded.as_reoriented(
        nib.orientations.ornt_transform(nib.orientations.io_orientation(loaded.affine), to)
    )
    assert np.allclose(turned.affine, made.affine(), atol=1e-4)
    return np.asarray(turned.dataobj)


def damage(path: Path, seed: int) -> None:
    """Change bytes of a header; every third file is also truncated."""
    draw = random.Random(seed)
    content = bytearray(path.read_bytes())
    for _ in range(draw.choice((1, 3, 10))):
        content[draw.randrange(132, min(3000, len(content)))] = draw.randrange(256)
    path.write_bytes(content[: draw.randrange(140, len(content))] if seed % 3 == 0 else content)


@pytest.fixture(scope="module")
def visits(tmp_path_factory) -> Path:
    """Two visits of a patient on a Philips scanner, the later one first on disk; and a plan."""
    folder = tmp_path_factory.mktemp("dicom")
    made.write_visit(folder / "a", made.Patient(date="20211002"))
    first = made.Patient()
    made.write_visit(folder / "b", first)
    made.write_plan(folder / "b", first, "20210901")
    return folder


@pytest.fixture(scope="module")
def prepared(visits, tmp_path_factory) -> Path:
    """The data set of these visits."""
    bids = tmp_path_factory.mktemp("bids")
    assert failures(run(visits, bids)) == []
    return bids


def test_nothing_is_converted_before_the_tables_are_checked(visits, tmp_path, capsys):
    """The first run writes the tables and ends with exit code 3; the second one converts."""
    arguments = ["prepare", str(visits), str(tmp_path / "bids")]
    assert main(arguments) == 3
    assert "check" in capsys.readouterr().err
    assert not list((tmp_path / "bids").glob("sub-*"))
    uses = {row["description"]: row["use"] for row in table(tmp_path / "bids", "series")}
    assert uses == {
        "DCE perfusion": "dce", "T1 3D post": "t1w", "DWI": "dwi", "three planes": "ignore",
        "MIP of T1": "ignore",
    }  # fmt: skip
    assert all(row["why"] for row in table(tmp_path / "bids", "series"))
    edit(tmp_path / "bids", "series", "dwi\t", "ignore\t")
    edit(tmp_path / "bids", "visits", "sub-01", "sub-A7")
    assert main(arguments) == 0
    names = sorted(p.name for p in (tmp_path / "bids" / "sub-A7").rglob("*.nii.gz"))
    assert names == [
        "sub-A7_ses-01_ce-gadolinium_T1w.nii.gz", "sub-A7_ses-01_dce.nii.gz",
        "sub-A7_ses-02_ce-gadolinium_T1w.nii.gz", "sub-A7_ses-02_dce.nii.gz",
    ]  # fmt: skip


def test_the_data_set_is_what_metperf_reads(prepared):
    """Frames, TR, agent, b-values and days are those of the scanner, in the order of dates."""
    session, later = Query(prepared).participant("01").sessions
    assert (session.label, session.days, later.days) == ("01", 1.0, 31.0)
    assert session.problems == ()
    assert session.dynamic is not None
    assert session.dynamic.times == pytest.approx([t / 60 for t in TIMES])
    assert session.dynamic.repetition_time == 0.004
    assert session.dynamic.agent == "GADOVIST"
    assert session.diffusion is not None
    assert session.diffusion.bvalues == (0.0, 200.0, 800.0)
    assert session.t1w is not None
    sidecar = json.loads(session.dynamic.image.with_name("sub-01_ses-01_dce.json").read_text())
    assert sidecar["ContrastBolusVolume"] == 7.5
    assert sidecar["VolumeTimingSource"] == "(2005,10A0)"


def test_voxels_are_those_of_the_scanner(prepared):
    """All voxels are at their place; the scaling of Philips for display is undone."""
    folder = prepared / "sub-01" / "ses-01"
    dce = on_grid(folder / "perf" / "sub-01_ses-01_dce.nii.gz")
    assert np.allclose(dce, made.images(7, 1) / 0.5)  # 2005,100E; the rescale slope cancels
    t1w = on_grid(folder / "anat" / "sub-01_ses-01_ce-gadolinium_T1w.nii.gz")
    assert np.allclose(t1w, made.images(1, 2)[..., 0] / 0.5)


def test_nothing_of_the_patient_is_in_the_data_set(prepared):
    """No name, identifier, date, hospital, device or UID is in a file or in its name."""
    secrets = [
        *made.SECRETS,
        "Babbage",
        "ENGINE1",
        "20211002",
        "20210901",
        "2021-09",
        "1.2.826.0.1",
    ]
    files = [path for path in prepared.rglob("*") if path.is_file()]
    assert len(files) > 15
    for path in files:
        content = path.read_bytes()
        if path.suffix == ".gz":
            content = gzip.decompress(content)[:352]  # the voxels are noise
        for secret in secrets:
            assert secret.lower().encode() not in content.lower(), (path, secret)
            assert secret.lower() not in str(path.relative_to(prepared)).lower()
    times = json.loads((prepared / "sub-01/ses-01/perf/sub-01_ses-01_dce.json").read_text())
    assert not any("UID" in name or "Date" in name or name == "AcquisitionTime" for name in times)


def test_a_name_in_a_description_is_removed(tmp_path):
    """The name of a series may contain that of the patient."""
    made.write_series(
        tmp_path / "d", "siemens", made.images(7), made.Patient(), 7, "DCE Lovelace 2021-09-02"
    )
    run(tmp_path / "d", tmp_path / "bids")
    assert table(tmp_path / "bids", "series")[0]["description"] == "DCE *** ***"


@pytest.mark.parametrize(
    ("maker", "source"), [("siemens", "AcquisitionTime"), ("ge", "TriggerTime")]
)
def test_times_of_frames_of_other_makers(tmp_path, maker, source):
    """Siemens states a time of day, GE the ms since the first frame; voxels are unchanged."""
    data = made.images(7, 8)
    made.write_series(tmp_path / "d", maker, data, made.Patient(), 7, "DCE")
    run(tmp_path / "d", tmp_path / "bids")
    image = tmp_path / "bids" / "sub-01/ses-01/perf/sub-01_ses-01_dce.nii.gz"
    sidecar = json.loads(image.with_name("sub-01_ses-01_dce.json").read_text())
    assert sidecar["VolumeTiming"] == pytest.approx(TIMES)
    assert sidecar["VolumeTimingSource"] == source
    assert np.array_equal(on_grid(image), data)
    assert nib.load(image).header["pixdim"][4] == pytest.approx(made.INTERVAL)


def test_an_enhanced_file(tmp_path):
    """One file with all frames: times of its frames, agent and dose, voxels in their place."""
    data = made.images(7, 9)
    made.write_enhanced(tmp_path / "d", data, made.Patient(), 7, "DCE")
    assert failures(run(tmp_path / "d", tmp_path / "bids")) == []
    image = tmp_path / "bids" / "sub-01/ses-01/perf/sub-01_ses-01_dce.nii.gz"
    sidecar = json.loads(image.with_name("sub-01_ses-01_dce.json").read_text())
    assert sidecar["VolumeTiming"] == pytest.approx(TIMES)
    assert sidecar["RepetitionTimeExcitation"] == 0.004
    assert (sidecar["ContrastBolusAgent"], sidecar["ContrastBolusVolume"]) == ("Gadobutrol", 7.5)
    assert np.array_equal(on_grid(image), data)


def test_series_of_one_frame_each_are_joined(tmp_path):
    """Scanners that store each frame as a series: one image, ordered by acquisition time."""
    data, patient = made.images(7, 10), made.Patient()
    for frame in range(7):
        clock = f"13000{frame}.000000"
        made.write_series(
            tmp_path / "d", "siemens", data[..., [frame]], patient, 90 - frame, "DCE",
        )  # fmt: skip
        for path in (tmp_path / "d" / f"{90 - frame:03d}").iterdir():
            ds = pydicom.dcmread(path)
            ds.AcquisitionTime = clock
            ds.save_as(path)
    run(tmp_path / "d", tmp_path / "bids")
    image = tmp_path / "bids" / "sub-01/ses-01/perf/sub-01_ses-01_dce.nii.gz"
    sidecar = json.loads(image.with_name("sub-01_ses-01_dce.json").read_text())
    assert sidecar["VolumeTiming"] == [0, 1, 2, 3, 4, 5, 6]
    assert np.array_equal(on_grid(image), data)


def test_times_that_nothing_states_are_reported(tmp_path):
    """The series is converted without times, and the option for the run is named."""
    made.write_series(tmp_path / "d", "ge", made.images(7), made.Patient(), 7, "DCE", timed=False)
    issues = run(tmp_path / "d", tmp_path / "bids")
    assert any("give --frame-time" in str(issue) for issue in issues if issue.level == "warning")
    sidecar = json.loads(next((tmp_path / "bids").rglob("*_dce.json")).read_text())
    assert "VolumeTiming" not in sidecar


def test_fields_that_contradict_each_other_state_no_times(tmp_path):
    """Two fields with other intervals: neither is used, both are named."""
    made.write_series(tmp_path, "philips", made.images(7), made.Patient(), 7, "DCE")
    for path in (tmp_path / "007").iterdir():
        ds = pydicom.dcmread(path)
        ds[0x200510A0].value = 3.0 * (ds.TemporalPositionIdentifier - 1)
        ds.save_as(path)
    (study,) = scan_folder(tmp_path, quiet).studies
    assert find_times(study.series[0]) == (
        [], "", "(2005,10A0) has intervals of 3 s, AcquisitionTime of 5.2 s",
    )  # fmt: skip


def test_flip_angles_are_recognised_and_need_their_scale(tmp_path):
    """Gradient echoes that differ in the flip angle are vfa; without the scale slope refused."""
    patient = made.Patient()
    for number, flip in ((4, "2"), (5, "10"), (6, "15")):
        slope = None if flip == "10" else 0.5
        made.write_series(
            tmp_path / "d", "philips", made.images(1, number), patient, number, f"T1 FA{flip}",
            FlipAngle=flip, scale_slope=slope,
        )  # fmt: skip
    issues = run(tmp_path / "d", tmp_path / "bids")
    (failure,) = failures(issues)
    assert "vfa, series 5: it is scaled for display" in failure
    names = sorted(p.name for p in (tmp_path / "bids").rglob("*.nii.gz"))
    assert names == ["sub-01_ses-01_flip-1_VFA.nii.gz", "sub-01_ses-01_flip-3_VFA.nii.gz"]
    assert not list((tmp_path / "bids").rglob("*flip-2*"))


def test_a_bad_series_does_not_stop_the_others(tmp_path):
    """A series with a missing slice is refused with its number; nothing of it is left behind."""
    made.write_visit(tmp_path / "d", made.Patient(), "siemens")
    next(iter(sorted((tmp_path / "d" / "007").iterdir()))).unlink()
    (tmp_path / "d" / "003" / "0001.dcm").write_bytes(b"\0" * 128 + b"DICM" + b"garbage")
    issues = run(tmp_path / "d", tmp_path / "bids")
    assert any("dce, series 7: its slices have 6 or 7 images" in text for text in failures(issues))
    names = {p.name for p in (tmp_path / "bids" / "sub-01").rglob("*.*")}
    assert "sub-01_ses-01_ce-gadolinium_T1w.nii.gz" in names
    assert not any("_dce" in name for name in names)
    assert not list((tmp_path / "bids").glob(".part-*"))


def test_damaged_files_are_reported_and_nothing_else_fails(tmp_path):
    """Bytes of 40 files are changed: each is read, or refused with its path."""
    made.write_enhanced(tmp_path / "d", made.images(6), made.Patient(), 7, "DCE")
    made.write_series(tmp_path / "d", "ge", made.images(6), made.Patient(), 8, "DCE")
    whole = (tmp_path / "d" / "007" / "IM_0001").read_bytes()
    for seed in range(20):
        made_file = tmp_path / "d" / "007" / f"IM_{seed}"
        made_file.write_bytes(whole)
        damage(made_file, seed)
        damage(tmp_path / "d" / "008" / f"{seed + 1:04d}.dcm", seed)
    scanned = scan_folder(tmp_path / "d", quiet)
    assert len(scanned.problems) > 5
    assert all(re.search(r"IM_\d+|\d{4}\.dcm", text) for text in scanned.problems)


def test_a_later_run_adds_what_is_new(visits, tmp_path):
    """Labels of earlier visits stay, images that exist are kept, and the new visit is added."""
    dicom, bids, key = tmp_path / "d", tmp_path / "bids", tmp_path / "key.tsv"
    shutil.copytree(visits / "b", dicom / "b")
    run(dicom, bids, key=key)
    image = bids / "sub-01/ses-01/perf/sub-01_ses-01_dce.nii.gz"
    before = image.stat().st_mtime_ns
    shutil.copytree(visits / "a", dicom / "a")
    other = made.Patient("PAT0815", "King^Ada", "20200101")
    made.write_series(dicom / "c", "siemens", made.images(1), other, 9, "T1 3D post")
    with pytest.raises(TablesToCheck, match="1 new kinds of series and 2 new studies"):
        prepare(Request(dicom, bids, key=key), quiet)
    issues = prepare(Request(dicom, bids, key=key), quiet)
    assert any("3 images exist and are kept" in str(issue) for issue in issues)
    assert image.stat().st_mtime_ns == before
    labels = [(row["participant_id"], row["session_id"]) for row in table(bids, "visits")]
    assert labels == [("sub-01", "ses-01"), ("sub-01", "ses-02"), ("sub-02", "ses-01")]
    rows = {row["patient_id"]: row["participant_id"] for row in read_table(key)}
    assert rows == {"PAT4711": "sub-01", "PAT0815": "sub-02"}
    run(dicom, bids, overwrite=True)
    assert image.stat().st_mtime_ns > before


def test_the_key_file_recognises_a_patient_without_the_earlier_files(visits, tmp_path):
    """Without it, a patient whose earlier DICOM is gone would be a new participant."""
    key = tmp_path / "key.tsv"
    run(visits / "b", tmp_path / "with", key=key)
    run(visits / "a", tmp_path / "with", key=key)
    run(visits / "b", tmp_path / "without")
    run(visits / "a", tmp_path / "without")
    assert [r["participant_id"] for r in table(tmp_path / "with", "visits")] == ["sub-01"] * 2
    assert {r["participant_id"] for r in table(tmp_path / "without", "visits")} == {
        "sub-01", "sub-02",
    }  # fmt: skip
    with pytest.raises(UsageError, match="is in the data set"):
        run(visits, tmp_path / "with", key=tmp_path / "with" / "key.tsv")


def test_two_series_of_one_use_are_refused_until_one_is_left_out(tmp_path):
    """A repeated series is not chosen by the program; its number in leave_out decides."""
    patient = made.Patient()
    for number in (7, 8):
        made.write_series(tmp_path / "d", "siemens", made.images(7, number), patient, number, "DCE")
    bids = tmp_path / "bids"
    said: list[str] = []
    with pytest.raises(TablesToCheck):
        prepare(Request(tmp_path / "d", bids), said.append)
    assert said[-1].startswith("failed: sub-01 ses-01: several series are used as dce: 7")
    (failure,) = failures(run(tmp_path / "d", bids))
    assert "several series are used as dce: 7 (DCE, 7 volumes), 8 (DCE, 7 volumes)" in failure
    edit(bids, "visits", "7 dce; 8 dce\tn/a", "7 dce; 8 dce\t7")
    assert failures(run(tmp_path / "d", bids)) == []
    assert np.array_equal(on_grid(next(bids.rglob("*_dce.nii.gz"))), made.images(7, 8))


def test_wrong_cells_of_the_tables_are_reported_at_once(visits, tmp_path):
    """All of them, with the line and what is allowed."""
    with pytest.raises(TablesToCheck):
        prepare(Request(visits, tmp_path), quiet)
    edit(tmp_path, "series", "dce\t", "DEC\t")
    edit(tmp_path, "visits", "sub-01\tses-01", "sub 01\tses-01")
    with pytest.raises(BadInput, match=r"(?s)use is 'DEC'.*participant_id is 'sub 01'"):
        prepare(Request(visits, tmp_path), quiet)


def test_the_date_of_treatment(visits, tmp_path):
    """One date for one patient, a table for several; other texts are refused."""
    run(visits, tmp_path / "one", treatment_date="2021-08-23")
    sessions = (tmp_path / "one/sub-01/sub-01_sessions.tsv").read_text()
    assert sessions == "session_id\tdays_since_treatment\nses-01\t10\nses-02\t40\n"
    stated = tmp_path / "dates.tsv"
    stated.write_text("patient\tdate\nPAT4711\t20210902\n")
    with pytest.raises(TablesToCheck):
        prepare(Request(visits, tmp_path / "two", str(stated)), quiet)
    assert [row["days_since_treatment"] for row in table(tmp_path / "two", "visits")] == ["0", "30"]
    with pytest.raises(UsageError, match="neither a date such as 2024-03-01 nor a file"):
        run(visits, tmp_path / "three", treatment_date="yesterday")


def test_contours_are_recognised_by_the_frame_of_reference(prepared, visits):
    """The sidecar has a pseudonym of its UID: contours in it are placed, others are refused."""
    t1w = read_grid(next((prepared / "sub-01" / "ses-01").rglob("*_T1w.nii.gz")))
    dicom = pydicom.dcmread(next((visits / "b" / "009").iterdir()))
    same, other = (Drawing("RTSTRUCT", (), frame=uid) for uid in (dicom.FrameOfReferenceUID, "1.2"))
    assert "same frame" in place(same, (), t1w, prepared, aligned=False).basis
    with pytest.raises(BadInput, match="drawn on another image"):
        place(other, (), t1w, prepared, aligned=False)


def test_doubts_about_who_is_who_are_reported(tmp_path):
    """Two names under one PatientID, and studies without either, which are not merged."""
    people = [("PAT1", "Lovelace^Ada"), ("PAT1", "Babbage^Charles"), ("", ""), ("", "")]
    for n, (number, name) in enumerate(people):
        patient = made.Patient(number, name, f"2021090{n + 1}")
        made.write_series(tmp_path / str(n), "siemens", made.images(1), patient, 9, "T1 3D post")
    texts = [str(issue) for issue in run(tmp_path, tmp_path / "bids")]
    assert any("sub-01: its studies have different names of the patient" in t for t in texts)
    assert any("2 studies have neither PatientID nor name" in t for t in texts)
    labels = [row["participant_id"] for row in table(tmp_path / "bids", "visits")]
    assert labels == ["sub-01", "sub-01", "sub-02", "sub-03"]


def test_b_values_in_the_private_field_of_ge(tmp_path):
    """Older software of GE states them there only, with 100,000 s added."""
    made.write_series(
        tmp_path, "ge", made.images(3), made.Patient(), 3, "Ax DWI", timed=False,
        ScanningSequence=["EP", "SE"], RepetitionTime="5000",
    )  # fmt: skip
    for path in (tmp_path / "003").iterdir():
        ds = pydicom.dcmread(path)
        ds.add_new(0x00430010, "LO", "GEMS_PARM_01")
        b_value = (0, 200, 800)[(ds.InstanceNumber - 1) // made.SHAPE[2]]
        ds.add_new(0x00431039, "IS", [1_000_000_000 + b_value, 8, 0, 0])
        ds.save_as(path)
    (study,) = scan_folder(tmp_path, quiet).studies
    assert study.series[0].b_values == [0, 200, 800]
    assert propose(group_kinds([study]))[kind_of(study.series[0])].use == "dwi"


def test_pseudonyms_depend_on_the_salt():
    """Pseudonyms of two data sets cannot be joined; those of one data set are stable."""
    assert pseudonym("1.2.3", "a") == pseudonym("1.2.3", "a") != pseudonym("1.2.3", "b")


def test_an_image_that_is_mirrored_is_refused(tmp_path):
    """Slices in another order than the headers state are found, whatever the converter says."""
    data = made.images(7, 11)
    made.write_series(tmp_path, "siemens", data, made.Patient(), 7, "DCE")
    (study,) = scan_folder(tmp_path, quiet).studies
    right, mirrored, late = (tmp_path / f"{name}.nii" for name in ("right", "mirrored", "late"))
    for path, voxels in ((right, data), (mirrored, data[:, :, ::-1]), (late, data[..., ::-1])):
        nib.save(nib.Nifti1Image(voxels, made.affine()), path)
    assert check_placement(right, study.series[0], in_time=True) == ""
    with pytest.raises(BadInput, match="in another order, or mirrored"):
        check_placement(mirrored, study.series[0], in_time=False)
    with pytest.raises(BadInput, match="in another order, or mirrored"):
        check_placement(late, study.series[0], in_time=True)


def test_a_folder_without_images_is_refused(tmp_path):
    """What it has instead is named."""
    (tmp_path / "notes.txt").write_text("no DICOM")
    made.write_plan(tmp_path, made.Patient(), "20210901")
    with pytest.raises(NothingToAnalyse, match="it has 1 RTPLAN"):
        prepare(Request(tmp_path, tmp_path / "bids"), quiet)


def test_copies_of_a_file_count_once(tmp_path):
    """An export that was merged into another one does not double the volumes."""
    made.write_series(tmp_path, "siemens", made.images(7), made.Patient(), 7, "DCE")
    shutil.copytree(tmp_path / "007", tmp_path / "copy")
    (study,) = scan_folder(tmp_path, quiet).studies
    assert study.series[0].volumes == 7


@pytest.mark.parametrize(
    ("description", "fields", "volumes", "use"),
    [
        ("Survey", {}, 1, "ignore"),
        ("ep2d_diff_ADC", {"ImageType": ["DERIVED", "PRIMARY", "DIFFUSION", "ADC"]}, 1, "ignore"),
        ("T1 map", {}, 1, "t1map"),
        ("T2 FLAIR 3D", {"RepetitionTime": "8000", "ScanningSequence": "SE"}, 1, "ignore"),
        ("DSC", {"ScanningSequence": ["EP", "GR"], "RepetitionTime": "1500"}, 7, "ignore"),
        ("b0_revPE", {"ScanningSequence": ["EP", "SE"], "RepetitionTime": "5000"}, 1, "fmap"),
        ("t1_vibe_dyn", {}, 7, "dce"),
        ("T1 phase", {"ImageType": ["ORIGINAL", "PRIMARY", "P"]}, 1, "ignore"),
    ],
)
def test_proposed_uses(tmp_path, description, fields, volumes, use):
    """Each proposal has a reason."""
    made.write_series(
        tmp_path, "siemens", made.images(volumes), made.Patient(), 5, description, **fields
    )
    headers = [read_header(path) for path in sorted((tmp_path / "005").iterdir())]
    (study,) = group_headers([h for h in headers if h]).studies
    proposal = propose(group_kinds([study]))[kind_of(study.series[0])]
    assert proposal.use == use
    assert proposal.why


def test_of_two_t1w_the_one_after_the_contrast_agent_is_proposed(tmp_path):
    """The other one is ignored, with the reason."""
    patient = made.Patient()
    anatomy = {"RepetitionTime": "1900", "ScanningSequence": ["GR", "IR"]}
    made.write_series(tmp_path, "siemens", made.images(1), patient, 2, "t1_mprage", **anatomy)
    made.write_series(tmp_path, "siemens", made.images(1), patient, 9, "t1_mprage +C", **anatomy)
    scanned = scan_folder(tmp_path, quiet)
    found = {k.description: p for k, p in propose(group_kinds(scanned.studies)).items()}
    assert found["t1_mprage +C"].use == "t1w"
    assert found["t1_mprage"].use == "ignore"
    assert "before the contrast agent" in found["t1_mprage"].why
