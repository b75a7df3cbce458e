"""The strip plots of the group page, whose points link to the pages of the participants."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape

import pandas as pd
from matplotlib.figure import Figure

from bidsapp.reports.figures.strips import Strip, strip_plots
from bidsapp.reports.page.numbers import NumberFormat, timepoint_label
from bidsapp.study.tables import LESION, Statistics, values_by_timepoint

MOST_LINKED = 120
"""Largest number of lesions whose points are links."""

_TO_PAGES = "../"
"""From the folder of the figures to that of the pages."""

_LINK = re.compile(rf'<a xlink:href="{re.escape(_TO_PAGES)}([^"]*)" target="_blank">')


@dataclass(frozen=True)
class StripPlot:
    """The figure, its data, and the titles of its links in the order of its points."""

    figure: Figure
    data: pd.DataFrame
    titles: tuple[str, ...]


def draw_strips(
    statistics: Statistics, forms: Mapping[str, NumberFormat], pages: frozenset[str]
) -> StripPlot:
    """Draw the values of all lesions at each time point.

    Parameters
    ----------
    statistics : Statistics
    forms : mapping of str to NumberFormat
        Parameters, with their formats.
    pages : frozenset of str
        Participants with a page.

    Returns
    -------
    plot : StripPlot
        Without links for more than `MOST_LINKED` lesions.
    """
    linked = pages if len(statistics.response) <= MOST_LINKED else frozenset()
    frames = [_points(statistics, name, form, linked) for name, form in forms.items()]
    names = list(statistics.timepoints)
    strips = [Strip(form.title, f) for form, f in zip(forms.values(), frames, strict=True)]
    figure = strip_plots(strips, names)
    titles = [
        title
        for frame, form in zip(frames, forms.values(), strict=True)
        for title in _titles(frame, form)
    ]
    return StripPlot(figure, pd.concat(frames, ignore_index=True), tuple(titles))


def _points(
    statistics: Statistics, name: str, form: NumberFormat, linked: frozenset[str]
) -> pd.DataFrame:
    """Return a row per lesion and time point."""
    values = values_by_timepoint(statistics.lesions, name, statistics.timepoints) * form.scale
    wide = values.reset_index()
    points = wide.melt(id_vars=LESION, var_name="timepoint", value_name="value")
    points = points.merge(statistics.response[[*LESION, "response"]], how="left", on=LESION)
    points["response"] = points["response"].fillna("n/a")
    people = points["participant_id"]
    points["url"] = (_TO_PAGES + people + ".html").where(people.isin(linked), "")
    return points.assign(parameter=name, unit=form.unit)


def _titles(points: pd.DataFrame, form: NumberFormat) -> Iterator[str]:
    """Yield the title of each link."""
    unit = "" if form.unit == "fraction" else f" {form.unit}"
    shown = NumberFormat(form.name, form.unit, 1, form.digits)
    for row in points[points["value"].notna() & (points["url"] != "")].to_dict("records"):
        value = shown.format(row["value"])
        yield (
            f"{row['participant_id']}, lesion {row['lesion']}, {timepoint_label(row['timepoint'])}:"
            f" {form.name} {value}{unit} ({row['response']})"
        )


def link_caption(statistics: Statistics, pages: frozenset[str]) -> str:
    """State whether the points are links."""
    if not pages:
        return ""
    if len(statistics.response) > MOST_LINKED:
        return (
            f" Of more than {MOST_LINKED} lesions, points are not links; the list of all "
            "participants has them."
        )
    return " A point links to the page of its participant."


def add_titles(svg: str, titles: Sequence[str]) -> str:
    """Give the links of a figure their titles, and addresses relative to the page.

    Parameters
    ----------
    svg : str
        The SVG element, with links in the order of the titles.
    titles : sequence of str

    Returns
    -------
    svg : str
        Links are not in the order of the tab key, since the tables have the same links.

    Raises
    ------
    ValueError
        If there are links, but not as many as titles.

    Examples
    --------
    >>> link = '<a xlink:href="../sub-01.html" target="_blank"></a>'
    >>> add_titles(f'<svg role="img">{link}</svg>', ["sub-01: 2 %"])
    '<svg role="group"><a href="sub-01.html" tabindex="-1" aria-label="sub-01: 2 %"><title>sub-01: 2 %</title></a></svg>'
    """  # noqa: E501
    links = len(_LINK.findall(svg))
    if not links:
        return svg
    if links != len(titles):
        raise ValueError(f"{links} links, {len(titles)} titles")
    texts = iter(titles)

    def entitle(match: re.Match[str]) -> str:
        title = escape(next(texts))
        link = f'<a href="{match[1]}" tabindex="-1" aria-label="{title}">'
        return f"{link}<title>{title}</title>"

    # An image has no links in it for assistive technology; a group has.
    return _LINK.sub(entitle, svg.replace('role="img"', 'role="group"', 1))
