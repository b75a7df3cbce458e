"""Registration, motion and brain mask end to end, on a head of known pose."""

import json
from pathlib import Path
from types import SimpleNamespace

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

from bidsapp.errors import BadInput, RegistrationError
from bidsapp.imaging.motion.parameters import framewise_displacement
from bidsapp.imaging.registration.quality import Quality
from bidsapp.imaging.transforms import apply, compose, invert, read_itk, translation, write_itk
from bidsapp.run.graphs.motion import init_motion_wf
from bidsapp.run.nodes.apply_transform import ApplyTransform
from bidsapp.run.nodes.registration import BrainMask, CheckConsistency, Register
from bidsapp.run.nodes.user_transform import TakeTransform

T1W = grid((3, 3, 3))
GRIDS = {
    "b0": grid((2.4, 2.4, 5), oblique=(10, 4, -6)),
    "dce": grid((2, 2, 8), axes=(1, 2, 0)),
    "t1w": T1W,
}
METRIC = {"b0": "lpc", "dce": "lpa", "t1w": "lpp"}
STRETCH = np.eye(4)
STRETCH[:3, :3] = [[1.02, 0.01, 0], [0, 0.98, -0.01], [0, 0, 1.01]]
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


def node(folder, kind, transform="affine", **inputs):
    """Return the outputs of the registration node, and the quality that it wrote."""
    folder.mkdir(exist_ok=True)
    found = Register(transform=transform, metric=METRIC[kind], **inputs).run(cwd=folder).outputs
    there, back = read_itk(found.to_fixed), read_itk(found.to_moving)
    np.testing.assert_allclose(there @ back, np.eye(4), atol=1e-3)
    return there, json.loads(Path(found.quality).read_text())


@pytest.mark.parametrize(("kind", "limit"), [("b0", 0.3), ("dce", 0.3), ("t1w", 0.2)])
def test_images_far_from_the_isocentre(kind, limit, tmp_path):
    """Opposite contrast, sagittal thick slices, oblique: on the T1w, with the head 250 mm away."""
    truth = pose((6, -4, 7), (8, -5, 6))
    found, quality = node(tmp_path / "a", kind, **write_pair(tmp_path, kind, truth, away=FAR))
    expected = compose(invert(FAR), truth, FAR)
    assert error(found, expected, apply(FAR, brain_points())) < limit
    assert quality["determinant"] == pytest.approx(1, abs=0.005)
    assert quality["rotation_degrees"] == pytest.approx(10.5, abs=0.5)
    assert quality["overlap"] > 0.9
    assert quality["verdict"] == "good"
    assert quality["expected_error_mm"] < 0.6
    assert quality["disagreement_mm"] is None, "nobody is asked where there is no doubt"
    assert (quality["metric"], quality["engine"].split()[0]) == (METRIC[kind], "metperf")


@pytest.mark.parametrize(("kind", "limit"), [("b0", 0.3), ("dce", 0.3)])
def test_twelve_parameters(kind, limit, tmp_path):
    """Scales and shears of percents are found with rotation and shift."""
    truth = compose(
        translation(-CENTRE), STRETCH, translation(CENTRE), pose((5, 3, -4), (6, -4, 5))
    )
    found, quality = node(tmp_path / "a", kind, **write_pair(tmp_path, kind, truth))
    assert error(found, truth, brain_points()) < limit
    assert quality["determinant"] == pytest.approx(np.linalg.det(STRETCH[:3, :3]), abs=0.005)


def test_sessions_are_registered_rigidly_from_both_sides(tmp_path):
    """T1w to baseline T1w: six parameters, so no volume is gained or lost, and no side favoured."""
    truth = pose((-5, 6, 3), (-7, 4, 9))
    inputs = write_pair(tmp_path, "t1w", truth)
    found, quality = node(tmp_path / "a", "t1w", "rigid", symmetric=True, **inputs)
    assert error(found, truth, brain_points()) < 0.2
    assert quality["determinant"] == pytest.approx(1, abs=1e-6)
    assert quality["round_trip_mm"] < 0.5


