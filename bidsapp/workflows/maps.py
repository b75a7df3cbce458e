"""What becomes of fitted maps: written, brought to other spaces, measured in lesions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nipype.interfaces import utility as niu
from nipype.pipeline import engine as pe

from bidsapp.bids.records import Session
from bidsapp.config import Config
from bidsapp.interfaces.fitting import map_names
from bidsapp.interfaces.imaging import ApplyTransform
from bidsapp.interfaces.lesions import LesionCurves, RoiStatistics
from bidsapp.models import Model
from bidsapp.workflows.outputs import (
    analysis_space,
    identity,
    lesion_list,
    map_path,
    map_sidecar,
    namer,
    save,
)
from bidsapp.workflows.series import Alignment, Port

_DATATYPE = {"dwi": "dwi", "dce": "perf"}


@dataclass(frozen=True)
class Fitted:
    """A node that fitted a model: to which image, with which options and which design.

    Of several kinetic models one is tabulated for the lesions.
    """

    node: pe.Node
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


def save_maps(workflow: pe.Workflow, fitted: Fitted, session: Session, config: Config) -> None:
    """Write the maps of a fit in the space of its series."""
    names = fitted.files
    paths = [map_path(session, fitted.datatype, fitted.model, n) for n in names]
    sidecars = [map_sidecar(fitted.model, n, fitted.source, config, fitted.options) for n in names]
    wanted = "native" in config.output_spaces
    writer = save(
        f"save_{fitted.model.label}", config, [p if wanted else None for p in paths], sidecars
    )
    workflow.connect(fitted.node, "out_files", writer, "in_files")
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
    """Bring the parameter maps onto the T1w and, where asked, onto the baseline T1w."""
    if not aligned.to_t1w:
        return
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
    assert aligned.to_t1w is not None
    merge = selected_maps(workflow, fits, f"maps_for_{space}")
    onto = pe.Node(ApplyTransform(), name=f"maps_to_{space}", mem_gb=1)
    workflow.connect(merge, "out", onto, "in_files")
    onto.inputs.reference = str(session.t1w if space == "T1w" else reference)
    workflow.connect(*aligned.to_t1w, onto, "transform")
    if space == "individual" and session.t1w != reference:
        workflow.connect(inputnode, "to_individual", onto, "then")
    if space in config.output_spaces:
        pairs = [(f, n) for f in fits for n in f.measured]
        paths = [map_path(session, f.datatype, f.model, n, space) for f, n in pairs]
        sidecars = [map_sidecar(f.model, n, f.source, config, f.options, space) for f, n in pairs]
        writer = save(f"save_{space}", config, paths, sidecars)
        learnt = pe.Node(niu.Merge(len(fits)), name=f"learnt_for_{space}")
        for i, fitted in enumerate(fits, 1):
            workflow.connect(fitted.node, "learnt", learnt, f"in{i}")
        workflow.connect(onto, "out_files", writer, "in_files")
        workflow.connect(learnt, "out", writer, "learnt")


def selected_maps(workflow: pe.Workflow, fits: Sequence[Fitted], name: str) -> pe.Node:
    """Return a node whose ``out`` lists the parameter maps of several fits."""
    merge = pe.Node(niu.Merge(len(fits)), name=name)
    for i, fitted in enumerate(fits, 1):
        pick = pe.Node(niu.Select(), name=f"{name}_{fitted.model.label}")
        pick.inputs.index = [fitted.files.index(n) for n in fitted.measured]
        workflow.connect(fitted.node, "out_files", pick, "inlist")
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
) -> None:
    """Measure the maps in the enhancing part of each lesion, and fit the lesions' mean courses."""
    rois = session.rois("enhancing", analysis_space(session, aligned.series))
    if not rois:
        return
    tabulated = [fitted for fitted in fits if fitted.tabulated]
    main = tabulated[-1]
    names = namer(session)
    statistics = pe.Node(RoiStatistics(), name="lesions")
    statistics.inputs.rois = str(rois.image)
    statistics.inputs.lesions = lesion_list(rois, excluded)
    statistics.inputs.identity = identity(session, "enhancing")
    statistics.inputs.parameters = [
        (n, f.model.parameter(n).unit, f.model.label) for f in tabulated for n in f.measured
    ]
    if aligned.to_t1w:
        pick = pe.Node(niu.Select(), name="maps_tabulated")
        tabular = [f.tabulated for f in fits for _ in f.measured]
        pick.inputs.index = [i for i, wanted in enumerate(tabular) if wanted]
        workflow.connect(workflow.get_node("maps_to_T1w"), "out_files", pick, "inlist")
        workflow.connect(pick, "out", statistics, "maps")
    else:
        native = selected_maps(workflow, tabulated, "maps_native")
        workflow.connect(native, "out", statistics, "maps")
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
    _connect_curves(workflow, aligned, main, series, session, config, statistics)


def _connect_curves(
    workflow: pe.Workflow,
    aligned: Alignment,
    fitted: Fitted,
    series: Port,
    session: Session,
    config: Config,
    statistics: pe.Node,
) -> None:
    """Average the series over each lesion, fit the model to it, and write both."""
    curves = pe.Node(LesionCurves(), name="curves")
    curves.inputs.rois = statistics.inputs.rois
    curves.inputs.lesions = statistics.inputs.lesions
    curves.inputs.model = fitted.model.name
    arterial = fitted.design.get("arterial")
    if arterial:
        workflow.connect(*arterial, curves, "arterial")
    else:
        workflow.connect(fitted.node, "learnt", curves, "learnt")
        curves.inputs.bvalues = fitted.design["bvalues"]
        curves.inputs.options = fitted.design["options"]
    workflow.connect(*series, curves, "series")
    if aligned.to_t1w:
        workflow.connect(*aligned.to_t1w, curves, "to_series")
    desc = "concentration" if arterial else "signal"
    path = namer(session).path(fitted.datatype, "timeseries", ".tsv", seg="enhancing", desc=desc)
    writer = save("save_curves", config, [path])
    workflow.connect(curves, "out_file", writer, "in_files")
