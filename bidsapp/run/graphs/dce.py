"""The dynamic branch of a session: motion, arterial input, concentration, kinetics, lesions."""

from pathlib import Path
from typing import Any

from nipype.interfaces import utility as niu
from nipype.pipeline import engine as pe

from bidsapp.bids.records import Dynamic, Session
from bidsapp.config import Config
from bidsapp.models import Model
from bidsapp.models.contrast.artery import AUTO_RULE, ROI_RULE
from bidsapp.models.table import AUTO
from bidsapp.run.graphs.maps import Fitted, connect_lesions, connect_spaces, save_maps
from bidsapp.run.graphs.model_choice import connect_choice
from bidsapp.run.graphs.motion import (
    Moved,
    connect_dropped,
    connect_motion,
    left_out,
    motion_sidecar,
)
from bidsapp.run.graphs.outputs import namer, save, source_uri
from bidsapp.run.graphs.plan import SessionPlan
from bidsapp.run.graphs.relaxometry import b1_sidecar, connect_b1, connect_t1, uses_t1_map
from bidsapp.run.graphs.series import (
    Alignment,
    Port,
    connect_alignment,
    connect_consistency,
    connect_labels,
    series_inputnode,
)
from bidsapp.run.graphs.t1w_grid import connect_fit_grid, put_back, whole_maps
from bidsapp.run.nodes.derivatives import AverageVolumes
from bidsapp.run.nodes.fitting import FitKinetics
from bidsapp.run.nodes.perfusion import (
    NOT_CONVERTED,
    FindArterialInput,
    FindReferenceFrame,
    SignalToConcentration,
)


def init_dce_wf(
    plan: SessionPlan, config: Config, excluded: frozenset[int], reference: Path | None
) -> pe.Workflow:
    """Return the graph of one dynamic series.

    Parameters
    ----------
    plan
        Of a session with a dynamic series that can be analysed.
    config
        How to fit.
    excluded
        Lesions that the tables mark as excluded.
    reference
        The baseline T1w, if there is one.

    Returns
    -------
    pe.Workflow
        ``inputnode``: t1w_mask, to_individual; unused without a T1w.
    """
    session, series = plan.session, plan.session.dynamic
    assert series is not None
    workflow = pe.Workflow(name="dce")
    inputnode = series_inputnode()
    motion = _connect_motion(workflow, session, series, config)
    moved = motion.series
    mean = pe.Node(AverageVolumes(), name="mean")
    workflow.connect(*moved, mean, "in_file")
    connect_dropped(workflow, motion, [mean])
    aligned = connect_alignment(workflow, inputnode, mean, plan, config, "dce", metric="lpa")
    connect_consistency(workflow, inputnode, aligned, session, reference, config, metric="lpa")
    b1 = connect_b1(workflow, session, (mean, "out_file"), "b1_to_dce")
    arterial = _connect_arterial_input(workflow, moved, aligned, b1, plan, series, config)
    data, grid = connect_fit_grid(
        workflow, inputnode, moved, aligned, session, config, motion.acquired
    )
    if grid.scanner:
        b1 = connect_b1(workflow, session, (grid.average, "out_file"), "b1_to_T1w", grid.scanner)
    concentration = _connect_concentration(workflow, data, grid, b1, arterial, plan, series, config)
    fits = [
        _connect_fit(workflow, concentration, grid, arterial, plan, series, config, row)
        for row in plan.kinetic_models
    ]
    for fitted in fits:
        save_maps(workflow, fitted, grid, session, config)
    connect_spaces(workflow, inputnode, grid, fits, session, reference, config)
    curves = connect_lesions(workflow, grid, fits, concentration, session, config, excluded)
    connect_dropped(workflow, motion, [arterial, *(fitted.node for fitted in fits), *curves])
    if config.dce_model == AUTO:
        connect_choice(workflow, grid, fits, session, config, excluded)
    return workflow


