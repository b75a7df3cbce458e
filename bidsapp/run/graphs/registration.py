"""Registration of one image to another, with either engine."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from nipype.pipeline import engine as pe

from bidsapp.config import Config
from bidsapp.run.nodes.registration import Register
from bidsapp.run.nodes.user_transform import TakeTransform


def register_node(
    name: str,
    fixed: Path,
    given: Sequence[Path],
    config: Config,
    *,
    transform: Literal["affine", "rigid"],
    metric: Literal["lpc", "lpa", "lpp"],
) -> pe.Node:
    """Return the node that registers an image to another, or applies the user's transform.

    Parameters
    ----------
    name
        Name of the node.
    fixed
        The fixed image.
    given
        The user's ITK transforms; more than one is an error of the node.
    config
        Configuration of the run.
    transform
        Twelve parameters or six. Sessions are registered rigidly and symmetrically.
    metric
        Local Pearson correlation: ``lpc`` for images of opposite contrast, such as b = 0 and T1w;
        ``lpp`` for similar contrasts; ``lpa`` for either.

    Returns
    -------
    pe.Node
        Inputs: moving and fixed_mask. Outputs: to_fixed (ITK transform that resamples the moving
        image to the fixed grid), to_moving (its inverse) and quality (JSON).

    References
    ----------
    Saad et al., NeuroImage 2009, doi:10.1016/j.neuroimage.2008.09.037.
    """
    node = pe.Node(TakeTransform() if given else Register(), name=name, mem_gb=1.5)
    node.inputs.fixed = str(fixed)
    node.inputs.transform = "rigid" if config.sloppy else transform
    node.inputs.metric = metric
    node.inputs.second_opinion = not config.sloppy
    if given:
        node.inputs.transforms = [str(path) for path in given]
        node.inputs.source = given[0].name
        return node
    node.inputs.symmetric = transform == "rigid"
    node.inputs.engine = config.registration_engine
    node.inputs.num_threads = config.omp_nthreads
    return node
