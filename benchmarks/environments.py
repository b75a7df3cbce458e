"""The peers: other packages, each in an environment of its own, each timed by its runner script.

A peer that cannot be installed or run is a result too: its record says why.
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
    """A package that does what one of ours does: what to install, and on which Pythons it runs."""

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
    """Return the peer's timing records, or one record that holds the reason why there are none."""
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
    """Make the peer's environment unless it is there; return its Python."""
    home = folder / peer.name
    python, done = home / "bin" / "python", home / "installed"
    wanted = "\n".join(peer.requirements)
    if not (done.exists() and done.read_text() == wanted):
        _call([_interpreter(peer), "-m", "venv", "--clear", home], INSTALL_SECONDS)
        _call([python, "-m", "pip", "install", "--quiet", *peer.requirements], INSTALL_SECONDS)
        done.write_text(wanted)
    return python


def _interpreter(peer: Peer) -> str:
    """Return the first Python on the path that the peer supports and that can make environments."""
    for version in peer.pythons:
        try:
            _call([f"python{version}", "-c", "import ensurepip, venv"], 60)
        except (PeerError, OSError):
            continue
        return f"python{version}"
    raise PeerError(f"needs a Python {' or '.join(peer.pythons)}, and none is on the path")


def _call(command: list[Any], seconds: float) -> None:
    """Run a command away from our own packages; report the end of its output if it fails."""
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
