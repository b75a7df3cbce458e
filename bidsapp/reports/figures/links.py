"""Links from the points and labels of a figure of the group to the pages of the participants."""

from collections.abc import Collection, Iterable
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.text import Text

from bidsapp.reports.figures.layout import Array

MOST_LINKED = 120
"""Lesions up to which each point is a link, to keep pages small and points distinct."""

_AREA = 42.0
"""Area that can be clicked around a point, square points."""


def page_address(participant: str, lesion: object = "") -> str:
    """Return the address of a participant's page, as seen from the folder of the figures.

    Parameters
    ----------
    participant : str
        ``sub-<label>``.
    lesion : object
        Number of the lesion, if the link leads to one.

    Examples
    --------
    >>> page_address("sub-01", 2)
    '../sub-01.html#lesion-2'
    """
    return f"../{participant}.html" + (f"#lesion-{lesion}" if lesion != "" else "")


def link_points(
    axes: Axes, x: Array, y: Array, lesions: "pd.Index[Any]", pages: Collection[str]
) -> None:
    """Let the points of lesions lead to their participant, if they are not too many.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
    x, y : ndarray (N,)
        Positions; those that are not finite have no link.
    lesions : pandas.Index
        Participant and number of the lesion of each point.
    pages : collection of str
        Participants with a page.

    Examples
    --------
    >>> from matplotlib.figure import Figure
    >>> axes = Figure().subplots()
    >>> lesions = pd.MultiIndex.from_tuples([("sub-01", 2), ("sub-02", 1)])
    >>> link_points(axes, np.ones(2), np.ones(2), lesions, ["sub-01"])
    >>> axes.collections[0].get_urls()
    ['../sub-01.html#lesion-2']
    """
    if not pages or not are_linked(lesions):
        return
    known = np.isfinite(x) & np.isfinite(y)
    known &= np.array([participant in pages for participant, _ in lesions], bool)
    urls = [page_address(*lesion) for lesion in lesions[known]]
    if urls:
        axes.scatter(x[known], y[known], s=_AREA, c=[(0, 0, 0, 0)], lw=0, zorder=9, urls=urls)


def are_linked(lesions: "pd.Index[Any]") -> bool:
    """Return whether there are few enough lesions for links, each counted once."""
    return len(lesions.unique()) <= MOST_LINKED


def link_labels(labels: Iterable[Text], pages: Collection[str]) -> None:
    """Let the labels of an axis, participants or ``participant·lesion``, lead to the participant.

    Parameters
    ----------
    labels : iterable of matplotlib.text.Text
        With or without ``sub-``.
    pages : collection of str
        Participants with a page.

    Examples
    --------
    >>> label = Text(text="01·2")
    >>> link_labels([label], ["sub-01"])
    >>> label.get_url()
    '../sub-01.html#lesion-2'
    """
    for label in labels:
        name, _, lesion = label.get_text().removeprefix("sub-").partition("·")
        if f"sub-{name}" in pages:
            label.set_url(page_address(f"sub-{name}", lesion))
