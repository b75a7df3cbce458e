"""Figures of the group level, with their data, captions and alternative texts."""

from collections.abc import Collection, Mapping, Sequence
from itertools import combinations
from typing import Any

import pandas as pd

from bidsapp.models.parameters import DISPLAY, PARAMETERS
from bidsapp.reports.figures.effects import effects
from bidsapp.reports.figures.limits_of_agreement import bland_altman_plot
from bidsapp.reports.figures.links import MOST_LINKED, are_linked
from bidsapp.reports.figures.regression import regressions
from bidsapp.reports.figures.roc import roc_curves
from bidsapp.reports.figures.time_courses import Course, time_courses
from bidsapp.reports.figures.trends import trends
from bidsapp.reports.group.plot import Plot
from bidsapp.reports.group.response_plots import response_plots
from bidsapp.reports.group.trend_courses import trend_course
from bidsapp.reports.page.numbers import NumberFormat, timepoint_label
from bidsapp.study.tables import (
    LESION,
    GroupResult,
    Statistics,
    standardise,
    values_by_timepoint,
)

_LESIONS = {
    "participant_id": "Participant",
    "lesion": "Number of the lesion",
    "timepoint": "Time point",
}
_XY = {"x": "Value on the x axis, in its unit", "y": "Value on the y axis"}


def number_formats(parameters: Sequence[str], units: Mapping[str, str]) -> dict[str, NumberFormat]:
    """Return how each parameter is printed, given the units of its values.

    Parameters
    ----------
    parameters : sequence of str
    units : mapping of str to str

    Returns
    -------
    formats : dict of str to NumberFormat

    Examples
    --------
    >>> number_formats(["vp"], {"vp": "1", "ADC": "um2/ms"})["vp"].unit
    '%'
    """
    return {name: _number_format(name, units.get(name, "n/a")) for name in parameters}


def _number_format(name: str, unit: str) -> NumberFormat:
    display = DISPLAY[name]
    if unit == PARAMETERS[name].unit:
        return NumberFormat(display.label, display.unit, display.scale, display.digits)
    if unit in (display.unit, display.table_unit):
        return NumberFormat(display.label, display.unit, 1, display.digits)
    return NumberFormat(display.label, unit, 1, 4)


def plots(result: GroupResult, pages: Collection[str] = ()) -> list[Plot]:
    """Draw every figure of the group level.

    Parameters
    ----------
    result : GroupResult
    pages : collection of str
        Participants with a page, to which points and labels lead.

    Returns
    -------
    plots : list of Plot
        The study's Figures 2 (``timecourse``) and 3 (``regression``) first.
    """
    statistics = result.statistics
    forms = number_formats((*result.cohort.parameters, *statistics.pair), result.cohort.units)
    pair = statistics.pair
    others = [name for name in result.cohort.parameters if name not in pair]
    return [
        _courses("timecourse", list(pair), statistics, forms, pages),
        _regression(statistics, forms, pages),
        *([_courses("timecourse_others", others, statistics, forms, pages)] if others else []),
        *_trends(statistics, forms),
        _effects(statistics),
        _changes(statistics, forms, pages),
        _limits(statistics),
        _roc(statistics),
        *response_plots(statistics, pages),
    ]


def _link_words(lesions: "pd.Index[Any]", pages: Collection[str]) -> str:
    """Describe where the points of lesions lead, and why they may lead nowhere."""
    if not pages:
        return ""
    if are_linked(lesions):
        return " Points lead to the page of the participant."
    return f" Points of more than {MOST_LINKED} lesions lead nowhere: see the tables."


def _courses(
    name: str,
    parameters: list[str],
    statistics: Statistics,
    forms: Mapping[str, NumberFormat],
    pages: Collection[str],
) -> Plot:
    """Plot parameters over time."""
    courses, frames = [], []
    for parameter in parameters:
        form = forms[parameter]
        tests = statistics.paired[statistics.paired["parameter"] == parameter]
        spans = zip(tests["timepoint_a"], tests["timepoint_b"], strict=True)
        pvalues = dict(zip(spans, tests["p"], strict=True))
        values = values_by_timepoint(statistics.lesions, parameter, statistics.timepoints)
        values *= form.scale
        courses.append(Course(form.title, values, pvalues))
        frames.append(_long(values).assign(parameter=parameter, unit=form.unit))
    what = {"parameter": "Parameter", "unit": "Unit of the value", "value": "Mean in the ROI"}
    data = pd.concat(frames, ignore_index=True)[[*_LESIONS, *what]]
    return Plot(
        name,
        time_courses(courses, pages),
        data,
        _LESIONS | what,
        "Mean and SD over time; individual lesions in grey. * p < 0.05, ** p < 0.01, *** p < 0.001 "
        "(paired t test, not adjusted for multiple testing)."
        + _link_words(courses[0].values.index, pages),
        f"{' and '.join(parameters)} over time: mean, SD and individual lesions",
    )


def _trends(statistics: Statistics, forms: Mapping[str, NumberFormat]) -> list[Plot]:
    """Plot lesions and fitted means over days, if any trend was fitted."""
    names = statistics.trend_curves["parameter"].unique()
    if not len(names):
        return []
    courses = [trend_course(statistics, name, forms[name]) for name in names]
    frames = [
        course.values.assign(parameter=name, unit=forms[name].unit)
        for name, course in zip(names, courses, strict=True)
    ]
    what = {
        "participant_id": "Participant",
        "lesion": "Number of the lesion",
        "days": "Days since treatment",
        "value": "Mean in the ROI",
        "group": "Group of the covariate",
        "parameter": "Parameter",
        "unit": "Unit of the value",
    }
    after = "a step and a line" if statistics.trend_options.step else "a line"
    return [
        Plot(
            "trends",
            trends(courses, statistics.trend_options.covariate),
            pd.concat(frames, ignore_index=True)[list(what)],
            what,
            "Single lesions (thin) over days since treatment, and the mean of the mixed model with "
            f"its 95 % interval: constant until the treatment (dashed), then {after}.",
            f"{', '.join(names)} over days since treatment: single lesions and fitted mean",
        )
    ]


