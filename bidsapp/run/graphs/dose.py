"""The dose of a session: carried from the visit of its T1w, measured in lesions and by dose."""

from collections.abc import Mapping
from typing import Any

from nipype.interfaces import utility as niu
from nipype.pipeline import engine as pe

from bidsapp.bids import outputs
from bidsapp.bids.records import Session
from bidsapp.config import Config
from bidsapp.lesions.dose import region_names
from bidsapp.run.graphs.branch import Branch, Port
from bidsapp.run.graphs.sidecars import identity, save_node, source_uri
from bidsapp.run.nodes.apply_transform import ApplyTransform
from bidsapp.run.nodes.dose import DoseRegions, DoseStatistics
from bidsapp.run.nodes.lesion_fractions import LesionFractions
from bidsapp.run.nodes.lesions import RoiStatistics


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
        if that is the baseline), from_individual (ITK transform to the T1w of the session; unused
        at baseline). ``outputnode``: regions (label images by dose, on the T1w).
    """
    workflow = pe.Workflow(name="dose")
    inputs = ["brain", "source_to_individual", "from_individual"]
    inputnode = pe.Node(niu.IdentityInterface(inputs), name="inputnode")
    outputnode = pe.Node(niu.IdentityInterface(["regions"]), name="outputnode")
    carried = _carry(workflow, inputnode, session, source, baseline)
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
    workflow.connect(regions, "out_files", outputnode, "regions")
    _save(workflow, carried, statistics, session, source, config)
    return workflow


def _carry(
    workflow: pe.Workflow,
    inputnode: pe.Node,
    session: Session,
    source: Session,
    baseline: Session | None,
) -> Port:
    """Resample the dose to the T1w of the session, once, through the baseline T1w."""
    node = pe.Node(ApplyTransform(), name="dose_to_T1w")
    node.inputs.in_files, node.inputs.reference = [str(source.dose)], str(session.t1w)
    if session is source:
        return node, "out_files"
    if source is baseline:
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
    if not branch.has_dose or lesions is None:
        return
    numbers = [lesion for lesion, _ in lesions.inputs.lesions]
    for index, region in enumerate(region_names()):
        one = pe.Node(niu.Select(index=[index]), name=f"region_{region}")
        branch.connect((branch.inputnode, "dose_regions"), one, "inlist")
        statistics = pe.Node(RoiStatistics(), name=f"values_{region}")
        statistics.inputs.lesions = lesions.inputs.lesions
        statistics.inputs.parameters = lesions.inputs.parameters
        statistics.inputs.identity = identity(branch.session, region, branch.analysis_space)
        for name in ("maps", "errors"):
            tabulated = branch.workflow.get_node(f"{name}_tabulated")
            branch.connect((tabulated, "out"), statistics, name)
        branch.connect(series, statistics, "series")
        if branch.analysis_space == "T1w":
            branch.connect((one, "out"), statistics, "rois")
        else:
            assert to_series is not None
            fractions = pe.Node(LesionFractions(lesions=numbers), name=f"fractions_{region}")
            branch.connect((one, "out"), fractions, "rois")
            branch.connect(series, fractions, "reference")
            branch.connect(to_series, fractions, "transform")
            branch.connect((fractions, "out_file"), statistics, "fractions")
        files = branch.merge(
            f"files_{region}", [(statistics, "out_file"), (statistics, "dictionary")]
        )
        kind = outputs.DOSE_VALUES
        paths = [branch.path(kind, extension, seg=region) for extension in kind.extensions]
        branch.save(f"save_{region}", files, paths)
