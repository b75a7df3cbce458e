"""T1 and B1 of a session, on the grids where they are needed."""

from pathlib import Path
from typing import Any

from nipype.pipeline import engine as pe

from bidsapp.bids.records import FlipAngleSeries, Session
from bidsapp.config import Config
from bidsapp.models import MODELS
from bidsapp.run.graphs.outputs import namer, save, source_uri
from bidsapp.run.graphs.series import Alignment, Port
from bidsapp.run.nodes.apply_transform import ApplyTransform
from bidsapp.run.nodes.relaxometry import FitT1, ReadB1


def connect_b1(
    workflow: pe.Workflow,
    session: Session,
    reference: Port | Path,
    name: str,
    scanner: Port | None = None,
) -> Port | None:
    """Bring the session's B1 map, if it has one, to a grid by scanner coordinates.

    A grid that is not the scanner's comes with the transform from its points to the scanner's.
    """
    if session.transmit_field is None:
        return None
    source = workflow.get_node("b1") or pe.Node(ReadB1(), name="b1")
    source.inputs.in_file = str(session.transmit_field.image)
    source.inputs.scale = session.transmit_field.scale
    onto = pe.Node(ApplyTransform(), name=name)
    workflow.connect(source, "out_file", onto, "in_files")
    if isinstance(reference, Path):
        onto.inputs.reference = str(reference)
    else:
        workflow.connect(*reference, onto, "reference")
    if scanner:
        workflow.connect(*scanner, onto, "transform")
    return onto, "out_files"


def b1_sidecar(session: Session, config: Config) -> dict[str, Any]:
    """Return what a sidecar says of the B1 map that its flip angles were multiplied by."""
    if session.transmit_field is None:
        return {}
    return {"FlipAngleCorrection": source_uri(session.transmit_field.image, config)}


def uses_t1_map(session: Session, config: Config) -> bool:
    """Tell whether T1 is measured: there are flip angles, and no T1 was given."""
    return session.flip_angle_series is not None and config.t1_tissue is None


def connect_t1(
    workflow: pe.Workflow,
    series: FlipAngleSeries,
    aligned: Alignment,
    session: Session,
    config: Config,
) -> Port:
    """Fit T1 to the flip angles and bring it to the grid of the fit by scanner coordinates."""
    model = MODELS[config.t1_model]
    fit = pe.Node(FitT1(), name="t1", mem_gb=2)
    fit.inputs.in_files = [str(i) for i in series.images]
    fit.inputs.flip_angles = list(series.flip_angles)
    fit.inputs.repetition_time = series.repetition_time
    fit.inputs.model = model.name
    b1 = connect_b1(workflow, session, series.images[0], "b1_to_vfa")
    if b1:
        workflow.connect(*b1, fit, "b1_map")
    onto = pe.Node(ApplyTransform(), name="t1_to_dce")
    sidecar: dict[str, Any] = {"Units": "s", "SkullStripped": False}
    sidecar["Sources"] = [source_uri(i, config) for i in series.images]
    sidecar["Model"] = {
        "Name": model.name,
        "Description": f"{model.title}: {model.formula}",
        "URL": f"https://doi.org/{model.doi}",
    }
    path = namer(session).path("anat", "T1map", desc="vfa")
    writer = save("save_t1", config, [path], [sidecar | b1_sidecar(session, config)])
    workflow.connect(
        [
            (fit, onto, [("out_file", "in_files")]),
            (aligned.average, onto, [("out_file", "reference")]),
            (fit, writer, [("out_file", "in_files")]),
        ]
    )
    if aligned.scanner:
        workflow.connect(*aligned.scanner, onto, "transform")
    return onto, "out_files"
