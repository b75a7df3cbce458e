"""What the user can choose among the models, and what comes of each choice."""

import csv
import importlib
import json
from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest
from datasets import dynamic_signal, write_dce, write_description, write_dwi, write_image, write_roi

from bidsapp.bids.records import Diffusion, Session
from bidsapp.cli import options
from bidsapp.cli.main import main
from bidsapp.config import Config
from bidsapp.errors import FitError
from bidsapp.models import MODELS, DiffusionModel, count_directions, table
from bidsapp.models.contrast.aif import parker2006
from bidsapp.models.kinetics.model_choice import best_model, compare_models
from bidsapp.models.table import (
    AUTO,
    DCE_MODELS,
    IVIM_MODELS,
    REPORTED,
    T1_MODELS,
    ivim_row,
    kinetic_rows,
)
from bidsapp.reports.methods import methods
from bidsapp.reports.participant.records import read_participant
from bidsapp.run.graphs.plan import fit_options, plan_session
from bidsapp.run.nodes.fitting import FitDiffusion, map_names
from bidsapp.study.read import read_output

pytestmark = pytest.mark.usefixtures("short_pages")

BVALUES = [0, 10, 30, 60, 100, 200, 400, 600, 800, 800, 800]
TRUTH = {"f": 0.1, "D": 0.9e-3, "Dstar": 20e-3, "S0": 1000.0}
PLAIN = ("--skip-bids-validation", "--no-motion-correction", "--nprocs", "1")


def config(tmp_path, **settings):
    return Config(tmp_path, tmp_path, tmp_path, "run", **settings)


def planned(series, settings):
    """Return which diffusion models are fitted to a series, and the issues as text."""
    plan = plan_session(Session("01", "a", diffusion=series), settings)
    return [model.name for model in plan.diffusion_models], "\n".join(map(str, plan.issues))


def decay(f, shape=(6, 6, 2), noise=5.0, s0=1000.0):
    """Noisy magnitudes of a tissue; f is one number or a map."""
    share = np.broadcast_to(f, shape)
    values = {k: np.full(shape, v) for k, v in TRUTH.items()} | {"f": share, "S0": share * 0 + s0}
    clean = MODELS["ivim-biexponential"].predict(values, bvalues=np.array(BVALUES, float))
    rng = np.random.default_rng(3)
    real, imaginary = rng.normal(0, noise, (2, *clean.shape))
    return np.hypot(clean + real, imaginary).astype(np.float32)


def rows_of(path):
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream, delimiter="\t"))


@pytest.mark.parametrize(
    ("option", "names"), [("--ivim-model", IVIM_MODELS), ("--dce-model", DCE_MODELS)]
)
def test_every_model_of_the_table_can_be_chosen(option, names):
    """The parser accepts the models of the table, and the methods text describes each."""
    for name in names:
        found = options.study_parser().parse_args(["in", "out", "participant", option, name])
        assert getattr(found, option[2:].replace("-", "_")) == name
    assert {ivim_row(n).name for n in IVIM_MODELS} <= MODELS.keys()
    assert {*DCE_MODELS} - {AUTO} <= MODELS.keys()


def test_the_defaults_are_in_the_table(tmp_path):
    """The default models are among the choices."""
    settings = config(tmp_path)
    assert settings.ivim_model in IVIM_MODELS
    assert settings.dce_model in DCE_MODELS
    assert settings.t1_model in T1_MODELS
    assert options.study_parser().parse_args(["in", "out", "group"]).dce_model == settings.dce_model


@pytest.mark.parametrize("model", [*IVIM_MODELS])
@pytest.mark.parametrize("noise", ["gaussian", "rician"])
def test_methods_name_the_diffusion_model_and_its_noise(model, noise, tmp_path):
    """The model's title, formula and reference are there; Rician noise is, when it was taken."""
    text = methods(config(tmp_path, ivim_model=model, noise=noise))
    row = ivim_row(model)
    assert row.title in text
    assert row.formula in text
    assert row.doi in text
    assert ("Rician" in text) == (noise == "rician")
    assert ("a separate region" in text) == (model == "bayesian")