def test_a_lesion_that_has_gone_does_not_pull(tmp_path):
    """What the labels of both sessions cover, and a margin, is left out of the comparison."""
    affine, _ = T1W
    inputs = write_pair(tmp_path, "t1w", pose((2, 1, -3), (3, 2, -4)))
    lesion = scan("lesion", T1W) > 0.5
    data = nib.load(inputs["fixed"]).get_fdata().astype(np.float32)
    data[lesion] = np.random.default_rng(0).random(lesion.sum()) * 900
    changed = write(tmp_path / "t1w.nii", data, affine)
    labels = write(tmp_path / "dseg.nii", lesion.astype(np.uint8), affine)
    plain, _ = node(tmp_path / "a", "t1w", "rigid", **(inputs | {"fixed": changed}))
    (tmp_path / "still").mkdir()
    untouched = write_pair(tmp_path / "still", "t1w", pose((2, 1, -3), (3, 2, -4)))
    left_out = [
        node(
            tmp_path / name, "t1w", "rigid", **(inputs | {"fixed": fixed, "fixed_lesions": labels})
        )
        for name, fixed in (("b", changed), ("c", untouched["fixed"]))
    ]
    pulled, kept = (error(m, left_out[1][0], brain_points()) for m in (plain, left_out[0][0]))
    assert kept < 0.01
    assert pulled > 5 * kept


@pytest.mark.slow
def test_lesions_are_left_out_with_a_margin_of_three_millimetres(tmp_path, monkeypatch):
    """Of both images: voxels within 3 mm of a lesion are in neither mask, and no others."""
    affine, shape = np.diag([2.0, 1, 1, 1]), (12, 12, 12)
    labels = np.zeros(shape, np.uint8)
    labels[6, 6, 6] = 2
    files = {
        "fixed": np.random.default_rng(0).random(shape, np.float32),
        "fixed_mask": np.ones(shape, np.uint8),
        "moving": np.random.default_rng(1).random(shape, np.float32),
    }
    inputs = {name: write(tmp_path / f"{name}.nii", data, affine) for name, data in files.items()}
    lesions = [write(tmp_path / "lesions.nii", labels, affine)]
    seen = {}

    def note_masks(*_, **options):
        seen.update(options)
        raise BadInput("masks are noted")

    monkeypatch.setattr("bidsapp.run.nodes.registration.register_or_fall_back", note_masks)
    with pytest.raises(BadInput, match="masks are noted"):
        node(tmp_path, "t1w", **inputs, fixed_lesions=lesions, moving_lesions=lesions)
    far = np.linalg.norm((np.argwhere(labels == 0) - 6) * [2, 1, 1], axis=1)
    for name in ("fixed_mask", "moving_mask"):
        kept = np.asarray(seen[name].dataobj) > 0
        assert not kept[6, 6, 6]
        np.testing.assert_array_equal(kept[labels == 0], far > 3)


def test_afni_s_code_is_the_second_engine(tmp_path):
    """`--registration-engine niimath` gives the study's lpc, the head brought to the origin."""
    truth = pose((6, -4, 7), (8, -5, 6))
    inputs = write_pair(tmp_path, "b0", truth, away=FAR, fixed_zooms=(4.5,) * 3)
    found, quality = node(tmp_path / "a", "b0", engine="niimath", num_threads=2, **inputs)
    expected = compose(invert(FAR), truth, FAR)
    assert error(found, expected, apply(FAR, brain_points())) < 1
    assert quality["cost"] < 0
    assert quality["engine"].split()[0] == "niimath"


def test_the_same_result_twice(tmp_path):
    """Repeats give the same matrix to the last digit on disk, whatever the number of threads."""
    inputs = write_pair(tmp_path, "b0", pose((3, 2, -4), (5, 2, -3)), fixed_zooms=(4, 4, 4))
    found = [node(tmp_path / str(n), "b0", num_threads=n, **inputs)[0] for n in (1, 2)]
    np.testing.assert_array_equal(*found)


