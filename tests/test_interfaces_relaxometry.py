"""Nodes and graph of T1 and B1: a map reaches the T1 fit, the tissue and the artery."""

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from datasets import write_image

from bidsapp.bids.records import Dynamic, FlipAngleSeries, Rois, Session, TransmitField
from bidsapp.config import Config
from bidsapp.errors import BadInput
from bidsapp.models.contrast.aif import parker2006
from bidsapp.models.contrast.spgr import contrast_r1, spgr_signal
from bidsapp.reports.methods import methods
from bidsapp.run.graphs.branch import begin_branch
from bidsapp.run.graphs.dce import init_dce_wf
from bidsapp.run.graphs.plan import plan_session
from bidsapp.run.nodes.perfusion import FindArterialInput, SignalToConcentration
from bidsapp.run.nodes.relaxometry import FitT1, ReadB1

GRID = (3, 2, 2)
ANGLES = np.deg2rad([2.0, 5.0, 12.0, 20.0])
TIMES = np.arange(30) * 0.1
SPGR = {"repetition_time": 0.005, "flip_angle": 0.26, "relaxivity": 4.5}
B1 = np.linspace(0.75, 1.25, 12).reshape(GRID)


def run(interface, folder, **inputs):
    """Run a node's interface in a folder and return its outputs."""
    return interface(**inputs).run(cwd=str(folder)).outputs


def read(path):
    return np.asarray(nib.load(path).dataobj)


def b1_map(folder, values=B1):
    return str(write_image(folder / "b1_in.nii", values.astype(np.float32)))


def dynamic(folder, blood):
    """Write the series of a concentration under B1; T1 is 1.6 s."""
    r1 = contrast_r1(blood, 1.6, 4.5)
    data = spgr_signal(r1, 0.005, 0.26 * B1[..., None], 1e4)
    return str(write_image(folder / "dce.nii", data.astype(np.float32)))


def test_percent_becomes_a_ratio(tmp_path):
    """A map in percent comes out as the ratio, and zeros as missing."""
    values = 100 * B1
    values[0, 0, 0] = 0
    out = run(ReadB1, tmp_path, in_file=b1_map(tmp_path, values), scale=0.01)
    found = read(out.out_file)
    assert np.isnan(found[0, 0, 0])
    np.testing.assert_allclose(found.ravel()[1:], B1.ravel()[1:], rtol=1e-6)


def test_an_implausible_b1_map_is_refused(tmp_path):
    """A map in percent whose sidecar states a ratio is refused with its median and what to do."""
    message = r"b1_in.nii: the B1 map's median is 100 .* check that its Units are right"
    with pytest.raises(BadInput, match=message):
        run(ReadB1, tmp_path, in_file=b1_map(tmp_path, 100 * B1), scale=1.0)


@pytest.mark.parametrize("model", ["vfa-t1", "vfa-t1-linear"])
def test_the_map_repairs_t1(tmp_path, model):
    """Flip angles that B1 changes bias T1 by up to half; with the map T1 is right everywhere."""
    files = []
    for i, angle in enumerate(ANGLES):
        signal = spgr_signal(1 / 1.6, 0.005, angle * B1, 1e4)
        files.append(str(write_image(tmp_path / f"{i}.nii", signal.astype(np.float32))))
    setting = {"in_files": files, "flip_angles": list(ANGLES), "repetition_time": 0.005}
    without = read(run(FitT1, tmp_path, **setting, model=model).out_file)
    assert np.abs(without / 1.6 - 1).max() > 0.4
    with_map = run(FitT1, tmp_path, **setting, model=model, b1_map=b1_map(tmp_path))
    np.testing.assert_allclose(read(with_map.out_file), 1.6, rtol=1e-4)


def test_the_map_repairs_the_concentration(tmp_path):
    """Tissue: with the map each voxel has the concentration imaged, without it up to half off."""
    truth = np.where(TIMES < 0.5, 0.0, 1.0)
    setting = {"in_file": dynamic(tmp_path, truth), "baseline_frames": 5, "t1_tissue": 1.6, **SPGR}
    without = read(run(SignalToConcentration, tmp_path, **setting).out_file)
    assert np.abs(without[..., -1] - 1).max() > 0.2
    out = run(SignalToConcentration, tmp_path, **setting, b1_map=b1_map(tmp_path))
    np.testing.assert_allclose(read(out.out_file), np.broadcast_to(truth, (*GRID, 30)), atol=1e-4)


