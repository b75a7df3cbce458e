"""Crash files of nipype -> the issues of a run."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from bidsapp.bids.records import Session
from bidsapp.errors import NotWritable
from bidsapp.issues import DISK_FULL, Issue

_NODE = re.compile(r"^Node: (?P<name>\S+)", re.MULTILINE)
_ERROR = re.compile(
    r"^\s*(?P<own>bidsapp\.errors\.)?(?:\w+\.)*"
    r"(?P<code>(?(own)\w+|\w*(?:Error|Exception|Interrupt)))\b:? *(?P<text>.*)$",
    re.MULTILINE,
)
_NUMBER = re.compile(r"\[Errno (\d+)\]")


def read_crashes(log: Path, sessions: Sequence[Session]) -> Iterator[Issue]:
    """Yield the failure that each crash file of a run reports.

    Parameters
    ----------
    log
        The run's log folder.
    sessions
        Those of the participant. What crashed outside of them is a failure of the first.
    """
    for path in sorted(log.glob("crash-*.txt")):
        text = path.read_text(encoding="utf-8", errors="replace")
        node = _NODE.search(text)
        names = node["name"].split(".")[1:] if node else []
        session = next((s for s in sessions if s.slug in names[:1]), sessions[0])
        code, cause = _cause(text)
        yield Issue(
            "failed",
            f"{cause} (see {path.name})",
            code,
            f"sub-{session.participant}",
            session.id,
            " ".join(names[1:]) or "run",
        )


def _cause(text: str) -> tuple[str, str]:
    """Return the class and the words of the error that a traceback ends with.

    A full disk comes first: what nipype misses afterwards only follows from it.
    """
    errors = list(_ERROR.finditer(text))
    if not errors:
        return "", "no reason given"
    full = (error for error in errors if _is_full(error))
    error = next(full, errors[-1])
    code = NotWritable.__name__ if _is_full(error) else error["code"]
    return code, error["text"] if error["own"] else error[0].strip()


def _is_full(error: re.Match[str]) -> bool:
    """Whether an error is that of a full disk, or of an output that cannot be written."""
    number = _NUMBER.search(error["text"])
    return error["code"] == NotWritable.__name__ or bool(number and int(number[1]) in DISK_FULL)
