"""A dynamic series without arterial input through the participant and group levels, as users run.

The voxels are those of the glioblastoma of `tests/data/dce_gbm_rrift`.
"""

import csv
import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from datasets import dynamic_signal, write_dce, write_description, write_roi

from bidsapp.cli.main import main
from bidsapp.models import fit
from bidsapp.models.parameters import FOLLOWED
from bidsapp.reports.figures.time_courses import Course, time_courses
from bidsapp.study.read import read_output

pytestmark = pytest.mark.usefixtures("short_pages")

CURVES = np.load(Path(__file__).parent / "data" / "dce_gbm_rrift" / "curves.npz")
NAMES = ["iAUC60", "iAUC90", "TTP", "washin", "washout"]
T1 = 1.6
OPTIONS = [
    "--skip-bids-validation", "--no-motion-correction", "--nprocs", "1", "--t1-tissue", str(T1),
]  # fmt: skip


def write_visit(root: Path, visit: int, frames: int | None = None) -> None:
    """Write 500 tumour voxels of a visit as a dynamic series, of which only the lesion is drawn."""
    time, tissue = (np.asarray(CURVES[f"{k}_{visit}"], float) for k in ("time", "tissue"))
    signal = np.zeros((51, 10, 2, len(time)), np.float32)
    signal[:50, :, 0] = dynamic_signal(tissue, T1).reshape(50, 10, -1)
    tumour = np.zeros(signal.shape[:3], np.uint8)
    tumour[:50, :, 0] = 1
    folder, name = f"sub-01/ses-{visit}", f"sub-01_ses-{visit}"
    times = (60 * time[:frames]).tolist()
    write_dce(root, f"{folder}/perf/{name}", signal[..., :frames], times)
    stem = f"{folder}/anat/{name}"
    write_roi(root, stem, tumour, "index\tname\n1\tglioblastoma\n", "enhancing", space="dce")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Write two visits, and one that ends 70 s after the bolus."""
    folder = tmp_path_factory.mktemp("without")
    write_description(folder / "bids")
    write_visit(folder / "bids", 1)
    write_visit(folder / "bids", 2, frames=20)
    return folder


@pytest.fixture(scope="module")
def output(root):
    """Run the participant level with the default options."""
    target = root / "default"
    assert main([str(root / "bids"), str(target), "participant", *OPTIONS]) == 1
    return target


def values(output: Path, visit: int, label: str = "semiquant") -> dict[str, dict[str, str]]:
    """Return the lesion table of one visit by parameter."""
    name = f"sub-01_ses-{visit}_seg-enhancing_model-{label}_roistats.tsv"
    with (output / "sub-01" / f"ses-{visit}" / "perf" / name).open(newline="") as stream:
        return {row["parameter"]: row for row in csv.DictReader(stream, delimiter="\t")}


def issues(output: Path, visit: int) -> dict[str, str]:
    """Return the texts of the issues of a visit by code."""
    status = json.loads((output / "sub-01" / "log" / "status.json").read_text())
    return {one["code"]: one["text"] for one in status["sessions"][f"ses-{visit}"]["issues"]}


def test_the_dry_run_says_what_will_be_computed(root, capsys):
    """The failure is that of before, exit code 1; its text names what replaces Ktrans."""
    assert main([str(root / "bids"), str(root / "dry"), "participant", "--dry-run", *OPTIONS]) == 1
    shown = capsys.readouterr().out
    assert "sub-01 ses-1: dce, rois" in shown
    assert "failed: no AIF mask (label-AIF_mask) for the DCE series; draw one" in shown
    assert "computed instead of Ktrans, ve and vp: semi-quantitative parameters" in shown


def test_the_failure_stays_and_says_what_was_computed(output):
    """Its level is that of a missing artery; the branch is done."""
    status = json.loads((output / "sub-01" / "log" / "status.json").read_text())
    (failure,) = [i for i in status["sessions"]["ses-1"]["issues"] if i["level"] == "failed"]
    assert failure["code"] == "NoArterialInput"
    assert "computed instead of Ktrans, ve and vp" in failure["text"]
    assert "dce" in status["sessions"]["ses-1"]["done"]


def test_lesion_values_are_those_of_the_voxels(output):
    """Means over the voxels, of the description of their curves from the arrival of the series."""
    found = values(output, 1)
    folder = output / "sub-01" / "ses-1" / "perf"
    bolus = json.loads((folder / "sub-01_ses-1_desc-bolus_quality.json").read_text())
    time = np.asarray(CURVES["time_1"], float)
    series = nib.load(folder / "sub-01_ses-1_desc-concentration_dce.nii.gz")
    curves = np.asarray(series.dataobj, float)[:50, :, 0].reshape(500, -1)
    expected = fit("semi-quantitative", curves, time=time, arrival=bolus["Arrival"] / 60)
    assert list(found) == NAMES
    for name in NAMES:
        mean = float(np.nanmean(expected.values[name]))
        assert float(found[name]["mean"]) == pytest.approx(mean, rel=2e-3), name
        assert int(found[name]["n_valid"]) == np.isfinite(expected.values[name]).sum()
    assert found["iAUC60"]["unit"] == "mM min"


def test_each_map_says_what_it_is(output):
    """Unit, model, arrival and conversion are in the sidecar; an arterial input is not."""
    folder = output / "sub-01" / "ses-1" / "perf"
    sidecar = json.loads(
        (folder / "sub-01_ses-1_model-semiquant_param-TTP_dcemap.json").read_text()
    )
    settings = sidecar["Model"]["Parameters"]
    assert sidecar["Units"] == "min"
    assert {"arrival", "t1_tissue", "relaxivity"} <= settings.keys()
    assert {"arterial_input", "haematocrit", "t1_blood"}.isdisjoint(settings)
    assert not list(folder.glob("*AIF*"))


def test_a_series_that_ends_early_has_no_late_area(output):
    """No value and a warning in words; the other parameters are there."""
    found = values(output, 2)
    assert found["iAUC90"]["mean"] == "n/a"
    assert float(found["iAUC60"]["mean"]) > 0
    assert "s after the arrival of the bolus: no iAUC90" in issues(output, 2)["DoubtfulInput"]


def test_lesions_have_unmixed_values_and_curves(output):
    """Without a part of the standard error from an arterial input."""
    folder = output / "sub-01" / "ses-1" / "perf"
    name = "sub-01_ses-1_seg-enhancing_model-semiquant_desc-unmixed_roistats.tsv"
    with (folder / name).open(newline="") as stream:
        rows = list(csv.DictReader(stream, delimiter="\t"))
    assert [row["parameter"] for row in rows] == NAMES
    assert {row["arterial"] for row in rows} == {"n/a"}
    curves = (folder / "sub-01_ses-1_seg-enhancing_desc-concentration_timeseries.tsv").read_text()
    assert "lesion-1_fit" in curves.splitlines()[0]


def test_the_page_and_the_methods_describe_it(output):
    """The page shows the parameters; the methods text does not speak of an artery."""
    page = (output / "sub-01.html").read_text()
    assert "Wash-out" in page
    assert "iAUC60" in page
    text = (output / "logs" / "CITATION.md").read_text()
    assert "Curves were described semi-quantitatively" in text
    assert "arterial input function" not in text


def test_the_group_level_follows_the_parameters(output):
    """They are columns of the cohort, and Ktrans is not."""
    cohort = read_output(output).cohort
    assert set(cohort.parameters) == set(NAMES)


def test_the_model_asked_for_is_no_failure(root):
    """Without a need of an artery none is missed, and --aif is said to have no effect."""
    target = root / "asked"
    options = [*OPTIONS, "--dce-model", "semi-quantitative", "--aif", "auto"]
    assert main([str(root / "bids"), str(target), "participant", *options]) == 0
    assert "NoArterialInput" not in issues(target, 1)
    said = issues(target, 1)["UnusedInput"]
    assert said == "--aif auto has no effect: --dce-model semi-quantitative needs no artery"
    assert values(target, 1) == values(root / "default", 1)


def test_an_artery_that_is_not_found_names_the_model_without_one(root):
    """A series without an artery fails with --aif auto, and the message says what is possible."""
    target = root / "auto"
    assert main([str(root / "bids"), str(target), "participant", *OPTIONS, "--aif", "auto"]) == 1
    text = issues(target, 1)["FitError"]
    assert "--dce-model semi-quantitative describes the curves without one" in text


def test_a_group_may_have_every_parameter():
    """Sessions with and without an artery in one group: a panel each, in rows."""
    values = pd.DataFrame({"before": [4.0, 5.0, 6.0], "after": [1.0, 3.0, 2.0]})
    figure = time_courses([Course(name, values, {}) for name in FOLLOWED])
    shown = [axes for axes in figure.axes if axes.axison]
    assert [axes.get_ylabel() for axes in shown] == list(FOLLOWED)
    assert figure.get_size_inches()[0] < 20
