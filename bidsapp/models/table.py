"""The table of models: a new model is one function and one row in its module."""

from bidsapp.models import diffusion, ivim, pharmacokinetics, relaxometry
from bidsapp.models.base import Model

MODELS: dict[str, Model] = {
    row.name: row
    for row in (*diffusion.MODELS, *ivim.MODELS, *pharmacokinetics.MODELS, *relaxometry.MODELS)
}
