"""nipype's Slurm plugins, patched: they report jobs that were refused, killed or cancelled."""

import getpass
import os
import re
import shlex
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from nipype.pipeline.plugins.slurm import SLURMPlugin
from nipype.pipeline.plugins.slurmgraph import SLURMGraphPlugin
from nipype.pipeline.plugins.tools import report_crash

from bidsapp.errors import MetperfError, UsageError, WorkerKilled

_POLL = 5.0
"""Seconds between two queries of Slurm's queue, however many jobs there are."""
_PATIENCE = 60
"""Number of consecutive queries that may fail."""


def killed_worker_traceback(text: str) -> list[str]:
    """Return the last line of the traceback of a step whose worker or job was killed."""
    return [f"{WorkerKilled.__module__}.{WorkerKilled.__name__}: {text}\n"]


class SurvivingSLURMPlugin(SLURMPlugin):
    """SLURM that reports why a job was refused, and survives one that is killed or cancelled.

    The original needs ``LOGNAME``, drops Slurm's own message, regards a job as ended when Slurm
    does not answer, and stops with a TypeError when a job leaves no result.
    """

    def __init__(self, plugin_args: Any = None) -> None:
        _set_logname()
        super().__init__(plugin_args=plugin_args)
        self._queue = _Queue("%A")

    def _is_pending(self, taskid: int) -> bool:
        return self._queue.has(str(taskid))

    def _submit_batchtask(self, scriptfile: str, node: Any) -> int:
        options = f"{self._sbatch_args or ''} {node.plugin_args.get('sbatch_args', '')}"
        output = Path(scriptfile).parent / "slurm-%j.out"
        name = f"--job-name={node.fullname}"
        words = ["sbatch", "--parsable", name, f"--output={output}", *shlex.split(options)]
        done = _run([*words, scriptfile])
        number = done.stdout.strip().split(";")[0]
        if done.returncode or not number.isdigit():
            raise MetperfError(f"{shlex.join(words)}: refused ({done.stderr.strip()})")
        self._pending[int(number)] = node.output_dir()
        self._queue.add(number)
        return int(number)

    def _get_result(self, taskid: int) -> Any:
        folder = Path(self._pending[taskid])
        result = super()._get_result(taskid)
        if result and result["traceback"] and not (folder / "crashstore.pklz").exists():
            result["traceback"] = killed_worker_traceback(
                f"the Slurm job {taskid} ended without a result: killed, cancelled or out of time"
            )
        return result

    def _report_crash(self, node: Any, result: Any = None) -> Any:
        if result and isinstance(result["traceback"], str):
            lines = result["traceback"].splitlines(keepends=True)
            result = {**result, "traceback": lines}
        return super()._report_crash(node, result)


class WaitingSLURMGraphPlugin(SLURMGraphPlugin):
    """SLURMGraph that waits for its jobs and reports their outcome.

    The original returns as soon as the jobs are queued, and leaves jobs that depend on a failed one
    in the queue forever.
    """

    def __init__(self, plugin_args: Any = None) -> None:
        _run(["squeue", "--version"])
        settings = {k: v for k, v in (plugin_args or {}).items() if k != "status_callback"}
        self._mark = f"metperf-{os.getpid()}-{time.time_ns()}"
        own = f"--comment={self._mark} --kill-on-invalid-dep=yes"
        settings["sbatch_args"] = f"{settings.get('sbatch_args', '')} {own}"
        super().__init__(plugin_args=settings)

    def run(self, graph: Any, config: Any, updatehash: bool = False) -> None:
        """Submit the graph, wait until its jobs have left the queue, and report those killed."""
        super().run(graph, config, updatehash)
        queue = _Queue("%k")
        queue.add(self._mark)
        while queue.has(self._mark):
            time.sleep(_POLL)
        for node in _lost_nodes(graph):
            report_crash(
                node,
                killed_worker_traceback(
                    "its Slurm job ended without a result: killed, refused or out of time"
                ),
            )


def _lost_nodes(graph: Any) -> Iterator[Any]:
    """Yield nodes without result or crash file all of whose predecessors have a result."""
    done = {node for node in graph if any(Path(node.output_dir()).glob("result_*.pklz"))}
    for node in graph:
        if node not in done and done.issuperset(graph.predecessors(node)):
            folder = Path(node.config["execution"]["crashdump_dir"])
            name = re.compile(rf"^Node: {re.escape(node.fullname)}$", re.MULTILINE)
            if not any(name.search(p.read_text("utf-8")) for p in folder.glob("crash-*.txt")):
                yield node


class _Queue:
    """The jobs of this user in Slurm's queue, queried every few seconds.

    Parameters
    ----------
    field : str
        Property that identifies a job, in squeue's notation: ``%A`` its number, ``%k`` its comment.
    """

    def __init__(self, field: str) -> None:
        self._field = field
        self._jobs: set[str] = set()
        self._queried = time.monotonic()
        self._failures = 0

    def add(self, job: str) -> None:
        """Add a job that has just been submitted."""
        self._jobs.add(job)

    def has(self, job: str) -> bool:
        """Return whether a job was in the queue at the last query."""
        if time.monotonic() - self._queried >= _POLL:
            self._query()
        return job in self._jobs

    def _query(self) -> None:
        """Query the queue; if squeue fails, the jobs of the last query are kept."""
        user = str(os.getuid())
        done = _run(["squeue", "--noheader", f"--format={self._field}", "--user", user])
        self._queried = time.monotonic()
        self._failures = self._failures + 1 if done.returncode else 0
        if self._failures > _PATIENCE:
            raise MetperfError(
                f"squeue does not answer ({done.stderr.strip()}); jobs are still in the queue"
            )
        if not done.returncode:
            self._jobs = set(done.stdout.split())


def _run(words: list[str]) -> subprocess.CompletedProcess[str]:
    """Run one of Slurm's programs and return its output."""
    try:
        return subprocess.run(words, capture_output=True, text=True, check=False)  # noqa: S603
    except OSError as error:
        raise UsageError(
            f"{words[0]} cannot be run ({error.strerror}): is Slurm installed?"
        ) from error


def _set_logname() -> None:
    """Set ``LOGNAME``, from which nipype names jobs, if it is not set."""
    if "LOGNAME" not in os.environ:
        try:
            os.environ["LOGNAME"] = getpass.getuser()
        except (KeyError, OSError):
            os.environ["LOGNAME"] = f"uid{os.getuid()}"
