"""The command line: spellings, refusals before any work, and the exit code of each."""

import ast
import dataclasses
import inspect
import re

import numpy as np
import pytest
from datasets import write_description, write_dwi, write_image

from bidsapp.bids.tables import read_table
from bidsapp.cli import options
from bidsapp.cli.main import main
from bidsapp.cli.options import study_parser
from bidsapp.cli.phantom_options import phantom_parser
from bidsapp.cli.slurm_options import slurm_parser
from bidsapp.cli.statistics_options import stats_parser
from bidsapp.config import Config
from bidsapp.run.engine.multiproc import PATCHED_PLUGINS

pytestmark = pytest.mark.usefixtures("short_pages")

BVALUES = [0, 200, 400, 1000]


@pytest.fixture
def bids(tmp_path):
    """A data set with one small diffusion series."""
    root = tmp_path / "bids"
    write_description(root)
    rng = np.random.default_rng(0)
    decay = np.where(np.array(BVALUES) > 0, 0.9, 1.0) * np.exp(-np.array(BVALUES) * 1e-3)
    data = (1000 * decay * rng.normal(1, 0.01, (4, 4, 2, 4))).astype(np.float32)
    write_dwi(root, "sub-01/ses-a/dwi/sub-01_ses-a", data, BVALUES)
    return root


def run(bids, *words):
    return main([str(bids), str(bids.parent / "out"), *words, "--skip-bids-validation"])


def test_version_and_help(capsys):
    """``--version`` and ``--help`` print and end with 0."""
    for word in ("--version", "--help"):
        with pytest.raises(SystemExit) as ended:
            main([word])
        assert ended.value.code == 0
    assert "metperf v0." in capsys.readouterr().out


@pytest.mark.parametrize("label", ["01", "sub-01"])
def test_labels_with_and_without_prefix(bids, label, capsys):
    """A participant is found by its label with ``sub-`` and without."""
    assert run(bids, "participant", "--participant_label", label, "--dry-run") == 0
    assert "sub-01 ses-a: dwi" in capsys.readouterr().out


def test_unknown_participant_ends_with_18(bids, capsys):
    """A label that is not there is named with those that are; nothing is done."""
    assert run(bids, "participant", "--participant-label", "sub-1") == 18
    assert "has no participant 1; it has 01" in capsys.readouterr().err


def test_unknown_session_ends_with_18(bids, capsys):
    """A session that is not there is named."""
    assert run(bids, "participant", "--session-label", "b") == 18
    assert "sub-01 has none of the sessions b; it has a" in capsys.readouterr().err


def test_unknown_level_ends_with_17(bids, capsys):
    """An analysis level that is not there is named."""
    assert run(bids, "cohort") == 17
    assert "no analysis level 'cohort'; use participant or group" in capsys.readouterr().err


def test_nothing_to_analyse_ends_with_66(tmp_path, capsys):
    """A data set without DWI and DCE is refused."""
    write_description(tmp_path / "bids")
    path = tmp_path / "bids/sub-01/ses-a/anat/sub-01_ses-a_T1w.nii.gz"
    write_image(path, np.ones((2, 2, 2), np.float32))
    assert run(tmp_path / "bids", "participant") == 66
    assert "no usable DWI, no usable DCE series and no lesion ROI" in capsys.readouterr().err


def test_group_without_participants_ends_with_66(bids, capsys):
    """The group level needs the tables of the participant level."""
    assert run(bids, "group") == 66


def test_missing_folder_ends_with_66(tmp_path, capsys):
    """A bids_dir that is not a folder asks whether it is mounted."""
    assert run(tmp_path / "nowhere", "participant") == 66
    assert "bids_dir is not a folder; is it mounted?" in capsys.readouterr().err


def test_a_folder_of_rois_that_is_not_there_is_refused(bids, capsys):
    """--derivatives with a misspelt name ends with 2 before any work."""
    with pytest.raises(SystemExit) as ended:
        run(bids, "participant", "--derivatives", str(bids / "derivatives/lesion"))
    assert ended.value.code == 2
    assert "derivatives/lesion is not a folder" in capsys.readouterr().err


def test_output_that_cannot_be_written_ends_with_73(bids, capsys):
    """An output folder that is a file is refused before any work."""
    (bids.parent / "out").write_text("a file")
    assert run(bids, "participant") == 73
    assert "cannot be written" in capsys.readouterr().err


def test_invalid_dataset_ends_with_16(bids, capsys):
    """The validator's errors stop the run, name the file, and state the remedy."""
    (bids / "sub-01/ses-a/dwi/sub-01_ses-a_dwi.bval").unlink()
    assert main([str(bids), str(bids.parent / "out"), "participant"]) == 16
    assert "--skip-bids-validation" in capsys.readouterr().err


WORDS = {
    "--mem lots": "must be an amount of memory such as 2048 (MB) or 16G, got 'lots'",
    "--nprocs 0": "must be an integer >= 1, got 0",
    "--b-min -3": "--b-min",
    "--t1-tissue 1600": "must be a T1 of tissue or blood (0.1 to 10 s), got 1600 s",
    "--t1-blood 0.001": "(0.1 to 10 s), got 0.001 s",
    "--relaxivity 4500": "must be a relaxivity of 0.5 to 50 1/s/mM, got 4500",
    "--rois seg-ring": "must be a name of letters and digits (the seg-), got 'seg-ring'",
}


