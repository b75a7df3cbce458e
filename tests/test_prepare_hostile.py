"""``metperf prepare`` with folders and tables as people have them: mistakes are found and named."""

import re
import shutil
import unicodedata
import zipfile
from pathlib import Path

import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bidsapp.bids.tables import read_table
from bidsapp.cli.main import main
from bidsapp.conversion.dicom import scan
from bidsapp.conversion.dicom.kinds import has_contrast
from bidsapp.conversion.dicom.prepare import Request, prepare
from bidsapp.conversion.dicom.scan import scan_folder
from bidsapp.conversion.personal import remove_personal
from bidsapp.errors import BadInput, NothingToAnalyse, TablesToCheck, UsageError
from tests import dicom_series as made


def run(dicom: Path, bids: Path, **options) -> list[str]:
    """Convert without a check of the tables; return the texts of the issues."""
    issues = prepare(Request(dicom, bids, accept=True, **options), lambda text: None)
    return [f"{issue.level}: {issue}" for issue in issues]


def write_t1w(folder: Path, patient: made.Patient, description: str = "T1 3D post") -> None:
    """Write the T1w of a visit."""
    made.write_series(folder, "siemens", made.images(1), patient, 9, description)


def change(folder: Path, **fields) -> None:
    """Set fields in all files of a folder; None removes one."""
    for path in sorted(folder.rglob("*.dcm")):
        ds = pydicom.dcmread(path)
        for name, value in fields.items():
            if value is None:
                delattr(ds, name)
            else:
                setattr(ds, name, value)
        ds.save_as(path)


@pytest.fixture
def two(tmp_path) -> tuple[Path, Path]:
    """Two patients with a T1w each, and the data set made of them."""
    for number in range(2):
        patient = made.Patient(f"P{number}77", f"Name{number}^Ada", "20210902")
        write_t1w(tmp_path / "d" / str(number), patient)
    run(tmp_path / "d", tmp_path / "bids")
    return tmp_path / "d", tmp_path / "bids"


def edit(bids: Path, name: str, *changes: tuple[str, str]) -> None:
    """Change a table as a user would."""
    path = bids / "code" / "prepare" / f"{name}.tsv"
    text = path.read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    path.write_text(text)


WORDS = ("Müller-Lüdenscheidt^Wu", "Müller", "Wu", "PAT4711-22", "1815-12-10", "10-12-15")


@pytest.mark.parametrize(
    "text",
    [
        "T1 {Mueller} post", "{Muller} T1", "{MÜLLER} T1", "T1{Mueller}Post", "t1 {WU}_post",
        "{PAT 4711 22} t1", "{pat471122} t1", "geb.{10.12.15} t1", "t1 {1815_12_10}",
        "t1 {02.09.2021}", "t1 {2021 09 02}", "{02SEP2021} t1", "{2. September 2021} t1",
        "{20210902130000} t1", "t1 {1.2.840.113619.2.1}", "{9/2/2021} t1", "T1 3D 0.9 1.0.1 2x2x4",
        "DWI b0 50 200 800", "ep2d 1_2_10", "Wurzel", "t1 1234 2050",
    ],
)  # fmt: skip
def test_personal_words_are_removed_however_they_are_written(text):
    """Accents, separators, letter case, order and form of dates; other words stay."""
    kept = text.translate({ord("{"): None, ord("}"): None})
    start, end = text.find("{"), text.find("}")
    wanted = text[:start] + "***" + text[end + 1 :] if start >= 0 else text
    assert remove_personal(kept, WORDS) == wanted


@given(
    name=st.text("abcxyzäöüéñ", min_size=6, max_size=12),
    number=st.integers(100_000, 99_999_999),
    around=st.tuples(*[st.sampled_from(["", "T1 ", "_3D_", "-post", "DCE", " b0 "])] * 3),
    mark=st.sampled_from(["", " ", "_", "-", ". "]),
    upper=st.booleans(),
    form=st.sampled_from(["NFC", "NFD"]),
)
def test_no_text_keeps_a_long_name_or_number(name, number, around, mark, upper, form):
    """Of six characters or more, in any letter case, form of accents and place in the text."""
    before, between, after = around
    text = f"{before}{name.upper() if upper else name}{mark}{between}{mark}{number}{after}"
    kept = remove_personal(unicodedata.normalize(form, text), [name, str(number)])
    assert name not in unicodedata.normalize("NFC", kept).lower()
    assert not re.search(rf"(?<!\d){number}(?!\d)", kept)


