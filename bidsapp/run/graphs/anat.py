"""The anatomical branch of a session: brain, registration to the baseline, ROIs and volumes."""

from collections.abc import Mapping
from typing import Any

from nipype.interfaces import utility as niu
from nipype.pipeline import engine as pe

from bidsapp.bids import outputs
from bidsapp.bids.records import Rois, Session
from bidsapp.config import FOUND_ROIS, Config
from bidsapp.run.graphs.branch import Port
from bidsapp.run.graphs.regions import connect_found_regions, drawn_lesions
from bidsapp.run.graphs.registration import register_node
from bidsapp.run.graphs.sidecars import (
    identity,
    lesion_list,
    save_node,
    source_uri,
    spatial_reference,
)
from bidsapp.run.nodes.apply_transform import ApplyTransform
from bidsapp.run.nodes.lesions import RoiStatistics
from bidsapp.run.nodes.registration import BrainMask


def init_anat_wf(session: Session, config: Config, reference: Session | None) -> pe.Workflow:
    """Return the graph of a session's T1w.

    Parameters
    ----------
    session
        A session with a T1w.
    config
        Configuration of the run.
    reference
        The baseline session, or None for the baseline session itself.

    Returns
    -------
    pe.Workflow
        ``inputnode``: reference_mask and earlier, the reference region (both unused at
        baseline). ``outputnode``: mask, to_individual and from_individual (ITK transforms to the
        reference and back; undefined at baseline), and the regions that were found.
    """
    workflow = pe.Workflow(name="anat")
    inputnode = pe.Node(niu.IdentityInterface(["reference_mask", "earlier"]), name="inputnode")
    results = ["mask", "to_individual", "from_individual", *FOUND_ROIS]
    outputnode = pe.Node(niu.IdentityInterface(results), name="outputnode")
    brain = pe.Node(BrainMask(in_file=str(session.t1w)), name="brain", mem_gb=1.5)
    workflow.connect(brain, "mask", outputnode, "mask")
    _save_anatomy(workflow, brain, session, config)
    if reference:
        to_individual = _connect_reference(workflow, inputnode, session, reference, config)
        workflow.connect(*to_individual, outputnode, "to_individual")
        workflow.connect(to_individual[0], "to_moving", outputnode, "from_individual")
    connect_found_regions(workflow, session, config, reference)
    return workflow


def _save_anatomy(workflow: pe.Workflow, brain: pe.Node, session: Session, config: Config) -> None:
    """Write the T1w and its brain mask."""
    assert session.t1w is not None
    origin = {"Sources": [source_uri(session.t1w, config)]}
    files = pe.Node(niu.Merge(2), name="anatomy_files")
    files.inputs.in1 = str(session.t1w)
    writer = save_node(
        "save_anatomy",
        config,
        [outputs.T1W.path(session), outputs.BRAIN_MASK.path(session)],
        [origin | {"SkullStripped": False}, origin | {"Type": "Brain"}],
    )
    workflow.connect(brain, "mask", files, "in2")
    workflow.connect(files, "out", writer, "in_files")


def _connect_reference(
    workflow: pe.Workflow,
    inputnode: pe.Node,
    session: Session,
    reference: Session,
    config: Config,
) -> Port:
    """Register the T1w rigidly to that of the baseline, excluding lesions, and write it."""
    register = register_to_baseline(session, reference, config)
    onto = pe.Node(ApplyTransform(), name="onto_baseline")
    onto.inputs.in_files = [str(session.t1w)]
    onto.inputs.reference = str(reference.t1w)
    files = pe.Node(niu.Merge(4), name="baseline_files")
    writer = save_node(
        "save_baseline",
        config,
        [
            outputs.TO_BASELINE.path(session, from_="T1w", to="individual"),
            outputs.TO_BASELINE.path(session, from_="individual", to="T1w"),
            outputs.TO_BASELINE_QUALITY.path(session),
            outputs.T1W.path(session, space="individual"),
        ],
        [{}, {}, {}, {"SkullStripped": False} | spatial_reference("individual")],
    )
    workflow.connect(
        [
            (inputnode, register, [("reference_mask", "fixed_mask")]),
            (register, onto, [("to_fixed", "transform")]),
            (register, files, [("to_fixed", "in1"), ("to_moving", "in2"), ("quality", "in3")]),
            (onto, files, [("out_files", "in4")]),
            (files, writer, [("out", "in_files")]),
        ]
    )
    return register, "to_fixed"


