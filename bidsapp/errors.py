"""Errors, with their exit codes.

::

    MetperfError              1   a participant or a step failed
    ├── UsageError            2   the command line cannot be satisfied
    ├── TablesToCheck         3   metperf prepare has written tables that the user must check
    ├── InvalidDataset       16   the data set is not valid BIDS
    ├── UnknownLevel         17   the analysis level does not exist
    ├── NothingSelected      18   labels or filters match nothing
    ├── NothingToAnalyse     66   nothing usable: no DWI and no DCE, or no participant results
    ├── NotWritable          73   output or work folder cannot be written
    ├── WorkerKilled         75   a worker process was killed (out of memory)
    ├── BadInput              1   one file or its metadata cannot be used
    ├── FitError              1   a model cannot be fitted to data of this design
    └── RegistrationError     1   two images could not be registered
"""

from typing import ClassVar


class MetperfError(Exception):
    """Base of all errors that metperf raises deliberately; the message is for the user.

    `remedy` is what the user can type to resolve it: the line to add to a sidecar, or an option;
    often empty.

    Examples
    --------
    >>> MetperfError("a_dce.json: FlipAngle is missing", '"FlipAngle": <degrees>').remedy
    '"FlipAngle": <degrees>'
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str = "", remedy: str = "") -> None:
        super().__init__(message)
        self.remedy = remedy


class UsageError(MetperfError):
    """The command line specifies something that cannot be done."""

    exit_code = 2


class TablesToCheck(MetperfError):
    """The use of series or the labels of visits are proposals that nobody has checked."""

    exit_code = 3


class InvalidDataset(MetperfError):
    """The BIDS validator found errors."""

    exit_code = 16


class UnknownLevel(MetperfError):
    """The analysis level is neither participant nor group."""

    exit_code = 17


class NothingSelected(MetperfError):
    """Labels or filters match nothing in the data set."""

    exit_code = 18


class NothingToAnalyse(MetperfError):
    """There is no usable DWI or DCE, or no participant result for the group level."""

    exit_code = 66


class NotWritable(MetperfError):
    """The output or work folder cannot be written."""

    exit_code = 73


class WorkerKilled(MetperfError):
    """A worker process was killed, most likely because memory ran out."""

    exit_code = 75


class BadInput(MetperfError):
    """One file, or its metadata, cannot be used."""


class FitError(MetperfError):
    """A model cannot be fitted to data of this design."""


class RegistrationError(MetperfError):
    """Two images could not be registered."""
