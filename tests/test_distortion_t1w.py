"""EPI distortion from the T1w alone: known fields are found, none stays none."""

import json

import nibabel as nib
import numpy as np
import pytest
from heads import grid, head, scan, write
from test_distortion import WHERE, brain, distorted, image, places, true_shift

from bidsapp.bids.records import Diffusion, Distortion, FieldSource, Session, UserTransform
from bidsapp.config import Config
from bidsapp.errors import BadInput, RegistrationError
from bidsapp.imaging.distortion.t1w import t1w_cost, t1w_shift
from bidsapp.imaging.registration.sampling import Image
from bidsapp.imaging.transforms import apply, invert, write_itk
from bidsapp.imaging.warps import read_shift
from bidsapp.run.graphs.branch import begin_branch
from bidsapp.run.graphs.dwi import init_dwi_wf
from bidsapp.run.graphs.plan import plan_session
from bidsapp.run.nodes.distortion import EstimateShift
from bidsapp.run.nodes.registration import Register

FINE = grid((2, 2, 2))
AXIS = 1


def inside():
    """Return the brain of the head on the grid of the T1w."""
    voxels = np.rint(apply(invert(head().affine), places(FINE))).astype(int)
    found = head().brain[tuple(np.moveaxis(voxels, -1, 0))]
    return found.astype(np.uint8)


@pytest.fixture(scope="module")
def anatomy():
    """The T1w and its brain."""
    return [nib.Nifti1Image(data, FINE[0]) for data in (scan("t1w", FINE), inside())]


@pytest.fixture(scope="module")
def estimated(anatomy):
    """The estimate of a field of 4 mm."""
    return t1w_shift(image(distorted(true_shift(), 5, 1)), *anatomy, np.eye(4), AXIS)


def far(found, truth):
    """Return mean distances in the brain from the truth, with the shift found and with none."""
    return [float(np.abs(s - truth.data)[brain()].mean()) for s in (found.shift.data, 0)]


def test_a_known_field_is_estimated_from_the_t1w(anatomy, estimated):
    """Of 4 mm by air spaces most of it, of 8 mm more, in images with noise (SNR 17)."""
    truth = true_shift(8.0)
    more = t1w_shift(image(distorted(truth, 5, 1)), *anatomy, np.eye(4), AXIS)
    for found, field, share in ((estimated, true_shift(), 0.6), (more, truth, 0.45)):
        left, was = far(found, field)
        assert left < share * was
        assert found.after < found.before


@pytest.mark.parametrize(("noise", "limit"), [(0, 0.12), (5, 0.12), (15, 0.2)])
def test_no_distortion_stays_none_whatever_the_noise(anatomy, noise, limit):
    """Half-way between voxels noise is less: an EPI that is interpolated is drawn there, 0.5 mm."""
    still = true_shift(0.0)
    found = t1w_shift(image(distorted(still, noise, 1)), *anatomy, np.eye(4), AXIS)
    assert far(found, still)[0] < limit


def test_the_registration_is_where_it_begins(anatomy, estimated):
    """For an EPI with another affine, given its matrix, the estimate is the same."""
    moved = np.eye(4)
    moved[:3, 3] = (7, -5, 4)
    elsewhere = nib.Nifti1Image(distorted(true_shift(), 5, 1), moved @ WHERE[0])
    found = t1w_shift(elsewhere, *anatomy, moved, AXIS)
    assert np.abs(found.shift.data - estimated.shift.data)[brain()].mean() < 0.12


def test_the_slopes_of_the_cost_are_its_own():
    """They are those of finite differences, voxel by voxel."""
    rng = np.random.default_rng(0)
    epi = Image(rng.random((6, 7, 5), np.float32), np.diag([3.0, 3, 4, 1]))
    fine = Image(rng.random((6, 19, 5), np.float32), np.diag([3.0, 1, 4, 1]))
    cost = t1w_cost(epi, fine, np.ones(epi.data.shape, bool), AXIS)
    shift = rng.uniform(0.2, 0.4, epi.data.shape).astype(np.float32)
    _, slopes, _ = cost(shift, shift)
    for place in ((2, 3, 2), (0, 4, 1), (5, 2, 4)):
        moved = [shift.copy(), shift.copy()]
        moved[0][place] += 0.05
        moved[1][place] -= 0.05
        (up, *_), (down, *_) = (cost(m, m) for m in moved)
        assert slopes[place] == pytest.approx((up - down) / 0.1, rel=0.05, abs=1e-6)


