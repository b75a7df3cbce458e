"""Motion correction of a series, with either engine."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nipype.interfaces import utility as niu
from nipype.pipeline import engine as pe

from bidsapp.bids import outputs
from bidsapp.config import Config
from bidsapp.run.graphs.branch import Branch, Port
from bidsapp.run.nodes.motion import ENGINE as OWN
from bidsapp.run.nodes.motion import MOTION_SIDECAR, CorrectMotion, MotionTable
from bidsapp.run.nodes.niimath import ENGINE as NIIMATH
from bidsapp.run.nodes.niimath import MotionCorrect


@dataclass(frozen=True)
class MotionCorrected:
    """A series after motion correction, or as it was acquired.

    Attributes
    ----------
    series
        The images.
    table
        Table of its motion; None without correction.
    dropped
        The same table, if the volumes marked as outliers are to be excluded.
    acquired
        The acquired series and a matrix for each of its volumes, if these are known.
    notes
        JSON file with warnings, for the sidecar of the table.
    """

    series: Port
    table: Port | None = None
    dropped: Port | None = None
    acquired: tuple[Port, Port] | None = None
    notes: Port | None = None


def connect_motion(
    branch: Branch[Any], source: Port | None = None
) -> tuple[pe.Workflow | None, MotionCorrected]:
    """Correct the motion of a series if requested; return the graph that does so and the series.

    The series is that of the branch, or `source`.
    """
    config, source = branch.config, source or (branch.source, "out_file")
    if not config.motion_correction:
        return None, MotionCorrected(source)
    engine = config.registration_engine
    motion = init_motion_wf("motion", engine=engine, nthreads=config.omp_nthreads)
    branch.connect(source, motion, "inputnode.in_file")
    table = (motion, "outputnode.motion_tsv")
    return motion, MotionCorrected(
        (motion, "outputnode.out_file"),
        table,
        table if config.drop_outliers else None,
        (source, (motion, "outputnode.matrices")) if engine == "metperf" else None,
        (motion, "outputnode.notes"),
    )


def save_motion(branch: Branch[Any], moved: MotionCorrected, sidecar: Mapping[str, Any]) -> None:
    """Write the motion table; its sidecar also lists the warnings."""
    assert moved.table
    assert moved.notes
    writer = branch.save("save_motion", moved.table, [branch.path(outputs.MOTION)], [sidecar])
    branch.connect(moved.notes, writer, "notes")


def init_motion_wf(name: str, *, engine: str = "metperf", nthreads: int = 1) -> pe.Workflow:
    """Return the graph that aligns the volumes of a series with one of them.

    Parameters
    ----------
    name
        Name of the graph.
    engine
        ``metperf``, which allows for changes in contrast, or ``niimath``, rigid least squares.
    nthreads
        Threads of the engine; the result does not depend on it.

    Returns
    -------
    pe.Workflow
        ``inputnode``: in_file (4D), reference (number of a volume), bvalues and phase_axis (of a
        diffusion series; niimath ignores the axis). ``outputnode``: out_file, motion_tsv, notes
        (JSON), matrices (.npy; not from niimath).
    """
    workflow = pe.Workflow(name=name)
    inputs, results = ["in_file", "reference"], ["out_file", "motion_tsv", "notes"]
    inputnode = pe.Node(niu.IdentityInterface([*inputs, "bvalues", "phase_axis"]), name="inputnode")
    outputnode = pe.Node(niu.IdentityInterface([*results, "matrices"]), name="outputnode")
    if engine == "niimath":
        correct = pe.Node(MotionCorrect(num_threads=nthreads), name="correct", mem_gb=2)
        table = pe.Node(MotionTable(), name="table")
        workflow.connect(correct, "parameters", table, "parameters")
        workflow.connect(correct, "out_file", outputnode, "out_file")
        workflow.connect(table, "out_file", outputnode, "motion_tsv")
        workflow.connect(table, "notes", outputnode, "notes")
        workflow.connect(inputnode, "bvalues", table, "bvalues")
    else:
        correct = pe.Node(CorrectMotion(n_jobs=nthreads), "correct", mem_gb=3, n_procs=nthreads)
        inputs += ["bvalues", "phase_axis"]
        workflow.connect([(correct, outputnode, [(n, n) for n in (*results, "matrices")])])
    workflow.connect([(inputnode, correct, [(n, n) for n in inputs])])
    return workflow


def motion_sidecar(config: Config, phase_axis: int | None = None) -> dict[str, Any]:
    """Return the sidecar of a motion table."""
    own = config.registration_engine == "metperf"
    eddy = own and phase_axis is not None
    along = ", and sheared and scaled along the phase encoding" if eddy else ""
    return MOTION_SIDECAR | {
        "Engine": OWN if own else NIIMATH,
        "Transform": f"rigid{along}",
        "OutliersLeftOut": config.drop_outliers,
    }


def connect_dropped(branch: Branch[Any], moved: MotionCorrected, nodes: Sequence[pe.Node]) -> None:
    """Connect the table of outlying volumes to the nodes that exclude them, if requested."""
    if moved.dropped:
        for node in nodes:
            branch.connect(moved.dropped, node, "motion")


def dropped_volumes(config: Config) -> dict[str, str]:
    """Return the setting of a fit that describes the excluded volumes."""
    if not (config.drop_outliers and config.motion_correction):
        return {}
    return {"left_out": "volumes marked as outliers in desc-motion_timeseries.tsv"}
