"""dcmri: TissueArray with kinetics HF, the extended Tofts model; it fits signals."""

import dcmri
import numpy as np
from harness import Method, run

R10, RELAXIVITY, REPETITION_TIME, ANGLE, S0 = 1 / 1.4, 4500.0, 0.005, 15.0, 1000.0  # Hz, Hz/M, s


def fit(data):
    haematocrit = float(data["haematocrit"])
    shape, seconds = (len(data["signal"]),), data["time"] * 60
    rate = R10 + RELAXIVITY * data["signal"] / 1000
    blood = data["plasma"] * (1 - haematocrit) / 1000
    model = dcmri.TissueArray(
        shape, kinetics="HF", sequence="SS", t=seconds, ca=blood,
        r1=RELAXIVITY, R10=R10, TR=REPETITION_TIME, FA=ANGLE, H=haematocrit, n0=6,
    )  # fmt: skip
    model.S0 = np.full(shape, S0)
    model.train(seconds, dcmri.signal_ss(S0, rate, REPETITION_TIME, ANGLE), init_s0=False)
    return {
        "Ktrans": np.asarray(model.PS, float) * 60,
        "ve": np.asarray(model.vi, float),
        "vp": np.asarray(model.vb, float) * (1 - haematocrit),
    }


run("dcmri", [Method("TissueArray, HF", "extended-tofts", ("dce",), 500, fit)])
