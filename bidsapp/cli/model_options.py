"""Options that select models, with choices from the table, and checks of their combination."""

from argparse import ArgumentParser, Namespace, _ArgumentGroup
from collections.abc import Iterator

from bidsapp.cli.types import NamedNumbers
from bidsapp.config import Config
from bidsapp.errors import FitError


class _Models:
    """The models of one option, read from the table when needed.

    Importing the table would slow down ``--version``.
    """

    def __init__(self, kind: str) -> None:
        self._name = f"{kind.upper()}_MODELS"

    def __iter__(self) -> Iterator[str]:
        from bidsapp.models import table

        return iter(getattr(table, self._name))


def add_model(group: _ArgumentGroup, kind: str, text: str) -> None:
    """Add an option that selects a model of one kind: ivim, dce or t1."""
    group.add_argument(
        f"--{kind}-model",
        choices=_Models(kind),
        default=getattr(Config, f"{kind}_model"),
        metavar="MODEL",
        help=f"{text}: %(choices)s (default: %(default)s)",
    )


def add_model_options(group: _ArgumentGroup) -> None:
    """Add the option for parameters that only some models have."""
    group.add_argument(
        "--model-options",
        nargs="+",
        action=NamedNumbers,
        default=dict(Config.model_options),
        metavar="NAME=NUMBER",
        help="further options of the fitted models, such as delay=0.05 (min) or "
        "dstar=0.012 (mm2/s)",
    )


def check_models(parser: ArgumentParser, options: Namespace) -> None:
    """Refuse a delay, or an option, that the chosen models do not have."""
    from bidsapp.models.table import MODELS, check_options, ivim_row, kinetic_rows

    try:
        kinetic = kinetic_rows(options.dce_model, delay=options.fit_delay)
    except FitError as error:
        parser.error(f"--fit-delay: {error}")
    try:
        rows = (MODELS["adc"], ivim_row(options.ivim_model), *kinetic)
        check_options(options.model_options, rows)
    except FitError as error:
        parser.error(f"--model-options: {error}")
