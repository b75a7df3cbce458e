"""The diffusion branch of a session: motion, ADC, IVIM, registration, lesions."""

from pathlib import Path

from nipype.interfaces import utility as niu
from nipype.pipeline import engine as pe

from bidsapp.bids.records import Diffusion, Session
from bidsapp.config import Config
from bidsapp.models import Model
from bidsapp.models.diffusion.decay import B_ZERO
from bidsapp.run.graphs.distortion import connect_distortion
from bidsapp.run.graphs.maps import Fitted, connect_lesions, connect_spaces, save_maps
from bidsapp.run.graphs.motion import (
    Moved,
    connect_dropped,
    connect_motion,
    left_out,
    motion_sidecar,
)
from bidsapp.run.graphs.outputs import lesion_rois, namer, save, source_uri
from bidsapp.run.graphs.plan import SessionPlan, fit_options
from bidsapp.run.graphs.series import (
    Alignment,
    Port,
    connect_alignment,
    connect_consistency,
    connect_labels,
    series_inputnode,
)
from bidsapp.run.graphs.t1w_grid import connect_fit_grid, whole_maps
from bidsapp.run.nodes.derivatives import AverageVolumes
from bidsapp.run.nodes.fitting import FitDiffusion


def init_dwi_wf(
    plan: SessionPlan, config: Config, excluded: frozenset[int], reference: Path | None
) -> pe.Workflow:
    """Return the graph of one diffusion series.

    Parameters
    ----------
    plan
        Of a session with a diffusion series that can be analysed.
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
    session, series = plan.session, plan.session.diffusion
    assert series is not None
    workflow = pe.Workflow(name="dwi")
    inputnode = series_inputnode()
    motion = _connect_motion(workflow, session, series, config)
    moved = motion.series
    b0 = pe.Node(AverageVolumes(), name="b0")
    b0.inputs.volumes = _b_zero_volumes(series)
    workflow.connect(*moved, b0, "in_file")
    distortion = connect_distortion(workflow, inputnode, b0, plan, config)
    aligned = connect_alignment(
        workflow, inputnode, b0, plan, config, "dwi", metric="lpc", distortion=distortion
    )
    connect_consistency(workflow, inputnode, aligned, session, reference, config, metric="lpc")
    data, grid = connect_fit_grid(
        workflow, inputnode, moved, aligned, session, config, motion.acquired
    )
    fits = [
        _connect_fit(workflow, data, grid, session, series, config, m)
        for m in plan.diffusion_models
    ]
    for fitted in fits:
        save_maps(workflow, fitted, grid, session, config)
    connect_spaces(workflow, inputnode, grid, fits, session, reference, config)
    curves = connect_lesions(workflow, grid, fits, data, session, config, excluded)
    connect_dropped(workflow, motion, [b0, *(fitted.node for fitted in fits), *curves])
    return workflow


def _b_zero_volumes(series: Diffusion) -> list[int]:
    """Return the volumes at the lowest b-value, which counts as zero below 5."""
    lowest = max(min(series.bvalues), B_ZERO)
    return [i for i, b in enumerate(series.bvalues) if b <= lowest]


def _connect_motion(
    workflow: pe.Workflow, session: Session, series: Diffusion, config: Config
) -> Moved:
    """Correct motion onto the first b = 0 volume and write the series; or take it as it is."""
    motion, moved = connect_motion(workflow, series.image, config)
    if not motion or not moved.table:
        return moved
    motion.inputs.inputnode.reference = _b_zero_volumes(series)[0]
    motion.inputs.inputnode.bvalues = list(series.bvalues)
    if series.phase_axis is not None:
        motion.inputs.inputnode.phase_axis = series.phase_axis
    names = namer(session)
    sidecar = {"Sources": [source_uri(series.image, config)], "SkullStripped": False}
    paths = [
        names.path("dwi", "dwi", desc="preproc"),
        names.path("dwi", "timeseries", ".tsv", desc="motion"),
    ]
    about = motion_sidecar(config, series.phase_axis)
    writer = save("save_motion", config, paths, [sidecar, about])
    both = pe.Node(niu.Merge(2), name="motion_files")
    workflow.connect(*moved.series, both, "in1")
    workflow.connect(*moved.table, both, "in2")
    workflow.connect(both, "out", writer, "in_files")
    _add_gradients(workflow, session, series, config)
    return moved


def _add_gradients(
    workflow: pe.Workflow, session: Session, series: Diffusion, config: Config
) -> None:
    """Write the gradient files beside the corrected series."""
    names = namer(session)
    bval = series.image.with_name(series.image.name.split(".")[0] + ".bval")
    files = {".bval": bval, ".bvec": series.bvectors}
    present = {k: v for k, v in files.items() if v is not None and v.exists()}
    paths = [names.path("dwi", "dwi", extension, desc="preproc") for extension in present]
    writer = save("save_gradients", config, paths)
    writer.inputs.in_files = [str(v) for v in present.values()]
    workflow.add_nodes([writer])


def _connect_fit(
    workflow: pe.Workflow,
    data: Port,
    aligned: Alignment,
    session: Session,
    series: Diffusion,
    config: Config,
    model: Model,
) -> Fitted:
    """Add the node that fits one diffusion model."""
    options = fit_options(model, config)
    node = pe.Node(FitDiffusion(), name=f"fit_{model.label}", mem_gb=2, n_procs=config.omp_nthreads)
    node.inputs.model = model.name
    node.inputs.n_jobs = config.omp_nthreads
    node.inputs.bvalues = list(series.bvalues)
    if series.bvectors:
        node.inputs.bvectors = str(series.bvectors)
    node.inputs.options = options
    workflow.connect(*data, node, "in_file")
    if aligned.mask:
        workflow.connect(*aligned.mask, node, "mask")
    told = (
        options
        | left_out(config)
        | _connect_regions(workflow, aligned, session, config, node, model)
    )
    design = {"bvalues": list(series.bvalues), "options": options}
    maps = whole_maps(workflow, node, aligned, session)
    return Fitted(node, maps, model, "dwi", series.image, told, design)


def _connect_regions(
    workflow: pe.Workflow,
    aligned: Alignment,
    session: Session,
    config: Config,
    node: pe.Node,
    model: Model,
) -> dict[str, str]:
    """Give each lesion a prior of its own, where the model has one; return what is to be told."""
    if "region" not in model.options:
        return {}
    rois = lesion_rois(session, aligned.series, config)
    if not rois:
        return {"region": "one for all voxels, as there is no ROI of the enhancing part"}
    connect_labels(workflow, aligned, rois, node, "regions")
    lesions = f"each lesion, by its label in {source_uri(rois.image, config)}"
    return {"region": f"{lesions}; 0 for all other voxels"}
