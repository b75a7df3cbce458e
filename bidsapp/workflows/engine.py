"""nipype's engine for processes on one machine, mended: it ends when a worker is killed."""

import multiprocessing
import signal
from concurrent.futures import ProcessPoolExecutor
from traceback import format_exception
from typing import Any

from nipype.pipeline.plugins.multiproc import MultiProcPlugin, process_initializer


class SurvivingMultiProcPlugin(MultiProcPlugin):
    """MultiProc that turns a lost worker into a failed node.

    The original waits for ever for the result of a worker that was killed, as the kernel does
    with a process that takes too much memory, or that could not hand its result over. On Ctrl-C its
    workers would print where they were; ours just end.
    """

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
