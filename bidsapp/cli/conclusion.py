"""The last lines of a run: number of issues, the most severe one, and location of the pages."""

import logging
from collections.abc import Sequence
from pathlib import Path

from bidsapp.issues import TRANSIENT, Issue, by_gravity, exit_code

_LOG = logging.getLogger("metperf")

_COUNTED = {"failed": "failure", "warning": "warning"}
"""Levels that are counted, and the noun for one of them."""


def conclude(issues: Sequence[Issue], pages: Sequence[Path]) -> int:
    """Log the last lines of a run.

    Parameters
    ----------
    issues
        All issues of the run.
    pages
        The pages that were written, as absolute paths.

    Returns
    -------
    int
        The exit code.
    """
    code = exit_code(issues)
    failed = [issue for issue in issues if issue.level == "failed"]
    if failed:
        _LOG.error("exit %d: failures%s", code, _in_participants(failed))
    for error, text in TRANSIENT.items():
        if lost := [issue for issue in failed if issue.code == error.__name__]:
            _LOG.error("%s%s; run it again", text, _in_participants(lost))
    counted = [issue for issue in by_gravity(issues) if issue.level in _COUNTED]
    counts = [_count(counted, level) for level in _COUNTED]
    _LOG.info("%s", " and ".join(counts))
    if counted:
        _LOG.info("most severe: %s", ": ".join(filter(None, (counted[0].place, str(counted[0])))))
    if pages:
        where = pages[0] if len(pages) == 1 else pages[0].parent / "sub-*.html"
        _LOG.info("%s: %s", "page" if len(pages) == 1 else f"{len(pages)} pages", where)
    return code


def _in_participants(issues: Sequence[Issue]) -> str:
    places = dict.fromkeys(issue.participant for issue in issues if issue.participant)
    return f" in {', '.join(places)}" if places else ""


def _count(issues: Sequence[Issue], level: str) -> str:
    """Return the number of issues of a level, in words."""
    count = sum(issue.level == level for issue in issues)
    return f"{count or 'no'} {_COUNTED[level]}{'' if count == 1 else 's'}"