def _connect_motion(
    workflow: pe.Workflow, session: Session, series: Dynamic, config: Config
) -> Moved:
    """Correct motion onto the last frame before the contrast agent; or take the series as it is."""
    motion, moved = connect_motion(workflow, series.image, config)
    if motion and moved.table:
        reference = pe.Node(FindReferenceFrame(), name="reference_frame", mem_gb=2)
        reference.inputs.in_file = str(series.image)
        reference.inputs.baseline_frames = config.baseline_frames
        path = namer(session).path("perf", "timeseries", ".tsv", desc="motion")
        writer = save("save_motion", config, [path], [motion_sidecar(config)])
        workflow.connect(reference, "frame", motion, "inputnode.reference")
        workflow.connect(*moved.table, writer, "in_files")
    return moved


def _connect_arterial_input(
    workflow: pe.Workflow,
    moved: Port,
    aligned: Alignment,
    b1: Port | None,
    plan: SessionPlan,
    series: Dynamic,
    config: Config,
) -> pe.Node:
    """Add the node that finds the arterial input, and write it."""
    session = plan.session
    node = pe.Node(FindArterialInput(**plan.acquisition), name="aif", mem_gb=4)
    node.inputs.source = config.aif
    node.inputs.times = list(series.times)
    node.inputs.t1_blood = plan.relaxation["t1_blood"]
    node.inputs.haematocrit = config.haematocrit
    node.inputs.baseline_frames = config.baseline_frames
    workflow.connect(*moved, node, "in_file")
    if config.aif == "table":
        node.inputs.table = str(session.arterial_table)
    if config.aif == "roi" and session.artery:
        connect_labels(workflow, aligned, session.artery, node, "artery")
    if config.aif == "roi" and b1:
        workflow.connect(*b1, node, "b1_map")
    path = namer(session).path("perf", "timeseries", ".tsv", label="AIF")
    sidecar = {
        "time": {"Units": "s"},
        "blood": {"Units": "mmol/l"},
        "plasma": {"Units": "mmol/l", "Haematocrit": config.haematocrit},
        "Source": config.aif,
        "BloodT1": node.inputs.t1_blood,
        "Relaxivity": node.inputs.relaxivity,
        "Sources": [source_uri(series.image, config)],
    }
    if config.aif == "roi":
        sidecar |= b1_sidecar(session, config)
    quality = namer(session).path("perf", "quality", ".json", label="AIF")
    writer = save("save_aif", config, [path, quality], [sidecar, {}])
    files = pe.Node(niu.Merge(2), name="aif_files")
    workflow.connect(
        [
            (node, files, [("out_file", "in1"), ("quality", "in2")]),
            (files, writer, [("out", "in_files")]),
        ]
    )
    if config.aif in _RULES:
        _save_artery(workflow, node, aligned, session, series, config)
    return node


_RULES = {"roi": ROI_RULE, "auto": AUTO_RULE}
"""How the voxels of the artery are chosen, by source."""


def _save_artery(
    workflow: pe.Workflow,
    node: pe.Node,
    aligned: Alignment,
    session: Session,
    series: Dynamic,
    config: Config,
) -> None:
    """Write which voxels were averaged, the course in each, and an image to see them on.

    Where there is a T1w, that image is written with its alignment.
    """
    names, entities = namer(session), {"space": "dce", "label": "AIF", "desc": config.aif}
    paths = [
        names.path("perf", "mask", **entities),
        names.path("perf", "timeseries", ".tsv", **entities),
        None if session.t1w else names.path("perf", "dceref", desc="mean"),
    ]
    sources = [source_uri(series.image, config)]
    if config.aif == "roi" and session.artery:
        sources.append(source_uri(session.artery.image, config))
    common = {"Description": _RULES[config.aif], "Sources": sources}
    mask = {"Type": "ROI", "SpatialReference": source_uri(series.image, config)}
    course = {"time": {"Units": "s"}, "Units": "mmol/l"}
    sidecars: list[dict[str, Any]] = [common | mask, common | course, {"SkullStripped": False}]
    writer = save("save_artery", config, paths, sidecars)
    files = pe.Node(niu.Merge(3), name="artery_files")
    workflow.connect(
        [
            (node, files, [("mask", "in1"), ("voxels", "in2")]),
            (aligned.average, files, [("out_file", "in3")]),
            (files, writer, [("out", "in_files")]),
        ]
    )