def test_the_map_repairs_the_arterial_input(tmp_path):
    """Artery: the mean B1 of its voxels corrects its curve, and those of its voxels."""
    blood = parker2006(TIMES, 0.5)
    mask = np.zeros(GRID, np.uint8)
    mask[0, 0, 0] = 1
    setting = {
        "in_file": dynamic(tmp_path, blood),
        "source": "roi",
        "artery": str(write_image(tmp_path / "artery.nii", mask)),
        "times": list(TIMES),
        "t1_blood": 1.6,
        "haematocrit": 0.42,
        "baseline_frames": 5,
        **SPGR,
    }
    errors = []
    for extra in ({}, {"b1_map": b1_map(tmp_path)}):
        out = run(FindArterialInput, tmp_path, **setting, **extra)
        found = np.loadtxt(out.out_file, skiprows=1)[:, 1]
        errors.append(np.abs(found - blood).max())
    assert errors[0] > 0.5
    assert errors[1] < 2e-3
    np.testing.assert_allclose(np.loadtxt(out.voxels, skiprows=1)[:, 1], blood, atol=2e-3)
    unknown = b1_map(tmp_path, np.where(mask, np.nan, B1))
    with pytest.raises(BadInput, match="no value in the AIF mask"):
        run(FindArterialInput, tmp_path, **setting, b1_map=unknown)


def test_voxels_beyond_range_are_counted(tmp_path):
    """Frames that no concentration explains are counted separately from unusable voxels."""
    path = dynamic(tmp_path, np.where(TIMES < 0.5, 0.0, 1.0))
    data = read(path).copy()
    data[0, 0, 0, 10:12] = 1e9
    data[1, 0, 0] = 0
    write_image(Path(path), data)
    mask = np.ones(GRID, np.uint8)
    mask[2, 1, 1] = 0
    mask_file = str(write_image(tmp_path / "mask.nii", mask))
    setting = {"in_file": path, "baseline_frames": 5, "t1_tissue": 1.6, "mask": mask_file, **SPGR}
    out = run(SignalToConcentration, tmp_path, **setting)
    counts = json.loads(Path(out.counts).read_text())
    assert [counts[k] for k in ("Voxels", "VoxelsBeyondRange", "FramesBeyondRange")] == [11, 1, 2]
    assert counts["VoxelsUnusable"] == 1
    status = read(out.status)
    assert [status[0, 0, 0], status[1, 0, 0], status[2, 0, 0], status[2, 1, 1]] == [1, 2, 0, 255]


def test_a_table_is_compared_with_the_artery_of_the_series(tmp_path):
    """That of another dose is reported, also where B1 changes the flip angle of the artery."""
    blood = parker2006(TIMES, 0.5)
    shares = np.linspace(0.01, 0.03, 60).reshape(5, 4, 3)
    shares[2, 1:3] = 1
    r1 = contrast_r1(shares[..., None] * blood, 1.6, SPGR["relaxivity"])
    b1 = np.full(shares.shape, 0.8)
    signal = spgr_signal(r1, SPGR["repetition_time"], 0.8 * SPGR["flip_angle"], 1e4)
    setting = {
        "in_file": str(write_image(tmp_path / "dce.nii", signal.astype(np.float32))),
        "b1_map": str(write_image(tmp_path / "b1.nii", b1)),
        "source": "table", "times": list(TIMES), "t1_blood": 1.6, "haematocrit": 0.4, **SPGR,
    }  # fmt: skip
    areas = []
    for scale in (1.0, 0.4):
        table = tmp_path / f"{scale}.tsv"
        rows = [f"{60 * t:.4f}\t{scale * c:.6f}" for t, c in zip(TIMES, blood, strict=True)]
        table.write_text("\n".join(["time\tblood", *rows]))
        out = run(FindArterialInput, tmp_path, table=str(table), **setting)
        warnings = json.loads(Path(out.quality).read_text())["Warnings"]
        areas.append([text for text in warnings if "its area" in text])
    assert areas[0] == []
    assert "0.4 times that of the artery" in areas[1][0]


def test_air_is_not_counted(tmp_path):
    """A T1 map that is zero around the head, and noise there, do not matter for the lesions."""
    path = dynamic(tmp_path, np.where(TIMES < 0.5, 0.0, 1.0))
    data = read(path).copy()
    data[:, 1] *= np.random.default_rng(0).uniform(0, 0.1, data[:, 1].shape)
    write_image(Path(path), data)
    t1 = np.full(GRID, 1.6)
    t1[:, 1] = np.nan
    setting = {"in_file": path, "baseline_frames": 5, **SPGR}
    t1_map = str(write_image(tmp_path / "t1.nii", t1))
    out = run(SignalToConcentration, tmp_path, t1_map=t1_map, **setting)
    counts = json.loads(Path(out.counts).read_text())
    head = np.delete(np.ones(GRID), 1, axis=1).sum()
    assert (counts["Voxels"], counts["VoxelsBeyondRange"], counts["VoxelsUnusable"]) == (head, 0, 0)


