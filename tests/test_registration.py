"""Registration, motion and brain mask end to end, with niimath on a head of known pose."""

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from heads import (
    CENTRE,
    brain_points,
    error,
    grid,
    head,
    pose,
    scan,
    write,
)
from nipype.interfaces.base import isdefined

from bidsapp.errors import RegistrationError
from bidsapp.imaging.motion import framewise_displacement
from bidsapp.imaging.transforms import apply, compose, invert, read_itk, translation, write_itk
from bidsapp.interfaces.imaging import ApplyTransform, FinishRegistration
from bidsapp.workflows.registration import (
    init_brain_mask_wf,
    init_motion_wf,
    init_register_wf,
)

T1W = grid((3, 3, 3))
GRIDS = {
    "b0": grid((2.4, 2.4, 5), oblique=(10, 4, -6)),
    "dce": grid((2, 2, 8), axes=(1, 2, 0)),
    "t1w": T1W,
}
COST = {"b0": "lpc", "dce": "lpa", "t1w": "lpa"}
FAR = translation([40, 250, -60])


def run(workflow, folder, **inputs):
    """Run a graph; return the outputs of its nodes by name."""
    workflow.base_dir = str(folder)
    for name, value in inputs.items():
        setattr(workflow.inputs.inputnode, name, value)
    return {node.name: node.result.outputs for node in workflow.run().nodes()}


def write_pair(folder, kind, matrix, *, away=None, fixed_zooms=None):
    """Write a T1w with its mask and a moved image; points of T1w to moving are `matrix`."""
    away = np.eye(4) if away is None else away
    where = T1W if fixed_zooms is None else grid(fixed_zooms)
    affine, _ = where
    inside = scan("brain", where) > 0.5
    moving = scan(kind, GRIDS[kind], matrix, noise=5, seed=1)
    return {
        "fixed": write(folder / "t1w.nii", scan("t1w", where, noise=4), compose(affine, away)),
        "fixed_mask": write(folder / "mask.nii", inside.astype(np.uint8), compose(affine, away)),
        "moving": write(folder / f"moving_{kind}.nii", moving, compose(GRIDS[kind][0], away)),
    }


def register(folder, kind, transform, *, sloppy, nthreads=1, **inputs):
    """Return the matrix and the quality of one registration."""
    graph = init_register_wf(
        "register", transform=transform, cost=COST[kind], nthreads=nthreads, sloppy=sloppy
    )
    found = run(graph, folder, **inputs)["finish"]
    there, back = read_itk(found.to_fixed), read_itk(found.to_moving)
    np.testing.assert_allclose(there @ back, np.eye(4), atol=1e-3)
    return there, json.loads(Path(found.quality).read_text())


@pytest.mark.parametrize(("kind", "limit"), [("b0", 1.0), ("dce", 0.5), ("t1w", 0.2)])
def test_quick_registration_far_from_the_isocentre(kind, limit, tmp_path):
    """Opposite contrast, sagittal thick slices, oblique: on the T1w, with the head 250 mm away."""
    truth = pose((6, -4, 7), (8, -5, 6))
    found, quality = register(
        tmp_path, kind, "affine", sloppy=True, **write_pair(tmp_path, kind, truth, away=FAR)
    )
    expected = compose(invert(FAR), truth, FAR)
    assert error(found, expected, apply(FAR, brain_points())) < limit
    assert quality["determinant"] == pytest.approx(1)
    assert quality["rotation_degrees"] == pytest.approx(10.5, abs=1)
    assert quality["overlap"] > 0.9
    assert quality["cost"] is None
    assert (quality["metric"], quality["engine"].split()[0]) == ("fast", "niimath")


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "zoom", "limit"), [("b0", 4.5, 1.0), ("dce", 3.0, 1.5)])
def test_local_pearson_registration(kind, zoom, limit, tmp_path):
    """The study's call, lpc or lpa with 12 parameters, finds rotation, shift, scale and shear."""
    stretch = np.eye(4)
    stretch[:3, :3] = [[1.02, 0.01, 0], [0, 0.98, -0.01], [0, 0, 1.01]]
    truth = compose(
        translation(-CENTRE), stretch, translation(CENTRE), pose((5, 3, -4), (6, -4, 5))
    )
    inputs = write_pair(tmp_path, kind, truth, fixed_zooms=(zoom,) * 3)
    found, quality = register(tmp_path, kind, "affine", sloppy=False, **inputs)
    assert error(found, truth, brain_points()) < limit
    assert quality["cost"] < 0
    assert quality["metric"] == COST[kind]