def test_opposite_contrast_is_alike_and_the_same_contrast_is_not():
    """A b = 0 image is bright where the T1w is dark: the cost rewards that sign alone."""
    data = np.random.default_rng(0).random((6, 7, 5), np.float32)
    same, opposite = (Image(a, np.diag([3.0, 3, 4, 1])) for a in (data, 1 - data))
    still, every = np.zeros(data.shape, np.float32), np.ones(data.shape, bool)
    good, bad = (t1w_cost(same, other, every, AXIS)(still, still)[0] for other in (opposite, same))
    assert good < -1
    assert bad == pytest.approx(-good, rel=1e-3)


def test_an_epi_without_brain_is_refused(anatomy):
    """By its matrix, the EPI lies outside the brain and contains no information on it."""
    away = np.eye(4)
    away[:3, 3] = 400
    epi = image(distorted(true_shift()))
    with pytest.raises(BadInput, match="less than 50 ml of brain is in the diffusion series"):
        t1w_shift(epi, *anatomy, away, AXIS)


def test_the_node_registers_first_and_blames_the_epi(anatomy, tmp_path):
    """For an EPI with another affine the estimate is the same; without a head it is refused."""
    moved = np.eye(4)
    moved[:3, 3] = (7, -5, 4)
    t1w, mask = (
        write(tmp_path / f"{name}.nii", np.asarray(i.dataobj), i.affine)
        for name, i in zip(("t1w", "mask"), anatomy, strict=True)
    )
    options = {"source": t1w, "kind": "T1w", "scale": 1.0, "axis": AXIS, "mask": mask}
    found = []
    for matrix in (np.eye(4), moved):
        epi = write(tmp_path / "b0.nii", distorted(true_shift(), 5, 1), matrix @ WHERE[0])
        done = EstimateShift(in_file=epi, **options).run(cwd=tmp_path).outputs
        assert done.estimate["method"] == "T1w"
        assert done.estimate["cost_after"] < done.estimate["cost_before"]
        found.append(read_shift(done.shift).data)
    assert np.abs(found[0] - found[1])[brain()].mean() < 0.15
    rng = np.random.default_rng(0)
    noise = write(tmp_path / "noise.nii", rng.random(WHERE[1], np.float32), WHERE[0])
    said = r"^sub-01_dwi\.nii on t1w\.nii, for its distortion: as it was acquired: the registration"
    with pytest.raises(RegistrationError, match=said):
        EstimateShift(in_file=noise, named="sub-01_dwi.nii", **options).run(cwd=tmp_path)
    slice_ = write(tmp_path / "slice.nii", rng.random((*WHERE[1][:2], 1)), WHERE[0])
    with pytest.raises(BadInput, match=r"^slice\.nii on t1w\.nii, .*at least two voxels"):
        EstimateShift(in_file=slice_, **options).run(cwd=tmp_path)
    with pytest.raises(BadInput, match=r"^slice\.nii on t1w\.nii: .*at least two voxels"):
        Register(moving=slice_, fixed=t1w, fixed_mask=mask).run(cwd=tmp_path)


def config(root, **options):
    return Config(root, root / "out", root / "work", "run", distortion="t1w", **options)


def planned(root, distortion, t1w=True):
    """Return the plan of a session with this distortion, and its issues as text."""
    series = Diffusion(root / "dwi.nii", (0.0, 300.0, 600.0, 1000.0), None)
    record = Session(
        "01", "a", t1w=root / "t1w.nii" if t1w else None, diffusion=series, distortion=distortion
    )
    plan = plan_session(record, config(root))
    return plan, "\n".join(map(str, plan.issues))


