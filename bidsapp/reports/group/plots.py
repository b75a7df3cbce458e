"""The group level's figures: result -> figures with their numbers, captions and alt texts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations

import pandas as pd
from matplotlib.figure import Figure

from bidsapp.models.parameters import DISPLAY, PARAMETERS
from bidsapp.reports.figures.effects import effects
from bidsapp.reports.figures.limits_of_agreement import limits_of_agreement
from bidsapp.reports.figures.regression import regressions
from bidsapp.reports.figures.roc import roc_curves
from bidsapp.reports.figures.time_courses import Course, time_courses
from bidsapp.reports.page.numbers import NumberFormat, timepoint_label
from bidsapp.reports.page.render import svg_bytes
from bidsapp.study.tables import LESION, GroupResult, Statistics, standardise, values_by_timepoint

_LESIONS = {
    "participant_id": "Participant",
    "lesion": "Number of the lesion",
    "timepoint": "The time point",
}
_XY = {"x": "Value on the x axis, in the axis's unit", "y": "Value on the y axis"}


@dataclass(frozen=True)
class Plot:
    """A figure, the numbers that it shows, and what is said of it.

    Attributes
    ----------
    name : str
        Of its files: ``group_<name>``.
    figure : matplotlib.figure.Figure
    data : pandas.DataFrame
    columns : mapping of str to str
        The columns of ``data``, and what they mean.
    caption, alt : str
    """

    name: str
    figure: Figure
    data: pd.DataFrame
    columns: Mapping[str, str]
    caption: str
    alt: str

    @cached_property
    def svg(self) -> bytes:
        """The figure as an SVG file, drawn once."""
        return svg_bytes(self.figure)


def number_formats(parameters: Sequence[str], units: Mapping[str, str]) -> dict[str, NumberFormat]:
    """Say how each parameter is printed, from our units or from those a table came in.

    Parameters
    ----------
    parameters : sequence of str
    units : mapping of str to str

    Returns
    -------
    shown : dict of str to NumberFormat

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