@pytest.mark.slow
def test_sessions_are_registered_rigidly(tmp_path):
    """T1w to baseline T1w: six parameters, so no volume is gained or lost."""
    truth = pose((-5, 6, 3), (-7, 4, 9))
    inputs = write_pair(tmp_path, "t1w", truth, fixed_zooms=(6, 6, 6))
    found, quality = register(tmp_path, "t1w", "rigid", sloppy=False, **inputs)
    assert error(found, truth, brain_points()) < 0.3
    assert quality["determinant"] == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize(
    "sloppy",
    [pytest.param(True, id="quick"), pytest.param(False, id="lpc", marks=pytest.mark.slow)],
)
def test_the_same_result_twice_and_with_more_threads(sloppy, tmp_path):
    """Repeats, and 1 or 2 threads, give the same matrix to the last digit on disk."""
    coarse = (3, 3, 3) if sloppy else (5, 5, 5)
    inputs = write_pair(tmp_path, "b0", pose((3, 2, -4), (5, 2, -3)), fixed_zooms=coarse)
    runs = [(1, "first"), (2, "threads"), (1, "again")][: 2 if not sloppy else 3]
    found = []
    for nthreads, name in runs:
        folder = tmp_path / name
        result = register(folder, "b0", "affine", sloppy=sloppy, nthreads=nthreads, **inputs)
        found.append(result[0])
    for other in found[1:]:
        np.testing.assert_array_equal(found[0], other)


@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        (pose((60, 0, 0)), "rotation of 60 degrees"),
        (np.diag([1.2, 1.2, 1.2, 1]), r"ratio of volumes 1\.728"),
        (translation([0, 300, 0]), "overlap of 0%"),
    ],
)
def test_a_registration_gone_astray_is_refused(matrix, message, tmp_path):
    """What the engine hands back is not taken on trust, and the error names both images."""
    inputs = write_pair(tmp_path, "b0", np.eye(4))
    (tmp_path / "m.json").write_text(json.dumps({"fixed_to_moving": matrix.tolist()}))
    node = FinishRegistration(
        matrix=str(tmp_path / "m.json"),
        centre=[0.0, 0.0, 0.0],
        moving=inputs["moving"],
        fixed_mask=inputs["fixed_mask"],
        engine="niimath",
        metric="lpc",
    )
    with pytest.raises(
        RegistrationError, match=rf"moving_b0\.nii on the image of mask\.nii: .*{message}"
    ):
        node.run(cwd=tmp_path)
    assert not (tmp_path / "to_fixed.txt").exists()


@pytest.mark.parametrize("away", [np.eye(4), FAR], ids=["centre", "far"])
def test_the_brain_is_found(away, tmp_path):
    """The mask holds the brain of a head with skull, scalp and lesion, and little else."""
    tilted = pose((8, -5, 6), (5, 10, -8))
    affine = compose(T1W[0], away)
    t1w = write(tmp_path / "t1w.nii", scan("t1w", T1W, tilted, noise=4), affine)
    mask = nib.load(run(init_brain_mask_wf("brain"), tmp_path, in_file=t1w)["brain"].mask)
    found, truth = mask.get_fdata() > 0, scan("brain", T1W, tilted) > 0.5
    assert mask.shape == T1W[1]
    np.testing.assert_allclose(mask.affine, affine, atol=1e-4)
    assert (truth & ~found).sum() / truth.sum() < 0.01
    assert found.sum() / truth.sum() < 1.3


def test_no_head_is_no_brain(tmp_path):
    """A T1w without a head gives an error that names the file, not a mask."""
    noise = np.random.default_rng(0).random((24, 24, 24)).astype(np.float32)
    path = write(tmp_path / "empty_T1w.nii", noise, np.diag([3.0, 3, 3, 1]))
    with pytest.raises(Exception, match=r"empty_T1w\.nii"):
        run(init_brain_mask_wf("brain"), tmp_path, in_file=path)


