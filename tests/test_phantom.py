"""The phantom as written: valid BIDS, the same bytes every time, images that hold the truth."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from nitransforms.linear import load as load_transform
from scipy import ndimage

from bidsapp.errors import NotWritable, UsageError
from bidsapp.models.contrast.spgr import signal_to_concentration
from bidsapp.phantom import write_phantom
from bidsapp.phantom.physics import RELAXIVITY, TISSUES

COHORT = """\
participant_id lesion session_id days_from_srs vp Ktrans ve ADC f volume_ml excluded
sub-01 1 ses-baseline -5 4 0.12 15 1.1 0.1 6.5 0
sub-01 2 ses-baseline -5 3 0.10 20 0.9 0.08 0.9 1
sub-01 1 ses-followup 200 n/a n/a n/a n/a n/a 3.25 0
sub-01 2 ses-followup 200 n/a n/a n/a n/a n/a 0 1
sub-02 1 ses-followup 90 n/a n/a n/a n/a n/a 2.5 0
"""
SESSION = "sub-01/ses-baseline"
VALIDATOR = Path(sys.executable).with_name("bids-validator-deno")


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    table = tmp_path_factory.mktemp("cohort") / "lesions.tsv"
    table.write_text(COHORT.replace(" ", "\t"))
    return table


@pytest.fixture(scope="module")
def phantom(tmp_path_factory, cohort):
    out = tmp_path_factory.mktemp("phantom") / "bids"
    lines = []
    write_phantom(out, cohort=cohort, seed=4, vfa=True, fmap=True, progress=lines.append)
    assert lines == ["sub-01 written (1 of 2)", "sub-02 written (2 of 2)"]
    return out


def image(root, name):
    return nib.load(root / name)


def digests(root):
    return {
        path.relative_to(root).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


@pytest.mark.parametrize("part", ["", "derivatives/manual_masks", "derivatives/truth"])
def test_every_part_is_valid_bids(phantom, part):
    """The validator finds no error in the raw data set, nor in each derivative by itself."""
    run = subprocess.run([VALIDATOR, phantom / part], capture_output=True, text=True)
    assert run.returncode == 0, run.stdout


def test_same_seed_same_bytes(phantom, cohort, tmp_path):
    """All files are the same on a second run, and with two processes."""
    write_phantom(tmp_path / "again", cohort=cohort, seed=4, vfa=True, fmap=True, nprocs=2)
    assert digests(tmp_path / "again") == digests(phantom)


def test_another_seed_gives_other_images(phantom, tmp_path):
    """The seed changes every image nearly everywhere, and no file's name.

    Series are left out: they share head, pose and noise generator with the T1w.
    """
    header, *rows = (line.split() for line in COHORT.splitlines())
    rows = [[*r[:4], *["n/a"] * 5, *r[9:]] for r in rows if r[0] == "sub-01"]
    table = tmp_path / "lesions.tsv"
    table.write_text("".join("\t".join(row) + "\n" for row in (header, *rows)))
    write_phantom(tmp_path / "bids", cohort=table, seed=5)
    names = [
        [str(path.relative_to(root)) for path in sorted(root.glob("sub-01/*/anat/*_T1w.nii.gz"))]
        for root in (phantom, tmp_path / "bids")
    ]
    assert names[0] == names[1] != []
    for name in names[0]:
        one, other = (np.asanyarray(image(r, name).dataobj) for r in (phantom, tmp_path / "bids"))
        assert (one != other).mean() > 0.9


def test_only_what_the_table_has_is_imaged(phantom):
    """A session without parameters has a T1w alone; a lesion that is gone a row and no voxel."""
    followup = phantom / "sub-01/ses-followup"
    assert [p.name for p in followup.iterdir()] == ["anat"]
    masks = phantom / "derivatives/manual_masks/sub-01/ses-followup/anat"
    table = pd.read_csv(next(masks.glob("*seg-whole_dseg.tsv")), sep="\t")
    assert table["index"].tolist() == [1, 2]
    labels = np.asanyarray(nib.load(next(masks.glob("*seg-whole_dseg.nii.gz"))).dataobj)
    assert np.unique(labels).tolist() == [0, 1]


def test_geometry_and_timing_are_the_protocol(phantom):
    """Grids, directions, b-values and frame times are those that the sidecars and README state."""
    dwi, dce = (
        image(phantom, f"{SESSION}/{n}")
        for n in ("dwi/sub-01_ses-baseline_dwi.nii.gz", "perf/sub-01_ses-baseline_dce.nii.gz")
    )
    assert np.allclose(dwi.header.get_zooms(), [2.4, 2.4, 5, 6])
    assert np.allclose(dce.header.get_zooms(), [2, 2, 8, 5.2])
    assert nib.aff2axcodes(dwi.affine) == ("L", "A", "S")
    assert nib.aff2axcodes(dce.affine) == ("P", "S", "R")
    bvalues = np.loadtxt(phantom / f"{SESSION}/dwi/sub-01_ses-baseline_dwi.bval")
    assert np.array_equal(np.unique(bvalues), [0, 200, 400, 600, 800, 1000])
    assert len(bvalues) == dwi.shape[3] == 16
    timing = json.loads((phantom / f"{SESSION}/perf/sub-01_ses-baseline_dce.json").read_text())
    assert np.allclose(np.diff(timing["VolumeTiming"]), 5.2)
    assert len(timing["VolumeTiming"]) == dce.shape[3] == 60
    assert len(list((phantom / SESSION / "anat").glob("*_VFA.nii.gz"))) == 4


def test_lesion_volumes_are_the_tables(phantom):
    """What is imaged has the volume asked for; what is drawn on the grid comes near."""
    truth = pd.read_csv(phantom / "derivatives/truth/lesions.tsv", sep="\t")
    assert truth["volume_ml"].tolist() == [6.5, 3.25, 0.9, 0.0, 2.5]
    masks = phantom / f"derivatives/manual_masks/{SESSION}/anat"
    whole = nib.load(masks / "sub-01_ses-baseline_ce-gadolinium_seg-whole_dseg.nii.gz")
    labels = np.asanyarray(whole.dataobj)
    voxel = abs(np.linalg.det(whole.affine)) / 1000
    for lesion, volume in ((1, 6.5), (2, 0.9)):
        assert (labels == lesion).sum() * voxel == pytest.approx(volume, rel=0.1)
    rows = pd.read_csv(next(masks.glob("*seg-enhancing_dseg.tsv")), sep="\t")
    assert rows["excluded"].tolist() == [0, 1]


def test_the_true_maps_hold_the_table_in_the_lesions(phantom):
    """In the enhancing region every map has the table's value, in our units."""
    masks = phantom / f"derivatives/manual_masks/{SESSION}/anat"
    rim = np.asanyarray(nib.load(next(masks.glob("*seg-enhancing_dseg.nii.gz"))).dataobj) == 1
    truth = phantom / f"derivatives/truth/{SESSION}"
    expected = {
        "perf/*Ktrans*": 0.12,
        "perf/*param-ve_*": 0.15,
        "perf/*param-vp_*": 0.04,
        "dwi/*param-f_*": 0.1,
        "dwi/*_ADC": 1.1e-3,
        "dwi/*Dstar*": 0.01,
    }
    for pattern, value in expected.items():
        data = nib.load(next(truth.glob(pattern + ".nii.gz"))).get_fdata()
        assert np.allclose(data[rim], value, rtol=1e-6), pattern