def test_fields_into_which_people_type_are_searched(tmp_path):
    """Names in ImageType, names of sequence, coil and software; the words of DICOM remain."""
    write_t1w(tmp_path / "d", made.Patient())
    name = "Lovelace"
    change(
        tmp_path / "d", ImageType=["ORIGINAL", "PRIMARY", "M", name.upper()], ReceiveCoilName=name,
        SequenceName=f"*fl3d_{name}", SoftwareVersions=f"{name} E11", ScanOptions=name.upper(),
        ContrastBolusAgent=f"Gadovist {name} 02.09.2021",
    )  # fmt: skip
    run(tmp_path / "d", tmp_path / "bids")
    texts = [p.read_text() for p in (tmp_path / "bids").rglob("*.*") if p.suffix != ".gz"]
    assert not any(name.lower() in text.lower() or "2021" in text for text in texts)
    sidecar = next((tmp_path / "bids").rglob("*_T1w.json")).read_text()
    assert '"Manufacturer": "Siemens"' in sidecar
    assert "Gadovist" in sidecar


def test_a_name_like_a_term_of_dicom_changes_no_proposal(tmp_path):
    """A patient called Gr, and a study without a date, which is reported."""
    made.write_series(
        tmp_path / "d", "siemens", made.images(7), made.Patient("SP1", "GR^Se", ""), 7, "DCE"
    )
    texts = " ".join(run(tmp_path / "d", tmp_path / "bids"))
    assert "1 studies have no date" in texts
    (row,) = read_table(tmp_path / "bids/code/prepare/series.tsv")
    assert (row["use"], row["sequence"]) == ("dce", "GR SP OSP *fl3d1")


def test_one_patient_with_several_identifiers_is_reported(tmp_path):
    """PatientIDs that differ in case and blanks, and the same name with another PatientID."""
    people = [("PAT1", "A^B"), ("pat 1", "C^D"), ("X2", "Иванов^И"), ("X3", "ИВАНОВ^И")]
    for n, (number, name) in enumerate(people):
        write_t1w(tmp_path / "d" / str(n), made.Patient(number, "", f"2021090{n + 1}"))
        change(tmp_path / "d" / str(n), SpecificCharacterSet="ISO_IR 192", PatientName=name)
    texts = " ".join(run(tmp_path / "d", tmp_path / "bids"))
    assert "sub-01, sub-02: the same name, or PatientIDs" in texts
    assert "sub-03, sub-04: the same name, or PatientIDs" in texts
    edit(tmp_path / "bids", "visits", ("sub-02", "sub-01"))
    assert "sub-01 ses-01: has studies of 2 days" in " ".join(
        run(tmp_path / "d", tmp_path / "bids")
    )


def test_a_study_of_several_patients_is_refused(tmp_path):
    """As programs write it that give all studies the same UID; so is one without a UID."""
    for n in range(2):
        patient = made.Patient(f"P{n}", f"N{n}^A", study="1.2.826.0.1.5")
        write_t1w(tmp_path / "d" / str(n), patient)
    with pytest.raises(NothingToAnalyse, match="its study has files of 2 patients"):
        run(tmp_path / "d", tmp_path / "bids")
    change(tmp_path / "d", StudyInstanceUID=None)
    with pytest.raises(NothingToAnalyse, match="its study has no StudyInstanceUID"):
        run(tmp_path / "d", tmp_path / "bids")


def test_a_data_set_of_another_origin_is_not_extended(two, tmp_path):
    """A new sub-01 would be mistaken for the one that is there; lost tables are no new start."""
    dicom, bids = two
    (tmp_path / "other" / "sub-01" / "ses-01").mkdir(parents=True)
    with pytest.raises(UsageError, match=r"has participants that .* has not made \(sub-01\)"):
        run(dicom, tmp_path / "other")
    (bids / "code/prepare/visits.json").unlink()
    with pytest.raises(BadInput, match=r"visits\.json: is missing, and with it the salt"):
        run(dicom, bids)
    with pytest.raises(SystemExit):
        main(["prepare", str(dicom), str(dicom)])


