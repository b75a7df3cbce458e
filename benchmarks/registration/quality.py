"""Self-assessment of registration: predicted and true errors, flags and failures."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from scipy import stats

from benchmarks import plots
from benchmarks.heads import KINDS, SPOILT, STRESSES
from benchmarks.registration.trials import FLAGS, WRONG, Trial, run_all
from benchmarks.report import Section
from benchmarks.settings import Settings
from bidsapp.reports.page.style import ACCENT, DATA, EDGE, apply_style

PLAIN, STRESSED, RUINED = 20, 4, 6
WRONG_METRIC = {"b0": "lpp", "dce": "lpc"}
BINS = (0, 0.25, 0.5, 1.0, 2.0, np.inf)
SHOWN, INSIDE = (0.03, 300.0), (0.035, 250.0)
"""Limits of the figure and of the plotted errors, mm."""
COLOURS = {"good": DATA, "doubtful": ACCENT, "failed": EDGE}

TEXT = f"""Good pairs are plain ones and those under stress. Spoilt pairs: the moving image is that
of another patient, is mirrored, is only noise (in these cases there is no correct result, and any
result is wrong), has ten times the noise, has three slices, or is displaced by 100 mm and 40
degrees in its header; or the metric is not suitable for the contrast. A registration is wrong if
the error in the lesions is at least {WRONG:g} mm. Precision is the proportion of flagged
registrations that are wrong, recall the proportion of wrong registrations that are flagged.
Correlations refer to the logarithms of predicted and true errors of pairs with a correct result."""


def trials(settings: Settings) -> list[Trial]:
    """Return the trials, good pairs first."""

    def seeds(full: int) -> range:
        return range(settings.count(full, least=1))

    return [
        *(Trial(kind, seed) for kind in KINDS for seed in seeds(PLAIN)),
        *(Trial(k, seed, s) for k in WRONG_METRIC for s in STRESSES for seed in seeds(STRESSED)),
        *(Trial(kind, seed, s) for kind in KINDS for s in SPOILT for seed in seeds(RUINED)),
        *(Trial(k, seed, metric=m) for k, m in WRONG_METRIC.items() for seed in seeds(RUINED)),
    ]


def run(settings: Settings) -> Section:
    """Register all pairs, and compare reported with true errors."""
    asked = trials(settings)
    table = run_all(asked, settings)
    table["pair"] = [_pair(trial) for trial in asked]
    return Section(
        "Registration: self-assessment",
        TEXT,
        {
            "registration_quality_flags": flags(table),
            "registration_quality_correlation": correlations(table),
            "registration_quality_calibration": calibration(table),
            "registration_quality_pairs": verdicts(table),
        },
        {"registration_quality": scatter(table)},
        {"registration_quality_all": table},
    )


def _pair(trial: Trial) -> str:
    if trial.metric:
        return "wrong-metric"
    return trial.stress if trial.stress in SPOILT else "stressed" if trial.stress else "plain"


def flags(table: pd.DataFrame) -> pd.DataFrame:
    """Return precision and recall of the verdict failed, and of failed or doubtful."""
    rows = []
    for names in (FLAGS[:1], FLAGS):
        flagged, wrong = table["verdict"].isin(names), table["wrong"]
        hits = int((flagged & wrong).sum())
        rows.append(
            {
                "flag": " or ".join(names),
                "n": len(table),
                "wrong": int(wrong.sum()),
                "flagged": int(flagged.sum()),
                "wrong_unflagged": int((wrong & ~flagged).sum()),
                "right_flagged": int((flagged & ~wrong).sum()),
                "precision": hits / flagged.sum() if flagged.any() else np.nan,
                "recall": hits / wrong.sum() if wrong.any() else np.nan,
            }
        )
    return pd.DataFrame(rows)


def correlations(table: pd.DataFrame) -> pd.DataFrame:
    """Return the correlation of predicted and true errors, of all and of correct registrations."""
    usable = table[table["answerable"] & np.isfinite(table["lesion"] * table["expected"])]
    parts = {"all": usable, "right": usable[~usable["wrong"]]}
    return pd.DataFrame(
        {"pairs": name, "where": where, "n": len(chosen)} | _agreement(chosen, where)
        for name, chosen in parts.items()
        for where in ("lesion", "brain")
    )


def _agreement(rows: pd.DataFrame, where: str) -> dict[str, float]:
    true, said = np.log(rows[where]), np.log(np.maximum(rows["expected"], 1e-3))
    varied = len(rows) > 2 and true.std() * said.std() > 0
    return {
        "pearson_r": np.corrcoef(true, said)[0, 1] if varied else np.nan,
        "spearman_r": stats.spearmanr(true, said).statistic if varied else np.nan,
        "median_true_over_predicted": float(np.exp((true - said).median())),
        "true_within_twice_predicted": float((true <= said + np.log(2)).mean()),
    }


def calibration(table: pd.DataFrame) -> pd.DataFrame:
    """Return the true errors of registrations by predicted error."""
    usable = table[table["answerable"]]
    ranges = pd.cut(usable["expected"].clip(0, 1e6), BINS, include_lowest=True)
    rows = [
        {
            "predicted_mm": f"{max(interval.left, 0):.2g} to {interval.right:.2g}",
            "n": len(group),
            "median_mm": group["lesion"].median(),
            "p90_mm": group["lesion"].quantile(0.9, interpolation="higher"),
            "max_mm": group["lesion"].max(),
        }
        for interval, group in usable.groupby(ranges, observed=True)
    ]
    return pd.DataFrame(rows)


def verdicts(table: pd.DataFrame) -> pd.DataFrame:
    """Return the verdicts by kind of pair."""
    rows = []
    for (pair, kind), group in table.groupby(["pair", "kind"], sort=False):
        counts = {name: int((group["verdict"] == name).sum()) for name in COLOURS}
        errors = {"median_mm": group["lesion"].median(), "max_mm": group["lesion"].max()}
        missed = int((group["wrong"] & ~group["flagged"]).sum())
        wrong = int(group["wrong"].sum())
        head = {"pair": pair, "kind": kind, "n": len(group)}
        rows.append(head | errors | counts | {"wrong": wrong, "wrong_unflagged": missed})
    return pd.DataFrame(rows)


@apply_style
def scatter(table: pd.DataFrame) -> Figure:
    """Plot the true over the predicted error, by verdict."""
    parts = {"with a correct result": table["answerable"], "without": ~table["answerable"]}
    figure, axes = plots.grid(1, 2, 3.2, 2.9, sharex=True, sharey=True)
    for panel, (title, chosen) in zip(axes[0], parts.items(), strict=True):
        panel.plot(SHOWN, SHOWN, **plots.LINE)
        panel.axhline(WRONG, **plots.LINE)
        for verdict, colour in COLOURS.items():
            rows = table[chosen & (table["verdict"] == verdict)]
            x, y = (np.clip(rows[name], *INSIDE) for name in ("expected", "lesion"))
            panel.plot(x, y, "o", color=colour, alpha=0.7, label=verdict)
        panel.set(title=title, xlabel="predicted error, mm", xlim=SHOWN, ylim=SHOWN)
    plots.logarithmic(axes[0, 0], "x", "y")
    axes[0, 0].set_ylabel("true error in the lesions, mm")
    plots.legend_below(figure, axes[0, 0], 3)
    return figure