def plots(result: GroupResult) -> list[Plot]:
    """Draw every figure of the group level.

    Parameters
    ----------
    result : GroupResult

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
        _courses("timecourse", list(pair), statistics, forms),
        _regression(statistics, forms),
        *([_courses("timecourse_others", others, statistics, forms)] if others else []),
        _effects(statistics),
        _changes(statistics, forms),
        _limits(statistics),
        _roc(statistics),
    ]


def _courses(
    name: str, parameters: list[str], statistics: Statistics, forms: Mapping[str, NumberFormat]
) -> Plot:
    """Draw parameters over time."""
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
    what = {"parameter": "The parameter", "unit": "Unit of the value", "value": "Mean in the ROI"}
    data = pd.concat(frames, ignore_index=True)[[*_LESIONS, *what]]
    return Plot(
        name,
        time_courses(courses),
        data,
        _LESIONS | what,
        "Mean and SD over time, each lesion in grey. * p < 0.05, ** p < 0.01, *** p < 0.001 "
        "(paired t test, not corrected for the number of tests).",
        f"{' and '.join(parameters)} over time: mean and SD, and each lesion",
    )


def _regression(statistics: Statistics, forms: Mapping[str, NumberFormat]) -> Plot:
    """Draw the pair against each other at each time point."""
    pair = statistics.pair
    x, y = (
        values_by_timepoint(statistics.lesions, name, statistics.timepoints) * forms[name].scale
        for name in statistics.pair
    )
    return Plot(
        "regression",
        regressions(x, y, forms[pair.x].title, forms[pair.y].title),
        _points(x, y),
        _LESIONS | _XY,
        f"{pair.y} against {pair.x}, a point per lesion; line of least squares with its 95 % "
        "confidence band.",
        f"{pair.y} against {pair.x} at each time point, with regression line",
    )


def _changes(statistics: Statistics, forms: Mapping[str, NumberFormat]) -> Plot:
    """Draw the changes of the pair against each other."""
    pair = statistics.pair
    x, y = (_change(statistics, forms[name], name) for name in statistics.pair)
    return Plot(
        "changes",
        regressions(x, y, f"change of {forms[pair.x].title}", f"change of {forms[pair.y].title}"),
        _points(x, y),
        _LESIONS | {"timepoint": "From which to which time point"} | _XY,
        f"Change of {pair.y} against change of {pair.x}, a point per lesion: do both techniques "
        "see the same lesions change?",
        f"Change of {pair.y} against change of {pair.x} between time points, with regression line",
    )


def _change(statistics: Statistics, form: NumberFormat, name: str) -> pd.DataFrame:
    """Change of one parameter, a column for every two time points."""
    wide = values_by_timepoint(statistics.lesions, name, statistics.timepoints) * form.scale
    spans = combinations(statistics.timepoints, 2)
    return pd.DataFrame(
        {f"{timepoint_label(a)} – {timepoint_label(b)}": wide[b] - wide[a] for a, b in spans}
    )


def _effects(statistics: Statistics) -> Plot:
    """Draw the size of every change."""
    columns = {
        "parameter": "The parameter",
        "timepoint_a": "The earlier time point",
        "timepoint_b": "The later time point",
        "cohens_dz": "Mean change in standard deviations of the change",
        "dz_low": "Lower end of its 95 % interval",
        "dz_high": "Upper end of its 95 % interval",
        "p_holm": "p of the paired t test, corrected by Holm's method",
    }
    return Plot(
        "effects",
        effects(statistics.paired),
        statistics.paired[list(columns)],
        columns,
        "Size of every change in standard deviations of the change (Cohen's dz) with its 95 % "
        "interval; filled where p < 0.05 after Holm's correction for all tests.",
        "Effect size of every parameter between every two time points",
    )


def _limits(statistics: Statistics) -> Plot:
    """Draw how the pair differ, both in standard deviations."""
    pair = statistics.pair
    x, y = (
        standardise(values_by_timepoint(statistics.lesions, name, statistics.timepoints))
        for name in statistics.pair
    )
    return Plot(
        "limits",
        limits_of_agreement(x, y, statistics.limits, pair),
        _points(x, y),
        _LESIONS | {"x": f"{pair.x} in SDs of the first time point", "y": f"{pair.y}, likewise"},
        f"{pair.y} minus {pair.x} against their mean, both in SDs from their means at the "
        "first time point: bias (line) and 95 % limits of agreement (dashed).",
        f"Bland-Altman plot of standardised {pair.y} and {pair.x} at each time point",
    )


def _roc(statistics: Statistics) -> Plot:
    """Draw how well early changes single out responders."""
    columns = {
        "parameter": "The parameter",
        "timepoint_a": "The first time point",
        "timepoint_b": "The time point of the change",
        "change_percent": "A change at or below this is called a response",
        "false_positive": "Share of the others that is called so",
        "true_positive": "Share of the responders that is called so",
    }
    return Plot(
        "roc",
        roc_curves(statistics.roc, statistics.prediction),
        statistics.roc,
        columns,
        "How many responders (CR, PR) and how many others a falling value would call responders, "
        "for every threshold; numbers are areas under the curve.",
        "ROC curves of the early change of every parameter for the later response",
    )


def _long(values: pd.DataFrame) -> pd.DataFrame:
    """One row per lesion and time point."""
    wide = values.reset_index()
    return wide.melt(id_vars=LESION, var_name="timepoint", value_name="value")


def _points(x: pd.DataFrame, y: pd.DataFrame) -> pd.DataFrame:
    """One row per lesion and time point, with both values."""
    table = _long(x).rename(columns={"value": "x"})
    return table.merge(_long(y).rename(columns={"value": "y"}), on=[*LESION, "timepoint"])
