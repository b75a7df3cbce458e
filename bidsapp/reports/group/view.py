"""The data shared by the sections of the group page: result, number formats, figures."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from bidsapp.bids import documents
from bidsapp.reports.group.plot import Plot
from bidsapp.reports.group.plots import number_formats
from bidsapp.reports.page.blocks import Picture
from bidsapp.reports.page.numbers import NumberFormat, count_of, join_words, timepoint_label
from bidsapp.study.tables import ALPHA, GroupResult, Statistics

MOST_ROWS = 200
"""Largest number of rows of a table on the page; its file has all."""


@dataclass(frozen=True)
class GroupView:
    """A result with its figures, for the sections of the page.

    Attributes
    ----------
    result : GroupResult
    plots : sequence of Plot
    pages : frozenset of str
        Participants with a page in the same folder.
    """

    result: GroupResult
    plots: Sequence[Plot]
    pages: frozenset[str] = frozenset()

    @property
    def statistics(self) -> Statistics:
        """The tables of the result."""
        return self.result.statistics

    @cached_property
    def forms(self) -> dict[str, NumberFormat]:
        """Number format of each parameter."""
        return number_formats(
            (*self.result.cohort.parameters, *self.statistics.pair), self.result.cohort.units
        )

    @property
    def timepoints(self) -> list[str]:
        """Names of the time points, as displayed."""
        return [timepoint_label(name) for name in self.statistics.timepoints]

    def plot(self, name: str) -> Plot:
        """Return a figure by its name."""
        return next(plot for plot in self.plots if plot.name == name)

    def picture(self, name: str) -> Picture:
        """Return a figure with its files to download."""
        plot = self.plot(name)
        drawing = documents.GROUP_FIGURE.path(Path(), figure=name)
        files = tuple(str(drawing.with_suffix(kind)) for kind in (".svg", ".pdf", ".tsv"))
        return Picture(name, plot.figure, plot.alt, plot.caption, files=files)

    def pictures(self, name: str) -> list[Picture]:
        """Return a list with the figure if it was drawn, else an empty list."""
        return [self.picture(plot.name) for plot in self.plots if plot.name == name]


def span(row: Mapping[Hashable, Any]) -> str:
    """Return the two time points of a row, as displayed."""
    return f"{timepoint_label(row['timepoint_a'])} – {timepoint_label(row['timepoint_b'])}"


def table_files(name: str) -> tuple[str, ...]:
    """Return the files of a table, for download."""
    path = documents.GROUP_TABLE.path(Path(), table=name)
    return (str(path), str(path.with_suffix(".json")))


__all__ = ["ALPHA", "GroupView", "count_of", "join_words", "span", "table_files"]
