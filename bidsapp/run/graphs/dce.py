"""The dynamic branch of a session: motion, arterial input, concentration, kinetics, lesions."""

from collections.abc import Mapping, Sequence
from typing import Any

from nipype.pipeline import engine as pe

from bidsapp.bids import outputs
from bidsapp.bids.arterial_table import table_metadata
from bidsapp.bids.records import Dynamic
from bidsapp.models import Model
from bidsapp.models.contrast.artery import AUTO_RULE, ROI_RULE
from bidsapp.models.contrast.vein import SCALE_RULE, VEIN_RULE
from bidsapp.run.graphs.branch import Branch, Port
from bidsapp.run.graphs.dose import connect_dose_values
from bidsapp.run.graphs.maps import Fitted, connect_fit, connect_maps
from bidsapp.run.graphs.model_choice import connect_model_comparison
from bidsapp.run.graphs.motion import (
    MotionCorrected,
    connect_dropped,
    connect_motion,
    dropped_volumes,
    motion_sidecar,
    save_motion,
)
from bidsapp.run.graphs.relaxometry import b1_sidecar, connect_b1, connect_t1, describe_t1_map
from bidsapp.run.graphs.series import Alignment, FitGrid, connect_alignment, connect_labels
from bidsapp.run.graphs.sidecars import source_uri, source_uris
from bidsapp.run.graphs.t1w_grid import connect_fit_grid, embed_in_grid
from bidsapp.run.graphs.unmixing import connect_unmixing
from bidsapp.run.graphs.visit_values import value_origins
from bidsapp.run.nodes.bolus import FindBolus
from bidsapp.run.nodes.derivatives import AverageVolumes
from bidsapp.run.nodes.fitting import FitKinetics
from bidsapp.run.nodes.perfusion import (
    NOT_CONVERTED,
    FindArterialInput,
    FindReferenceFrame,
    SignalToConcentration,
)

_RULES = {"roi": ROI_RULE, "auto": AUTO_RULE}
"""Description of how arterial voxels are selected, by source."""
_NUMBERS = "The factor of the area (VenousScale) is in label-AIF_quality.json."


def init_dce_wf(branch: Branch[Dynamic]) -> pe.Workflow:
    """Return the graph of one dynamic series, from the branch that holds it.

    ``inputnode``: see `Branch`.
    """
    motion = _connect_motion(branch)
    mean = pe.Node(AverageVolumes(), name="mean")
    branch.connect(motion.series, mean, "in_file")
    connect_dropped(branch, motion, [mean])
    aligned = connect_alignment(branch, mean)
    if not branch.session.t1w:  # with a T1w, it is written together with its alignment
        path = branch.path(outputs.MEAN_IMAGE["perf"])
        branch.save("save_mean", (mean, "out_file"), [path], [{"SkullStripped": False}])
    b1 = connect_b1(branch, (mean, "out_file"), "b1_to_dce")
    models = branch.plan.kinetic_models
    found: dict[str, pe.Node] = {}
    if any(model.is_descriptive for model in models):
        found["bolus"] = _connect_bolus(branch, motion.series)
    if any(model.needs_artery for model in models):
        found["artery"] = _connect_arterial_input(branch, motion.series, aligned, b1)
    baseline = (found.get("artery", found.get("bolus")), "baseline_frames")
    data, grid = connect_fit_grid(branch, motion, aligned)
    if grid.to_scanner:
        b1 = connect_b1(branch, grid.image, "b1_to_T1w", grid.to_scanner)
    concentration = _connect_concentration(branch, data, grid, b1, baseline, aligned)
    fits = [_connect_fit(branch, concentration, grid, found, model) for model in models]
    curves = connect_maps(branch, grid, fits, concentration)
    connect_dose_values(branch, grid.image, grid.to_series)
    curves += _connect_unmixing(branch, motion, grid, aligned, fits, baseline)
    measured = [node for name, node in found.items() if name == "artery"]
    connect_dropped(branch, motion, [*measured, *(fitted.node for fitted in fits), *curves])
    if len(fits) > 1:
        connect_model_comparison(branch, grid, fits)
    return branch.workflow


def _connect_motion(branch: Branch[Dynamic]) -> MotionCorrected:
    """Correct motion relative to the last frame before contrast, if requested."""
    motion, moved = connect_motion(branch)
    if motion and moved.table:
        reference = pe.Node(FindReferenceFrame(), name="reference_frame", mem_gb=2)
        branch.connect((branch.source, "out_file"), reference, "in_file")
        reference.inputs.baseline_frames = branch.config.baseline_frames
        branch.connect((reference, "frame"), motion, "inputnode.reference")
        save_motion(branch, moved, motion_sidecar(branch.config))
    return moved


