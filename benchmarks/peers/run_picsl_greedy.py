"""Greedy: affine or rigid registration by normalised mutual information."""

from pathlib import Path

from registering import THREADS, run  # first: it sets the threads

import numpy as np  # isort: skip
from picsl_greedy import Greedy3D  # isort: skip

FREEDOM = {"affine": 12, "rigid": 6}


def by(metric):
    def register(pair):
        out = Path(pair["scratch"], "matrix.mat")
        Greedy3D().execute(
            f"-d 3 -threads {THREADS} -seed 1 -a -dof {FREEDOM[pair['transform']]} "
            f"-i {pair['brain']} {pair['moving']} -m {metric} -ia-image-centers "
            f"-n 100x50x20 -o {out}"
        )
        return np.loadtxt(out)

    return register


run("picsl-greedy", {"NMI": by("NMI")})
