"""Nodes of motion: outliers are left out where asked for, and a wrong table is refused."""

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from datasets import dynamic_signal

from bidsapp.bids.derivatives import to_tsv
from bidsapp.errors import BadInput
from bidsapp.imaging.motion.outliers import withdraw_outliers
from bidsapp.models import MODELS
from bidsapp.run.nodes.derivatives import AverageVolumes
from bidsapp.run.nodes.fitting import FitDiffusion, FitKinetics, read_column
from bidsapp.run.nodes.lesions import LesionCurves
from bidsapp.run.nodes.motion import CorrectMotion, MotionTable, inlier_volumes
from bidsapp.run.nodes.perfusion import FindArterialInput


def marks(folder, outliers):
    """Write a motion table with these outliers."""
    path = folder / "motion.tsv"
    path.write_bytes(to_tsv(["outlier"], [{"outlier": int(o)} for o in outliers]))
    return str(path)


def image(folder, data):
    """Write a series."""
    path = folder / "series.nii"
    nib.save(nib.Nifti1Image(np.asarray(data, np.float32), np.eye(4)), path)
    return str(path)


def test_a_mean_without_outliers(tmp_path):
    """They are left out, of the chosen volumes, too; none left is an error."""
    series = image(tmp_path, np.full((2, 2, 2, 4), [1.0, 100, 3, 5]))
    node = AverageVolumes(in_file=series, motion=marks(tmp_path, [0, 1, 0, 0]))
    mean = nib.load(node.run(cwd=tmp_path).outputs.out_file).get_fdata()
    assert mean.max() == 3
    node.inputs.volumes = [1]
    with pytest.raises(BadInput, match="all volumes to be averaged are outliers"):
        node.run(cwd=tmp_path)


def test_a_diffusion_fit_without_outliers(tmp_path):
    """A spoilt volume does not reach the ADC."""
    b = [0.0, 500, 1000, 1000]
    data = 100 * np.exp(-np.array(b) * 1e-3) * np.ones((2, 2, 2, 1))
    data[..., 2] *= 3
    node = FitDiffusion(in_file=image(tmp_path, data), model="adc", bvalues=b)
    node.inputs.motion = marks(tmp_path, [0, 0, 1, 0])
    first = [p.name for p in MODELS["adc"].parameters].index("ADC")
    adc = nib.load(node.run(cwd=tmp_path).outputs.out_files[first]).get_fdata()
    np.testing.assert_allclose(adc, 1e-3, rtol=1e-4)


def test_a_kinetic_fit_without_outliers(tmp_path):
    """A spoilt frame does not reach Ktrans."""
    time = np.arange(20) / 10
    plasma = np.where(time > 0.3, 5 * np.exp(-time), 0)
    truth = {"Ktrans": np.array(0.1), "vp": np.array(0.05)}
    curve = MODELS["patlak"].predict(truth, time=time, plasma=plasma)
    data = curve * np.ones((2, 2, 2, 1))
    data[..., 12] += 5
    rows = [{"plasma": p} for p in plasma.tolist()]
    (tmp_path / "aif.tsv").write_bytes(to_tsv(["plasma"], rows))
    node = FitKinetics(in_file=image(tmp_path, data), model="patlak", times=time.tolist())
    node.inputs.arterial = str(tmp_path / "aif.tsv")
    node.inputs.motion = marks(tmp_path, np.arange(20) == 12)
    ktrans = nib.load(node.run(cwd=tmp_path).outputs.out_files[0]).get_fdata()
    np.testing.assert_allclose(ktrans, 0.1, rtol=1e-4)


def test_an_arterial_input_without_outliers(tmp_path):
    """A spoilt frame of the artery is read off its neighbours; no other frame changes."""
    time = np.arange(30) / 20
    blood = np.where(time > 0.4, 5 * np.exp(-2 * (time - 0.4)), 0.0)
    data = np.tile(dynamic_signal(blood), (3, 3, 2, 1))
    node = FindArterialInput(source="roi", times=time.tolist(), haematocrit=0.42)
    node.inputs.trait_set(repetition_time=0.004, flip_angle=np.deg2rad(15), relaxivity=4.5)
    node.inputs.trait_set(t1_blood=1.6, baseline_frames=8)
    mask = tmp_path / "artery.nii"
    nib.save(nib.Nifti1Image(np.ones((3, 3, 2), np.uint8), np.eye(4)), mask)
    node.inputs.artery = str(mask)

    def found(series, **given):
        node.inputs.trait_set(in_file=image(tmp_path, series), **given)
        return read_column(node.run(cwd=tmp_path).outputs.out_file, "blood")

    clean, spoilt = found(data), data.copy()
    spoilt[..., 20] *= 0.6
    assert abs(found(spoilt)[20] - clean[20]) > 0.5
    bridged = found(spoilt, motion=marks(tmp_path, np.arange(30) == 20))
    np.testing.assert_allclose(bridged[20], clean[[19, 21]].mean(), rtol=0.01)
    np.testing.assert_array_equal(np.delete(bridged, 20), np.delete(clean, 20))


