"""Voxels per second of every model, a scipy loop and other packages, on the same data."""

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
from benchmarks.workload import TITLES, Workload, by_name
from bidsapp.models import fit
from bidsapp.reports.page.style import ACCENT, DATA, SOFT, apply_style

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
    "two-compartment-uptake": ("dce",),
    "vfa-t1": ("vfa",),
    "vfa-t1-linear": ("vfa",),
}
LOOPS: dict[str, Callable[[Workload], dict[str, Any]]] = {
    "ivim-biexponential": loops.biexponential,
    "extended-tofts": loops.extended_tofts,
}
CLOSED_FORMS = ("adc", "ivim-asymptotic")
LOOP_VOXELS = 200
COPIES = 8
OURS, LOOP = "metperf", "scipy"

TEXT = """All packages fit the first voxels of the same data (metperf fits eight copies of them, as
many as an image has), one after the other, on one thread unless stated otherwise; the median of
three calls after one that is not timed is given. Rates are voxels per second of wall time and of
CPU time; on a shared machine, the latter is more meaningful. "ratio" is the rate of metperf's
model on one thread, in voxels per CPU second, relative to that of the package. "err" is the median
absolute error of each parameter in its unit; missing values count as infinite errors.

"floor" compares the closed-form fits with the time that numpy needs to read the data once and to
take the logarithm of each number; the ratio should be below 5."""
Record = dict[str, Any]


def run(settings: Settings) -> Section:
    """Time all methods, and compare them."""
    names = [name for name in WORKLOADS if settings.wants(name)]
    needed = {workload for name in names for workload in WORKLOADS[name]}
    if settings.peers:
        needed |= {*IVIM, "dce"}
    data = {name: by_name(name) for name in sorted(needed)}
    records = [*ours(names, data, settings), *voxel_loops(names, data, settings)]
    if settings.peers:
        records += peers(data, settings)
    table = add_rates(records)
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


def repeat(data: Workload, times: int) -> Workload:
    """Return a workload repeated to the number of voxels of an image."""
    truth = {name: np.tile(value, times) for name, value in data.truth.items()}
    return replace(data, signal=np.tile(data.signal, (times, 1)), truth=truth)


def ours(names: list[str], data: dict[str, Workload], settings: Settings) -> Iterator[Record]:
    """Time `fit` for each model, on one thread and on several."""
    for name in names:
        for workload in WORKLOADS[name]:
            some = repeat(first(data[workload], settings.count(20000)), COPIES)
            for jobs in sorted({1, settings.jobs}):
                threads = {} if jobs == 1 else {"n_jobs": jobs}
                call = _fitter(name, threads)
                yield _time_call(OURS, "fit", name, some, call) | {"threads": jobs}


def _fitter(name: str, threads: dict[str, int]) -> Callable[[Workload], dict[str, Any]]:
    return lambda data: fit(name, data.signal, **data.design, **threads).values


def voxel_loops(
    names: list[str], data: dict[str, Workload], settings: Settings
) -> Iterator[Record]:
    """Time scipy's `curve_fit`, voxel by voxel."""
    for name in names:
        for workload in WORKLOADS[name] if name in LOOPS else ():
            some = first(data[workload], settings.count(LOOP_VOXELS))
            yield _time_call(LOOP, "curve_fit", name, some, LOOPS[name])


def _time_call(
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


def add_rates(records: list[Record]) -> pd.DataFrame:
    """Return one row per record, with rates relative to metperf's for the same model and data."""
    reference = {
        (r["model"], r["workload"]): r["voxels"] / r["cpu"]
        for r in records
        if r["peer"] == OURS and r["threads"] == 1
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
        "threads": record.get("threads", 1),
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


@apply_style
def bars(table: pd.DataFrame) -> Figure:
    """Plot voxels per CPU second on one thread, one panel per workload, grouped by model."""
    single = table[table["threads"] == 1]
    names = list(single["workload"].unique())
    panels = {name: _rows_of(single[single["workload"] == name]) for name in names}
    counts = [len(rows) + 2 for rows in panels.values()]
    figure = Figure(figsize=(6.6, 0.5 + 0.155 * sum(counts)), layout="constrained")
    axes = figure.subplots(len(names), 1, sharex=True, squeeze=False, height_ratios=counts)[:, 0]
    for panel, (name, rows) in zip(axes, panels.items(), strict=True):
        _draw_bars(panel, rows)
        panel.set_title(TITLES[name])
    plots.logarithmic(axes[-1], "x")
    axes[-1].set_xlim(single["per_cpu_s"].min() / 3, single["per_cpu_s"].max() * 8)
    axes[-1].set_xlabel("voxels fitted in one CPU second")
    return figure


def _rows_of(table: pd.DataFrame) -> list[tuple[str, str, float]]:
    """Return package, method and rate from top to bottom, with the model as heading of its fits."""
    rows = []
    for model, fits in table.groupby("model", sort=False):
        rows.append(("", str(model), np.nan))
        ordered = fits.sort_values("per_cpu_s", ascending=False)
        rows += zip(ordered["who"], ordered["method"], ordered["per_cpu_s"], strict=True)
    return rows


def _label(who: str, method: str) -> str:
    if who == OURS:
        return who
    return f"{who}: {method}" if who else method


def _draw_bars(axes: Axes, rows: list[tuple[str, str, float]]) -> None:
    who, methods, rates = zip(*rows, strict=True)
    shade = {OURS: DATA, LOOP: SOFT}
    place = np.arange(len(rows))
    drawn = axes.barh(place, rates, color=[shade.get(w, ACCENT) for w in who], height=0.8)
    written = ["" if np.isnan(r) else f"{r:,.3g}" if r < 100 else f"{r:,.0f}" for r in rates]
    axes.bar_label(drawn, written, padding=2, fontsize=6.5)
    axes.set_yticks(place, [_label(w, m) for w, m in zip(who, methods, strict=True)])
    for text, name in zip(axes.get_yticklabels(), who, strict=True):
        text.set(fontsize=6.5, fontweight="normal" if name else "bold")
    axes.tick_params("y", length=0)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.grid(visible=False, axis="y")
