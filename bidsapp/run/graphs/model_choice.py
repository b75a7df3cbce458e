"""Comparison of kinetic models, if all were fitted."""

from collections.abc import Sequence

from nipype.pipeline import engine as pe

from bidsapp.bids import outputs
from bidsapp.bids.records import Dynamic
from bidsapp.run.graphs.branch import Branch
from bidsapp.run.graphs.maps import Fitted, select_files
from bidsapp.run.graphs.series import FitGrid, connect_labels
from bidsapp.run.graphs.sidecars import identity, lesion_list, source_uris, spatial_reference
from bidsapp.run.graphs.t1w_grid import embed_in_grid
from bidsapp.run.nodes.model_choice import CompareModels


def connect_model_comparison(
    branch: Branch[Dynamic], grid: FitGrid, fits: Sequence[Fitted]
) -> None:
    """Compare the models on the grid of the fits, without interpolation."""
    node = pe.Node(CompareModels(), name="compare_models", mem_gb=1)
    node.inputs.models = [f.model.label for f in fits]
    node.inputs.reported = next(f.model.label for f in fits if f.tabulated)
    criteria = [
        select_files(
            branch, (f.node, "out_files"), f"criterion_{f.model.label}", [f.files.index("aicc")]
        )
        for f in fits
    ]
    branch.connect(branch.merge("criteria", criteria), node, "maps")
    results = [embed_in_grid(branch, (node, "best"), grid, "whole_choice")]
    paths = [branch.path(outputs.BEST_MODEL_MAP, space=grid.entity)]
    if rois := branch.rois:
        node.inputs.lesions = lesion_list(rois, branch.excluded)
        node.inputs.identity = identity(branch.session, "enhancing", branch.space)
        connect_labels(branch, grid, rois, node, "rois")
        results += [(node, "out_file"), (node, "dictionary")]
        paths += [
            branch.path(outputs.BEST_MODEL_TABLE, extension)
            for extension in outputs.BEST_MODEL_TABLE.extensions
        ]
    sidecar = {
        "Description": "The model with the lowest Akaike criterion for small samples",
        "Levels": {str(i): f.model.name for i, f in enumerate(fits, 1)},
        "Sources": source_uris(branch.series.sources, branch.config),
        "SkullStripped": False,
    } | spatial_reference(grid.entity)
    files = branch.merge("choice_files", results)
    branch.save("save_choice", files, paths, [sidecar, {}, {}][: len(paths)])