def moved(phantom, kind, folder, points):
    """Voxels of a series at which scanner points (N, 3) of the T1w lie, by the true transform."""
    truth = phantom / f"derivatives/truth/{SESSION}/{folder}"
    name = f"sub-01_ses-baseline_from-{kind}_to-T1w_mode-image_xfm.txt"
    matrix = load_transform(truth / name, fmt="itk").matrix
    series = image(phantom, f"{SESSION}/{folder}/sub-01_ses-baseline_{kind}.nii.gz")
    homogeneous = np.c_[points, np.ones(len(points))]
    return series, (homogeneous @ (np.linalg.inv(series.affine) @ matrix).T)[:, :3]


def lesion_points(phantom, lesion=1):
    path = phantom / f"derivatives/manual_masks/{SESSION}/anat"
    labels = nib.load(next(path.glob("*seg-enhancing_dseg.nii.gz")))
    voxels = np.argwhere(np.asanyarray(labels.dataobj) == lesion)
    return nib.affines.apply_affine(labels.affine, voxels)


def test_transforms_take_the_lesion_to_its_enhancement(phantom):
    """At the lesion's true place in the DCE signal rises; a little beside it, less."""
    points = lesion_points(phantom)

    def rise(shift):
        series, voxels = moved(phantom, "dce", "perf", points + shift)
        data = np.asanyarray(series.dataobj).astype(np.float32)
        change = data[..., -10:].mean(axis=-1) - data[..., :5].mean(axis=-1)
        return ndimage.map_coordinates(change, voxels.T, order=1).mean()

    beside = [rise(np.array(s)) for s in ([0, 12, 0], [0, -12, 0], [0, 0, 12], [0, 0, -12])]
    assert rise(np.zeros(3)) > 1.5 * max(beside)


