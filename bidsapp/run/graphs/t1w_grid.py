"""Fits on the grid of the T1w: resampling of the series, and embedding of the fitted maps."""

from typing import Any

from nipype.interfaces import utility as niu
from nipype.pipeline import engine as pe

from bidsapp.models import Status
from bidsapp.run.graphs.branch import Branch, Port
from bidsapp.run.graphs.motion import MotionCorrected
from bidsapp.run.graphs.series import Alignment, FitGrid
from bidsapp.run.nodes.t1w_grid import EmbedInGrid, SeriesOnT1w


def connect_fit_grid(
    branch: Branch[Any], moved: MotionCorrected, aligned: Alignment
) -> tuple[Port, FitGrid]:
    """Return the series to fit and its grid: the native one, or that of the T1w if requested.

    Sessions without a T1w are fitted on the native grid. On the grid of the T1w, the acquired
    volumes are resampled if a matrix is known for each, and the motion-corrected ones otherwise.
    """
    if branch.config.fit_space == "native" or not aligned.to_t1w:
        return moved.series, aligned.grid
    node = pe.Node(SeriesOnT1w(), name="series_on_t1w", mem_gb=2)
    image = pe.Node(niu.IdentityInterface(["out_file"]), name="fit_grid")
    if moved.acquired:
        branch.connect(moved.acquired[0], node, "in_file")
        branch.connect(moved.acquired[1], node, "motion")
    else:
        branch.connect(moved.series, node, "in_file")
    branch.connect(aligned.to_t1w, node, "transform")
    branch.connect((branch.inputnode, "t1w_mask"), node, "mask")
    branch.connect((node, "mask"), image, "out_file")
    grid = FitGrid((image, "out_file"), mask=(node, "mask"), to_scanner=aligned.to_t1w)
    return (node, "out_file"), grid


def embed_in_grid(
    branch: Branch[Any], images: Port, grid: FitGrid, name: str, outside: int = 0
) -> Port:
    """Return images embedded in the grid of the T1w, if they cover a part of it."""
    if not grid.on_t1w:
        return images
    node = pe.Node(EmbedInGrid(outside=outside), name=name)
    node.inputs.reference = str(branch.session.t1w)
    branch.connect(images, node, "in_files")
    return node, "out_files"


def embed_maps(branch: Branch[Any], fit: pe.Node, grid: FitGrid) -> Port:
    """Return the maps of a fit on the whole grid, with the status of unfitted voxels."""
    return embed_in_grid(
        branch, (fit, "out_files"), grid, f"whole_{fit.name}", int(Status.BAD_INPUT)
    )
