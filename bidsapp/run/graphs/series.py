"""What the diffusion and the dynamic branch share: bringing the series to the T1w."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from nipype.interfaces import utility as niu
from nipype.pipeline import engine as pe

from bidsapp.bids.records import Rois, Session, Space
from bidsapp.config import Config
from bidsapp.run.graphs.distortion import Port, connect_shift, save_distortion
from bidsapp.run.graphs.outputs import namer, save, spatial
from bidsapp.run.graphs.plan import SessionPlan
from bidsapp.run.graphs.registration import register_node
from bidsapp.run.nodes.apply_transform import ApplyTransform
from bidsapp.run.nodes.registration import CheckConsistency

__all__ = [
    "Alignment",
    "Port",
    "connect_alignment",
    "connect_consistency",
    "connect_labels",
    "series_inputnode",
]


@dataclass(frozen=True)
class Alignment:
    """How a series lies on the T1w; all None where the session has no T1w.

    Attributes
    ----------
    series
        ``dwi`` or ``dce``.
    average
        The series' average, which was registered.
    to_t1w, to_series
        The series onto the T1w's grid, and back: ITK transforms, and with an EPI's distortion a
        list of one and a shift.
    mask
        The brain on the series' grid.
    registered
        The image that was registered, and its matrix: what `to_t1w` does but for the distortion.
    scanner
        Where models are fitted on the T1w's grid: ITK transform from the T1w's points to the
        scanner's, where the series was acquired. `average` then gives that grid, on which images
        of the T1w lie as they are.
    """

    series: Space
    average: pe.Node
    to_t1w: Port | None = None
    to_series: Port | None = None
    mask: Port | None = None
    registered: tuple[Port, Port] | None = None
    scanner: Port | None = None

    @property
    def space(self) -> str:
        """Where maps are fitted: ``native`` or ``T1w``."""
        return "T1w" if self.scanner else "native"


def series_inputnode() -> pe.Node:
    """Return the input node of a branch."""
    return pe.Node(
        niu.IdentityInterface(["t1w_mask", "to_individual", "reference_mask"]), name="inputnode"
    )


def connect_alignment(
    workflow: pe.Workflow,
    inputnode: pe.Node,
    average: pe.Node,
    plan: SessionPlan,
    config: Config,
    series: Literal["dwi", "dce"],
    *,
    metric: Literal["lpc", "lpa"],
    distortion: pe.Node | None = None,
) -> Alignment:
    """Register a series' average to the T1w with 12 parameters, and bring the brain mask back.

    Where a node tells its distortion, the corrected average is registered.
    """
    session = plan.session
    if not session.t1w:
        return Alignment(series, average)
    given = session.given(series)
    register = register_node(
        "register", session.t1w, given, config, transform="affine", metric=metric
    )
    raw = session.diffusion if series == "dwi" else session.dynamic
    if raw and not given:
        register.inputs.named = raw.image.name
    brain = pe.Node(ApplyTransform(labels=True), name="brain")
    straight = (distortion or average, "out_file")
    linear = (register, "to_fixed")
    to_t1w, to_series = connect_shift(workflow, register, distortion)
    workflow.connect(*straight, register, "moving")
    workflow.connect(*to_series, brain, "transform")
    workflow.connect(
        [
            (inputnode, register, [("t1w_mask", "fixed_mask")]),
            (inputnode, brain, [("t1w_mask", "in_files")]),
            (average, brain, [("out_file", "reference")]),
        ]
    )
    _save_alignment(workflow, average, register, to_t1w, session, config, series)
    mask = (brain, "out_files")
    if distortion:
        save_distortion(workflow, distortion, mask, plan, config)
    return Alignment(series, average, to_t1w, to_series, mask, (straight, linear))


def connect_consistency(
    workflow: pe.Workflow,
    inputnode: pe.Node,
    aligned: Alignment,
    session: Session,
    reference: Path | None,
    config: Config,
    *,
    metric: Literal["lpc", "lpa"],
) -> None:
    """Hold the way over the session's T1w against a direct one to the baseline's, and write it."""
    if config.sloppy or not aligned.registered or reference in (None, session.t1w):
        return
    check = pe.Node(CheckConsistency(fixed=str(reference), metric=metric), name="consistency")
    datatype = "dwi" if aligned.series == "dwi" else "perf"
    path = namer(session).path(datatype, "quality", ".json", desc="consistency")
    image, matrix = aligned.registered
    workflow.connect(*image, check, "moving")
    workflow.connect(*matrix, check, "to_t1w")
    workflow.connect(inputnode, "to_individual", check, "to_fixed")
    workflow.connect(inputnode, "reference_mask", check, "fixed_mask")
    workflow.connect(check, "quality", save("save_consistency", config, [path]), "in_files")


def connect_labels(
    workflow: pe.Workflow, aligned: Alignment, labels: Rois, node: pe.Node, field: str
) -> None:
    """Give a label image to a node, brought to the grid of the fit if it was drawn on another."""
    way = aligned.scanner if labels.space == aligned.series else aligned.to_series
    if not way and not aligned.scanner:
        node.inputs.trait_set(**{field: str(labels.image)})
        return
    onto = pe.Node(ApplyTransform(labels=True), name=f"{field}_to_{aligned.series}")
    onto.inputs.in_files = [str(labels.image)]
    workflow.connect(aligned.average, "out_file", onto, "reference")
    if way:
        workflow.connect(*way, onto, "transform")
    workflow.connect(onto, "out_files", node, field)


def _save_alignment(
    workflow: pe.Workflow,
    average: pe.Node,
    register: pe.Node,
    to_t1w: Port,
    session: Session,
    config: Config,
    series: Literal["dwi", "dce"],
) -> None:
    """Write the transforms, their quality, and the average on both grids."""
    names, datatype = namer(session), "dwi" if series == "dwi" else "perf"
    there = {"mode": "image", "desc": "coreg"}
    desc = "b0" if series == "dwi" else "mean"
    paths = [
        names.path(datatype, "xfm", ".txt", from_=series, to="T1w", **there),
        names.path(datatype, "xfm", ".txt", from_="T1w", to=series, **there),
        names.path(datatype, "quality", ".json", desc="coreg"),
        names.path(datatype, f"{series}ref", desc=desc),
        names.path(datatype, f"{series}ref", space="T1w", desc=desc),
    ]
    image = {"SkullStripped": False}
    writer = save("save_alignment", config, paths, [{}, {}, {}, image, image | spatial("T1w")])
    onto = pe.Node(ApplyTransform(), name="average_to_t1w")
    onto.inputs.reference = str(session.t1w)
    merge = pe.Node(niu.Merge(5), name="alignment_files")
    workflow.connect(*to_t1w, onto, "transform")
    workflow.connect(
        [
            (average, onto, [("out_file", "in_files")]),
            (register, merge, [("to_fixed", "in1"), ("to_moving", "in2")]),
            (register, merge, [("quality", "in3")]),
            (average, merge, [("out_file", "in4")]),
            (onto, merge, [("out_files", "in5")]),
            (merge, writer, [("out", "in_files")]),
        ]
    )
