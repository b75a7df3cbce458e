"""Sections of the group page beyond the study: patients, firmness, agreement, prediction, noise."""

from collections.abc import Hashable, Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd

from bidsapp.reports.figures.courses import spaced
from bidsapp.reports.group.view import ALPHA, GroupView, listed, many, span, table_files
from bidsapp.reports.page.blocks import Block, Table, Words
from bidsapp.reports.page.numbers import interval, number, pvalue
from bidsapp.study.tables import ParameterPair


def patients(view: GroupView) -> list[Block]:
    """Hold the mixed model against the paired t tests."""
    mixed = view.statistics.mixed
    rows = []
    for row in mixed.to_dict("records"):
        form = view.forms[row["parameter"]]
        rows.append(
            [
                form.title,
                span(row),
                form.number(row["mean_difference"], sign=True),
                interval(row["ci_low"] * form.scale, row["ci_high"] * form.scale, form.digits),
                number(row["df"], 1),
                pvalue(row["p"]),
                pvalue(row["p_holm"]),
                pvalue(row["p_paired"]),
                number(row["icc_participant"], 2),
                number(row["icc_lesion"], 2),
                row["note"],
            ]
        )
    columns = ["Parameter", "Time points", "Change", "95 % interval", "df", "p", "p Holm"]
    columns += ["p, t test", "ICC patient", "ICC lesion", "Note"]
    table = Table(
        "Linear mixed model, restricted maximum likelihood, Satterthwaite's degrees of freedom",
        columns,
        rows,
        text=frozenset({1, 10}),
        files=table_files("mixed"),
    )
    return [Words(_mixed_words(mixed), _icc_words(mixed)), table]


def _mixed_words(mixed: pd.DataFrame) -> list[str]:
    """Say where the mixed model and the t test disagree."""
    tested = mixed[mixed["agrees"].notna()]
    if tested.empty:
        return ["There are too few values for a mixed model."]
    apart = tested[tested["agrees"] == 0]
    if apart.empty:
        return [f"Mixed model and paired t test agree on all {len(tested)} comparisons."]
    which = [
        f"{row['parameter']} {span(row)} (mixed model p = {pvalue(row['p'])}, "
        f"t test p = {pvalue(row['p_paired'])})"
        for row in apart.to_dict("records")
    ]
    return [f"Mixed model and paired t test disagree on {listed(which)}.".replace("= <", "<")]


def _icc_words(mixed: pd.DataFrame) -> str:
    """Say how alike lesions of a patient are."""
    known = mixed.drop_duplicates("parameter").dropna(subset="icc_participant")
    if known.empty:
        return "No patient has two lesions, so patients and lesions cannot be told apart."
    parts = [f"{row['parameter']} {row['icc_participant']:.2f}" for row in known.to_dict("records")]
    return (
        "ICC: share of the variance that two lesions of a patient have in common "
        f"({', '.join(parts)}), and two time points of a lesion. With few patients who have "
        "several lesions the first is known roughly."
    )


def robustness(view: GroupView) -> list[Block]:
    """Show effect sizes, ranks, whole patients and patients left out."""
    paired = view.statistics.paired
    rows = [
        [
            view.forms[row["parameter"]].name,
            span(row),
            number(row["cohens_dz"], 2, sign=True),
            interval(row["dz_low"], row["dz_high"], 2),
            pvalue(row["p"]),
            pvalue(row["p_wilcoxon"]),
            pvalue(row["p_signflip"]),
            f"{pvalue(row['p_without_max'])} without {row['without_max']}"
            if row["without_max"]
            else "–",
            pvalue(row["p_normality"]),
        ]
        for row in paired.to_dict("records")
    ]
    columns = ["Parameter", "Time points", "dz", "95 % interval", "p, t test", "p, Wilcoxon"]
    columns += ["p, whole patients", "Largest p", "p, normality"]
    table = Table(
        "The same change by other means",
        columns,
        rows,
        text=frozenset({1, 7}),
        files=table_files("paired") + table_files("influence"),
    )
    words = Words(
        _firm_words(paired),
        "A small p of normality (Shapiro and Wilk) says that the changes are not normally "
        "distributed: Wilcoxon's test is the safer one there. Whole patients change sign together "
        "in the permutation test, so that their lesions need not be independent.",
    )
    return [words, view.picture("effects"), table]


def _firm_words(paired: pd.DataFrame) -> list[str]:
    """Say which findings every test shares, and which hang on one test or patient."""
    found = paired[paired["p"] < ALPHA]
    if found.empty:
        return ["No paired t test is below 0.05, so there is no finding to doubt."]
    others = ["p_holm", "p_wilcoxon", "p_signflip", "p_without_max"]
    firm = found[(found[others] < ALPHA).all(axis="columns")]
    loose = found.drop(firm.index)
    texts = []
    if len(firm):
        names = listed([f"{row['parameter']} {span(row)}" for row in firm.to_dict("records")])
        texts.append(
            "Firm (below 0.05 also after Holm's correction, by ranks, with whole patients, and "
            f"without any one patient): {names}."
        )
    reasons = {
        "p_holm": "after Holm's correction",
        "p_wilcoxon": "by ranks",
        "p_signflip": "with whole patients",
        "p_without_max": "without one patient",
    }
    for row in loose.to_dict("records"):
        lost = [text for name, text in reasons.items() if not row[name] < ALPHA]
        texts.append(f"{row['parameter']} {span(row)} is not below 0.05 {listed(lost)}.")
    return texts