def graph(folder, *, flips, field):
    """Return the DCE branch of a session, all of it blood with T1 = 1.6 s under B1 in percent."""
    image = Path(dynamic(folder, parker2006(TIMES, 0.5)))
    mask = write_image(folder / "artery.nii", np.ones(GRID, np.uint8))
    vfa = tuple(
        write_image(folder / f"{i}.nii", spgr_signal(1 / 1.6, 0.005, a * B1, 1e4))
        for i, a in enumerate(ANGLES)
    )
    transmit = write_image(folder / "TB1map.nii", 100 * B1)
    series = Dynamic(image, tuple(TIMES), 0.005, 0.26, 3.0, 4.5, None)
    session = Session(
        "01",
        "a",
        dynamic=series,
        flip_angle_series=FlipAngleSeries(vfa, tuple(ANGLES), 0.005) if flips else None,
        transmit_field=TransmitField(transmit, 0.01) if field else None,
        artery=Rois(mask, "dce", ()),
    )
    options = {"motion_correction": False, "t1_blood": 1.6, "baseline_frames": 5}
    config = Config(folder, folder / "out", folder / "work", "run", **options)
    workflow = init_dce_wf(
        begin_branch(
            "dce", session.dynamic, plan_session(session, config), config, frozenset(), None
        )
    )
    workflow.base_dir = str(folder / "work")
    return workflow


def edges(workflow):
    return {(a.name, b.name) for a, b in workflow._graph.edges}


@pytest.mark.parametrize("flips", [True, False])
def test_the_graph_brings_b1_where_it_is_needed(tmp_path, flips):
    """One B1 map is used for tissue, artery and T1 fit, if there is one; sidecars state it."""
    workflow = graph(tmp_path, flips=flips, field=True)
    wanted = {("b1", "b1_to_dce"), ("b1_to_dce", "concentration"), ("b1_to_dce", "aif")}
    assert wanted <= edges(workflow)
    assert (("b1_to_vfa", "t1") in edges(workflow)) == flips
    sidecars = workflow.get_node("save_concentration").inputs.sidecars
    assert sidecars[0]["FlipAngleCorrection"] == "bids:raw:TB1map.nii"
    assert "FlipAngleCorrection" in workflow.get_node("save_aif").inputs.sidecars[0]


def test_the_graph_without_a_b1_map_has_no_trace_of_it(tmp_path):
    """Without a B1 map no node and no sidecar refers to one."""
    workflow = graph(tmp_path, flips=True, field=False)
    assert not any("b1" in name for pair in edges(workflow) for name in pair)
    assert "FlipAngleCorrection" not in workflow.get_node("save_concentration").inputs.sidecars[0]


def test_the_branch_finds_t1_and_blood_under_b1(tmp_path):
    """The graph, run on a session that is all blood: T1 and concentration are right everywhere."""
    graph(tmp_path, flips=True, field=True).run()
    out = tmp_path / "out/sub-01/ses-a"
    t1 = read(out / "anat/sub-01_ses-a_desc-vfa_T1map.nii.gz")
    np.testing.assert_allclose(t1, 1.6, rtol=2e-4)  # maps hold 14 binary digits
    concentration = read(out / "perf/sub-01_ses-a_desc-concentration_dce.nii.gz")
    truth = np.broadcast_to(parker2006(TIMES, 0.5), (*GRID, 30))
    np.testing.assert_allclose(concentration, truth, atol=0.01)
    counts = json.loads((out / "perf/sub-01_ses-a_desc-concentration_quality.json").read_text())
    assert (counts["Voxels"], counts["VoxelsBeyondRange"], counts["VoxelsUnusable"]) == (12, 0, 0)
    sidecar = json.loads((out / "anat/sub-01_ses-a_desc-vfa_T1map.json").read_text())
    assert sidecar["FlipAngleCorrection"] == "bids:raw:TB1map.nii"
    assert sidecar["Model"]["Name"] == "vfa-t1"


def test_the_methods_name_the_fit_of_t1():
    """The text states which fit gave T1, unless T1 was given."""
    config = Config(Path(), Path(), Path(), "run", t1_model="vfa-t1-linear")
    assert "weighted linear fit" in methods(config)
    given = Config(Path(), Path(), Path(), "run", t1_tissue=1.2)
    assert "several flip angles" not in methods(given)
