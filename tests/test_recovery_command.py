"""``metperf recovery`` on finished runs: its tables, its page, and what it refuses."""

import csv
import io
import json
import shutil
from contextlib import redirect_stderr

import numpy as np
import pytest
from hostile import RUN, write_study

from bidsapp.cli.main import main
from bidsapp.errors import BadInput, NothingSelected, NothingToAnalyse, UsageError
from bidsapp.models import Spgr, to_concentration
from bidsapp.recovery.kinetic_signal import KineticSignal
from bidsapp.recovery.recovery import RECOVERY_COLUMNS
from bidsapp.run.recovery.series import restore_signal
from bidsapp.run.recovery.settings import recorded_config

QUICK = ("--n-visits", "2")


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """Run the participant level on two participants, with pages that end after their heads."""
    root = tmp_path_factory.mktemp("recovery") / "study"
    write_study(root / "bids", ("a", "b"))
    write_study(root / "bids", ("a",), "02")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("bidsapp.reports.participant.page._blocks", lambda *_: ([], ""))
        assert run_again(root) == 0
    return root


@pytest.fixture(scope="module")
def finished(original, tmp_path_factory):
    """Return a copy of the data set and its results before any simulation."""
    return shutil.copytree(original, tmp_path_factory.mktemp("finished") / "study")


@pytest.fixture(scope="module")
def recovered(original, finished):
    """Simulate the first sessions of both participants; return the folder and the messages."""
    with redirect_stderr(io.StringIO()) as messages:
        assert recover(original) == 0
    return original, messages.getvalue()


@pytest.fixture
def study(finished, tmp_path):
    """Return a copy of the data set and its results, of a test's own."""
    return shutil.copytree(finished, tmp_path / "study")


@pytest.fixture
def no_page(monkeypatch):
    """Build no page, which takes longer than the simulation."""
    monkeypatch.setattr("bidsapp.run.recovery.run.build_page", lambda *_: None)


def run_again(root):
    """Run the participant level, and return its exit code."""
    return main([str(root / "bids"), str(root / "out"), *RUN, "--b-max", "1000"])


def recover(root, *words):
    """Run the command with two visits, and return its exit code."""
    roi = root / "bids" / "derivatives" / "manual_masks"
    return main(["recovery", str(root / "bids"), str(root / "out"), "-d", str(roi), *QUICK, *words])


def table(root, label="01", session="a", datatype="perf"):
    """Return the path of a table."""
    name = f"sub-{label}_ses-{session}_desc-recovery_roistats.tsv"
    return root / "out" / f"sub-{label}" / f"ses-{session}" / datatype / name


def read(path):
    """Return the rows of a table."""
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream, delimiter="\t"))


def test_tables_of_the_first_session_and_the_page_are_written(recovered):
    """Each series has a table whose sidecar describes every column; the page shows the result."""
    study, text = recovered
    for datatype, change in (("perf", "Ktrans-40%"), ("dwi", "ADC+10%")):
        rows = read(table(study, datatype=datatype))
        assert list(rows[0]) == list(RECOVERY_COLUMNS)
        assert change in {row["injected"] for row in rows}
        assert {row["session_id"] for row in rows} == {"ses-a"}
        sidecar = json.loads(table(study, datatype=datatype).with_suffix(".json").read_text())
        assert all("Description" in sidecar[name] for name in RECOVERY_COLUMNS)
        assert sidecar["Simulation"]["Repeats"] == 2
    assert not table(study, session="b").exists()
    assert table(study, "02").exists()
    page = (study / "out/sub-01.html").read_text()
    assert "Changes that this scan can show" in page
    assert "Ktrans −40 %" in page
    assert "sub-01 ses-a DCE: lesion 1 (1 of 1," in text
    assert "without any change differs" not in text


def test_the_volume_is_in_one_table_alone(recovered):
    """It belongs to no series; two different limits of it would contradict each other."""
    tables = (table(recovered[0], datatype=datatype) for datatype in ("perf", "dwi"))
    found = [sum(row["parameter"] == "volume" for row in read(path)) for path in tables]
    assert found == [1, 0]


@pytest.mark.usefixtures("no_page")
def test_changes_sessions_and_participants_are_chosen(study):
    """Only what is named is simulated."""
    words = ("--participant-label", "sub-01", "--session-label", "b", "--changes", "vp=-30")
    assert recover(study, *words) == 0
    assert {row["injected"] for row in read(table(study, session="b"))} == {"vp-30%"}
    for other in (table(study), table(study, "02"), table(study, session="b", datatype="dwi")):
        assert not other.exists()


@pytest.mark.usefixtures("no_page")
def test_the_seed_gives_identical_tables_and_the_options_other_ones(study):
    """Seed, edge, noise and position each decide."""
    tables = {}
    options = {"": (), "again": (), "seed": ("--random-seed", "1"), "edge": ("--edge-error", "0"),
               "noise": ("--noise-factor", "0"), "position": ("--same-position",)}  # fmt: skip
    for name, words in options.items():
        assert recover(study, "--participant-label", "01", "--changes", "Ktrans=-40", *words) == 0
        tables[name] = table(study).read_bytes()
    assert tables[""] == tables.pop("again")
    assert len(set(tables.values())) == len(tables)


