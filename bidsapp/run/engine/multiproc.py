"""nipype's plugins, patched: a killed worker is a failed step instead of a run without end."""

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
    killed_worker_traceback,
)


class SurvivingMultiProcPlugin(MultiProcPlugin):
    """MultiProc that turns a lost worker into a failed node, and continues with new workers.

    The original waits forever for the result of a worker that was killed, for example by the kernel
    for taking too much memory, or that could not return its result. The nodes that were running at
    the same time are lost with it, because Python ends all workers when one is killed. On Ctrl-C
    the original's workers print tracebacks; these end without output.
    """

    pool: ProcessPoolExecutor

    def __init__(self, plugin_args: dict[str, Any]) -> None:
        super().__init__(plugin_args=plugin_args)
        self.pool.shutdown()  # no worker has been started yet
        self.pool = self._new_pool()

    def _new_pool(self) -> ProcessPoolExecutor:
        return ProcessPoolExecutor(
            max_workers=self.processors,
            initializer=_init_worker,
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
            lines += killed_worker_traceback(
                "a worker process was killed while this step was running, most likely because "
                "memory ran out; give more memory, or fewer processes with --nprocs, and run again"
            )
        return {"result": None, "traceback": lines, "hostname": "", "taskid": taskid}


def _init_worker(folder: str) -> None:
    """Initialise a worker as nipype does, except that Ctrl-C ends it without output."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    process_initializer(folder)


PATCHED_PLUGINS = {
    "MultiProc": SurvivingMultiProcPlugin,
    "SLURM": SurvivingSLURMPlugin,
    "SLURMGraph": WaitingSLURMGraphPlugin,
}
"""Plugins that are used instead of nipype's own of the same name."""
