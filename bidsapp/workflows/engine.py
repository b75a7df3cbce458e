"""nipype's engines on one machine, mended: they end when a worker is killed, and on Ctrl-C."""

import multiprocessing
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from traceback import format_exception
from typing import Any

from nipype.pipeline.plugins.multiproc import MultiProcPlugin, process_initializer


class SurvivingMultiProcPlugin(MultiProcPlugin):
    """MultiProc that turns a lost worker into a failed node.

    The original waits for ever for the result of a worker that was killed, as the kernel does
    with a process that takes too much memory, or that could not hand its result over. On Ctrl-C its
    workers would print where they were; ours just end.
    """

    pool: ProcessPoolExecutor

    def __init__(self, plugin_args: dict[str, Any]) -> None:
        super().__init__(plugin_args=plugin_args)
        self.pool.shutdown()  # no worker has been started yet
        self.pool = ProcessPoolExecutor(
            max_workers=self.processors,
            initializer=_begin,
            initargs=(self._cwd,),
            mp_context=multiprocessing.get_context(plugin_args.get("mp_context")),
        )

    def _async_callback(self, args: Any) -> None:
        if args.exception() is None:
            super()._async_callback(args)

    def _get_result(self, taskid: int) -> Any:
        future = self._task_obj.get(taskid)
        if future is not None and future.done() and future.exception() is not None:
            lines = format_exception(future.exception())
            return {"result": None, "traceback": lines, "hostname": "", "taskid": taskid}
        return super()._get_result(taskid)


def _begin(folder: str) -> None:
    """Begin a worker as nipype does; Ctrl-C ends it without a word."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    process_initializer(folder)


@contextmanager
def interruptible(callback: Callable[..., None]) -> Iterator[Callable[..., None]]:
    """Let Ctrl-C end a graph, which nipype takes for a failure of the node that runs here.

    Parameters
    ----------
    callback
        Takes a node and its new state.

    Yields
    ------
    callback
        The same; after Ctrl-C it raises KeyboardInterrupt at the next change of a node's state.
    """
    pressed = threading.Event()

    def press(*arguments: Any) -> None:
        pressed.set()
        signal.default_int_handler(*arguments)

    def passed_on(node: Any, status: str, *_: Any) -> None:
        if pressed.is_set():
            raise KeyboardInterrupt
        callback(node, status)

    if threading.current_thread() is not threading.main_thread():  # gets no signals
        yield callback
        return
    before = signal.signal(signal.SIGINT, press)
    try:
        yield passed_on
    finally:
        signal.signal(signal.SIGINT, before)
