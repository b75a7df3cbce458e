"""Voxels a second: every model, a scipy loop over voxels and other packages on the same data."""

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks import environments, loops, plots
from benchmarks.peers.harness import clock, median_errors
from benchmarks.report import Section
from benchmarks.settings import Settings
from benchmarks.workload import Workload, by_name
from bidsapp.models import fit
from bidsapp.reports.style import ACCENT, DATA, SOFT, styled

IVIM = ("ivim6", "ivim16")
WORKLOADS: dict[str, tuple[str, ...]] = {
    "adc": IVIM,
    "ivim-asymptotic": IVIM,
    "ivim-segmented": IVIM,
    "ivim-biexponential": IVIM,
    "ivim-bayesian": IVIM,
    "extended-tofts": ("dce",),
    "tofts": ("dce",),
    "patlak": ("dce",),
    "two-compartment-exchange": ("dce",),
    "vfa-t1": ("vfa",),
    "vfa-t1-linear": ("vfa",),
}
LOOPS: dict[str, Callable[[Workload], dict[str, Any]]] = {
    "ivim-biexponential": loops.biexponential,
    "extended-tofts": loops.extended_tofts,
}
CLOSED_FORMS = ("adc", "ivim-asymptotic")
LOOP_VOXELS = 200
OURS, LOOP = "metperf", "scipy"

TEXT = """Everyone fits the first voxels of the same data, one at a time, on one thread unless it
says otherwise; the median of three calls after one that is not timed. Rates are voxels a second of
wall time and of CPU time: on a shared machine compare the latter. "ratio" is how many times as many
voxels metperf's model, on one thread, fits in a CPU second. "err" are the median absolute errors of
each parameter in its unit; a missing value counts as infinitely wrong.

"floor" is the closed forms beside what numpy needs to read the data once and take one logarithm of
each number; to be within 5 times."""
Record = dict[str, Any]


def run(settings: Settings) -> Section:
    """Time all, and compare."""
    names = [name for name in WORKLOADS if settings.wants(name)]
    needed = {workload for name in names for workload in WORKLOADS[name]}
    if settings.peers:
        needed |= {*IVIM, "dce"}
    data = {name: by_name(name) for name in sorted(needed)}
    records = [*ours(names, data, settings), *voxel_loops(names, data, settings)]
    if settings.peers:
        records += peers(data, settings)
    table = compared(records)
    floor = closed_forms(names, data, settings)
    done, failed = table[table["error"] == ""], table[table["error"] != ""]
    tables = {
        f"speed_{name}": rows.drop(columns=["workload", "error"]).dropna(axis=1, how="all")
        for name, rows in done.groupby("workload", sort=False)
    }
    tables["speed_floor"] = floor
    if len(failed):
        tables["speed_failed"] = failed[["who", "method", "workload", "error"]]
    return Section("Speed", TEXT, tables, {"speed": bars(done)})


def first(data: Workload, voxels: int) -> Workload:
    """Return the first voxels of a workload."""
    truth = {name: value[:voxels] for name, value in data.truth.items()}
    return replace(data, signal=data.signal[:voxels], truth=truth)


def ours(names: list[str], data: dict[str, Workload], settings: Settings) -> Iterator[Record]:
    """Time `fit` for each model, on one thread and on several."""
    for name in names:
        for workload in WORKLOADS[name]:
            some = first(data[workload], settings.count(20000))
            for jobs in sorted({1, settings.jobs}):
                threads = {} if jobs == 1 else {"n_jobs": jobs}
                method = name if jobs == 1 else f"{name}, {jobs} threads"
                yield _timed(OURS, method, name, some, _fitter(name, threads))


def _fitter(name: str, threads: dict[str, int]) -> Callable[[Workload], dict[str, Any]]:
    return lambda data: fit(name, data.signal, **data.design, **threads).values


def voxel_loops(
    names: list[str], data: dict[str, Workload], settings: Settings
) -> Iterator[Record]:
    """Time scipy's `curve_fit`, voxel by voxel."""
    for name in names:
        for workload in WORKLOADS[name] if name in LOOPS else ():
            some = first(data[workload], settings.count(LOOP_VOXELS))
            yield _timed(LOOP, f"{name}, curve_fit", name, some, LOOPS[name])


def _timed(
    who: str, method: str, model: str, data: Workload, call: Callable[[Workload], dict[str, Any]]
) -> Record:
    call(first(data, 2))
    wall, cpu, found = clock(lambda: call(data))
    errors = median_errors(found, data.truth)
    return {
        "peer": who, "method": method, "model": model, "workload": data.name,
        "voxels": len(data.signal), "wall": wall, "cpu": cpu, "errors": errors,
    }  # fmt: skip


