"""Participants side by side: each in a process that may fail alone, with its share of cores."""

import os
import signal
import time
from dataclasses import replace
from pathlib import Path

import pytest
from faults import alive, complete, results, start
from hostile import write_study

from bidsapp.cli.main import main
from bidsapp.config import Config
from bidsapp.errors import NotWritable
from bidsapp.run import participant as one
from bidsapp.run.nodes.fitting import FitDiffusion
from bidsapp.run.resources import memory_of_participant, participants_at_once

HERE = Path()
LABELS = ("01", "02", "03")
MACHINE = Config(HERE, HERE, HERE, "run", nprocs=16, memory_gb=1000.0)


@pytest.fixture
def bids(tmp_path):
    """Three participants with one session each."""
    for label in LABELS:
        write_study(tmp_path / "bids", ("a",), label=label)
    return tmp_path / "bids"


def words(bids, out, cores=2):
    """The command line of a run."""
    fixed = ["participant", "--no-motion-correction", "--skip-bids-validation"]
    return [str(bids), str(out), *fixed, "--nprocs", str(cores)]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, 10),
        ({"nprocs": 4}, 4),
        ({"nprocs": 1}, 1),
        ({"memory_gb": 3.5 * memory_of_participant(1)}, 3),
        ({"memory_gb": 0.1}, 1),
        ({"plugin_file": HERE / "slurm.yml"}, 1),
    ],
)
def test_cores_memory_and_plugin_limit_the_participants_at_once(change, expected):
    """Each has at least a core and the memory that was measured; with a plugin there is one."""
    assert participants_at_once(10, replace(MACHINE, **change)) == expected


def test_the_number_of_processes_changes_no_byte(bids, tmp_path):
    """Three participants by one, two and five processes have the same results."""
    found = []
    for cores in (1, 2, 5):
        out = tmp_path / f"out{cores}"
        complete(bids, out, nprocs=cores, short=True)
        found.append(results(out))
    assert len(found[0]) > 30
    assert found[0] == found[1] == found[2]


def test_participants_run_at_the_same_time(bids, tmp_path, monkeypatch):
    """The fit of each of two participants waits for that of the other, and both end."""
    fit = FitDiffusion._run_interface

    def meet(self, runtime):
        own = next(label for label in LABELS if f"sub-{label}" in str(self.inputs))
        (tmp_path / own).touch()
        end = time.monotonic() + 60
        while not all((tmp_path / label).exists() for label in LABELS[:2]):
            assert time.monotonic() < end, "the other participant did not begin"
            time.sleep(0.05)
        return fit(self, runtime)

    monkeypatch.setattr(FitDiffusion, "_run_interface", meet)
    chosen = ["--participant-label", *LABELS[:2]]
    assert main([*words(bids, tmp_path / "out"), *chosen]) == 0


def test_cores_that_are_free_go_to_the_participants_that_remain(bids, tmp_path, monkeypatch):
    """Of four cores, two participants get two each."""
    run = one.run_participant

    def note(participant, config, progress):
        (tmp_path / participant.label).write_text(f"{config.nprocs} {config.omp_nthreads}")
        return run(participant, config, progress)

    monkeypatch.setattr("bidsapp.run.participants.run_participant", note)
    chosen = ["--participant-label", *LABELS[:2], "--omp-nthreads", "4"]
    assert main([*words(bids, tmp_path / "out", 4), *chosen]) == 0
    assert [(tmp_path / label).read_text() for label in LABELS[:2]] == ["2 2", "2 2"]


def test_a_killed_process_is_the_failure_of_its_participant(bids, tmp_path, monkeypatch, capsys):
    """Exit 75 names the participant and its step, it has a page, and the others are done."""
    fit = FitDiffusion._run_interface

    def fit_or_die(self, runtime):
        if "sub-02" in str(self.inputs):
            os.kill(os.getpid(), signal.SIGKILL)
        return fit(self, runtime)

    monkeypatch.setattr(FitDiffusion, "_run_interface", fit_or_die)
    out = tmp_path / "out"
    assert main(words(bids, out)) == 75
    said = capsys.readouterr().err
    assert "a worker was killed in sub-02; run it again" in said
    assert "sub-02 ses-a: dwi fit" in said
    assert "did not finish; run it again" in (out / "sub-02.html").read_text(encoding="utf-8")
    for label in ("01", "03"):
        assert list(out.glob(f"sub-{label}/ses-a/dwi/*param-f_dwimap.nii.gz"))
    monkeypatch.undo()
    assert main(words(bids, out)) == 0
    assert list(out.glob("sub-02/ses-a/dwi/*param-f_dwimap.nii.gz"))


def test_an_output_that_cannot_be_written_ends_the_run(bids, tmp_path, monkeypatch, capsys):
    """The error of one process is that of the run, with its exit code, and no process is left."""
    run = one.run_participant

    def run_or_raise(participant, config, progress):
        if participant.label == "02":
            raise NotWritable("sub-02: cannot be written (no space)")
        return run(participant, config, progress)

    monkeypatch.setattr("bidsapp.run.participants.run_participant", run_or_raise)
    assert main(words(bids, tmp_path / "out")) == NotWritable.exit_code
    assert "sub-02: cannot be written (no space)" in capsys.readouterr().err


@pytest.mark.parametrize("whole", [False, True])
def test_sigterm_ends_all_processes_and_marks_what_is_unfinished(bids, tmp_path, whole):
    """SIGTERM to the first process or to all: each participant that began has a page saying so."""
    out = tmp_path / "out"
    run = start(bids, out, nprocs=2)
    end = time.monotonic() + 60
    while len(list(out.glob("sub-*/log/status.json"))) < 2 and time.monotonic() < end:
        time.sleep(0.01)
    (os.killpg if whole else os.kill)(run.pid, signal.SIGTERM)
    assert run.wait(timeout=90) == 143, out.with_suffix(".log").read_text()
    assert not alive(out)
    for label in LABELS[:2]:
        page = (out / f"sub-{label}.html").read_text(encoding="utf-8")
        assert "did not finish; run it again" in page


def test_kill_9_leaves_no_process(bids, tmp_path):
    """When the first process is killed, those of the participants end with it."""
    out = tmp_path / "out"
    run = start(bids, out, nprocs=2)
    end = time.monotonic() + 60
    while len(list(out.glob("sub-*/log/*/*.toml"))) < 2 and time.monotonic() < end:
        time.sleep(0.1)
    assert len(alive(out)) >= 3
    run.kill()
    run.wait(timeout=10)
    end = time.monotonic() + 5
    while alive(out) and time.monotonic() < end:
        time.sleep(0.1)
    assert not alive(out)
