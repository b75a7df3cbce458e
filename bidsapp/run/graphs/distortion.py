"""EPI distortion of a diffusion series: estimated, and included in the transforms."""

from typing import Any

from nipype.interfaces import utility as niu
from nipype.pipeline import engine as pe

from bidsapp.bids import outputs
from bidsapp.bids.records import Diffusion
from bidsapp.run.graphs.branch import Branch, Port
from bidsapp.run.graphs.sidecars import source_uri
from bidsapp.run.nodes.distortion import METHODS, DistortionEffect, EstimateShift


def connect_distortion(branch: Branch[Diffusion], average: pe.Node) -> pe.Node | None:
    """Return the node that estimates the shift and corrects the average, or None."""
    source, distortion = branch.plan.field_source, branch.session.distortion
    if not source or not distortion:
        return None
    node = pe.Node(EstimateShift(), name="distortion", mem_gb=1.5)
    node.inputs.source = str(source.image)
    node.inputs.kind = source.kind
    node.inputs.scale = source.scale
    node.inputs.axis = distortion.axis
    branch.connect((average, "out_file"), node, "in_file")
    if source.kind == "T1w":
        node.inputs.transform = "rigid" if branch.config.sloppy else "affine"
        node.inputs.named = branch.series.image.name
        branch.connect((branch.inputnode, "t1w_mask"), node, "mask")
    return node


def connect_shift(
    workflow: pe.Workflow, register: pe.Node, distortion: pe.Node | None
) -> tuple[Port, Port]:
    """Return the transforms to the T1w and back: registration and, if estimated, the shift."""
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


def save_distortion(branch: Branch[Any], distortion: pe.Node, brain: Port) -> None:
    """Write the shift and a summary of its size in the brain."""
    source = branch.plan.field_source
    assert source is not None
    effect = pe.Node(DistortionEffect(), name="distortion_effect")
    paths = [branch.path(outputs.SHIFT), branch.path(outputs.SHIFT_SUMMARY)]
    sidecar: dict[str, Any] = {
        "Description": "Displacement of the signal of each undistorted point in the acquired "
        "images, along the phase-encoding axis of the DWI, positive towards higher voxel indices",
        "Units": "mm",
        "PhaseEncodingAxis": "ijk"[distortion.inputs.axis],
        "Method": METHODS[source.kind],
        "JacobianModulation": "in the registered b = 0 image, not in the maps",
        "Sources": [source_uri(source.image, branch.config)],
    }
    branch.connect(brain, effect, "mask")
    branch.connect((distortion, "shift"), effect, "shift")
    branch.connect((distortion, "estimate"), effect, "estimate")
    files = branch.merge("distortion_files", [(distortion, "shift"), (effect, "quality")])
    branch.save("save_distortion", files, paths, [sidecar, {}])
