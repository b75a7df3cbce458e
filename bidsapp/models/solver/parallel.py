"""Work shared among processes that write into the same memory.

Threads would not help: between the many short operations of a fit they wait for each other.
"""

import mmap
import multiprocessing
import signal
import warnings
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import DTypeLike, NDArray

from bidsapp.errors import FitError

Part = TypeVar("Part")


def empty(count: int, kind: DTypeLike = float) -> NDArray[Any]:
    """Return an uninitialised array of a given length."""
    return np.empty(count, kind)


def shared_empty(count: int, kind: DTypeLike = float) -> NDArray[Any]:
    """Return an uninitialised array in memory shared with processes that are forked later."""
    if not count:
        return np.empty(0, kind)
    # An anonymous map is shared between parent and children, so that results need no pickling.
    return np.frombuffer(mmap.mmap(-1, np.dtype(kind).itemsize * count), kind)


def for_each(run: Callable[[Part], None], parts: Sequence[Part], n_jobs: int) -> None:
    """Run a function for each part, in this process or in several forked from it.

    Parameters
    ----------
    run
        Function of a part; writes its result into shared memory.
    parts
        Arguments of the function, one per call.
    n_jobs
        Number of processes.

    Raises
    ------
    FitError
        If a process fails (its message is on stderr) or is killed, or none can be forked.

    Examples
    --------
    >>> squares = shared_empty(4)
    >>> def run(i):
    ...     squares[i] = i * i
    >>> for_each(run, range(4), 2)
    >>> squares
    array([0., 1., 4., 9.])
    """
    if n_jobs == 1 or len(parts) < 2:
        for part in parts:
            run(part)
        return
    if "fork" not in multiprocessing.get_all_start_methods():
        raise FitError("n_jobs above 1 needs a system that can fork processes; use n_jobs=1")
    fork = multiprocessing.get_context("fork")
    workers = [fork.Process(target=_run_parts, args=(run, parts[i::n_jobs])) for i in range(n_jobs)]
    with warnings.catch_warnings():  # children only calculate and end: other threads do not matter
        warnings.simplefilter("ignore", DeprecationWarning)
        for worker in workers:
            worker.start()
    for worker in workers:
        worker.join()
    failed = [worker.exitcode for worker in workers if worker.exitcode]
    if failed:
        raise FitError(
            f"{len(failed)} of {n_jobs} processes ended with exit code {failed[0]} "
            "(-9: killed, most likely for lack of memory); try a smaller chunk or n_jobs=1"
        )


def _run_parts(run: Callable[[Part], None], parts: Sequence[Part]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C ends it without a traceback
    for part in parts:
        run(part)
