"""A branch of a session: the graph of its DWI or DCE series, with the data all steps need."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from nipype.interfaces import utility as niu
from nipype.pipeline import engine as pe

from bidsapp.bids.output import Output
from bidsapp.bids.outputs import DATATYPES
from bidsapp.bids.records import Diffusion, Dynamic, Rois, Session, Space
from bidsapp.config import FOUND_ROIS, Config
from bidsapp.run.graphs.plan import SessionPlan
from bidsapp.run.graphs.sidecars import analysis_space, lesion_rois, save_node
from bidsapp.run.nodes.derivatives import LeaveOutVolumes

Port = tuple[pe.Node, str]
"""A node and the name of one of its outputs."""

SeriesRecord = TypeVar("SeriesRecord", Diffusion, Dynamic)


@dataclass(frozen=True)
class Branch(Generic[SeriesRecord]):
    """The graph of one series under construction; functions named ``connect_*`` add steps to it.

    Attributes
    ----------
    space
        ``dwi`` or ``dce``; also the name of the graph.
    series
        The image and how it was acquired.
    plan
        The plan of its session.
    config
        Configuration of the run.
    excluded
        Lesions marked as excluded in any table.
    reference
        The baseline T1w, if there is one.
    workflow
        The graph.
    source
        Gives the series that is analysed, ``out_file``, and its gradients, ``gradients``.
    inputnode
        Provides ``t1w_mask``, ``to_individual``, ``reference_mask``, and the regions that are
        found on the T1w; unused without a T1w; and ``dose_regions``.
    has_dose
        Whether the session has a dose.
    """

    space: Space
    series: SeriesRecord
    plan: SessionPlan
    config: Config
    excluded: frozenset[int]
    reference: Path | None
    workflow: pe.Workflow
    source: pe.Node
    inputnode: pe.Node
    has_dose: bool = False

    @property
    def session(self) -> Session:
        """The session of the series."""
        return self.plan.session

    @property
    def datatype(self) -> str:
        """The BIDS data type of the series: ``dwi`` or ``perf``."""
        return DATATYPES[self.space]

    @property
    def rois(self) -> Rois | None:
        """The ROIs of the enhancing parts, in which the series is measured."""
        return lesion_rois(self.session, self.space, self.config)

    @property
    def analysis_space(self) -> Space:
        """The space in which lesions are measured."""
        return analysis_space(self.session, self.space, self.config)

    def path(self, output: Output, extension: str = "", **entities: str) -> Path:
        """Return the path of a file of the session, relative to the derivatives."""
        datatype = self.datatype if self.datatype in output.datatypes else ""
        return output.path(self.session, datatype, extension, **entities)

    def connect(self, source: Port, node: pe.Node, field: str) -> None:
        """Connect an output to the input `field` of a node."""
        self.workflow.connect(*source, node, field)

    def merge(self, name: str, sources: Sequence[Port]) -> Port:
        """Return the output of a node that merges several outputs into a list."""
        node = pe.Node(niu.Merge(len(sources)), name=name)
        for number, source in enumerate(sources, 1):
            self.connect(source, node, f"in{number}")
        return node, "out"

    def save(
        self,
        name: str,
        source: Port,
        paths: Sequence[Path | None],
        sidecars: Sequence[Mapping[str, Any]] | None = None,
    ) -> pe.Node:
        """Write the files of an output, and return the node that does so."""
        writer = save_node(name, self.config, paths, sidecars)
        self.connect(source, writer, "in_files")
        return writer


def begin_branch(
    space: Space,
    series: SeriesRecord,
    plan: SessionPlan,
    config: Config,
    excluded: frozenset[int],
    reference: Path | None,
    has_dose: bool = False,
) -> Branch[SeriesRecord]:
    """Return a branch without steps; see `Branch` for the arguments."""
    inputs = ["t1w_mask", "to_individual", "reference_mask", "dose_regions", *FOUND_ROIS]
    inputnode = pe.Node(niu.IdentityInterface(inputs), name="inputnode")
    workflow = pe.Workflow(name=space)
    source = _source_node(series)
    workflow.add_nodes([source])
    return Branch(
        space, series, plan, config, excluded, reference, workflow, source, inputnode, has_dose
    )


def _source_node(series: Diffusion | Dynamic) -> pe.Node:
    """Return the node that gives a series in four axes, without the volumes that are left out."""
    gradients = gradient_files(series) if isinstance(series, Diffusion) else []
    if not series.left_out and not series.fifth_axis:
        source = pe.Node(niu.IdentityInterface(["out_file", "gradients"]), name="source")
        source.inputs.out_file, source.inputs.gradients = str(series.image), gradients
        return source
    source = pe.Node(LeaveOutVolumes(), name="source", mem_gb=2)
    source.inputs.in_file, source.inputs.in_gradients = str(series.image), gradients
    source.inputs.volumes = list(series.left_out)
    return source


def gradient_files(series: Diffusion) -> list[str]:
    """Return the ``.bval`` and ``.bvec`` files of a diffusion series that exist."""
    bval = series.image.with_name(series.image.name.split(".")[0] + ".bval")
    return [str(path) for path in (bval, series.bvectors) if path is not None and path.exists()]
