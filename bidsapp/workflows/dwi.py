"""The diffusion branch of a session: motion, ADC, IVIM, registration, lesions."""

from pathlib import Path
from typing import Any

import numpy as np
from nipype.interfaces import utility as niu
from nipype.pipeline import engine as pe

from bidsapp.bids.records import Diffusion, Session
from bidsapp.config import Config
from bidsapp.interfaces.derivatives import AverageVolumes
from bidsapp.interfaces.fitting import FitDiffusion
from bidsapp.models import MODELS, Model, combine_directions
from bidsapp.models.decay import B_ZERO
from bidsapp.workflows.maps import Fitted, connect_lesions, connect_spaces, save_maps
from bidsapp.workflows.outputs import namer, save, source_uri
from bidsapp.workflows.registration import init_motion_wf
from bidsapp.workflows.series import connect_alignment, series_inputnode


def ivim_model(config: Config) -> Model:
    """Return the row of the IVIM model that was asked for."""
    return MODELS[f"ivim-{config.ivim_model}"]


def fit_options(model: Model, config: Config) -> dict[str, float]:
    """Return the range of b-values for a model that takes one; the ADC starts at zero.

    Examples
    --------
    >>> from pathlib import Path
    >>> config = Config(Path(), Path(), Path(), "run", b_max=1000.0)
    >>> fit_options(MODELS["adc"], config)
    {'b_max': 1000.0}
    """
    asked = {"b_max": config.b_max}
    if model.name != "adc":
        asked["b_min"] = config.b_min
    return {k: v for k, v in asked.items() if k in model.options}


def ivim_obstacle(series: Diffusion, config: Config) -> str | None:
    """Return why a series says nothing of IVIM, or None.

    Examples
    --------
    >>> config = Config(Path(), Path(), Path(), "run")
    >>> ivim_obstacle(Diffusion(Path(), (0.0, 1000.0), None), config)
    'no IVIM: it needs b = 0 and two b-values from 200 s/mm2; the series has 0, 1000'
    """
    shells = combine_directions(np.ones(len(series.bvalues)), series.bvalues)[0]
    has = ", ".join(f"{b:g}" for b in shells)
    if config.ivim_model == "asymptotic":
        used = (shells >= config.b_min) & (shells <= config.b_max)
        if shells[0] > 0 or used.sum() < 2:
            return (
                f"no IVIM: it needs b = 0 and two b-values from {config.b_min:g} s/mm2; "
                f"the series has {has}"
            )
    elif len(shells) < 4:
        return f"no IVIM: the bi-exponential fit needs four b-values; the series has {has}"
    return None


def init_dwi_wf(
    session: Session,
    series: Diffusion,
    config: Config,
    excluded: frozenset[int],
    reference: Path | None,
) -> pe.Workflow:
    """Return the graph of one diffusion series.

    Parameters
    ----------
    session
        Whose series it is.
    series
        The image and its b-values.
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
    workflow = pe.Workflow(name="dwi")
    inputnode = series_inputnode()
    moved = _connect_motion(workflow, session, series, config)
    b0 = pe.Node(AverageVolumes(), name="b0")
    b0.inputs.volumes = _b_zero_volumes(series)
    workflow.connect(*moved, b0, "in_file")
    aligned = connect_alignment(workflow, inputnode, b0, session, config, "dwi", cost="lpc")
    models = [MODELS["adc"]]
    if not ivim_obstacle(series, config):
        models.append(ivim_model(config))
    fits = [_connect_fit(workflow, moved, aligned.mask, series, config, m) for m in models]
    for fitted in fits:
        save_maps(workflow, fitted, session, config)
    connect_spaces(workflow, inputnode, aligned, fits, session, reference, config)
    connect_lesions(workflow, aligned, fits, moved, session, config, excluded)
    return workflow


def _b_zero_volumes(series: Diffusion) -> list[int]:
    """Return the volumes at the lowest b-value, which counts as zero below 5."""
    lowest = max(min(series.bvalues), B_ZERO)
    return [i for i, b in enumerate(series.bvalues) if b <= lowest]


def _connect_motion(
    workflow: pe.Workflow, session: Session, series: Diffusion, config: Config
) -> tuple[pe.Node, str]:
    """Correct motion onto the first b = 0 volume and write the series; or take it as it is."""
    if not config.motion_correction:
        source = pe.Node(niu.IdentityInterface(["out_file"]), name="source")
        source.inputs.out_file = str(series.image)
        return source, "out_file"
    motion = init_motion_wf("motion", nthreads=config.omp_nthreads)
    motion.inputs.inputnode.in_file = str(series.image)
    motion.inputs.inputnode.reference = _b_zero_volumes(series)[0]
    names = namer(session)
    sidecar = {"Sources": [source_uri(series.image, config)], "SkullStripped": False}
    paths = [
        names.path("dwi", "dwi", desc="preproc"),
        names.path("dwi", "timeseries", ".tsv", desc="motion"),
    ]
    writer = save("save_motion", config, paths, [sidecar, {}])
    both = pe.Node(niu.Merge(2), name="motion_files")
    workflow.connect(motion, "outputnode.out_file", both, "in1")
    workflow.connect(motion, "outputnode.motion_tsv", both, "in2")
    workflow.connect(both, "out", writer, "in_files")
    _add_gradients(workflow, session, series, config)
    return motion, "outputnode.out_file"


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
    moved: tuple[pe.Node, str],
    mask: tuple[pe.Node, str] | None,
    series: Diffusion,
    config: Config,
    model: Model,
) -> Fitted:
    """Add the node that fits one diffusion model."""
    options = fit_options(model, config)
    node = pe.Node(FitDiffusion(), name=f"fit_{model.label}", mem_gb=2)
    node.inputs.model = model.name
    node.inputs.bvalues = list(series.bvalues)
    if series.bvectors:
        node.inputs.bvectors = str(series.bvectors)
    node.inputs.options = options
    workflow.connect(*moved, node, "in_file")
    if mask:
        workflow.connect(*mask, node, "mask")
    design: dict[str, Any] = {"bvalues": list(series.bvalues), "options": options}
    return Fitted(node, model, "dwi", series.image, options, design)
