"""Results: a page with tables and figures for each topic, and README.md for all topics."""

import os
import platform
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import matplotlib
import numpy as np
import pandas as pd
import scipy
from matplotlib.figure import Figure

from bidsapp.reports.page.style import STYLE

DOTS_PER_INCH = 200
ROUNDING = 1e-14
"""Numbers below this are rounding errors of zero."""


@dataclass(frozen=True)
class Section:
    """Results of one topic: text, figures and tables by file name; long tables remain files."""

    title: str
    text: str
    tables: dict[str, pd.DataFrame]
    figures: dict[str, Figure]
    files_only: dict[str, pd.DataFrame] = field(default_factory=dict)


def write(topic: str, section: Section, out: Path, scale: float) -> Path:
    """Write the files and the page of a topic; return the page."""
    out.mkdir(parents=True, exist_ok=True)
    for name, table in (section.tables | section.files_only).items():
        table.to_csv(out / f"{name}.tsv", sep="\t", index=False, float_format="%.6g", na_rep="n/a")
    for name, figure in section.figures.items():
        with matplotlib.rc_context(STYLE):
            figure.savefig(out / f"{name}.png", dpi=DOTS_PER_INCH)
    parts = [
        f"## {section.title}",
        section.text,
        *(f"![{name}]({name}.png)" for name in section.figures),
        *(
            f"{markdown(table)}\n\n[{name}.tsv]({name}.tsv)"
            for name, table in section.tables.items()
        ),
        *(f"[{name}.tsv]({name}.tsv): {len(t)} rows" for name, t in section.files_only.items()),
        f"*{circumstances(scale)}*",
    ]
    page = out / f"{topic}.md"
    page.write_text("\n\n".join(parts) + "\n")
    return page


def assemble(topics: Iterable[str], out: Path) -> Path:
    """Combine the pages of all topics with results."""
    pages = [out / f"{topic}.md" for topic in topics]
    found = [page.read_text() for page in pages if page.exists()]
    whole = out / "README.md"
    whole.write_text("\n".join(["# How fast, how good\n", *found]))
    return whole


def markdown(table: pd.DataFrame) -> str:
    """Return a table in Markdown."""
    rows = [table.columns, ["---"] * table.shape[1], *table.itertuples(index=False)]
    return "\n".join("| " + " | ".join(map(_cell, row)) + " |" for row in rows)


def _cell(value: object) -> str:
    if not isinstance(value, float | np.floating):
        return str(value).replace("|", "/")
    if np.isnan(value):
        return "-"
    if abs(value) < ROUNDING:
        return "0"
    return f"{value:,.0f}" if 1000 <= abs(value) < np.inf else f"{value:.3g}"


def circumstances(scale: float) -> str:
    """Return date, machine and versions of a run."""
    now = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    threads = os.environ.get("OMP_NUM_THREADS", "all")
    return (
        f"{now}; scale {scale:g}; {_processor()}, {os.cpu_count()} cores, "
        f"load {os.getloadavg()[0]:.1f} at the end; BLAS threads: {threads}; "
        f"Python {platform.python_version()}, numpy {np.__version__}, scipy {scipy.__version__}"
    )


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
