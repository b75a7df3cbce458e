"""One run at a time in a folder; a second one waits."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from errno import ENOLCK, ENOSYS, EOPNOTSUPP
from pathlib import Path

from filelock import FileLock, Timeout

from bidsapp.errors import NotWritable

_UNSUPPORTED = (ENOSYS, ENOLCK, EOPNOTSUPP)
"""Errors of file systems that have no locks."""


@contextmanager
def exclusive_lock(path: Path, report: Callable[[str], None]) -> Iterator[None]:
    """Hold the lock of a file; the system releases it however this process ends.

    Worker processes do not inherit it, so that a killed run leaves no lock behind.

    Parameters
    ----------
    path
        The lock file, created if necessary.
    report
        Receives a line if another run holds the lock, or if the file system has no locks.

    Raises
    ------
    NotWritable
        If the file cannot be created.
    """
    lock = FileLock(path, fallback_to_soft=False)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _acquire(lock, path, report)
    except OSError as error:
        raise NotWritable(f"{path}: cannot be written ({error.strerror})") from error
    try:
        yield
    finally:
        lock.release()


def _acquire(lock: FileLock, path: Path, report: Callable[[str], None]) -> None:
    """Acquire the lock, waiting if necessary; go on without it where there are no locks."""
    try:
        lock.acquire(blocking=False)
    except Timeout:
        report(f"{path.parent}: another run is using this folder; waiting until it ends")
        lock.acquire(poll_interval=0.5)
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            raise
        report(
            f"{path.parent}: the file system has no locks ({error.strerror}); do not run the same "
            "participant twice at the same time"
        )
