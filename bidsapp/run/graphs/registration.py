"""Registration; only here is its engine chosen."""

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
    """Return the node that registers an image to another, or uses the user's transform.

    Parameters
    ----------
    name
        Of the node.
    fixed
        The image that stays.
    given
        The user's ITK transforms; with more than one the node stops with a reason.
    config
        Which engine, and how.
    transform
        Twelve parameters or six. Two sessions are registered rigidly, and from both sides.
    metric
        Local Pearson correlation: ``lpc`` where bright in one image is dark in the other, as a
        b = 0 image and a T1w; ``lpp`` where contrasts are similar; ``lpa`` for either.

    Returns
    -------
    pe.Node
        Takes moving and fixed_mask; gives to_fixed (ITK transform that resamples the moving image
        on the fixed grid), to_moving (its inverse) and quality (JSON).

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
