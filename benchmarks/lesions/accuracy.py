"""Errors of lesion values and of their changes, and how often their intervals hold the truth."""

from collections.abc import Callable
from functools import partial
from itertools import pairwise

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from scipy import stats

from benchmarks import plots
from benchmarks.challenge import score
from benchmarks.lesions.cells import CELLS, REGISTRATION_ERROR, Cell
from benchmarks.lesions.images import SNR
from benchmarks.lesions.participants import lesion_table
from benchmarks.lesions.values import FITTED
from benchmarks.report import Section
from benchmarks.settings import Settings
from bidsapp.phantom.cohort import RETEST
from bidsapp.reports.page.style import DATA, EDGE

PARTICIPANTS = 12
"""They have 16 lesions, in four sessions with series: 64 lesion-sessions."""
COHORT = 15
"""Participants of the reference cohort."""
SIZES = (0.0, 1.0, 2.5, np.inf)
"""Limits of the classes of volumes, ml."""
NORMAL = 1.96

TEXT = f"""Lesions as in the study, with a session that repeats the first one. The series around
each lesion are simulated at an SNR of {SNR:g}; noise, pose and ROIs are new in every session. ROIs
are displaced at random by an error of expected size {REGISTRATION_ERROR} mm. Arterial input and
T1 are the true ones.
"mean": mean of the maps over the voxels of the ROI; "own": the value of the lesion's own course.
Errors in per cent of the truth; "coverage": share of the lesions whose truth lies within
{NORMAL} standard errors, %."""


def topic(name: str) -> Callable[[Settings], Section]:
    """Return the function that measures a cell."""
    return partial(_run, name)


def _run(name: str, settings: Settings) -> Section:
    cell = CELLS[name]
    table = lesion_table(cell, settings.count(_participants(cell)), settings.jobs)
    prefix = f"lesions_{name}"
    return Section(
        f"Lesion values: {_describe(cell)}",
        TEXT,
        {
            f"{prefix}_errors": errors(table, ["parameter"]),
            f"{prefix}_sizes": errors(_with_classes(table), ["parameter", "volume, ml"]),
            f"{prefix}_changes": change_errors(table),
            f"{prefix}_decisions": decisions(table),
            f"{prefix}_correlations": correlations(table),
            f"{prefix}_scores": scores(table),
        },
        {f"{prefix}_errors": _plot(table)},
        {f"{prefix}_all": table},
    )


def _participants(cell: Cell) -> int:
    return COHORT if cell.study else PARTICIPANTS


def _describe(cell: Cell) -> str:
    """Return what a cell simulates, in words."""
    drawn = f"edges off by {cell.offset:g} mm" if cell.offset else "exact ROIs"
    words = [
        "the reference cohort" if cell.study else "",
        f"{cell.resolution} resolution",
        "uneven lesions" if cell.uneven else "uniform lesions",
        "with veins" if cell.veins else "",
        f"edges drawn to {cell.spread:g} mm" if cell.spread else drawn,
        "Fourier images" if cell.fourier else "",
    ]
    return ", ".join(word for word in words if word)


def _with_classes(table: pd.DataFrame) -> pd.DataFrame:
    labels = [f"{a:g} to {b:g}" if np.isfinite(b) else f"{a:g} or more" for a, b in pairwise(SIZES)]
    return table.assign(**{"volume, ml": pd.cut(table["volume"], SIZES, labels=labels)})


