"""Measured curves of a glioblastoma through the whole participant level, as a user would run it."""

import csv
import json
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from datasets import dynamic_signal, write_aif_mask, write_dce, write_description, write_roi
from scipy.stats import spearmanr

from bidsapp.cli.main import main

CURVES = np.load(Path(__file__).parent / "data" / "dce_gbm_rrift" / "curves.npz")
VISITS = (1, 2, 3)
T1 = 1.6


def write_visit(root: Path, visit: int) -> None:
    """Write one visit: 500 tumour voxels and the artery as a dynamic series with its ROIs."""
    time, plasma, tissue = (
        np.asarray(CURVES[f"{k}_{visit}"], float) for k in ("time", "plasma", "tissue")
    )
    grid = (51, 10, 2)
    signal = np.zeros((*grid, len(time)), np.float32)
    signal[:50, :, 0] = dynamic_signal(tissue, T1).reshape(50, 10, -1)
    signal[50, 0, 0] = dynamic_signal(plasma, T1)
    tumour, artery = np.zeros(grid, np.uint8), np.zeros(grid, np.uint8)
    tumour[:50, :, 0], artery[50, 0, 0] = 1, 1
    folder, name = f"sub-0185/ses-{visit}", f"sub-0185_ses-{visit}"
    write_dce(root, f"{folder}/perf/{name}", signal, (time * 60).tolist())
    stem = f"{folder}/anat/{name}"
    write_roi(root, stem, tumour, "index\tname\n1\tglioblastoma\n", "enhancing", space="dce")
    write_aif_mask(root, stem, artery)
    table = root / "derivatives/manual_masks" / f"{stem}_label-AIF_timeseries.tsv"
    rows = [f"{t * 60}\t{c}" for t, c in zip(time, plasma, strict=True)]
    table.write_text("\n".join(["time\tplasma", *rows]), encoding="utf-8")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Write the three visits once."""
    folder = tmp_path_factory.mktemp("gbm")
    write_description(folder / "bids")
    for visit in VISITS:
        write_visit(folder / "bids", visit)
    return folder


@pytest.fixture(scope="module", params=["roi", "table"])
def output(root, request):
    """Run the participant level on them: with the artery's voxel, or with the authors' curve."""
    options = [
        "--skip-bids-validation", "--no-motion-correction", "--nprocs", "1", "--t1-tissue", str(T1),
        "--t1-blood", str(T1), "--haematocrit", "0", "--aif", request.param,
    ]  # fmt: skip
    target = root / request.param
    assert main([str(root / "bids"), str(target), "participant", *options]) == 0
    return target


def values(output: Path, visit: int) -> dict[str, dict[str, str]]:
    """Return the lesion table of one visit by parameter."""
    name = f"sub-0185_ses-{visit}_seg-enhancing_model-etofts_roistats.tsv"
    path = output / "sub-0185" / f"ses-{visit}" / "perf" / name
    with path.open(encoding="utf-8", newline="") as stream:
        return {row["parameter"]: row for row in csv.DictReader(stream, delimiter="\t")}


def voxels(output: Path, visit: int, parameter: str) -> np.ndarray:
    """Return a map's values in the tumour's voxels, in the order of the curves."""
    name = f"sub-0185_ses-{visit}_model-etofts_param-{parameter}_dcemap.nii.gz"
    image = nib.load(output / "sub-0185" / f"ses-{visit}" / "perf" / name)
    return np.asarray(image.dataobj)[:50, :, 0].ravel()


@pytest.mark.parametrize("visit", VISITS)
def test_medians_lie_beside_the_published_fits(output, visit):
    """Medians over the voxels that both fits find physical agree.

    The authors' own arterial curve gives their medians to 20 %. From the artery's one voxel they
    come out up to a third higher: its signal before the bolus is the mean of five noisy frames, and
    an error there scales all its concentrations. The other differences: concentrations may be
    negative here, the convolution is exact, and no parameter can be negative.
    """
    published = np.asarray(CURVES[f"published_{visit}"], float)
    fine = (published > 0).all(axis=1) & (voxels(output, visit, "status") == 0)
    assert fine.sum() > 200
    tolerance = 0.2 if output.name == "table" else 0.35
    for name, theirs in zip(("Ktrans", "kep", "vp"), published[fine].T, strict=True):
        ours = voxels(output, visit, name)[fine]
        assert np.median(ours) == pytest.approx(np.median(theirs), rel=tolerance)
        assert spearmanr(ours, theirs).statistic > 0.8


@pytest.mark.parametrize("visit", VISITS)
def test_the_lesion_table_is_the_maps(output, visit):
    """The table's median is that of the map over the tumour, as a user would take it."""
    for name, row in values(output, visit).items():
        expected = np.nanmedian(voxels(output, visit, name))
        assert float(row["median"]) == pytest.approx(expected, rel=1e-5)


