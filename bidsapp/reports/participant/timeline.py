"""The section of the lesions of a participant over time."""

import numpy as np

from bidsapp.models.parameters import FOLLOWED
from bidsapp.reports.figures.timelines import LesionTimeline, TimeAxis, lesion_timeline
from bidsapp.reports.page.blocks import Block, Picture
from bidsapp.reports.page.numbers import count_of
from bidsapp.reports.participant.records import ParticipantOutputs

TIMELINE = ("volume", *FOLLOWED)
"""Parameters that are plotted over the sessions of a participant."""


def show_timeline(participant: ParticipantOutputs) -> list[Block]:
    """Plot the parameters of the lesions over days since treatment, or over the sessions."""
    names, sessions = participant.lesion_names, participant.sessions
    if participant.statistics.empty or len(sessions) < 2:
        return []
    found = set(participant.statistics.dropna(subset=["mean"])["parameter"])
    shown = [parameter for parameter in TIMELINE if parameter in found]
    if not shown:
        return []
    series = [[_series(participant, lesion, p) for p in shown] for lesion in names]
    axis = time_axis([s.days for s in sessions], [s.name for s in sessions])
    figure = lesion_timeline(series, [f"Lesion {n}" for n in names], shown, axis)
    lesions = count_of(len(names), "lesion")
    alt = f"{lesions} over {len(sessions)} sessions; the values are in the tables of the lesions."
    caption = "" if axis.dated else (
        "Sessions are evenly spaced, because the day of a session is not known or two are of one "
        "day."
    )  # fmt: skip
    return [Picture(f"{participant.label}_desc-timeline", figure, alt, caption)]


def time_axis(days: list[float], names: list[str]) -> TimeAxis:
    """Return the places of sessions on the axis: their days, if all are known and different.

    Parameters
    ----------
    days : list of float
        NaN if unknown.
    names : list of str

    Returns
    -------
    axis : TimeAxis

    Examples
    --------
    >>> time_axis([-5.0, 30.0], ["a", "b"]).places, time_axis([np.nan, 30.0], ["a", "b"]).places
    (array([-5., 30.]), array([0., 1.]))
    """
    places = np.array(days, float)
    dated = bool(np.isfinite(places).all()) and len(set(days)) == len(days)
    return TimeAxis(places if dated else np.arange(len(days), dtype=float), names, dated)


def _series(participant: ParticipantOutputs, lesion: int, parameter: str) -> LesionTimeline:
    sessions = participant.sessions
    rows = [participant.values_of(session, lesion, parameter) for session in sessions]
    keys = ("mean", "p25", "p75", "standard_error")
    values = [[np.nan if row is None else float(row.get(k, np.nan)) for row in rows] for k in keys]
    return LesionTimeline(*(np.array(v) for v in values))