def _connect_bolus(branch: Branch[Dynamic], moved: Port) -> pe.Node:
    """Add the node that finds the arrival of the bolus, and write what it finds."""
    node = pe.Node(FindBolus(), name="bolus", mem_gb=2)
    node.inputs.times = list(branch.series.times)
    node.inputs.baseline_frames = branch.config.baseline_frames
    branch.connect(moved, node, "in_file")
    branch.save("save_bolus", (node, "quality"), [branch.path(outputs.BOLUS_QUALITY)])
    return node


def _connect_arterial_input(
    branch: Branch[Dynamic], moved: Port, aligned: Alignment, b1: Port | None
) -> pe.Node:
    """Add the node that finds the arterial input, and write the result."""
    session, config = branch.session, branch.config
    node = pe.Node(FindArterialInput(**branch.plan.acquisition), name="aif", mem_gb=4)
    node.inputs.source = config.aif
    node.inputs.scale = config.aif_scale
    node.inputs.times = list(branch.series.times)
    node.inputs.t1_blood = branch.plan.relaxation["t1_blood"]
    node.inputs.haematocrit = branch.plan.haematocrit
    node.inputs.baseline_frames = config.baseline_frames
    node.inputs.raw_file = str(branch.series.image)
    branch.connect(moved, node, "in_file")
    if config.aif == "table" and session.arterial_table:
        node.inputs.table = str(session.arterial_table)
        node.inputs.table_fields = table_metadata(session.arterial_table, config.derivatives)
    if config.aif == "roi" and session.artery:
        connect_labels(branch, aligned.grid, session.artery, node, "artery")
    if b1 and config.aif in (*_RULES, "table"):  # a table is compared with the artery
        branch.connect(b1, node, "b1_map")
    _save_arterial_input(branch, node)
    if config.aif in _RULES:
        _save_artery(branch, node)
    if config.aif_scale == "vein":
        _save_vein(branch, node)
    return node


def _save_arterial_input(branch: Branch[Dynamic], node: pe.Node) -> None:
    """Write the concentrations in blood and plasma, and the quality of the arterial input."""
    config = branch.config
    paths = [branch.path(outputs.ARTERIAL_INPUT), branch.path(outputs.ARTERIAL_QUALITY)]
    sidecar = {
        "time": {"Units": "s"},
        "blood": {"Units": "mmol/l"},
        "plasma": {"Units": "mmol/l", "Haematocrit": branch.plan.haematocrit},
        "Source": config.aif,
        "BloodT1": node.inputs.t1_blood,
        "Relaxivity": node.inputs.relaxivity,
        "Sources": source_uris(branch.series.sources, config),
    }
    if origins := value_origins(branch.session, config):
        sidecar["ValuesFrom"] = origins
    if config.aif in _RULES:
        sidecar |= b1_sidecar(branch.session, config)
    if config.aif_scale == "vein":
        sidecar["ScaledTo"] = f"{SCALE_RULE} {_NUMBERS}"
    files = branch.merge("aif_files", [(node, "out_file"), (node, "quality")])
    branch.save("save_aif", files, paths, [sidecar, {}])


def _save_artery(branch: Branch[Dynamic], node: pe.Node) -> None:
    """Write the arterial voxels, and the time course of each."""
    config, session = branch.config, branch.session
    source = source_uris(branch.series.sources, config)
    paths = [
        branch.path(outputs.ARTERIAL_VOXELS, desc=config.aif),
        branch.path(outputs.ARTERIAL_CURVES, desc=config.aif),
    ]
    sources = [*source]
    if config.aif == "roi" and session.artery:
        sources += [source_uri(path, config) for path in session.artery.sources]
    common = {"Description": _RULES[config.aif], "Sources": sources}
    mask = {"Type": "ROI", "SpatialReference": source[0]}
    course = {"time": {"Units": "s"}, "Units": "mmol/l"}
    sidecars: list[dict[str, Any]] = [common | mask, common | course]
    files = branch.merge("artery_files", [(node, "mask"), (node, "voxels")])
    branch.save("save_artery", files, paths, sidecars)


def _save_vein(branch: Branch[Dynamic], node: pe.Node) -> None:
    """Write the venous voxels to which the artery is scaled."""
    source = source_uris(branch.series.sources, branch.config)
    sidecar = {
        "Description": VEIN_RULE,
        "Sources": source,
        "Type": "ROI",
        "SpatialReference": source[0],
    }
    branch.save("save_vein", (node, "vein"), [branch.path(outputs.VENOUS_VOXELS)], [sidecar])


