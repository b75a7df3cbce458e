"""Packages of the extra ``dicom``, imported only where a file needs them."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType

from bidsapp.errors import UsageError


def load_package(name: str, what: str) -> ModuleType:
    """Import a package of the extra ``dicom``.

    Parameters
    ----------
    name
        Of the package, as imported.
    what
        What it is needed for.

    Raises
    ------
    UsageError
        If it is not installed.

    Examples
    --------
    >>> load_package("no_such_package", "DICOM files")
    Traceback (most recent call last):
    bidsapp.errors.UsageError: DICOM files need ... pip install 'metperf[dicom]'
    """
    try:
        return import_module(name)
    except ImportError as error:
        raise UsageError(
            f"{what} need the package {name}, which is not installed; install it with: "
            "pip install 'metperf[dicom]'"
        ) from error


@contextmanager
def collect_warnings() -> Iterator[list[str]]:
    """Collect the texts of the warnings of a package, each once, instead of printing them.

    Examples
    --------
    >>> with collect_warnings() as found:
    ...     warnings.warn("odd value", stacklevel=1)
    >>> found
    ['odd value']
    """
    texts: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield texts
    texts += dict.fromkeys(" ".join(str(one.message).split()) for one in caught)
