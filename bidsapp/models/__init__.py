"""Models of perfusion and diffusion: arrays in, arrays out.

`fit` fits any row of `MODELS` to an array of any shape; nothing here knows of files or BIDS.
"""

from bidsapp.models.diffusion.adc import combine_directions
from bidsapp.models.dipy_interface import DiffusionModel, IvimFit, IvimModel, count_directions
from bidsapp.models.fitting import fit, fit_masked
from bidsapp.models.result import Fit
from bidsapp.models.solver.base import Model, Parameter, Status
from bidsapp.models.table import MODELS

__all__ = [
    "MODELS",
    "DiffusionModel",
    "Fit",
    "IvimFit",
    "IvimModel",
    "Model",
    "Parameter",
    "Status",
    "combine_directions",
    "count_directions",
    "fit",
    "fit_masked",
]
