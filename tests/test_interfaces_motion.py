"""Nodes of motion: outliers are left out where asked for, and a wrong table is refused."""

import nibabel as nib
import numpy as np
import pytest

from bidsapp.bids.derivatives import to_tsv
from bidsapp.errors import BadInput
from bidsapp.interfaces.derivatives import AverageVolumes
from bidsapp.interfaces.fitting import FitDiffusion, FitKinetics
from bidsapp.interfaces.motion import CorrectMotion, believed
from bidsapp.models import MODELS


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
    with pytest.raises(BadInput, match="all that is to be averaged are outliers"):
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
    np.testing.assert_allclose(adc, 1e-3, rtol=1e-5)


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


def test_tables_that_cannot_be_used(tmp_path):
    """Of another length, or with nothing but outliers."""
    with pytest.raises(BadInput, match="motion of 2 volumes, the series has 3"):
        believed(marks(tmp_path, [0, 1]), 3)
    with pytest.raises(BadInput, match="every volume is an outlier"):
        believed(marks(tmp_path, [1, 1]), 2)


def test_a_series_that_cannot_be_corrected_is_named(tmp_path):
    """The file is in the error."""
    with pytest.raises(BadInput, match=r"series\.nii: motion: .*too few"):
        CorrectMotion(in_file=image(tmp_path, np.zeros((4, 4, 4, 3)))).run(cwd=tmp_path)