@pytest.mark.parametrize("model", DCE_MODELS)
def test_methods_name_the_kinetic_models(model, tmp_path):
    """Each model that is fitted is named with its reference; a delay where it is fitted."""
    settings = config(tmp_path, dce_model=model, fit_delay=f"{model}-delay" in MODELS)
    text = methods(settings)
    assert all(row.doi in text for row in kinetic_rows(model))
    assert ("series of delays" in text) == settings.fit_delay
    assert ("Akaike" in text) == (model == AUTO)


def test_auto_does_not_fit_a_delay(tmp_path, capsys):
    """Both together are refused in words, on the command line (exit 2) and by the table."""
    with pytest.raises(SystemExit) as ended:
        main([str(tmp_path), str(tmp_path / "o"), "group", "--dce-model", "auto", "--fit-delay"])
    assert ended.value.code == 2
    assert "--fit-delay: a delay is not fitted with auto" in capsys.readouterr().err
    with pytest.raises(FitError, match="choose one of extended-tofts, tofts"):
        kinetic_rows(AUTO, delay=True)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["dose=2"], "no model of this run has the option dose; their options are: delay"),
        (["sigma=2"], "no model of this run has the option sigma"),
        (["delay"], "--model-options takes NAME=NUMBER, got delay"),
        (["delay=late"], "--model-options takes NAME=NUMBER, got delay=late"),
    ],
)
def test_an_option_that_no_chosen_model_has_is_refused(words, message, tmp_path, capsys):
    """The message names the options that the chosen models have; exit 2."""
    with pytest.raises(SystemExit) as ended:
        main([str(tmp_path), str(tmp_path / "o"), "group", "--model-options", *words])
    assert ended.value.code == 2
    assert message in " ".join(capsys.readouterr().err.split())


def test_a_model_gets_the_options_it_takes(tmp_path):
    """Each row takes its own of the further options and of those with a name of their own."""
    chosen = config(tmp_path, b_min=150.0, model_options=(("delay", 0.1), ("sigma", 3.0)))
    assert chosen.fit_options(MODELS["patlak"].options) == {"delay": 0.1}
    assert chosen.fit_options(MODELS["ivim-bayesian"].options)["sigma"] == 3
    assert chosen.fit_options(MODELS["ivim-bayesian"].options)["b_min"] == 150
    assert fit_options(MODELS["adc"], chosen).keys() == {"b_max", "noise"} | {"sigma"}


