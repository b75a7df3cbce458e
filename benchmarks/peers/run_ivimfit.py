"""ivimfit: curve_fit, voxel by voxel."""

import numpy as np
from harness import Method, run
from ivimfit.biexp import fit_biexp_free
from ivimfit.segmented import fit_biexp_segmented


def loop(function):
    def fit(data):
        found = np.array([function(data["bvalues"], s) for s in data["signal"]], float)
        return {"f": found[:, 0], "D": found[:, 1], "Dstar": found[:, 2]}

    return fit


BOTH = ("ivim6", "ivim16")
run(
    "ivimfit",
    [
        Method("bi-exponential", "ivim-biexponential", BOTH, 1000, loop(fit_biexp_free)),
        Method("segmented", "ivim-segmented", BOTH, 1000, loop(fit_biexp_segmented)),
    ],
)
