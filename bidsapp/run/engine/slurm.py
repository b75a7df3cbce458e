"""nipype's Slurm engines, mended: they tell what was refused, killed or cancelled."""

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
"""Seconds between two looks at Slurm's queue, however many jobs there are."""
_PATIENCE = 60
"""Looks in a row that Slurm may leave unanswered."""


def last_words(text: str) -> list[str]:
    """Return what a crash file ends with when something was killed."""
    return [f"{WorkerKilled.__module__}.{WorkerKilled.__name__}: {text}\n"]


class SurvivingSLURMPlugin(SLURMPlugin):
    """SLURM that tells why a job was refused, and survives one that is killed or cancelled.

    The original needs ``LOGNAME``, drops Slurm's own message, takes a question that Slurm did
    not answer for a job that has ended, and stops with a TypeError when a job leaves no result.
    """

    def __init__(self, plugin_args: Any = None) -> None:
        _name_the_user()
        super().__init__(plugin_args=plugin_args)
        self._queue = _Queue("%A")

    def _is_pending(self, taskid: int) -> bool:
        return self._queue.holds(str(taskid))

    def _submit_batchtask(self, scriptfile: str, node: Any) -> int:
        given = f"{self._sbatch_args or ''} {node.plugin_args.get('sbatch_args', '')}"
        output = Path(scriptfile).parent / "slurm-%j.out"
        name = f"--job-name={node.fullname}"
        words = ["sbatch", "--parsable", name, f"--output={output}", *shlex.split(given)]
        done = _ask([*words, scriptfile])
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
            result["traceback"] = last_words(
                f"the Slurm job {taskid} ended without a result: killed, cancelled or out of time"
            )
        return result

    def _report_crash(self, node: Any, result: Any = None) -> Any:
        if result and isinstance(result["traceback"], str):
            lines = result["traceback"].splitlines(keepends=True)
            result = {**result, "traceback": lines}
        return super()._report_crash(node, result)


class WaitingSLURMGraphPlugin(SLURMGraphPlugin):
    """SLURMGraph that waits for its jobs, so that what became of them can be told.

    The original returns as soon as the jobs are queued, and leaves those in the queue for ever
    that depend on one that failed.
    """

    def __init__(self, plugin_args: Any = None) -> None:
        _ask(["squeue", "--version"])
        settings = {k: v for k, v in (plugin_args or {}).items() if k != "status_callback"}
        self._mark = f"metperf-{os.getpid()}-{time.time_ns()}"
        own = f"--comment={self._mark} --kill-on-invalid-dep=yes"
        settings["sbatch_args"] = f"{settings.get('sbatch_args', '')} {own}"
        super().__init__(plugin_args=settings)

    def run(self, graph: Any, config: Any, updatehash: bool = False) -> None:
        """Submit the graph, wait until its jobs have left the queue, tell what was killed."""
        super().run(graph, config, updatehash)
        queue = _Queue("%k")
        queue.add(self._mark)
        while queue.holds(self._mark):
            time.sleep(_POLL)
        for node in _lost(graph):
            report_crash(
                node,
                last_words("its Slurm job ended without a result: killed, refused or out of time"),
            )


def _lost(graph: Any) -> Iterator[Any]:
    """Give the nodes that have neither result nor crash file, though all before them ended well."""
    done = {node for node in graph if any(Path(node.output_dir()).glob("result_*.pklz"))}
    for node in graph:
        if node not in done and done.issuperset(graph.predecessors(node)):
            folder = Path(node.config["execution"]["crashdump_dir"])
            name = re.compile(rf"^Node: {re.escape(node.fullname)}$", re.MULTILINE)
            if not any(name.search(p.read_text("utf-8")) for p in folder.glob("crash-*.txt")):
                yield node


class _Queue:
    """What is in Slurm's queue of this user, looked at every few seconds.

    Parameters
    ----------
    field
        What is remembered of each job, as squeue calls it: ``%A`` its number, ``%k`` its comment.
    """

    def __init__(self, field: str) -> None:
        self._field = field
        self._jobs: set[str] = set()
        self._looked = time.monotonic()
        self._unanswered = 0

    def add(self, job: str) -> None:
        """Take up a job that has just been sent."""
        self._jobs.add(job)

    def holds(self, job: str) -> bool:
        """Tell whether a job is still there, as of the last look."""
        if time.monotonic() - self._looked >= _POLL:
            self._look()
        return job in self._jobs

    def _look(self) -> None:
        """Look again; without an answer all is as it was."""
        user = str(os.getuid())
        done = _ask(["squeue", "--noheader", f"--format={self._field}", "--user", user])
        self._looked = time.monotonic()
        self._unanswered = self._unanswered + 1 if done.returncode else 0
        if self._unanswered > _PATIENCE:
            raise MetperfError(
                f"squeue does not answer ({done.stderr.strip()}); jobs are still out"
            )
        if not done.returncode:
            self._jobs = set(done.stdout.split())


def _ask(words: list[str]) -> subprocess.CompletedProcess[str]:
    """Run one of Slurm's programs."""
    try:
        return subprocess.run(words, capture_output=True, text=True, check=False)  # noqa: S603
    except OSError as error:
        raise UsageError(f"{words[0]} cannot be run ({error.strerror}): is Slurm here?") from error


def _name_the_user() -> None:
    """Set ``LOGNAME``, which nipype needs to name jobs, where it is not set."""
    if "LOGNAME" not in os.environ:
        try:
            os.environ["LOGNAME"] = getpass.getuser()
        except (KeyError, OSError):
            os.environ["LOGNAME"] = f"uid{os.getuid()}"
