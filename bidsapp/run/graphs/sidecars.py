"""Sidecars of the derivatives, and the node that writes derivatives."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nipype.pipeline import engine as pe

from bidsapp.bids.inheritance import metadata
from bidsapp.bids.records import Rois, Session, Space
from bidsapp.config import Config
from bidsapp.models import Model
from bidsapp.run.nodes.derivatives import SaveDerivatives

_GOODNESS = {
    "rsquared": ("1", "Coefficient of determination of the fit"),
    "rmse": ("arbitrary", "Root mean square residual of the fit, in the unit of its signal"),
    "aicc": (
        "1",
        "Akaike's information criterion for small samples; lower values indicate a better model",
    ),
    "status": ("1", "0 fitted, 1 at a bound, 2 not identifiable, 3 unusable signal"),
}
_REFERENCE: Mapping[str, str] = {
    "T1w": "the session's T1w image",
    "individual": "the participant's baseline T1w image",
}
_DATES = ("AcquisitionDateTime", "AcquisitionDate", "AcquisitionTime")


def map_sidecar(
    model: Model,
    name: str,
    sources: Sequence[Path],
    config: Config,
    fitted: Mapping[str, Any],
    space: str = "",
) -> dict[str, Any]:
    """Return the sidecar of one map: unit, model, settings of the fit, and sources."""
    param, _, kind = name.partition("_")
    if param in _GOODNESS:
        unit, description = _GOODNESS[param]
    else:
        row = model.parameter(param)
        unit, description = row.unit, row.description
    sidecar: dict[str, Any] = {
        "Units": unit,
        "Description": f"standard error of the {description}" if kind else description,
        "Model": {
            "Name": model.name,
            "Description": f"{model.title}: {model.formula}",
            "URL": f"https://doi.org/{model.doi}",
            "Parameters": dict(fitted),
        },
        "Sources": source_uris(sources, config),
        "SkullStripped": False,
    }
    return sidecar | spatial_reference(space) | acquisition_dates(sources[0], config)


def acquisition_dates(source: Path, config: Config) -> dict[str, Any]:
    """Return the date and time of acquisition of a raw series, if they are to be kept."""
    if not config.keep_dates:
        return {}
    fields = metadata(source, config.bids_dir)
    return {name: fields[name] for name in _DATES if name in fields}


def spatial_reference(space: str) -> dict[str, str]:
    """Return ``SpatialReference`` for a space that needs one."""
    return {"SpatialReference": _REFERENCE[space]} if space in _REFERENCE else {}


def source_uris(paths: Sequence[Path], config: Config) -> list[str]:
    """Return the `source_uri` of each file: the image of a series, or those of its frames."""
    return [source_uri(path, config) for path in paths]


def source_uri(path: Path, config: Config) -> str:
    """Return the BIDS URI of a raw file, or the name of any other file."""
    try:
        return f"bids:raw:{path.resolve().relative_to(config.bids_dir.resolve())}"
    except ValueError:
        return path.name


def save_node(
    name: str,
    config: Config,
    paths: Sequence[Path | None],
    sidecars: Sequence[Mapping[str, Any]] | None = None,
) -> pe.Node:
    """Return the node that writes a list of files; files without a path are not written."""
    node = pe.Node(SaveDerivatives(), name=name, mem_gb=0.5)
    node.inputs.output_dir = str(config.output_dir)
    node.inputs.names = [str(p) if p else "" for p in paths]
    if sidecars is not None:
        node.inputs.sidecars = [dict(s) for s in sidecars]
    return node


def analysis_space(session: Session, series: Space, config: Config) -> Space:
    """Return the space in which lesions are measured: the T1w, or else the series."""
    return "T1w" if session.t1w and config.roi_space == "T1w" else series


def lesion_rois(session: Session, series: Space, config: Config) -> Rois | None:
    """Return the ROIs of the enhancing parts in which the series is measured.

    ROIs in the space of the measurement are preferred to those on the T1w.
    """
    own = session.rois("enhancing", analysis_space(session, series, config))
    return own or (session.rois("enhancing", "T1w") if session.t1w else None)


def lesion_list(rois: Rois, excluded: frozenset[int]) -> list[tuple[int, bool]]:
    """Return (index, excluded) of each lesion of an ROI image."""
    return [(lesion.index, lesion.index in excluded) for lesion in rois.lesions]


def identity(session: Session, roi: str, space: Space) -> dict[str, str]:
    """Return the columns that identify a lesion table: participant, session, ROI and space."""
    carried = {rois.propagated_from for rois in session.enhancing if rois.propagated_from}
    return {
        "participant_id": f"sub-{session.participant}",
        "session_id": session.id,
        "roi": roi,
        "space": space,
        **({"roi_from": ", ".join(carried)} if carried and roi == "enhancing" else {}),
    }
