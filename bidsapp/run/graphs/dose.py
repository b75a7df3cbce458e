"""The dose of a session: carried from the visit of its T1w, measured in lesions and by dose."""

from collections.abc import Mapping
from typing import Any

from nipype.interfaces import utility as niu
from nipype.pipeline import engine as pe

from bidsapp.bids import outputs
from bidsapp.bids.records import Session
from bidsapp.config import Config
from bidsapp.lesions.dose import region_labels
from bidsapp.run.graphs.anat import register_to_baseline
from bidsapp.run.graphs.branch import Branch, Port
from bidsapp.run.graphs.sidecars import identity, save_node, source_uri
from bidsapp.run.nodes.apply_transform import ApplyTransform
from bidsapp.run.nodes.dose import DoseRegions, DoseStatistics, RegionStatistics
from bidsapp.run.nodes.lesion_fractions import LesionFractions


def init_dose_wf(
    session: Session,
    source: Session,
    baseline: Session | None,
    config: Config,
    lesions: Mapping[int, bool],
) -> pe.Workflow:
    """Return the graph that carries the dose to a session's T1w, and measures it in the lesions.

    Parameters
    ----------
    session
        A session with a T1w.
    source
        The session for whose T1w the dose was given.
    baseline
        The session with the reference T1w.
    config
        Configuration of the run.
    lesions
        All lesions of the participant, and whether they are excluded.

    Returns
    -------
    pe.Workflow
        ``inputnode``: brain, source_to_individual (ITK transform of the T1w of the source; unused
        if that or the session is the baseline), from_individual (ITK transform to the T1w of the
        session; unused at baseline). ``outputnode``: regions (label image of the regions by dose,
        on the T1w).
    """
    workflow = pe.Workflow(name="dose")
    inputs = ["brain", "source_to_individual", "from_individual"]
    inputnode = pe.Node(niu.IdentityInterface(inputs), name="inputnode")
    outputnode = pe.Node(niu.IdentityInterface(["regions"]), name="outputnode")
    workflow.add_nodes([inputnode])
    carried = _carry(workflow, session, source, baseline, config)
    statistics = pe.Node(DoseStatistics(), name="dose_statistics", mem_gb=1)
    statistics.inputs.lesions = sorted(lesions.items())
    named = identity(session, "", "T1w")
    statistics.inputs.identity = {
        name: named[name] for name in ("participant_id", "session_id")
    } | {"dose_session": source.id}
    regions = pe.Node(DoseRegions(), name="dose_regions", mem_gb=1)
    for node in (statistics, regions):
        for kind in ("enhancing", "whole"):
            if rois := session.rois(kind, "T1w"):
                setattr(node.inputs, kind, str(rois.image))
        workflow.connect(*carried, node, "dose")
        workflow.connect(inputnode, "brain", node, "brain")
    regions.inputs.lesions = _numbers(session)
    workflow.connect(regions, "out_file", outputnode, "regions")
    _save(workflow, carried, statistics, session, source, config)
    return workflow


def _numbers(session: Session) -> list[int]:
    """Return the lesions of the enhancing ROIs on the T1w, in the order of their table."""
    rois = session.rois("enhancing", "T1w")
    return [lesion.index for lesion in rois.lesions] if rois else []


def _carry(
    workflow: pe.Workflow,
    session: Session,
    source: Session,
    baseline: Session | None,
    config: Config,
) -> Port:
    """Resample the dose to the T1w of the session, once, through the baseline T1w."""
    inputnode = workflow.get_node("inputnode")
    node = pe.Node(ApplyTransform(), name="dose_to_T1w")
    node.inputs.in_files, node.inputs.reference = [str(source.dose)], str(session.t1w)
    if session is source:
        return node, "out_files"
    if session is baseline:
        register = register_to_baseline(source, session, config)
        workflow.connect(inputnode, "brain", register, "fixed_mask")
        workflow.connect(register, "to_fixed", node, "transform")
    elif source is baseline:
        workflow.connect(inputnode, "from_individual", node, "transform")
    else:
        workflow.connect(inputnode, "source_to_individual", node, "transform")
        workflow.connect(inputnode, "from_individual", node, "then")
    return node, "out_files"


def _save(
    workflow: pe.Workflow,
    carried: Port,
    statistics: pe.Node,
    session: Session,
    source: Session,
    config: Config,
) -> None:
    """Write the dose on the T1w, and the table of the lesions."""
    assert source.dose is not None
    table = outputs.DOSE_STATISTICS
    paths = [outputs.DOSE.path(session), *(table.path(session, "", e) for e in table.extensions)]
    sidecar = {
        "Description": "Physical dose on the T1w",
        "Units": "Gy",
        "Sources": [source_uri(source.dose, config)],
        "SkullStripped": False,
    }
    files = pe.Node(niu.Merge(3), name="dose_files")
    writer = save_node("save_dose", config, paths, [sidecar, {}, {}])
    workflow.connect(
        [
            (carried[0], files, [(carried[1], "in1")]),
            (statistics, files, [("out_file", "in2"), ("dictionary", "in3")]),
            (files, writer, [("out", "in_files")]),
        ]
    )


def connect_dose_values(branch: Branch[Any], series: Port, to_series: Port | None) -> None:
    """Measure the maps that are tabulated for lesions in the regions by dose.

    Parameters
    ----------
    branch
        The branch of a series, with the nodes of `bidsapp.run.graphs.maps.connect_maps`.
    series
        An image on the grid of the fits.
    to_series
        Transforms from the T1w to the series; required if lesions are measured on its grid.
    """
    lesions = branch.workflow.get_node("lesions")
    regions = region_labels(_numbers(branch.session))
    if not branch.has_dose or lesions is None or not regions:
        return
    node = pe.Node(RegionStatistics(), name="dose_values")
    node.inputs.regions = regions
    node.inputs.lesions = [(label, lesion in branch.excluded) for label, lesion, _ in regions]
    node.inputs.parameters = lesions.inputs.parameters
    node.inputs.identity = identity(branch.session, "", branch.analysis_space)
    for name in ("maps", "errors"):
        branch.connect((branch.workflow.get_node(f"{name}_tabulated"), "out"), node, name)
    branch.connect(series, node, "series")
    labels = (branch.inputnode, "dose_regions")
    if branch.analysis_space == "T1w":
        branch.connect(labels, node, "rois")
    else:
        assert to_series is not None
        fractions = pe.Node(LesionFractions(), name="dose_fractions", mem_gb=1)
        fractions.inputs.lesions = [label for label, *_ in regions]
        branch.connect(labels, fractions, "rois")
        branch.connect(series, fractions, "reference")
        branch.connect(to_series, fractions, "transform")
        branch.connect((fractions, "out_file"), node, "fractions")
    files = branch.merge("dose_value_files", [(node, "out_file"), (node, "dictionary")])
    kind = outputs.DOSE_VALUES
    branch.save("save_dose_values", files, [branch.path(kind, e) for e in kind.extensions])
