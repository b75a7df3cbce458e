"""The node that brings the arterial input: its inputs, messages and errors."""

import csv
import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from nipype.interfaces.base import isdefined

from bidsapp.errors import BadInput, FitError
from bidsapp.models.contrast.aif import POPULATION, parker2006
from bidsapp.models.contrast.spgr import contrast_r1, spgr_signal
from bidsapp.run.nodes.perfusion import FindArterialInput, FindReferenceFrame

TIME = np.arange(60) * 5.2 / 60
ACQUISITION = {"repetition_time": 0.004, "flip_angle": 0.26, "relaxivity": 4.5}


def write(path, data):
    nib.save(nib.Nifti1Image(data, np.diag([2, 2, 2, 1])), path)
    return str(path)


def signal_of(blood):
    r1 = contrast_r1(blood, 1.65, ACQUISITION["relaxivity"])
    return 1000 * spgr_signal(r1, ACQUISITION["repetition_time"], ACQUISITION["flip_angle"])


@pytest.fixture
def series(tmp_path, monkeypatch):
    """Tissue, and in it an artery of 4 voxels among 12 that it fills by half."""
    monkeypatch.chdir(tmp_path)
    share = np.zeros((12, 12, 3))
    share[4:8, 4:8, 1], share[5:7, 5:7, 1] = 0.5, 1.0
    tissue = signal_of(0.1 * (TIME > 0.6))
    data = share[..., None] * signal_of(parker2006(TIME, 0.51)) + (1 - share[..., None]) * tissue
    data += np.random.default_rng(0).normal(0, 0.1, data.shape)
    return write(tmp_path / "dce.nii", data.astype(np.float32)), share


def found(series, source, **inputs):
    node = FindArterialInput(in_file=series, source=source, times=TIME.tolist(), **ACQUISITION)
    node.inputs.trait_set(t1_blood=1.65, haematocrit=0.42, **inputs)
    return node.run().outputs


def column(path, name):
    with Path(path).open(newline="") as stream:
        return np.array([float(row[name]) for row in csv.DictReader(stream, delimiter="\t")])


@pytest.mark.parametrize("source", ["roi", "auto"])
def test_the_voxels_that_were_averaged_are_written(series, source, tmp_path):
    """The mask holds the artery alone, the table the course of each voxel, the input their mean."""
    path, share = series
    mask = write(tmp_path / "mask.nii", (share > 0).astype(np.uint8))
    outputs = found(path, source, **({"artery": mask} if source == "roi" else {}))
    taken = np.asarray(nib.load(outputs.mask).dataobj) > 0
    np.testing.assert_array_equal(taken, share == 1)
    blood = column(outputs.out_file, "blood")
    assert blood.max() == pytest.approx(parker2006(TIME, 0.51).max(), rel=0.1)
    courses = [column(outputs.voxels, f"voxel-{n}") for n in range(1, 5)]
    np.testing.assert_allclose(np.mean(courses, axis=0), blood, atol=0.2)
    np.testing.assert_allclose(column(outputs.voxels, "time"), TIME * 60, atol=1e-3)


@pytest.fixture
def with_sinus(series, tmp_path):
    """The series, with a sinus that follows the artery by 6 s."""
    data = np.asarray(nib.load(series[0]).dataobj)
    data = np.concatenate([data, data[:, ::-1, [0, 0, 0]]], axis=2)
    sinus = signal_of(parker2006(TIME, 0.61))
    data[1:3, 1:11, 4] = sinus + np.random.default_rng(1).normal(0, 0.1, (2, 10, 60))
    mask = np.zeros(data.shape[:3], np.uint8)
    mask[4:5, 4:8, 1] = 1  # half artery
    whole = write(tmp_path / "sinus.nii", data.astype(np.float32))
    return whole, write(tmp_path / "half.nii", mask)


