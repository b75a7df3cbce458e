"""Writing of the results of the group level: tables with their dictionaries, figures, and page."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from bidsapp.bids import documents
from bidsapp.bids.derivatives import to_json, to_tsv, write_bytes
from bidsapp.reports.group.methods import group_methods
from bidsapp.reports.group.page import build_group_page
from bidsapp.reports.group.plot import Plot
from bidsapp.reports.group.plots import plots
from bidsapp.reports.page.render import pdf_bytes
from bidsapp.reports.references import bibliography
from bidsapp.study.tables import (
    EVENT,
    SIZES,
    WARNINGS,
    GroupResult,
    error_columns,
    lesion_columns,
)
from bidsapp.study.tables.dictionary import FURTHER_COLUMNS, INPUT_COLUMN, TABLES
from bidsapp.study.tables.reference import REFERENCE_TABLES

_EVENT = "What happened to the lesion by this session (sub-*_lesions.tsv); n/a if nothing"


def write_result(output_dir: Path, result: GroupResult) -> None:
    """Write tables with their dictionaries, figures, the methods text and the page.

    Parameters
    ----------
    output_dir : pathlib.Path
    result : GroupResult

    Raises
    ------
    NotWritable
        If the folder cannot be written.
    """
    units = result.cohort.units
    described = _lesion_columns(result.cohort.parameters, result.cohort.lesions)
    lesions = result.cohort.lesions
    described |= {EVENT: _EVENT} if EVENT in lesions else {}
    lesions = lesions.reindex(columns=list(described))
    write_table(output_dir, "lesions", lesions, described, units)
    for name, frame in result.statistics.tables().items():
        known = {**FURTHER_COLUMNS, **TABLES[name]}
        described = {str(column): known.get(str(column), INPUT_COLUMN) for column in frame}
        write_table(output_dir, name, frame, described, {})
    for name, frame in result.reference.items():
        write_table(output_dir, name, frame, REFERENCE_TABLES[name], {})
    pages = frozenset(page.stem for page in documents.PARTICIPANT_PAGE.find(output_dir))
    figures = plots(result, pages)
    for plot in figures:
        _write_plot(output_dir, plot)
    methods = documents.GROUP_METHODS.path(output_dir)
    methods.parent.mkdir(exist_ok=True)
    text = group_methods(result)
    write_bytes(methods, text.encode())
    write_bytes(documents.GROUP_BIBLIOGRAPHY.path(output_dir), bibliography(text).encode())
    page = build_group_page(result, figures, pages)
    write_bytes(documents.GROUP_PAGE.path(output_dir), page.encode())


def _write_plot(output_dir: Path, plot: Plot) -> None:
    """Write a figure as SVG and PDF, with its data as TSV."""
    drawing = documents.GROUP_FIGURE.path(output_dir, figure=plot.name)
    drawing.parent.mkdir(exist_ok=True)
    write_bytes(drawing, plot.svg)
    write_bytes(drawing.with_suffix(".pdf"), pdf_bytes(plot.figure))
    table = to_tsv(list(plot.columns), _rows(plot.data))
    write_bytes(drawing.with_suffix(".tsv"), table)
    dictionary = {name: {"Description": text} for name, text in plot.columns.items()}
    write_bytes(drawing.with_suffix(".json"), to_json(dictionary))


def _lesion_columns(parameters: Sequence[str], lesions: pd.DataFrame) -> dict[str, str]:
    """Describe the columns of ``group_lesions.tsv``."""
    described = {
        **TABLES["excluded"],
        **{name: f"Mean {name} in the enhancing ROI" for name in parameters},
        "session_id": "Session",
        "days_from_srs": "Days from treatment to the session, negative before it",
        "volume_ml": "Volume of the whole-lesion ROI; 0 if the lesion is no longer visible",
        "excluded": "1 if the ROI table of the session marks the lesion as excluded",
        "diameter_mm": "Longest diameter of the whole-lesion ROI in a slice; 0 if it is gone",
        "perpendicular_mm": "Longest diameter perpendicular to it, in the same slice",
        "n_slices": "Slices that contain the whole-lesion ROI",
    }
    errors = {
        name: f"Standard error of {of} from the fits"
        for name, of in error_columns(parameters).items()
    }
    warnings = {WARNINGS: "Warnings about the session; n/a if there are none"}
    columns = [*lesion_columns(parameters), *(name for name in SIZES.values() if name in lesions)]
    return {name: described[name] for name in columns} | errors | warnings


def write_table(
    output_dir: Path,
    name: str,
    frame: pd.DataFrame,
    columns: Mapping[str, str],
    units: Mapping[str, str],
) -> None:
    """Write a data frame as TSV, with the description of its columns as JSON.

    Parameters
    ----------
    output_dir : pathlib.Path
    name : str
        ``group_<name>.tsv``.
    frame : pandas.DataFrame
        With the columns.
    columns : mapping of str to str
        Column -> description.
    units : mapping of str to str
        Units of some columns.

    Raises
    ------
    NotWritable
        If the folder cannot be written.
    """
    path = documents.GROUP_TABLE.path(output_dir, table=name)
    write_bytes(path, to_tsv(list(columns), _rows(frame)))
    dictionary = {
        column: {"Description": text} | ({"Units": units[column]} if column in units else {})
        for column, text in columns.items()
    }
    write_bytes(path.with_suffix(".json"), to_json(dictionary))


def _rows(frame: pd.DataFrame) -> list[dict[str, object]]:
    """Return the rows of a data frame; an empty text becomes None (missing)."""
    names = [str(name) for name in frame]
    return [
        {name: None if cell == "" else cell for name, cell in zip(names, row, strict=True)}
        for row in frame.itertuples(index=False, name=None)
    ]
