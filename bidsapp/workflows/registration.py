"""Registration, motion correction and the brain mask: here alone the engine is chosen."""

from typing import Literal

from nipype.interfaces import utility as niu
from nipype.pipeline import engine as pe

from bidsapp.interfaces.imaging import (
    TEMPLATE,
    BrainMask,
    FinishRegistration,
    MotionTable,
    PrepareRegistration,
)
from bidsapp.interfaces.niimath import ENGINE, Allineate, MotionCorrect

_QUICK_MARGIN = 16.0
"""Kept around the fixed brain for the quick engine, mm: it takes the edge of a tight mask for
anatomy, but with skull and scalp it does not, and without face and neck it does not go astray."""


def init_register_wf(
    name: str,
    *,
    transform: Literal["affine", "rigid"],
    cost: Literal["lpc", "lpa"],
    nthreads: int = 1,
    sloppy: bool = False,
) -> pe.Workflow:
    """Return the graph that registers one image to another.

    Parameters
    ----------
    name
        Of the graph.
    transform
        Twelve parameters or six.
    cost
        Local Pearson correlation: signed (lpc) where bright in one image is dark in the other, as
        a b = 0 image and a T1w; absolute (lpa) otherwise.
    nthreads
        Threads of the engine; the result does not depend on it.
    sloppy
        Take a quick engine, which needs seconds and does not know the local Pearson correlation:
        only the rigid part of what it finds, since its scales can be wrong by percents.

    Returns
    -------
    pe.Workflow
        ``inputnode``: moving, fixed, fixed_mask. ``outputnode``: to_fixed (ITK transform that
        resamples the moving image on the fixed grid), to_moving (its inverse), quality (JSON).

    References
    ----------
    Saad et al., NeuroImage 2009, doi:10.1016/j.neuroimage.2008.09.037.
    """
    metric = "fast" if sloppy else cost
    workflow = pe.Workflow(name=name)
    inputnode = pe.Node(niu.IdentityInterface(["moving", "fixed", "fixed_mask"]), name="inputnode")
    outputnode = pe.Node(
        niu.IdentityInterface(["to_fixed", "to_moving", "quality"]), name="outputnode"
    )
    prepare = pe.Node(PrepareRegistration(margin=_QUICK_MARGIN if sloppy else 0.0), name="prepare")
    engine = pe.Node(Allineate(cost=metric, num_threads=nthreads), name="engine")
    if not sloppy:
        engine.inputs.warp = "aff" if transform == "affine" else "shr"
        engine.inputs.source_automask = True
    finish = pe.Node(FinishRegistration(engine=ENGINE, metric=metric), name="finish")
    finish.inputs.rigid = sloppy or transform == "rigid"
    workflow.connect(
        [
            (
                inputnode,
                prepare,
                [("moving", "moving"), ("fixed", "fixed"), ("fixed_mask", "fixed_mask")],
            ),
            (prepare, engine, [("moving", "in_file"), ("fixed", "base")]),
            (inputnode, finish, [("moving", "moving"), ("fixed_mask", "fixed_mask")]),
            (prepare, finish, [("centre", "centre")]),
            (engine, finish, [("matrix", "matrix"), ("final_cost", "cost")]),
            (finish, outputnode, [(n, n) for n in ("to_fixed", "to_moving", "quality")]),
        ]
    )
    return workflow


def init_motion_wf(name: str, *, nthreads: int = 1) -> pe.Workflow:
    """Return the graph that moves the volumes of a series rigidly onto one of them.

    Parameters
    ----------
    name
        Of the graph.
    nthreads
        Threads of the engine; the result does not depend on it.

    Returns
    -------
    pe.Workflow
        ``inputnode``: in_file (4D), reference (number of a volume). ``outputnode``: out_file,
        motion_tsv.
    """
    workflow = pe.Workflow(name=name)
    inputnode = pe.Node(niu.IdentityInterface(["in_file", "reference"]), name="inputnode")
    outputnode = pe.Node(niu.IdentityInterface(["out_file", "motion_tsv"]), name="outputnode")
    correct = pe.Node(MotionCorrect(num_threads=nthreads), name="correct", mem_gb=2)
    table = pe.Node(MotionTable(), name="table")
    workflow.connect(
        [
            (inputnode, correct, [("in_file", "in_file"), ("reference", "reference")]),
            (correct, table, [("parameters", "parameters")]),
            (correct, outputnode, [("out_file", "out_file")]),
            (table, outputnode, [("out_file", "motion_tsv")]),
        ]
    )
    return workflow


def init_brain_mask_wf(name: str, *, nthreads: int = 1) -> pe.Workflow:
    """Return the graph that finds the brain in a T1w by the ICBM152 template.

    Parameters
    ----------
    name
        Of the graph.
    nthreads
        Threads of the engine; the result does not depend on it.

    Returns
    -------
    pe.Workflow
        ``inputnode``: in_file. ``outputnode``: mask.
    """
    workflow = pe.Workflow(name=name)
    inputnode = pe.Node(niu.IdentityInterface(["in_file"]), name="inputnode")
    outputnode = pe.Node(niu.IdentityInterface(["mask"]), name="outputnode")
    engine = pe.Node(
        Allineate(base=TEMPLATE, cost="fast", com=True, num_threads=nthreads), name="engine"
    )
    brain = pe.Node(BrainMask(), name="brain")
    workflow.connect(
        [
            (inputnode, engine, [("in_file", "in_file")]),
            (inputnode, brain, [("in_file", "in_file")]),
            (engine, brain, [("matrix", "matrix")]),
            (brain, outputnode, [("mask", "mask")]),
        ]
    )
    return workflow
