"""Comparison with other registration engines on the same pairs: error and time."""

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from benchmarks import environments, heads, plots
from benchmarks.heads import KINDS, Case
from benchmarks.registration import trials
from benchmarks.registration.trials import WRONG, Trial
from benchmarks.report import Section
from benchmarks.settings import Settings
from bidsapp.imaging.masks import centroid, grow
from bidsapp.imaging.registration.recentring import recentre, restore_centre
from bidsapp.reports.page.style import INK, apply_style

PAIRS = 6
MARGIN = 3.0
"""Margin around the brain of the fixed image, mm."""
OURS = "metperf"
SHOWN, INSIDE = (0.03, 30.0), (0.035, 25.0)
"""Limits of the figure and of the plotted errors, mm."""

TEXT = f"""All engines register the same pairs with the same number of threads. For other engines,
the centre of the fixed brain is moved to the origin. For the b0, the fixed image is set to zero
more than {MARGIN:g} mm outside the brain, without which several engines fail; for DCE and
follow-up it is the whole head, because the moving image also shows the scalp, and elastix and
SimpleITK fail otherwise; niimath, which masks the moving image itself, gets the brain. Times
include reading the files; on a shared machine, CPU time is more meaningful. A registration is
"wrong" if the error in the lesions exceeds {WRONG:g} mm. Only metperf is
shown without `--peers`."""
Record = dict[str, Any]


def run(settings: Settings) -> Section:
    """Register the pairs with every engine."""
    pairs = [Trial(kind, n) for kind in KINDS for n in range(settings.count(PAIRS, least=1))]
    records = [_ours(trial, settings) for trial in pairs]
    if settings.peers:
        records += peers(pairs, settings)
    table = pd.DataFrame(records)
    done = table[table["error"] == ""].drop(columns="error")
    tables = {"registration_engines": summarise(done)}
    if len(done) < len(table):
        tables["registration_engines_failed"] = table[table["error"] != ""][
            ["who", "kind", "error"]
        ]
    return Section(
        "Registration: other engines",
        TEXT,
        tables,
        {"registration_engines": scatter(done)},
        {"registration_engines_all": table},
    )


def _ours(trial: Trial, settings: Settings) -> Record:
    record, _ = trials.run(trial, settings)
    kept = {name: record[name] for name in ("kind", "seed", "lesion", "brain", "wall_s", "cpu_s")}
    return {"who": OURS} | kept | {"error": ""}


def peers(pairs: list[Trial], settings: Settings) -> list[Record]:
    """Register the pairs with the other packages."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        listed = [_write(trial, folder, settings) for trial in pairs]
        (folder / "pairs.json").write_text(json.dumps(listed))
        return [
            record
            for engine in environments.ENGINES
            for found in environments.measure(engine, settings.peer_dir, folder, settings.scale)
            for record in _add_errors(found, pairs, listed, settings)
        ]


def _write(trial: Trial, folder: Path, settings: Settings) -> Record:
    """Write the images of a pair; return their description for the engines."""
    case = trials.case_of(trial, settings.rough)
    name = f"{trial.kind}-{trial.seed}"
    centre = centroid(np.asarray(case.fixed_mask.dataobj), case.fixed.affine)
    images = {"moving": case.moving, "head": case.fixed, "brain": brain_only(case)}
    for role, image in images.items():
        moved = nib.Nifti1Image(image.dataobj, recentre(image.affine, centre))
        nib.save(moved, folder / f"{name}_{role}.nii")
    paths = {role: str(folder / f"{name}_{role}.nii") for role in images}
    return paths | {
        "pair": name,
        "kind": trial.kind,
        "transform": case.options["transform"],
        "threads": settings.jobs,
        "centre": centre.tolist(),
        "fixed": paths["brain" if trial.kind == "b0" else "head"],
    }


def brain_only(case: Case) -> nib.Nifti1Image:
    """Return the fixed image with zero outside the brain and a margin."""
    near = grow(np.asarray(case.fixed_mask.dataobj), case.fixed.affine, MARGIN)
    return nib.Nifti1Image(np.where(near, case.fixed.dataobj, 0), case.fixed.affine)


def _add_errors(
    found: Record, pairs: list[Trial], listed: list[Record], settings: Settings
) -> Iterator[Record]:
    """Return a record with the errors of the matrix that an engine found."""
    version = f" {found['version']}" if "version" in found else ""
    record = {"who": f"{found['peer']}{version}: {found['method']}", "kind": "", "error": ""}
    at = next((n for n, entry in enumerate(listed) if entry["pair"] == found.get("pair")), None)
    if at is not None:
        record |= {"kind": pairs[at].kind, "seed": pairs[at].seed}
    if at is None or "error" in found:
        yield record | {"error": found["error"]}
        return
    matrix = restore_centre(np.array(found["matrix"]), listed[at]["centre"])
    off = heads.error(matrix, trials.case_of(pairs[at], settings.rough))
    times = {"wall_s": found["wall"], "cpu_s": found["cpu"]}
    yield record | {"lesion": off.lesion, "brain": off.brain} | times


def summarise(table: pd.DataFrame) -> pd.DataFrame:
    """Return errors and times of every engine for every kind of pair."""
    rows = [
        {
            "kind": kind,
            "who": who,
            "n": len(group),
            "median_mm": group["lesion"].median(),
            "max_mm": group["lesion"].max(),
            "brain_mm": group["brain"].median(),
            "wrong": int((~(group["lesion"] <= WRONG)).sum()),
            "wall_s": group["wall_s"].median(),
            "cpu_s": group["cpu_s"].median(),
        }
        for (kind, who), group in table.groupby(["kind", "who"], sort=False)
    ]
    return pd.DataFrame(rows).sort_values("kind", kind="stable")


@apply_style
def scatter(table: pd.DataFrame) -> Figure:
    """Plot error over time, one panel per kind."""
    kinds = list(table["kind"].unique())
    figure, axes = plots.grid(1, len(kinds), 2.3, 2.6, sharex=True, sharey=True)
    colours = plots.colours(list(table["who"].unique()[1:])) | {OURS: INK}
    for panel, kind in zip(axes[0], kinds, strict=True):
        for who, colour in colours.items():
            rows = table[(table["kind"] == kind) & (table["who"] == who)]
            error = np.clip(rows["lesion"], *INSIDE)
            marker = "D" if who == OURS else "o"
            panel.plot(rows["wall_s"], error, marker, color=colour, label=who)
        panel.axhline(WRONG, **plots.LINE)
        panel.set(title=kind, xlabel="seconds per pair")
    plots.logarithmic(axes[0, 0], "y")
    axes[0, 0].set(xlim=(0, None), ylim=SHOWN)
    axes[0, 0].set_ylabel("error in the lesions, mm")
    plots.legend_below(figure, axes[0, 0], 2)
    return figure
