"""A user's own transform, in place of a registration."""

from collections.abc import Sequence
from pathlib import Path

from nipype.interfaces import utility as niu
from nipype.pipeline import engine as pe

from bidsapp.interfaces.given import TakeTransform


def init_given_wf(name: str, transforms: Sequence[Path]) -> pe.Workflow:
    """Return the graph that takes a given transform where ``init_register_wf`` would find one.

    Parameters
    ----------
    name
        Of the graph.
    transforms
        ITK text files; more than one stops the graph with a reason.

    Returns
    -------
    pe.Workflow
        ``inputnode`` and ``outputnode`` have the fields of ``init_register_wf``.
    """
    workflow = pe.Workflow(name=name)
    inputnode = pe.Node(niu.IdentityInterface(["moving", "fixed", "fixed_mask"]), name="inputnode")
    outputnode = pe.Node(
        niu.IdentityInterface(["to_fixed", "to_moving", "quality"]), name="outputnode"
    )
    take = pe.Node(TakeTransform(), name="take")
    take.inputs.transforms = [str(t) for t in transforms]
    take.inputs.source = transforms[0].name
    workflow.connect(
        [
            (inputnode, take, [("moving", "moving"), ("fixed_mask", "fixed_mask")]),
            (take, outputnode, [(n, n) for n in ("to_fixed", "to_moving", "quality")]),
        ]
    )
    return workflow
