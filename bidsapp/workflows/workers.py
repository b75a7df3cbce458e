"""A run that ends when it is told to, and whose worker processes do not outlive it."""

import ctypes
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from types import FrameType
from typing import Any

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


@contextmanager
def interruptible(callback: Callable[..., None]) -> Iterator[Callable[..., None]]:
    """Let a signal end a graph, which nipype takes for a failure of the node that runs here.

    Parameters
    ----------
    callback
        Takes a node and its new state.

    Yields
    ------
    callback
        The same; after SIGINT, or a SIGTERM that is handled, it raises KeyboardInterrupt at the
        next change of a node's state.
    """
    if threading.current_thread() is not threading.main_thread():  # gets no signals
        yield callback
        return
    handlers = {n: signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)}
    before: dict[int, Any] = {n: handler for n, handler in handlers.items() if callable(handler)}
    pressed: list[int] = []

    def press(number: int, frame: FrameType | None) -> None:
        pressed.append(number)
        before[number](number, frame)

    def passed_on(node: Any, status: str, *_: Any) -> None:
        if pressed:
            raise KeyboardInterrupt(*(n for n in pressed[:1] if n != signal.SIGINT))
        callback(node, status)

    for number in before:
        signal.signal(number, press)
    try:
        yield passed_on
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