def test_a_registration_that_failed_is_refused(tmp_path):
    """Noise instead of a head: an error with both names and what is wrong; no file."""
    inputs = write_pair(tmp_path, "b0", np.eye(4), fixed_zooms=(4, 4, 4))
    affine, shape = GRIDS["b0"]
    noise = np.random.default_rng(0).random(shape).astype(np.float32)
    inputs["moving"] = write(tmp_path / "moving_b0.nii", noise, affine)
    with pytest.raises(
        RegistrationError, match=r"moving_b0\.nii on t1w\.nii: .*failed: .*accepted"
    ):
        node(tmp_path / "a", "b0", second_opinion=False, **inputs)
    assert not (tmp_path / "a" / "to_fixed.txt").exists()


def test_doubt_asks_the_other_engine(tmp_path, monkeypatch):
    """Where the own answer is doubtful, niimath's decides: far from it, the registration failed."""
    inputs = write_pair(tmp_path, "dce", np.eye(4), fixed_zooms=(4, 4, 4))
    monkeypatch.setattr("bidsapp.imaging.registration.quality.ERROR_MM", (0.0, 2.0))
    for shift, verdict in ((0.2, "doubtful"), (9.0, None)):
        answer = (translation([shift, 0, 0]), -1.0)
        monkeypatch.setattr(
            "bidsapp.run.nodes.registration.allineate", lambda *_, a=answer, **__: a
        )
        if verdict:
            _, quality = node(tmp_path / "a", "dce", **inputs)
            assert quality["verdict"] == verdict
            assert quality["disagreement_mm"] < 1
        else:
            with pytest.raises(RegistrationError, match=r"\d\.\d mm from the other engine"):
                node(tmp_path / "a", "dce", **inputs)


def test_niimath_s_answer_is_held_against_ours(tmp_path, monkeypatch):
    """AFNI's code gives no expected error: a solution far from metperf's has failed."""
    inputs = write_pair(tmp_path, "dce", np.eye(4), fixed_zooms=(4, 4, 4))
    answer = (translation([9, 0, 0]), -1.0)
    monkeypatch.setattr("bidsapp.run.nodes.registration.allineate", lambda *_, **__: answer)
    with pytest.raises(RegistrationError, match=r"\d\.\d mm from the other engine"):
        node(tmp_path / "a", "dce", engine="niimath", **inputs)


def test_a_transform_that_was_given_is_taken_and_doubted(tmp_path):
    """The user's own transform is used; that it ends far from our registration is reported."""
    inputs = write_pair(tmp_path, "dce", np.eye(4), fixed_zooms=(4, 4, 4))
    path = str(write_itk(translation([0, 0, 9]), tmp_path / "mine.txt"))
    take = TakeTransform(transforms=[path], source="mine.txt", metric="lpa", **inputs)
    found = take.run(cwd=tmp_path).outputs
    quality = json.loads(Path(found.quality).read_text())
    assert read_itk(found.to_fixed)[2, 3] == pytest.approx(9, abs=1e-4)
    assert quality["verdict"] == "doubtful"
    assert quality["disagreement_mm"] == pytest.approx(9, abs=0.5)
    assert "mm from the other engine" in quality["reason"]


@pytest.mark.parametrize("away", [np.eye(4), FAR], ids=["centre", "far"])
def test_the_brain_is_found(away, tmp_path):
    """The mask holds the brain of a head with skull, scalp and lesion, and little else."""
    tilted = pose((8, -5, 6), (5, 10, -8))
    affine = compose(T1W[0], away)
    t1w = write(tmp_path / "t1w.nii", scan("t1w", T1W, tilted, noise=4), affine)
    outputs = BrainMask(in_file=t1w).run(cwd=tmp_path).outputs
    mask = nib.load(outputs.mask)
    where = apply(read_itk(outputs.from_template), [[0, -20, 10], [25, -10, 35]])
    there = apply(compose(tilted, away), [[0, -20, 10], [25, -10, 35]])
    np.testing.assert_allclose(where, there, atol=2)
    found, truth = mask.get_fdata() > 0, scan("brain", T1W, tilted) > 0.5
    assert mask.shape == T1W[1]
    np.testing.assert_allclose(mask.affine, affine, atol=1e-4)
    assert (truth & ~found).sum() / truth.sum() < 0.01
    assert found.sum() / truth.sum() < 1.3