def test_only_a_measured_input_has_a_mask(output):
    """Without one, no file and no page claims that voxels were chosen."""
    folder = output / "sub-0185" / "ses-1" / "perf"
    masks = [path.name for path in folder.glob("*_label-AIF_desc-*_mask.nii.gz")]
    page = (output / "sub-0185.html").read_text(encoding="utf-8")
    measured = output.name == "roi"
    name = "sub-0185_ses-1_space-dce_label-AIF_desc-roi_mask.nii.gz"
    assert masks == ([name] if measured else [])
    assert ("1 voxel. Outlined" in page) == measured


@pytest.mark.parametrize("output", ["roi"], indirect=True)
def test_the_mask_of_the_artery_has_its_rule_and_its_sources(output):
    """The voxel that was drawn is in it; the sidecar states how it was chosen, and from what."""
    stem = "sub-0185_ses-1_space-dce_label-AIF_desc-roi_mask"
    folder = output / "sub-0185" / "ses-1" / "perf"
    mask = np.asarray(nib.load(folder / f"{stem}.nii.gz").dataobj)
    assert np.argwhere(mask).tolist() == [[50, 0, 0]]
    sidecar = json.loads((folder / f"{stem}.json").read_text())
    assert "half its peak" in sidecar["Description"]
    assert len(sidecar["Sources"]) == 2


@pytest.mark.parametrize("visit", VISITS)
def test_every_voxel_is_accounted_for(output, visit):
    """Voxels whose measured curve cannot be a concentration are counted as failed, not dropped."""
    row = values(output, visit)["Ktrans"]
    assert int(row["n_voxels"]) == 500
    assert int(row["n_valid"]) + int(row["n_failed"]) == 500
    impossible = (np.asarray(CURVES[f"tissue_{visit}"]) < -1 / (T1 * 4.5)).any(axis=1).sum()
    assert int(row["n_failed"]) >= impossible


def test_no_anatomy_is_said(output):
    """Sessions without a T1w are analysed in native space, as the page states."""
    page = (output / "sub-0185.html").read_text(encoding="utf-8")
    assert "no T1w: analysed in the native space of each series" in page


def test_more_baseline_frames_than_frames_are_refused(root, capsys):
    """The run fails with the reason, and gives no table."""
    words = [str(root / "bids"), str(root / "impossible"), "participant", "--session-label", "1"]
    fixed = ["--skip-bids-validation", "--no-motion-correction", "--nprocs", "1"]
    assert main([*words, *fixed, "--baseline-frames", "70"]) == 1
    message = "--baseline-frames is 70, but the series has 70 frames"
    assert message in capsys.readouterr().err
    assert not list((root / "impossible").rglob("*_roistats.tsv"))


def test_a_relaxivity_of_zero_is_refused(root, capsys):
    """The command line ends with 2, before anything is written."""
    words = [str(root / "bids"), str(root / "zero"), "participant", "--relaxivity", "0"]
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 2
    assert "--relaxivity" in capsys.readouterr().err
    assert not (root / "zero").exists()


def test_an_aif_mask_on_another_grid_is_refused(root, tmp_path, capsys):
    """A mask of the right shape in the wrong place is no arterial input."""
    copy = tmp_path / "bids"
    shutil.copytree(root / "bids", copy)
    path = next(copy.rglob("*ses-1_*label-AIF_mask.nii.gz"))
    image = nib.load(path)
    moved = image.affine.copy()
    moved[0, 3] += 40
    nib.save(nib.Nifti1Image(np.asanyarray(image.dataobj), moved), path)
    fixed = ["--skip-bids-validation", "--no-motion-correction", "--nprocs", "1"]
    words = [str(copy), str(tmp_path / "out"), "participant", "--session-label", "1"]
    assert main([*words, *fixed]) == 1
    assert "its grid" in capsys.readouterr().err
