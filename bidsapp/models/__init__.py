"""Models of perfusion and diffusion: arrays in, arrays out.

`fit` fits any row of `MODELS` to an array of any shape; nothing here depends on files or BIDS.

Examples
--------
Three calls lead from a dynamic series to maps of Ktrans, ve and vp: a population-averaged arterial
input, timed by the rise of the signal; the conversion of the signal to concentration; and the fit
of a model. `measured_input` uses the signal of an artery instead of a population average;
`fit_masked` fits inside a mask.

>>> import numpy as np
>>> time = np.arange(60) * 5.2 / 60  # min
>>> spgr = Spgr(repetition_time=0.004, flip_angle=np.deg2rad(15), relaxivity=4.5)  # s, rad, 1/s/mM
>>> truth = {"Ktrans": np.full((2, 2), 0.1), "kep": 0.4, "vp": 0.05}
>>> plasma = plasma_from_blood(parker2006(time, 0.65), 0.42)
>>> agent = MODELS["extended-tofts"].predict(truth, time=time, plasma=plasma)  # mM
>>> signal = spgr_signal(contrast_r1(agent, 1.4, 4.5), 0.004, np.deg2rad(15))  # (2, 2, 60)

>>> arterial = population_input("parker2006", signal.mean(axis=(0, 1)), time,
...                             t1_blood=1.65, spgr=spgr, haematocrit=0.42)
>>> concentration = to_concentration(signal, arterial.baseline_frames, t1=1.4, spgr=spgr)
>>> maps = fit("extended-tofts", concentration, time=time, plasma=arterial.plasma)
>>> maps
Fit(extended-tofts, shape (2, 2): 4 OK)
>>> maps.values["Ktrans"].round(2)
array([[0.1, 0.1],
       [0.1, 0.1]])
"""

from bidsapp.models.contrast.aif import georgiou2019, parker2006, plasma_from_blood
from bidsapp.models.contrast.artery import find_artery
from bidsapp.models.contrast.enhancement import (
    ArterialInput,
    Spgr,
    measured_input,
    population_input,
    to_concentration,
)
from bidsapp.models.contrast.spgr import contrast_r1, spgr_signal
from bidsapp.models.diffusion.adc import combine_directions
from bidsapp.models.dipy_interface import (
    DiffusionModel,
    IvimFit,
    IvimModel,
    combine_for_model,
    count_directions,
)
from bidsapp.models.fitting import fit, fit_masked
from bidsapp.models.parameters import Parameter
from bidsapp.models.result import Fit
from bidsapp.models.solver.base import Model, Status
from bidsapp.models.table import MODELS

__all__ = [
    "MODELS",
    "ArterialInput",
    "DiffusionModel",
    "Fit",
    "IvimFit",
    "IvimModel",
    "Model",
    "Parameter",
    "Spgr",
    "Status",
    "combine_directions",
    "combine_for_model",
    "contrast_r1",
    "count_directions",
    "find_artery",
    "fit",
    "fit_masked",
    "georgiou2019",
    "measured_input",
    "parker2006",
    "plasma_from_blood",
    "population_input",
    "spgr_signal",
    "to_concentration",
]
