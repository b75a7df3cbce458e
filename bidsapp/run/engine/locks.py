"""One run at a time in a folder: another one waits for it."""

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from bidsapp.errors import NotWritable

_HELD: set[int] = set()


@contextmanager
def alone(path: Path, report: Callable[[str], None]) -> Iterator[None]:
    """Hold the lock of a file; the system lets go of it however this process ends.

    Parameters
    ----------
    path
        The file, made if it is not there.
    report
        Takes a line if another run holds it, or if the file system knows no locks.

    Raises
    ------
    NotWritable
        If the file cannot be made.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise NotWritable(f"{path}: cannot be written ({error.strerror})") from error
    _HELD.add(descriptor)
    try:
        _wait(descriptor, path, report)
        yield
    finally:
        _HELD.discard(descriptor)
        os.close(descriptor)


def _wait(descriptor: int, path: Path, report: Callable[[str], None]) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        report(f"{path.parent}: another run is at work here; waiting until it ends")
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    except OSError as error:
        report(
            f"{path.parent}: cannot be locked ({error.strerror}); do not run the same participant "
            "twice at once"
        )


def _let_go() -> None:
    """Close the locks in a new process, which would hold them on after its parent's end."""
    for descriptor in _HELD:
        os.close(descriptor)
    _HELD.clear()


os.register_at_fork(after_in_child=_let_go)