def test_only_the_axis_is_required_of_the_data_set(tmp_path):
    """A readout time that is missing stops no run that does not need it; the axis does."""
    plan, issues = planned(tmp_path, Distortion(1, problem="TRT"))
    assert plan.field_source.image == tmp_path / "t1w.nii"
    assert "dwi" in plan.branches
    assert "istortion" not in issues
    plan, issues = planned(tmp_path, Distortion(None, problem="P"))
    assert "dwi" not in plan.branches
    assert "no DWI with --distortion t1w: P" in issues
    _, issues = planned(tmp_path, Distortion(1, FieldSource("epi", tmp_path / "dir-AP_epi.nii")))
    assert "although dir-AP_epi.nii is available: --distortion auto would use it" in issues
    plan, issues = planned(tmp_path, Distortion(None, problem="P"), t1w=False)
    assert "dwi" in plan.branches
    assert "EPI distortion not corrected: without a T1w" in issues
    assert plan.field_source is None


def run_pipeline(anatomy, folder, truth, transforms=(), **options):
    """Run a diffusion branch with `--distortion t1w`; return its output folder."""
    write(folder / "t1w.nii", np.asarray(anatomy[0].dataobj), FINE[0])
    mask = write(folder / "mask.nii", np.asarray(anatomy[1].dataobj), FINE[0])
    b0 = distorted(truth, 3, 1)
    bvalues = (0.0, 300.0, 600.0, 1000.0)
    series = np.stack([b0 * np.exp(-b * 0.8e-3) for b in bvalues], axis=-1).astype(np.float32)
    write(folder / "dwi.nii", series, WHERE[0])
    record = Session(
        "01",
        "a",
        t1w=folder / "t1w.nii",
        diffusion=Diffusion(folder / "dwi.nii", bvalues, None),
        distortion=Distortion(AXIS),
        transforms=transforms,
    )
    asked = config(folder, motion_correction=False, **options)
    workflow = init_dwi_wf(
        begin_branch(
            "dwi", record.diffusion, plan_session(record, asked), asked, frozenset(), record.t1w
        )
    )
    workflow.inputs.inputnode.t1w_mask = mask
    workflow.base_dir = str(folder / "work")
    workflow.run()
    return folder / "out/sub-01/ses-a/dwi"


def read(out, name):
    return json.loads((out / f"sub-01_ses-a_{name}").read_text())


def test_the_pipeline_tells_it(anatomy, tmp_path):
    """Nearly half of the shift, or more, is estimated and written with its effect."""
    truth = true_shift(8.0)
    out = run_pipeline(anatomy, tmp_path, truth, sloppy=True)
    found = read_shift(out / "sub-01_ses-a_desc-distortion_shift.nii.gz")
    inside_ = brain()
    size = np.abs(truth.data)[inside_].mean()
    assert np.abs(found.data - truth.data)[inside_].mean() < 0.6 * size
    outcome = read(out, "desc-distortion_quality.json")
    assert outcome["method"] == "T1w"
    assert outcome["source"] == "t1w.nii"
    assert outcome["max_abs_shift_mm"] == pytest.approx(np.abs(found.data)[inside_].max(), abs=1.5)
    assert read(out, "desc-distortion_shift.json")["Method"] == "T1w"


def test_a_wrong_transform_does_not_pass_for_distortion(anatomy, tmp_path):
    """A user's transform that is 8 mm off stays as it is, and is reported as doubtful."""
    off = np.eye(4)
    off[1, 3] = 8
    given = UserTransform("dwi", write_itk(off, tmp_path / "from-dwi_xfm.txt"))
    out = run_pipeline(anatomy, tmp_path, true_shift(), (given,))
    assert read(out, "desc-distortion_quality.json")["mean_abs_shift_mm"] < 0.5
    quality = read(out, "desc-coreg_quality.json")
    assert quality["verdict"] == "doubtful"
    assert quality["disagreement_mm"] == pytest.approx(8, abs=0.5)


def test_a_shift_and_its_inverse_are_what_the_fit_hands_on(estimated):
    """The shift is from undistorted places to where they appear: its inverse brings them back."""
    found = estimated.shift
    points = apply(WHERE[0], np.argwhere(brain())[::37])
    assert np.abs(found.inverse()(found(points)) - points).max() < 0.15
