"""The peers: other packages, each in a separate environment and timed by its runner script.

If a peer cannot be installed or run, its record gives the reason.
"""

import json
import os
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

RUNNERS = Path(__file__).parent / "peers"
PYTHONS = ("3.12", "3.11", "3.13")
INSTALL_SECONDS, RUN_SECONDS = 1800, 7200


@dataclass(frozen=True)
class Peer:
    """A package with comparable functions: requirements, and supported Python versions."""

    name: str
    requirements: tuple[str, ...]
    pythons: tuple[str, ...] = PYTHONS


PEERS = (
    Peer("osipy", ("osipy==0.1.4",), ("3.12", "3.13")),
    Peer("dcmri", ("dcmri==0.6.20",)),
    Peer("p-brain", ("p-brain==3.1.7",)),
    Peer("dipy", ("dipy==1.12.1", "cvxpy")),
    Peer("ivimfit", ("ivimfit==0.1.7.2",)),
    Peer("ivim-mri", ("ivim-mri==1.0.1",)),
    Peer("qmri", ("qmri==0.1.0", "qmri-pipelines==0.1.0"), ("3.12", "3.13")),
)
"""They fit models."""
ENGINES = (
    Peer("antspyx", ("antspyx==0.6.3",)),
    Peer("picsl-greedy", ("picsl-greedy==1.4.0.3",)),
    Peer("itk-elastix", ("itk-elastix==0.25.4",)),
    Peer("SimpleITK", ("SimpleITK==2.5.7", "numpy")),
    Peer("niimath", ("niimath==1.0.20261016", "numpy")),
)
"""They register images."""


class PeerError(Exception):
    """A peer could not be installed or run."""


def measure(peer: Peer, folder: Path, data: Path, scale: float) -> list[dict[str, Any]]:
    """Return the timing records of a peer, or one record with the reason why there are none."""
    try:
        python = _environment(peer, folder)
        with tempfile.TemporaryDirectory() as scratch:
            out = Path(scratch, "records.json")
            script = RUNNERS / f"run_{peer.name.replace('-', '_').lower()}.py"
            _call([python, script, data, out, scale], RUN_SECONDS)
            records: list[dict[str, Any]] = json.loads(out.read_text())
    except (PeerError, OSError) as reason:
        return [{"peer": peer.name, "method": ", ".join(peer.requirements), "error": str(reason)}]
    return records


def _environment(peer: Peer, folder: Path) -> Path:
    """Create the environment of a peer if it does not exist, and return its Python."""
    home = folder / peer.name
    python, done = home / "bin" / "python", home / "installed"
    wanted = "\n".join(peer.requirements)
    if not (done.exists() and done.read_text() == wanted):
        _call([_interpreter(peer), "-m", "venv", "--clear", home], INSTALL_SECONDS)
        _call([python, "-m", "pip", "install", "--quiet", *peer.requirements], INSTALL_SECONDS)
        done.write_text(wanted)
    return python


def _interpreter(peer: Peer) -> str:
    """Return the first Python on the path that supports the peer and can create environments."""
    for version in peer.pythons:
        try:
            _call([f"python{version}", "-c", "import ensurepip, venv"], 60)
        except (PeerError, OSError):
            continue
        return f"python{version}"
    raise PeerError(f"needs a Python {' or '.join(peer.pythons)}, and none is on the path")


def _call(command: list[Any], seconds: float) -> None:
    """Run a command isolated from metperf's packages; on failure, report the end of its output."""
    quiet = {"PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_INPUT": "1", "PYTHONNOUSERSITE": "1"}
    variables = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | quiet
    try:
        done = subprocess.run(
            [str(word) for word in command],
            capture_output=True, text=True, env=variables, timeout=seconds, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise PeerError(f"did not end within {seconds:g} s") from error
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        raise PeerError(lines[-1] if lines else f"exit code {done.returncode}")