def agreement(view: GroupView) -> list[Block]:
    """Correlate changes of the pair, within lesions, and show the limits of agreement."""
    pair = view.statistics.pair
    y_with_x, y_minus_x = f"{pair.y} with {pair.x}", f"{pair.y} minus {pair.x}"
    table = view.statistics.agreement
    rows = [
        [
            _question(row),
            str(row["n"]),
            number(row["r"], 2),
            interval(row["r_low"], row["r_high"], 2),
            pvalue(row["p"]),
            number(row["spearman"], 2),
            interval(row["spearman_low"], row["spearman_high"], 2),
            row["note"],
        ]
        for row in table.to_dict("records")
    ]
    columns = [y_with_x, "n", "r", "95 % interval", "p", "Spearman", "95 % interval", "Note"]
    correlations = Table(
        f"Correlation of {y_with_x}: values, changes, within lesions",
        columns,
        rows,
        text=frozenset({7}),
        files=table_files("agreement"),
    )
    limits = Table(
        f"Bland and Altman: {y_minus_x}, both in SDs from their means at the first time point",
        ["Time point", "n", "Bias", "95 % interval", "Limits of agreement", "Note"],
        [
            [
                spaced(row["timepoint"]),
                str(row["n"]),
                number(row["bias"], 2),
                interval(row["bias_low"], row["bias_high"], 2),
                interval(row["lower_limit"], row["upper_limit"], 2),
                row["note"],
            ]
            for row in view.statistics.limits.to_dict("records")
        ],
        text=frozenset({5}),
        files=table_files("limits"),
    )
    words = Words(
        _agreement_words(table, pair),
        "An interval that holds 0 leaves open whether there is any correlation at all.",
    )
    pictures = [view.picture("changes"), view.picture("limits")]
    return [words, correlations, pictures[0], limits, pictures[1]]


def _question(row: Mapping[Hashable, Any]) -> str:
    if row["question"] == "values":
        return f"at {spaced(row['timepoint_a'])}"
    if row["question"] == "change":
        return f"change {spaced(row['timepoint_a'])} – {spaced(row['timepoint_b'])}"
    return "within lesions"


def _agreement_words(table: pd.DataFrame, pair: ParameterPair) -> list[str]:
    """Say whether changes of the pair go together."""
    changes = table[(table["question"] == "change") & table["r"].notna()]
    texts = []
    if len(changes):
        found = changes[changes["p"] < ALPHA].to_dict("records")
        if found:
            parts = [f"{span(row)} (r = {number(row['r'], 2)})" for row in found]
            texts.append(f"Changes of {pair.y} and {pair.x} go together between {listed(parts)}.")
        else:
            texts.append(f"No correlation was seen between the changes of {pair.y} and {pair.x}.")
    within = table[table["question"] == "within lesions"].to_dict("records")[0]
    if np.isfinite(within["r"]):
        means = "rise and fall together" if within["r"] > 0 else "move against each other"
        seen = means if within["p"] < ALPHA else "show no common course"
        texts.append(
            f"Within a lesion {pair.y} and {pair.x} {seen} (repeated measures r = "
            f"{number(within['r'], 2)}, {interval(within['r_low'], within['r_high'], 2)})."
        )
    return texts or [f"There are too few lesions with both {pair.y} and {pair.x}."]


def prediction(view: GroupView) -> list[Block]:
    """Show whether early changes single out responders."""
    table = view.statistics.prediction
    tested = table[table["auc"].notna()]
    if tested.empty:
        return [Words([f"No test: {table['note'].iloc[0]}."])]
    rows = [
        [
            view.forms[row["parameter"]].name,
            span(row),
            f"{row['n_responders']} / {row['n_nonresponders']}",
            number(row["auc"], 2),
            interval(row["ci_low"], row["ci_high"], 2),
            pvalue(row["p"]),
            pvalue(row["p_holm"]),
            row["note"],
        ]
        for row in table.to_dict("records")
    ]
    columns = ["Parameter", "Change", "Responders / others", "Area", "95 % interval", "p"]
    found = [
        f"{r['parameter']} {span(r)}" for r in tested[tested["p_holm"] < ALPHA].to_dict("records")
    ]
    words = "No early change singles out responders beyond chance (after Holm's correction)."
    if found:
        words = f"Responders are singled out, also after Holm's correction, by {listed(found)}."
    fewest = int(min(tested["n_responders"].min(), tested["n_nonresponders"].min()))
    caveat = (
        f"With {many(fewest, 'lesion')} in the smaller group the intervals are wide, lesions of a "
        "patient are taken for independent, and the curve is drawn through the data it is judged "
        "by: a hypothesis for another study, not a rule."
    )
    areas = Table(
        "Area under the ROC curve: the chance that a responder's value falls more",
        [*columns, "p Holm", "Note"],
        rows,
        text=frozenset({1, 7}),
        files=table_files("prediction") + table_files("roc"),
    )
    return [Words([words], caveat), view.picture("roc"), areas]


