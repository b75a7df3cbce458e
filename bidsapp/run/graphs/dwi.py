"""The diffusion branch of a session: motion, ADC, IVIM, registration, lesions."""

from pathlib import Path

from nipype.pipeline import engine as pe

from bidsapp.bids import outputs
from bidsapp.bids.records import Diffusion
from bidsapp.models import Model
from bidsapp.models.diffusion.decay import B_ZERO
from bidsapp.run.graphs.branch import Branch, Port, gradient_files
from bidsapp.run.graphs.diffusion_steps import can_denoise, relaxation_times
from bidsapp.run.graphs.distortion import connect_distortion
from bidsapp.run.graphs.dose import connect_dose_values
from bidsapp.run.graphs.maps import Fitted, connect_fit, connect_maps
from bidsapp.run.graphs.motion import (
    MotionCorrected,
    connect_dropped,
    connect_motion,
    dropped_volumes,
    motion_sidecar,
    save_motion,
)
from bidsapp.run.graphs.plan import fit_options
from bidsapp.run.graphs.series import FitGrid, connect_alignment, connect_labels
from bidsapp.run.graphs.sidecars import source_uri
from bidsapp.run.graphs.t1w_grid import connect_fit_grid
from bidsapp.run.graphs.unmixing import connect_unmixing
from bidsapp.run.nodes.denoising import DenoiseMPPCA
from bidsapp.run.nodes.derivatives import AverageVolumes
from bidsapp.run.nodes.fitting import FitDiffusion

DENOISED = "dipy mppca (doi:10.1016/j.neuroimage.2016.08.016)"
"""Denoising, in sidecars."""


def init_dwi_wf(branch: Branch[Diffusion]) -> pe.Workflow:
    """Return the graph of one diffusion series, from the branch that holds it.

    ``inputnode``: see `Branch`.
    """
    motion = _connect_motion(branch)
    b0 = pe.Node(AverageVolumes(), name="b0")
    b0.inputs.volumes = _b_zero_volumes(branch.series)
    branch.connect(motion.series, b0, "in_file")
    aligned = connect_alignment(branch, b0, connect_distortion(branch, b0))
    data, grid = connect_fit_grid(branch, motion, aligned)
    fits = [_connect_fit(branch, data, grid, model) for model in branch.plan.diffusion_models]
    curves = connect_maps(branch, grid, fits, data)
    connect_dose_values(branch, grid.image, grid.to_series)
    for node in connect_unmixing(branch, grid, aligned, motion.series, fits, {}):
        node.inputs.bvalues = list(branch.series.bvalues)
        curves.append(node)
    connect_dropped(branch, motion, [b0, *(fitted.node for fitted in fits), *curves])
    return branch.workflow


def _b_zero_volumes(series: Diffusion) -> list[int]:
    """Return the volumes at the lowest b-value; all b-values below 5 count as zero."""
    lowest = max(min(series.bvalues), B_ZERO)
    return [i for i, b in enumerate(series.bvalues) if b <= lowest]


def _connect_motion(branch: Branch[Diffusion]) -> MotionCorrected:
    """Correct motion relative to the first b = 0 volume and write the series, if requested."""
    series, config = branch.series, branch.config
    motion, moved = connect_motion(branch, _connect_denoising(branch))
    if not motion or not moved.table:
        return moved
    motion.inputs.inputnode.reference = _b_zero_volumes(series)[0]
    motion.inputs.inputnode.bvalues = list(series.bvalues)
    if series.phase_axis is not None:
        motion.inputs.inputnode.phase_axis = series.phase_axis
    sidecar = {"Sources": [source_uri(series.image, config)], "SkullStripped": False}
    if denoised := _denoised(branch):
        sidecar["Denoising"] = denoised["denoised"]
    branch.save("save_series", moved.series, [branch.path(outputs.CORRECTED_DWI)], [sidecar])
    save_motion(branch, moved, motion_sidecar(config, series.phase_axis))
    _save_gradients(branch)
    return moved


def _connect_denoising(branch: Branch[Diffusion]) -> Port | None:
    """Denoise the series as acquired, if requested and possible; return it, or None."""
    if not can_denoise(branch.series, branch.config):
        return None
    node = pe.Node(DenoiseMPPCA(), name="denoise", mem_gb=2)
    branch.connect((branch.source, "out_file"), node, "in_file")
    return node, "out_file"


def _denoised(branch: Branch[Diffusion]) -> dict[str, str]:
    """Return the setting of fits and sidecars that describes the denoising."""
    return {"denoised": DENOISED} if can_denoise(branch.series, branch.config) else {}


def _relaxation(branch: Branch[Diffusion], model: Model) -> dict[str, float]:
    """Return the relaxation times, in s, from which the signal of blood follows."""
    echo = branch.series.spin_echo
    if "blood_signal" not in model.design or not echo:
        return {}
    timing = {"echo_time": echo.echo_time, "repetition_time": echo.repetition_time}
    return timing | relaxation_times(echo.field_strength, branch.config)


def _save_gradients(branch: Branch[Diffusion]) -> None:
    """Write the gradient files of the corrected series."""
    extensions = [Path(file).suffix for file in gradient_files(branch.series)]
    paths = [branch.path(outputs.CORRECTED_DWI, extension) for extension in extensions]
    branch.save("save_gradients", (branch.source, "gradients"), paths)


def _connect_fit(branch: Branch[Diffusion], data: Port, grid: FitGrid, model: Model) -> Fitted:
    """Add the node that fits one diffusion model."""
    series, config = branch.series, branch.config
    node = pe.Node(FitDiffusion(), name=f"fit_{model.label}", mem_gb=2, n_procs=config.omp_nthreads)
    node.inputs.bvalues = list(series.bvalues)
    options = fit_options(model, config, branch.plan.blood_signal)
    node.inputs.options = options
    maps = connect_fit(branch, node, model, data, grid)
    regions = _connect_regions(branch, grid, node) if "region" in model.options else {}
    design = {"bvalues": list(series.bvalues), "options": options}
    described = options | _relaxation(branch, model) | _denoised(branch) | regions
    return Fitted(node, maps, model, described | dropped_volumes(config), design)


def _connect_regions(branch: Branch[Diffusion], grid: FitGrid, node: pe.Node) -> dict[str, str]:
    """Fit each lesion with a separate prior; return the setting that describes the regions."""
    rois = branch.rois
    if not rois:
        return {"region": "one for all voxels, as there is no ROI of the enhancing part"}
    connect_labels(branch, grid, rois, node, "regions")
    lesions = f"each lesion, by its label in {source_uri(rois.sources[0], branch.config)}"
    return {"region": f"{lesions}; 0 for all other voxels"}
