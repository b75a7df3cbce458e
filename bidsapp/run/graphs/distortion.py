"""EPI distortion of a diffusion series: told by what there is, put into the transforms."""

from typing import Any

from nipype.interfaces import utility as niu
from nipype.pipeline import engine as pe

from bidsapp.bids.records import FieldSource, Session
from bidsapp.config import Config
from bidsapp.run.graphs.outputs import namer, save, source_uri
from bidsapp.run.nodes.distortion import METHODS, DistortionEffect, EstimateShift

Port = tuple[pe.Node, str]


def distortion_problem(session: Session, config: Config) -> str | None:
    """Return what is wrong with the data that should tell the distortion, or None.

    Examples
    --------
    >>> from pathlib import Path
    >>> from bidsapp.bids.records import Distortion
    >>> config = Config(Path(), Path(), Path(), "run", distortion="auto")
    >>> bad = Distortion(1, problem="sub-01_dwi.json: TotalReadoutTime is missing")
    >>> distortion_problem(Session("01", "a", Path("t1w.nii"), distortion=bad), config)
    'no DWI with --distortion auto: sub-01_dwi.json: TotalReadoutTime is missing'
    """
    told = session.distortion
    if config.distortion == "none" or not told or not told.problem:
        return None
    if config.distortion == "t1w" and (told.axis is not None or not session.t1w):
        return None
    return f"no DWI with --distortion {config.distortion}: {told.problem}"


def distortion_lack(session: Session, config: Config) -> str | None:
    """Return why the distortion of a diffusion series is left as it is, though asked for, or None.

    Examples
    --------
    >>> from pathlib import Path
    >>> config = Config(Path(), Path(), Path(), "run", distortion="auto")
    >>> distortion_lack(Session("01", "a"), config)
    'EPI distortion not corrected: no T1w, so maps stay where they were acquired'
    """
    if config.distortion == "none":
        return None
    if not session.t1w:
        return "EPI distortion not corrected: no T1w, so maps stay where they were acquired"
    if config.distortion == "t1w":
        return _passed_over(session)
    lack = session.distortion.lack if session.distortion else ""
    return f"EPI distortion not corrected: {lack}" if lack else None


def _passed_over(session: Session) -> str | None:
    """Return what would tell the distortion better than the T1w does, or None."""
    source = session.distortion.source if session.distortion else None
    if not source:
        return None
    return (
        f"EPI distortion told by the T1w, though there is {source.image.name}: --distortion auto "
        "would take that"
    )


def field_source(session: Session, config: Config) -> FieldSource | None:
    """Return what the distortion of a session is told by, if it is to be corrected."""
    if config.distortion == "none" or not session.t1w or not session.distortion:
        return None
    if config.distortion == "t1w":
        return FieldSource("T1w", session.t1w)
    return session.distortion.source


def connect_distortion(
    workflow: pe.Workflow, inputnode: pe.Node, average: pe.Node, session: Session, config: Config
) -> pe.Node | None:
    """Return the node that tells the shift and corrects the average, or None."""
    source = field_source(session, config)
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
    workflow: pe.Workflow, distortion: pe.Node, brain: Port, session: Session, config: Config
) -> None:
    """Write the shift, and how far it reaches in the brain."""
    source = field_source(session, config)
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
