"""What becomes of fitted maps: written, brought to other spaces, measured in lesions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nipype.interfaces import utility as niu
from nipype.pipeline import engine as pe

from bidsapp.bids.records import Rois, Session, Space
from bidsapp.config import Config
from bidsapp.models import Model
from bidsapp.run.graphs.outputs import (
    analysis_space,
    identity,
    lesion_list,
    lesion_rois,
    map_path,
    map_sidecar,
    namer,
    save,
    source_uri,
)
from bidsapp.run.graphs.series import Alignment, Port
from bidsapp.run.nodes.apply_transform import ApplyTransform
from bidsapp.run.nodes.fitting import map_names
from bidsapp.run.nodes.lesion_fractions import LesionFractions
from bidsapp.run.nodes.lesions import LesionCurves, RoiStatistics

_DATATYPE = {"dwi": "dwi", "dce": "perf"}


@dataclass(frozen=True)
class Fitted:
    """A node that fitted a model: to which image, with which options and which design.

    Its maps are those on the whole of the grid. Of several kinetic models one is tabulated for the
    lesions.
    """

    node: pe.Node
    maps: Port
    model: Model
    datatype: str
    source: Path
    options: Mapping[str, Any]
    design: Mapping[str, Any]
    tabulated: bool = True

    @property
    def files(self) -> list[str]:
        """Names of the maps that the node gives, in its order."""
        return map_names(self.model, aicc=bool(self.node.inputs.aicc))

    @property
    def measured(self) -> list[str]:
        """Names of the parameters that the lesion tables show."""
        names = [p.name for p in self.model.parameters]
        return ["ADC"] if self.model.name == "adc" else names


def save_maps(
    workflow: pe.Workflow, fitted: Fitted, aligned: Alignment, session: Session, config: Config
) -> None:
    """Write the maps of a fit in the space where they were fitted."""
    names = fitted.files
    space = "T1w" if aligned.space == "T1w" else ""
    paths = [map_path(session, fitted.datatype, fitted.model, n, space) for n in names]
    sidecars = [
        map_sidecar(fitted.model, n, fitted.source, config, fitted.options, space) for n in names
    ]
    wanted = aligned.space in config.output_spaces or not session.t1w
    writer = save(
        f"save_{fitted.model.label}", config, [p if wanted else None for p in paths], sidecars
    )
    workflow.connect(*fitted.maps, writer, "in_files")
    workflow.connect(fitted.node, "learnt", writer, "learnt")


def connect_spaces(
    workflow: pe.Workflow,
    inputnode: pe.Node,
    aligned: Alignment,
    fits: Sequence[Fitted],
    session: Session,
    reference: Path | None,
    config: Config,
) -> None:
    """Bring the parameter maps onto the T1w, if they are not there, and onto the baseline T1w."""
    if not session.t1w:
        return
    if aligned.space == "native" and "T1w" in (config.roi_space, *config.output_spaces):
        _connect_space(workflow, inputnode, aligned, fits, session, reference, config, "T1w")
    if reference and "individual" in config.output_spaces:
        _connect_space(workflow, inputnode, aligned, fits, session, reference, config, "individual")


def _connect_space(
    workflow: pe.Workflow,
    inputnode: pe.Node,
    aligned: Alignment,
    fits: Sequence[Fitted],
    session: Session,
    reference: Path | None,
    config: Config,
    space: str,
) -> None:
    """Resample the parameter maps once, through all transforms, and write them."""
    merge = selected_maps(workflow, fits, f"maps_for_{space}")
    if space == "T1w":
        errors = selected_maps(workflow, fits, "errors_for_T1w", errors=True)
        merge = joined(workflow, "all_for_T1w", (merge, "out"), (errors, "out"))
    onto = pe.Node(ApplyTransform(), name=f"maps_to_{space}", mem_gb=1)
    workflow.connect(merge, "out", onto, "in_files")
    onto.inputs.reference = str(session.t1w if space == "T1w" else reference)
    if aligned.to_t1w:
        workflow.connect(*aligned.to_t1w, onto, "transform")
    if space == "individual" and session.t1w != reference:
        workflow.connect(
            inputnode, "to_individual", onto, "then" if aligned.to_t1w else "transform"
        )
    if space in config.output_spaces:
        pairs = [(f, n) for f in fits for n in f.measured]
        pairs += [(f, f"{n}_stderr") for f, n in pairs] if space == "T1w" else []
        paths = [map_path(session, f.datatype, f.model, n, space) for f, n in pairs]
        sidecars = [map_sidecar(f.model, n, f.source, config, f.options, space) for f, n in pairs]
        writer = save(f"save_{space}", config, paths, sidecars)
        learnt = pe.Node(niu.Merge(len(fits)), name=f"learnt_for_{space}")
        for i, fitted in enumerate(fits, 1):
            workflow.connect(fitted.node, "learnt", learnt, f"in{i}")
        workflow.connect(onto, "out_files", writer, "in_files")
        workflow.connect(learnt, "out", writer, "learnt")


def joined(workflow: pe.Workflow, name: str, *ports: Port) -> pe.Node:
    """Return a node whose ``out`` lists the files of several ports."""
    node = pe.Node(niu.Merge(len(ports)), name=name)
    for i, port in enumerate(ports, 1):
        workflow.connect(*port, node, f"in{i}")
    return node


def selected_maps(
    workflow: pe.Workflow, fits: Sequence[Fitted], name: str, *, errors: bool = False
) -> pe.Node:
    """Return a node whose ``out`` lists the parameter maps of several fits, or their errors."""
    merge = pe.Node(niu.Merge(len(fits)), name=name)
    for i, fitted in enumerate(fits, 1):
        pick = pe.Node(niu.Select(), name=f"{name}_{fitted.model.label}")
        kind = "_stderr" if errors else ""
        pick.inputs.index = [fitted.files.index(f"{n}{kind}") for n in fitted.measured]
        workflow.connect(*fitted.maps, pick, "inlist")
        workflow.connect(pick, "out", merge, f"in{i}")
    return merge


def connect_lesions(
    workflow: pe.Workflow,
    aligned: Alignment,
    fits: Sequence[Fitted],
    series: Port,
    session: Session,
    config: Config,
    excluded: frozenset[int],
) -> list[pe.Node]:
    """Measure the maps in the enhancing part of each lesion, and fit the lesions' mean courses.

    Returns the nodes that fit courses; none without an ROI.
    """
    rois = lesion_rois(session, aligned.series, config)
    if not rois:
        return []
    tabulated = [fitted for fitted in fits if fitted.tabulated]
    main = tabulated[-1]
    names = namer(session)
    space = analysis_space(session, aligned.series, config)
    statistics = pe.Node(RoiStatistics(), name="lesions")
    statistics.inputs.lesions = lesion_list(rois, excluded)
    statistics.inputs.identity = identity(session, "enhancing", space)
    statistics.inputs.parameters = [
        (n, f.model.parameter(n).unit, f.model.label) for f in tabulated for n in f.measured
    ]
    resampled = space == "T1w" and aligned.space == "native"
    _connect_tabulated(workflow, fits, statistics, resampled)
    workflow.connect(aligned.average, "out_file", statistics, "series")
    writer = save(
        "save_lesions",
        config,
        [
            names.path(main.datatype, "roistats", e, seg="enhancing", model=main.model.label)
            for e in (".tsv", ".json")
        ],
    )
    both = pe.Node(niu.Merge(2), name="lesion_files")
    workflow.connect(
        [
            (statistics, both, [("out_file", "in1"), ("dictionary", "in2")]),
            (both, writer, [("out", "in_files")]),
        ]
    )
    curves = _connect_curves(workflow, aligned, main, series, session, config, statistics)
    _connect_regions(workflow, aligned, rois, space, session, config, (statistics, curves))
    return [curves]


def _connect_tabulated(
    workflow: pe.Workflow, fits: Sequence[Fitted], statistics: pe.Node, resampled: bool
) -> None:
    """Give the maps of the fits that are tabulated to a node, and their standard errors."""
    tabular = [f.tabulated for f in fits for _ in f.measured]
    chosen = [i for i, wanted in enumerate(tabular) if wanted]
    for name, first in (("maps", 0), ("errors", len(tabular))):
        if resampled:
            pick = pe.Node(niu.Select(), name=f"{name}_tabulated")
            pick.inputs.index = [first + i for i in chosen]
            workflow.connect(workflow.get_node("maps_to_T1w"), "out_files", pick, "inlist")
        else:
            tabulated = [fitted for fitted in fits if fitted.tabulated]
            pick = selected_maps(workflow, tabulated, f"{name}_tabulated", errors=first > 0)
        workflow.connect(pick, "out", statistics, name)


def _connect_regions(
    workflow: pe.Workflow,
    aligned: Alignment,
    rois: Rois,
    space: Space,
    session: Session,
    config: Config,
    nodes: Sequence[pe.Node],
) -> None:
    """Give the lesions to nodes: as drawn, or as fractions of the voxels of the series."""
    if rois.space == space:
        for node in nodes:
            node.inputs.rois = str(rois.image)
        return
    assert aligned.to_series is not None
    fractions = pe.Node(LesionFractions(), name="lesion_fractions")
    fractions.inputs.rois = str(rois.image)
    fractions.inputs.lesions = [lesion.index for lesion in rois.lesions]
    workflow.connect(aligned.average, "out_file", fractions, "reference")
    workflow.connect(*aligned.to_series, fractions, "transform")
    for node in nodes:
        workflow.connect(fractions, "out_file", node, "fractions")
    sidecar = {
        "Description": "Fraction of each voxel inside each lesion: its weight in the lesion table",
        "LabelMap": [lesion.name for lesion in rois.lesions],
        "Sources": [source_uri(rois.image, config)],
    }
    path = namer(session).path(_DATATYPE[aligned.series], "probseg", seg="enhancing")
    writer = save("save_fractions", config, [path], [sidecar])
    workflow.connect(fractions, "out_file", writer, "in_files")


def _connect_curves(
    workflow: pe.Workflow,
    aligned: Alignment,
    fitted: Fitted,
    series: Port,
    session: Session,
    config: Config,
    statistics: pe.Node,
) -> pe.Node:
    """Average the series over each lesion, fit the model to it, and write both."""
    curves = pe.Node(LesionCurves(), name="curves")
    curves.inputs.lesions = statistics.inputs.lesions
    curves.inputs.model = fitted.model.name
    curves.inputs.options = fitted.design["options"]
    arterial = fitted.design.get("arterial")
    if arterial:
        workflow.connect(*arterial, curves, "arterial")
    else:
        workflow.connect(fitted.node, "learnt", curves, "learnt")
        curves.inputs.bvalues = fitted.design["bvalues"]
    workflow.connect(*series, curves, "series")
    if aligned.to_t1w and analysis_space(session, aligned.series, config) == "T1w":
        workflow.connect(*aligned.to_t1w, curves, "to_series")
    desc = "concentration" if arterial else "signal"
    path = namer(session).path(fitted.datatype, "timeseries", ".tsv", seg="enhancing", desc=desc)
    writer = save("save_curves", config, [path])
    workflow.connect(curves, "out_file", writer, "in_files")
    return curves
