"""Where models are fitted and lesions measured, and a user's own transforms, on small sessions."""

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from datasets import write_description, write_image
from heads import pose
from nipype.interfaces import utility as niu
from nipype.pipeline import engine as pe

from bidsapp.bids.query import Query
from bidsapp.bids.records import (
    Diffusion,
    Dynamic,
    FlipAngleSeries,
    Lesion,
    Participant,
    Rois,
    Session,
    TransmitField,
    UserTransform,
)
from bidsapp.cli.main import main
from bidsapp.config import Config
from bidsapp.errors import BadInput, RegistrationError
from bidsapp.imaging.resample import resample
from bidsapp.imaging.transforms import compose, invert, translation, write_itk
from bidsapp.models import MODELS
from bidsapp.models.contrast.aif import parker2006
from bidsapp.models.contrast.spgr import contrast_r1, spgr_signal
from bidsapp.run.graphs.branch import begin_branch
from bidsapp.run.graphs.dce import init_dce_wf
from bidsapp.run.graphs.dwi import init_dwi_wf
from bidsapp.run.graphs.motion import MotionCorrected
from bidsapp.run.graphs.plan import SessionPlan, plan_participant, plan_session
from bidsapp.run.graphs.series import Alignment
from bidsapp.run.graphs.sidecars import lesion_rois
from bidsapp.run.graphs.t1w_grid import connect_fit_grid
from bidsapp.run.nodes.lesion_fractions import LesionFractions
from bidsapp.run.nodes.lesions import RoiStatistics
from bidsapp.run.nodes.t1w_grid import EmbedInGrid, SeriesOnT1w
from bidsapp.run.nodes.user_transform import TakeTransform
from bidsapp.run.status import describe_plan

pytestmark = pytest.mark.usefixtures("short_pages")

T1W = (np.diag([2.0, 2, 2, 1]), (20, 22, 18))
SERIES = (np.array([[2.0, 0, 0, 1], [0, 2, 0, -2], [0, 0, 5, 2], [0, 0, 0, 1]]), (20, 24, 8))
TRUTH = pose((2, -1, 3), (1.5, -1, 1), (20, 20, 18))
"""Points of the T1w to points of the series."""
BVALUES = [0.0, 200, 400, 600, 800, 1000]
D = (0.7e-3, 1.4e-3)
"""Outside of the lesion, and in it."""
BOX = tuple(slice(a, b) for a, b in ((7, 13), (8, 15), (6, 12)))
"""The lesion on the T1w's grid."""


def places(where):
    """Return the points of a grid, mm."""
    affine, shape = where
    return np.moveaxis(np.indices(shape), 0, -1) @ affine[:3, :3].T + affine[:3, 3]


def in_lesion(points):
    """Return which points of the T1w's space lie in the lesion."""
    voxel = np.floor(points / 2 + 0.5)
    return np.all(
        [(voxel[..., i] >= s.start) & (voxel[..., i] < s.stop) for i, s in enumerate(BOX)], 0
    )


