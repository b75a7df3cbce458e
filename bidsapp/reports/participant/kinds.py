"""Findings on the results of a participant, grouped by kind."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from bidsapp.issues import (
    DOUBTFUL_REGISTRATION,
    IMPOSSIBLE_VALUE,
    MISNUMBERED,
    NOT_ENHANCING,
    OUTLIERS_INCLUDED,
    UNFITTED_VOXELS,
    Issue,
)

FindingLevel = Literal["failed", "warning", "missing"]

UNREADABLE = "Unreadable results"
OTHER = "Input data"

KINDS = (
    "Analysis incomplete",
    UNREADABLE,
    "Failed steps",
    "Identity of lesions",
    "Registration",
    "Impossible values",
    "Arterial input",
    "Signal of lesions",
    "Voxels without a value",
    "Motion",
    "Conversion to concentration",
    "Small lesions",
    "Noise",
    "Acquisition",
    "Analysis options",
    "Reference region",
    OTHER,
    "Missing data",
)
"""Kinds of findings; of findings of one level, the first is the gravest."""

_CODES: Mapping[str, str] = {
    "Unfinished": "Analysis incomplete",
    MISNUMBERED: "Identity of lesions",
    "LesionEvent": "Identity of lesions",
    "ScatteredLesion": "Identity of lesions",
    "RegistrationError": "Registration",
    IMPOSSIBLE_VALUE: "Impossible values",
    "NoArterialInput": "Arterial input",
    NOT_ENHANCING: "Signal of lesions",
    "DoubtfulSignal": "Signal of lesions",
    UNFITTED_VOXELS: "Voxels without a value",
    OUTLIERS_INCLUDED: "Motion",
    "AcquisitionDiffers": "Acquisition",
    "DoubtfulReference": "Reference region",
}
"""Code of an issue -> kind."""

_TEXTS: Mapping[str, str] = {
    DOUBTFUL_REGISTRATION: "Registration",
    "arterial input: ": "Arterial input",
}
"""Part of the text of an issue whose code is of several kinds -> kind."""


@dataclass(frozen=True)
class Finding:
    """One finding, and the section of the page that gives the details.

    `reported`: the run has reported it, too. `kind` is one of `KINDS`; `session` is empty if it
    concerns the participant.
    """

    level: FindingLevel
    text: str
    anchor: str
    reported: bool = False
    kind: str = ""
    session: str = ""


@dataclass(frozen=True)
class FindingGroup:
    """The findings of one level and kind, and the sessions that they concern."""

    level: FindingLevel
    kind: str
    findings: tuple[Finding, ...]
    sessions: tuple[str, ...]


def kind_of(issue: Issue) -> str:
    """Return the kind of an issue of the run.

    Examples
    --------
    >>> kind_of(Issue("warning", "a_dce.nii.gz: arterial input: a late peak", "DoubtfulInput"))
    'Arterial input'
    >>> kind_of(Issue("failed", "out of memory", "WorkerKilled", step="dce fit"))
    'Failed steps'
    """
    found = [kind for part, kind in _TEXTS.items() if part in issue.text]
    if issue.code in _CODES or found:
        return _CODES.get(issue.code, found[0] if found else "")
    if issue.level == "missing":
        return "Missing data"
    return "Failed steps" if issue.level == "failed" and issue.step else OTHER


def group_by_kind(found: Iterable[Finding]) -> list[FindingGroup]:
    """Group findings by level and kind, the gravest first.

    Parameters
    ----------
    found : iterable of Finding

    Returns
    -------
    groups : list of FindingGroup
        Findings of a group, and its sessions, are in the order in which they were given.

    Examples
    --------
    >>> found = [Finding("warning", "1week: doubtful", "", kind="Registration", session="1week"),
    ...          Finding("warning", "1month: doubtful", "", kind="Registration", session="1month"),
    ...          Finding("failed", "no status", "", kind="Analysis incomplete")]
    >>> [(group.kind, len(group.findings), group.sessions) for group in group_by_kind(found)]
    [('Analysis incomplete', 1, ()), ('Registration', 2, ('1week', '1month'))]
    """
    groups: dict[tuple[FindingLevel, str], list[Finding]] = {}
    for one in found:
        groups.setdefault((one.level, one.kind or OTHER), []).append(one)
    levels = get_args(FindingLevel)
    order = sorted(groups, key=lambda key: (levels.index(key[0]), KINDS.index(key[1])))
    return [
        FindingGroup(
            level,
            kind,
            tuple(groups[level, kind]),
            tuple(dict.fromkeys(one.session for one in groups[level, kind] if one.session)),
        )
        for level, kind in order
    ]
