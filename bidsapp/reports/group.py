"""The page of the group level: tables as the study prints them, each with what it means."""

import math
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd
from markupsafe import Markup

from bidsapp.cohort import PARAMETERS, GroupResult, measured
from bidsapp.reports.figures import DISPLAY
from bidsapp.reports.groupfigures import Course, regressions, significance, spaced, time_courses
from bidsapp.reports.page import render, svg
from bidsapp.response import RESPONSES

_DIGITS = {"vp": 1, "Ktrans": 3, "ve": 1, "ADC": 2, "f": 3}
_PLAIN_UNITS = {"vp": "1", "Ktrans": "1/min", "ve": "1", "ADC": "mm2/s", "f": "1"}
_MEANING = {
    "CR": "complete response: gone",
    "PR": "partial response: smaller by 58.5 % or more",
    "SD": "stable disease: between",
    "PD": "progressive disease: larger by 71.5 % or more",
    "n/a": "unknown: no volume at a follow-up",
}
_ALPHA = 0.05


@dataclass(frozen=True)
class Shown:
    """How the values of one parameter are printed: times ``scale``, in ``unit``."""

    name: str
    unit: str
    scale: float
    digits: int

    def number(self, value: float) -> str:
        """Print a value, with a true minus sign."""
        return number(value * self.scale, self.digits)


def number(value: float, digits: int, sign: bool = False) -> str:
    """Print a number for people: a true minus, and a dash for what is missing.

    Parameters
    ----------
    value : float
    digits : int
        After the point.
    sign : bool
        Whether to print a plus.

    Returns
    -------
    text : str

    Examples
    --------
    >>> number(-58.3, 0), number(32.26, 1, sign=True), number(float("nan"), 1)
    ('−58', '+32.3', '–')
    """
    if math.isnan(value):
        return "–"
    return f"{value:{'+' if sign else ''}.{digits}f}".replace("-", "−")


def pvalue(value: float) -> str:
    """Print a p value with two digits that say something.

    Parameters
    ----------
    value : float
        NaN for no test.

    Returns
    -------
    text : str

    Examples
    --------
    >>> [pvalue(p) for p in (0.41, 0.0303, 0.002, 0.000201, 1e-9, float("nan"))]
    ['0.41', '0.030', '0.002', '0.0002', '< 0.0001', 'no test']
    """
    if math.isnan(value):
        return "no test"
    if value < 0.00005:
        return "< 0.0001"
    return f"{value:.{4 if value < 0.001 else 3 if value < 0.1 else 2}f}"


def build_group_page(result: GroupResult) -> str:
    """Write the group page.

    Parameters
    ----------
    result : GroupResult

    Returns
    -------
    html : str
        Self-contained: it opens from disk without a network.
    """
    statistics = result.statistics
    names = list(statistics.timepoints)
    shown = {name: _shown(name, result.cohort.units.get(name, "n/a")) for name in PARAMETERS}
    lesions = result.cohort.lesions
    return render(
        "group.html.j2",
        result=result,
        timepoints=[spaced(name) for name in names],
        pairs=_pair_names(statistics.paired),
        n_participants=lesions["participant_id"].nunique(),
        n_lesions=len(lesions[["participant_id", "lesion"]].drop_duplicates()),
        n_tests=int(statistics.paired["p"].notna().sum()),
        table2=list(_table2(statistics.summary, statistics.paired, shown)),
        tests=list(_tests(statistics.paired, shown)),
        changes=list(_changes(statistics.paired, shown)),
        figure2=_figure2(result, shown),
        responses=list(_responses(statistics.response)),
        response_words=_response_words(statistics.response),
        response_rows=list(_response_rows(statistics.response)),
        followup=_followup(statistics.response),
        responders=list(_responders(statistics.responders, shown)),
        early=(spaced(names[0]), spaced(names[-1])),
        correlations=list(_correlations(statistics.correlation)),
        figure3=_figure3(result, shown),
        excluded=statistics.excluded.to_dict("records"),
        missing=statistics.missing.to_dict("records"),
        spaced=spaced,
    )


