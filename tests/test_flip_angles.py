"""Images at several flip angles: registered to the DCE, resampled once, and not without need."""

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from heads import grid, head, pose
from scipy import ndimage

from bidsapp.imaging.registration.quality import Quality
from bidsapp.imaging.relaxometry.flip_angles import STILL_VOXELS, Placement, place_flip_angles
from bidsapp.imaging.transforms import apply, invert
from bidsapp.models.contrast.spgr import spgr_signal
from bidsapp.reports.participant.quality import quality_rows
from bidsapp.reports.participant.records import read_participant
from bidsapp.reports.participant.registration import _flip_angle_qualities
from bidsapp.run.nodes.relaxometry import AlignFlipAngles, FitT1, _doubts

ANGLES = np.deg2rad([3.0, 15.0])
TR = 0.004
MOVES = (pose([2, -1, 2], [2, 1, -2]), pose([-1, 2, 1], [-3, 2, 2]))


@pytest.fixture(scope="module")
def images():
    """T1 of a head, its images at two flip angles after a movement each, and its DCE."""
    real = head()
    affine, shape = grid((3.0, 3.0, 6.0))
    t1 = np.where(real.dce > 0, 3.2 - 0.02 * np.clip(real.t1w, 0, 130), np.nan)
    density = np.where(real.dce > 0, 4000 + 10 * real.b0, 0)

    def seen(volume, moved=None):
        # The mean over the thickness of a slice, at each centre of a voxel.
        to_head = invert(real.affine) @ (np.eye(4) if moved is None else invert(moved)) @ affine
        thick = ndimage.uniform_filter1d(np.nan_to_num(volume), 2, axis=2)
        data = ndimage.affine_transform(thick, to_head[:3, :3], to_head[:3, 3], shape, order=1)
        return nib.Nifti1Image(data.astype(np.float32), affine)

    signal = [density * spgr_signal(1 / np.nan_to_num(t1, nan=1.0), TR, a) for a in ANGLES]
    enhanced = signal[1] * (1 + 0.8 * real.lesion)
    moved = [seen(s, m) for s, m in zip(signal, MOVES, strict=True)]
    still = [seen(s) for s in signal]
    return {"moved": moved, "still": still, "dce": seen(enhanced), "t1": seen(t1).get_fdata()}


@pytest.fixture(scope="module")
def placed(images):
    return place_flip_angles(images["moved"], ANGLES, images["dce"])


def saved(folder, images):
    """Write images as a session names them; return their paths."""
    paths = []
    for number, image in enumerate(images, 1):
        paths.append(str(folder / f"sub-01_ses-a_flip-{number}_VFA.nii"))
        nib.save(image, paths[-1])
    return paths


def aligned(folder, images, dce):
    """Run the node in a folder; return its outputs, and the content of its JSON."""
    nib.save(dce, folder / "dce.nii")
    setting = {"flip_angles": list(ANGLES), "fixed": str(folder / "dce.nii")}
    node = AlignFlipAngles(in_files=saved(folder, images), **setting)
    out = node.run(cwd=str(folder)).outputs
    return out, json.loads(Path(out.registration).read_bytes())


def test_movements_are_found(images, placed):
    """Each movement, of millimetres and degrees, is found within a third of a voxel and applied."""
    points = apply(head().affine, np.argwhere(head().brain)[::1999])
    for place, truth in zip(placed, MOVES, strict=True):
        off = np.linalg.norm(apply(place.matrix, points) - apply(truth, points), axis=1)
        assert off.mean() < 1
        assert place.applied
        assert place.displacement_mm > 3


def test_t1_is_right_after_alignment(images, tmp_path):
    """Moved images give a wrong T1 of the brain; aligned ones that of images that never moved."""
    out, about = aligned(tmp_path, images["moved"], images["dce"])
    setting = {"flip_angles": list(ANGLES), "repetition_time": TR}

    def t1_of(files, name):
        (tmp_path / name).mkdir()
        found = FitT1(in_files=files, **setting).run(cwd=str(tmp_path / name)).outputs
        return nib.load(found.out_file).get_fdata()

    truth = t1_of(saved(tmp_path, images["still"]), "still")
    inside = ndimage.binary_erosion(images["dce"].get_fdata() > 50, iterations=4)
    errors = [
        np.nanmedian(np.abs(t1_of(files, name) / truth - 1)[inside])
        for name, files in (
            ("before", saved(tmp_path, images["moved"])),
            ("after", out.out_files),
        )
    ]
    assert errors[0] > 3 * errors[1]
    assert about["Warnings"] == []
    assert all(image["applied"] for image in about["Registration"]["Images"].values())


def test_images_that_have_not_moved_are_passed_on(images, tmp_path):
    """No interpolation: the same files, and the estimates that were not applied are recorded."""
    out, about = aligned(tmp_path, images["still"], images["dce"])
    assert out.out_files == saved(tmp_path, images["still"])
    assert out.grid == out.out_files[0]
    found = about["Registration"]["Images"].values()
    assert not any(image["applied"] for image in found)
    assert all(image["displacement_voxels"] < STILL_VOXELS for image in found)