def test_images_whose_row_was_changed_are_reported(two):
    """Labels or uses changed after the conversion: no image is taken for another in silence."""
    dicom, bids = two
    edit(bids, "visits", ("sub-01", "sub-0X"), ("sub-02", "sub-01"), ("sub-0X", "sub-02"))
    failed = [text for text in run(dicom, bids) if text.startswith("failed")]
    assert len(failed) == 2
    assert all("was made from series" in text and "--overwrite" in text for text in failed)
    assert not [text for text in run(dicom, bids, overwrite=True) if text.startswith("failed")]
    edit(bids, "visits", ("sub-02", "sub-07"))
    (failed,) = [text for text in run(dicom, bids) if text.startswith("failed")]
    assert "sub-02/ses-01/anat/sub-02_ses-01_ce-gadolinium_T1w.nii.gz: was made from" in failed
    edit(bids, "series", ("t1w\t", "ignore\t"))
    assert sum("remove its files" in text for text in run(dicom, bids)) == 3


def test_tables_as_spreadsheets_save_them(two):
    """UTF-16 is read; repeated rows, days that are no numbers and unknown series are reported."""
    dicom, bids = two
    table = bids / "code/prepare/series.tsv"
    table.write_text(table.read_text().replace("\n", "\r\n"), encoding="utf-16")
    edit(bids, "visits", ("9 t1w\tn/a", "9 t1w\t99"))
    texts = run(dicom, bids)
    assert "names series that are not there: [99]" in " ".join(texts)
    assert not any(text.startswith("failed") for text in texts)
    content = table.read_text(encoding="utf-16")
    table.write_text(content + content.splitlines()[1] + "\n")
    edit(bids, "visits", ("\tn/a\tn/a\t", "\tnan\tn/a\t"))
    with pytest.raises(BadInput, match=r"(?s)line 3: repeats another line.*is 'nan'"):
        run(dicom, bids)


def test_dates_of_treatment_that_cannot_be_right(two, tmp_path):
    """All of a table at once; patients that are not there, and participants without a date."""
    dicom, _ = two
    dates = tmp_path / "dates.tsv"
    rows = ("P077\t2210-01-01", "P177\t1.8.2021", "P2\t2021-08-01", "P2\t2021-08-02")
    dates.write_text("\n".join(("patient\tdate", *rows)) + "\n")
    with pytest.raises(BadInput, match=r"(?s)in the future.*is no date.*P2 has another date"):
        run(dicom, tmp_path / "a", treatment_date=str(dates))
    dates.write_text("patient\tdate\nP77\t2021-08-01\nP177\t2012-08-02\n")
    texts = " ".join(run(dicom, tmp_path / "b", treatment_date=str(dates)))
    assert "1 patients are not in the folder, such as 'P77'" in texts
    assert "no date of treatment is known of sub-01" in texts
    assert "sub-02 ses-01: is 3318 days from the treatment: is the year of its date right?" in texts


