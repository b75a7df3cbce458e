"""Worker processes that do not outlive the run."""

import ctypes
import multiprocessing
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

_PR_SET_PDEATHSIG = 1


@contextmanager
def end_workers_with_run() -> Iterator[None]:
    """Ensure that no worker outlives the run, whether a signal ends it or it is killed."""
    _die_with_parent()
    try:
        yield
    except KeyboardInterrupt:
        for worker in multiprocessing.active_children():
            worker.kill()
        raise


@cache
def _die_with_parent() -> None:
    """Have Linux kill each new process when its parent ends; other systems cannot."""
    control = getattr(ctypes.CDLL(None), "prctl", None)
    if control:
        os.register_at_fork(after_in_child=lambda: control(_PR_SET_PDEATHSIG, int(signal.SIGKILL)))
