"""Fits on the T1w's grid: the series brought there, and what is fitted put into the whole of it."""

from dataclasses import replace
from pathlib import Path

from nipype.interfaces import utility as niu
from nipype.pipeline import engine as pe

from bidsapp.bids.records import Session
from bidsapp.config import Config
from bidsapp.models import Status
from bidsapp.run.graphs.series import Alignment, Port
from bidsapp.run.nodes.t1w_grid import PutBack, SeriesOnT1w


def connect_fit_grid(
    workflow: pe.Workflow,
    inputnode: pe.Node,
    moved: Port,
    aligned: Alignment,
    session: Session,
    config: Config,
    motion: tuple[Path, Port] | None = None,
) -> tuple[Port, Alignment]:
    """Return the series to fit and how its grid lies: its own, or the T1w's where asked for.

    A session without a T1w is fitted on the grid of its series. With `motion`, the series as it
    was acquired and a matrix for each volume (.npy), it is these volumes that are resampled on the
    T1w's grid; without, those that were corrected before.
    """
    if config.fit_space == "native" or not session.t1w or not aligned.to_t1w:
        return moved, aligned
    node = pe.Node(SeriesOnT1w(), name="series_on_t1w", mem_gb=2)
    grid = pe.Node(niu.IdentityInterface(["out_file"]), name="fit_grid")
    if motion:
        node.inputs.in_file = str(motion[0])
        workflow.connect(*motion[1], node, "motion")
    else:
        workflow.connect(*moved, node, "in_file")
    workflow.connect(*aligned.to_t1w, node, "transform")
    workflow.connect(inputnode, "t1w_mask", node, "mask")
    workflow.connect(node, "mask", grid, "out_file")
    there = replace(
        aligned,
        average=grid,
        to_t1w=None,
        to_series=None,
        mask=(node, "mask"),
        scanner=aligned.to_t1w,
    )
    return (node, "out_file"), there


def put_back(
    workflow: pe.Workflow,
    images: Port,
    aligned: Alignment,
    session: Session,
    name: str,
    outside: int = 0,
) -> Port:
    """Return images in the whole grid of the T1w, if that is where they were made; else as is."""
    if not aligned.scanner:
        return images
    node = pe.Node(PutBack(outside=outside), name=name)
    node.inputs.reference = str(session.t1w)
    workflow.connect(*images, node, "in_files")
    return node, "out_files"


def whole_maps(workflow: pe.Workflow, fit: pe.Node, aligned: Alignment, session: Session) -> Port:
    """Return the maps of a fit in the whole of the grid; outside of its part nothing was fitted."""
    name, nothing = f"whole_{fit.name}", int(Status.BAD_INPUT)
    return put_back(workflow, (fit, "out_files"), aligned, session, name, nothing)
