"""Signals that end a run, as an interrupt that no library can swallow."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_CAUGHT: list[int] = []


@contextmanager
def raise_on_signals(again: signal.Handlers = signal.SIG_DFL) -> Iterator[None]:
    """Raise KeyboardInterrupt with the signal's number on SIGTERM and SIGINT.

    Schedulers send SIGTERM when the time limit is reached.

    Parameters
    ----------
    again : signal.Handlers
        What a second signal does; by default it kills.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: object) -> None:
        for each in _SIGNALS:
            signal.signal(each, again)
        _CAUGHT.append(number)
        raise KeyboardInterrupt(number)

    before = {number: signal.signal(number, stop) for number in _SIGNALS}
    try:
        yield
    finally:
        _CAUGHT.clear()
        for number, handler in before.items():
            signal.signal(number, handler)


def check_stopped() -> None:
    """Raise the interrupt again if there was one.

    nipype regards an interrupt within a node as the node's failure, and continues with the next.

    Raises
    ------
    KeyboardInterrupt
        With the number of the signal.
    """
    if _CAUGHT:
        raise KeyboardInterrupt(_CAUGHT[0])