def test_files_that_are_not_read_are_counted(tmp_path, monkeypatch):
    """Archives, files without the mark of DICOM; linked folders are read; progress has a total."""
    write_t1w(tmp_path / "elsewhere", made.Patient())
    (tmp_path / "d").mkdir()
    with zipfile.ZipFile(tmp_path / "d" / "old.ZIP", "w") as archive:
        archive.writestr("a", "b")
    with pytest.raises(NothingToAnalyse, match="it has 1 archives: unpack them"):
        scan_folder(tmp_path / "d", print)
    (tmp_path / "d" / "linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "loop").symlink_to(tmp_path / "d")
    (tmp_path / "d" / "._0001.dcm").write_bytes(b"\0\5\x16\7")
    (tmp_path / "d" / "notes.txt").write_text("no DICOM")
    monkeypatch.setattr(scan, "_PAUSE", -1)
    said: list[str] = []
    scanned = scan_folder(tmp_path / "d", said.append)
    assert said[-1] == "6 of 6 files read"
    assert [len(study.series[0].files) for study in scanned.studies] == [4]
    assert scanned.others == {scan.ARCHIVES: 1, scan.NO_DICOM: 1}


def test_a_series_without_instance_numbers_is_whole(tmp_path):
    """Nor one whose files share a UID: only copies count once, of which the longest is used."""
    made.write_series(tmp_path, "siemens", made.images(7), made.Patient(), 7, "DCE")
    change(tmp_path, InstanceNumber=None, TemporalPositionIdentifier=None)
    first = sorted((tmp_path / "007").iterdir())[0]
    (tmp_path / "a.dcm").write_bytes(first.read_bytes()[:-40])
    (tmp_path / "z.dcm").write_bytes(first.read_bytes()[:-40])
    ((series,),) = (study.series for study in scan_folder(tmp_path, print).studies)
    assert (series.volumes, first in series.files) == (7, True)
    made.write_series(tmp_path / "b", "siemens", made.images(7), made.Patient(), 7, "DCE")
    change(tmp_path / "b", SOPInstanceUID="1.2.3")
    ((series,),) = (study.series for study in scan_folder(tmp_path / "b", print).studies)
    assert series.volumes == 7


def test_a_killed_run_leaves_nothing_in_the_data_set(two, monkeypatch):
    """DICOM and what dcm2niix makes of it are outside; what remains is removed by the next run."""
    dicom, bids = two
    seen: list[Path] = []

    def convert(series, use, folder):
        seen.append(folder)
        raise BadInput("stopped")

    monkeypatch.setattr("bidsapp.conversion.dicom.prepare.convert", convert)
    (bids / ".part-old" / "nifti").mkdir(parents=True)
    (bids / "code/prepare/.part-x").touch()
    shutil.rmtree(bids / "sub-01")
    run(dicom, bids)
    assert len(seen) == 1
    assert not seen[0].is_relative_to(bids)
    assert not list(bids.rglob(".part-*"))


@pytest.mark.parametrize(
    ("description", "after"),
    [
        ("T1 3D après injection", True), ("T1 nach KM", True), ("T1 con contraste", True),
        ("T1 ohne KM", False), ("T1 sans gado", False), ("T1 sin contraste", False),
        ("T1 senza mdc", False), ("T1_pre_contrast", False), ("T1 MPRAGE nativ", False),
        ("T1 presat +C", True), ("T1 sinc_post", True),
    ],
)  # fmt: skip
def test_contrast_agent_in_names_of_other_languages(tmp_path, description, after):
    """Before or after: the word for without is stronger than that for the agent."""
    write_t1w(tmp_path, made.Patient(), description)
    ((series,),) = (study.series for study in scan_folder(tmp_path, print).studies)
    assert has_contrast(series) is after


def test_a_dynamic_series_in_parts_is_not_converted_in_silence(tmp_path):
    """The part before the injection is named as such; used as well, both are refused."""
    patient = made.Patient()
    made.write_series(tmp_path / "d", "siemens", made.images(2), patient, 7, "DCE pre")
    made.write_series(tmp_path / "d", "siemens", made.images(8), patient, 8, "DCE post")
    with pytest.raises(TablesToCheck):
        prepare(Request(tmp_path / "d", tmp_path / "bids"), lambda text: None)
    rows = read_table(tmp_path / "bids/code/prepare/series.tsv")
    assert rows[1]["why"] == "2 volumes: a part of a dynamic series? Not joined"
    edit(tmp_path / "bids", "series", ("ignore\t", "dce\t"))
    assert "before and after the injection, are not joined" in " ".join(
        run(tmp_path / "d", tmp_path / "bids")
    )


def test_check_takes_no_level(tmp_path, capsys):
    """The level of a run, typed after the data set, is named as what to leave out."""
    with pytest.raises(SystemExit):
        main(["check", str(tmp_path), "participant"])
    said = capsys.readouterr().err
    assert "leave out participant: metperf check takes only bids_dir" in said


def test_a_truncated_file_is_named(tmp_path):
    """The series is refused with the path of its file, not that of a temporary link."""
    made.write_series(tmp_path / "d", "siemens", made.images(7), made.Patient(), 7, "DCE")
    file = tmp_path / "d" / "007" / "0010.dcm"
    file.write_bytes(file.read_bytes()[:-100])
    (text,) = [text for text in run(tmp_path / "d", tmp_path / "bids") if "cannot convert" in text]
    assert f"not large enough to store image data: {file}" in text