def diffusion():
    """Return a series as imaged: the mean signal of many points in each voxel, without noise."""
    affine, shape = SERIES
    total = np.zeros((*shape, len(BVALUES)))
    steps = [(np.arange(n) + 0.5) / n - 0.5 for n in (4, 4, 10)]
    for offset in np.stack(np.meshgrid(*steps, indexing="ij"), -1).reshape(-1, 3):
        points = places((affine, shape)) + affine[:3, :3] @ offset
        back = points @ invert(TRUTH)[:3, :3].T + invert(TRUTH)[:3, 3]
        rate = np.where(in_lesion(back), D[1], D[0])
        total += 100 * np.exp(-rate[..., None] * np.array(BVALUES))
    return (total / 160).astype(np.float32)


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Write T1w, brain, lesion, diffusion series and the true transform."""
    folder = tmp_path_factory.mktemp("images")
    brain = np.zeros(T1W[1], np.uint8)
    brain[4:17, 5:19, 3:15] = 1
    labels = np.zeros(T1W[1], np.uint8)
    labels[BOX] = 4
    write_image(folder / "t1w.nii", brain * 100.0, T1W[0])
    write_image(folder / "brain.nii", brain, T1W[0])
    write_image(folder / "rois.nii", labels, T1W[0])
    write_image(folder / "dwi.nii", diffusion(), SERIES[0])
    write_itk(TRUTH, folder / "from-dwi_to-T1w_mode-image_xfm.txt")
    return folder


def run_dwi(images, folder, **options):
    """Run the diffusion branch with the transform given; return the output folder."""
    session = Session(
        "01",
        "a",
        t1w=images / "t1w.nii",
        diffusion=Diffusion(images / "dwi.nii", tuple(BVALUES), None),
        enhancing=(Rois(images / "rois.nii", "T1w", (Lesion(4, "left"), Lesion(9, "gone"))),),
        transforms=(UserTransform("dwi", images / "from-dwi_to-T1w_mode-image_xfm.txt"),),
    )
    settings = {"motion_correction": False, **options}
    config = Config(images, folder / "out", folder / "work", "run", **settings)
    workflow = init_dwi_wf(
        begin_branch(
            "dwi",
            session.diffusion,
            plan_session(session, config),
            config,
            frozenset(),
            images / "t1w.nii",
        )
    )
    workflow.inputs.inputnode.t1w_mask = str(images / "brain.nii")
    workflow.base_dir = str(folder / "work")
    workflow.run()
    return folder / "out/sub-01/ses-a/dwi"


def row(folder, lesion=4, parameter="ADC"):
    """Return the row of a lesion and parameter."""
    lines = (folder / "sub-01_ses-a_seg-enhancing_model-ivim_roistats.tsv").read_text().splitlines()
    names, *cells = (line.split("\t") for line in lines)
    rows = [dict(zip(names, c, strict=True)) for c in cells]
    return next(r for r in rows if (r["lesion"], r["parameter"]) == (str(lesion), parameter))


@pytest.mark.parametrize(
    ("options", "space"),
    [
        ({}, "T1w"),
        ({"roi_space": "native"}, "dwi"),
        ({"fit_space": "T1w", "output_spaces": ("T1w",)}, "T1w"),
    ],
)
def test_a_lesion_is_measured_in_each_space(images, tmp_path, options, space):
    """Fit and lesion in either space: the ADC is the lesion's but for its partial volume."""
    found = row(run_dwi(images, tmp_path, **options))
    assert found["space"] == space
    assert float(found["p95"]) == pytest.approx(D[1], rel=0.02)
    assert 1.15e-3 < float(found["mean"]) < 1.28e-3
    volume = 8 * 6 * 7 * 6 / 1000
    assert float(found["measured_ml"]) == pytest.approx(volume, rel=0.01)


def test_weights_of_native_lesions_are_kept(images, tmp_path):
    """The fractions that weighed are written, one volume a lesion, with the lesions' names."""
    folder = run_dwi(images, tmp_path, roi_space="native")
    image = nib.load(folder / "sub-01_ses-a_seg-enhancing_probseg.nii.gz")
    assert image.shape == (*SERIES[1], 2)
    weights = image.get_fdata()
    assert weights.max() == 1
    assert ((weights > 0) & (weights < 1)).any()
    assert not weights[..., 1].any()
    found = row(folder)
    assert int(found["n_voxels"]) == (weights[..., 0] > 0).sum()
    sidecar = json.loads((folder / "sub-01_ses-a_seg-enhancing_probseg.json").read_text())
    assert sidecar["LabelMap"] == ["left", "gone"]
    maps = nib.load(folder / "sub-01_ses-a_desc-monoexp_ADC.nii.gz").get_fdata()
    inside = (weights[..., 0] > 0) & np.isfinite(maps)
    mean = np.average(maps[inside], weights=weights[..., 0][inside])
    assert float(found["mean"]) == pytest.approx(mean, rel=1e-5)
    assert row(folder, lesion=9)["n_voxels"] == "0"
    assert row(folder, lesion=9)["mean"] == "n/a"


def test_maps_fitted_on_the_t1w_are_named_so_and_lie_on_all_of_it(images, tmp_path):
    """Every map has the T1w's grid and space-T1w in its name; outside the brain nothing is."""
    folder = run_dwi(images, tmp_path, fit_space="T1w", output_spaces=("T1w",))
    maps = sorted(folder.glob("*map.nii.gz")) + sorted(folder.glob("*ADC.nii.gz"))
    assert len(maps) > 10
    brain = nib.load(images / "brain.nii").get_fdata() > 0
    for path in maps:
        assert "_space-T1w_" in path.name
        image = nib.load(path)
        assert image.shape == T1W[1]
        np.testing.assert_allclose(image.affine, T1W[0])
        nothing = 3 if "status" in path.name else np.nan
        np.testing.assert_array_equal(np.unique(image.get_fdata()[~brain]), [nothing])