def peers(data: dict[str, Workload], settings: Settings) -> list[Record]:
    """Time the other packages on the same data."""
    with tempfile.TemporaryDirectory() as folder:
        for workload in data.values():
            np.savez(Path(folder, f"{workload.name}.npz"), **workload.arrays())
        return [
            record
            for peer in environments.PEERS
            for record in environments.measure(
                peer, settings.peer_dir, Path(folder), settings.scale
            )
        ]


def compared(records: list[Record]) -> pd.DataFrame:
    """Return one row a record, with rates and the ratio to our rate for the same model and data."""
    reference = {
        (r["model"], r["workload"]): r["voxels"] / r["cpu"]
        for r in records
        if r["peer"] == OURS and r["method"] == r["model"]
    }
    return pd.DataFrame([_row(record, reference) for record in records])


def _row(record: Record, reference: dict[tuple[str, str], float]) -> Record:
    version = f" {record['version']}" if "version" in record else ""
    wall, cpu = record.get("wall", np.nan), record.get("cpu", np.nan)
    voxels, model, workload = (record.get(k, "") for k in ("voxels", "model", "workload"))
    rate = voxels / cpu if voxels and cpu > 0 else np.nan
    return {
        "who": record["peer"] + version,
        "method": record["method"],
        "model": model,
        "workload": workload,
        "voxels": voxels,
        "wall_s": wall,
        "cpu_s": cpu,
        "per_s": voxels / wall if voxels else np.nan,
        "per_cpu_s": rate,
        "ratio": reference.get((model, workload), np.nan) / rate,
        **{f"err_{k}": v for k, v in record.get("errors", {}).items()},
        "error": record.get("error", ""),
    }


def closed_forms(names: list[str], data: dict[str, Workload], settings: Settings) -> pd.DataFrame:
    """Time the closed forms against one pass over the data with a logarithm."""
    rows = []
    for name in CLOSED_FORMS:
        for workload in WORKLOADS[name] if name in names else ():
            repeats = settings.count(10, least=1)
            signal = np.tile(data[workload].signal, (repeats, 1))
            np.log(signal)
            floor = clock(lambda signal=signal: np.log(signal), 5)[1]
            design = data[workload].design
            spent = clock(lambda s=signal, n=name, d=design: fit(n, s, **d))[1]
            rows.append([name, workload, len(signal), floor, spent, spent / floor])
    columns = ["model", "workload", "voxels", "one_log_cpu_s", "fit_cpu_s", "ratio"]
    return pd.DataFrame(rows, columns=columns)


@styled
def bars(table: pd.DataFrame) -> Figure:
    """Draw voxels a CPU second of every method, a panel for each workload."""
    names = list(table["workload"].unique())
    counts = [int((table["workload"] == name).sum()) for name in names]
    figure = Figure(figsize=(6.6, 0.6 * len(names) + 0.17 * sum(counts)), layout="constrained")
    panels = figure.subplots(
        len(names), 1, sharex=True, squeeze=False, height_ratios=[n + 1 for n in counts]
    )
    for axes, name in zip(panels[:, 0], names, strict=True):
        _draw_bars(axes, table[table["workload"] == name].sort_values("per_cpu_s"))
        axes.set_title(name)
    plots.logarithmic(panels[-1, 0], "x")
    panels[-1, 0].set_xlim(table["per_cpu_s"].min() / 3, table["per_cpu_s"].max() * 8)
    panels[-1, 0].set_xlabel("voxels fitted in one CPU second")
    return figure


def _draw_bars(axes: Axes, rows: pd.DataFrame) -> None:
    shade = {OURS: DATA, LOOP: SOFT}
    names = [who if who == OURS else f"{who}:" for who in rows["who"]]
    labels = [f"{n} {m}" for n, m in zip(names, rows["method"], strict=True)]
    colour = [shade.get(who, ACCENT) for who in rows["who"]]
    drawn = axes.barh(range(len(rows)), rows["per_cpu_s"], color=colour, height=0.75)
    axes.bar_label(drawn, [f"{v:,.3g}" if v < 100 else f"{v:,.0f}" for v in rows["per_cpu_s"]],
                   padding=2, fontsize=6.5)  # fmt: skip
    axes.set_yticks(range(len(rows)), labels, fontsize=6.5)
    axes.set_ylim(-0.6, len(rows) - 0.4)
    axes.grid(visible=False, axis="y")