@pytest.mark.parametrize("kind", ["kinetics", "diffusion"])
def test_the_fit_of_a_lesions_course_without_outliers(tmp_path, kind):
    """A spoilt volume does not reach the curve that is drawn through a lesion's mean."""
    time, b = np.arange(20) / 10, [0.0, 200, 400, 600, 800, 1000]
    plasma = np.where(time > 0.3, 5 * np.exp(-time), 0)
    truth = {"Ktrans": np.array(0.1), "vp": np.array(0.05)}
    curves = {
        "kinetics": MODELS["patlak"].predict(truth, time=time, plasma=plasma),
        "diffusion": 100 * np.exp(-np.array(b) * 1e-3),
    }
    data = curves[kind] * np.ones((3, 3, 2, 1))
    data[..., 4] += 5
    rois = tmp_path / "rois.nii"
    nib.save(nib.Nifti1Image(np.ones((3, 3, 2), np.uint8), np.eye(4)), rois)
    node = LesionCurves(series=image(tmp_path, data), rois=str(rois), lesions=[(1, False)])
    if kind == "kinetics":
        rows = [{"time": 60 * t, "plasma": p} for t, p in zip(time, plasma, strict=True)]
        (tmp_path / "aif.tsv").write_bytes(to_tsv(["time", "plasma"], rows))
        curve = str(tmp_path / "aif.tsv")
        node.inputs.trait_set(model="patlak", arterial=curve, times=time.tolist())
    else:
        node.inputs.trait_set(model="adc", bvalues=b)
    node.inputs.motion = marks(tmp_path, np.arange(data.shape[3]) == 4)
    drawn = read_column(node.run(cwd=tmp_path).outputs.out_file, "lesion-1_fit")
    expected = curves[kind] if kind == "kinetics" else np.delete(curves[kind], 4)
    np.testing.assert_allclose(drawn, expected, rtol=1e-3, atol=1e-4)


def test_tables_that_cannot_be_used(tmp_path):
    """Of another length, or with nothing but outliers."""
    with pytest.raises(BadInput, match="has 2 volumes, but the series has 3"):
        inlier_volumes(marks(tmp_path, [0, 1]), 3)
    with pytest.raises(BadInput, match="every volume is an outlier"):
        inlier_volumes(marks(tmp_path, [1, 1]), 2)


def test_a_series_that_cannot_be_corrected_is_named(tmp_path):
    """The file is in the error."""
    with pytest.raises(BadInput, match=r"series\.nii: motion: 2 b-values for 3 volumes"):
        CorrectMotion(in_file=image(tmp_path, np.ones((4, 4, 4, 3))), bvalues=[0, 1]).run(
            cwd=tmp_path
        )


@pytest.mark.parametrize("options", [{}, {"bvalues": [0.0, 500, 1000]}], ids=["dce", "dwi"])
def test_a_thin_slab_goes_on_uncorrected(tmp_path, options):
    """The series is unchanged, its motion zero, and a warning gives the reason."""
    data = np.random.default_rng(0).random((40, 40, 4, 3))
    found = CorrectMotion(in_file=image(tmp_path, data), **options).run(cwd=tmp_path).outputs
    np.testing.assert_array_equal(nib.load(found.out_file).get_fdata(), np.float32(data))
    assert read_column(found.motion_tsv, "trans_x").tolist() == [0, 0, 0]
    (text,) = json.loads(Path(found.notes).read_bytes())["Warnings"]
    assert text.startswith("motion is not corrected: ")


def test_too_many_outliers_are_not_excluded():
    """More than a fifth is a doubt about the estimate; of a shell at least one volume remains."""
    shells = [np.array([0, 1]), np.array([2]), np.arange(3, 12)]
    bad = np.zeros(12, bool)
    bad[[2, 5]] = True
    kept, warnings = withdraw_outliers(bad, shells)
    assert np.flatnonzero(kept).tolist() == [5]
    assert warnings[0].startswith("volume 3 is an outlier of motion, but no other volume")
    bad[[0, 1]] = True
    kept, warnings = withdraw_outliers(bad, shells)
    assert not kept.any()
    assert warnings[0].startswith("4 of 12 volumes appear to be outliers")


def test_frames_in_which_contrast_passes_are_not_excluded():
    """The arterial input cannot be bridged there; the warning remains."""
    bad, passage = np.zeros((2, 20), bool)
    bad[[9, 15]], passage[6:12] = True, True
    kept, (text,) = withdraw_outliers(bad, [np.arange(20)], passage)
    assert np.flatnonzero(kept).tolist() == [15]
    assert text.startswith("outliers of motion during the first pass")
    assert "(volume 10)" in text


def test_a_step_of_more_than_two_millimetres_is_an_outlier(tmp_path):
    """Shifts and, on a sphere of 50 mm, rotations since the volume before; not where it stays."""
    degree = np.degrees(1 / 50)  # a millimetre
    rows = np.zeros((12, 6))
    rows[1:, 3] = 1.2
    rows[2:, 4] = 2.4
    rows[3:, 0] = 1.2 * degree
    rows[4:, 0] = 3.6 * degree
    np.savetxt(tmp_path / "motion.1D", rows)
    path = MotionTable(parameters=str(tmp_path / "motion.1D")).run(cwd=tmp_path).outputs.out_file
    assert np.flatnonzero(~inlier_volumes(path, 12)).tolist() == [2, 4]
