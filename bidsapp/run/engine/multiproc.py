"""nipype's engines, mended: a run ends, and tells the reason, when a worker or a job is killed."""

import multiprocessing
import signal
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from traceback import format_exception
from typing import Any

from nipype.pipeline.plugins.multiproc import MultiProcPlugin, process_initializer

from bidsapp.run.engine.slurm import (
    SurvivingSLURMPlugin,
    WaitingSLURMGraphPlugin,
    last_words,
)


class SurvivingMultiProcPlugin(MultiProcPlugin):
    """MultiProc that turns a lost worker into a failed node, and goes on with new workers.

    The original waits for ever for the result of a worker that was killed, as the kernel does
    with a process that takes too much memory, or that could not hand its result over. The nodes
    that were running beside it are lost with it: Python ends all workers when one is killed. On
    Ctrl-C its workers would print where they were; ours just end.
    """

    pool: ProcessPoolExecutor

    def __init__(self, plugin_args: dict[str, Any]) -> None:
        super().__init__(plugin_args=plugin_args)
        self.pool.shutdown()  # no worker has been started yet
        self.pool = self._new_pool()

    def _new_pool(self) -> ProcessPoolExecutor:
        return ProcessPoolExecutor(
            max_workers=self.processors,
            initializer=_begin,
            initargs=(self._cwd,),
            mp_context=multiprocessing.get_context(self.plugin_args.get("mp_context")),
        )

    def _async_callback(self, args: Any) -> None:
        if args.exception() is None:
            super()._async_callback(args)

    def _submit_job(self, node: Any, updatehash: bool = False) -> Any:
        try:
            return super()._submit_job(node, updatehash)
        except BrokenProcessPool:
            self.pool.shutdown()
            self.pool = self._new_pool()
            return super()._submit_job(node, updatehash)

    def _get_result(self, taskid: int) -> Any:
        future = self._task_obj.get(taskid)
        if future is None or not future.done() or future.exception() is None:
            return super()._get_result(taskid)
        lines = format_exception(future.exception())
        if isinstance(future.exception(), BrokenProcessPool):
            lines += last_words(
                "a worker process was killed, most likely for want of memory, and this step was "
                "running then; give more memory, or fewer processes with --nprocs, and run again"
            )
        return {"result": None, "traceback": lines, "hostname": "", "taskid": taskid}


def _begin(folder: str) -> None:
    """Begin a worker as nipype does; Ctrl-C ends it without a word."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    process_initializer(folder)


MENDED = {
    "MultiProc": SurvivingMultiProcPlugin,
    "SLURM": SurvivingSLURMPlugin,
    "SLURMGraph": WaitingSLURMGraphPlugin,
}
"""What runs in place of nipype's own engine of that name."""