def _shown(name: str, unit: str) -> Shown:
    """Print in the units of all figures, from ours or from those a table came in."""
    display = DISPLAY[name]
    if unit == _PLAIN_UNITS[name]:
        return Shown(display.label, display.unit, display.scale, _DIGITS[name])
    if unit.replace("1e-3 mm2/s", "10⁻³ mm²/s") == display.unit:
        return Shown(display.label, display.unit, 1, _DIGITS[name])
    return Shown(display.label, unit, 1, 4)


def _pair_names(paired: pd.DataFrame) -> list[str]:
    pairs = paired[["timepoint_a", "timepoint_b"]].drop_duplicates()
    return [f"{spaced(a)} – {spaced(b)}" for a, b in pairs.to_numpy()]


def _table2(
    summary: pd.DataFrame, paired: pd.DataFrame, shown: Mapping[str, Shown]
) -> Iterator[dict[str, object]]:
    """Rows of the study's Table 2: mean and SD at every time point, p of every pair."""
    for name, form in shown.items():
        means = summary[summary["parameter"] == name]
        tests = paired[paired["parameter"] == name]
        cells = [
            f"{form.number(m)} ± {form.number(s)}" for m, s in means[["mean", "sd"]].to_numpy()
        ]
        yield {
            "name": form.name,
            "unit": form.unit,
            "means": [cell.replace("– ± –", "–") for cell in cells],
            "pvalues": [(pvalue(p), p < _ALPHA) for p in tests["p"]],
        }


def _tests(paired: pd.DataFrame, shown: Mapping[str, Shown]) -> Iterator[list[str]]:
    """Rows of all that a paired test says."""
    for row in paired.to_dict("records"):
        form = shown[row["parameter"]]
        yield [
            f"{form.name} ({form.unit})",
            f"{spaced(row['timepoint_a'])} – {spaced(row['timepoint_b'])}",
            str(row["n"]),
            form.number(row["mean_difference"]),
            f"{form.number(row['ci_low'])} to {form.number(row['ci_high'])}",
            number(row["t"], 2),
            number(row["df"], 0),
            pvalue(row["p"]),
            row["note"],
        ]


def _changes(paired: pd.DataFrame, shown: Mapping[str, Shown]) -> Iterator[str]:
    """One sentence per parameter: what changed between which time points."""
    quiet = []
    for name, form in shown.items():
        tests = paired[paired["parameter"] == name]
        found = tests[tests["p"] < _ALPHA]
        if tests["p"].notna().any() and found.empty:
            quiet.append(form.name)
        if not found.empty:
            parts = [_change(row, form) for row in found.to_dict("records")]
            yield f"{form.name} {'; '.join(parts)}."
    if quiet:
        yield f"{_list(quiet)}: no change was seen (every p ≥ {_ALPHA})."
    counts = paired.groupby("parameter")["p"].count()
    untested = [form.name for name, form in shown.items() if counts[name] == 0]
    if untested:
        yield f"{_list(untested)}: too few lesions with two time points, so there is no test."


def _change(row: Mapping[Hashable, Any], form: Shown) -> str:
    """One change in words."""
    verb = "rose" if row["mean_difference"] > 0 else "fell"
    unit = "" if form.unit == "fraction" else f" {form.unit}"
    values = f"from {form.number(row['mean_a'])} to {form.number(row['mean_b'])}{unit}"
    times = f"between {spaced(row['timepoint_a'])} and {spaced(row['timepoint_b'])}"
    return f"{verb} {values} {times} (p = {pvalue(row['p'])})".replace("= <", "<")


