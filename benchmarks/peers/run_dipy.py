"""dipy: IvimModel by trust region (one stage: segmented; two stages: bi-exponential) and VarPro."""

import numpy as np
from dipy.core.gradients import gradient_table
from dipy.reconst.ivim import IvimModel
from harness import Method, run


def ivim(**options):
    def fit(data):
        directions = np.where(data["bvalues"][:, None] > 0, [0.0, 0.0, 1.0], 0.0)
        table = gradient_table(data["bvalues"], bvecs=directions, b0_threshold=0)
        found = IvimModel(table, **options).fit(data["signal"]).model_params
        return {"f": found[..., 1], "Dstar": found[..., 2], "D": found[..., 3]}

    return fit


BOTH = ("ivim6", "ivim16")
segmented = ivim(fit_method="trr", two_stage=False)
run(
    "dipy",
    [
        Method("IvimModel trr, one stage", "ivim-segmented", BOTH, 1000, segmented),
        Method("IvimModel trr", "ivim-biexponential", BOTH, 500, ivim(fit_method="trr")),
        Method("IvimModel VarPro", "ivim-biexponential", BOTH, 50, ivim(fit_method="varpro"), 1),
    ],
)
