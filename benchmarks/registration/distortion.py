"""EPI distortion estimated from the T1w: errors of the b0 with and without correction."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from benchmarks import plots
from benchmarks.heads import Case, draw_case
from benchmarks.peers.harness import clock
from benchmarks.report import Section
from benchmarks.settings import Settings
from bidsapp.imaging import register
from bidsapp.imaging.distortion.t1w import t1w_shift
from bidsapp.imaging.transforms import Matrix, apply
from bidsapp.imaging.warps import Shift
from bidsapp.reports.page.style import DATA, EDGE, apply_style

PAIRS = 8
STRENGTHS = (0.0, 1.0, 2.0, 4.0)
WHERE = ("lesion", "brain", "brain_95")
SHOWN = (0.03, 10.0)

TEXT = """The b0 of the topic accuracy, without EPI distortion (0), with it (1: up to 2.6 mm near
air spaces) and with two and four times as much, is registered to the T1w with 12 parameters,
without and with the displacement along the phase-encoding axis that `--distortion t1w` estimates.
Errors in mm are mean distances in lesions and brain between the registered and the actual position
of points, and the 95th percentile in the brain; medians over the pairs. The 12 parameters alone
compensate for distortion at a lesion that is as smooth as an affine transform."""


def run(settings: Settings) -> Section:
    """Register every pair without and with the estimated distortion."""
    pairs = settings.count(PAIRS, least=1)
    table = pd.DataFrame(
        [_record(strength, seed, settings) for strength in STRENGTHS for seed in range(pairs)]
    )
    return Section(
        "Registration: EPI distortion from the T1w",
        TEXT,
        {"registration_distortion": summary(table)},
        {"registration_distortion": draw(table)},
        {"registration_distortion_all": table},
    )


def _record(strength: float, seed: int, settings: Settings) -> dict[str, float]:
    case = draw_case("b0", seed, distortion=strength, rough=settings.rough)
    assert case.fixed_mask is not None
    options = {**case.options, "fixed_mask": case.fixed_mask}
    matrix = register(case.moving, case.fixed, **options).matrix
    _, cpu, estimated = clock(
        lambda: t1w_shift(case.moving, case.fixed, case.fixed_mask, matrix, 1), repeats=1
    )
    return {
        "distortion": strength,
        "seed": seed,
        **{f"{k}_none": v for k, v in _errors(case, matrix).items()},
        **{f"{k}_t1w": v for k, v in _errors(case, matrix, estimated.shift).items()},
        "cpu_s": cpu,
    }


def _errors(case: Case, matrix: Matrix, shift: Shift | None = None) -> dict[str, float]:
    """Return the distances between the registered and the actual positions of points, mm."""
    pairs = {
        "lesion": (case.lesion_points, case.lesion_targets),
        "brain": (case.brain_points, case.brain_targets),
    }
    far = {}
    for name, (points, targets) in pairs.items():
        moved = apply(matrix, points)
        moved = shift(moved) if shift else moved
        far[name] = np.linalg.norm(moved - targets, axis=1)
    means = {name: float(distances.mean()) for name, distances in far.items()}
    return means | {"brain_95": float(np.percentile(far["brain"], 95))}


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """Return medians of each strength, and the largest error in a lesion."""
    rows = []
    for strength, group in table.groupby("distortion", sort=False):
        row = {"distortion": strength, "n": len(group)}
        for name in WHERE:
            row |= {f"{name}_{how}": group[f"{name}_{how}"].median() for how in ("none", "t1w")}
        row |= {f"lesion_max_{how}": group[f"lesion_{how}"].max() for how in ("none", "t1w")}
        rows.append(row | {"cpu_s": group["cpu_s"].median()})
    return pd.DataFrame(rows)


@apply_style
def draw(table: pd.DataFrame) -> Figure:
    """Plot the errors of all pairs, with panels for lesions, brain and its 95th percentile."""
    figure, axes = plots.grid(1, len(WHERE), width=2.3, height=2.8, sharey=True)
    strengths = sorted(table["distortion"].unique())
    place = table["distortion"].map(strengths.index)
    titles = {"brain_95": "brain, 95th percentile"}
    for panel, name in zip(axes[0], WHERE, strict=True):
        for how, colour, label, aside in (
            ("none", EDGE, "registration alone", -0.15),
            ("t1w", DATA, "distortion from the T1w", 0.15),
        ):
            error = np.clip(table[f"{name}_{how}"], *SHOWN)
            panel.plot(place + aside, error, "o", color=colour, alpha=0.7, label=label)
        panel.set_title(titles.get(name, name))
        panel.set_xticks(range(len(strengths)), [f"{s:g}" for s in strengths])
        panel.set_xlabel("distortion, relative to the phantom")
        panel.grid(visible=False, axis="x")
    axes[0, 0].set_ylabel("error, mm")
    plots.logarithmic(axes[0, 0], "y")
    axes[0, 0].set_ylim(*SHOWN)
    plots.legend_below(figure, axes[0, 0], 2)
    return figure
