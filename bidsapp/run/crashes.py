"""Conversion of nipype's crash files to the issues of a run."""

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
        The log folder of the run.
    sessions
        Sessions of the participant. A crash outside all sessions is assigned to the first.
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
    """Return the class and the message of the error at the end of a traceback.

    A full disk takes precedence, because later errors about missing files follow from it.
    """
    errors = list(_ERROR.finditer(text))
    if not errors:
        return "", "no reason given"
    full = (error for error in errors if _is_full(error))
    error = next(full, errors[-1])
    code = NotWritable.__name__ if _is_full(error) else error["code"]
    return code, error["text"] if error["own"] else error[0].strip()


def _is_full(error: re.Match[str]) -> bool:
    """Return whether an error is due to a full disk or an output that is not writable."""
    number = _NUMBER.search(error["text"])
    return error["code"] == NotWritable.__name__ or bool(number and int(number[1]) in DISK_FULL)
