"""What a data set cannot make a run do, and what of a patient does not come out."""

import gzip
import json
import os
import re
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from datasets import write_image, write_json
from hostile import dry, edit_json, raw, roi, run, write_study

from bidsapp.bids import outputs
from bidsapp.bids.derivatives import compress_image
from bidsapp.bids.query import Query
from bidsapp.bids.records import Session
from bidsapp.run.nodes.niimath import Allineate

SOURCES = sorted((Path(__file__).parent.parent / "bidsapp").rglob("*.py"))
SECRETS = ("Jane Doe", "1970-01-01T", "09:41:07", "SN12345", "St Elsewhere")
PERSONAL = {
    "PatientName": "Jane Doe",
    "AcquisitionDateTime": "1970-01-01T09:41:07",
    "AcquisitionTime": "09:41:07",
    "DeviceSerialNumber": "SN12345",
    "InstitutionName": "St Elsewhere",
}


@pytest.fixture
def root(tmp_path):
    return write_study(tmp_path / "bids", ("a",))


@pytest.mark.parametrize(
    "bad",
    [
        r"\bimport (pickle|shelve|marshal|dill)\b|allow_pickle=True",
        r"shell=True|os\.system|os\.popen",
        r"\beval\(|\bexec\(",
        r"yaml\.load\(|unsafe_load",
        r"urllib\.request|requests|http\.client|import socket",
    ],
)
def test_the_source_has_no_way_to(bad):
    """No pickle, shell, evaluation, unsafe YAML or network in our own code."""
    found = [p.name for p in SOURCES if re.search(bad, p.read_text(encoding="utf-8"))]
    assert found == []


def test_niimath_is_asked_without_a_shell(tmp_path):
    """A file whose name is a command is only a file."""
    name = tmp_path / "a'$(touch owned);touch owned.nii"
    data = np.random.default_rng(0).normal(100, 9, (16, 16, 16)).astype(np.float32)
    write_image(name, data, np.diag([4.0, 4, 4, 1]))
    engine = Allineate(in_file=str(name), base=str(name), cost="ls", warp="sho")
    assert engine.run(cwd=tmp_path).runtime.returncode == 0
    assert not list(tmp_path.rglob("owned"))


def test_no_path_of_a_sidecar_is_followed(root, capsys, tmp_path):
    """``IntendedFor`` and ``B0FieldSource`` only choose among the session's own images."""
    outside = tmp_path / "outside.nii.gz"
    outside.write_bytes(b"not to be read")
    stem = root / "sub-01/ses-a/fmap/sub-01_ses-a"
    write_image(Path(f"{stem}_fieldmap.nii.gz"), np.ones((6, 6, 4), np.float32))
    away = [f"bids::../../{outside.name}", str(outside), "../../../../etc/passwd"]
    write_json(Path(f"{stem}_fieldmap.json"), {"Units": "Hz", "IntendedFor": away})
    write_json(
        raw(root, "dwi.nii.gz").with_name("sub-01_ses-a_dwi.json"),
        {"PhaseEncodingDirection": "j", "TotalReadoutTime": 0.03, "B0FieldSource": away},
    )
    found = Query(root).participant("01").sessions[0].distortion
    assert found.source is None
    assert "no image in fmap is intended for the DWI" in found.lack
    assert dry(root, capsys).code == 0


@pytest.mark.parametrize("label", ["../x", "a/b", "<b>", "a b", ""])
def test_a_label_that_is_none_selects_nothing(root, capsys, label):
    """Labels with anything but letters and digits are unknown: exit 18, and nothing is written."""
    outcome = dry(root, capsys, "--participant-label", label)
    assert outcome.code == 18
    assert "has no participant" in outcome.err


def test_output_names_know_their_entities():
    """An unknown entity never becomes part of a name."""
    with pytest.raises(ValueError, match="dwimap has no entity evil"):
        outputs.DWI_MAP.path(Session("01", "a"), evil="x")


def test_nothing_personal_comes_out(root, capsys):
    """Names, dates, serial numbers of sidecars, tables and headers are in no result or page."""
    edit_json(raw(root, "dce.json"), **PERSONAL)
    write_json(raw(root, "dwi.nii.gz").with_name("sub-01_ses-a_dwi.json"), PERSONAL)
    (root / "sub-01/sub-01_sessions.tsv").write_text(
        "session_id\tdays_since_treatment\tacq_time\toperator\n"
        "ses-a\t0\t1970-01-01T09:41:07\tJane Doe\n"
    )
    for path in (raw(root, "dwi.nii.gz"), roi(root, "space-dwi_seg-enhancing_dseg.nii.gz")):
        image = nib.load(path)
        image = nib.Nifti1Image(np.asarray(image.dataobj), image.affine, image.header)
        image.header["descrip"] = b"Jane Doe SN12345"
        image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", b"Jane Doe" * 4))
        nib.save(image, path)
    assert run(root, capsys).code == 0
    out = [p for p in (root.parent / "out").rglob("*") if p.is_file() and ".work" not in p.parts]
    assert {".gz", ".json", ".tsv", ".html", ".toml"} <= {path.suffix for path in out}
    for path in out:
        content = path.read_bytes()
        content = gzip.decompress(content) if path.suffix == ".gz" else content
        leaked = [s for s in SECRETS if s.encode() in content]
        assert not leaked, f"{path}: {leaked}"


def test_dates_are_kept_when_asked(root, capsys):
    """`--keep-dates`: sidecars of maps have the acquisition time, and no other personal data."""
    edit_json(raw(root, "dce.json"), **PERSONAL)
    assert run(root, capsys, "--keep-dates").code == 0
    folder = root.parent / "out/sub-01/ses-a/perf"
    outcome = json.loads((folder / "sub-01_ses-a_model-etofts_param-ve_dcemap.json").read_text())
    date = PERSONAL["AcquisitionDateTime"]
    assert outcome["AcquisitionDateTime"] == date
    others = [secret for secret in SECRETS if secret not in date]
    assert not [secret for secret in others if secret in json.dumps(outcome)]


@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
@pytest.mark.parametrize("extension", [".nii", ".nii.gz"])
def test_a_copied_image_has_its_voxels_and_no_words(tmp_path, kind, extension):
    """Voxels, orientation and scale are those of the source; words and extensions are blank."""
    data = np.random.default_rng(0).normal(size=(5, 4, 3)).astype(np.float32)
    image = kind(data, np.diag([2.0, 3, 4, 1]))
    image.set_data_dtype(np.int16)
    image.header["descrip"] = b"Jane Doe"
    image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", b"Jane Doe"))
    source, target = tmp_path / f"a{extension}", tmp_path / "b.nii.gz"
    nib.save(image, source)
    compress_image(source, target)
    before, after = nib.load(source), nib.load(target)
    np.testing.assert_array_equal(after.dataobj, before.dataobj)
    np.testing.assert_array_equal(after.affine, before.affine)
    assert b"Jane Doe" not in gzip.decompress(target.read_bytes())
    assert list(after.header.extensions) == []


def test_results_follow_the_umask(root, capsys):
    """With a umask of 027 results are readable by the group and by no one else."""
    before = os.umask(0o027)
    try:
        assert run(root, capsys).code == 0
    finally:
        os.umask(before)
    out = root.parent / "out"
    modes = {p.stat().st_mode & 0o777 for p in out.glob("sub-01/ses-a/*/*") if p.is_file()}
    assert modes == {0o640}