def _connect_concentration(
    branch: Branch[Dynamic],
    data: Port,
    grid: FitGrid,
    b1: Port | None,
    baseline: Port,
    aligned: Alignment,
) -> Port:
    """Convert the signal to concentration, with a T1 map if there is one."""
    plan = branch.plan
    node = pe.Node(SignalToConcentration(**plan.acquisition), name="concentration", mem_gb=4)
    node.inputs.t1_tissue = plan.relaxation["t1_tissue"]
    branch.connect(data, node, "in_file")
    branch.connect(baseline, node, "baseline_frames")
    if grid.mask:
        branch.connect(grid.mask, node, "mask")
    if t1_map := connect_t1(branch, grid, aligned):
        branch.connect(t1_map, node, "t1_map")
        if branch.rois:
            connect_labels(branch, grid, branch.rois, node, "lesions")
    if b1:
        branch.connect(b1, node, "b1_map")
    _save_concentration(branch, node, grid)
    return node, "out_file"


def _connect_unmixing(
    branch: Branch[Dynamic],
    motion: MotionCorrected,
    grid: FitGrid,
    aligned: Alignment,
    fits: Sequence[Fitted],
    baseline: Port,
) -> list[pe.Node]:
    """Measure lesions without their surroundings, with the maps used for the conversion."""
    workflow = branch.workflow
    inputs = {"baseline_frames": baseline}
    if arterial := workflow.get_node("aif"):
        inputs["arterial"] = (arterial, "out_file")
    for field, name in (("t1_map", "t1_to_dce"), ("b1_map", "b1_to_dce")):
        if onto := workflow.get_node(name):
            inputs[field] = (onto, "out_files")
    nodes = connect_unmixing(branch, grid, aligned, motion.series, fits, inputs)
    for node in nodes:
        node.inputs.trait_set(**branch.plan.acquisition)
        node.inputs.times = list(branch.series.times)
        node.inputs.t1_tissue = branch.plan.relaxation["t1_tissue"]
    return nodes


def _save_concentration(branch: Branch[Dynamic], node: pe.Node, grid: FitGrid) -> None:
    """Write the concentrations, and in which voxels no concentration explains the signal.

    Concentrations on the grid of the T1w would require a gigabyte, and are not written.
    """
    space = grid.entity
    sidecar: dict[str, Any] = {
        "Units": "mmol/l",
        "Sources": source_uris(branch.series.sources, branch.config),
        "SkullStripped": False,
    }
    paths = [
        None if space else branch.path(outputs.CONCENTRATION),
        branch.path(outputs.UNEXPLAINED, space=space),
        branch.path(outputs.UNEXPLAINED, ".json", space=space),
    ]
    sidecars = [sidecar | b1_sidecar(branch.session, branch.config), {}, {}]
    status = embed_in_grid(branch, (node, "status"), grid, "whole_status", outside=NOT_CONVERTED)
    results = [(node, "out_file"), status, (node, "counts")]
    files = branch.merge("concentration_files", results)
    branch.save("save_concentration", files, paths, sidecars)


def _connect_fit(
    branch: Branch[Dynamic],
    concentration: Port,
    grid: FitGrid,
    found: Mapping[str, pe.Node],
    model: Model,
) -> Fitted:
    """Add the node that fits one kinetic model; the last of several is tabulated.

    ``found`` holds the nodes that find the artery and the bolus, as far as models need them.
    """
    plan, config = branch.plan, branch.config
    node = pe.Node(FitKinetics(), name=f"fit_{model.label}", mem_gb=4, n_procs=config.omp_nthreads)
    node.inputs.aicc = len(plan.kinetic_models) > 1
    node.inputs.times = list(branch.series.times)
    options = config.fit_options(model.options)
    node.inputs.options = options
    design: dict[str, Any] = {"times": node.inputs.times, "options": options}
    if model.needs_artery:
        design["arterial"] = (found["artery"], "out_file")
        branch.connect(design["arterial"], node, "arterial")
    if model.is_descriptive:
        branch.connect((found["bolus"], "arrival"), node, "arrival")
    maps = connect_fit(branch, node, model, concentration, grid)
    settings: dict[str, Any] = {
        **plan.acquisition,
        **plan.relaxation,
        **(_arterial_settings(branch) if model.needs_artery else {}),
        **options,
    } | dropped_volumes(config)
    if described := describe_t1_map(branch.session, config):
        settings["t1_tissue"] = described
    if origins := value_origins(branch.session, config):
        settings["values_from"] = origins
    if branch.session.transmit_field:
        settings["flip_angle_correction"] = "B1 map"
    tabulated = model is plan.kinetic_models[-1]
    return Fitted(node, maps, model, settings, design, tabulated=tabulated)


def _arterial_settings(branch: Branch[Dynamic]) -> dict[str, Any]:
    """Return the settings of the arterial input, for the sidecars of the maps."""
    config = branch.config
    scale = {"arterial_scale": config.aif_scale} if config.aif_scale != "none" else {}
    return {"haematocrit": branch.plan.haematocrit, "arterial_input": config.aif, **scale}