@pytest.mark.parametrize(("words", "message"), WORDS.items())
def test_bad_values_end_with_2(bids, capsys, words, message):
    """Values that make no sense, or are of another unit, are refused in one line."""
    with pytest.raises(SystemExit) as ended:
        run(bids, "participant", *words.split())
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1
    assert said.endswith("(see metperf --help)\n")


@pytest.mark.parametrize("place", ["", "sub-01", "derivatives/../sub-01/ses-a"])
def test_output_in_place_of_input_ends_with_2(bids, place):
    """The data set is never written over, nor are results put among its images."""
    with pytest.raises(SystemExit) as ended:
        main([str(bids), str(bids / place), "participant"])
    assert ended.value.code == 2


def test_a_series_alone_is_analysed(bids):
    """Without T1w, ROI or motion correction a diffusion series still gives its maps."""
    assert run(bids, "participant", "--no-motion-correction", "--nprocs", "1") == 0
    folder = bids.parent / "out/sub-01/ses-a/dwi"
    names = {p.name for p in folder.glob("*.nii.gz")}
    assert "sub-01_ses-a_model-ivim_param-f_dwimap.nii.gz" in names
    assert "sub-01_ses-a_desc-monoexp_ADC.nii.gz" in names
    assert (bids.parent / "out/sub-01.html").exists()


def test_a_label_image_of_the_user_is_tabulated_on_request(bids):
    """An atlas on the grid of the series has a table, by its labels; its region has its ADC."""
    folder = bids / "derivatives" / "manual_masks"
    write_description(folder, "derivative")
    labels = np.zeros((4, 4, 2), np.uint8)
    labels[:2], labels[3] = 17, 53
    name = "sub-01/ses-a/dwi/sub-01_ses-a_space-dwi_seg-atlas_dseg.nii.gz"
    write_image(folder / name, labels)
    table = "sub-01/ses-a/dwi/sub-01_ses-a_seg-atlas_model-ivim_roistats.tsv"
    fixed = ("participant", "--no-motion-correction", "--nprocs", "1")
    assert run(bids, *fixed, "--rois", "atlas") == 0
    rows = [r for r in read_table(bids.parent / "out" / table) if r["parameter"] == "ADC"]
    found = {r["lesion"]: (r["roi"], r["n_voxels"]) for r in rows}
    assert found == {"17": ("atlas", "16"), "53": ("atlas", "8")}
    assert all(float(r["p05"]) < float(r["p10"]) < float(r["p90"]) < float(r["p95"]) for r in rows)
    assert all(float(r["mean"]) == pytest.approx(1e-3, rel=0.2) for r in rows)
    assert run(bids, *fixed) == 0
    assert not (bids.parent / "out" / table).exists()


def test_one_bad_participant_does_not_stop_the_others(bids, capsys):
    """A damaged series fails its participant, exit 1; the other one's results are there."""
    image = bids / "sub-00/ses-a/dwi/sub-00_ses-a_dwi.nii.gz"
    write_dwi(bids, "sub-00/ses-a/dwi/sub-00_ses-a", np.ones((2, 2, 2, 4), np.float32), BVALUES)
    image.write_bytes(image.read_bytes()[:60])
    assert run(bids, "participant", "--no-motion-correction", "--nprocs", "1") == 1
    assert "failures in sub-00" in capsys.readouterr().err
    assert (bids.parent / "out/sub-01/ses-a/dwi").is_dir()
    assert "cannot be read as NIfTI" in (bids.parent / "out/sub-00.html").read_text()


def test_pages_are_rebuilt(bids):
    """``--reports-only`` builds the pages again from what is stored."""
    assert run(bids, "participant", "--no-motion-correction", "--nprocs", "1") == 0
    page = bids.parent / "out/sub-01.html"
    page.unlink()
    assert run(bids, "participant", "--reports-only") == 0
    assert page.exists()


def test_results_of_other_options_are_removed(bids):
    """After a run with another model no result of the first one is left."""
    fixed = ("participant", "--no-motion-correction", "--nprocs", "1")
    folder = bids.parent / "out/sub-01/ses-a/dwi"
    assert run(bids, *fixed) == 0
    assert list(folder.glob("*model-ivim_*"))
    assert run(bids, *fixed, "--ivim-model", "biexponential") == 0
    assert list(folder.glob("*model-biexp_*"))
    assert not list(folder.glob("*model-ivim_*"))


