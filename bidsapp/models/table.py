"""The table of models: every row of a ``MODELS`` in the packages ``diffusion`` and ``kinetics``.

A new model is one module there that ends with ``MODELS = (ROW,)``; nothing else has to change.
"""

from collections.abc import Iterable, Iterator
from importlib import import_module
from pkgutil import iter_modules
from types import ModuleType

from bidsapp.errors import FitError
from bidsapp.models import diffusion, kinetics
from bidsapp.models.contrast import relaxometry
from bidsapp.models.diffusion.relaxation import with_blood_signal
from bidsapp.models.kinetics.delay import with_delay
from bidsapp.models.solver.base import Model

_FIRST = ("adc", "ivim", "tofts")
"""Modules whose models come first; those of the other modules follow in alphabetical order."""


def _rows(package: ModuleType) -> Iterator[Model]:
    """Yield the rows of every module of a package."""
    names = [found.name for found in iter_modules(package.__path__)]
    for name in sorted(names, key=lambda n: (n not in _FIRST, n)):
        # Modules that define no model, such as `convolution` and `noise`, have no ``MODELS``.
        yield from getattr(import_module(f"{package.__name__}.{name}"), "MODELS", ())


def _by_name(rows: Iterable[Model]) -> dict[str, Model]:
    """Return the rows by name.

    Raises
    ------
    FitError
        If two rows share a name, or a label, by which their maps would overwrite each other.
    """
    table: dict[str, Model] = {}
    labels: set[str] = set()
    for row in rows:
        if row.name in table or row.label in labels:
            raise FitError(f"two models are named {row.name!r} or labelled {row.label!r}")
        table[row.name] = row
        labels.add(row.label)
    return table


_DIFFUSION = tuple(_rows(diffusion))
_KINETIC = tuple(_rows(kinetics))
_DELAYED = tuple(with_delay(row) for row in _KINETIC if "delay" in row.options)

_CORRECTED = tuple(
    with_blood_signal(row) for row in _DIFFUSION if "f" in {p.name for p in row.parameters}
)

MODELS: dict[str, Model] = _by_name(
    (*_DIFFUSION, *_CORRECTED, *_KINETIC, *_DELAYED, *relaxometry.MODELS)
)
"""Every model by its name."""

AUTO = "auto"
"""All kinetic models with `Model.in_auto` are fitted, to find out which the data support."""

REPORTED = "extended-tofts"
"""The kinetic model whose values are tabulated if all are fitted."""

DESCRIPTIVE = "semi-quantitative"
"""The model of a dynamic series without arterial input."""

_ADC = "adc"
_IVIM = "ivim-"
IVIM_MODELS = tuple(row.name.removeprefix(_IVIM) for row in _DIFFUSION if row.name != _ADC)
"""Choices of ``--ivim-model``: all diffusion models besides the ADC, which is always fitted."""
DCE_MODELS = (*(row.name for row in _KINETIC), AUTO)
"""Choices of ``--dce-model``."""
T1_MODELS = tuple(n for n, row in MODELS.items() if "flip_angles" in row.design)
"""Choices of ``--t1-model``."""


def ivim_row(choice: str, *, corrected: bool = False) -> Model:
    """Return the row of one of `IVIM_MODELS`.

    Parameters
    ----------
    choice
        One of `IVIM_MODELS`.
    corrected
        Whether f is also corrected for relaxation; a model without f stays as it is.

    Examples
    --------
    >>> ivim_row("segmented").name
    'ivim-segmented'
    >>> ivim_row("segmented", corrected=True).label
    'segmentedt2'
    """
    name = choice if choice in MODELS else _IVIM + choice
    return MODELS[f"{name}-t2"] if corrected and f"{name}-t2" in MODELS else MODELS[name]


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
        If a delay is requested of `AUTO`, or of a model that has none.

    Examples
    --------
    >>> [row.label for row in kinetic_rows("patlak", delay=True)]
    ['patlakdelay']
    >>> kinetic_rows("auto")[-1].label
    'etofts'
    """
    if not delay:
        compared = tuple(row for row in _KINETIC if row.in_auto and row.name != REPORTED)
        return (*compared, MODELS[REPORTED]) if choice == AUTO else (MODELS[choice],)
    name = f"{choice}-delay"
    if name not in MODELS:
        reason = "which compares models at one delay" if choice == AUTO else "which has no delay"
        able = ", ".join(row.name.removesuffix("-delay") for row in _DELAYED)
        raise FitError(f"a delay is not fitted with {choice}, {reason}; choose one of {able}")
    return (MODELS[name],)


def check_options(options: Iterable[str], rows: Iterable[Model]) -> None:
    """Raise an error for an option that none of the rows takes as a number.

    Raises
    ------
    FitError
        If there is one; the message lists the available options.

    Examples
    --------
    >>> check_options(["delay"], kinetic_rows("patlak"))
    """
    taken = {name: row.name for row in rows for name in row.numbers}
    unknown = [name for name in options if name not in taken]
    if unknown:
        there = ", ".join(f"{name} ({row})" for name, row in taken.items()) or "none"
        raise FitError(
            f"no model of this run has the option {', '.join(unknown)}; their options are: {there}"
        )
