"""qmri: it has no IVIM and no DCE model, but an ADC."""

import numpy as np
from harness import Method, run
from qmri.diffusion import adc


def line(method):
    def fit(data):
        return {"ADC": np.asarray(adc.fit(data["signal"], data["bvalues"], method=method).adc)}

    return fit


BOTH = ("ivim6", "ivim16")
run(
    "qmri",
    [
        Method("ADC, lls", "adc", BOTH, 20000, line("lls")),
        Method("ADC, wlls", "adc", BOTH, 20000, line("wlls")),
    ],
)