@pytest.mark.usefixtures("no_page")
def test_one_bad_participant_does_not_stop_the_others(study, capsys):
    """It is reported with the file that is missing, and the exit code is 1."""
    next((study / "out/sub-01/ses-a/perf").glob("*desc-concentration_dce.nii.gz")).unlink()
    assert recover(study) == 1
    text = capsys.readouterr().err
    assert "sub-01 ses-a: recovery dce: " in text
    assert "desc-concentration_dce.nii.gz: is missing: run the participant level again" in text
    assert table(study, "02").exists()
    assert table(study, datatype="dwi").exists()


@pytest.mark.usefixtures("no_page")
def test_values_that_are_not_those_of_the_run_are_a_warning(study, capsys):
    """An ROI that was drawn anew since the run is found by the values without any change."""
    path = next((study / "out/sub-01/ses-a/perf").glob("*_model-etofts_roistats.tsv"))
    rows = read(path)
    for row in rows:
        if row["mean"] != "n/a":
            row["mean"] = f"{2 * float(row['mean'])}"
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, rows[0], delimiter="\t", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    assert recover(study, "--participant-label", "01") == 0
    assert "without any change differs by 50 % from the table of the run" in capsys.readouterr().err


def test_a_run_afterwards_keeps_results_and_page(recovered, capsys):
    """The page with the simulation is recorded; nothing is computed again."""
    study, _ = recovered
    page = study / "out/sub-01.html"
    before = page.stat().st_mtime_ns
    assert run_again(study) == 0
    assert "nothing has changed" in capsys.readouterr().err
    assert page.stat().st_mtime_ns == before
    assert table(study).exists()


@pytest.mark.usefixtures("no_page")
def test_what_is_not_there_is_refused(study, tmp_path, capsys):
    """Unknown participants and sessions, impossible changes, and an empty output folder."""
    assert recover(study, "--participant-label", "03") == NothingSelected.exit_code
    assert "has no results of 03; it has those of 01, 02" in capsys.readouterr().err
    assert recover(study, "--session-label", "c", "--participant-label", "01") == 1
    assert "no results of ses-c; it has ses-a, ses-b" in capsys.readouterr().err
    with pytest.raises(SystemExit, match=str(UsageError.exit_code)):
        recover(study, "--changes", "T1=5")
    assert "no change of T1; choose one of" in capsys.readouterr().err
    with pytest.raises(SystemExit, match=str(UsageError.exit_code)):
        recover(study, "--n-visits", "1")
    assert "must be a whole number >= 2" in capsys.readouterr().err
    empty = ["recovery", str(study / "bids"), str(tmp_path / "empty")]
    assert main(empty) == NothingToAnalyse.exit_code
    assert "run the participant level first" in capsys.readouterr().err


def test_the_settings_of_a_run_are_read_from_its_record(study):
    """With limits of b-values, of which infinity is stored as null."""
    config = recorded_config(study / "bids", study / "out", "01")["ses-a"]
    assert (config.b_max, config.motion_correction) == (1000.0, False)
    path = study / "out/sub-01/log/status.json"
    status = json.loads(path.read_text())
    status["sessions"]["ses-a"]["options"]["b_max"] = None
    path.write_text(json.dumps(status))
    assert recorded_config(study / "bids", study / "out", "01")["ses-a"].b_max == np.inf


def test_an_unfinished_run_and_moved_rois_are_refused(study):
    """The message names the remedy."""
    with pytest.raises(BadInput, match=r"no results .* run the participant level first"):
        recorded_config(study / "bids", study / "out", "77")
    path = study / "out/sub-01/log/status.json"
    text = path.read_text()
    status = json.loads(text)
    status["sessions"]["ses-a"]["issues"] = [{"level": "failed", "code": "Unfinished", "text": ""}]
    path.write_text(json.dumps(status))
    with pytest.raises(BadInput, match="ses-a: the run did not finish; run it again"):
        recorded_config(study / "bids", study / "out", "01")
    path.write_text(text)
    for settings in (study / "out/sub-01/log").glob("*/app.toml"):
        content = settings.read_text().replace("manual_masks", "gone")
        settings.write_text(content)
    with pytest.raises(BadInput, match="name their present folder with --derivatives"):
        recorded_config(study / "bids", study / "out", "01")


def test_a_signal_is_restored_from_concentrations_and_mean():
    """As it was before the conversion; unknown where there is no concentration."""
    time = np.arange(8.0)
    signal = KineticSignal(
        time, time, 2, Spgr(0.004, 0.26, 4.5), 1.4, np.array([True] * 7 + [False])
    )
    course = 100 * signal.enhancement([[0, 0, 0.5, 1, 0.8, 0.6, 0.5, 0.4]])
    measured = np.concatenate([course, 2 * course]).reshape(2, 1, 1, 8)
    agent = to_concentration(measured, 2, np.full((2, 1, 1), 1.4), signal.spgr)
    mean = measured[..., :7].mean(axis=-1)
    np.testing.assert_allclose(restore_signal(agent, mean, signal), measured, rtol=1e-5)
    agent[1, 0, 0, 3] = np.nan
    assert np.isnan(restore_signal(agent, mean, signal)[1]).all()
