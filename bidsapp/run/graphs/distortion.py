"""EPI distortion of a diffusion series: told by what there is, put into the transforms."""

from typing import Any

from nipype.interfaces import utility as niu
from nipype.pipeline import engine as pe

from bidsapp.config import Config
from bidsapp.run.graphs.outputs import namer, save, source_uri
from bidsapp.run.graphs.plan import SessionPlan
from bidsapp.run.nodes.distortion import METHODS, DistortionEffect, EstimateShift

Port = tuple[pe.Node, str]


def connect_distortion(
    workflow: pe.Workflow, inputnode: pe.Node, average: pe.Node, plan: SessionPlan, config: Config
) -> pe.Node | None:
    """Return the node that tells the shift and corrects the average, or None."""
    source, session = plan.field_source, plan.session
    if not source:
        return None
    assert session.distortion is not None
    node = pe.Node(EstimateShift(), name="distortion", mem_gb=1.5)
    node.inputs.source = str(source.image)
    node.inputs.kind = source.kind
    node.inputs.scale = source.scale
    node.inputs.axis = session.distortion.axis
    workflow.connect(average, "out_file", node, "in_file")
    if source.kind == "T1w":
        node.inputs.transform = "rigid" if config.sloppy else "affine"
        node.inputs.named = session.diffusion.image.name if session.diffusion else ""
        workflow.connect(inputnode, "t1w_mask", node, "mask")
    return node


def connect_shift(
    workflow: pe.Workflow, register: pe.Node, distortion: pe.Node | None
) -> tuple[Port, Port]:
    """Return the ways to the T1w and back: the registration's, with the shift if there is one."""
    if not distortion:
        return (register, "to_fixed"), (register, "to_moving")
    there = pe.Node(niu.Merge(2), name="to_t1w")
    back = pe.Node(niu.Merge(2), name="to_series")
    workflow.connect(
        [
            (register, there, [("to_fixed", "in1")]),
            (distortion, there, [("shift", "in2")]),
            (distortion, back, [("unshift", "in1")]),
            (register, back, [("to_moving", "in2")]),
        ]
    )
    return (there, "out"), (back, "out")


def save_distortion(
    workflow: pe.Workflow, distortion: pe.Node, brain: Port, plan: SessionPlan, config: Config
) -> None:
    """Write the shift, and how far it reaches in the brain."""
    source, session = plan.field_source, plan.session
    assert source is not None
    effect = pe.Node(DistortionEffect(), name="distortion_effect")
    files = pe.Node(niu.Merge(2), name="distortion_files")
    names = namer(session)
    paths = [
        names.path("dwi", "shift", desc="distortion"),
        names.path("dwi", "quality", ".json", desc="distortion"),
    ]
    sidecar: dict[str, Any] = {
        "Description": "How far along the phase-encode axis of the DWI, towards higher voxels, the "
        "signal of each undistorted point appears in the images acquired",
        "Units": "mm",
        "PhaseEncodingAxis": "ijk"[distortion.inputs.axis],
        "Method": METHODS[source.kind],
        "JacobianModulation": "in the b = 0 image that is registered; not in the maps",
        "Sources": [source_uri(source.image, config)],
    }
    writer = save("save_distortion", config, paths, [sidecar, {}])
    workflow.connect(*brain, effect, "mask")
    workflow.connect(
        [
            (distortion, effect, [("shift", "shift"), ("told", "told")]),
            (distortion, files, [("shift", "in1")]),
            (effect, files, [("quality", "in2")]),
            (files, writer, [("out", "in_files")]),
        ]
    )