def test_no_head_is_no_brain(tmp_path):
    """A T1w without a head gives an error that names the file, not a mask."""
    noise = np.random.default_rng(0).random((24, 24, 24)).astype(np.float32)
    path = write(tmp_path / "empty_T1w.nii", noise, np.diag([3.0, 3, 3, 1]))
    with pytest.raises(RegistrationError, match=r"empty_T1w\.nii"):
        BrainMask(in_file=path).run(cwd=tmp_path)


@pytest.mark.parametrize("engine", ["metperf", "niimath"])
@pytest.mark.parametrize("kind", ["b0", "dce"])
def test_motion_is_corrected_and_tabulated_in_ras(kind, engine, tmp_path):
    """Each volume comes to the reference; the table gives the motion of the head in RAS."""
    affine, shape = where = {"b0": grid((4, 4, 5)), "dce": grid((4, 4, 8), axes=(1, 2, 0))}[kind]
    moves = [((0, 0, 0), (0, 0, 0)), ((0, 0, 0), (3, -2, 1.5)), ((2, -1.5, 2.5), (0, 0, 0))]
    middle = apply(affine, (np.array(shape) - 1) / 2)
    volumes = [
        scan("dce", where, pose(*m, about=middle), noise=0.5, seed=i) for i, m in enumerate(moves)
    ]
    series = write(tmp_path / "series.nii", np.stack(volumes, axis=-1), affine)
    workflow = init_motion_wf("motion", engine=engine, nthreads=2)
    found = run(workflow, tmp_path, in_file=series, reference=0)
    own = engine == "metperf"
    outcome = found["correct"].motion_tsv if own else found["table"].out_file
    corrected = nib.load(found["correct"].out_file).get_fdata()
    still = scan("brain", where) > 0.9
    if own:
        assert np.load(found["correct"].matrices).shape == (3, 4, 4)
    for i in (1, 2):
        before = np.abs(volumes[i] - volumes[0])[still].mean()
        assert np.nanmean(np.abs(corrected[..., i] - volumes[0])[still]) < 0.6 * before
    table = np.genfromtxt(outcome, names=True, delimiter="\t", missing_values="n/a")
    assert table.dtype.names[-2:] == ("framewise_displacement", "outlier")
    rows = np.array([list(row) for row in table])
    # Voxels of 4 x 4 x 8 mm: between processors, estimates differ by 0.03 mm.
    np.testing.assert_allclose(rows[1, :3], moves[1][1], atol=0.3)
    np.testing.assert_allclose(rows[1, 3:6], 0, atol=np.radians(0.3))
    np.testing.assert_allclose(np.degrees(rows[2, 3:6]), moves[2][0], atol=0.5)
    assert np.isnan(rows[0, 6])
    assert not rows[:, 7].any()  # more than a fifth moved, so that none is excluded
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


def test_the_consistency_is_the_distance_to_the_direct_registration(tmp_path, monkeypatch):
    """Points of the baseline go to the session's T1w first, and from there to the series."""
    to_t1w, to_fixed = pose((0, 0, 30), (5, 0, 0)), pose((20, 0, 0), (0, 8, 0))
    direct = compose(to_fixed, to_t1w, translation([0, 3, 4]))
    found = SimpleNamespace(matrix=direct, quality=Quality(1.0, 5.0, 5.0, 1.0), metric="lpa")
    monkeypatch.setattr(
        "bidsapp.run.nodes.registration.register_or_fall_back", lambda *_, **__: found
    )
    images = {
        name: write(tmp_path / f"{name}.nii", np.ones((20, 20, 20), np.uint8), np.eye(4))
        for name in ("moving", "fixed", "fixed_mask")
    }
    files = {
        name: str(write_itk(matrix, tmp_path / f"{name}.txt"))
        for name, matrix in (("to_t1w", to_t1w), ("to_fixed", to_fixed))
    }
    path = CheckConsistency(**images, **files).run(cwd=tmp_path).outputs.quality
    assert json.loads(Path(path).read_text())["consistency_mm"] == pytest.approx(5)
