"""Locks on folders: a second run waits until the first has ended."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from bidsapp.errors import NotWritable

_POLL = 0.5
"""Seconds between two attempts to acquire a lock that another run holds."""


@contextmanager
def exclusive_lock(path: Path, report: Callable[[str], None]) -> Iterator[None]:
    """Hold an exclusive lock on a file; the system releases it however this process ends.

    Worker processes do not inherit the lock, so one that outlives a killed run does not hold it.

    Parameters
    ----------
    path : pathlib.Path
        The file, which is created if it does not exist.
    report : callable
        Takes a line of text if another run holds the lock, or if the file system has no locks; in
        that case the run goes on without one.

    Raises
    ------
    NotWritable
        If the file cannot be created.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder, exclusive_lock(Path(folder) / "lock", print):
    ...     print("alone")
    alone
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    except OSError as error:
        raise NotWritable(f"{path}: cannot be written ({error.strerror})") from error
    lock = FileLock(path, poll_interval=_POLL, fallback_to_soft=False)
    _acquire(lock, path.parent, report)
    try:
        yield
    finally:
        lock.release()


def _acquire(lock: FileLock, folder: Path, report: Callable[[str], None]) -> None:
    try:
        lock.acquire(blocking=False)
    except Timeout:
        report(f"{folder}: another run is using this folder; waiting for it to end")
        lock.acquire()
    except OSError as error:
        report(
            f"{folder}: cannot be locked ({error.strerror}); do not run the same participant "
            "twice at the same time"
        )