def errors(table: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """Return the errors of both estimates, by the values of some columns."""
    rows = []
    for names, group in table.groupby(keys, sort=False, observed=True):
        row = dict(zip(keys, names, strict=True)) | {"lesions": len(group)}
        for estimate in ("mean", "own"):
            error = 100 * (group[estimate] / group["truth"] - 1)
            row[f"{estimate}, median error"] = round(error.median(), 1)
            row[f"{estimate}, median absolute"] = round(error.abs().median(), 1)
            row[f"{estimate}, 90 % within"] = round(error.abs().quantile(0.9), 1)
        row["without own value"] = int(group["own"].isna().sum())
        row["coverage"] = _coverage(group["own"] - group["truth"], group["standard_error"])
        rows.append(row)
    return pd.DataFrame(rows)


def _coverage(error: pd.Series, standard_error: pd.Series) -> float:
    known = error.notna() & standard_error.notna()
    return round(100 * float((error.abs() <= NORMAL * standard_error)[known].mean()), 1)


def change_errors(table: pd.DataFrame) -> pd.DataFrame:
    """Return the RMS errors of the changes since the first session, in repeats and otherwise."""
    changes = _changes(table)
    changes["pair"] = np.where(changes["session"] == RETEST, "repeated", "treated")
    rows = []
    for (parameter, pair), group in changes.groupby(["parameter", "pair"], sort=False):
        known = group.dropna(subset=["own"])
        rms = {
            estimate: float(np.sqrt(np.square(known[estimate] - known["truth"]).mean()))
            for estimate in ("mean", "own")
        }
        rows.append(
            {
                "parameter": parameter,
                "pair": pair,
                "changes": len(known),
                "RMS true change": float(np.sqrt(np.square(known["truth"]).mean())),
                "RMS error, mean": rms["mean"],
                "RMS error, own": rms["own"],
                "ratio": round(rms["own"] / rms["mean"], 2),
                "coverage": _coverage(known["own"] - known["truth"], known["standard_error"]),
            }
        )
    return pd.DataFrame(rows)


def correlations(table: pd.DataFrame) -> pd.DataFrame:
    """Return the correlation of f with vp at each session: of the truth and of both estimates."""
    rows = []
    for session, group in table.groupby("session", sort=False):
        row: dict[str, object] = {"session": session}
        for name in ("truth", "mean", "own"):
            both = group.pivot(index=["participant", "lesion"], columns="parameter", values=name)
            pairs = both[["f", "vp"]].dropna()
            row["lesions"] = len(pairs)
            r = stats.pearsonr(pairs["f"], pairs["vp"]) if len(pairs) > 2 else None
            row |= {f"{name}, r": r and float(r.statistic), f"{name}, p": r and float(r.pvalue)}
        rows.append(row)
    return pd.DataFrame(rows)


def scores(table: pd.DataFrame) -> pd.DataFrame:
    """Return the accuracy and repeatability scores of Ktrans in the OSIPI-DCE challenge.

    See `benchmarks.challenge`; of a value and the truth, and of the values of the first session
    and its repetition.
    """
    rows = table[table["parameter"] == "Ktrans"]
    keys = ["participant", "lesion"]
    first = rows.groupby(keys, sort=False, as_index=False).first()
    repeated = rows[rows["session"] == RETEST].merge(first, on=keys, suffixes=("", " first"))
    return pd.DataFrame(
        {
            "estimate": estimate,
            "accuracy": round(score(rows[estimate], rows["truth"]), 3),
            "repeatability": round(score(repeated[estimate], repeated[f"{estimate} first"]), 3),
        }
        for estimate in ("mean", "own")
    )


def decisions(table: pd.DataFrame) -> pd.DataFrame:
    """Return the mean changes since the first session, each with its paired t test.

    Of the truth, and of both estimates: where a decision at 0.05 is not that of the truth, the
    estimate changes the conclusion of a study.
    """
    changes = _changes(table)
    changes = changes[changes["session"] != RETEST]
    rows = []
    for (parameter, session), group in changes.groupby(["parameter", "session"], sort=False):
        row = {"parameter": parameter, "session": session, "lesions": len(group)}
        for name in ("truth", "mean", "own"):
            known = group[name].dropna()
            row[f"{name}, change"] = float(known.mean())
            row[f"{name}, p"] = float(stats.ttest_1samp(known, 0).pvalue)
        rows.append(row)
    return pd.DataFrame(rows)


def _changes(table: pd.DataFrame) -> pd.DataFrame:
    """Return the differences between each later session and the first."""
    keys = ["participant", "lesion", "parameter"]
    first = table.groupby(keys, sort=False, as_index=False).first()
    both = table.merge(first, on=keys, suffixes=("", " first"))
    both = both[both["session"] != both["session first"]].copy()
    for name in ("truth", "mean", "own"):
        both[name] -= both[f"{name} first"]
    # The errors of the two sessions are independent.
    both["standard_error"] = np.hypot(both["standard_error"], both["standard_error first"])
    return both


def _plot(table: pd.DataFrame) -> Figure:
    """Plot both estimates relative to the truth against volume, one panel for each parameter."""
    figure, axes = plots.flat(len(FITTED), 3, height=2.2, sharey=True)
    for panel, name in zip(axes, FITTED, strict=True):
        rows = table[table["parameter"] == name]
        panel.axhline(1, **plots.LINE)
        for estimate, colour in (("mean", EDGE), ("own", DATA)):
            ratio = np.clip(rows[estimate] / rows["truth"], 0.02, 1.98)
            panel.plot(rows["volume"], ratio, "o", color=colour, alpha=0.6, label=estimate)
        panel.set(title=name, ylim=(0, 2), xlim=(0, None))
    for panel in axes[::3]:
        panel.set_ylabel("estimate / truth")
    for panel in axes[-3:]:
        panel.set_xlabel("volume, ml")
    plots.legend_below(figure, axes[0], 2)
    return figure