def _connect_concentration(
    workflow: pe.Workflow,
    data: Port,
    aligned: Alignment,
    b1: Port | None,
    arterial: pe.Node,
    plan: SessionPlan,
    series: Dynamic,
    config: Config,
) -> Port:
    """Convert the signal to concentration, with a T1 map where there are several flip angles."""
    session = plan.session
    node = pe.Node(SignalToConcentration(**plan.acquisition), name="concentration", mem_gb=4)
    node.inputs.t1_tissue = plan.relaxation["t1_tissue"]
    workflow.connect(*data, node, "in_file")
    workflow.connect(arterial, "baseline_frames", node, "baseline_frames")
    if aligned.mask:
        workflow.connect(*aligned.mask, node, "mask")
    if session.flip_angle_series and uses_t1_map(session, config):
        t1_map = connect_t1(workflow, session.flip_angle_series, aligned, session, config)
        workflow.connect(*t1_map, node, "t1_map")
    if b1:
        workflow.connect(*b1, node, "b1_map")
    _save_concentration(workflow, node, aligned, session, series, config)
    return node, "out_file"


def _save_concentration(
    workflow: pe.Workflow,
    node: pe.Node,
    aligned: Alignment,
    session: Session,
    series: Dynamic,
    config: Config,
) -> None:
    """Write the concentrations, and where and how often no concentration explains the signal.

    On the T1w's grid the concentrations would take a gigabyte: they are not written there.
    """
    space = "T1w" if aligned.space == "T1w" else ""
    sidecar: dict[str, Any] = {
        "Units": "mmol/l",
        "Sources": [source_uri(series.image, config)],
        "SkullStripped": False,
    }
    names, files = namer(session), pe.Node(niu.Merge(3), name="concentration_files")
    paths = [
        None if space else names.path("perf", "dce", desc="concentration"),
        names.path("perf", "quality", space=space, desc="concentration"),
        names.path("perf", "quality", ".json", space=space, desc="concentration"),
    ]
    sidecars = [sidecar | b1_sidecar(session, config), {}, {}]
    writer = save("save_concentration", config, paths, sidecars)
    status = put_back(
        workflow, (node, "status"), aligned, session, "whole_status", outside=NOT_CONVERTED
    )
    for i, port in enumerate(((node, "out_file"), status, (node, "counts")), 1):
        workflow.connect(*port, files, f"in{i}")
    workflow.connect(files, "out", writer, "in_files")


def _connect_fit(
    workflow: pe.Workflow,
    concentration: Port,
    aligned: Alignment,
    arterial: pe.Node,
    plan: SessionPlan,
    series: Dynamic,
    config: Config,
    model: Model,
) -> Fitted:
    """Add the node that fits one kinetic model; of several, the last is tabulated."""
    session = plan.session
    threads = config.omp_nthreads
    node = pe.Node(FitKinetics(), name=f"fit_{model.label}", mem_gb=4, n_procs=threads)
    node.inputs.model = model.name
    node.inputs.n_jobs = threads
    node.inputs.aicc = config.dce_model == AUTO
    node.inputs.times = list(series.times)
    options = config.fit_options(model.options)
    node.inputs.options = options
    workflow.connect(*concentration, node, "in_file")
    workflow.connect(arterial, "out_file", node, "arterial")
    if aligned.mask:
        workflow.connect(*aligned.mask, node, "mask")
    settings: dict[str, Any] = {
        **plan.acquisition,
        **plan.relaxation,
        "haematocrit": config.haematocrit,
        "arterial_input": config.aif,
        **options,
    } | left_out(config)
    if uses_t1_map(session, config):
        settings["t1_tissue"] = f"map from several flip angles, {config.t1_model}"
    if session.transmit_field:
        settings["flip_angle_correction"] = "B1 map"
    design = {"arterial": (arterial, "out_file"), "options": options}
    tabulated = model is plan.kinetic_models[-1]
    maps = whole_maps(workflow, node, aligned, session)
    return Fitted(node, maps, model, "perf", series.image, settings, design, tabulated=tabulated)