def test_diffusion_in_the_lesion_is_near_the_table(phantom):
    """Read at its true place, the lesion's ADC is the table's, but for partial volume."""
    series, voxels = moved(phantom, "dwi", "dwi", lesion_points(phantom))
    data = np.asanyarray(series.dataobj).astype(np.float32)
    means = [ndimage.map_coordinates(data[..., n], voxels.T, order=1).mean() for n in range(16)]
    trace = np.r_[np.log(means[0]), np.log(means[1:]).reshape(5, 3).mean(axis=1)]
    slope = -np.polyfit(np.arange(6) * 200, trace, 1)[0]
    assert slope == pytest.approx(1.1e-3, rel=0.15)


def test_the_arterial_mask_holds_arterial_signal(phantom):
    """The mask lies where signal leaps first and highest, as the true curve does."""
    mask = image(
        phantom,
        f"derivatives/manual_masks/{SESSION}/anat/"
        "sub-01_ses-baseline_space-dce_label-AIF_mask.nii.gz",
    )
    dce = image(phantom, f"{SESSION}/perf/sub-01_ses-baseline_dce.nii.gz")
    inside = np.asanyarray(mask.dataobj) > 0
    assert 1 <= inside.sum() <= 10
    curve = np.asanyarray(dce.dataobj)[inside].mean(axis=0)
    blood = signal_to_concentration(
        curve,
        curve[:5].mean(),
        t1=TISSUES["artery"].t1,
        repetition_time=0.004,
        flip_angle=np.deg2rad(15),
        relaxivity=RELAXIVITY,
    )
    name = "sub-01_ses-baseline_label-AIF_timeseries.tsv"
    true = pd.read_csv(phantom / f"derivatives/truth/{SESSION}/perf" / name, sep="\t")["blood"]
    assert blood.argmax() == true.argmax()
    assert np.corrcoef(blood, true)[0, 1] > 0.99
    assert 0.85 < (blood @ true) / (true @ true) < 1.05


def test_the_noise_is_what_was_asked_for(phantom):
    """In air, magnitude noise has the mean that the stated SNR of white matter (400) implies."""
    dce = np.asanyarray(image(phantom, f"{SESSION}/perf/sub-01_ses-baseline_dce.nii.gz").dataobj)
    corner = dce[:12, -12:, :3].astype(float)
    assert corner.mean() == pytest.approx(400 / 40 * np.sqrt(np.pi / 2), rel=0.02)


def test_a_folder_with_something_in_it_is_left_alone(tmp_path):
    """Nothing that exists is overwritten."""
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(NotWritable, match="is not empty"):
        write_phantom(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["mine.txt"]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"resolution": "coarse"}, "resolution must be one of paper, fast"),
        ({"seed": -1}, "the seed must be 0 or more"),
        ({"snr": 0.0}, "the SNR must be from 1"),
        ({"nprocs": 0}, "one process"),
        ({"vfa": True, "vfa_motion": 21.0}, "--vfa-motion must be from 0 to 20 mm and degrees"),
        ({"vfa_motion": 1.0}, "--vfa-motion needs --vfa"),
        ({"participants": 0}, "at least one process and participant"),
    ],
)
def test_impossible_requests_are_refused_before_anything_is_written(tmp_path, wrong, message):
    """A wrong option is refused with the possible values, and leaves no folder behind."""
    with pytest.raises(UsageError, match=message):
        write_phantom(tmp_path / "new", **wrong)
    assert not (tmp_path / "new").exists()