def register_to_baseline(session: Session, reference: Session, config: Config) -> pe.Node:
    """Return the node that registers the T1w of a session rigidly, without its mask."""
    assert reference.t1w is not None
    given = session.user_transforms("T1w")
    register = register_node(
        "to_baseline", reference.t1w, given, config, transform="rigid", metric="lpp"
    )
    register.inputs.moving = str(session.t1w)
    if not given:
        register.inputs.fixed_lesions = drawn_lesions(reference)
        register.inputs.moving_lesions = drawn_lesions(session)
    return register


def init_rois_wf(session: Session, config: Config, lesions: Mapping[int, bool]) -> pe.Workflow:
    """Return the graph that copies the ROIs of a session and measures lesion volumes.

    Parameters
    ----------
    session
        A session with ROIs.
    config
        Configuration of the run.
    lesions
        All lesions in the tables of the participant, and whether they are excluded; a lesion that
        is not in the whole-lesion ROI of this session has a volume of zero.
    """
    workflow = pe.Workflow(name="rois")
    for rois, kind in [(r, "enhancing") for r in session.enhancing] + [
        (r, "whole") for r in session.whole
    ]:
        _save_rois(workflow, rois, kind, session, config)
    if session.whole:
        _connect_volumes(workflow, session.whole[0], session, config, lesions)
    return workflow


def _save_rois(
    workflow: pe.Workflow, rois: Rois, kind: str, session: Session, config: Config
) -> None:
    """Copy one ROI image with its table."""
    datatype = outputs.DATATYPES[rois.space]
    ce = outputs.CONTRAST if rois.space == "T1w" else ""
    sources = [rois.image, rois.table] if rois.table else [rois.image]
    endings = [".nii.gz", ".tsv"][: len(sources)]
    sidecar: dict[str, Any] = {"Sources": [path.name for path in rois.sources]}
    output = outputs.ROIS
    if rois.propagated_from:
        output = outputs.PROPAGATED_ROIS
        sidecar["Description"] = f"Not drawn at this session: carried from {rois.propagated_from}"
    writer = save_node(
        f"save_{kind}_{rois.space}",
        config,
        [output.path(session, datatype, e, ce=ce, seg=kind) for e in endings],
        [sidecar, {}][: len(sources)],
    )
    writer.inputs.in_files = [str(s) for s in sources]
    workflow.add_nodes([writer])


def _connect_volumes(
    workflow: pe.Workflow, rois: Rois, session: Session, config: Config, lesions: Mapping[int, bool]
) -> None:
    """Measure the volume of every lesion in the whole-lesion ROI."""
    volumes = pe.Node(RoiStatistics(), name="volumes")
    volumes.inputs.rois = str(rois.image)
    excluded = frozenset(n for n, is_excluded in lesions.items() if is_excluded)
    known = {n for n, _ in lesion_list(rois, excluded)} | lesions.keys()
    volumes.inputs.lesions = [(n, n in excluded) for n in sorted(known)]
    volumes.inputs.identity = identity(session, "whole", rois.space)
    paths = [outputs.VOLUMES.path(session, extension=e) for e in outputs.VOLUMES.extensions]
    files = pe.Node(niu.Merge(2), name="volume_files")
    writer = save_node("save_volumes", config, paths)
    workflow.connect(
        [
            (volumes, files, [("out_file", "in1"), ("dictionary", "in2")]),
            (files, writer, [("out", "in_files")]),
        ]
    )
