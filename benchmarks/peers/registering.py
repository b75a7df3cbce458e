"""Common code of the runners of registration engines: pairs, timing and records.

A runner imports this first, so that the engine's libraries find the number of threads. An engine is
given files and returns the 4x4 matrix from fixed to moving points, RAS mm.
"""

import json
import os
import sys
import tempfile
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

FOLDER, OUT = Path(sys.argv[1]), Path(sys.argv[2])
PAIRS: list[dict[str, Any]] = json.loads((FOLDER / "pairs.json").read_text())
THREADS = str(PAIRS[0]["threads"])
for _name in ("OMP_NUM_THREADS", "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS"):
    os.environ[_name] = THREADS

import numpy as np  # noqa: E402  (the libraries read their threads once, when they are loaded)
from harness import clock  # noqa: E402

LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


def from_points(function: Callable[[Any], Any]) -> np.ndarray:
    """Return the RAS matrix of a function that takes one LPS point (three floats) to another."""
    corners = np.vstack([np.zeros(3), 100 * np.eye(3)])
    moved = np.array([function([float(x) for x in corner]) for corner in corners])
    matrix = np.eye(4)
    matrix[:3, 3] = moved[0]
    matrix[:3, :3] = (moved[1:] - moved[0]).T / 100
    return LPS @ matrix @ LPS


def run(distribution: str, methods: dict[str, Callable[[dict[str, Any]], np.ndarray]]) -> None:
    """Register every pair by every method and write the records."""
    records = [
        {"peer": distribution, "version": version(distribution), "method": name}
        | {"pair": pair["pair"]}
        | _record(method, pair)
        for name, method in methods.items()
        for pair in PAIRS
    ]
    OUT.write_text(json.dumps(records))


def _record(method: Callable[[dict[str, Any]], np.ndarray], pair: dict[str, Any]) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as scratch:
        given = pair | {"scratch": scratch}
        try:
            wall, cpu, matrix = clock(lambda: method(given), 1)
        except Exception as reason:  # a failure of the engine is recorded as a result
            return {"error": f"{type(reason).__name__}: {reason}"[:300]}
    return {"wall": wall, "cpu": cpu, "matrix": np.asarray(matrix, float).tolist()}