def _list(words: list[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def _figure2(result: GroupResult, shown: Mapping[str, Shown]) -> Markup:
    """Draw vp and f over time."""
    statistics = result.statistics
    kept = _kept(result)
    courses = []
    for name in ("vp", "f"):
        tests = statistics.paired[statistics.paired["parameter"] == name]
        pairs = zip(tests["timepoint_a"], tests["timepoint_b"], strict=True)
        pvalues = dict(zip(pairs, tests["p"], strict=True))
        values = measured(kept, name, statistics.timepoints) * shown[name].scale
        courses.append(Course(f"{shown[name].name} ({shown[name].unit})", values, pvalues))
    return svg(time_courses(courses), "vp and f over time: mean and SD, and each lesion")


def _figure3(result: GroupResult, shown: Mapping[str, Shown]) -> Markup:
    """Draw f against vp."""
    kept, labels = _kept(result), result.statistics.timepoints
    x, y = (measured(kept, name, labels) * shown[name].scale for name in ("vp", "f"))
    texts = [f"{shown[name].name} ({shown[name].unit})" for name in ("vp", "f")]
    return svg(regressions(x, y, *texts), "f against vp at each time point, with regression line")


def _kept(result: GroupResult) -> pd.DataFrame:
    """Rows of the lesions that are not excluded."""
    lesions = result.cohort.lesions
    out = result.statistics.excluded[["participant_id", "lesion"]].assign(out=True)
    return lesions[lesions.merge(out, how="left")["out"].isna().to_numpy()]


def _responses(response: pd.DataFrame) -> Iterator[list[str]]:
    """Rows of the response categories: how many lesions, and how their volume changed."""
    for category in (*RESPONSES, "n/a"):
        changes = response.loc[response["response"] == category, "volume_change_percent"]
        mean, sd = changes.mean(), changes.std()
        text = (
            f"{number(mean, 1, sign=True)} % (SD {number(sd, 1)})" if changes.notna().any() else "–"
        )
        yield [category, _MEANING[category], str(len(changes)), text.replace(" (SD –)", "")]


def _response_words(response: pd.DataFrame) -> str:
    """Say how many lesions responded, stayed or progressed."""
    counts = response["response"].value_counts()
    cr, pr, sd, pd_ = (int(counts.get(category, 0)) for category in RESPONSES)
    followed = cr + pr + sd + pd_
    words = f"Of {len(response)} lesions, {followed} have a volume at baseline and at a follow-up"
    if not followed:
        return f"{words}."
    return f"{words}: {cr + pr} responded ({cr} are gone), {sd} stayed stable, {pd_} progressed."


def _response_rows(response: pd.DataFrame) -> Iterator[list[str]]:
    for row in response.to_dict("records"):
        change = number(row["volume_change_percent"], 1, sign=True)
        yield [
            row["participant_id"],
            str(row["lesion"]),
            number(row["followup_days"], 0),
            change if change == "–" else f"{change} %",
            row["response"],
            row["note"],
        ]


def _followup(response: pd.DataFrame) -> str:
    """How long the follow-up was, over participants."""
    known = response[response["response"] != "n/a"]
    days = known.drop_duplicates("participant_id")["followup_days"].dropna()
    if days.empty:
        return ""
    spread = f"{days.min():.0f} to {days.max():.0f}; {len(days)} participants"
    return f"Follow-up was after {days.mean():.0f} days in the mean ({spread})."


def _responders(table: pd.DataFrame, shown: Mapping[str, Shown]) -> Iterator[dict[str, object]]:
    """Rows of the test of early change, with a sentence each."""
    for row in table.to_dict("records"):
        name = shown[row["parameter"]].name
        if row["note"]:
            meaning = f"{name}: {row['note']}."
        elif row["p"] < _ALPHA:
            meaning = f"{name} changed differently in lesions that later responded."
        else:
            meaning = f"{name}: no difference was seen between lesions that later responded or not."
        yield {
            "name": name,
            "responders": f"{_percent(row['change_responders'])} (n = {row['n_responders']})",
            "others": f"{_percent(row['change_nonresponders'])} (n = {row['n_nonresponders']})",
            "t": number(row["t"], 2),
            "df": number(row["df"], 0),
            "p": pvalue(row["p"]),
            "meaning": meaning,
        }


def _percent(value: float) -> str:
    return "–" if math.isnan(value) else f"{number(value, 1, sign=True)} %"


def _correlations(table: pd.DataFrame) -> Iterator[dict[str, object]]:
    """Rows of the regression of f on vp."""
    for row in table.to_dict("records"):
        yield {
            "timepoint": spaced(row["timepoint"]),
            "n": row["n"],
            "r": number(row["r"], 2),
            "interval": f"{number(row['r_low'], 2)} to {number(row['r_high'], 2)}",
            "p": pvalue(row["p"]),
            "significant": bool(significance(row["p"])),
            "note": row["note"],
        }
