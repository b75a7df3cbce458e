"""Where every kinetic model was fitted: which of them the data support."""

from collections.abc import Sequence

from nipype.interfaces import utility as niu
from nipype.pipeline import engine as pe

from bidsapp.bids.records import Session
from bidsapp.config import Config
from bidsapp.run.graphs.maps import Fitted
from bidsapp.run.graphs.outputs import (
    identity,
    lesion_list,
    lesion_rois,
    namer,
    save,
    source_uri,
    spatial,
)
from bidsapp.run.graphs.series import Alignment, connect_labels
from bidsapp.run.graphs.t1w_grid import put_back
from bidsapp.run.nodes.model_choice import CompareModels


def connect_choice(
    workflow: pe.Workflow,
    aligned: Alignment,
    fits: Sequence[Fitted],
    session: Session,
    config: Config,
    excluded: frozenset[int],
) -> None:
    """Compare the models on the voxels that were fitted: no interpolation has mixed their fits."""
    node = pe.Node(CompareModels(), name="compare_models", mem_gb=1)
    node.inputs.models = [f.model.label for f in fits]
    node.inputs.reported = next(f.model.label for f in fits if f.tabulated)
    merge = pe.Node(niu.Merge(len(fits)), name="criteria")
    for i, fitted in enumerate(fits, 1):
        pick = pe.Node(niu.Select(), name=f"criterion_{fitted.model.label}")
        pick.inputs.index = [fitted.files.index("aicc")]
        workflow.connect(fitted.node, "out_files", pick, "inlist")
        workflow.connect(pick, "out", merge, f"in{i}")
    workflow.connect(merge, "out", node, "maps")
    rois = lesion_rois(session, aligned.series, config)
    space = "T1w" if aligned.space == "T1w" else ""
    best = put_back(workflow, (node, "best"), aligned, session, "whole_choice")
    outputs = [best]
    paths = [namer(session).path("perf", "dcemap", space=space, desc="modelchoice")]
    if rois:
        node.inputs.lesions = lesion_list(rois, excluded)
        node.inputs.identity = identity(session, "enhancing", aligned.series)
        connect_labels(workflow, aligned, rois, node, "rois")
        outputs += [(node, "out_file"), (node, "dictionary")]
        paths += [
            namer(session).path("perf", "roistats", e, seg="enhancing", desc="modelchoice")
            for e in (".tsv", ".json")
        ]
    sidecar = {
        "Description": "The model with the lowest Akaike criterion for small samples",
        "Levels": {str(i): f.model.name for i, f in enumerate(fits, 1)},
        "Sources": [source_uri(fits[0].source, config)],
        "SkullStripped": False,
    } | spatial(space)
    writer = save("save_choice", config, paths, [sidecar, {}, {}][: len(paths)])
    files = pe.Node(niu.Merge(len(paths)), name="choice_files")
    for i, port in enumerate(outputs, 1):
        workflow.connect(*port, files, f"in{i}")
    workflow.connect(files, "out", writer, "in_files")
