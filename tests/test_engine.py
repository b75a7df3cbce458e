"""nipype's patched plugins: a killed worker is a failed step, and the run goes on."""

import os
import signal

import numpy as np
import pytest
from datasets import write_description, write_dwi
from nipype.interfaces import utility as niu
from nipype.pipeline import engine as pe
from nipype.pipeline.engine.utils import load_resultfile

from bidsapp.cli.main import main
from bidsapp.errors import MetperfError, UsageError
from bidsapp.run.engine.multiproc import (
    SurvivingMultiProcPlugin,
    SurvivingSLURMPlugin,
    WaitingSLURMGraphPlugin,
)
from bidsapp.run.nodes.fitting import FitDiffusion

BVALUES = [0, 200, 400, 1000]


def add_one(x):
    return x + 1


def kill_oneself(x):
    import os
    import signal

    os.kill(os.getpid(), signal.SIGKILL)


def node(function, name, **inputs):
    made = pe.Node(niu.Function(["x"], ["out"], function), name=name)
    made.inputs.trait_set(**inputs)
    return made


def graph(folder, *nodes):
    made = pe.Workflow("wf", base_dir=str(folder))
    made.add_nodes(list(nodes))
    made.config["execution"] = {
        "crashdump_dir": str(folder),
        "crashfile_format": "txt",
        "poll_sleep_duration": "0.1",
    }
    return made


def test_the_engine_goes_on_after_a_kill(tmp_path):
    """A node whose worker is killed has a crash file with that cause; new workers do the rest."""
    killed, first, last = (
        node(kill_oneself, "killed", x=0),
        node(add_one, "first", x=1),
        node(add_one, "last"),
    )
    killed._mem_gb = 3  # the greediest is sent first
    workflow = graph(tmp_path, killed, first, last)
    workflow.connect(first, "out", last, "x")
    plugin = SurvivingMultiProcPlugin(plugin_args={"n_procs": 1, "scheduler": "mem_thread"})
    with pytest.raises(RuntimeError, match="WorkerKilled"):
        workflow.run(plugin=plugin)
    (crash,) = tmp_path.glob("crash-*.txt")
    assert "Node: wf.killed" in crash.read_text()
    assert (
        "a worker process was killed while this step was running, most likely" in crash.read_text()
    )
    result = load_resultfile(tmp_path / "wf/last/result_last.pklz")
    assert result.outputs.out == 3


@pytest.fixture
def bids(tmp_path):
    """Two participants, each with one small diffusion series."""
    root = tmp_path / "bids"
    write_description(root)
    rng = np.random.default_rng(0)
    decay = np.where(np.array(BVALUES) > 0, 0.9, 1.0) * np.exp(-np.array(BVALUES) * 1e-3)
    for label in ("00", "01"):
        data = (1000 * decay * rng.normal(1, 0.01, (4, 4, 2, 4))).astype(np.float32)
        write_dwi(root, f"sub-{label}/ses-a/dwi/sub-{label}_ses-a", data, BVALUES)
    return root


def test_a_killed_worker_ends_with_75(bids, monkeypatch, capsys):
    """Exit 75 names the participant whose worker was killed; the other one is done."""
    fit = FitDiffusion._run_interface

    def fit_or_die(self, runtime):
        if "sub-00" in str(self.inputs):
            os.kill(os.getpid(), signal.SIGKILL)
        return fit(self, runtime)

    monkeypatch.setattr(FitDiffusion, "_run_interface", fit_or_die)
    out = bids.parent / "out"
    words = [str(bids), str(out), "participant", "--skip-bids-validation"]
    options = ["--no-motion-correction", "--nprocs", "2"]
    assert main([*words, *options]) == 75
    outcome = capsys.readouterr().err
    assert "a worker was killed in sub-00" in outcome
    assert "sub-00 ses-a: dwi" in outcome
    assert "give more memory, or fewer processes with --nprocs" in outcome
    assert not list(out.glob("sub-00/ses-a/dwi/*_dwimap.nii.gz"))
    assert list(out.glob("sub-01/ses-a/dwi/*param-f_dwimap.nii.gz"))
    monkeypatch.undo()
    assert main([*words, *options]) == 0
    assert list(out.glob("sub-00/ses-a/dwi/*param-f_dwimap.nii.gz"))


REFUSED = """#!/bin/sh
echo 'sbatch: error: invalid partition specified: nowhere' >&2
exit 1
"""


def put_program(folder, name, text, monkeypatch):
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(text)
    path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")


def test_a_refused_job_tells_what_slurm_said(tmp_path, monkeypatch):
    """Slurm's own message ends in the error; the account needs no ``LOGNAME``."""
    put_program(tmp_path / "bin", "sbatch", REFUSED, monkeypatch)
    monkeypatch.delenv("LOGNAME", raising=False)
    workflow = graph(tmp_path, node(add_one, "first", x=1))
    with pytest.raises(MetperfError, match=r"refused .*invalid partition specified: nowhere"):
        workflow.run(plugin=SurvivingSLURMPlugin(plugin_args={"sbatch_args": "-p nowhere"}))


@pytest.mark.parametrize("plugin", [SurvivingSLURMPlugin, WaitingSLURMGraphPlugin])
def test_without_slurm_the_engines_ask_whether_it_is_here(tmp_path, monkeypatch, plugin):
    """A machine without Slurm is distinguished from a job that failed."""
    monkeypatch.setenv("PATH", str(tmp_path))
    workflow = graph(tmp_path, node(add_one, "first", x=1))
    with pytest.raises(UsageError, match="is Slurm installed"):
        workflow.run(plugin=plugin(plugin_args={}))
