"""Measurement of lesions without the tissue around them, on the grid of the series."""

from collections.abc import Mapping, Sequence
from typing import Any

from nipype.pipeline import engine as pe

from bidsapp.bids import outputs
from bidsapp.run.graphs.branch import Branch, Port
from bidsapp.run.graphs.maps import Fitted
from bidsapp.run.graphs.series import Alignment, FitGrid
from bidsapp.run.graphs.sidecars import identity, lesion_list
from bidsapp.run.nodes.unmixing import UnmixLesions


def connect_unmixing(
    branch: Branch[Any],
    grid: FitGrid,
    aligned: Alignment,
    signal: Port,
    fits: Sequence[Fitted],
    inputs: Mapping[str, Port],
) -> list[pe.Node]:
    """Fit the tabulated models to the own course of each lesion, and write the table.

    Parameters
    ----------
    branch
        The branch of a series.
    grid
        Grid of the fits. Lesions are unmixed on the grid of the series, so there is no table of
        fits on the grid of the T1w.
    aligned
        Registration of the series.
    signal
        The series after motion correction.
    fits
        The fits of the series.
    inputs
        Further inputs of the node, by name.

    Returns
    -------
    list of one node, or none without an ROI
    """
    rois = branch.rois
    if not rois or grid.on_t1w:
        return []
    node = pe.Node(UnmixLesions(), name="unmix", mem_gb=2)
    node.inputs.enhancing = str(rois.image)
    if whole := branch.session.rois("whole", rois.space):
        node.inputs.whole = str(whole.image)
    node.inputs.lesions = lesion_list(rois, branch.excluded)
    node.inputs.identity = identity(branch.session, "enhancing", branch.space)
    tabulated = [fitted for fitted in fits if fitted.tabulated]
    node.inputs.models = [
        (f.model.name, f.measured_parameters, dict(f.design["options"])) for f in tabulated
    ]
    branch.connect(signal, node, "series")
    learnt = branch.merge("unmix_learnt", [(f.node, "learnt") for f in tabulated])
    branch.connect(learnt, node, "learnt")
    if rois.space == "T1w" and aligned.to_series and aligned.quality:
        branch.connect(aligned.to_series, node, "transform")
        branch.connect(aligned.quality, node, "quality")
    for name, port in inputs.items():
        branch.connect(port, node, name)
    paths = [
        branch.path(outputs.UNMIXED_VALUES, extension, model=tabulated[-1].model.label)
        for extension in outputs.UNMIXED_VALUES.extensions
    ]
    files = branch.merge("unmixed_files", [(node, "out_file"), (node, "dictionary")])
    branch.save("save_unmixed", files, paths)
    return [node]
