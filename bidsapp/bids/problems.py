"""Problems of the files of a session, collected so that one does not hide the next."""

from collections.abc import Callable
from typing import Self, TypeVar

from bidsapp.errors import BadInput

Result = TypeVar("Result")


class Problem(str):
    """The text of a problem, with what the user can type to resolve it.

    Parameters
    ----------
    text
        File, problem and remedy in words.
    remedy
        The line to add to a sidecar, or an option; often empty.

    Examples
    --------
    >>> Problem("a_dce.json: FlipAngle is missing", '"FlipAngle": <degrees>').remedy
    '"FlipAngle": <degrees>'
    """

    remedy: str

    def __new__(cls, text: str, remedy: str = "") -> Self:
        """Return the text with its remedy."""
        made = super().__new__(cls, text)
        made.remedy = remedy
        return made


class Problems(list[Problem]):
    """Problems found so far.

    Examples
    --------
    >>> problems = Problems()
    >>> def read(fields):
    ...     raise BadInput("a_dce.json: FlipAngle is missing")
    >>> problems.attempt(read, {}) is None, problems
    (True, ['a_dce.json: FlipAngle is missing'])
    """

    def attempt(self, reader: Callable[..., Result], *arguments: object) -> Result | None:
        """Return the result of a reader, or None after noting why there is none."""
        try:
            return reader(*arguments)
        except BadInput as error:
            self.append(Problem(str(error), error.remedy))
            return None


def remedy_of(text: str) -> str:
    """Return what the user can type to resolve a problem, or an empty text."""
    return text.remedy if isinstance(text, Problem) else ""