def test_a_fit_on_the_t1w_is_one_interpolation(images, tmp_path):
    """The ADC on the T1w's grid is that of the signals resampled there, to the last digit."""
    folder = run_dwi(images, tmp_path, fit_space="T1w", output_spaces=("T1w",))
    found = nib.load(folder / "sub-01_ses-a_space-T1w_desc-monoexp_ADC.nii.gz").get_fdata()
    series = nib.load(images / "dwi.nii")
    data = resample(series.get_fdata(dtype=np.float32), series.affine, TRUTH, T1W[1], T1W[0])
    design = np.stack([np.ones(6), -np.array(BVALUES)], axis=1)
    expected = (np.log(data) @ np.linalg.pinv(design).T)[..., 1]
    inside = np.isfinite(found)
    assert inside.sum() > 1000
    np.testing.assert_allclose(found[inside], expected[inside], rtol=2e-4)


def test_motion_and_registration_are_one_interpolation(images, tmp_path):
    """Each volume goes to the T1w through its own motion and the registration, in that order."""
    motion = np.stack([pose((i, 0, -i), (0, i, 0)) for i in range(len(BVALUES))])
    np.save(tmp_path / "motion.npy", motion)
    node = SeriesOnT1w(
        in_file=str(images / "dwi.nii"),
        transform=str(images / "from-dwi_to-T1w_mode-image_xfm.txt"),
        motion=str(tmp_path / "motion.npy"),
        mask=str(images / "brain.nii"),
    )
    found = node.run(cwd=tmp_path).outputs
    image, mask = nib.load(found.out_file), nib.load(found.mask)
    assert image.shape == (13, 14, 12, 6)
    np.testing.assert_allclose(image.affine, compose(translation([4, 5, 3]), T1W[0]))
    np.testing.assert_allclose(mask.affine, image.affine)
    series = nib.load(images / "dwi.nii")
    for i in (0, 5):
        through = compose(TRUTH, motion[i])
        data = series.get_fdata(dtype=np.float32)[..., i]
        one = resample(data, series.affine, through, image.shape[:3], image.affine)
        np.testing.assert_allclose(image.get_fdata()[..., i], one, rtol=1e-5)
    np.save(tmp_path / "motion.npy", motion[:4])
    with pytest.raises(BadInput, match=r"shape \(4, 4, 4\), but the series has 6 volumes"):
        node.run(cwd=tmp_path)


def test_what_was_cut_out_is_put_back(tmp_path):
    """A part goes back to its own voxels; outside, whole numbers have a level, others NaN."""
    whole = write_image(tmp_path / "whole.nii", np.zeros((6, 7, 8)), T1W[0])
    there = compose(translation([1, 2, 3]), T1W[0])
    part = np.arange(8, dtype=np.float32).reshape(2, 2, 2)
    files = [
        str(write_image(tmp_path / "a.nii", part, there)),
        str(write_image(tmp_path / "b.nii", part.astype(np.int8), there)),
    ]
    found = EmbedInGrid(in_files=files, reference=str(whole), outside=3).run(cwd=tmp_path).outputs
    a, b = (np.asanyarray(nib.load(f).dataobj) for f in found.out_files)
    for image in (a, b):
        np.testing.assert_array_equal(image[1:3, 2:4, 3:5], part)
    assert np.isnan(a).sum() == a.size - 8
    assert (b == 3).sum() == b.size - 8 + 1
    assert b.dtype == np.int8


def test_a_lone_lesion_is_weighed_too(images, tmp_path):
    """One lesion alone has its fractions and its row like one of several."""
    node = LesionFractions(rois=str(images / "rois.nii"), lesions=[4])
    node.inputs.reference = str(images / "dwi.nii")
    node.inputs.transform = str(write_itk(invert(TRUTH), tmp_path / "x.txt"))
    weights = node.run(cwd=tmp_path).outputs.out_file
    ones = str(write_image(tmp_path / "map.nii", np.full(SERIES[1], 2.5), SERIES[0]))
    table = RoiStatistics(fractions=weights, maps=[ones], lesions=[(4, False)])
    table.inputs.parameters = [("ADC", "mm2/s", "ivim")]
    table.inputs.identity = {"space": "dwi"}
    text = Path(table.run(cwd=tmp_path).outputs.out_file).read_text()
    names, cells = (line.split("\t") for line in text.splitlines())
    found = dict(zip(names, cells, strict=True))
    assert float(found["mean"]) == pytest.approx(2.5)
    assert float(found["measured_ml"]) == pytest.approx(2.016, rel=0.01)