def planning(view: GroupView) -> list[Block]:
    """Give the smallest change beyond noise and the sample size of a next study."""
    sizes = view.statistics.planning
    needed = Table(
        "Lesions that a next study with a paired t test needs",
        ["Parameter", "Time points", "dz", "80 % power", "90 % power", "80 %, cautious", "Note"],
        [
            [
                view.forms[row["parameter"]].name,
                span(row),
                number(row["cohens_dz"], 2, sign=True),
                number(row["n_power80"], 0),
                number(row["n_power90"], 0),
                number(row["n_power80_cautious"], 0),
                row["note"],
            ]
            for row in sizes.to_dict("records")
        ],
        text=frozenset({1, 6}),
        files=table_files("planning"),
    )
    words = Words(
        list(_noise_words(view)),
        "An effect found in a small study is larger than the true one more often than not: plan "
        "with the cautious number, which takes the end of the interval that is nearest to zero. "
        "It counts independent lesions; several lesions of a patient count less.",
    )
    known = view.statistics.repeatability["within_sd"].notna().any()
    return [words, *([_noise_table(view)] if known else []), needed]


def _noise_table(view: GroupView) -> Table:
    """The smallest change of one lesion that is more than noise."""
    rows = []
    for row in view.statistics.repeatability.to_dict("records"):
        form = view.forms[row["parameter"]]
        changed = "–" if np.isnan(row["n_changed"]) else f"{row['n_changed']:.0f}"
        rows.append(
            [
                form.title,
                {"fit": "standard errors of the fits"}.get(row["source"], row["source"]),
                str(row["n"]),
                form.number(row["within_sd"]),
                form.number(row["detectable_change"]),
                interval(row["ci_low"] * form.scale, row["ci_high"] * form.scale, form.digits),
                f"{changed} of {row['n_lesions']}",
                row["note"],
            ]
        )
    columns = ["Parameter", "From", "n", "SD of one value", "Detectable change", "95 % interval"]
    return Table(
        "Smallest change of one lesion that is more than noise",
        [*columns, "Lesions beyond it", "Note"],
        rows,
        text=frozenset({1, 7}),
        files=table_files("repeatability"),
    )


def _noise_words(view: GroupView) -> Iterator[str]:
    table = view.statistics.repeatability
    if table["within_sd"].isna().all():
        yield (
            "How much a lesion differs between two scans without any change is unknown here: name "
            "two such sessions with --repeats, or bring standard errors."
        )
    elif (table["source"] == "fit").any():
        yield (
            "Noise from the standard errors of the fits is a lower bound: it knows nothing of "
            "repositioning, physiology or the drawing of ROIs."
        )


def left_out(view: GroupView) -> list[Block]:
    """List what was excluded and what is missing."""
    excluded, missing = view.statistics.excluded, view.statistics.missing
    count = len(excluded)
    verb = "is" if count == 1 else "are"
    texts = [
        f"{many(count, 'lesion')} {verb} marked as excluded in the ROI tables and left out of "
        "every number above."
        if count
        else "No lesion is marked as excluded.",
        f"{many(len(missing), 'time point')} of a lesion lack a value; each test uses the lesions "
        "that have both of its time points, the mixed model all."
        if len(missing)
        else "Every lesion has every parameter at every time point.",
    ]
    blocks: list[Block] = [Words(texts)]
    if count:
        rows = [[str(cell) for cell in row] for row in excluded.to_numpy()]
        columns = ["Participant", "Lesion", "Marked in"]
        files = table_files("excluded")
        blocks.append(Table("Excluded", columns, rows, text=frozenset({2}), files=files))
    if len(missing):
        rows = [
            [
                row["participant_id"],
                str(row["lesion"]),
                spaced(row["timepoint"]),
                row["parameters"],
                row["reason"],
            ]
            for row in missing.to_dict("records")
        ]
        columns = ["Participant", "Lesion", "Time point", "Lacks", "Why"]
        summary = "" if len(rows) <= 12 else f"All {len(rows)} that are missing"
        blocks.append(
            Table(
                "Missing",
                columns,
                rows,
                text=frozenset({2, 3, 4}),
                files=table_files("missing"),
                summary=summary,
            )
        )
    return blocks


def reading(view: GroupView) -> list[Block]:
    """Say how to read the page."""
    return [
        Words(
            [
                "A p value above 0.05 does not show that nothing changed; the 95 % interval says "
                "how large a change may have been missed.",
                "Tests are two-sided. The family that Holm's and the false discovery correction "
                "count is all parameters and pairs of time points of a table.",
                "All numbers are in group_*.tsv beside this page, their columns described in the "
                "JSON file of the same name; figures are in figures/ as SVG, PDF and TSV.",
            ]
        )
    ]