@pytest.mark.parametrize("kind", ["b0", "dce"])
def test_motion_is_corrected_and_told_in_ras(kind, tmp_path):
    """Each volume comes to the reference; the table says in RAS how the head had moved."""
    affine, shape = where = {"b0": grid((4, 4, 5)), "dce": grid((4, 4, 8), axes=(1, 2, 0))}[kind]
    moves = [((0, 0, 0), (0, 0, 0)), ((0, 0, 0), (3, -2, 1.5)), ((2, -1.5, 2.5), (0, 0, 0))]
    middle = apply(affine, (np.array(shape) - 1) / 2)
    volumes = [
        scan("dce", where, pose(*m, about=middle), noise=0.5, seed=i) for i, m in enumerate(moves)
    ]
    series = write(tmp_path / "series.nii", np.stack(volumes, axis=-1), affine)
    found = run(init_motion_wf("motion", nthreads=2), tmp_path, in_file=series, reference=0)
    corrected = nib.load(found["correct"].out_file).get_fdata()
    still = scan("brain", where) > 0.9
    for i in (1, 2):
        before = np.abs(volumes[i] - volumes[0])[still].mean()
        assert np.abs(corrected[..., i] - volumes[0])[still].mean() < 0.6 * before
    table = np.genfromtxt(found["table"].out_file, names=True, delimiter="\t", missing_values="n/a")
    assert table.dtype.names[-1] == "framewise_displacement"
    rows = np.array([list(row) for row in table])
    np.testing.assert_allclose(rows[1, :3], moves[1][1], atol=0.2)
    np.testing.assert_allclose(rows[1, 3:6], 0, atol=np.radians(0.3))
    np.testing.assert_allclose(np.degrees(rows[2, 3:6]), moves[2][0], atol=0.5)
    assert np.isnan(rows[0, 6])
    np.testing.assert_allclose(rows[1:, 6], framewise_displacement(rows[:, :6])[1:], rtol=1e-4)


def test_two_transforms_are_one_interpolation(tmp_path):
    """Series to T1w, then T1w to baseline: the same as through their product, in that order."""
    series, baseline = GRIDS["dce"], grid((4, 4, 4))
    to_t1w, to_baseline = pose((5, 0, 3), (4, -3, 2)), pose((-2, 6, 0), (-5, 2, 7))
    images = [write(tmp_path / f"{i}.nii", scan("dce", series, seed=i), series[0]) for i in (0, 1)]
    write_itk(to_t1w, tmp_path / "series.txt")
    write_itk(to_baseline, tmp_path / "t1w.txt")
    write_itk(compose(to_baseline, to_t1w), tmp_path / "both.txt")
    reference = write(tmp_path / "r.nii", np.zeros(baseline[1], np.float32), baseline[0])
    node = ApplyTransform(in_files=images, reference=reference)
    node.inputs.transform, node.inputs.then = (
        str(tmp_path / "series.txt"),
        str(tmp_path / "t1w.txt"),
    )
    (tmp_path / "a").mkdir()
    chained = node.run(cwd=tmp_path / "a").outputs.out_files
    one = ApplyTransform(in_files=images[:1], reference=reference)
    one.inputs.transform = str(tmp_path / "both.txt")
    direct = one.run(cwd=tmp_path).outputs.out_files
    a, b = nib.load(chained[0]).get_fdata(), nib.load(direct).get_fdata()
    assert np.isnan(a).any()
    inside = np.isfinite(a) & np.isfinite(b)
    np.testing.assert_allclose(a[inside], b[inside], atol=0.1)
    assert not isdefined(one.inputs.then)


def test_labels_come_to_a_series(tmp_path):
    """A mask on the T1w's grid comes to the series as a mask, background outside."""
    mask = write(tmp_path / "mask.nii", head().brain.astype(np.uint8), head().affine)
    affine, shape = GRIDS["dce"]
    reference = write(tmp_path / "dce.nii", np.zeros(shape, np.float32), affine)
    node = ApplyTransform(in_files=mask, reference=reference, labels=True)
    image = nib.load(node.run(cwd=tmp_path).outputs.out_files)
    assert set(np.unique(image.dataobj)) == {0, 1}
    volumes = [
        float(np.sum(i.dataobj)) * abs(np.linalg.det(i.affine)) for i in (image, nib.load(mask))
    ]
    assert volumes[0] == pytest.approx(volumes[1], rel=0.02)


@pytest.mark.parametrize("scale", [0.0039, 1.686])
def test_a_scaled_mask_stays_a_mask(scale, tmp_path):
    """A mask whose header scales its ones to another value comes over as ones, not as nothing."""
    ones = np.zeros((6, 6, 6), np.uint8)
    ones[2:4, 2:4, 2:4] = 1
    stored = nib.Nifti1Image(ones, np.eye(4))
    stored.header["scl_slope"], stored.header["scl_inter"] = scale, 0
    with (tmp_path / "mask.nii").open("wb") as stream:
        header = stored.header.copy()
        header["vox_offset"], header["magic"] = 352, b"n+1"
        header.write_to(stream)
        stream.write(ones.tobytes(order="F"))
    mask = nib.load(tmp_path / "mask.nii")
    assert mask.get_fdata().max() == pytest.approx(scale)
    node = ApplyTransform(in_files=mask.get_filename(), reference=mask.get_filename(), labels=True)
    (tmp_path / "out").mkdir()
    found = nib.load(node.run(cwd=tmp_path / "out").outputs.out_files).get_fdata()
    np.testing.assert_array_equal(found, mask.get_fdata() > 0)
