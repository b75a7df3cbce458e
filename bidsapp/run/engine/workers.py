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
def workers_end() -> Iterator[None]:
    """See that no worker outlives the run: not its end by a signal, and not its sudden death."""
    _die_with_parent()
    try:
        yield
    except KeyboardInterrupt:
        for worker in multiprocessing.active_children():
            worker.kill()
        raise


@cache
def _die_with_parent() -> None:
    """Have Linux kill each new process when the one that made it is gone; elsewhere they stay."""
    control = getattr(ctypes.CDLL(None), "prctl", None)
    if control:
        os.register_at_fork(after_in_child=lambda: control(_PR_SET_PDEATHSIG, int(signal.SIGKILL)))
