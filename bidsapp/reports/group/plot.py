"""A figure of the group level, with its data, caption and alternative text."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import pandas as pd
from matplotlib.figure import Figure

from bidsapp.reports.page.render import svg_bytes


@dataclass(frozen=True)
class Plot:
    """A figure with its data, caption and alternative text.

    Attributes
    ----------
    name : str
        Its files are ``group_<name>.*``.
    figure : matplotlib.figure.Figure
    data : pandas.DataFrame
    columns : mapping of str to str
        Descriptions of the columns of ``data``.
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