def dynamic(images, folder, **fields):
    """Return a session all of whose tissue obeys Patlak's model at T1 = 1.6 s under a B1 map."""
    time = np.arange(40) * 6 / 60
    plasma = parker2006(time, 0.5) / 0.58
    tissue = MODELS["patlak"].predict(KINETICS, time=time, plasma=plasma)
    b1 = np.linspace(0.9, 1.1, SERIES[1][0])[:, None, None] * np.ones(SERIES[1])
    angle = np.deg2rad(15) * b1[..., None]
    signal = spgr_signal(contrast_r1(tissue, 1.6, 4.5), 0.004, angle, 1e4)
    noise = np.random.default_rng(1).normal(0, signal.mean() * 1e-3, signal.shape)
    angles = np.deg2rad([2.0, 8, 15])
    vfa = tuple(
        write_image(folder / f"{i}_VFA.nii", spgr_signal(1 / 1.6, 0.004, a * b1, 1e4), SERIES[0])
        for i, a in enumerate(angles)
    )
    image = write_image(folder / "dce.nii", (signal + noise).astype(np.float32), SERIES[0])
    return Session(
        "01",
        "a",
        t1w=images / "t1w.nii",
        dynamic=Dynamic(image, tuple(time), 0.004, float(np.deg2rad(15)), 3.0, 4.5, None),
        flip_angle_series=FlipAngleSeries(vfa, tuple(angles), 0.004),
        transmit_field=TransmitField(write_image(folder / "b1.nii", b1, SERIES[0]), 1.0),
        transforms=(UserTransform("dce", images / "from-dwi_to-T1w_mode-image_xfm.txt"),),
        **fields,
    )


KINETICS = {"Ktrans": np.array(0.03), "vp": np.array(0.05)}


def test_a_dynamic_series_is_fitted_on_the_t1w(images, tmp_path):
    """With T1 and B1 maps brought to the T1w's grid, every model's maps are right all over it."""
    rois = (Rois(images / "rois.nii", "T1w", (Lesion(4, "left"),)),)
    session = dynamic(images, tmp_path, enhancing=rois)
    options = {"aif": "parker2006", "t1_blood": 1.6, "motion_correction": False}
    options |= {"dce_model": "auto", "fit_space": "T1w", "output_spaces": ("T1w", "individual")}
    config = Config(images, tmp_path / "out", tmp_path / "work", "run", **options)
    workflow = init_dce_wf(
        begin_branch(
            "dce",
            session.dynamic,
            plan_session(session, config),
            config,
            frozenset(),
            images / "t1w.nii",
        )
    )
    workflow.inputs.inputnode.t1w_mask = str(images / "brain.nii")
    workflow.base_dir = str(tmp_path / "work")
    workflow.run()
    start = str(tmp_path / "out/sub-01/ses-a/perf/sub-01_ses-a_")
    brain = nib.load(images / "brain.nii").get_fdata() > 0
    for space in config.output_spaces:
        for name, truth in KINETICS.items():
            path = f"{start}space-{space}_model-patlak_param-{name}_dcemap.nii.gz"
            found = nib.load(path).get_fdata()
            assert found.shape == T1W[1]
            np.testing.assert_allclose(np.nanmedian(found[brain]), truth, rtol=0.05)
            assert np.isnan(found[~brain]).all()
    assert nib.load(f"{start}space-T1w_desc-modelchoice_dcemap.nii.gz").shape == T1W[1]
    table = Path(f"{start}seg-enhancing_desc-modelchoice_roistats.tsv").read_text()
    assert table.count(f"\t{(nib.load(images / 'rois.nii').get_fdata() > 0).sum()}\t") >= 5
    status = nib.load(f"{start}space-T1w_desc-concentration_quality.nii.gz").get_fdata()
    assert (status[~brain] == 255).all()
    assert (status[brain] == 0).mean() > 0.9
    assert not Path(f"{start}desc-concentration_dce.nii.gz").exists()
    names = [(a.name, b.name) for a, b in workflow._graph.edges]
    assert ("source", "aif") in names
    assert ("series_on_t1w", "aif") not in names


