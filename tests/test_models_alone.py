"""The models and their contract need numpy, scipy, pytest and hypothesis, and nothing else."""

import subprocess
import sys
from pathlib import Path

from bidsapp.models import MODELS

TESTS = Path(__file__).parent
EACH_MODEL = """
import alone
alone.refuse()
import importlib, pkgutil
import numpy as np
import bidsapp.models as models
from bidsapp.models.contrast.aif import parker2006

for module in pkgutil.walk_packages(models.__path__, "bidsapp.models."):
    importlib.import_module(module.name)
time = np.linspace(0, 3, 12)
designs = {
    "bvalues": np.linspace(0, 1000, 12),
    "time": time,
    "plasma": parker2006(time),
    "flip_angles": np.linspace(0.05, 0.5, 12),
    "repetition_time": 0.005,
    "dstar": 0.015,
    "blood_signal": 1.6,
    "arrival": 0.5,
}
for name, model in models.MODELS.items():
    design = {k: designs[k] for k in model.design}
    found = models.fit(name, np.linspace(2, 1, 12), **design)
    assert found.status != models.Status.BAD_INPUT, name
    print(name)
"""


def python(*arguments):
    return subprocess.run(
        [sys.executable, *arguments], cwd=TESTS, capture_output=True, text=True, check=False
    )


def test_every_model_runs_alone():
    """Every module of the models imports, and every row fits a voxel, with nothing else there."""
    run = python("-c", EACH_MODEL)
    assert run.returncode == 0, run.stderr
    assert run.stdout.split() == list(MODELS)


def test_the_contract_can_be_taken_along():
    """The tests of the models' contract are found and read with nothing else there."""
    run = python("alone.py", "--collect-only", "-q", "test_models_contract.py")
    assert run.returncode == 0, run.stdout + run.stderr


def test_another_package_is_refused_in_words():
    """The hook bites: nibabel, which is installed, cannot be imported once it is on."""
    run = python("-c", "import alone; alone.refuse(); import nibabel")
    assert "nibabel is refused: only numpy, scipy, pytest, hypothesis" in run.stderr
