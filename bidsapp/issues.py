"""Issues that a run reports: failures, warnings, missing data and notes."""

import errno
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from bidsapp.errors import MetperfError, NotWritable, WorkerKilled

IssueLevel = Literal["failed", "warning", "missing", "note"]
LEVELS: tuple[IssueLevel, ...] = get_args(IssueLevel)
"""The most severe first."""

DISK_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
"""Numbers of the system errors for a full disk or an exceeded quota."""

TRANSIENT: Mapping[type[MetperfError], str] = {
    WorkerKilled: "a worker was killed",
    NotWritable: "the output could not be written",
}
"""Errors after which the same run may succeed, each with a separate exit code -> description."""

OUTLIERS_INCLUDED = "OutliersIncluded"
"""Code of the warning that outliers of motion are among the volumes that were fitted."""

IMPOSSIBLE_VALUE = "ImpossibleValue"
"""Code of the warning that a lesion value is outside the range of its parameter."""

UNFITTED_VOXELS = "UnfittedVoxels"
"""Code of the warning that a lesion value is the mean of a part of its voxels."""

NOT_ENHANCING = "NotEnhancing"
"""Code of the warning that an enhancing lesion does not take up contrast agent."""

MISNUMBERED = "MisnumberedLesion"
"""Code of the failure that a lesion lies where one of another number was."""

DOUBTFUL_REGISTRATION = "doubtful registration"
"""In the text of a warning, before the reason for which a registration is doubtful."""

_STORED = ("level", "code", "step", "text", "lesion")
_LISTS_0_1: Mapping[str, IssueLevel] = {
    "failed": "failed",
    "warnings": "warning",
    "missing": "missing",
}
_CRASH_0_1 = re.compile(r"(?P<step>[^:]+): (?P<text>.* \(see crash-\S+\))", re.DOTALL)


@dataclass(frozen=True)
class Issue:
    """One issue that a run reports.

    Attributes
    ----------
    level
        Severity.
    text
        Description for the user.
    code
        Machine-readable kind: the class of the error, or another name.
    participant, session
        Location, such as ``sub-01`` and ``ses-baseline``.
    step
        The step of the run that reports it, such as ``dwi fit_ivim``.
    lesion
        Number of the only lesion that it concerns; empty if it concerns the session.
    remedy
        What the user can type to resolve it: the line to add to a sidecar, or an option; often
        empty.

    Examples
    --------
    >>> print(Issue("failed", "two b-values are needed", step="dwi fit_ivim"))
    dwi fit_ivim: two b-values are needed
    """

    level: IssueLevel
    text: str
    code: str = ""
    participant: str = ""
    session: str = ""
    step: str = ""
    lesion: str = ""
    remedy: str = ""

    def __str__(self) -> str:
        return f"{self.step}: {self.text}" if self.step else self.text

    @property
    def place(self) -> str:
        """Participant and session, for display."""
        return " ".join(filter(None, (self.participant, self.session)))

    def as_dict(self) -> dict[str, str]:
        """Return the fields for status.json, which stores issues by participant and session."""
        return {name: getattr(self, name) for name in _STORED}


def from_error(error: Exception, participant: str = "", session: str = "", step: str = "") -> Issue:
    """Return the failure for an exception.

    Examples
    --------
    >>> from_error(OSError(28, "No space left on device")).code
    'NotWritable'
    """
    name = type(error).__name__
    full = isinstance(error, OSError) and error.errno in DISK_FULL
    text = str(error) if isinstance(error, MetperfError) else f"{name}: {error}"
    code = NotWritable.__name__ if full else name
    remedy = error.remedy if isinstance(error, MetperfError) else ""
    return Issue("failed", text, code, participant, session, step, remedy=remedy)


def read_issues(participant: str, sessions: Mapping[str, Mapping[str, Any]]) -> list[Issue]:
    """Return the issues stored in the `sessions` of a status.json.

    Notes
    -----
    Version 0.1.0 stored a list of texts for each level, without codes.
    """
    found = []
    for session, record in sessions.items():
        for stored in record.get("issues", ()):
            found.append(Issue(**stored, participant=participant, session=session))
        for name, level in _LISTS_0_1.items():
            texts = record.get(name, ())
            found += [_from_text(level, text, participant, session) for text in texts]
    return found


def _from_text(level: IssueLevel, text: str, participant: str, session: str) -> Issue:
    """Return an issue of version 0.1.0; the text of a crash began with its step."""
    crash = _CRASH_0_1.fullmatch(text)
    step, text = crash.groups() if crash else ("", text)
    return Issue(level, text, "", participant, session, step)


def exit_code(issues: Iterable[Issue]) -> int:
    """Return the exit code of a run: 0 without failures, and a specific one for transient errors.

    Examples
    --------
    >>> exit_code([Issue("failed", "no DWI"), Issue("failed", "out of memory", "WorkerKilled")])
    75
    """
    codes = {error.__name__: error.exit_code for error in TRANSIENT}
    return max((codes.get(i.code, 1) for i in issues if i.level == "failed"), default=0)


def by_gravity(issues: Iterable[Issue]) -> list[Issue]:
    """Return each issue once, the most severe first, otherwise in their order."""
    return sorted(dict.fromkeys(issues), key=lambda issue: LEVELS.index(issue.level))


def join_alike(texts: Iterable[str], most: int = 5) -> list[str]:
    """Return texts, each once; of many alike but for names and numbers, the first and a count.

    Parameters
    ----------
    texts
        Descriptions, with names in single quotes.
    most
        Number of texts alike up to which all are returned.

    Examples
    --------
    >>> join_alike([f"'met {n}': {2 * n} ml" for n in range(3)], most=2)
    ["'met 0': 0 ml (3 messages of this kind)"]
    """
    groups: dict[str, list[str]] = {}
    for text in dict.fromkeys(texts):
        groups.setdefault(re.sub(r"'[^']*'|\d[\d.]*", "", text), []).append(text)
    joined = []
    for alike in groups.values():
        many = f"{alike[0]} ({len(alike)} messages of this kind)"
        joined += alike if len(alike) <= most else [many]
    return joined
