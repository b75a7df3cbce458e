"""osipy: batched Levenberg-Marquardt, and its Bayesian fits."""

import logging

from harness import Method, run
from osipy.dce.fitting import fit_model
from osipy.ivim.fitting.estimators import FittingMethod, IVIMFitParams, fit_ivim

logging.disable(logging.CRITICAL)
B_MIN = 200.0


def ivim(method):
    def fit(data):
        found = fit_ivim(
            data["signal"][:, None, None, :],
            data["bvalues"],
            params=IVIMFitParams(method=method, b_threshold=B_MIN),
        )
        maps = {"f": found.f_map, "D": found.d_map, "Dstar": found.d_star_map}
        return {name: values.values for name, values in maps.items()}

    return fit


def tofts(fitter):
    def fit(data):
        curves = data["signal"][:, None, None, :]  # it takes no (voxels, frames) array
        found = fit_model(
            "extended_tofts", curves, data["plasma"], data["time"] * 60, fitter=fitter
        )
        return {name: found.parameter_maps[name].values for name in ("Ktrans", "ve", "vp")}

    return fit


BOTH, DCE = ("ivim6", "ivim16"), ("dce",)
SEGMENTED, FULL, BAYES = FittingMethod.SEGMENTED, FittingMethod.FULL, FittingMethod.BAYESIAN
run(
    "osipy",
    [
        Method("extended Tofts, LM", "extended-tofts", DCE, 20000, tofts("lm")),
        Method("IVIM segmented", "ivim-segmented", BOTH, 20000, ivim(SEGMENTED)),
        Method("IVIM full", "ivim-biexponential", BOTH, 20000, ivim(FULL)),
        Method("IVIM Bayesian", "ivim-bayesian", BOTH, 2000, ivim(BAYES), repeats=1),
    ],
)
