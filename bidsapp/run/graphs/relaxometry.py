"""T1 and B1 maps of a session, resampled to the grids where they are needed."""

from pathlib import Path
from typing import Any

from nipype.pipeline import engine as pe

from bidsapp.bids import outputs
from bidsapp.bids.records import Dynamic, FlipAngleSeries, Session
from bidsapp.config import Config
from bidsapp.models import MODELS
from bidsapp.run.graphs.branch import Branch, Port
from bidsapp.run.graphs.series import Alignment, FitGrid
from bidsapp.run.graphs.sidecars import source_uri
from bidsapp.run.nodes.apply_transform import ApplyTransform
from bidsapp.run.nodes.relaxometry import AlignFlipAngles, FitT1, ReadB1, ReadT1


def connect_b1(
    branch: Branch[Dynamic], reference: Port | Path, name: str, to_scanner: Port | None = None
) -> Port | None:
    """Resample the B1 map of a session, if there is one, to a grid by scanner coordinates.

    For a grid in another space, a transform from its points to the scanner is required.
    """
    field = branch.session.transmit_field
    if field is None:
        return None
    source = branch.workflow.get_node("b1") or pe.Node(ReadB1(), name="b1")
    source.inputs.in_file = str(field.image)
    source.inputs.scale = field.scale
    onto = pe.Node(ApplyTransform(), name=name)
    branch.connect((source, "out_file"), onto, "in_files")
    if isinstance(reference, Path):
        onto.inputs.reference = str(reference)
    else:
        branch.connect(reference, onto, "reference")
    if to_scanner:
        branch.connect(to_scanner, onto, "transform")
    return onto, "out_files"


def b1_sidecar(session: Session, config: Config) -> dict[str, Any]:
    """Return the sidecar field with the B1 map by which flip angles were multiplied."""
    if session.transmit_field is None:
        return {}
    return {"FlipAngleCorrection": source_uri(session.transmit_field.image, config)}


def describe_t1_map(session: Session, config: Config) -> str:
    """Return from what T1 of tissue is mapped; empty if a single value is assumed."""
    if config.t1_tissue is not None:
        return ""
    if session.t1_map:
        return f"map {session.t1_map.source}"
    if session.flip_angle_series:
        return f"map from several flip angles, {config.t1_model}"
    return ""


def connect_t1(branch: Branch[Dynamic], grid: FitGrid, aligned: Alignment) -> Port | None:
    """Resample the T1 map of a session, if there is one, to the grid of the fit.

    The user's own map is preferred to images at several flip angles, and placed by scanner
    coordinates; those images are registered to the mean of the series.
    """
    session = branch.session
    if branch.config.t1_tissue is not None:
        return None
    if session.t1_map:
        node = pe.Node(ReadT1(), name="t1", mem_gb=2)
        node.inputs.in_file = str(session.t1_map.image)
        node.inputs.scale = session.t1_map.scale
        node.inputs.field_strength = branch.series.field_strength
        fitted = (node, "out_file")
        path = branch.path(outputs.T1_QUALITY)
        branch.save("save_t1", (node, "quality"), [path], [{}])
    elif session.flip_angle_series:
        fitted = _connect_t1_fit(branch, session.flip_angle_series, aligned)
    else:
        return None
    onto = pe.Node(ApplyTransform(), name="t1_to_dce")
    branch.connect(fitted, onto, "in_files")
    branch.connect(grid.image, onto, "reference")
    if grid.to_scanner:
        branch.connect(grid.to_scanner, onto, "transform")
    return onto, "out_files"


def _connect_flip_angles(
    branch: Branch[Dynamic], series: FlipAngleSeries, aligned: Alignment
) -> pe.Node:
    """Register images at several flip angles to the mean of the dynamic series."""
    node = pe.Node(AlignFlipAngles(), name="align_vfa", mem_gb=2)
    node.inputs.in_files = [str(i) for i in series.images]
    node.inputs.flip_angles = list(series.flip_angles)
    branch.connect((aligned.average, "out_file"), node, "fixed")
    return node


def _connect_t1_fit(branch: Branch[Dynamic], series: FlipAngleSeries, aligned: Alignment) -> Port:
    """Fit a T1 map to images at several flip angles, and write it."""
    config = branch.config
    model = MODELS[config.t1_model]
    images = _connect_flip_angles(branch, series, aligned)
    fit = pe.Node(FitT1(), name="t1", mem_gb=2)
    branch.connect((images, "out_files"), fit, "in_files")
    branch.connect((images, "registration"), fit, "alignment")
    fit.inputs.flip_angles = list(series.flip_angles)
    fit.inputs.repetition_time = series.repetition_time
    fit.inputs.field_strength = branch.series.field_strength
    fit.inputs.model = model.name
    b1 = connect_b1(branch, (images, "grid"), "b1_to_vfa")
    if b1:
        branch.connect(b1, fit, "b1_map")
    sidecar: dict[str, Any] = {"Units": "s", "SkullStripped": False}
    sidecar["Sources"] = [source_uri(i, config) for i in series.images]
    sidecar["Model"] = {
        "Name": model.name,
        "Description": f"{model.title}: {model.formula}",
        "URL": f"https://doi.org/{model.doi}",
    }
    path = branch.path(outputs.T1_MAP)
    paths = [path, branch.path(outputs.T1_QUALITY)]
    files = branch.merge("t1_files", [(fit, "out_file"), (fit, "quality")])
    sidecar |= b1_sidecar(branch.session, config)
    writer = branch.save("save_t1", files, paths, [sidecar, {}])
    branch.connect((images, "registration"), writer, "notes")
    return fit, "out_file"