def test_a_failure_is_reported_until_its_session_is_run_again(bids):
    """A run of another session does not make the page forget what failed."""
    image = bids / "sub-01/ses-b/dwi/sub-01_ses-b_dwi.nii.gz"
    write_dwi(bids, "sub-01/ses-b/dwi/sub-01_ses-b", np.ones((2, 2, 2, 4), np.float32), BVALUES)
    image.write_bytes(image.read_bytes()[:60])
    fixed = ("participant", "--no-motion-correction", "--nprocs", "1")
    assert run(bids, *fixed) == 1
    assert run(bids, *fixed, "--session-label", "a") == 0
    assert "cannot be read as NIfTI" in (bids.parent / "out/sub-01.html").read_text()
    sessions = (bids.parent / "out/sub-01/sub-01_sessions.tsv").read_text()
    assert sessions.splitlines()[1:] == ["ses-a\tn/a", "ses-b\tn/a"]


def test_no_sessions_are_refused(tmp_path, capsys):
    """A data set without session folders is refused before any work, with what to do."""
    root = tmp_path / "bids"
    write_description(root)
    write_dwi(root, "sub-01/dwi/sub-01", np.ones((2, 2, 2, 4), np.float32), BVALUES)
    assert run(root, "participant") == 66
    assert "sub-01 has no sessions, and metperf needs at least one" in capsys.readouterr().err


def test_a_dry_run_writes_no_results(bids):
    """``--dry-run`` leaves the results' methods text as it is."""
    assert run(bids, "participant", "--no-motion-correction", "--nprocs", "1") == 0
    text = bids.parent / "out/logs/CITATION.md"
    before = text.read_bytes()
    assert run(bids, "participant", "--dry-run", "--dce-model", "tofts") == 0
    assert run(bids, "group", "--dry-run") == 0
    assert not list(bids.parent.rglob("group*"))
    assert text.read_bytes() == before


@pytest.mark.parametrize(
    ("text", "outcome"),
    [
        ("plugin: Dask\n", "nipype has no plugin 'Dask'; it has "),
        ("n_procs: 2\n", "must be YAML with the key 'plugin'"),
    ],
)
def test_an_engine_that_is_not_there_ends_with_2(bids, capsys, text, outcome):
    """A plugin file that names no engine of nipype is refused before any work."""
    file = bids.parent / "plugin.yml"
    file.write_text(text)
    assert run(bids, "participant", "--use-plugin", str(file)) == 2
    assert outcome in capsys.readouterr().err


def test_the_engine_of_a_file_has_the_resources_of_the_command_line(bids, monkeypatch):
    """MultiProc by name takes the resources of its file, otherwise --nprocs and --mem."""
    file = bids.parent / "plugin.yml"
    file.write_text("plugin: MultiProc\nplugin_args: {n_procs: 3}\n")
    given = {}

    class Spy(PATCHED_PLUGINS["MultiProc"]):
        def __init__(self, plugin_args):
            given.update(plugin_args)
            super().__init__(plugin_args=plugin_args)

    monkeypatch.setitem(PATCHED_PLUGINS, "MultiProc", Spy)
    options = ["--no-motion-correction", "--nprocs", "1", "--mem", "2G", "--use-plugin", str(file)]
    assert run(bids, "participant", *options) == 0
    assert (given["n_procs"], given["memory_gb"]) == (3, 2.0)


PARSERS = {
    "study": study_parser,
    "phantom": phantom_parser,
    "stats": stats_parser,
    "slurm": slurm_parser,
}
DIALECT = re.compile(r"\b(tells?|told|ours?|of yours|mend|lies|alike|believed|is no)\b")


@pytest.mark.parametrize("name", PARSERS)
def test_every_option_has_a_help_text_in_plain_english(name):
    """No option is left without an explanation, and none is explained in jargon of the project."""
    parser = PARSERS[name]()
    texts = {a.dest: parser._get_formatter()._expand_help(a) for a in parser._actions if a.help}
    assert {a.dest for a in parser._actions} == set(texts)
    assert not [text for text in [parser.description, *texts.values()] if DIALECT.search(text)]


def test_no_option_repeats_a_default():
    """A default of the Config is stated there only: the parser takes it, and never spells it."""
    fields = {f.name: f.default for f in dataclasses.fields(Config)}
    of_the_machine = {"nprocs", "memory_gb"}
    for action in study_parser()._actions:
        if action.dest in fields.keys() - of_the_machine and action.default:
            assert action.default == fields[action.dest], action.dest
    calls = [n for n in ast.walk(ast.parse(inspect.getsource(options))) if isinstance(n, ast.Call)]
    spelt = {
        word.value.lstrip("-").replace("-", "_")
        for call in calls
        for key in call.keywords
        if key.arg == "default" and isinstance(key.value, ast.Constant)
        for word in call.args
        if isinstance(word, ast.Constant)
    }
    assert not spelt & fields.keys()


def test_former_names_of_options_are_accepted(tmp_path, capsys):
    """What was written for an earlier version still works, with a note and without a help text."""
    assert phantom_parser().parse_args(["out", "--participants", "2"]).n_participants == 2
    assert "--participants is now --n-participants" in capsys.readouterr().err
    (tmp_path / "p.tsv").touch()
    words = [str(tmp_path / "p.tsv"), "out", "--participants", str(tmp_path / "p.tsv")]
    table = stats_parser().parse_args(words).participants_table
    assert table == tmp_path / "p.tsv"
    assert "--participants is now --participants-table" in capsys.readouterr().err
    assert "--participants " not in phantom_parser().format_help()