@pytest.mark.parametrize("fit_space", ["native", "T1w"])
def test_each_lesion_has_its_own_prior_in_each_space(images, tmp_path, fit_space):
    """The lesions, which are regions of the Bayesian fit, are resampled to its grid."""
    run_dwi(images, tmp_path, fit_space=fit_space, ivim_model="bayesian", output_spaces=("T1w",))
    path = next((tmp_path / "out").rglob("*space-T1w_model-bayes_param-f_dwimap.json"))
    outcome = json.loads(path.read_text())["Model"]["Parameters"]
    assert list(outcome["prior"]) == ["0", "4"]


def test_motion_goes_into_the_one_interpolation(images, tmp_path):
    """Where matrices of the volumes are known, it is the acquired series that goes to the T1w."""
    series = Diffusion(images / "dwi.nii", (0.0, 1000.0), None)
    plan = SessionPlan(Session("01", "a", t1w=images / "t1w.nii", diffusion=series))
    config = Config(images, tmp_path, tmp_path, "run", fit_space="T1w")
    branch = begin_branch("dwi", series, plan, config, frozenset(), None)
    nodes = [pe.Node(niu.IdentityInterface(["out_file"]), name=n) for n in ("moved", "m", "to")]
    moved, matrices, to_t1w = ((n, "out_file") for n in nodes)
    corrected = MotionCorrected(moved, acquired=((branch.source, "out_file"), matrices))
    _, grid = connect_fit_grid(branch, corrected, Alignment(nodes[0], to_t1w=to_t1w))
    assert grid.on_t1w
    edges = {(a.name, b.name) for a, b in branch.workflow._graph.edges}
    assert edges >= {(n, "series_on_t1w") for n in ("source", "m", "to")}
    assert ("moved", "series_on_t1w") not in edges
    assert branch.source.inputs.out_file == str(images / "dwi.nii")


def test_a_given_transform_replaces_the_registration(images, tmp_path):
    """It is copied out with its inverse; the quality states that it was given, and its file."""
    folder = run_dwi(images, tmp_path)
    quality = json.loads((folder / "sub-01_ses-a_desc-coreg_quality.json").read_text())
    assert quality["engine"] == "given"
    assert quality["source"] == "from-dwi_to-T1w_mode-image_xfm.txt"
    assert quality["rotation_degrees"] == pytest.approx(3.7, abs=0.1)
    assert quality["overlap"] > 0.9
    there = folder / "sub-01_ses-a_from-dwi_to-T1w_mode-image_desc-coreg_xfm.txt"
    back = folder / "sub-01_ses-a_from-T1w_to-dwi_mode-image_desc-coreg_xfm.txt"
    assert there.read_text() == (images / "from-dwi_to-T1w_mode-image_xfm.txt").read_text()
    assert back.exists()


@pytest.mark.parametrize(
    ("content", "error", "message"),
    [
        ("1 0 0 0\n0 1 0 0\n0 0 1 0\n0 0 0 1\n", BadInput, "mine_xfm.txt: not one affine ITK"),
        ("Euler3DTransform 0.1 0 0 1 2 3", BadInput, "write it as AffineTransform_double_3_3"),
        ("AffineTransform 1 0 0 0 1 0 0 0 0 1 2 3", BadInput, "mine_xfm.txt: .*[Ss]ingular"),
        ("AffineTransform 1 0 0 0 1 0 0 0 1 900 0 0", RegistrationError, "mine_xfm.txt.*overlap"),
    ],
)
def test_a_wrong_transform_is_refused_in_words(images, tmp_path, content, error, message):
    """Not ITK, not affine, singular, or far from the head: the file is named with what is wrong."""
    if "Transform" in content:
        kind, *numbers = content.split()
        content = (
            f"#Insight Transform File V1.0\n#Transform 0\nTransform: {kind}_double_3_3\n"
            f"Parameters: {' '.join(numbers)}\nFixedParameters: 0 0 0\n"
        )
    (tmp_path / "mine_xfm.txt").write_text(content)
    node = TakeTransform(
        transforms=[str(tmp_path / "mine_xfm.txt")],
        moving=str(images / "dwi.nii"),
        fixed=str(images / "brain.nii"),
        fixed_mask=str(images / "brain.nii"),
        source="mine",
    )
    with pytest.raises(error, match=message):
        node.run(cwd=tmp_path)


