"""The table of models: a new model is one function and one row in its module."""

from bidsapp.models import bayes, diffusion, exchange, ivim, pharmacokinetics, relaxometry
from bidsapp.models.base import Model
from bidsapp.models.delay import with_delay

_KINETIC = (*pharmacokinetics.MODELS, *exchange.MODELS)
_ROWS = (
    *diffusion.MODELS,
    *ivim.MODELS,
    *bayes.MODELS,
    *_KINETIC,
    *(with_delay(row) for row in _KINETIC),
    *relaxometry.MODELS,
)

MODELS: dict[str, Model] = {row.name: row for row in _ROWS}
"""Every model by its name."""
