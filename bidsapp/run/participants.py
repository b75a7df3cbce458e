"""All participants of a run, side by side: each in a process with its share of the resources."""

import multiprocessing
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkProcess
from typing import Any, Self

from bidsapp.bids.records import Participant
from bidsapp.config import Config
from bidsapp.errors import WorkerKilled
from bidsapp.issues import Issue
from bidsapp.run.engine import ParticipantProgress, Progress
from bidsapp.run.engine.signals import raise_on_signals
from bidsapp.run.engine.workers import end_workers_with_run
from bidsapp.run.participant import Outcome, conclude_participant, run_participant
from bidsapp.run.resources import participants_at_once

_PATIENCE = 60.0
"""Time in which processes must end when the run is stopped, and write their pages, s."""


def run_participants(
    participants: Sequence[Participant], config: Config, progress: Progress
) -> Iterator[Outcome]:
    """Run all participants, as many at once as cores and memory allow.

    Parameters
    ----------
    participants : sequence of Participant
    config : Config
        Its resources are those of the whole run.
    progress : Progress

    Yields
    ------
    Outcome
        Of each participant, as they end.
    """
    at_once = participants_at_once(len(participants), config)
    if at_once > 1:
        with end_workers_with_run(), _Running(config, progress, at_once) as running:
            yield from running.run(participants)
        return
    for participant in participants:
        with progress.follow_participant(participant.id) as steps:
            outcome = run_participant(participant, config, steps)
        yield outcome


@dataclass(frozen=True)
class _Child:
    """A process that runs one participant, and the context that shows its progress."""

    participant: Participant
    process: ForkProcess
    shown: AbstractContextManager[ParticipantProgress]
    progress: ParticipantProgress
    cores: int
    steps: set[str] = field(default_factory=set)
    """Those that are running."""


class _Running:
    """The processes that are running; whatever ends the context ends them."""

    def __init__(self, config: Config, progress: Progress, at_once: int) -> None:
        self._config, self._progress, self._at_once = config, progress, at_once
        self._children: dict[Connection, _Child] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for child in self._children.values():
            child.process.terminate()
        end = time.monotonic() + _PATIENCE
        while self._children and time.monotonic() < end:
            for pipe in wait([*self._children], timeout=1.0):
                self._receive(pipe)  # type: ignore[arg-type]
        for child in self._children.values():
            child.process.kill()

    def run(self, participants: Sequence[Participant]) -> Iterator[Outcome]:
        """Yield the outcome of each participant as it ends."""
        waiting = deque(participants)
        while waiting or self._children:
            while waiting and len(self._children) < self._at_once:
                self._start(waiting.popleft(), len(waiting))
            for pipe in wait([*self._children]):
                outcome = self._receive(pipe)  # type: ignore[arg-type]
                if isinstance(outcome, Exception):
                    raise outcome
                if outcome:
                    yield outcome

    def _start(self, participant: Participant, waiting: int) -> None:
        """Start the process of a participant with its share of the cores that are free."""
        free = self._config.nprocs - sum(child.cores for child in self._children.values())
        sharing = min(self._at_once - len(self._children), waiting + 1)
        cores = max(1, free // sharing)
        own = replace(
            self._config,
            nprocs=cores,
            omp_nthreads=min(cores, self._config.omp_nthreads),
            memory_gb=self._config.memory_gb / self._at_once,
        )
        context = multiprocessing.get_context("fork")
        here, there = context.Pipe(duplex=False)
        process = context.Process(target=_run_in_process, args=(participant, own, there))
        process.start()
        there.close()
        shown = self._progress.follow_participant(participant.id)
        self._children[here] = _Child(participant, process, shown, shown.__enter__(), cores)

    def _receive(self, pipe: Connection) -> Outcome | Exception | None:
        """Take a message of a process; return the outcome, or the error, of one that has ended."""
        child = self._children[pipe]
        try:
            kind, *values = pipe.recv()
        except EOFError:
            kind, values = "ended", [self._lost(child)]
        if kind == "start":
            child.steps.add(values[0])
        elif kind in ("end", "failed"):
            child.steps.discard(values[0])
        if kind != "ended":
            child.progress.send(kind, *values)
            return None
        child.shown.__exit__(None, None, None)
        child.process.join()
        pipe.close()
        del self._children[pipe]
        result: Outcome | Exception | None = values[0]
        return result

    def _lost(self, child: _Child) -> Outcome:
        """Return the outcome of a participant whose process ended without one."""
        child.process.join()
        when = "while this step was running" if child.steps else "between two steps"
        text = (
            f"the process was killed (exit code {child.process.exitcode}) {when}, most likely "
            "because memory ran out; give more memory, or fewer processes with --nprocs, and run "
            "again"
        )
        issues = []
        for name in sorted(child.steps) or [""]:
            session, _, step = name.partition(".")
            place = {
                "participant": child.participant.id,
                "session": session.replace("_", "-") if session.startswith("ses_") else "",
                "step": step.replace(".", " "),
            }
            issues.append(Issue("failed", text, WorkerKilled.__name__, **place))
        return conclude_participant(child.participant, tuple(issues), self._config, child.progress)


def _run_in_process(participant: Participant, config: Config, pipe: Connection) -> None:
    """Run a participant, and send its progress and its outcome."""
    # Ctrl-C on a terminal reaches only the main process, which then ends the others.
    os.setpgid(0, 0)
    sending = threading.Lock()

    def send(*message: Any) -> None:
        with sending:
            pipe.send(message)

    with raise_on_signals(again=signal.SIG_IGN):
        try:
            result: Outcome | Exception = run_participant(
                participant, config, ParticipantProgress(send)
            )
        except KeyboardInterrupt:
            return
        except Exception as error:
            result = error
        send("ended", result)