def test_two_transforms_for_one_registration_are_refused(images, tmp_path):
    """Which of two is meant is not guessed."""
    paths = [str(write_itk(np.eye(4), tmp_path / f"{n}_xfm.txt")) for n in "ab"]
    node = TakeTransform(transforms=paths, source="mine", moving=str(images / "dwi.nii"))
    node.inputs.fixed = node.inputs.fixed_mask = str(images / "brain.nii")
    with pytest.raises(BadInput, match=r"several .* a_xfm.txt, b_xfm.txt; keep one"):
        node.run(cwd=tmp_path)


def test_transforms_are_found_in_any_derivative(tmp_path):
    """Series to T1w and T1w to baseline are found by name, inverses not; the filter chooses."""
    write_description(tmp_path)
    write_image(tmp_path / "sub-01/ses-a/anat/sub-01_ses-a_T1w.nii.gz", np.ones((2, 2, 2)))
    mine = tmp_path / "derivatives/mine"
    write_description(mine, "derivative")
    wanted = {
        "dwi": "dwi/sub-01_ses-a_from-dwi_to-T1w_mode-image_desc-mine_xfm.txt",
        "dce": "perf/sub-01_ses-a_from-dce_to-T1w_mode-image_xfm.txt",
        "T1w": "anat/sub-01_ses-a_from-T1w_to-individual_mode-image_xfm.txt",
    }
    others = ["dwi/sub-01_ses-a_from-T1w_to-dwi_mode-image_desc-mine_xfm.txt"]
    for name in (*wanted.values(), *others):
        path = mine / "sub-01/ses-a" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_itk(np.eye(4), path)
    found = Query(tmp_path, [mine]).participant("01").sessions[0]
    assert found.problems == ()
    assert len(found.transforms) == 3
    for moving, name in wanted.items():
        assert found.user_transforms(moving) == (mine / "sub-01/ses-a" / name,)
    config = Config(tmp_path, tmp_path, tmp_path, "run")
    outcome = "\n".join(describe_plan(plan_participant(Participant("01", (found,)), config)))
    assert all(f"provided: {Path(name).name}" in outcome for name in wanted.values())
    filters = {"xfm": {"desc": "other"}}
    assert Query(tmp_path, [mine], filters).participant("01").sessions[0].transforms == ()


def test_a_transform_past_the_t1w_is_refused(tmp_path):
    """One from a series straight to the baseline is a problem in words: it would not be used."""
    write_description(tmp_path)
    write_image(tmp_path / "sub-01/ses-a/anat/sub-01_ses-a_T1w.nii.gz", np.ones((2, 2, 2)))
    mine = tmp_path / "derivatives/mine"
    write_description(mine, "derivative")
    path = mine / "sub-01/ses-a/dwi/sub-01_ses-a_from-dwi_to-individual_mode-image_xfm.txt"
    path.parent.mkdir(parents=True)
    write_itk(np.eye(4), path)
    found = Query(tmp_path, [mine]).participant("01").sessions[0]
    assert found.transforms == ()
    assert "bypasses the T1w and cannot be used; provide one transform to" in found.problems[0]


@pytest.mark.parametrize("words", [["--roi-space", "native"], ["--output-spaces", "native", "T1w"]])
def test_what_would_be_interpolated_twice_is_refused(tmp_path, capsys, words):
    """Maps fitted on the T1w are not taken back to the series: the command line refuses it."""
    with pytest.raises(SystemExit, match="2"):
        main([str(tmp_path), str(tmp_path / "out"), "participant", "--fit-space", "T1w", *words])
    assert f"{words[0]} native needs --fit-space native" in capsys.readouterr().err


def test_a_lesion_drawn_on_the_series_is_measured_there(tmp_path):
    """With --roi-space native an ROI on the series' own grid is taken as it is, if there is one."""
    own, other = (Rois(Path(f"{s}.nii"), s, ()) for s in ("dwi", "T1w"))
    session = Session("01", "a", t1w=Path("t1w.nii"), enhancing=(other, own))
    native = Config(tmp_path, tmp_path, tmp_path, "run", roi_space="native")
    assert lesion_rois(session, "dwi", native) is own
    assert lesion_rois(session, "dce", native) is other
    assert lesion_rois(session, "dwi", Config(tmp_path, tmp_path, tmp_path, "run")) is other