@pytest.mark.parametrize("outlier", [None, 7, 30])
def test_a_diluted_artery_is_scaled_to_the_vein(with_sinus, tmp_path, outlier):
    """Area and peak of blood and plasma are those of the sinus, and the numbers are written."""
    path, half = with_sinus
    inputs = {"artery": half}
    if outlier is not None:
        image = nib.load(path)
        data = np.asarray(image.dataobj).copy()
        data[..., outlier] = 50.0
        path = write(tmp_path / "moved.nii", data)
        marks = "".join(f"{int(n == outlier)}\n" for n in range(60))
        (tmp_path / "motion.tsv").write_text("outlier\n" + marks)
        inputs["motion"] = str(tmp_path / "motion.tsv")
    plain = found(path, "roi", **inputs)
    measured = column(plain.out_file, "blood")
    assert not isdefined(plain.vein)
    assert "VenousScale" not in json.loads(Path(plain.quality).read_text())
    outputs = found(path, "roi", scale="vein", **inputs)
    blood, plasma = (column(outputs.out_file, name) for name in ("blood", "plasma"))
    truth = parker2006(TIME, 0.51)
    assert measured.sum() < 0.6 * truth.sum()
    assert blood.sum() == pytest.approx(truth.sum(), rel=0.05)
    np.testing.assert_allclose(plasma * (1 - 0.42), blood, atol=1e-4)
    quality = json.loads(Path(outputs.quality).read_text())
    assert quality["VenousScale"] == pytest.approx(truth.sum() / measured.sum(), rel=0.05)
    assert 0 < quality["VenousScaleStandardError"] < 0.1 * quality["VenousScale"]
    assert quality["VenousDelay"] == pytest.approx(6, abs=1.5)
    assert quality["BloodShare"] < 0.7
    assert quality["PeakBlood"] == pytest.approx(blood.max(), rel=1e-3)
    assert quality["MeasuredPeakBlood"] == pytest.approx(measured.max(), rel=1e-3)
    vein = np.asarray(nib.load(outputs.vein).dataobj) > 0
    assert quality["VenousVoxels"] == vein.sum() > 15
    assert vein[1:3, 1:11, 4].sum() == vein.sum()


@pytest.mark.parametrize("name", POPULATION)
def test_a_population_function_has_no_voxels(series, name):
    """It peaks when the artery does, to a frame, and no mask is claimed."""
    outputs = found(series[0], name)
    peak = column(outputs.out_file, "blood").argmax()
    assert abs(int(peak) - int(parker2006(TIME, 0.51).argmax())) <= 1
    assert not isdefined(outputs.mask)


def test_the_reference_frame_is_the_last_of_the_baseline(series):
    """Of the frames that are given, or of those that are found before the bolus."""
    path, share = series
    assert FindReferenceFrame(in_file=path, baseline_frames=4).run().outputs.frame == 3
    frame = FindReferenceFrame(in_file=path).run().outputs.frame
    artery = np.asarray(nib.load(path).dataobj)[share == 1].mean(axis=0)
    assert 2 < frame < 0.51 / TIME[1]
    assert artery[frame] == pytest.approx(artery[0], rel=0.02)


def test_an_empty_mask_is_refused(series, tmp_path):
    """The message names the file."""
    empty = write(tmp_path / "empty.nii", np.zeros((12, 12, 3), np.uint8))
    with pytest.raises(BadInput, match=r"empty.nii: the AIF mask contains no voxel"):
        found(series[0], "roi", artery=empty)


def test_a_series_without_an_artery_is_refused(tmp_path, monkeypatch):
    """Tissue that enhances slowly is not made an artery."""
    monkeypatch.chdir(tmp_path)
    data = np.broadcast_to(signal_of(np.clip(TIME - 0.6, 0, 1)), (8, 8, 3, 60))
    noise = np.random.default_rng(0).normal(0, 0.1, data.shape)
    with pytest.raises(FitError, match="no artery was found"):
        found(write(tmp_path / "dce.nii", (data + noise).astype(np.float32)), "auto")
