"""Greedy by normalised mutual information; rigid and then affine."""

from pathlib import Path

from registering import THREADS, run  # first: it sets the threads

import numpy as np  # isort: skip
from picsl_greedy import Greedy3D  # isort: skip

STAGES = {"affine": (6, 12), "rigid": (6,)}


def register(pair):
    start = "-ia-image-centers"
    for freedom in STAGES[pair["transform"]]:
        out = Path(pair["scratch"], f"{freedom}.mat")
        Greedy3D().execute(
            f"-d 3 -threads {THREADS} -seed 1 -a -dof {freedom} -i {pair['fixed']} "
            f"{pair['moving']} -m NMI {start} -n 100x50x20 -o {out}"
        )
        start = f"-ia {out}"
    return np.loadtxt(out)


run("picsl-greedy", {"NMI": register})
