"""A T1 map of white matter that cannot be, and images that do not fit one T1, are reported."""

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from bidsapp.models.contrast.enhancement import Spgr
from bidsapp.models.contrast.spgr import spgr_signal
from bidsapp.models.contrast.t1_checks import check_t1_contrast, check_t1_level
from bidsapp.run.nodes.perfusion import SignalToConcentration
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
    """Return the warnings of a fit to images of the true angles with other angles stated."""
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


@pytest.mark.parametrize(
    ("scale", "field_strength", "count"),
    [(1.0, 3.0, 0), (0.7, 3.0, 1), (0.7, 1.5, 0), (1.3, 1.5, 1), (1.3, 3.0, 0), (1.3, None, 0)],
)
def test_what_white_matter_can_be_depends_on_the_field(head, scale, field_strength, count):
    """T1 rises with the field strength; without it, what any of them allows is accepted."""
    found = check_t1_level(scale * head, ZOOMS, field_strength=field_strength)
    assert len(found) == count
    assert all(f"at {field_strength:g} T" in text for text in found)


ACQUISITION = Spgr(TR, ANGLES[-1], 4.5)


@pytest.fixture
def brain(head):
    """Return T1 with structure of 8 mm, a lesion, and the signal under a coil, with noise."""
    rng = np.random.default_rng(2)
    blocks = rng.random((20, 20, 15)) < 0.5
    grey = np.kron(blocks, np.ones((2, 2, 2)))
    lesion = np.zeros(head.shape, np.uint8)
    lesion[18:21, 16:19, 14:17] = 4
    t1 = np.where(head > 0.5, np.where(lesion > 0, 1.4, np.where(grey, 1.5, 0.85)), head)
    coil = 1 + np.indices(head.shape)[0] / 40
    density = np.where(t1 > 1.2, 0.85, 0.7)
    signal = spgr_signal(1 / np.where(t1 > 0, t1, 1), TR, ANGLES[-1], 1e4 * coil * density)
    return t1, np.where(t1 > 0, signal, 1) + rng.normal(0, 5, t1.shape), lesion


MISMATCHED = {
    "R1 for T1": (lambda t1: 1 / np.where(t1 > 0, t1, np.inf), "does it hold R1"),
    "mirrored": (lambda t1: t1[::-1], "mirrored or displaced"),
    "displaced by 12 mm": (lambda t1: np.roll(t1, 3, axis=1), "mirrored or displaced"),
    "one value": (lambda t1: np.where(t1 > 0, 1.0, 0), "the same T1 everywhere"),
}


@pytest.mark.parametrize(("change", "message"), MISMATCHED.values(), ids=MISMATCHED)
def test_a_map_that_is_not_of_these_images_is_reported(brain, change, message):
    """Before the contrast agent the signal is that of the map's T1, whatever the coil."""
    t1, signal, lesion = brain
    (found,) = check_t1_contrast(change(t1), signal, ZOOMS, ACQUISITION, lesion)
    assert message in found


@pytest.mark.parametrize("noise", [0.0, 0.15])
def test_a_map_of_these_images_raises_no_doubt(brain, noise):
    """Proton density, noise of the map, an empty background, and images without weighting."""
    t1, signal, lesion = brain
    noisy = t1 * np.exp(np.random.default_rng(3).normal(0, noise, t1.shape))
    assert check_t1_contrast(noisy, signal, ZOOMS, ACQUISITION, lesion) == []
    assert check_t1_contrast(np.where(t1 > 0.5, noisy, np.nan), signal, ZOOMS, ACQUISITION) == []
    unweighted = Spgr(TR, ANGLES[0], 4.5)
    assert check_t1_contrast(noisy[::-1], signal, ZOOMS, unweighted) == []


@pytest.mark.parametrize("concentration", [0.25, 0.5, 1.0])
def test_t1_measured_after_the_contrast_agent_is_reported(brain, concentration, tmp_path):
    """A lesion that would be bright with its T1, but is not: by the node, which has the ROI."""
    t1, signal, lesion = brain
    after = np.where(lesion > 0, 1 / (1 / np.where(t1 > 0, t1, 1) + 4.5 * concentration), t1)
    series = np.stack([signal, signal, signal, signal * 1.2], axis=-1)
    t1_map = write(tmp_path / "t1.nii", np.where(after > 0, after, np.nan))
    node = SignalToConcentration(
        in_file=write(tmp_path / "dce.nii", series), t1_map=t1_map,
        repetition_time=TR, flip_angle=float(ANGLES[-1]), relaxivity=4.5, baseline_frames=3,
        lesions=write(tmp_path / "lesions.nii", lesion),
    )  # fmt: skip
    counts = json.loads(Path(node.run(cwd=str(tmp_path)).outputs.counts).read_bytes())
    (found,) = counts["Warnings"]
    assert found.startswith("lesion 4 has ")
    assert "after the contrast agent?" in found
