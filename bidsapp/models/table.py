"""The table of models: a new model is one function and one row in its module."""

from bidsapp.errors import FitError
from bidsapp.models.contrast import relaxometry
from bidsapp.models.diffusion import adc as diffusion
from bidsapp.models.diffusion import bayesian_ivim as bayes
from bidsapp.models.diffusion import ivim
from bidsapp.models.kinetics import exchange
from bidsapp.models.kinetics import tofts as pharmacokinetics
from bidsapp.models.kinetics.delay import with_delay
from bidsapp.models.solver.base import Model

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

AUTO = "auto"
"""Every kinetic model is fitted, and which one the data support is told."""

REPORTED = "extended-tofts"
"""The kinetic model whose values are tabulated where all are fitted."""

_IVIM = "ivim-"
IVIM_MODELS = tuple(n.removeprefix(_IVIM) for n in MODELS if n.startswith(_IVIM))
"""What there is to choose for IVIM, under the names that a user types."""
DCE_MODELS = (*(row.name for row in _KINETIC), AUTO)
"""What there is to choose for a dynamic series."""
T1_MODELS = tuple(n for n, row in MODELS.items() if "flip_angles" in row.design)
"""What there is to choose for a T1 map."""


def ivim_row(choice: str) -> Model:
    """Return the row of one of `IVIM_MODELS`."""
    return MODELS[_IVIM + choice]


def kinetic_rows(choice: str, *, delay: bool = False) -> tuple[Model, ...]:
    """Return the rows that one of `DCE_MODELS` fits; the last one's values are tabulated.

    Parameters
    ----------
    choice
        One of `DCE_MODELS`.
    delay
        Whether the arrival delay is fitted too.

    Raises
    ------
    FitError
        If a delay is asked of `AUTO`.

    Examples
    --------
    >>> [row.label for row in kinetic_rows("patlak", delay=True)]
    ['patlakdelay']
    >>> [row.label for row in kinetic_rows("auto")]
    ['tofts', 'patlak', '2cxm', '2cum', 'etofts']
    """
    if choice != AUTO:
        return (MODELS[f"{choice}-delay" if delay else choice],)
    if delay:
        raise FitError(
            f"a delay is not fitted with {AUTO}, which compares models at one delay; "
            f"name a model: {', '.join(row.name for row in _KINETIC)}"
        )
    return (*(row for row in _KINETIC if row.name != REPORTED), MODELS[REPORTED])
