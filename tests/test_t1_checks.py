"""A T1 map of white matter that cannot be, and images that do not fit one T1, are reported."""

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from bidsapp.models.contrast.spgr import spgr_signal
from bidsapp.run.nodes.relaxometry import FitT1, ReadT1

ANGLES = np.deg2rad([2.0, 5.0, 10.0, 15.0])
TR = 0.004
ZOOMS = (4.0, 4.0, 4.0)


@pytest.fixture
def head():
    """Return T1 of a round head: fat outside, white matter and grey matter inside; 0 in air."""
    radius = np.linalg.norm(
        np.indices((40, 40, 30)) - np.array([20, 20, 15])[:, None, None, None], axis=0
    )
    grey = np.random.default_rng(0).random(radius.shape) < 0.5
    t1 = np.where(grey, 1.5, 0.85)
    t1[radius > 12] = 0.35
    return np.where(radius < 14, t1, 0)


def write(path, data):
    nib.save(nib.Nifti1Image(np.asarray(data, np.float32), np.diag([*ZOOMS, 1])), path)
    return str(path)


def doubts(folder, t1, angles=ANGLES, gains=(1, 1, 1, 1), repetition_time=TR):
    """Return the warnings of a fit to images of the true angles that are said to be others."""
    rng = np.random.default_rng(1)
    files = []
    for number, (angle, gain) in enumerate(zip(ANGLES, gains, strict=True)):
        rates = 1 / np.where(t1 > 0, t1, 1)
        signal = np.where(t1 > 0, gain * spgr_signal(rates, TR, angle, 1e4), 1)
        noisy = np.abs(signal + rng.normal(0, 8, t1.shape))
        files.append(write(folder / f"flip{number}.nii", noisy))
    node = FitT1(in_files=files, flip_angles=list(angles), repetition_time=repetition_time)
    found = node.run(cwd=str(folder)).outputs.quality
    return json.loads(Path(found).read_bytes())["Warnings"]


def test_a_sound_map_raises_no_doubt(head, tmp_path):
    """White and grey matter at 3 T, with noise."""
    assert doubts(tmp_path, head) == []


WRONG = {
    "angles 30 % too large": ({"angles": 1.4 * ANGLES}, "white matter has 0.6 to 1.4 s"),
    "angles 30 % too small": ({"angles": 0.7 * ANGLES}, "white matter has 0.6 to 1.4 s"),
    "TR doubled": ({"repetition_time": 2 * TR}, "white matter has 0.6 to 1.4 s"),
    "two angles exchanged": ({"angles": ANGLES[[0, 2, 1, 3]]}, "do not fit one T1"),
    "one image on another scale": ({"gains": (1, 1, 1.3, 1)}, "do not fit one T1"),
}


@pytest.mark.parametrize(("change", "message"), WRONG.values(), ids=WRONG)
def test_a_wrong_description_is_reported(head, tmp_path, change, message):
    """With the size of the contradiction and what to check."""
    assert any(message in text for text in doubts(tmp_path, head, **change))


@pytest.mark.parametrize(("scale", "count"), [(1.0, 0), (0.5, 1), (2.0, 1)])
def test_a_map_of_the_user_is_checked(head, tmp_path, scale, count):
    """Its white matter, if the background is masked."""
    node = ReadT1(in_file=write(tmp_path / "t1map.nii", head), scale=scale)
    found = node.run(cwd=str(tmp_path)).outputs.quality
    assert len(json.loads(Path(found).read_bytes())["Warnings"]) == count
