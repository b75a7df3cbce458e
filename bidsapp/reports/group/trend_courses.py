"""Lesions and fitted means over days, as the figure of trends shows them."""

from bidsapp.reports.figures.trends import Trend
from bidsapp.reports.page.numbers import NumberFormat
from bidsapp.study.tables import GROUP, LESION, Statistics


def trend_course(statistics: Statistics, parameter: str, form: NumberFormat) -> Trend:
    """Return what the figure shows of a parameter.

    Parameters
    ----------
    statistics : Statistics
    parameter : str
    form : NumberFormat
        Of the parameter: values are in its unit.

    Returns
    -------
    trend : Trend
    """
    lesions = statistics.lesions
    values = lesions[LESION].assign(
        days=lesions["days_from_srs"],
        value=lesions[parameter] * form.scale,
        group=lesions[GROUP],
    )
    curves = statistics.trend_curves
    shown = curves[curves["parameter"] == parameter].copy()
    shown[["mean", "ci_low", "ci_high"]] *= form.scale
    return Trend(form.title, values.dropna(subset=["days", "value"]), shown)
