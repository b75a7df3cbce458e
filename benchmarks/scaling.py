"""Time and memory against the number of voxels: constant per voxel, and bounded by ``chunk``."""

import tracemalloc
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks import plots
from benchmarks.peers.harness import clock
from benchmarks.report import Section
from benchmarks.settings import Settings
from benchmarks.workload import Array, Workload, by_name
from bidsapp.models import Fit, fit
from bidsapp.reports.page.style import apply_style

LARGEST = {
    "adc": ("ivim6", 10_000_000),
    "ivim-asymptotic": ("ivim6", 10_000_000),
    "ivim-biexponential": ("ivim16", 1_000_000),
    "extended-tofts": ("dce", 1_000_000),
}
SIZES = (10_000, 100_000, 1_000_000, 10_000_000)
CHUNKS = (256, 512, 1024, 2048, 4096, 8192, 16384, 32768)
CHUNK_VOXELS = 65_536
MEGABYTE = 2**20

TEXT = """One thread, float32 data. Working memory is the peak of what `fit` allocates (Python's
tracemalloc, in a separate run that is not timed) excluding the returned maps."""


def run(settings: Settings) -> Section:
    """Fit increasing numbers of voxels with the default chunk, and a fixed number with several."""
    models = [name for name in LARGEST if settings.wants(name)]
    data = {name: by_name(LARGEST[name][0]) for name in models}
    sizes = pd.DataFrame(
        measure_resources(name, data[name], settings.count(size))
        for name in models
        for size in SIZES
        if size <= LARGEST[name][1]
    )
    voxels = settings.count(CHUNK_VOXELS, least=2 * min(CHUNKS))
    chunks = pd.DataFrame(
        measure_resources(name, data[name], voxels, chunk=chunk)
        for name in models
        for chunk in CHUNKS
        if 2 * chunk <= voxels
    )
    return Section(
        "Scaling",
        TEXT,
        {"scaling_voxels": sizes},
        {"scaling": figure_of(sizes, chunks)},
        {"scaling_chunk": chunks},
    )


def measure_resources(name: str, data: Workload, voxels: int, **options: int) -> dict[str, Any]:
    """Return time and working memory of one fit."""
    signal = tile(data.signal, voxels)
    wall, cpu, _ = clock(lambda: fit(name, signal, **data.design, **options), repeats=1)
    memory = working_memory(name, signal, data.design | options)
    return {
        "model": name,
        "voxels": voxels,
        **options,
        "wall_s": wall,
        "us_per_voxel": 1e6 * cpu / voxels,
        "data_MB": signal.nbytes / MEGABYTE,
        "working_MB": memory / MEGABYTE,
    }


def tile(signal: Array, voxels: int) -> Array:
    """Repeat the signals to that many voxels, as float32."""
    repeats = -(-voxels // len(signal))
    return np.tile(signal.astype(np.float32), (repeats, 1))[:voxels]


def working_memory(name: str, signal: Array, keywords: dict[str, Any]) -> float:
    """Return the peak memory of a fit, excluding its result, in bytes."""
    tracemalloc.start()
    try:
        found = fit(name, signal, **keywords)
        return tracemalloc.get_traced_memory()[1] - result_bytes(found)
    finally:
        tracemalloc.stop()


def result_bytes(found: Fit) -> int:
    """Return the bytes of the maps of a fit."""
    arrays = [*found.values.values(), *found.stderr.values(), found.rmse, found.rsquared]
    return sum(array.nbytes for array in (*arrays, found.status))


@apply_style
def figure_of(sizes: pd.DataFrame, chunks: pd.DataFrame) -> Figure:
    """Plot time per voxel and memory, over the number of voxels and over the chunk."""
    figure, axes = plots.grid(2, 2, 3.0, 2.1)
    for row, (column, label) in enumerate(
        (("us_per_voxel", "CPU time per voxel, us"), ("working_MB", "working memory, MB"))
    ):
        _draw(axes[row, 0], sizes, "voxels", column, label)
        _draw(axes[row, 1], chunks, "chunk", column, label)
    for panel in axes[:, 1]:
        tried = chunks["chunk"].unique()
        panel.set_xticks(tried, [f"{chunk:,}" for chunk in tried])
        panel.minorticks_off()
    axes[0, 0].set_title("Default chunk")
    axes[0, 1].set_title(f"{chunks['voxels'].max():,} voxels")
    plots.legend_below(figure, axes[0, 0], 4)
    return figure


def _draw(axes: Axes, table: pd.DataFrame, x: str, y: str, label: str) -> None:
    models = list(table["model"].unique())
    for model, colour in plots.colours(models).items():
        rows = table[table["model"] == model]
        axes.plot(rows[x], rows[y], "o-", color=colour, label=model)
    plots.logarithmic(axes, "x", "y")
    axes.set(xlabel=x, ylabel=label)