def test_every_module_of_a_package_gives_its_rows(tmp_path, monkeypatch):
    """A new file with MODELS is found; those without are passed over; the order is fixed."""
    folder = tmp_path / "new_models"
    folder.mkdir()
    files = {"__init__": "", "zeta": "MODELS = (5, 6)", "tofts": "MODELS = (1,)", "help": "x = 1"}
    for name, text in files.items():
        (folder / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    assert list(table._rows(importlib.import_module("new_models"))) == [1, 5, 6]


def test_two_models_of_one_name_are_refused():
    """Names and labels are unique, or the maps of one would overwrite the other's."""
    row = MODELS["patlak"]
    with pytest.raises(FitError, match="two models are named 'patlak' or labelled 'other'"):
        table._by_name([row, replace(row, label="other")])


def test_a_model_can_stay_out_of_the_comparison(monkeypatch):
    """A row with in_auto False can be chosen, but `auto` does not fit it."""
    alone = replace(MODELS["patlak"], in_auto=False)
    monkeypatch.setattr(table, "_KINETIC", (alone, MODELS["tofts"]))
    assert [row.name for row in kinetic_rows(AUTO)] == ["tofts", "extended-tofts"]


@pytest.mark.parametrize(
    ("model", "bvalues", "words"),
    [
        ("asymptotic", (50, 200, 400), "the asymptotic fit needs b = 0 and two b-values from 200"),
        ("segmented", (0, 200, 400), "the segmented fit needs four b-values and two b-values from"),
        ("segmented", (0, 10, 20, 40, 400), "two b-values from 200 s/mm2; the series has 0, 10"),
        ("biexponential", (0, 200, 400), "the biexponential fit needs four b-values; the series"),
        ("bayesian", (0, 50, 200, 400), "and five for the noise level; the series has 0, 50, 200"),
    ],
)
def test_a_series_that_a_model_cannot_use_is_named_with_the_reason(model, bvalues, words, tmp_path):
    """Before the run: what the fit needs, and what the series has."""
    series = Diffusion(tmp_path, tuple(map(float, bvalues)), None)
    models, issues = planned(series, config(tmp_path, ivim_model=model))
    assert models == ["adc"]
    assert words in issues


@pytest.mark.parametrize("model", IVIM_MODELS)
@pytest.mark.parametrize("noise", ["gaussian", "rician"])
def test_a_fit_that_is_planned_runs(model, noise, tmp_path):
    """The smallest set of b-values that is accepted is enough for the fit itself."""
    count = (
        5
        if noise == "rician" or model == "bayesian"
        else 3
        if model in ("asymptotic", "fixed-dstar")
        else 4
    )
    bvalues = (*(0.0, 50.0, 100.0)[: count - 2], 400.0, 800.0)
    series = Diffusion(tmp_path, bvalues, None)
    settings = config(tmp_path, ivim_model=model, noise=noise)
    row = ivim_row(model)
    assert planned(series, settings)[0] == ["adc", row.name]
    options = {"noise": noise} if "noise" in row.options else {}
    truth = {k: np.full(300, v) for k, v in TRUTH.items()}
    signal = MODELS["ivim-biexponential"].predict(truth, bvalues=np.array(bvalues))
    signal += np.random.default_rng(0).normal(0, 5, signal.shape)

    class Table:
        bvals = np.array(bvalues)

    options |= {"dstar": TRUTH["Dstar"]} if "dstar" in row.design else {}
    found = DiffusionModel(Table(), row.name, **options).fit(signal)
    assert np.isfinite(found.values[row.parameters[1].name]).mean() > 0.9


def test_a_noise_level_that_cannot_be_estimated_stops_the_series(tmp_path):
    """Rician noise with fewer than five b-values gives not even an ADC; the reason is reported."""
    series = Diffusion(tmp_path, (0.0, 500.0, 1000.0), None)
    models, issues = planned(series, config(tmp_path, noise="rician"))
    assert models == []
    assert "no ADC: the fit needs two b-values and five for the noise level" in issues


def test_a_noise_level_that_cannot_be_estimated_is_a_failure_of_the_run(tmp_path, capsys):
    """The run ends with 1, gives the reason, and writes no map that was fitted otherwise."""
    root, stem = tmp_path / "bids", "sub-01/ses-a/dwi/sub-01_ses-a"
    write_description(root)
    write_dwi(root, stem, decay(0.1)[..., [0, 5, 7]], [0, 200, 600])
    words = [str(root), str(tmp_path / "out"), "participant", *PLAIN]
    assert main([*words, "--noise", "rician"]) == 1
    assert "five for the noise level; the series has 0, 200, 600" in capsys.readouterr().err
    assert not list((tmp_path / "out").rglob("*dwimap*"))


def test_directions_are_counted():
    """Each shell has the number of magnitudes of its geometric mean, in any order."""
    np.testing.assert_array_equal(count_directions([1000, 0, 1005, 3, 400, 1000]), [2, 1, 3])


def test_rician_noise_takes_the_floor_off():
    """At low signal D is too small by the noise floor; with it taken off, it is not."""

    class Table:
        bvals = np.array(BVALUES, float)

    signal = decay(0.1, (20, 20, 5), noise=40, s0=100.0)
    plain, corrected = (
        DiffusionModel(Table(), "adc", noise=n).fit(signal) for n in ("gaussian", "rician")
    )
    assert corrected.design["sigma"] == pytest.approx(40, rel=0.15)
    assert np.nanmedian(corrected.values["ADC"]) > 1.1 * np.nanmedian(plain.values["ADC"])


def test_each_lesion_has_a_prior_of_its_own(tmp_path, monkeypatch):
    """A tumour of high f is drawn to its own prior; with the brain's its f would be far too low."""
    monkeypatch.chdir(tmp_path)
    labels = np.zeros((10, 10, 4), np.uint8)
    labels[2:6, 2:6, 1:3] = 3
    image = write_image(tmp_path / "dwi.nii", decay(np.where(labels, 0.25, 0.05), labels.shape, 30))
    rois = write_image(tmp_path / "rois.nii", labels)
    means = {}
    for name, regions in (("own", {"regions": str(rois)}), ("one", {})):
        node = FitDiffusion(in_file=str(image), model="ivim-bayesian", bvalues=BVALUES, **regions)
        outputs = node.run(cwd=tmp_path).outputs
        outcome = json.loads((tmp_path / "learnt.json").read_text())["ivim-bayesian"]
        assert list(outcome["prior"]) == (["0", "3"] if regions else ["0"])
        assert outcome["sigma"] == pytest.approx(30, rel=0.15)
        f = nib.load(outputs.out_files[map_names(MODELS["ivim-bayesian"]).index("f")]).get_fdata()
        means[name] = f[labels == 3]
    assert means["own"].mean() == pytest.approx(0.25, abs=0.03)
    assert means["one"].mean() < 0.2


def test_the_verdict_is_that_of_a_calculation_by_hand():
    """Sums, differences, weights of the mean and preferences over the voxels that all fitted."""
    criterion = [[-100, -90, -80, np.nan], [-110, -80, -85, -70], [-94, -95, -75, -60]]
    found = compare_models(criterion)
    assert found.compared == 3
    np.testing.assert_allclose(found.total, [-270, -275, -264])
    np.testing.assert_allclose(found.delta, [5, 0, 11])
    likelihood = np.exp([-5 / 6, 0, -11 / 6])
    np.testing.assert_allclose(found.weight, likelihood / likelihood.sum())
    np.testing.assert_array_equal(found.preferred, [0, 2, 1])
    assert found.verdicts == ["as good", "best", "worse"]
    np.testing.assert_array_equal(best_model(criterion), [2, 3, 2, np.nan])


def test_without_a_voxel_there_is_no_verdict():
    """If no voxel was fitted by all models, none is compared and none is best."""
    found = compare_models([[np.nan, -1.0], [-2.0, np.nan]])
    assert found.compared == 0
    assert found.verdicts == ["n/a", "n/a"]
    assert np.isnan(found.total).all()


@pytest.mark.whole_pages
def test_diffusion_sidecars_tell_noise_and_regions(tmp_path):
    """The noise level, each region's prior and what a region is are in the sidecar and page."""
    root, stem = tmp_path / "bids", "sub-01/ses-a/dwi/sub-01_ses-a"
    write_description(root)
    write_dwi(root, stem, decay(0.1), BVALUES)
    labels = np.zeros((6, 6, 2), np.uint8)
    labels[1:4, 1:4] = 1
    write_roi(root, stem, labels, "index\tname\n1\tone\n", "enhancing", space="dwi")
    words = [str(root), str(tmp_path / "out"), "participant", *PLAIN]
    assert main([*words, "--ivim-model", "bayesian", "--noise", "rician"]) == 0
    folder = tmp_path / "out/sub-01/ses-a/dwi"
    outcome = json.loads((folder / "sub-01_ses-a_model-bayes_param-f_dwimap.json").read_text())
    settings = outcome["Model"]["Parameters"]
    assert settings["sigma"] == pytest.approx(5, rel=0.3)
    assert list(settings["prior"]) == ["0", "1"]
    assert settings["region"].startswith("each lesion, by its label in ")
    adc = json.loads((folder / "sub-01_ses-a_desc-monoexp_ADC.json").read_text())
    assert adc["Model"]["Parameters"]["noise"] == "rician"
    assert adc["Model"]["Parameters"]["sigma"] == pytest.approx(5, rel=0.3)
    page = (tmp_path / "out/sub-01.html").read_text()
    assert "Noise level estimated from the data" in page
    assert "no --noise rician in the bayesian IVIM fit" in page


def dynamic(root, stem):
    """A series whose lesion obeys Patlak's model, with its ROI."""
    time = np.arange(50) * 6 / 60
    truth = {"Ktrans": np.array(0.03), "vp": np.array(0.05)}
    plasma = parker2006(time, 0.5) / 0.58
    tissue = MODELS["patlak"].predict(truth, time=time, plasma=plasma)
    signal = dynamic_signal(np.broadcast_to(tissue, (6, 6, 2, 50)).copy())
    noise = np.random.default_rng(1).normal(0, signal.mean() * 2e-3, signal.shape)
    write_dce(root, stem, (signal + noise).astype(np.float32), (time * 60).tolist())
    labels = np.zeros((6, 6, 2), np.uint8)
    labels[1:5, 1:5] = 2
    write_roi(root, stem, labels, "index\tname\n2\ttwo\n", "enhancing", space="dce")


@pytest.mark.whole_pages
def test_auto_tells_which_model_each_lesion_supports(tmp_path):
    """All models' maps and criteria, the best in each voxel, and a verdict; one lesion table."""
    root, stem = tmp_path / "bids", "sub-01/ses-a/perf/sub-01_ses-a"
    write_description(root)
    dynamic(root, stem)
    words = [str(root), str(tmp_path / "out"), "participant", *PLAIN, "--aif", "parker2006"]
    assert main([*words, "--dce-model", "auto"]) == 0
    start = str(tmp_path / "out" / stem)
    labels = [row.label for row in kinetic_rows(AUTO)]
    for label in labels:
        assert nib.load(f"{start}_model-{label}_param-aicc_dcemap.nii.gz").shape == (6, 6, 2)
    best = json.loads((tmp_path / f"out/{stem}_desc-modelchoice_dcemap.json").read_text())
    assert list(best["Levels"].values()) == [row.name for row in kinetic_rows(AUTO)]
    table = tmp_path / f"out/{stem}_seg-enhancing_desc-modelchoice_roistats.tsv"
    verdicts = {row["model"]: row for row in rows_of(table)}
    assert list(verdicts) == labels
    assert verdicts["patlak"]["verdict"] == "best"
    assert verdicts["tofts"]["verdict"] == "worse"
    assert verdicts["patlak"]["n_compared"] == "32"
    reported = f"those of {MODELS[REPORTED].label}"
    assert reported in table.with_suffix(".json").read_text()
    assert {row["model"] for row in read_output(tmp_path / "out").rows} == {"etofts"}
    (session,) = read_participant(tmp_path / "out", "01").sessions
    assert "_model-etofts_" in session.map("perf", "vp").name
    assert session.map("perf", "Fp") is None
    page = (tmp_path / "out/sub-01.html").read_text()
    assert "Comparison of kinetic models" in page
    assert "two-compartment exchange" in page


def test_a_delay_reaches_the_lesion_table(tmp_path):
    """With --fit-delay the rows of model etoftsdelay hold the delay, and the group reads them."""
    root, stem = tmp_path / "bids", "sub-01/ses-a/perf/sub-01_ses-a"
    write_description(root)
    dynamic(root, stem)
    words = [str(root), str(tmp_path / "out"), "participant", *PLAIN, "--aif", "parker2006"]
    assert main([*words, "--fit-delay"]) == 0
    found = read_output(tmp_path / "out")
    assert not found.problems
    rows = {row["parameter"]: row for row in found.rows}
    assert {row["model"] for row in found.rows} == {"etoftsdelay"}
    assert rows["delay"]["unit"] == "min"
    assert abs(float(rows["delay"]["mean"])) < 0.15
    assert np.isfinite(found.cohort.lesions["Ktrans"].iloc[0])
    path = tmp_path / f"out/{stem}_model-etoftsdelay_param-delay_dcemap.json"
    assert json.loads(path.read_text())["Units"] == "min"