def test_images_on_different_grids_share_that_of_the_dce(images, tmp_path):
    """An image with exchanged axes is brought to the grid of the DCE, with the same values."""
    first, second = images["still"]
    turned = second.as_reoriented(nib.orientations.axcodes2ornt(("P", "I", "R")))
    out, _ = aligned(tmp_path, [first, turned], images["dce"])
    data = [nib.load(path).get_fdata() for path in out.out_files]
    np.testing.assert_array_equal(data[0], first.get_fdata())
    np.testing.assert_allclose(data[1], second.get_fdata(), atol=0.01)


def test_an_image_without_signal_is_placed_by_scanner_coordinates(images, tmp_path):
    """What cannot be registered is a warning of the T1 map with the name, and has no transform."""
    _, sound = images["still"]
    blank = nib.Nifti1Image(np.ones(sound.shape, np.float32), sound.affine)
    out, about = aligned(tmp_path, [sound, blank], images["dce"])
    assert out.out_files == saved(tmp_path, [sound, blank])
    (warning,) = (text for text in about["Warnings"] if "flip-2" in text)
    assert "is placed by scanner coordinates" in warning
    fit = FitT1(in_files=out.out_files, flip_angles=list(ANGLES), repetition_time=TR)
    fit.inputs.alignment = out.registration
    quality = json.loads(Path(fit.run(cwd=str(tmp_path)).outputs.quality).read_bytes())
    assert warning in quality["Warnings"]
    assert quality["Registration"] == about["Registration"]


def test_a_slab_too_thin_to_track_is_placed_by_scanner_coordinates(images):
    """Two slices: no error, but the reason, and the identity."""
    thin = [image.slicer[20:24, 20:24, 10:12] for image in (*images["still"], images["dce"])]
    for place in place_flip_angles(thin[:2], ANGLES, thin[2]):
        assert "blocks of 10 mm contain signal" in place.problem
        assert (place.matrix == np.eye(4)).all()
        assert place.as_dict()["verdict"] == "failed"


SURE = {"determinant": 1, "rotation_degrees": 0, "translation_mm": 1, "overlap": 1}


@pytest.mark.parametrize(
    ("mm", "voxels", "error", "problem", "applied"),
    [
        (1.0, 0.5, 0.3, "", True),
        (1.0, 0.15, 0.3, "", False),
        (1.0, 0.5, 1.2, "", False),
        (1.0, 0.5, np.inf, "", True),
        (1.0, 0.5, 0.3, "overlap of 10%", False),
    ],
)
def test_a_transform_is_applied_only_where_it_is_certain_and_needed(
    mm, voxels, error, problem, applied
):
    """Beyond a fifth of a voxel and the expected error, and if it did not fail."""
    quality = Quality(**SURE, expected_error_mm=error, disagreement_mm=0.3)
    place = Placement(MOVES[0], mm, voxels, quality, problem)
    assert place.applied == applied
    np.testing.assert_array_equal(place.matrix, MOVES[0] if applied else np.eye(4))


@pytest.mark.parametrize("error", [0.7, 1.5])
def test_a_doubtful_registration_is_a_warning_whether_or_not_it_is_applied(error):
    """An error beyond the limit of doubt: the reason, and what is done with the image."""
    place = Placement(MOVES[0], 1.0, 0.5, Quality(**SURE, expected_error_mm=error))
    (warning,) = _doubts("flip-1_VFA.nii", place)
    assert f"doubtful (expected error of {error} mm" in warning
    assert ("scanner coordinates" in warning) == (error > 1)


def test_the_worst_registration_is_a_row_of_the_quality_table(tmp_path):
    """One row VFA per session with the worst verdict and its reason; the page lists each image."""
    folder = tmp_path / "sub-01/ses-a/anat"
    folder.mkdir(parents=True)
    images = {
        f"sub-01_ses-a_flip-{n}_VFA.nii.gz": {
            "verdict": verdict,
            "reason": reason,
            "expected_error_mm": error,
            "applied": True,
        }
        for n, (verdict, reason, error) in enumerate(
            [("good", "", 0.2), ("doubtful", "so", 0.7)], 1
        )
    }
    content = {"Registration": {"Images": images, "Engine": "metperf", "Metric": "lpa"}}
    (folder / "sub-01_ses-a_desc-t1_quality.json").write_text(json.dumps(content))
    participant = read_participant(tmp_path, "01")
    (row,) = (row for row in quality_rows(participant) if row["series"] == "VFA")
    assert (row["verdict"], row["reason"], row["expected_error_mm"]) == ("doubtful", "so", 0.7)
    names = [name for name, _ in _flip_angle_qualities(participant)]
    assert names == ["a: flip-1_VFA on the DCE", "a: flip-2_VFA on the DCE"]
