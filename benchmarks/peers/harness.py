"""Common code of the runners: read workloads, time fits, compare with the truth (numpy only).

A runner is called as ``run_<peer>.py DATA_FOLDER OUT.json SCALE`` by the peer's own Python.
"""

import json
import os
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

for _library in ("OMP", "OPENBLAS", "MKL", "NUMBA"):
    os.environ.setdefault(f"{_library}_NUM_THREADS", "1")

import numpy as np  # noqa: E402  (the libraries read their threads once, when they are loaded)

Arrays = dict[str, Any]


@dataclass(frozen=True)
class Method:
    """A fit of a peer: name, corresponding model of metperf, data and number of voxels."""

    name: str
    model: str
    workloads: tuple[str, ...]
    voxels: int
    fit: Callable[[Arrays], Arrays]
    repeats: int = 3


def clock(call: Callable[[], Any], repeats: int = 3) -> tuple[float, float, Any]:
    """Return the median wall and CPU seconds of a call, and its last result."""
    wall, cpu, result = [], [], None
    for _ in range(repeats):
        start, busy = time.perf_counter(), _busy()
        result = call()
        wall.append(time.perf_counter() - start)
        cpu.append(_busy() - busy)
    return float(np.median(wall)), float(np.median(cpu)), result


def _busy() -> float:
    """Return the CPU seconds of this process and of its finished children."""
    spent = os.times()
    return time.process_time() + spent.children_user + spent.children_system


def median_errors(found: Arrays, truth: Arrays) -> dict[str, float]:
    """Return the median absolute error of each parameter; missing values count as infinite."""
    errors = {}
    for name, true in truth.items():
        if name in found:
            error = np.abs(np.asarray(found[name], float).ravel() - true)
            errors[name] = float(np.median(np.where(np.isfinite(error), error, np.inf)))
    return errors


def run(distribution: str, methods: list[Method]) -> None:
    """Time every method on its workloads and write the records."""
    folder, out, scale = Path(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3])
    records = [
        {"peer": distribution, "version": version(distribution)} | _record(m, folder, w, scale)
        for m in methods
        for w in m.workloads
    ]
    out.write_text(json.dumps(records))


def _record(method: Method, folder: Path, workload: str, scale: float) -> dict[str, Any]:
    with np.load(folder / f"{workload}.npz") as stored:
        data = dict(stored)
    voxels = min(len(data["signal"]), max(2, round(method.voxels * scale)))
    record = {
        "method": method.name, "model": method.model, "workload": workload, "voxels": voxels,
    }  # fmt: skip
    few, some = ({**data, "signal": data["signal"][:n]} for n in (2, voxels))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            method.fit(few)  # imports, compilation and caches are not timed
            wall, cpu, found = clock(lambda: method.fit(some), method.repeats)
    except Exception as reason:  # a failure of the peer is recorded as a result
        return record | {"error": f"{type(reason).__name__}: {reason}"[:300]}
    truth = {k[6:]: v[:voxels] for k, v in data.items() if k.startswith("truth_")}
    return record | {"wall": wall, "cpu": cpu, "errors": median_errors(found, truth)}