def _regression(
    statistics: Statistics, forms: Mapping[str, NumberFormat], pages: Collection[str]
) -> Plot:
    """Plot the regression of the two parameters at each time point."""
    pair = statistics.pair
    x, y = (
        values_by_timepoint(statistics.lesions, name, statistics.timepoints) * forms[name].scale
        for name in statistics.pair
    )
    return Plot(
        "regression",
        regressions(x, y, forms[pair.x].title, forms[pair.y].title, pages),
        _points(x, y),
        _LESIONS | _XY,
        f"{pair.y} and {pair.x}, one point per lesion; least-squares regression line with 95 % "
        f"confidence band.{_link_words(x.index, pages)}",
        f"Scatter plot of {pair.y} and {pair.x} at each time point, with regression line",
    )


def _changes(
    statistics: Statistics, forms: Mapping[str, NumberFormat], pages: Collection[str]
) -> Plot:
    """Plot the regression of the changes of the two parameters."""
    pair = statistics.pair
    x, y = (_change(statistics, forms[name], name) for name in statistics.pair)
    x_label, y_label = (f"change of {forms[name].title}" for name in (pair.x, pair.y))
    return Plot(
        "changes",
        regressions(x, y, x_label, y_label, pages),
        _points(x, y),
        _LESIONS | {"timepoint": "Earlier and later time point of the change"} | _XY,
        f"Changes of {pair.y} and {pair.x}, one point per lesion: do both parameters change in "
        f"the same lesions?{_link_words(x.index, pages)}",
        f"Scatter plot of the changes of {pair.y} and {pair.x}, with regression line",
    )


def _change(statistics: Statistics, form: NumberFormat, name: str) -> pd.DataFrame:
    """Return the changes of one parameter, a column for every two time points."""
    wide = values_by_timepoint(statistics.lesions, name, statistics.timepoints) * form.scale
    spans = combinations(statistics.timepoints, 2)
    return pd.DataFrame(
        {f"{timepoint_label(a)} – {timepoint_label(b)}": wide[b] - wide[a] for a, b in spans}
    )


def _effects(statistics: Statistics) -> Plot:
    """Plot the effect size of every change."""
    columns = {
        "parameter": "Parameter",
        "timepoint_a": "Earlier time point",
        "timepoint_b": "Later time point",
        "cohens_dz": "Mean change divided by the standard deviation of the changes",
        "dz_low": "Lower limit of its 95 % confidence interval",
        "dz_high": "Upper limit of its 95 % confidence interval",
        "p_holm": "p value of the paired t test, adjusted by Holm's method",
    }
    return Plot(
        "effects",
        effects(statistics.paired),
        statistics.paired[list(columns)],
        columns,
        "Effect size of every change (Cohen's dz: mean change divided by the SD of the changes) "
        "with 95 % confidence interval; filled symbols: p < 0.05 after Holm's correction.",
        "Effect size of every parameter between every two time points",
    )


def _limits(statistics: Statistics) -> Plot:
    """Plot the limits of agreement of the two parameters, both standardised."""
    pair = statistics.pair
    x, y = (
        standardise(values_by_timepoint(statistics.lesions, name, statistics.timepoints))
        for name in statistics.pair
    )
    return Plot(
        "limits",
        bland_altman_plot(x, y, statistics.limits, pair),
        _points(x, y),
        _LESIONS
        | {
            "x": f"{pair.x} in SDs of the first time point",
            "y": f"{pair.y} in SDs of the first time point",
        },
        f"Difference {pair.y} minus {pair.x} over their mean, both in SDs from their means at the "
        "first time point: bias (solid line) and 95 % limits of agreement (dashed).",
        f"Bland-Altman plot of standardised {pair.y} and {pair.x} at each time point",
    )


def _roc(statistics: Statistics) -> Plot:
    """Plot the ROC curves of early changes."""
    columns = {
        "parameter": "Parameter",
        "timepoint_a": "First time point",
        "timepoint_b": "Later time point of the change",
        "change_percent": "Threshold: a change at or below it predicts a response",
        "false_positive": "Proportion of the others that are predicted to respond",
        "true_positive": "Proportion of the responders that are predicted to respond",
    }
    return Plot(
        "roc",
        roc_curves(statistics.roc, statistics.prediction),
        statistics.roc,
        columns,
        "Proportions of responders (CR, PR) and of other lesions that are predicted to respond, "
        "for every threshold of the change; the numbers are areas under the curve.",
        "ROC curves of the early change of every parameter for the later response",
    )


def _long(values: pd.DataFrame) -> pd.DataFrame:
    """Return one row per lesion and time point."""
    wide = values.reset_index()
    return wide.melt(id_vars=LESION, var_name="timepoint", value_name="value")


def _points(x: pd.DataFrame, y: pd.DataFrame) -> pd.DataFrame:
    """Return one row per lesion and time point with both values."""
    table = _long(x).rename(columns={"value": "x"})
    return table.merge(_long(y).rename(columns={"value": "y"}), on=[*LESION, "timepoint"])
