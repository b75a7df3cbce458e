"""nipype's engine for processes on one machine, mended: it ends when a worker is killed."""

from traceback import format_exception
from typing import Any

from nipype.pipeline.plugins.multiproc import MultiProcPlugin


class SurvivingMultiProcPlugin(MultiProcPlugin):
    """MultiProc that turns a lost worker into a failed node.

    The original waits for ever for the result of a worker that was killed, as the kernel does
    with a process that takes too much memory, or that could not hand its result over.
    """

    def _async_callback(self, args: Any) -> None:
        if args.exception() is None:
            super()._async_callback(args)

    def _get_result(self, taskid: int) -> Any:
        future = self._task_obj.get(taskid)
        if future is not None and future.done() and future.exception() is not None:
            lines = format_exception(future.exception())
            return {"result": None, "traceback": lines, "hostname": "", "taskid": taskid}
        return super()._get_result(taskid)
